//! A deterministic simulator, for tests alone: many apps and a backend in one thread, with virtual time and one seed.
//!
//! # The code that runs
//!
//! The simulator runs the real code without its threads and sockets. Each app has a Bevy `App` without a renderer
//! (capture and apply), the worker, the replica, the store's requests as transactions, a real SQLite file, and the
//! transport's session. The backend has its session for each connection, its functions with their validators, the
//! writer, the log and a real SQLite file. Between the two sessions runs the official client's own state machine
//! (`convex::base_client`), which needs no socket. The simulator itself chooses the next step, carries the messages
//! between client and backend, and sets the time.
//!
//! # A schedule
//!
//! ```text
//!              seed
//!               |  chooses the faults (each present or not: swarm testing), the apps and the number of steps
//!               v
//!   faults:  step, step, step ..   each is a step that is possible now: a frame of an app, a few requests of a disk,
//!               |                  an answer, a message that arrives, a connection that ends, a process that is killed
//!               v
//!   quiet:   every app runs and is connected, and no more faults happen, until nothing is left to do
//!               |
//!               v
//!   checks:  the promises
//! ```
//!
//! Some promises are also checked at each step: no checkpoint passes over a commit, and no app pushes a change that it
//! received. The same seed gives the same schedule and the same trace, in every process.
//!
//! # How edits are checked
//!
//! At the end, the documents show whether each edit is there: an edit adds a letter that no other user types, a vote or
//! an item, or it sets a field that only the document's maker sets. An edit is acknowledged when the worker says that
//! it and all earlier edits are saved. An edit that was not acknowledged before its process was killed may be missing.
//! All other edits must be there.
//!
//! The same is checked after a deployment was wiped or restored from a backup, because every app offers the changes on
//! its disk to the new log.

mod check;
mod deployment;
mod fault;
mod machine;
mod network;
mod note;
mod oracle;
mod pace;
mod peer;
mod prune;
mod quiet;
mod rights;
mod schedule;
mod step;
mod trace;
mod user;
mod words;
mod world;

pub use fault::Fault;
pub use schedule::{Ended, run};
pub use trace::Trace;

use crate::{limits, sqlite};

/// Runs `work` with a disk that fails after `writes` more write transactions, or never if that is `None`.
fn with_writes_left<T>(writes: Option<u32>, work: impl FnOnce() -> T) -> T {
    sqlite::set_writes_left(writes);
    let result = work();
    sqlite::set_writes_left(None);
    result
}

/// Exists while a schedule is running.
struct Running;

impl Running {
    fn start(tiny_limits: bool) -> Self {
        limits::set_tiny(tiny_limits);
        sqlite::set_writes_left(None);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        limits::set_tiny(false);
        sqlite::set_writes_left(None);
    }
}
