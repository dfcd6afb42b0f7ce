//! A deterministic simulator, for tests alone: many apps and a backend in one thread, with virtual time and one seed.
//!
//! # What runs
//!
//! The real code, without its threads and sockets. Per app a Bevy `App` without a renderer (capture and apply), the worker, the replica, the
//! requests to the store as they become transactions, and a real SQLite file; of the transport everything that decides: following a log,
//! packing pushes, decoding answers. Of the backend its functions with their validators, its writer, its log and a real SQLite file. What is played: who
//! takes the next step, the line between client and backend (the official client, its socket and the server's), and the time.
//!
//! # A schedule
//!
//! ```text
//!              seed
//!               |  which faults there are (each present or not: swarm testing), how many apps, how many steps
//!               v
//!   faults:  step, step, step ..   each is one that could happen now: a frame of an app, a few requests of a disk, an answer that is taken,
//!               |                  a message that arrives, a connection that ends, a process that is killed
//!               v
//!   quiet:   everyone is started and connected, and no fault happens any more, until nothing is left to do
//!               |
//!               v
//!   checks:  the promises
//! ```
//!
//! Some promises are checked at each step as well: that no checkpoint passes over a commit, and that nobody pushes what it was sent.
//! The same seed gives the same schedule and the same trace, in every process.
//!
//! # What a user's edits are worth
//!
//! Edits are such that the end tells whether each of them is there: a letter that nobody else types, a vote, an item, a value of a field that only its
//! document's maker sets. An edit is acknowledged when the worker says that it and all before it are saved. What was not when its process was killed may be there or not;
//! everything else has to be.
//!
//! A deployment that is wiped or put back to a backup is no excuse: every app that has a change on its disk offers it to the new log, so the same is checked then.

mod check;
mod deployment;
mod fault;
mod machine;
mod network;
mod note;
mod oracle;
mod peer;
mod prune;
mod quiet;
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

/// Runs `work` with a disk that takes so many more write transactions.
fn with_writes_left<T>(writes: Option<u32>, work: impl FnOnce() -> T) -> T {
    sqlite::set_writes_left(writes);
    let result = work();
    sqlite::set_writes_left(None);
    result
}

/// A schedule is running, until this is dropped.
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
