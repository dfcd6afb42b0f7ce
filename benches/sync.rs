//! The time that an edit takes from one app to another: `cargo bench --bench sync`.
//!
//! Real apps with real stores (every write synchronized to the disk) and the embedded backend over loopback, all in
//! this process. Each figure is printed with its unit. A figure that varies has its median and 99th percentile, or
//! the smallest and largest value of several runs.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The benchmark stops with a message after this time, so that it does not wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);
const DOCUMENTS: usize = 10_000;
const EDITS: usize = 2_000;
/// Documents that are edited one after the other.
const BOARD: usize = 100;
const RUNS: usize = 3;
/// The frame time of apps that do not loop freely: a thousand frames a second.
const FRAME: Duration = Duration::from_millis(1);
/// Documents that move in every frame of an app.
const MOVING: usize = 500;
/// The frame time of an app with a display.
const DISPLAY: Duration = Duration::from_nanos(1_000_000_000 / 60);
/// How long they move.
const MOVED: Duration = Duration::from_secs(10);

#[derive(Component, Serialize, Deserialize, Clone, Debug, Default)]
struct Task {
    text: String,
    column: Scalar<String>,
    done: bool,
    votes: i64,
}

/// A document with a chosen number of fields.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default)]
struct Wide {
    edited: i64,
    rest: BTreeMap<String, i64>,
}

fn main() {
    // `cargo test --benches` runs this too, and only checks that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    // `cargo bench --bench sync -- bulk` measures `bulk` alone.
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let figures: [(&str, fn()); 5] = [
        ("latency", edit_latency),
        ("bulk", bulk),
        ("start", start),
        ("bytes", bytes_per_edit),
        ("many", many_that_move),
    ];
    for (name, figure) in figures {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            figure();
        }
    }
}

fn app<T: Component<Mutability = bevy::ecs::component::Mutable> + Serialize + for<'de> Deserialize<'de> + Clone>(
    store: &Path,
    url: Option<&str>,
) -> App {
    let mut plugin = ReplicatePlugin::new("bench").store(store);
    if let Some(url) = url {
        plugin = plugin.deployment(url);
    }
    let mut app = App::new();
    app.add_plugins(MinimalPlugins).add_plugins(plugin).replicate::<T>("tasks");
    app.finish();
    app.cleanup();
    app
}

fn until(apps: &mut [&mut App], mut condition: impl FnMut(&mut [&mut App]) -> bool) {
    let started = Instant::now();
    loop {
        apps.iter_mut().for_each(|app| app.update());
        if condition(apps) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "in vain: {:?}", apps[0].world().resource::<SyncStatus>());
    }
}

/// The same at a thousand frames a second.
fn until_paced(apps: &mut [&mut App], mut condition: impl FnMut(&mut [&mut App]) -> bool) {
    let mut frame = Instant::now();
    until(apps, |apps| {
        let met = condition(apps);
        frame += FRAME;
        std::thread::sleep(frame.saturating_duration_since(Instant::now()));
        frame = frame.max(Instant::now() - FRAME);
        met
    });
}

fn is_quiet(app: &App) -> bool {
    let status = app.world().resource::<SyncStatus>();
    status.is_live() && status.is_saved() && status.is_sent()
}

fn backend(folder: &Path) -> Backend {
    Backend::start(BackendConfig::new().listen("127.0.0.1:0").data(folder.join("backend"))).expect("a backend")
}

fn tasks() -> impl Iterator<Item = (Task, DocumentId)> {
    (0..DOCUMENTS).map(|number| {
        let task = Task {
            text: format!("Write chapter {number}"),
            column: Scalar("to-do".into()),
            done: false,
            votes: number as i64,
        };
        (task, DocumentId::random())
    })
}

fn count<T: Component>(app: &mut App) -> usize {
    app.world_mut().query::<&T>().iter(app.world()).count()
}

