//! The records that one room gives another: the rows of a log, the data of a store, the versions of a document.
//!
//! This room has only types. The replica decides what to write and to send, the store and the transport carry it out,
//! and the world's side shows the result. With these types, none of them needs another's code to name the data between
//! them.

mod edit;
mod log;
mod presence;
mod refusal;
mod refused;
mod stored;
mod user;
mod version;

pub use edit::*;
pub use log::*;
pub use presence::{Peer, PeerId, Showing};
pub use refusal::{Refusal, RefusalCode};
pub use refused::RefusedWrite;
pub use stored::*;
pub use user::UserId;
pub use version::*;
