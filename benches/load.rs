//! The embedded backend under load: what a healthy client waits, in quiet and beside those who are up to no good.
//!
//! ```sh
//! cargo bench --bench load -- --connections 200 --seconds 60
//! ```
//!
//! The backend is `replicate-backend`, a process of its own with its data on the disk. Every healthy client has a scope of its own in one collection,
//! pushes a change about once a second and waits for the answer and for its own news. After a quiet phase a tenth of the connections
//! turn hostile: they stop reading, flood with messages, flood with large pushes, send frames that are too large, or fall silent. At
//! the end every healthy client's scope is pulled from the start and counted.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use automerge::{AutoCommit, ROOT, ScalarValue, transaction::Transactable};
use clap::Parser;
use convex::Value;
use futures::{SinkExt, StreamExt};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::{Value as Json, json};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// Pushes after which a client subscribes anew from where it is, as the library's own does.
const ADVANCE: usize = 16;

#[derive(Parser)]
struct Args {
    /// How many connections, hostile ones included.
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// How long the loaded phase takes; the quiet one takes a third of it.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn Error + Send + Sync>;

/// The process, which ends with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(folder: &std::path::Path) -> Result<(Self, String), Failure> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_replicate-backend"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().rsplit_once("http://").ok_or("it does not listen")?.1.to_owned();
        Ok((Self(child), address))
    }

    /// Resident memory in MiB, where the system tells.
    fn memory(&self) -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.0.id())).ok()?;
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * 4 / 1024)
    }
}

struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    query_set: u32,
    request: u32,
}

impl Peer {
    async fn connect(address: &str) -> Result<Self, Failure> {
        let (socket, _) = connect_async(format!("ws://{address}/api/sync")).await?;
        let mut peer = Self { socket, query_set: 0, request: 0 };
        let session = uuid::Uuid::new_v4().to_string();
        peer.say(json!({ "type": "Connect", "sessionId": session, "connectionCount": 0, "lastCloseReason": "InitialConnect" })).await?;
        Ok(peer)
    }

    async fn say(&mut self, message: Json) -> Result<(), Failure> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    async fn next(&mut self) -> Result<Json, Failure> {
        loop {
            match self.socket.next().await.ok_or("closed")?? {
                Message::Text(text) => {
                    let message: Json = serde_json::from_str(&text)?;
                    if message["type"] != "Ping" {
                        return Ok(message);
                    }
                }
                Message::Close(frame) => return Err(format!("closed: {frame:?}").into()),
                _ => {}
            }
        }
    }

    /// Subscribes from a checkpoint on, in the place of the subscription before.
    async fn subscribe(&mut self, scope: Option<&str>, checkpoint: Json) -> Result<(), Failure> {
        let mut arguments = json!({ "checkpoint": checkpoint });
        if let Some(scope) = scope {
            arguments["scope"] = scope.into();
        }
        let base = self.query_set;
        self.query_set += 1;
        let add = json!({ "type": "Add", "queryId": base, "udfPath": "tasks:pullDeltas", "args": [arguments] });
        let mut modifications = vec![add];
        if base > 0 {
            modifications.push(json!({ "type": "Remove", "queryId": base - 1 }));
        }
        self.say(json!({ "type": "ModifyQuerySet", "baseVersion": base, "newVersion": base + 1, "modifications": modifications })).await
    }

    async fn push(
        &mut self,
        collection: &str,
        scope: &str,
        id: &str,
        change: &[u8],
        fields: Json,
    ) -> Result<u32, Failure> {
        self.request += 1;
        let change = json!({ "bytes": Json::from(Value::Bytes(change.to_vec())) });
        let arguments = json!({ "documents": [{ "id": id, "changes": [change], "fields": fields }], "scope": scope });
        let path = format!("{collection}:pushChanges");
        self.say(json!({ "type": "Mutation", "requestId": self.request, "udfPath": path, "args": [arguments] }))
            .await?;
        Ok(self.request)
    }
}

