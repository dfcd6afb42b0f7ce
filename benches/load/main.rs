//! The embedded backend under load: the time that a healthy client waits, with and without hostile clients.
//!
//! ```sh
//! cargo bench --bench load
//! cargo bench --bench load -- --connections 200 --seconds 60 --rounds 1
//! ```
//!
//! The backend is `replicate-backend`, a process of its own with its data on the disk. Every healthy client has a
//! scope of its own in one collection, pushes a change about once a second and waits for the answer and for its own
//! change. After a quiet minute, a tenth of the connections is hostile for another minute: they stop reading, flood
//! with messages, with small pushes and with large ones, send frames that are too large, or disappear without
//! closing. At the end, the backend is killed and started again, and every healthy client's scope is read from its
//! start.
//!
//! Exits with 1 if healthy clients wait more than twice as long as in the quiet phase, if the backend takes more
//! memory than its limit, or if an acknowledged change is missing.

mod healthy;
mod hostile;
mod peer;
mod server;

use std::{
    error::Error,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clap::Parser;
use tokio::{task::JoinSet, time::sleep};

use self::{
    healthy::{Phase, Pushed, Stage, Waited},
    hostile::Hostiles,
    server::{Server, cpu},
};

/// One connection in this many is hostile.
const HOSTILE: usize = 10;
/// How many times as long as in the quiet phase a healthy client may wait.
const MOST_TIMES: f64 = 2.0;
/// Time for all clients to connect, and for the backend to finish the hostile clients' work.
const SETTLING: Duration = Duration::from_secs(3);
const MIB: u64 = 1024 * 1024;
/// Memory that a backend may take for each byte of its data, which is all in memory (`docs/backend.md`).
const MOST_PER_BYTE: u64 = 2;
/// Additional memory that it may take for each connection: results that wait for a client that does not read,
/// incoming messages, and documents on which changes are tried.
const MOST_PER_CONNECTION: u64 = MIB;

#[derive(Parser)]
struct Args {
    /// The number of connections, including hostile ones.
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// Seconds of each phase, quiet or loaded.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The number of quiet and loaded phases, in turns.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// The address to which the hostile clients connect. Only the process of these clients gets it.
    #[arg(long, hide = true)]
    hostile: Option<String>,
    /// `cargo bench` adds this argument.
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let args = Args::parse();
    if let Some(address) = &args.hostile {
        hostile::process(address, args.connections)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let is_well = runtime.block_on(load(&args));
    runtime.shutdown_background();
    Ok(if is_well? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn load(args: &Args) -> Result<bool, Failure> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let stage = Arc::new(Stage::new(server.address.clone()));
    let bad = args.connections / HOSTILE;
    let good = args.connections - bad;
    let mut clients = JoinSet::new();
    for number in 0..good {
        clients.spawn(healthy::run(stage.clone(), number));
    }
    println!("load: {good} healthy connections and {bad} hostile ones, {} s each, {} times", args.seconds, args.rounds);
    let mut ended = 0;
    for _ in 0..args.rounds {
        sleep(SETTLING).await;
        phase(args, &stage, Phase::Quiet, &server, None).await;
        let hostiles = Hostiles::start(&server.address, bad)?;
        phase(args, &stage, Phase::Loaded, &server, Some(&hostiles)).await;
        ended += hostiles.stop()?;
    }
    stage.is_over.store(true, Ordering::Relaxed);
    let mut pushed = Vec::new();
    while let Some(client) = clients.join_next().await {
        pushed.push(client??);
    }
    let (memory, data) = (server.most_memory(), server::size(folder.path())?);
    drop(server);

    let waits = is_fast(&pushed);
    let most = MOST_PER_BYTE * data + MOST_PER_CONNECTION * args.connections as u64;
    // Not every system reports it.
    let is_small = memory.is_none_or(|memory| memory <= most);
    let memory = memory.map_or("unknown".to_owned(), |memory| format!("{} MiB", memory / MIB));
    println!("load: memory={memory} of at most {} MiB with {} MiB of data", most / MIB, data / MIB);
    let changes: usize = pushed.iter().map(|pushed| pushed.changes.len()).sum();
    // The backend is killed, and its data is read from its disk.
    let again = Server::start(folder.path())?;
    let mut lost = 0;
    for Pushed { scope, changes, .. } in pushed {
        lost += healthy::lost(&again.address, &scope, changes).await?;
    }
    let is_well = waits && is_small && lost == 0;
    println!("load: pushes={changes} lost={lost} ended={ended} within twice={waits} memory bounded={is_small}");
    Ok(is_well)
}

async fn phase(args: &Args, stage: &Stage, phase: Phase, server: &Server, hostiles: Option<&Hostiles>) {
    let used = || (cpu(server.id()), cpu(std::process::id()), hostiles.and_then(|hostiles| cpu(hostiles.id())));
    let before = used();
    stage.set(phase);
    sleep(Duration::from_secs(args.seconds)).await;
    stage.set(Phase::Between);
    let after = used();
    let share = |before: Option<f64>, after: Option<f64>| {
        before.zip(after).map_or(0.0, |(before, after)| (after - before) / args.seconds as f64 * 100.0)
    };
    println!(
        "load: {phase:?}: of one processor the backend took {:.0} %, healthy clients {:.0} %, hostile ones {:.0} %",
        share(before.0, after.0),
        share(before.1, after.1),
        share(before.2, after.2),
    );
}

/// Prints the waiting times, and returns whether they were at most [`MOST_TIMES`] as long as in the quiet phase.
fn is_fast(pushed: &[Pushed]) -> bool {
    let figures = |name: &str, of: fn(&Waited) -> Duration| {
        let mut sorted = [Phase::Quiet, Phase::Loaded].map(|phase| {
            let all = pushed.iter().flat_map(|pushed| &pushed.waited).filter(|waited| waited.phase == phase);
            all.map(of).collect::<Vec<_>>()
        });
        sorted.iter_mut().for_each(|times| times.sort_unstable());
        let mut is_fast = true;
        for (share, called) in [(0.5, "median"), (0.99, "p99")] {
            let [quiet, loaded] = sorted.each_ref().map(|times| at(times, share));
            let times = loaded.as_secs_f64() / quiet.as_secs_f64();
            println!(
                "load: {name}: {called} quiet={quiet:.1?} (n={}) loaded={loaded:.1?} (n={}) times={times:.2}",
                sorted[0].len(),
                sorted[1].len()
            );
            is_fast &= times <= MOST_TIMES;
        }
        is_fast
    };
    let answered = figures("answered", |waited| waited.answered);
    let seen = figures("seen", |waited| waited.seen);
    answered && seen
}

/// The time that this share of the sorted times does not exceed.
fn at(times: &[Duration], share: f64) -> Duration {
    let place = (times.len() as f64 * share) as usize;
    times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
