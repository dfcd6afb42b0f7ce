//! The embedded backend without threads and sockets: the writer, the log and its store, and a session per connection,
//! in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use automerge::ChangeHash;
use convex::Value;
use convex_sync_types::{ClientMessage, ServerMessage, SessionRequestSeqNumber};
use tokio::sync::watch;

use super::{
    access::{Access, Everyone},
    error::BackendError,
    limits::PATIENCE,
    server::session::{Frame, Input, Output, Session},
    store::Store,
    turns::Caller,
    writer::{Job, Jobs, Reply, Writer},
};
use crate::{DocumentId, record::Position, wire::PullDeltas};

/// A connection, by a number that is never used again.
pub(crate) type Client = u64;

/// The answers of the writer.
type Answered = Arc<Mutex<VecDeque<(Client, SessionRequestSeqNumber, Reply)>>>;

/// A frame to a client.
#[derive(Debug)]
pub(crate) enum Down {
    Message(ServerMessage<Value>),
    Close,
}

/// A running backend.
pub(crate) struct Node {
    writer: Writer,
    published: watch::Receiver<i64>,
    jobs: Jobs,
    waiting: crossbeam_channel::Receiver<Job>,
    answered: Answered,
    sessions: BTreeMap<Client, Session>,
    now: Duration,
    epoch: String,
    /// All rows that readers were shown, in order, including those that compaction has replaced since.
    shown: Vec<Shown>,
}

/// A row of a log, as a reader has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) position: Position,
    pub(crate) collection: &'static str,
    pub(crate) document: DocumentId,
    /// The change that is whole with this row.
    pub(crate) change: Option<ChangeHash>,
}

impl Node {
    /// Opens the log in a folder. `epoch` is the id of a new log, and of a log that was restored from a backup.
    pub(crate) fn start(
        folder: &Path,
        epoch: &str,
        new_epoch: bool,
        retention: Duration,
        now: Arc<AtomicI64>,
        shown: Vec<Shown>,
    ) -> Result<Self, BackendError> {
        let store = Store::open(folder, epoch)?;
        let mut log = store.read()?;
        if new_epoch {
            store.renew_epoch(epoch)?;
            log.renew_epoch(epoch);
        }
        let epoch = log.epoch().to_string();
        let clock = Box::new(move || now.load(Ordering::Relaxed));
        let (writer, published) =
            Writer::new(log, Some(store), retention, super::limits::LOG_BYTES, Arc::new(Everyone), clock);
        let (jobs, waiting) = Jobs::channel();
        Ok(Self {
            writer,
            published,
            jobs,
            waiting,
            answered: Answered::default(),
            sessions: BTreeMap::new(),
            now: Duration::ZERO,
            epoch,
            shown,
        })
    }

