//! Hostile clients.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use automerge::{AutoCommit, ROOT, transaction::Transactable};
use futures::SinkExt;
use serde_json::json;
use tokio::time::sleep;
use tokio_tungstenite::{MaybeTlsStream, tungstenite::Message};

use crate::{
    Failure,
    peer::{self, Peer},
};

/// Bytes of each large push's change. Its field has as many again.
const LARGE: usize = 200_000;
/// More bytes than a frame may have.
const OVERSIZED: usize = 17 * 1024 * 1024;
/// The time that a client waits before it connects again after the backend ended its connection.
const AGAIN: Duration = Duration::from_secs(1);
/// Longer than any run.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The kinds of hostile clients. The clients take these kinds in turn.
#[derive(Clone, Copy)]
enum Kind {
    /// Subscribes to the changes of all clients, and reads nothing.
    SlowReader,
    /// Sends messages without meaning as fast as the backend takes them.
    Messages,
    /// The same with small pushes.
    Pushes,
    /// The same with large ones.
    LargePushes,
    /// Sends frames that are too large.
    Oversized,
    /// Subscribes to the changes of all clients, and disappears without closing its connection.
    HalfOpen,
}

const KINDS: [Kind; 6] =
    [Kind::SlowReader, Kind::Messages, Kind::Pushes, Kind::LargePushes, Kind::Oversized, Kind::HalfOpen];

/// All hostile clients. They are in a process of their own, so that sending this much does not delay the clock readings
/// of the healthy clients.
pub struct Hostiles(Child);

impl Hostiles {
    pub fn start(address: &str, count: usize) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--hostile", address, "--connections", &count.to_string()]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Stops the clients, and returns the number of their connections that the backend ended.
    pub fn stop(mut self) -> Result<usize, Failure> {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().ok_or("no output")?.read_to_string(&mut said)?;
        self.0.wait()?;
        Ok(said.trim().parse()?)
    }
}

impl Drop for Hostiles {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The main function of that process. It runs until its input ends.
pub fn process(address: &str, count: usize) -> Result<(), Failure> {
    let ended = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for number in 0..count {
        runtime.spawn(again(address.to_owned(), KINDS[number % KINDS.len()], ended.clone()));
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", ended.load(Ordering::Relaxed));
    runtime.shutdown_background();
    Ok(())
}

async fn again(address: String, kind: Kind, ended: Arc<AtomicUsize>) {
    loop {
        if run(&address, kind).await.is_err() {
            ended.fetch_add(1, Ordering::Relaxed);
        }
        sleep(AGAIN).await;
    }
}

async fn run(address: &str, kind: Kind) -> Result<(), Failure> {
    let mut peer = Peer::connect(address).await?;
    match kind {
        Kind::SlowReader => {
            peer.subscribe(None, &peer::start()).await?;
            sleep(FOREVER).await;
        }
        Kind::Messages => loop {
            peer.say(json!({ "type": "Event", "eventType": "x", "event": {} })).await?;
        },
        Kind::Pushes => {
            let mut document = AutoCommit::new();
            document.put(ROOT, "number", 7)?;
            push_forever(&mut peer, &mut document, json!({ "number": 7.0 })).await?;
        }
        Kind::LargePushes => {
            let mut document = AutoCommit::new();
            document.put(ROOT, "raw", vec![7_u8; LARGE])?;
            push_forever(&mut peer, &mut document, json!({ "raw": peer::bytes(vec![7; LARGE]) })).await?;
        }
        Kind::Oversized => {
            peer.socket.send(Message::binary(vec![0; OVERSIZED])).await?;
            peer.next().await?;
        }
        Kind::HalfOpen => {
            peer.subscribe(None, &peer::start()).await?;
            peer.next().await?;
            vanish(&peer)?;
            sleep(FOREVER).await;
        }
    }
    Ok(())
}

/// Creates new documents of one change each, and reads no answer.
async fn push_forever(peer: &mut Peer, document: &mut AutoCommit, fields: serde_json::Value) -> Result<(), Failure> {
    let change = document.get_changes(&[]).pop().ok_or("no change")?;
    loop {
        let id = uuid::Uuid::new_v4().to_string();
        peer.push("flood", "flood", &id, change.raw_bytes(), fields.clone()).await?;
    }
}

/// Leaves the other side with a half-open connection: the kernel drops every packet for this socket, so that none is
/// acknowledged, and nothing ends the connection. A peer whose machine or network has failed looks the same.
#[cfg(target_os = "linux")]
fn vanish(peer: &Peer) -> Result<(), Failure> {
    /// The BPF program that keeps 0 bytes of each packet.
    const NOTHING: socket2::SockFilter = socket2::SockFilter::new(0x06, 0, 0, 0);
    let MaybeTlsStream::Plain(stream) = peer.socket.get_ref() else { return Err("a connection in the clear".into()) };
    Ok(socket2::SockRef::from(stream).attach_filter(&[NOTHING])?)
}

/// On other systems the client is only silent: its kernel acknowledges packets.
#[cfg(not(target_os = "linux"))]
fn vanish(_: &Peer) -> Result<(), Failure> {
    Ok(())
}
