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

use std::cell::Cell;

use rusqlite::ffi;

thread_local! {
    static TINY_LIMITS: Cell<bool> = const { Cell::new(false) };
    static WRITES_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Whether the schedule that this thread runs has tiny limits.
pub(crate) fn has_tiny_limits() -> bool {
    TINY_LIMITS.get()
}

/// Asked before each write transaction: a simulated disk may be full, or its process about to end.
pub(crate) fn disk_takes_a_write() -> rusqlite::Result<()> {
    match WRITES_LEFT.get() {
        Some(0) => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None)),
        Some(left) => {
            WRITES_LEFT.set(Some(left - 1));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Runs `work` with a disk that takes so many more write transactions.
fn with_writes_left<T>(writes: Option<u32>, work: impl FnOnce() -> T) -> T {
    WRITES_LEFT.set(writes);
    let result = work();
    WRITES_LEFT.set(None);
    result
}

/// A schedule is running, until this is dropped.
struct Running;

impl Running {
    fn start(tiny_limits: bool) -> Self {
        TINY_LIMITS.set(tiny_limits);
        WRITES_LEFT.set(None);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        TINY_LIMITS.set(false);
        WRITES_LEFT.set(None);
    }
}