    /// Ends the backend at once. Returns the rows that its log had shown.
    pub(crate) fn stop(self) -> Vec<Shown> {
        self.shown
    }

    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(crate) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Sets the time, counted from a moment before the start.
    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now;
        let due = |session: &&mut Session| session.is_open() && session.poll_timeout() <= now;
        for session in self.sessions.values_mut().filter(due) {
            session.handle(Input::Timer, now);
            while let Some(output) = session.poll() {
                if let Output::Ping = output {
                    // The library of a socket answers pings.
                    session.handle(Input::Alive(0), now);
                }
            }
        }
    }

    pub(crate) fn connect(&mut self, client: Client) {
        self.sessions.insert(client, Session::new(Access::default(), PATIENCE, self.now));
    }

    /// The backend notices that a client is gone.
    pub(crate) fn disconnect(&mut self, client: Client) {
        if let Some(mut session) = self.sessions.remove(&client) {
            session.handle(Input::Gone, self.now);
        }
    }

    /// Mutations that wait for the disk.
    pub(crate) fn mutations_waiting(&self) -> usize {
        self.writer.waiting(&self.waiting)
    }

    /// Whether the client's messages are read now.
    pub(crate) fn reads(&self, client: Client) -> bool {
        self.sessions.get(&client).is_some_and(Session::reads)
    }

    /// A client sends a message. `page_rows` is the number of rows that its pages are to have.
    pub(crate) fn hear(&mut self, client: Client, message: ClientMessage, page_rows: Option<f64>) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.handle(Input::Text(&text(message, page_rows)), self.now);
        while let Some(output) = session.poll() {
            let Output::Run { request, key, collection, mutation, user, bytes } = output else { continue };
            let answered = self.answered.clone();
            self.jobs.mutate((Caller(client), bytes), key, collection, mutation, user, move |reply| {
                answered.lock().unwrap_or_else(PoisonError::into_inner).push_back((client, request, reply));
            });
        }
    }

    /// Lets the writer make waiting mutations durable and answer them. Returns the number of answers.
    pub(crate) fn write(&mut self, collections: &[&'static str]) -> usize {
        self.writer.run_group(&self.waiting);
        self.look(collections);
        let answered = std::mem::take(&mut *self.answered.lock().unwrap_or_else(PoisonError::into_inner));
        let answers = answered.len();
        for (client, request, reply) in answered {
            if let Some(session) = self.sessions.get_mut(&client) {
                session.handle(Input::Answered(request, reply), self.now);
            }
        }
        self.tell();
        answers
    }

    /// Tells sessions of news that concern them, if there are any.
    fn tell(&mut self) {
        if !self.published.has_changed().unwrap_or(false) {
            return;
        }
        self.published.mark_unchanged();
        let log = self.writer.shared();
        for session in self.sessions.values_mut().filter(|session| session.queries().are_due(&log)) {
            session.handle(Input::News, self.now);
        }
    }

    /// The writer maintains the log: it checks rows that were taken as sent, and compacts long documents.
    pub(crate) fn look_after(&mut self) {
        self.writer.look_after();
        self.tell();
    }

    pub(crate) fn compact(&mut self, collection: &str, document: &DocumentId, tail: usize) {
        self.writer.compact(collection, document, tail);
        self.tell();
        // Readers that do not have the replaced changes get them in the snapshot from now on.
        let left = self.positions(collection, document);
        for row in self.shown.iter_mut().filter(|row| row.collection == collection && row.document == *document) {
            row.position = left.range(row.position..).next().copied().unwrap_or(row.position);
        }
    }

    /// Lets the writer prune documents that were deleted longer ago than the retention.
    pub(crate) fn prune(&mut self) {
        self.writer.prune();
        self.tell();
        for row in &mut self.shown {
            if self.writer.log().has_pruned(row.collection, &row.document) {
                // A reader need not have the change any more.
                row.change = None;
            }
        }
    }

    /// The commit up to which a collection's log was pruned.
    pub(crate) fn pruned_to(&self, collection: &str) -> Option<i64> {
        self.writer.log().pruned_to(collection)
    }

    /// The documents that a collection's log has pruned.
    pub(crate) fn pruned(&self, collection: &str) -> BTreeSet<DocumentId> {
        self.writer.log().pruned(collection)
    }

    /// The positions of a document's rows.
    fn positions(&self, collection: &str, document: &DocumentId) -> BTreeSet<Position> {
        let log = self.writer.log();
        let start = Some(Position::default());
        let mut args = PullDeltas { checkpoint: start, limit: None, scope: None, pruned: log.pruned_to(collection) };
        let mut positions = BTreeSet::new();
        while let Ok(page) = log.pull_deltas(collection, &args) {
            positions.extend(page.rows.iter().filter(|row| row.document == *document).map(|row| row.position));
            args.checkpoint = Some(page.checkpoint);
            if !page.has_more {
                break;
            }
        }
        positions
    }

    /// The next frame to a client, if there is one.
    pub(crate) fn next_frame(&mut self, client: Client) -> Option<Down> {
        let log = self.writer.shared();
        match self.sessions.get_mut(&client)?.next_frame(&log)? {
            Frame::Message(message) => ServerMessage::try_from(message).ok().map(Down::Message),
            Frame::Close(_) => Some(Down::Close),
        }
    }

    /// Whether [`next_frame`](Self::next_frame) may have something for a client.
    pub(crate) fn has_frames(&self, client: Client) -> bool {
        self.sessions.get(&client).is_some_and(Session::has_frames)
    }

    /// The app's table.
    pub(crate) fn rows(&self, collection: &str) -> Vec<(DocumentId, Value)> {
        self.writer.log().rows(collection)
    }

    /// All chunks of a collection's log.
    pub(crate) fn chunks(&self, collection: &str) -> Vec<(DocumentId, Arc<[u8]>)> {
        let log = self.writer.log();
        let mut all = Vec::new();
        let mut checkpoint = Position::default();
        loop {
            let pruned = log.pruned_to(collection);
            let args = PullDeltas { checkpoint: Some(checkpoint), limit: None, scope: None, pruned };
            let Ok(page) = log.pull_deltas(collection, &args) else { return all };
            checkpoint = page.checkpoint;
            all.extend(page.rows.into_iter().map(|row| (row.document, row.bytes)));
            if !page.has_more {
                return all;
            }
        }
    }

    /// Notes the rows that readers see for the first time.
    fn look(&mut self, collections: &[&'static str]) {
        let log = self.writer.log();
        let last = self.shown.iter().map(|row| row.position).max().unwrap_or_default();
        let mut partial: BTreeMap<[u8; 32], Vec<u8>> = BTreeMap::new();
        let mut new = Vec::new();
        for &collection in collections {
            let mut checkpoint = Position::default();
            // This begins at the newest row that this collection has shown, because others may have come since.
            for row in self.shown.iter().filter(|row| row.collection == collection) {
                checkpoint = checkpoint.max(row.position);
            }
            loop {
                let pruned = log.pruned_to(collection);
                let args = PullDeltas { checkpoint: Some(checkpoint), limit: None, scope: None, pruned };
                let Ok(page) = log.pull_deltas(collection, &args) else { break };
                checkpoint = page.checkpoint;
                for row in page.rows {
                    let whole = match &row.part {
                        None => Some(row.bytes.to_vec()),
                        Some(part) => {
                            let bytes = partial.entry(part.hash).or_default();
                            bytes.extend_from_slice(&row.bytes);
                            (part.index + 1 == part.count).then(|| bytes.clone())
                        }
                    };
                    new.push(Shown {
                        position: row.position,
                        collection,
                        document: row.document,
                        change: whole.and_then(|bytes| crate::chunk::change_hash(&bytes)),
                    });
                }
                if !page.has_more {
                    break;
                }
            }
        }
        debug_assert!(new.iter().all(|row| row.position > last), "commits are in order");
        drop(log);
        self.shown.extend(new);
    }
}

/// A message as the socket carries it.
fn text(message: ClientMessage, page_rows: Option<f64>) -> String {
    // This fails only for an invalid token, and the simulator has no tokens.
    let mut message = serde_json::Value::try_from(message).unwrap_or_default();
    let queries = message.get_mut("modifications").and_then(serde_json::Value::as_array_mut).into_iter().flatten();
    for query in queries {
        let is_pull =
            query.get("udfPath").and_then(|path| path.as_str()).is_some_and(|path| path.ends_with("pullDeltas"));
        if let (true, Some(rows), Some(arguments)) = (is_pull, page_rows, query.pointer_mut("/args/0")) {
            arguments["limit"] = rows.into();
        }
    }
    message.to_string()
}
