//! The one thread that changes the log.
//!
//! Mutations that arrive while the disk is busy are made durable together, in one transaction. Only then are they shown to readers, and
//! answered.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use convex::Value;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use tokio::sync::watch;

use super::{
    function::{self, CallError, Mutation},
    limits::{CARE_EVERY, CHECKS, GROUP, IDLE, PRUNE_DOCUMENTS, PRUNE_EVERY},
    log::{Committed, Log, Record},
    store::Store,
};
use crate::limits::or_tiny;

/// The log, shared with those who read it.
#[derive(Clone)]
pub(super) struct Shared(Arc<RwLock<Log>>);

impl Shared {
    // The log is whole whenever no one is changing it; a panic in between is the writer's, and ends it.
    pub fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mutation's answer, and the commit whose effects it tells of.
pub(super) struct Reply {
    pub result: Result<Value, CallError>,
    pub ts: i64,
}

/// Asks the writer for things.
#[derive(Clone)]
pub(super) struct Jobs(Sender<Job>);

pub(super) enum Job {
    Mutate { collection: String, mutation: Mutation, reply: Box<dyn FnOnce(Reply) + Send> },
    Look(Box<dyn FnOnce(&Log) + Send>),
    Stop,
}

impl Jobs {
    /// Runs a mutation; `reply` is called once it is durable, in the order of the calls. Dropped if the backend has stopped.
    pub fn mutate(&self, collection: String, mutation: Mutation, reply: impl FnOnce(Reply) + Send + 'static) {
        // The writer only goes when the backend stops; `reply` is dropped then, which its other end notices.
        let _ = self.0.send(Job::Mutate { collection, mutation, reply: Box::new(reply) });
    }

    /// Looks at the log when everything in it is durable. Returns `None` if the backend has stopped.
    pub fn look<T: Send + 'static>(&self, look: impl FnOnce(&Log) -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let look = Box::new(move |log: &Log| drop(sender.send(look(log))));
        self.0.send(Job::Look(look)).ok()?;
        receiver.recv().ok()
    }

    /// Ends the writer after everything asked so far.
    pub fn stop(&self) {
        // It may have ended already.
        let _ = self.0.send(Job::Stop);
    }
}

/// Starts the writer. The receiver is told the newest commit whenever readers see more than before.
pub(super) fn start(
    log: Log,
    store: Option<Store>,
    retention: Duration,
) -> std::io::Result<(Shared, Jobs, watch::Receiver<i64>, JoinHandle<()>)> {
    let (sender, jobs) = crossbeam_channel::unbounded();
    let (mut writer, receiver) = Writer::new(log, store, retention, Box::new(now));
    let shared = writer.log.clone();
    let thread =
        std::thread::Builder::new().name("replicate-backend-writer".into()).spawn(move || writer.run(&jobs))?;
    Ok((shared, Jobs(sender), receiver, thread))
}

/// Tells nanoseconds since 1970.
pub(super) type Clock = Box<dyn Fn() -> i64 + Send>;

pub(super) struct Writer {
    log: Shared,
    store: Option<Store>,
    published: watch::Sender<i64>,
    /// The log in memory may be ahead of the disk.
    doubtful: bool,
    /// When the log was last looked after.
    cared: Instant,
    /// How long tombstones are kept.
    retention: Duration,
    /// When all that were older were last pruned.
    pruned: Option<Instant>,
    clock: Clock,
}

/// Answers that wait for their records to be durable.
type Answers = Vec<(Box<dyn FnOnce(Reply) + Send>, Reply)>;

impl Writer {
    pub(super) fn new(
        log: Log,
        store: Option<Store>,
        retention: Duration,
        clock: Clock,
    ) -> (Self, watch::Receiver<i64>) {
        let (published, receiver) = watch::channel(log.published());
        let log = Shared(Arc::new(RwLock::new(log)));
        let cared = Instant::now();
        (Self { log, store, published, doubtful: false, cared, retention, pruned: None, clock }, receiver)
    }

