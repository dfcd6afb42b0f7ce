//! Clients that behave as apps do.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use automerge::{AutoCommit, ChangeHash, ROOT, ScalarValue, transaction::Transactable};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;
use tokio::time::sleep;

use crate::{
    Failure,
    peer::{self, Peer},
};

/// The number of pushes after which a client subscribes again from its checkpoint, as the library's client does.
const ADVANCE: usize = 16;

/// The phase of the run. Waiting times between the counted phases are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Between,
    Quiet,
    Loaded,
}

const PHASES: [Phase; 3] = [Phase::Between, Phase::Quiet, Phase::Loaded];

/// The state that all clients share.
pub struct Stage {
    pub address: String,
    phase: AtomicUsize,
    pub is_over: AtomicBool,
}

impl Stage {
    pub fn new(address: String) -> Self {
        Self { address, phase: AtomicUsize::new(Phase::Between as usize), is_over: AtomicBool::new(false) }
    }

    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        PHASES[self.phase.load(Ordering::Relaxed)]
    }
}

/// The times of one push.
pub struct Waited {
    pub phase: Phase,
    pub answered: Duration,
    /// Until the client's own subscription returned the change.
    pub seen: Duration,
}

/// The changes that a client has pushed, all of them acknowledged.
pub struct Pushed {
    pub scope: String,
    pub changes: HashSet<ChangeHash>,
    pub waited: Vec<Waited>,
}

/// Pushes about once a second until the run is over, and waits for each answer and for its own change.
pub async fn run(stage: Arc<Stage>, number: usize) -> Result<Pushed, Failure> {
    let mut random = SmallRng::seed_from_u64(number as u64);
    let mut peer = Peer::connect(&stage.address).await?;
    let mut pushed = Pushed { scope: format!("room {number}"), changes: HashSet::new(), waited: Vec::new() };
    let scope = pushed.scope.clone();
    let mut document = AutoCommit::new();
    document.put(ROOT, "count", ScalarValue::counter(0))?;
    let mut known = Vec::new();
    let mut checkpoint = peer::start();
    peer.subscribe(Some(&scope), &checkpoint).await?;
    while !stage.is_over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(random.random_range(500..1_500))).await;
        document.increment(ROOT, "count", 1)?;
        document.commit();
        let change = document.get_changes(&known).pop().ok_or("no change")?;
        known = document.get_heads();
        let before = checkpoint.clone();
        let (phase, sent) = (stage.phase(), Instant::now());
        let fields = json!({ "count": (pushed.changes.len() + 1) as f64 });
        let request = peer.push("tasks", &scope, &scope, change.raw_bytes(), fields).await?;
        let (mut answered, mut seen) = (None, None);
        let (answered, seen) = loop {
            if let (Some(answered), Some(seen)) = (answered, seen) {
                break (answered, seen);
            }
            let message = peer.next().await?;
            if message["type"] == "MutationResponse" && message["requestId"] == request {
                if message["result"]["results"][0]["status"] != "accepted" {
                    return Err(format!("a healthy push was refused: {message}").into());
                }
                answered = Some(sent.elapsed());
            } else if let Some(page) = peer.page(&message)? {
                if !page.chunks.is_empty() && page.checkpoint != before {
                    seen = Some(sent.elapsed());
                }
                checkpoint = page.checkpoint;
            }
        };
        pushed.changes.insert(change.hash());
        pushed.waited.push(Waited { phase, answered, seen });
        if pushed.changes.len().is_multiple_of(ADVANCE) {
            peer.subscribe(Some(&scope), &checkpoint).await?;
        }
    }
    Ok(pushed)
}

/// The number of the changes that the backend does not return to a client that reads a scope from its start.
pub async fn lost(address: &str, scope: &str, mut changes: HashSet<ChangeHash>) -> Result<usize, Failure> {
    let mut peer = Peer::connect(address).await?;
    let mut document = AutoCommit::new();
    let mut from = peer::start();
    loop {
        peer.subscribe(Some(scope), &from).await?;
        let page = loop {
            let message = peer.next().await?;
            if let Some(page) = peer.page(&message)? {
                break page;
            }
        };
        for chunk in &page.chunks {
            document.load_incremental(chunk)?;
        }
        if !page.has_more {
            break;
        }
        from = page.checkpoint;
    }
    for change in document.get_changes(&[]) {
        changes.remove(&change.hash());
    }
    Ok(changes.len())
}
