//! Apps that start, stop, crash and edit for a given time, and the resources that they need.
//!
//! ```sh
//! cargo run --release --example soak -- --minutes 5
//! cargo run --release --example soak -- --document 100000
//! ```
//!
//! The first command starts the embedded backend and several apps. Each app is a process of its own that edits tasks a
//! hundred times a second. Apps are killed (SIGKILL) at random and started again on their stores, except for one, which
//! runs all the time. Memory, files and the time until an edit is durable are sampled and printed. The last line is the
//! verdict: whether they grow, and whether every reported edit is there. The second command edits one document that
//! often and compares the size of the store and the log with the document's snapshot. Both exit with 1 if something
//! grows without bound or is missing.

mod growth;

use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};
use clap::Parser;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use growth::{Growth, Sample, documents_memory, memory, size, snapshots, weigh};

/// Tasks that all apps together edit: few, so that each is compacted again and again.
const TASKS: u64 = 8;
/// Stored bytes per byte of the documents' snapshots, at most.
const MOST: u64 = 20;
/// Bytes that a store and a log take beside their documents: SQLite's pages, indices, and a write-ahead log that is
/// kept for reuse.
const FIXED: u64 = 2 * 1024 * 1024;
/// The most that the memory of the app that lives for the whole run may grow, as a multiple of the memory that its
/// documents alone take when they are read from its store at the end. Documents that grew change by change are less
/// dense.
const MOST_BEYOND_DOCUMENTS: f64 = 2.0;

#[derive(Parser, Clone)]
struct Args {
    /// The length of the run.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The number of apps.
    #[arg(long, default_value_t = 3)]
    clients: u64,
    /// Edits one document this often instead.
    #[arg(long)]
    document: Option<u64>,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The address to which an app that this program started connects.
    #[arg(long, hide = true)]
    app: Option<String>,
    /// The store of that app.
    #[arg(long, hide = true)]
    store: Option<PathBuf>,
    /// A store: the process only measures how much memory its documents take.
    #[arg(long, hide = true)]
    weigh: Option<PathBuf>,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Task {
    text: String,
    is_completed: bool,
    votes: Counter,
}

impl Task {
    /// Edits it, in a way that always is a change.
    fn edit(&mut self, random: &mut SmallRng) -> Edited {
        match random.random_range(0..3) {
            0 => {
                self.votes += 1;
                return Edited::Voted;
            }
            1 => self.is_completed = !self.is_completed,
            _ => {
                if self.text.len() > 60 {
                    self.text.truncate(30);
                }
                self.text.push(char::from(random.random_range(b'a'..=b'z')));
            }
        }
        Edited::Set
    }
}

/// The actions of an app between two lines of its output.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Edited {
    /// A task that it did not know yet. That is a change, or none where the store turns out to have the task.
    Put,
    /// One more vote.
    Voted,
    /// Another field.
    Set,
}

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(store) = &args.weigh {
        return match weigh(store) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let result = match (&args.app, &args.store, args.document) {
        (Some(url), Some(store), _) => be_an_app(&args, url, store).map(|()| true),
        (.., Some(edits)) => one_document(edits),
        _ => soak(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn app(store: &Path, url: &str) -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(ReplicatePlugin::new("soak").store(store).deployment(url))
        .replicate::<Task>("tasks")
        .add_systems(Update, |mut failures: MessageReader<SyncFailed>| {
            for SyncFailed(failure) in failures.read() {
                eprintln!("soak: {failure}");
            }
        });
    app.finish();
    app.cleanup();
    app
}

fn task(world: &mut World, number: u64) -> Option<Mut<'_, Task>> {
    let id = DocumentId::new(format!("task-{number}"));
    let entity =
        world.query::<(Entity, &DocumentId)>().iter(world).find(|(_, its)| **its == id).map(|(entity, _)| entity);
    match entity {
        Some(entity) => world.get_mut::<Task>(entity),
        None => {
            world.spawn((Task::default(), id));
            None
        }
    }
}

/// Edits until it is killed, and prints the time until edits were durable, in microseconds.
fn be_an_app(args: &Args, url: &str, store: &Path) -> Result<(), Failure> {
    let mut random = SmallRng::seed_from_u64(args.seed);
    let mut app = app(store, url);
    // The parent closes our input when all is over.
    let (ended, end) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lines().count();
        drop(ended);
    });
    loop {
        let kind = match task(app.world_mut(), random.random_range(0..TASKS)) {
            Some(mut task) => task.edit(&mut random),
            None => Edited::Put,
        };
        let edited = Instant::now();
        app.update();
        while !app.world().resource::<SyncStatus>().is_saved() {
            app.update();
            std::thread::sleep(Duration::from_micros(200));
        }
        println!("{kind:?} {}", edited.elapsed().as_micros());
        if end.recv_timeout(Duration::from_millis(10)) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
            break;
        }
    }
    // The app sends its remaining edits before it ends.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !app.world().resource::<SyncStatus>().is_sent() && Instant::now() < deadline {
        app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A running app, with its reports.
