//! Hostile input must have no effect on other clients.
//!
//! The input is bytes from the network to the client, bytes from clients to the embedded backend, chunks to the
//! replica, and rows in the store. All are mutated from valid ones, and many have correct lengths and checksums again,
//! so that they pass the first checks. Nothing may panic (except inside Automerge, where panics are contained; see
//! `panics`), use memory beyond a stated bound, or stop other work.
//!
//! `HOSTILE_CASES=100000 cargo test --test hostile` tries more than the default number of cases. Every run tries the
//! files in `corpus` and the failures that proptest found before (`proptest-regressions`).

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

/// The configuration of a property: `HOSTILE_CASES` cases, or `cases` by default. `found` is the file that keeps its
/// failed cases.
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

/// The cases and bytes that each property has received so far.
static FED: Mutex<BTreeMap<&'static str, (u64, u64)>> = Mutex::new(BTreeMap::new());

/// Counts a case, and prints the sums for every hundredth case.
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
    // The seed is stored, and the case is shrunk again.
    let failing = first.iter().find(|number| **number > 1_000);
    assert!(failing.is_some_and(|failing| second.first() == Some(failing) || second[0] == 1_001), "{second:?}");
}