fn edit_latency() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = backend(folder.path());
    let mut one = app::<Task>(&folder.path().join("one.sqlite"), Some(backend.url()));
    let mut two = app::<Task>(&folder.path().join("two.sqlite"), Some(backend.url()));
    let cards: Vec<Entity> = tasks().take(BOARD).map(|card| one.world_mut().spawn(card).id()).collect();
    until(&mut [&mut one, &mut two], |apps| apps.iter().all(|app| is_quiet(app)) && count::<Task>(apps[1]) == BOARD);
    let mut times = Vec::new();
    for edit in 1..=EDITS {
        let votes = -(edit as i64);
        let started = Instant::now();
        one.world_mut().get_mut::<Task>(cards[edit % BOARD]).expect("the task").votes = votes;
        until(&mut [&mut one, &mut two], |apps| {
            let world = apps[1].world_mut();
            world.query::<&Task>().iter(world).any(|task| task.votes == votes)
        });
        times.push(started.elapsed());
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "edit in one app to the other's world, stores and backend durable: median {:.2} ms, 99th percentile {:.2} ms ({EDITS} edits of {BOARD} documents)",
        at(0.5),
        at(0.99)
    );
}

fn bulk() {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = backend(folder.path());
        let mut one = app::<Task>(&folder.path().join("one.sqlite"), Some(backend.url()));
        let mut two = app::<Task>(&folder.path().join("two.sqlite"), Some(backend.url()));
        until(&mut [&mut one, &mut two], |apps| apps.iter().all(|app| is_quiet(app)));
        let started = Instant::now();
        one.world_mut().spawn_batch(tasks());
        until_paced(&mut [&mut one, &mut two], |apps| count::<Task>(apps[1]) == DOCUMENTS);
        times.push(started.elapsed());
    }
    print_runs(&format!("{DOCUMENTS} documents created in one app, all in the other's world"), &times, 1.0, "s");
}

/// A document that moves in every frame.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default)]
struct Body {
    x: f32,
    y: f32,
    angle: f32,
    /// The time of the move, in milliseconds since the benchmark began.
    time: u64,
}

/// The frames of an app, paced like those of a display.
#[derive(Default)]
struct Frames {
    /// How long each took.
    took: Vec<Duration>,
    /// How many were left out because those before took too long.
    dropped: u32,
}

impl Frames {
    /// Runs a frame at its time.
    fn run(&mut self, next: &mut Instant, frame: impl FnOnce()) {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let started = Instant::now();
        frame();
        self.took.push(started.elapsed());
        *next += DISPLAY;
        while *next + DISPLAY < Instant::now() {
            *next += DISPLAY;
            self.dropped += 1;
        }
    }