    fn run(&mut self, jobs: &Receiver<Job>) {
        let mut waiting = None;
        loop {
            let job = match waiting.take() {
                Some(job) => job,
                None => match self.next(jobs) {
                    Some(job) => job,
                    None => return,
                },
            };
            match job {
                Job::Stop => return,
                Job::Look(look) => look(&self.log.read()),
                job => waiting = self.group(job, jobs),
            }
        }
    }

    /// The next job. Looks after the log while there is none, and now and then if there always is.
    fn next(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        loop {
            let until_pruning = self.until_pruning();
            if until_pruning.is_zero() {
                self.prune();
                match jobs.try_recv() {
                    Ok(job) => return Some(job),
                    Err(TryRecvError::Disconnected) => return None,
                    Err(TryRecvError::Empty) => continue,
                }
            }
            if self.doubtful || !self.log.read().needs_care() {
                match jobs.recv_timeout(until_pruning) {
                    Ok(job) => return Some(job),
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => continue,
                }
            }
            let patience = CARE_EVERY.saturating_sub(self.cared.elapsed());
            if !patience.is_zero() {
                match jobs.recv_timeout(IDLE.min(patience)) {
                    Ok(job) => return Some(job),
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
            self.care();
            // Quiet: go on at once. Else wait for the next turn.
            while jobs.is_empty() && !self.doubtful && self.log.read().needs_care() {
                self.care();
            }
            self.cared = Instant::now();
            if jobs.is_empty() {
                self.reclaim();
            }
        }
    }

    fn reclaim(&self) {
        if !self.doubtful
            && let Some(store) = &self.store
            && let Err(error) = store.reclaim()
        {
            tracing::warn!(target: "bevy_convex_replicate::backend", %error, "cannot give back free space");
        }
    }

    /// How long it is until tombstones are looked for again.
    fn until_pruning(&self) -> Duration {
        let every = PRUNE_EVERY.min(self.retention).max(IDLE);
        self.pruned.map_or(Duration::ZERO, |pruned| every.saturating_sub(pruned.elapsed()))
    }

    /// Prunes some of the documents that were deleted longer ago than the retention.
    pub(super) fn prune(&mut self) {
        let records = match self.doubtful {
            true => Vec::new(),
            false => {
                let now = (self.clock)();
                let retention = i64::try_from(self.retention.as_nanos()).unwrap_or(i64::MAX);
                self.log.write().prune(now.saturating_sub(retention), PRUNE_DOCUMENTS, now)
            }
        };
        if let Err(problem) = self.persist(&records) {
            tracing::error!(target: "bevy_convex_replicate::backend", %problem, "cannot prune the log");
        }
        self.tell();
        if records.is_empty() || self.doubtful {
            // All, or none for now.
            self.pruned = Some(Instant::now());
            self.reclaim();
        }
    }

    /// Checks a few rows, or compacts a document.
    fn care(&mut self) {
        let records = {
            let mut log = self.log.write();
            let records = log.check_rows(CHECKS);
            if records.is_empty() { log.compact_next() } else { records }
        };
        if let Err(problem) = self.persist(&records) {
            tracing::error!(target: "bevy_convex_replicate::backend", %problem, "cannot look after the log");
        }
    }

    /// Runs this mutation and those that wait behind it, as one transaction. Returns what comes next, if it is none.
    fn group(&mut self, first: Job, jobs: &Receiver<Job>) -> Option<Job> {
        let mut records = Vec::new();
        let mut answers: Answers = Vec::new();
        let mut next = Some(first);
        let reloaded = self.reload();
        while let Some(job) = next.take() {
            let Job::Mutate { collection, mutation, reply } = job else {
                next = Some(job);
                break;
            };
            let result = match &reloaded {
                Ok(()) => mutate(&mut self.log.write(), &collection, mutation, (self.clock)(), &mut records),
                Err(problem) => Err(CallError::Message(problem.clone())),
            };
            let ts = result.as_ref().map_or(0, |(_, ts)| *ts);
            answers.push((reply, Reply { result: result.map(|(value, _)| value), ts }));
            if answers.len() >= or_tiny(GROUP, 2) {
                break;
            }
            next = jobs.try_recv().ok();
        }
        if let Err(problem) = self.persist(&records) {
            for (_, reply) in answers.iter_mut().filter(|(_, reply)| reply.result.is_ok()) {
                *reply = Reply { result: Err(CallError::Message(problem.clone())), ts: 0 };
            }
        }
        // Answers before news: a connection sends its answer, then the transition that tells of the same commit.
        for (reply, answer) in answers {
            reply(answer);
        }
        self.tell();
        next
    }

    /// Makes records durable and lets readers see their effects.
    fn persist(&mut self, records: &[Record]) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        if let Some(store) = &mut self.store
            && let Err(error) = store.write(records)
        {
            tracing::error!(target: "bevy_convex_replicate::backend", %error, "the log cannot be written");
            self.doubtful = true;
            return Err(format!("the backend cannot write its log: {error}"));
        }
        self.log.write().publish();
        Ok(())
    }

    /// Tells connections that there is news, if there is.
    fn tell(&self) {
        let published = self.log.read().published();
        self.published.send_if_modified(|newest| std::mem::replace(newest, published) != published);
    }

    /// After a failed write: goes back to what is on disk.
    fn reload(&mut self) -> Result<(), String> {
        let Some(store) = self.store.as_ref().filter(|_| self.doubtful) else {
            return Ok(());
        };
        let log = store.read().map_err(|error| format!("the backend cannot read its log: {error}"))?;
        *self.log.write() = log;
        self.doubtful = false;
        Ok(())
    }
}

/// What the simulator does in place of the thread.
#[cfg(feature = "simulation")]
impl Writer {
    pub(super) fn log(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read()
    }

