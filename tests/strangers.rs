//! Attacks without the token, on a real `replicate-backend`: while each goes on, a client with the token gets in and
//! pushes, and the process takes little memory.
//!
//! An attacker opens its connections again as soon as it loses them. The clients with the token come from the
//! attacker's own address (127.0.0.1) and from another.
// Attackers have addresses of their own, and the memory of a process is in /proc.
#![cfg(all(feature = "backend", target_os = "linux"))]

#[path = "hostile/chunks.rs"]
#[allow(dead_code)]
mod chunks;
#[path = "hostile/mutate.rs"]
#[allow(dead_code)]
mod mutate;
#[path = "hostile/peer.rs"]
#[allow(dead_code)]
mod peer;

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use peer::{pushed, within};

const TOKEN: &str = "open sesame";
/// The resident memory that an attack may add: 256 strangers with 128 KiB and a task each, twice for what the allocator
/// keeps.
const STRANGERS_MIB: usize = 64;
/// The same where everybody may call functions: 64 MiB of unfinished messages, and 128 KiB of each that is not counted.
/// A message in fragments is in a buffer that doubles, and the allocator keeps the smaller ones for a while.
const OPEN_MIB: usize = 384;

const ATTACKER: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Held by the running test: an attack needs the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A `replicate-backend` of its own, which ends with this.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    fn start(token: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replicate-backend"));
        command.args(["--listen", "127.0.0.1:0"]).env_remove("REPLICATE_TOKEN").stdout(Stdio::piped());
        if let Some(token) = token {
            command.env("REPLICATE_TOKEN", token);
        }
        let mut child = command.spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").expect("where it listens").parse().unwrap();
        Self { child, address }
    }

    /// The resident memory now, in MiB.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects from an address of this machine.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    socket.connect(to).await
}

async fn websocket(from: Ipv4Addr, to: SocketAddr) -> Option<WebSocketStream<TcpStream>> {
    let stream = connect(from, to).await.ok()?;
    Some(client_async(format!("ws://{to}/api/sync"), stream).await.ok()?.0)
}

/// Connects with the token and pushes. `None` if the connection ended before the answer.
async fn push(from: Ipv4Addr, to: SocketAddr, token: Option<&str>) -> Option<()> {
    let mut socket = websocket(from, to).await?;
    let session = uuid::Uuid::new_v4().to_string();
    let id = uuid::Uuid::new_v4().to_string();
    let arguments = pushed(None, &id, &chunks::changes(&mut chunks::counter(1)));
    let mut messages = vec![
        json!({ "type": "Connect", "sessionId": session, "connectionCount": 0, "lastCloseReason": "InitialConnect" }),
    ];
    if let Some(token) = token {
        messages.push(json!({ "type": "Authenticate", "tokenType": "User", "value": token, "baseVersion": 0 }));
    }
    messages.push(json!({ "type": "Mutation", "requestId": 0, "udfPath": "tasks:pushChanges", "args": [arguments] }));
    for message in messages {
        socket.send(Message::text(message.to_string())).await.ok()?;
    }
    loop {
        if let Message::Text(text) = socket.next().await?.ok()? {
            let message: Json = serde_json::from_str(&text).unwrap();
            if message["type"] == "MutationResponse" {
                assert_eq!(message["result"]["results"][0]["status"], "accepted", "{message}");
                return Some(());
            }
        }
    }
}

/// Connects and pushes, and tries again as an app does. Returns the number of tries.
async fn gets_in(from: Ipv4Addr, to: SocketAddr, token: Option<&str>) -> usize {
    let mut tries = 1;
    let done = async {
        while push(from, to, token).await.is_none() {
            tries += 1;
            tokio::task::yield_now().await;
        }
    };
    within("a client that may call functions", done).await;
    tries
}

/// An attack of many connections, each of which begins again when it ends.
struct Attack {
    tasks: JoinSet<()>,
    /// The connections begun.
    begun: Arc<AtomicUsize>,
}

