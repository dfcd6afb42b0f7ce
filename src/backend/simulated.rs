//! The embedded backend without threads and sockets: the writer, the log and its store, and who is subscribed to what.

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
use convex::{ConvexError, FunctionResult, Value};
use convex_sync_types::UdfPath;

use super::{
    error::BackendError,
    function::{self, CallError, Query},
    log::PullDeltas,
    store::Store,
    turns::Caller,
    writer::{Job, Jobs, Writer},
};
use crate::{
    DocumentId,
    replica::Position,
    transport::simulated::{Down, Mutation, Subscription, Up},
};

/// A connection, by a number that is never used again.
pub(crate) type Client = u64;

/// What the writer has answered.
type Answered = Arc<Mutex<VecDeque<(Client, Mutation, FunctionResult)>>>;

/// A running backend.
pub(crate) struct Node {
    writer: Writer,
    jobs: Jobs,
    waiting: crossbeam_channel::Receiver<Job>,
    answered: Answered,
    clients: BTreeMap<Client, BTreeMap<Subscription, Open>>,
    epoch: String,
    /// What readers were shown, in order: also what compaction has replaced since.
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

struct Open {
    call: Result<(String, Query), CallError>,
    ran_at: Option<i64>,
}

impl Node {
    /// Opens the log in a folder. `epoch` names a new one, and one that is put back from a backup.
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
        let (writer, _) = Writer::new(log, Some(store), retention, super::limits::LOG_BYTES, clock);
        let (jobs, waiting) = Jobs::channel();
        let answered = Answered::default();
        Ok(Self { writer, jobs, waiting, answered, clients: BTreeMap::new(), epoch, shown })
    }

    /// Ends it, at once. Gives what its log had shown.
    pub(crate) fn stop(self) -> Vec<Shown> {
        self.shown
    }

    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(crate) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    pub(crate) fn disconnect(&mut self, client: Client) {
        self.clients.remove(&client);
    }

    /// Mutations that wait for the disk.
    pub(crate) fn mutations_waiting(&self) -> usize {
        self.writer.waiting(&self.waiting)
    }

    /// A client says something.
    pub(crate) fn hear(&mut self, client: Client, up: Up, page_rows: Option<f64>) {
        match up {
            Up::Subscribe { subscription, function, arguments } => {
                let mut call = path(&function).and_then(|path| function::query(&path, &arguments));
                if let Ok((_, Query::PullDeltas(arguments))) = &mut call {
                    arguments.limit = page_rows;
                }
                self.clients.entry(client).or_default().insert(subscription, Open { call, ran_at: None });
            }
            Up::Close(subscription) => {
                if let Some(open) = self.clients.get_mut(&client) {
                    open.remove(&subscription);
                }
            }
            Up::Mutate { mutation: number, function, arguments } => {
                let answered = self.answered.clone();
                let answer = move |result| {
                    let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
                    answered.push_back((client, number, function_result(result)));
                };
                match path(&function).and_then(|path| function::mutation(&path, &arguments)) {
                    Ok((collection, mutation)) => {
                        let from = (Caller(client), arguments.len());
                        self.jobs.mutate(from, collection, mutation, move |reply| answer(reply.result))
                    }
                    Err(error) => answer(Err(error)),
                }
            }
        }
    }