fn start() -> Json {
    json!({ "ts": { "$integer": "AAAAAAAAAAA=" }, "ordinal": 0.0 })
}

/// Rows and checkpoint of the newest subscription's result, if a transition has it.
fn page<'a>(peer: &Peer, message: &'a Json) -> Option<(usize, &'a Json, bool)> {
    let query = peer.query_set - 1;
    let ours = |one: &&Json| one["queryId"] == query && one["value"].is_object();
    let value = &message["modifications"].as_array()?.iter().find(ours)?["value"];
    Some((value["deltas"].as_array()?.len(), &value["checkpoint"], value["hasMore"].as_bool()?))
}

/// Which phase it is, and what was waited in it.
struct Stage {
    address: String,
    loaded: AtomicBool,
    over: AtomicBool,
    refused: AtomicUsize,
}

/// Pushes until it is over. Returns how many pushes were accepted, and what each took: answered, and back as news.
async fn healthy(stage: Arc<Stage>, number: usize) -> Result<(usize, Vec<(bool, Duration, Duration)>), Failure> {
    let mut random = SmallRng::seed_from_u64(number as u64);
    let mut peer = Peer::connect(&stage.address).await?;
    let scope = format!("room {number}");
    let mut document = AutoCommit::new();
    document.put(ROOT, "count", ScalarValue::counter(0))?;
    let mut known = Vec::new();
    let mut checkpoint = start();
    let mut times = Vec::new();
    let mut pushes = 0;
    peer.subscribe(Some(&scope), checkpoint.clone()).await?;
    while !stage.over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(random.random_range(500..1_500))).await;
        document.increment(ROOT, "count", 1)?;
        document.commit();
        let change = document.get_changes(&known).pop().ok_or("no change")?;
        known = document.get_heads();
        let before = checkpoint.clone();
        let (is_loaded, sent) = (stage.loaded.load(Ordering::Relaxed), Instant::now());
        let request =
            peer.push("tasks", &scope, &scope, change.raw_bytes(), json!({ "count": (pushes + 1) as f64 })).await?;
        let mut answered = None;
        let mut seen = None;
        while answered.is_none() || seen.is_none() {
            let message = peer.next().await?;
            if message["type"] == "MutationResponse" && message["requestId"] == request {
                if message["result"]["results"][0]["status"] != "accepted" {
                    return Err(format!("a healthy push was refused: {message}").into());
                }
                answered = Some(sent.elapsed());
            } else if let Some((rows, newest, _)) = page(&peer, &message) {
                if rows > 0 && *newest != before {
                    seen = Some(sent.elapsed());
                }
                checkpoint = newest.clone();
            }
        }
        pushes += 1;
        times.push((is_loaded, answered.unwrap_or_default(), seen.unwrap_or_default()));
        if pushes % ADVANCE == 0 {
            peer.subscribe(Some(&scope), checkpoint.clone()).await?;
        }
    }
    // Everything is there.
    let mut rows = 0;
    let mut from = start();
    loop {
        peer.subscribe(Some(&scope), from.clone()).await?;
        let (more, newest, has_more) = loop {
            let message = peer.next().await?;
            if let Some((rows, newest, has_more)) = page(&peer, &message) {
                break (rows, newest.clone(), has_more);
            }
        };
        rows += more;
        from = newest;
        if !has_more {
            break;
        }
    }
    if rows != pushes {
        return Err(format!("{scope}: {pushes} pushes were accepted, and {rows} are in the log").into());
    }
    Ok((pushes, times))
}