    /// Runs the mutations that wait, as one transaction.
    pub(super) fn run_group(&mut self, jobs: &Receiver<Job>) {
        if let Ok(job) = jobs.try_recv() {
            // Only mutations are asked for.
            let _ = self.group(job, jobs);
        }
    }

    /// Looks after the log as if the thread was idle.
    pub(super) fn look_after(&mut self) {
        if !self.doubtful && self.log.read().needs_care() {
            self.care();
        }
    }

    /// Compacts a document, however short it is.
    pub(super) fn compact(&mut self, collection: &str, document: &crate::DocumentId, tail: usize) {
        if self.doubtful {
            return;
        }
        let records = self.log.write().compact(&collection.into(), document, tail).unwrap_or_default();
        let _ = self.persist(&records);
    }
}

#[cfg(feature = "simulation")]
impl Jobs {
    /// The two ends, for a writer without a thread.
    pub(super) fn channel() -> (Self, Receiver<Job>) {
        let (sender, jobs) = crossbeam_channel::unbounded();
        (Self(sender), jobs)
    }
}

/// Runs one mutation on the log in memory.
fn mutate(
    log: &mut Log,
    collection: &str,
    mutation: Mutation,
    now: i64,
    records: &mut Vec<Record>,
) -> Result<(Value, i64), CallError> {
    fn taken<T>(committed: Committed<T>, records: &mut Vec<Record>) -> (T, i64) {
        records.extend(committed.records);
        (committed.answer, committed.ts)
    }
    Ok(match mutation {
        Mutation::Push(args) => {
            let (answer, ts) = taken(log.push_changes(collection, args, now)?, records);
            (function::push_answer(answer, log.epoch()), ts)
        }
        Mutation::Put(args) => {
            let ((), ts) = taken(log.put_document(collection, args, now)?, records);
            (function::success(), ts)
        }
        Mutation::Delete { id } => {
            let ((), ts) = taken(log.delete_document(collection, &id, rand::random(), now)?, records);
            (function::success(), ts)
        }
    })
}

/// Nanoseconds since 1970. The log copes with a clock that is wrong.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX / 2)
}
