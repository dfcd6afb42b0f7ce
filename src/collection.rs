//! Documents by name: [`Collection`], references between documents, and the document commands.

mod commands;
mod param;

pub use commands::{DocumentCommandsExt, DocumentEntityCommandsExt, SyncControl};
pub use param::Collection;

pub use crate::ecs::{DocumentParent, DocumentRef, Documents};
