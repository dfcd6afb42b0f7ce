//! Many apps and a backend in one thread, with faults. `SIM_SEEDS=500 SIM_START=1 cargo test --release --test
//! simulation -- --nocapture` runs 500 schedules from seed 1, and `SIM_SEED=7` runs one and prints each step.

use std::{env, fs, path::PathBuf, time::Instant};

use bevy_convex_replicate::simulation::run;

/// The number of schedules in a plain `cargo test`.
const FEW: u64 = 50;

/// The folder is in memory if the system has such a place. That is safe because the simulator itself decides what a
/// simulated disk keeps.
fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { env::temp_dir() };
    let folder = base.join("bevy_convex_replicate-simulation");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn number(name: &str) -> Option<u64> {
    Some(env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[test]
fn every_promise_holds_under_faults() {
    let folder = folder();
    if let Some(seed) = number("SIM_SEED") {
        let ended = run(seed, &folder, true);
        if let Some(failure) = ended.failure {
            panic!("seed {seed}: {failure}\nfaults: {:?}", ended.faults);
        }
        return;
    }
    let (start, schedules) = (number("SIM_START").unwrap_or(1), number("SIM_SEEDS").unwrap_or(FEW));
    let began = Instant::now();
    let mut failures = 0;
    let stop_at_first = env::var_os("SIM_STOP").is_some();
    let mut steps = 0;
    for seed in start..start + schedules {
        let ended = run(seed, &folder, false);
        steps += ended.trace.lines().len();
        if let Some(failure) = ended.failure {
            failures += 1;
            println!("seed {seed} failed: {failure}\n  faults: {:?}\n  SIM_SEED={seed} replays it", ended.faults);
            if stop_at_first {
                break;
            }
        }
    }
    println!("{steps} lines of trace in {:.1} s", began.elapsed().as_secs_f64());
    println!("simulation: schedules={schedules} failures={failures}");
    assert_eq!(failures, 0, "see above");
}

#[test]
fn a_seed_is_the_same_schedule_each_time() {
    let folder = folder().join("twice");
    for seed in [1, 2, 3, 4, 5] {
        let (first, second) = (run(seed, &folder, false), run(seed, &folder, false));
        let differs = first.trace.lines().iter().zip(second.trace.lines()).position(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed} goes two ways at that step");
        assert_eq!(first.trace.lines().len(), second.trace.lines().len());
    }
}