    /// The writer makes what waits durable, and answers. Gives the answers.
    pub(crate) fn write(&mut self, collections: &[&'static str]) -> Vec<(Client, Mutation, FunctionResult)> {
        self.writer.run_group(&self.waiting);
        self.look(collections);
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// The writer looks after the log: rows that were taken as sent, long documents.
    pub(crate) fn look_after(&mut self) {
        self.writer.look_after();
    }

    pub(crate) fn compact(&mut self, collection: &str, document: &DocumentId, tail: usize) {
        self.writer.compact(collection, document, tail);
        // What a snapshot stands for now comes with it, to those who do not have it yet.
        let left = self.positions(collection, document);
        for row in self.shown.iter_mut().filter(|row| row.collection == collection && row.document == *document) {
            row.position = left.range(row.position..).next().copied().unwrap_or(row.position);
        }
    }

    /// The writer looks for what was deleted longer ago than the retention.
    pub(crate) fn prune(&mut self) {
        self.writer.prune();
        for row in &mut self.shown {
            if self.writer.log().has_pruned(row.collection, &row.document) {
                // Nobody has to have it.
                row.change = None;
            }
        }
    }

    /// How far a collection's log was pruned.
    pub(crate) fn pruned_to(&self, collection: &str) -> Option<i64> {
        self.writer.log().pruned_to(collection)
    }

    /// What a collection's log has pruned.
    pub(crate) fn pruned(&self, collection: &str) -> BTreeSet<DocumentId> {
        self.writer.log().pruned(collection)
    }

    /// Where a document's rows are.
    fn positions(&self, collection: &str, document: &DocumentId) -> BTreeSet<Position> {
        let log = self.writer.log();
        let start = Some(Position::default());
        let mut args = PullDeltas { checkpoint: start, limit: None, scope: None, pruned: log.pruned_to(collection) };
        let mut positions = BTreeSet::new();
        while let Ok(page) = log.pull_deltas(collection, &args) {
            positions.extend(page.deltas.iter().filter(|row| row.document == *document).map(|row| row.position));
            args.checkpoint = Some(page.checkpoint);
            if !page.has_more {
                break;
            }
        }
        positions
    }

    /// The newest results of a client's subscriptions that have news; with `again` of all of them.
    pub(crate) fn transition(&mut self, client: Client, again: bool) -> Option<Down> {
        let log = self.writer.log();
        let mut results = Vec::new();
        for (subscription, open) in self.clients.get_mut(&client)? {
            let is_due = match (&open.call, open.ran_at) {
                (_, None) => true,
                (Ok((collection, query)), Some(ran_at)) => log.touched(collection, query.scope()) > ran_at,
                (Err(_), Some(_)) => false,
            };
            if is_due || again {
                open.ran_at = Some(log.published());
                let result = match &open.call {
                    Ok((collection, query)) => query.run(collection, &log).map_err(CallError::Refused),
                    Err(error) => Err(error.clone()),
                };
                results.push((*subscription, function_result(result.map(Value::from))));
            }
        }
        (!results.is_empty()).then_some(Down::Results(results))
    }

    /// Whether [`transition`](Self::transition) has something for a client.
    pub(crate) fn has_news(&self, client: Client) -> bool {
        let log = self.writer.log();
        self.clients.get(&client).into_iter().flat_map(BTreeMap::values).any(|open| match (&open.call, open.ran_at) {
            (_, None) => true,
            (Ok((collection, query)), Some(ran_at)) => log.touched(collection, query.scope()) > ran_at,
            (Err(_), Some(_)) => false,
        })
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
            all.extend(page.deltas.into_iter().map(|delta| (delta.document, delta.bytes)));
            if !page.has_more {
                return all;
            }
        }
    }

    /// Notes what readers see that they did not see before.
    fn look(&mut self, collections: &[&'static str]) {
        let log = self.writer.log();
        let last = self.shown.iter().map(|row| row.position).max().unwrap_or_default();
        let mut partial: BTreeMap<[u8; 32], Vec<u8>> = BTreeMap::new();
        let mut new = Vec::new();
        for &collection in collections {
            let mut checkpoint = Position::default();
            // From the newest that this collection has shown: others may have come since.
            for row in self.shown.iter().filter(|row| row.collection == collection) {
                checkpoint = checkpoint.max(row.position);
            }
            loop {
                let pruned = log.pruned_to(collection);
                let args = PullDeltas { checkpoint: Some(checkpoint), limit: None, scope: None, pruned };
                let Ok(page) = log.pull_deltas(collection, &args) else { break };
                checkpoint = page.checkpoint;
                for delta in page.deltas {
                    let whole = match &delta.part {
                        None => Some(delta.bytes.to_vec()),
                        Some(part) => {
                            let bytes = partial.entry(part.hash).or_default();
                            bytes.extend_from_slice(&delta.bytes);
                            (part.index + 1 == part.count).then(|| bytes.clone())
                        }
                    };
                    new.push(Shown {
                        position: delta.position,
                        collection,
                        document: delta.document,
                        change: whole.and_then(|bytes| crate::replica::change_hash(&bytes)),
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

fn path(function: &str) -> Result<UdfPath, CallError> {
    function.parse().map_err(|_| CallError::Message(format!("{function} is no function")))
}

fn function_result(result: Result<Value, CallError>) -> FunctionResult {
    match result.map_err(CallError::into_parts) {
        Ok(value) => FunctionResult::Value(value),
        Err((message, None)) => FunctionResult::ErrorMessage(message),
        Err((message, Some(data))) => FunctionResult::ConvexError(ConvexError { message, data }),
    }
}