    fn print(&mut self) -> String {
        let all = self.took.len();
        self.took.sort();
        let at = |share: f64| self.took[((all - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let dropped = self.dropped;
        format!(
            "{dropped} of {} frames dropped, median {:.2} ms, 99th percentile {:.2} ms",
            all as u32 + dropped,
            at(0.5),
            at(0.99)
        )
    }
}

/// Many documents that move in every frame: how far the other app is behind.
fn many_that_move() {
    for (sides, rate) in [(1, None), (1, Some(20.0)), (2, None)] {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = backend(folder.path());
        let begun = Instant::now();
        let url = backend.url().to_owned();
        let reader = {
            let (url, store) = (url.clone(), folder.path().join("two.sqlite"));
            std::thread::spawn(move || move_many("two", &store, &url, sides == 2, rate, begun))
        };
        let one = move_many("one", &folder.path().join("one.sqlite"), &url, true, rate, begun);
        let two = reader.join().expect("the other app ends");
        let rate = rate.map_or("no rate".into(), |rate| format!("a rate of {rate} Hz"));
        println!("{MOVING} documents move at 60 Hz for {} s in {sides} of 2 apps, {rate}:", MOVED.as_secs());
        println!("  {one}\n  {two}");
    }
}

/// Runs an app that moves documents, if it `moves`, and looks at those that another app moves. Returns a description.
fn move_many(name: &str, store: &Path, url: &str, moves: bool, rate: Option<f64>, begun: Instant) -> String {
    let mut plugin = ReplicatePlugin::new("bench").store(store);
    plugin = plugin.deployment(url);
    let mut app = App::new();
    app.add_plugins(MinimalPlugins).add_plugins(plugin).replicate::<Body>("tasks");
    if let Some(rate) = rate {
        app.rate("tasks", rate);
    }
    app.finish();
    app.cleanup();
    let own: bevy::ecs::entity::EntityHashSet = (0..if moves { MOVING } else { 0 })
        .map(|_| app.world_mut().spawn((DocumentId::random(), Body::default())).id())
        .collect();
    let mut next = Instant::now();
    let mut ready = Frames::default();
    let now = || begun.elapsed().as_millis() as u64;
    // Both apps have begun after a second.
    while begun.elapsed() < Duration::from_secs(1) || !is_quiet(&app) {
        ready.run(&mut next, || app.update());
    }
    let (mut frames, mut behind) = (Frames::default(), Vec::new());
    let started = Instant::now();
    while started.elapsed() < MOVED {
        frames.run(&mut next, || {
            let time = now();
            for entity in &own {
                if let Some(mut body) = app.world_mut().get_mut::<Body>(*entity) {
                    body.x += 0.25;
                    body.y -= 0.125;
                    body.angle = body.x.sin();
                    body.time = time;
                }
            }
            app.update();
            let world = app.world_mut();
            let mut bodies = world.query::<(Entity, &Body)>();
            for (entity, body) in bodies.iter(world) {
                if body.time > 0 && !own.contains(&entity) && started.elapsed() > MOVED / 2 {
                    behind.push(now().saturating_sub(body.time));
                }
            }
        });
    }
    let unsent = app.world().resource::<SyncStatus>().unsent;
    let until = Instant::now();
    while !is_quiet(&app) {
        ready.run(&mut next, || app.update());
        assert!(until.elapsed() < PATIENCE, "in vain: {:?}", app.world().resource::<SyncStatus>());
    }
    let rest = until.elapsed();
    behind.sort_unstable();
    let at = |share: f64| behind.get(((behind.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(0);
    let seen = match behind.is_empty() {
        true => "sees none".to_owned(),
        false => format!("is behind by {} ms, 99th percentile {} ms", at(0.5), at(0.99)),
    };
    format!(
        "{name} {seen}; {}; {unsent} documents unsent, {:.2} s until all is sent",
        frames.print(),
        rest.as_secs_f64()
    )
}

fn start() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("one.sqlite");
    let mut one = app::<Task>(&store, None);
    one.world_mut().spawn_batch(tasks());
    until(&mut [&mut one], |apps| apps[0].world().resource::<SyncStatus>().is_saved());
    drop(one);
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        let mut one = app::<Task>(&store, None);
        until(&mut [&mut one], |apps| count::<Task>(apps[0]) == DOCUMENTS);
        times.push(started.elapsed());
    }
    print_runs(&format!("start with {DOCUMENTS} stored documents, all in the world"), &times, 1e3, "ms");
}

fn print_runs(what: &str, times: &[Duration], scale: f64, unit: &str) {
    let seconds: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * scale).collect();
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = seconds.iter().copied().fold(0.0, f64::max);
    println!("{what}: {least:.2} to {most:.2} {unit} ({} runs)", times.len());
}

/// The bytes of one edited field on the wire, in both directions, by the size of its document.
fn bytes_per_edit() {
    for fields in [4, 100, 1_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = backend(folder.path());
        let proxy = Proxy::start(backend.address());
        let mut one = app::<Wide>(&folder.path().join("one.sqlite"), Some(&proxy.url));
        let rest = (0..fields).map(|number| (format!("field {number}"), number)).collect();
        let entity = one.world_mut().spawn((Wide { edited: 0, rest }, DocumentId::random())).id();
        until(&mut [&mut one], |apps| is_quiet(apps[0]));
        // A subscription that begins after the document replaces this one, so that later results do not repeat the
        // document.
        let calm = Instant::now() + Duration::from_secs(3);
        until(&mut [&mut one], |_| Instant::now() > calm);
        let edits = 100;
        let (up, down) = proxy.bytes();
        for edit in 1..=edits {
            one.world_mut().get_mut::<Wide>(entity).expect("the document").edited = edit;
            until(&mut [&mut one], |apps| is_quiet(apps[0]));
        }
        let (up_after, down_after) = proxy.bytes();
        println!(
            "one edited field of a document with {} fields: {} bytes up, {} bytes down (mean of {edits} edits, one after the other)",
            fields + 1,
            (up_after - up) / edits as u64,
            (down_after - down) / edits as u64
        );
    }
}

/// Forwards bytes and counts them.
struct Proxy {
    url: String,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
}

impl Proxy {
    fn start(backend: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let proxy = Self { url, up: Arc::default(), down: Arc::default() };
        let (up, down) = (proxy.up.clone(), proxy.down.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(backend) else { continue };
                let (Ok(client_2), Ok(server_2)) = (client.try_clone(), server.try_clone()) else { continue };
                let (up, down) = (up.clone(), down.clone());
                std::thread::spawn(move || pass_on(client, server, &up));
                std::thread::spawn(move || pass_on(server_2, client_2, &down));
            }
        });
        proxy
    }

    fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let _ = to.set_nodelay(true);
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        count.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
