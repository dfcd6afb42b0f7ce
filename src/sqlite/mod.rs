//! The common part of this library's two databases: commits that reach the disk, signs of damage, and files that shrink
//! again.
//!
//! A client's store and the embedded backend's log are two SQLite files with schemas and errors of their own. This
//! module has their common promises about the disk, so that both keep them in the same way.

mod file;
mod write;

pub(crate) use file::{NO_FILE, beside, has_orphaned_journal, is_damage, quick_check, reclaim};
#[cfg(test)]
pub(crate) use write::is_durable;
#[cfg(feature = "simulation")]
pub(crate) use write::set_writes_left;
pub(crate) use write::{disk_takes_a_write, sync_commits};
