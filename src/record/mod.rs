//! The records that cross from one room to another: the rows of a log, what a store keeps, the versions of a document.
//!
//! Types only. The replica decides what to write and to send, the store and the transport carry it out, and the world's
//! side shows the result; none of them needs another's code to name what passes between them.

mod edit;
mod log;
mod refusal;
mod stored;
mod version;

pub use edit::*;
pub use log::*;
pub use refusal::{Refusal, RefusalCode};
pub use stored::*;
pub use version::*;
