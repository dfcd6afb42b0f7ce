//! Working with documents by name, for those who do not work with entities: [`Collection`] and the document commands.

mod commands;
mod param;

pub use commands::{DocumentCommandsExt, DocumentEntityCommandsExt, SyncControl};
pub use param::Collection;

pub use crate::ecs::{DocumentParent, DocumentRef, Documents};
