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
#[path = "../plain/mod.rs"]
mod plain;
mod replica;
mod rows;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use proptest::{
    prelude::ProptestConfig,
    test_runner::{FileFailurePersistence, TestRunner},
};

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

/// Cases and bytes that each property was fed so far.
static FED: Mutex<BTreeMap<&'static str, (u64, u64)>> = Mutex::new(BTreeMap::new());

/// Counts a case, and prints the sums at every hundredth.
fn fed(property: &'static str, bytes: usize) {
    let mut all = FED.lock().unwrap_or_else(PoisonError::into_inner);
    let (cases, sum) = all.entry(property).or_default();
    *cases += 1;
    *sum += bytes as u64;
    if *cases % 100 == 0 {
        println!("hostile: property={property} cases={cases} bytes={sum} contained={}", panics::contained());
    }
}

#[test]
fn a_case_that_fails_is_kept_and_tried_first_in_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let found: &'static str = folder.path().join("kept/cases.txt").to_str().unwrap().to_owned().leak();
    let run = |config: ProptestConfig| {
        let tried = Mutex::new(Vec::new());
        let result = TestRunner::new(config).run(&proptest::prelude::any::<u64>(), |number| {
            tried.lock().unwrap().push(number);
            if number > 1_000 { Err(proptest::prelude::TestCaseError::fail("planted")) } else { Ok(()) }
        });
        (result, tried.into_inner().unwrap())
    };
    let (result, first) = run(cases(100, found));
    assert!(result.is_err());
    let kept = std::fs::read_to_string(found).expect("the case is in its file");
    assert!(kept.lines().any(|line| line.starts_with("cc ")), "{kept}");
    let (result, second) = run(cases(100, found));
    assert!(result.is_err());
    // It is kept as what it was made from, and shrunk anew.
    let failing = first.iter().find(|number| **number > 1_000);
    assert!(failing.is_some_and(|failing| second.first() == Some(failing) || second[0] == 1_001), "{second:?}");
}