impl Attack {
    fn start<F: Future<Output = ()> + Send>(count: usize, one: impl Fn() -> F + Clone + Send + 'static) -> Self {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (one, begun) = (one.clone(), begun.clone());
            tasks.spawn(async move {
                loop {
                    begun.fetch_add(1, Relaxed);
                    one().await;
                    tokio::task::yield_now().await;
                }
            });
        }
        Self { tasks, begun }
    }

    /// Waits until every connection of the attack was begun.
    async fn is_on(&self) {
        let all = self.tasks.len();
        within("the attack", async {
            while self.begun.load(Relaxed) < all {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Runs an attack, lets clients in from both addresses ten times, and measures the memory meanwhile.
fn survives<F: Future<Output = ()> + Send>(
    name: &str,
    token: Option<&str>,
    most_mib: usize,
    count: usize,
    one: impl Fn(SocketAddr) -> F + Clone + Send + 'static,
) {
    let _alone = alone();
    let program = Program::start(token);
    let address = program.address;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(gets_in(ELSEWHERE, address, token).await, 1, "before the attack");
        let before = program.resident();
        let attack = Attack::start(count, move || one(address));
        attack.is_on().await;
        let (mut most, mut slowest, mut tries) = (0, std::time::Duration::ZERO, [0, 0]);
        for _ in 0..10 {
            for (index, from) in [ELSEWHERE, ATTACKER].into_iter().enumerate() {
                let start = Instant::now();
                tries[index] += gets_in(from, address, token).await;
                slowest = slowest.max(start.elapsed());
                most = most.max(program.resident().saturating_sub(before));
            }
        }
        println!(
            "hostile: attack={name} connections={count} begun={} added_mib={most} slowest_ms={} tries_elsewhere={} tries_same_address={} of 10",
            attack.begun.load(Relaxed), slowest.as_millis(), tries[0], tries[1],
        );
        assert!(most < most_mib, "{name}: {most} MiB");
    });
    runtime.shutdown_background();
}

/// Reads until the other side ends the connection.
async fn until_the_end(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer).await, Ok(bytes) if bytes > 0) {}
}

#[test]
fn silent_sockets_keep_nobody_out() {
    let one = |address| async move {
        if let Ok(stream) = connect(ATTACKER, address).await {
            until_the_end(stream).await;
        }
    };
    survives("silent sockets", Some(TOKEN), STRANGERS_MIB, 1_280, one);
    survives("silent sockets, no token", None, STRANGERS_MIB, 1_280, one);
}

#[test]
fn websockets_that_only_answer_pings_keep_nobody_with_a_token_out() {
    survives("pings", Some(TOKEN), STRANGERS_MIB, 1_024, |address| async move {
        let Some(mut socket) = websocket(ATTACKER, address).await else { return };
        // The library answers pings while it reads.
        while matches!(socket.next().await, Some(Ok(_))) {}
    });
}

/// A request with a body of 16 MiB, whose last byte never comes.
async fn unfinished_body(address: SocketAddr) {
    let Ok(stream) = connect(ATTACKER, address).await else { return };
    let (mut reading, mut writing) = stream.into_split();
    let head = format!(
        "POST /api/mutation HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        16 * 1024 * 1024
    );
    let body = async {
        if writing.write_all(head.as_bytes()).await.is_ok() {
            let block = vec![b' '; 64 * 1024];
            for _ in 0..255 {
                if writing.write_all(&block).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        }
    };
    let end = async {
        let mut buffer = [0; 1024];
        while matches!(reading.read(&mut buffer).await, Ok(bytes) if bytes > 0) {}
    };
    tokio::select! { () = body => {}, () = end => {} }
}

#[test]
fn unfinished_bodies_take_little_memory_and_keep_nobody_out() {
    survives("bodies", Some(TOKEN), STRANGERS_MIB, 60, unfinished_body);
    survives("bodies, no token", None, OPEN_MIB, 60, unfinished_body);
}

/// As [`unfinished_body`], in chunks that claim no length.
async fn endless_chunks(address: SocketAddr) {
    let Ok(mut stream) = connect(ATTACKER, address).await else { return };
    let head = b"POST /api/mutation HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    if stream.write_all(head).await.is_ok() {
        let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    }
}

#[test]
fn bodies_without_a_length_take_little_memory_and_keep_nobody_out() {
    survives("chunks", Some(TOKEN), STRANGERS_MIB, 60, endless_chunks);
    survives("chunks, no token", None, OPEN_MIB, 60, endless_chunks);
}