struct Running {
    child: Child,
    reader: std::thread::JoinHandle<()>,
}

/// The output of all apps since it was last read.
#[derive(Default)]
struct Told {
    latencies: Mutex<Vec<u64>>,
    edits: AtomicU64,
    votes: AtomicU64,
    puts: AtomicU64,
}

impl Told {
    fn hear(&self, line: &str) {
        let Some((kind, latency)) = line.split_once(' ') else { return };
        let Ok(latency) = latency.parse() else { return };
        if kind == "Put" {
            self.puts.fetch_add(1, Ordering::Relaxed);
        } else {
            self.edits.fetch_add(1, Ordering::Relaxed);
        }
        if kind == "Voted" {
            self.votes.fetch_add(1, Ordering::Relaxed);
        }
        if let Ok(mut latencies) = self.latencies.lock() {
            latencies.push(latency);
        }
    }
}

impl Running {
    fn start(args: &Args, url: &str, store: &Path, seed: u64, told: &Arc<Told>) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--app", url, "--seed", &seed.to_string(), "--minutes", &args.minutes.to_string(), "--store"])
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let told = told.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                told.hear(&line);
            }
        });
        Ok(Self { child, reader })
    }

    /// Lets the app send the rest of its edits.
    fn end(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        self.reader.join().map_err(|_| "the reader panicked".into())
    }
}

fn soak(args: &Args) -> Result<bool, Failure> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("backend");
    let backend = Backend::start(BackendConfig::new().data(&data))?;
    let mut random = SmallRng::seed_from_u64(args.seed);
    let told = Arc::new(Told::default());
    let store = |number: u64| folder.path().join(format!("app-{number}.sqlite"));
    let mut apps = Vec::new();
    for number in 0..args.clients.max(1) {
        apps.push(Running::start(args, backend.url(), &store(number), random.random(), &told)?);
    }
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(args.minutes * 60.0);
    let (mut samples, mut kills) = (Vec::new(), 0_u64);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(5));
        let mut latencies = told.latencies.lock().map(|mut told| std::mem::take(&mut *told)).unwrap_or_default();
        latencies.sort_unstable();
        let of = |app: &Running| memory(app.child.id()).unwrap_or_default();
        let sample = Sample {
            at: began.elapsed(),
            edits: told.edits.load(Ordering::Relaxed),
            lasting: apps.first().map(of).unwrap_or_default(),
            others: apps.iter().skip(1).map(of).max().unwrap_or_default(),
            backend: memory(std::process::id()).unwrap_or_default(),
            latency: latencies.get(latencies.len() / 2).copied().unwrap_or_default(),
        };
        println!(
            "soak: at={}s edits={} kills={kills} lasting={} KiB others={} KiB backend={} KiB store={} KiB log={} KiB edit median={} us p99={} us",
            sample.at.as_secs(),
            sample.edits,
            sample.lasting,
            sample.others,
            sample.backend,
            size(&store(0)) / 1024,
            size(&data.join("log.sqlite")) / 1024,
            sample.latency,
            latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default(),
        );
        samples.push(sample);
        // Every second time on average, one app is killed and started again. Never the first one, because a kill would
        // free the memory that it leaked.
        if args.clients > 1 && random.random_bool(0.5) {
            let number = random.random_range(1..args.clients);
            if let Some(app) = apps.get_mut(number as usize) {
                app.child.kill()?;
                app.child.wait()?;
                *app = Running::start(args, backend.url(), &store(number), random.random(), &told)?;
                kills += 1;
            }
        }
    }
    for app in apps {
        app.end()?;
    }
    let found = votes(&folder.path().join("fresh.sqlite"), backend.url(), told.votes.load(Ordering::Relaxed));
    let changes = backend.stats().changes as u64;
    backend.stop();
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (edits, voted, puts) = (count(&told.edits), count(&told.votes), count(&told.puts));
    // An app that is killed may have made one edit that it did not report.
    let is_whole = (voted..=voted + kills).contains(&found) && (edits..=edits + puts + kills).contains(&changes);
    let third = samples.len() / 3;
    let mean =
        |samples: &[Sample], of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>() / samples.len().max(1) as u64;
    let (middle, last) = (&samples[third..2 * third], &samples[2 * third..]);
    let latency = mean(last, |sample| sample.latency) as f64 / mean(middle, |sample| sample.latency).max(1) as f64;
    let gained = |sample: &Sample| sample.lasting.saturating_sub(samples.first().map_or(0, |first| first.lasting));
    let beyond = samples.last().map_or(0, gained) as f64 / documents_memory(&store(0))?.max(1) as f64;
    let app = Growth::of(&samples, |sample| sample.lasting);
    let server = Growth::of(&samples, |sample| sample.backend);
    let snapshots = snapshots(&store(0))?;
    let (stored, logged) = (size(&store(0)), size(&data.join("log.sqlite")));
    let is_bounded = app.is_bounded()
        && beyond < MOST_BEYOND_DOCUMENTS
        && server.is_bounded()
        && latency < 3.0
        && stored < MOST * snapshots + FIXED
        && logged < MOST * snapshots + FIXED;
    println!(
        "soak: minutes={} edits={edits} puts={puts} changes={changes} votes={voted} found={found} kills={kills} whole={is_whole} memory in a minute {app} (app, gained x{beyond:.2} of its documents) {server} (backend) latency x{latency:.2} \
         snapshots={snapshots} B store={stored} B log={logged} B bounded={is_bounded}",
        args.minutes,
    );
    Ok(is_bounded && is_whole)
}

