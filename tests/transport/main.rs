//! The transport over real sockets: against addresses where nobody or nothing sensible answers, and against the embedded backend,
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
