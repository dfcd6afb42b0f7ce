//! The embedded backend over real sockets, with the official client.
#![cfg(feature = "backend")]

#[path = "backend/support.rs"]
mod support;

#[path = "backend/access.rs"]
mod access;
#[path = "backend/arguments.rs"]
mod arguments;
#[path = "backend/disk.rs"]
mod disk;
#[path = "backend/live.rs"]
mod live;
#[path = "backend/older.rs"]
mod older;
#[path = "backend/original.rs"]
mod original;
#[path = "backend/parts.rs"]
mod parts;
#[path = "backend/protocol.rs"]
mod protocol;
#[path = "backend/prune.rs"]
mod prune;
#[path = "backend/pull.rs"]
mod pull;
#[path = "backend/push.rs"]
mod push;
#[path = "backend/rights.rs"]
mod rights;
#[path = "backend/users.rs"]
mod users;