/// A WebSocket message of 16 MiB, whose last byte never comes, before a token.
async fn unfinished_message(address: SocketAddr) {
    let Some(socket) = websocket(ATTACKER, address).await else { return };
    let mut stream = socket.into_inner();
    let mut header = vec![0x81, 0xff];
    header.extend((16_u64 * 1024 * 1024).to_be_bytes());
    header.extend([0; 4]);
    if stream.write_all(&header).await.is_err() {
        return;
    }
    let block = vec![b' '; 64 * 1024];
    for _ in 0..255 {
        if stream.write_all(&block).await.is_err() {
            return;
        }
    }
    until_the_end(stream).await;
}

#[test]
fn unfinished_messages_take_little_memory_and_keep_nobody_out() {
    survives("messages", Some(TOKEN), STRANGERS_MIB, 60, unfinished_message);
    survives("messages, no token", None, OPEN_MIB, 1_000, unfinished_message);
}

/// A message in many fragments, with a ping after each.
async fn fragments(address: SocketAddr) {
    let Some(socket) = websocket(ATTACKER, address).await else { return };
    let (mut reading, mut writing) = socket.into_inner().into_split();
    let frame = |first: u8, bytes: u16| {
        let mut frame = vec![first, 0xfe];
        frame.extend(bytes.to_be_bytes());
        frame.extend([0; 4]);
        frame.resize(frame.len() + usize::from(bytes), b' ');
        frame
    };
    let writes = async {
        let mut first = 0x01;
        while writing.write_all(&frame(first, 60_000)).await.is_ok()
            && writing.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.is_ok()
        {
            first = 0x00;
        }
    };
    let reads = async {
        let mut buffer = [0; 1024];
        while matches!(reading.read(&mut buffer).await, Ok(bytes) if bytes > 0) {}
    };
    tokio::select! { () = writes => {}, () = reads => {} }
}

#[test]
fn fragments_with_pings_between_them_take_little_memory() {
    survives("fragments", Some(TOKEN), STRANGERS_MIB, 60, fragments);
    survives("fragments, no token", None, OPEN_MIB, 60, fragments);
}

/// Endless headers.
async fn headers(address: SocketAddr) {
    let Ok(mut stream) = connect(ATTACKER, address).await else { return };
    if stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n").await.is_ok() {
        let header = format!("x-{}: {}\r\n", "n".repeat(100), "v".repeat(8_000));
        while stream.write_all(header.as_bytes()).await.is_ok() {}
    }
}

#[test]
fn endless_headers_take_little_memory_and_keep_nobody_out() {
    survives("headers", Some(TOKEN), STRANGERS_MIB, 256, headers);
}

#[test]
fn a_websocket_without_a_token_ends_in_time_and_is_told_why() {
    let _alone = alone();
    let program = Program::start(Some(TOKEN));
    peer::run(async {
        let mut socket = websocket(ELSEWHERE, program.address).await.expect("strangers may connect");
        let start = Instant::now();
        let reason = within("the end", async {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return frame.reason.to_string(),
                    Some(Ok(_)) => {}
                    other => panic!("it ended without a reason: {other:?}"),
                }
            }
        })
        .await;
        assert!(reason.contains("token"), "{reason}");
        println!("hostile: a stranger was told after {} ms", start.elapsed().as_millis());
    });
}

/// One request, with or without the token. Returns the status.
async fn post(address: SocketAddr, token: Option<&str>, bytes: usize) -> u16 {
    let mut stream = connect(ELSEWHERE, address).await.unwrap();
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let head =
        format!("POST /api/query HTTP/1.1\r\nHost: x\r\n{token}Content-Length: {bytes}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // The backend may refuse the body before it has all of it.
    let _ = stream.write_all(&vec![b' '; bytes]).await;
    let mut answer = [0; 12];
    within("an answer", stream.read_exact(&mut answer)).await.unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[test]
fn a_large_body_needs_the_token_in_its_head() {
    let _alone = alone();
    let program = Program::start(Some(TOKEN));
    peer::run(async {
        // Neither body is a call.
        assert_eq!(post(program.address, Some(TOKEN), 1024 * 1024).await, 400);
        assert_eq!(post(program.address, None, 64 * 1024).await, 400);
        assert_eq!(post(program.address, None, 64 * 1024 + 1).await, 413);
        assert_eq!(post(program.address, Some(TOKEN), 16 * 1024 * 1024 + 1).await, 413);
    });
}
