//! What strangers may send, and what it may do to us: nothing.
//!
//! Bytes from the network into the client, bytes from clients into the embedded backend, chunks into the replica, rows into the store: all mutated
//! from valid ones, many of them sealed again with right lengths and checksums so that they get past the door. Nothing may panic (but for
//! what is contained within Automerge, see `panics`), take memory beyond a stated bound, or stop what is beside it from working.
//!
//! `HOSTILE_CASES=100000 cargo test --test hostile` tries more than the few that run by default. What is in `corpus` is tried in every run, and so is
//! what proptest found before (`proptest-regressions`).

mod backend;
mod chunks;
mod corpus;
mod front;
mod http;
mod load;
mod long;
mod memory;
mod mutate;
mod network;
mod panics;
mod peer;
mod replica;
mod rows;

use proptest::{prelude::ProptestConfig, test_runner::FileFailurePersistence};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// How many cases a property tries: `HOSTILE_CASES`, or as many as it says itself. `found` is where it keeps those that failed.
fn cases(few: u32, found: &'static str) -> proptest::prelude::ProptestConfig {
    let cases = std::env::var("HOSTILE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(few);
    let failure_persistence = Some(Box::new(FileFailurePersistence::Direct(found)) as Box<_>);
    ProptestConfig {
        cases,
        max_shrink_iters: 200,
        max_shrink_time: 60_000,
        failure_persistence,
        ..ProptestConfig::default()
    }
}