/// The votes that a new app gets from the backend. It waits until there are as many as were reported, and no more
/// arrive.
fn votes(store: &Path, url: &str, told: u64) -> u64 {
    let mut app = app(store, url);
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut found, mut since) = (0, Instant::now());
    while Instant::now() < deadline && (found < told || since.elapsed() < Duration::from_secs(2)) {
        app.update();
        std::thread::sleep(Duration::from_millis(1));
        let world = app.world_mut();
        let now = world.query::<&Task>().iter(world).map(|task| u64::try_from(task.votes.0).unwrap_or(0)).sum();
        if now != found {
            (found, since) = (now, Instant::now());
        }
    }
    found
}

fn one_document(edits: u64) -> Result<bool, Failure> {
    let folder = tempfile::tempdir()?;
    let (data, store) = (folder.path().join("backend"), folder.path().join("app.sqlite"));
    let backend = Backend::start(BackendConfig::new().data(&data))?;
    let mut random = SmallRng::seed_from_u64(1);
    let mut app = app(&store, backend.url());
    let began = Instant::now();
    let (mut made, mut most_stored, mut most_logged) = (0, 0, 0);
    while made < edits {
        if let Some(mut task) = task(app.world_mut(), 0) {
            task.edit(&mut random);
            made += 1;
        }
        app.update();
        // As fast as the backend takes them.
        while made % 1_000 == 0 && !is_done(&app) {
            app.update();
            std::thread::sleep(Duration::from_micros(200));
        }
        if made % 10_000 == 0 {
            most_stored = size(&store).max(most_stored);
            most_logged = size(&data.join("log.sqlite")).max(most_logged);
            println!(
                "soak: edits={made} at={}s store={} KiB log={} KiB rows={}",
                began.elapsed().as_secs(),
                size(&store) / 1024,
                size(&data.join("log.sqlite")) / 1024,
                backend.stats().rows
            );
        }
    }
    // Compaction comes when it is quiet.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut last = (0, Instant::now());
    while Instant::now() < deadline && last.1.elapsed() < Duration::from_secs(8) {
        app.update();
        std::thread::sleep(Duration::from_millis(20));
        let now = size(&store) + size(&data.join("log.sqlite"));
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    drop(app);
    let stats = backend.stats();
    backend.stop();
    let snapshot = snapshots(&store)?;
    let (stored, logged) = (size(&store), size(&data.join("log.sqlite")));
    let is_bounded = stored < MOST * snapshot && logged < MOST * snapshot;
    println!(
        "soak: document edits={made} changes={} seconds={} snapshot={snapshot} B store={stored} B (x{:.1}, at most {most_stored} B) log={logged} B (x{:.1}, at most {most_logged} B) rows={} bounded={is_bounded}",
        stats.changes,
        began.elapsed().as_secs(),
        stored as f64 / snapshot as f64,
        logged as f64 / snapshot as f64,
        stats.rows,
    );
    Ok(is_bounded)
}

/// Whether everything that was edited is on the disk and with the backend.
fn is_done(app: &App) -> bool {
    let status = app.world().resource::<SyncStatus>();
    status.is_saved() && status.is_sent()
}