/// One that is up to no good, over and over: what refuses or ends it is counted.
async fn hostile(stage: Arc<Stage>, number: usize) {
    while !stage.over.load(Ordering::Relaxed) {
        let result: Result<(), Failure> = async {
            let mut peer = Peer::connect(&stage.address).await?;
            match number % 5 {
                // Stops reading.
                0 => {
                    peer.subscribe(None, start()).await?;
                    sleep(Duration::from_secs(600)).await;
                }
                // Floods with messages.
                1 => loop {
                    peer.say(json!({ "type": "Event", "eventType": "x", "event": {} })).await?;
                },
                // Floods with large pushes, and reads no answer.
                2 => {
                    let mut document = AutoCommit::new();
                    document.put(ROOT, "raw", vec![7_u8; 200_000])?;
                    let change = document.get_changes(&[]).pop().ok_or("no change")?;
                    let fields = json!({ "raw": Json::from(Value::Bytes(vec![7; 200_000])) });
                    loop {
                        let id = uuid::Uuid::new_v4().to_string();
                        peer.push("flood", "flood", &id, change.raw_bytes(), fields.clone()).await?;
                    }
                }
                // Sends more than a frame may hold.
                3 => {
                    peer.socket.send(Message::binary(vec![0; 17 * 1024 * 1024])).await?;
                    peer.next().await?;
                }
                // Falls silent.
                _ => sleep(Duration::from_secs(600)).await,
            }
            Ok(())
        }
        .await;
        if result.is_err() {
            stage.refused.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// The bytes of a folder's files.
fn size(folder: &std::path::Path) -> std::io::Result<u64> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn figures(name: &str, mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    let at = |share: f64| {
        times
            .get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    let (median, p99) = (at(0.5), at(0.99));
    println!("load: {name}: n={} median={median:.1?} p99={p99:.1?}", times.len());
    (median, p99)
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let (server, address) = Server::start(folder.path())?;
    let stage = Arc::new(Stage {
        address,
        loaded: AtomicBool::new(false),
        over: AtomicBool::new(false),
        refused: AtomicUsize::new(0),
    });
    let bad = args.connections / 10;
    let good = args.connections - bad;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // What hostile clients do to send so much is their own work, and is not to keep the healthy ones from reading their clocks.
    let elsewhere = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let outcome: Result<(usize, Vec<_>), Failure> = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for number in 0..good {
            clients.spawn(healthy(stage.clone(), number));
        }
        sleep(Duration::from_secs(args.seconds / 3 + 2)).await;
        println!("load: quiet: connections={good} memory={:?} MiB", server.memory());
        stage.loaded.store(true, Ordering::Relaxed);
        let mut hostiles = JoinSet::new();
        for number in 0..bad {
            hostiles.spawn_on(hostile(stage.clone(), number), elsewhere.handle());
        }
        let mut most = server.memory();
        let end = Instant::now() + Duration::from_secs(args.seconds);
        while Instant::now() < end {
            sleep(Duration::from_millis(250)).await;
            most = most.max(server.memory());
        }
        println!(
            "load: loaded: connections={} hostile={bad} most memory={most:?} MiB, of data on the disk {} MiB",
            good + bad,
            size(folder.path())? / 1_048_576,
        );
        stage.over.store(true, Ordering::Relaxed);
        let (mut pushes, mut times) = (0, Vec::new());
        while let Some(client) = clients.join_next().await {
            let (count, its) = client??;
            pushes += count;
            times.extend(its);
        }
        hostiles.abort_all();
        Ok((pushes, times))
    });
    runtime.shutdown_background();
    elsewhere.shutdown_background();
    let (pushes, times) = outcome?;
    let of = |loaded: bool, seen: bool| {
        times.iter().filter(|(was, ..)| *was == loaded).map(|(_, a, s)| if seen { *s } else { *a }).collect()
    };
    let quiet = figures("quiet, answered", of(false, false));
    let loaded = figures("loaded, answered", of(true, false));
    figures("quiet, seen", of(false, true));
    figures("loaded, seen", of(true, true));
    println!(
        "load: pushes={pushes} lost=0 ended={} median ratio={:.2} p99 ratio={:.2}",
        stage.refused.load(Ordering::Relaxed),
        loaded.0.as_secs_f64() / quiet.0.as_secs_f64(),
        loaded.1.as_secs_f64() / quiet.1.as_secs_f64(),
    );
    Ok(())
}
