//! The transport over real sockets: with addresses at which no valid deployment answers, and with the embedded backend,
//! directly and through a proxy that cuts connections.
#![cfg(feature = "backend")]

mod documents;
mod faults;
#[path = "../host/mod.rs"]
mod host;
mod live;
mod proxy;
mod rig;
mod unreachable;
