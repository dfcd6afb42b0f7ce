//! Real apps and a real backend, each in its own process, are killed at random moments. Edits that were reported as
//! saved must survive.
//!
//! `CRASH_ROUNDS=1000 cargo test --test crashes -- --nocapture` runs this many rounds. `CRASH_SEED=n` repeats the
//! random choices; the exact moment of a kill depends on the machine.

#[path = "crashes/processes.rs"]
mod processes;
#[path = "crashes/writer.rs"]
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::prelude::*;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use processes::{AppProcess, BackendProcess};

/// Longer than any step takes on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(300);
/// The longest time between the first edits of a round and a kill.
const KILL_WITHIN: Duration = Duration::from_millis(300);

#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct Note {
    text: String,
    votes: Counter,
}

/// An app with notes.
fn app(store: &std::path::Path, url: &str) -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(ReplicatePlugin::new("crashes").store(store).deployment(url))
        .replicate::<Note>("notes");
    app.finish();
    app.cleanup();
    app
}

fn notes(app: &mut App) -> BTreeMap<DocumentId, Note> {
    let world = app.world_mut();
    let mut notes = world.query::<(&DocumentId, &Note)>();
    notes.iter(world).map(|(id, note)| (id.clone(), note.clone())).collect()
}

/// The edits that the apps reported, by name.
#[derive(Default)]
struct Reported {
    tried: BTreeSet<String>,
    saved: BTreeSet<String>,
}

impl Reported {
    fn take(&mut self, lines: Vec<String>) {
        for line in lines {
            match line.split_once(' ') {
                Some(("try", edit)) => drop(self.tried.insert(edit.to_owned())),
                Some(("saved", edit)) => drop(self.saved.insert(edit.to_owned())),
                _ => panic!("an app reported {line:?}"),
            }
        }
    }

    fn of_kind<'a>(edits: &'a BTreeSet<String>, kind: &str) -> Vec<&'a str> {
        edits.iter().filter_map(|edit| edit.strip_prefix(kind)?.strip_prefix(' ')).collect()
    }
}

#[test]
fn edits_reported_as_saved_survive_kills_of_the_apps_and_the_backend() {
    let rounds: u32 = env::var("CRASH_ROUNDS").map_or(100, |rounds| rounds.parse().expect("a number of rounds"));
    let seed: u64 = env::var("CRASH_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a seed"));
    println!("crashes: seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut backend = BackendProcess::new(&folder.path().join("backend"));
    let mut apps: Vec<AppProcess> =
        ["a", "b"].iter().map(|name| AppProcess::new(name, &folder.path().join(format!("{name}.sqlite3")))).collect();
    let mut reported = Reported::default();
    let started = Instant::now();
    let mut kills = [0_u32, 0];
    for round in 0..rounds {
        backend.start();
        for app in &mut apps {
            app.start(backend.url(), &format!("{}-{round}", app.name()), random.random());
        }
        // Sometimes while the processes start, mostly during edits.
        if random.random_bool(0.85) {
            for app in &mut apps {
                app.wait_for_an_edit();
            }
        }
        std::thread::sleep(KILL_WITHIN.mul_f64(random.random()));
        // One, two or all three of the processes, shortly after each other.
        let victims = [[0].as_slice(), &[1], &[2], &[0, 1], &[0, 2], &[2, 1], &[2, 0, 1]];
        for &victim in *victims.choose(&mut random).unwrap() {
            if victim == 2 {
                backend.kill();
            } else {
                reported.take(apps[victim].kill());
            }
            // All of them ran.
            kills[usize::from(victim == 2)] += 1;
            std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        }
    }
    for app in &mut apps {
        kills[0] += u32::from(app.is_running());
        reported.take(app.kill());
    }
    backend.start();
    println!("crashes: rounds took {:?}", started.elapsed());
    let world = everyone_agrees(folder.path(), &backend, &apps);
    println!(
        "crashes: rounds={rounds} kills of apps={} kills of the backend={} edits saved={} documents={}",
        kills[0],
        kills[1],
        reported.saved.len(),
        world.len()
    );
    find_everything(&reported, &world, seed);
    // Otherwise the test has shown nothing.
    assert!(reported.saved.len() as u32 > rounds, "only {} edits were saved", reported.saved.len());
}

/// Starts both apps once more, and one with an empty store, and runs them until all show the same.
fn everyone_agrees(
    folder: &std::path::Path,
    backend: &BackendProcess,
    apps: &[AppProcess],
) -> BTreeMap<DocumentId, Note> {
    let stores = apps.iter().map(|app| app.store().to_owned()).chain([folder.join("fresh.sqlite3")]);
    let mut all: Vec<App> = stores.map(|store| app(&store, backend.url())).collect();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut quiet = true;
        for app in &mut all {
            app.update();
            let status = app.world().resource::<SyncStatus>();
            quiet &= status.is_live() && status.is_saved() && status.is_sent();
        }
        if quiet {
            let fresh = notes(&mut all[2]);
            if notes(&mut all[0]) == fresh && notes(&mut all[1]) == fresh {
                return fresh;
            }
        }
        let states: Vec<_> = all.iter().map(|app| app.world().resource::<SyncStatus>().clone()).collect();
        assert!(Instant::now() < deadline, "they do not agree: {states:#?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Checks that every edit that was reported as saved exists, and that none exists twice.
fn find_everything(reported: &Reported, world: &BTreeMap<DocumentId, Note>, seed: u64) {
    let mut missing = Vec::new();
    let mut texts: BTreeMap<&str, u32> = BTreeMap::new();
    for note in world.values() {
        for word in note.text.split_whitespace() {
            *texts.entry(word).or_default() += 1;
        }
    }
    missing.extend(
        Reported::of_kind(&reported.saved, "insert")
            .into_iter()
            .filter(|id| !world.contains_key(&DocumentId::new(*id))),
    );
    missing.extend(Reported::of_kind(&reported.saved, "write").into_iter().filter(|word| !texts.contains_key(word)));
    let kept: Vec<_> = Reported::of_kind(&reported.saved, "delete")
        .into_iter()
        .filter(|id| world.contains_key(&DocumentId::new(*id)))
        .collect();
    assert!(missing.is_empty(), "seed {seed}: reported as saved but missing: {missing:?}");
    assert!(kept.is_empty(), "seed {seed}: reported as deleted but present: {kept:?}");
    let twice: Vec<_> = texts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "seed {seed}: written once but present twice: {twice:?}");
    let votes = world.values().map(|note| note.votes.0).sum::<i64>();
    let (saved, tried) =
        (Reported::of_kind(&reported.saved, "vote").len(), Reported::of_kind(&reported.tried, "vote").len());
    let counted = usize::try_from(votes).unwrap();
    assert!((saved..=tried).contains(&counted), "seed {seed}: {saved} votes saved, {tried} tried, {votes} counted");
}
