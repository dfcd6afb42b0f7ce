//! The time that a presence value takes from one app to the others: `cargo bench --bench presence_latency`.
//!
//! Twenty apps, each with its own worker and connection, show each other a value twenty times a second through the
//! embedded backend over loopback, all in this process. The time is measured from the system that sets the value to the
//! system that reads it in another app.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PEERS: usize = 20;
const HZ: u32 = 20;
const SECONDS: u64 = 10;
/// The benchmark stops with a message after this time, so that it does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Component, Serialize, Deserialize, Clone)]
struct Card {
    title: String,
}

/// The cursor of an app: its presence value.
#[derive(Component, Serialize, Deserialize, Clone)]
struct Cursor {
    name: String,
    color: String,
    x: f32,
    y: f32,
    /// Microseconds since the start, when it was set.
    at: u64,
}

#[derive(Resource)]
struct Start(Instant);

/// The times, in microseconds.
#[derive(Resource, Default)]
struct Took(Vec<u64>);

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn main() {
    // `cargo test --benches` runs this too, and only checks that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let start = Instant::now();
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start(BackendConfig::new()).expect("a backend");
    let mut apps: Vec<App> = (0..PEERS)
        .map(|number| {
            let store = folder.path().join(format!("{number}.sqlite3"));
            let mut app = App::new();
            app.add_plugins(MinimalPlugins)
                .add_plugins(ReplicatePlugin::new("bench").store(store).deployment(backend.url()))
                .replicate::<Card>("cards")
                .replicate_presence::<Cursor>("cards")
                .insert_resource(Start(start))
                .init_resource::<Took>()
                .add_systems(
                    Update,
                    |changed: Query<&Cursor, Changed<Cursor>>, start: Res<Start>, mut took: ResMut<Took>| {
                        took.0.extend(changed.iter().map(|cursor| micros(start.0).saturating_sub(cursor.at)));
                    },
                );
            app.finish();
            app.cleanup();
            app
        })
        .collect();
    let show = |app: &mut App, number: usize| {
        app.world_mut().resource_mut::<Presence<Cursor>>().set(Cursor {
            name: format!("Person {number}"),
            color: "#4f86f7".into(),
            x: number as f32 * 3.7,
            y: (micros(start) % 1_000) as f32,
            at: micros(start),
        });
    };
    for (number, app) in apps.iter_mut().enumerate() {
        show(app, number);
    }
    let sees_all = |app: &mut App| {
        let world = app.world_mut();
        world.query::<&Cursor>().iter(world).count() == PEERS - 1
    };
    loop {
        apps.iter_mut().for_each(App::update);
        if apps.iter_mut().all(sees_all) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the apps do not see each other");
    }
    for app in &mut apps {
        app.world_mut().resource_mut::<Took>().0.clear();
    }

    let (began, every) = (Instant::now(), Duration::from_secs(1) / HZ);
    // Each app starts at another moment, as people do.
    let mut due: Vec<Duration> = (0..PEERS).map(|number| every * number as u32 / PEERS as u32).collect();
    let mut sets = 0;
    let mut frames = 0;
    while began.elapsed() < Duration::from_secs(SECONDS) {
        frames += 1;
        for (number, app) in apps.iter_mut().enumerate() {
            if due[number] <= began.elapsed() {
                due[number] += every;
                sets += 1;
                show(app, number);
            }
            app.update();
        }
        // A frame of all apps, and time for the threads of their workers.
        std::thread::sleep(Duration::from_micros(200));
    }
    let mut took: Vec<u64> =
        apps.iter_mut().flat_map(|app| std::mem::take(&mut app.world_mut().resource_mut::<Took>().0)).collect();
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize] as f64 / 1_000.0;
    println!("{PEERS} peers at {HZ} Hz over loopback, {SECONDS} s:");
    println!(
        "  from set to seen: median {:.1} ms, 90th percentile {:.1} ms, 99th {:.1} ms",
        at(0.5),
        at(0.9),
        at(0.99)
    );
    let expected = sets * (PEERS - 1);
    println!("  {} of {expected} values seen ({:.1} %)", took.len(), took.len() as f64 * 100.0 / expected as f64);
    println!("  {:.0} frames a second of each app", frames as f64 / SECONDS as f64);
    println!("  rows in the log: {}", backend.stats().rows);
}
