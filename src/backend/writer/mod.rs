//! The one thread that changes the log.
//!
//! Mutations that arrive while the disk is busy are made durable together, in one transaction. Only then do readers see
//! them, and only then are they answered. [`Turns`](super::turns) chooses which caller is next.

mod jobs;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use convex::Value;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::watch;

use self::jobs::Mutate;
pub(super) use self::jobs::{Job, Jobs, Reply};
use super::{
    access::{Authorize, Rights},
    capacity::Capacity,
    function::{CallError, Mutation},
    limits::{CARE_EVERY, CHECKS, IDLE, PART_RETENTION, PRUNE_DOCUMENTS, PRUNE_EVERY},
    log::{Committed, Log, Outcome, Record, RequestKey},
    presence::Presence,
    store::Store,
    turns::Turns,
};
use crate::wire;

/// The log, shared with its readers, and beside it what is never logged.
#[derive(Clone)]
pub(super) struct Shared {
    log: Arc<RwLock<Log>>,
    presence: Arc<Presence>,
}

impl Shared {
    fn new(log: Log) -> Self {
        Self { log: Arc::new(RwLock::new(log)), presence: Arc::default() }
    }

    /// The presence of connected apps.
    pub fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }

    // The log is consistent whenever the writer does not hold it. Only the writer can panic while it holds the log, and
    // that ends the writer.
    pub fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.log.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the writer. The receiver gets the newest published commit whenever it changes.
pub(super) fn start(
    log: Log,
    store: Option<Store>,
    retention: Duration,
    max_bytes: u64,
    rule: Arc<dyn Authorize>,
) -> std::io::Result<(Shared, Jobs, watch::Receiver<i64>, JoinHandle<()>)> {
    let (sender, jobs) = crossbeam_channel::unbounded();
    let (mut writer, receiver) = Writer::new(log, store, retention, max_bytes, rule, Box::new(now));
    let shared = writer.log.clone();
    let thread =
        std::thread::Builder::new().name("replicate-backend-writer".into()).spawn(move || writer.run(&jobs))?;
    Ok((shared, Jobs::new(sender), receiver, thread))
}

/// Returns nanoseconds since 1970.
pub(super) type Clock = Box<dyn Fn() -> i64 + Send>;

pub(super) struct Writer {
    log: Shared,
    store: Option<Store>,
    capacity: Capacity,
    published: watch::Sender<i64>,
    turns: Turns<Mutate>,
    /// Whether the log in memory may be ahead of the disk.
    doubtful: bool,
    /// The time when the log was last maintained.
    cared: Instant,
    /// The time for which tombstones are kept.
    retention: Duration,
    /// The time of the last search that found no older tombstones.
    pruned: Option<Instant>,
    rule: Arc<dyn Authorize>,
    clock: Clock,
}

/// Answers that wait for their records to be durable.
type Answers = Vec<(Box<dyn FnOnce(Reply) + Send>, Reply)>;

impl Writer {
    pub(super) fn new(
        log: Log,
        store: Option<Store>,
        retention: Duration,
        max_bytes: u64,
        rule: Arc<dyn Authorize>,
        clock: Clock,
    ) -> (Self, watch::Receiver<i64>) {
        let (published, receiver) = watch::channel(log.published());
        let writer = Self {
            log: Shared::new(log),
            capacity: Capacity::new(max_bytes, store.as_ref()),
            store,
            published,
            turns: Turns::new(),
            doubtful: false,
            cared: Instant::now(),
            retention,
            pruned: None,
            rule,
            clock,
        };
        (writer, receiver)
    }

    fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            // Jobs received before `Stop` are done first.
            let stops = jobs.try_iter().any(|job| self.take_in(job));
            if stops {
                while self.group(None) {}
                return;
            }
            if self.needs_care() && self.cared.elapsed() > CARE_EVERY {
                self.care();
                self.cared = Instant::now();
            }
            if self.until_pruning().is_zero() {
                self.prune();
            }
            if self.group(Some(Instant::now())) {
                continue;
            }
            match self.wait(jobs) {
                Ok(job) => {
                    if self.take_in(job) {
                        while self.group(None) {}
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Does a job, or queues it for its turn. Returns whether it was the last job.
    fn take_in(&mut self, job: Job) -> bool {
        match job {
            Job::Mutate(mutate) => self.turns.push(mutate.caller, mutate.bytes, mutate, Instant::now()),
            Job::Look(look) => look(&self.log.read()),
            Job::Stop => return true,
        }
        false
    }

    fn needs_care(&self) -> bool {
        !self.doubtful && self.log.read().needs_care()
    }

    /// Waits for a job, until a resting caller may continue, or until it is time to prune. If no job comes for a while,
    /// maintains the log.
    fn wait(&mut self, jobs: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        let now = Instant::now();
        let due = self.turns.due(now);
        let idle = self.needs_care().then(|| now + IDLE);
        let until = due.into_iter().chain(idle).fold(now + self.until_pruning(), Instant::min);
        let timeout = match jobs.recv_deadline(until) {
            Err(timeout @ RecvTimeoutError::Timeout) => timeout,
            received => return received,
        };
        if idle != Some(until) {
            return Err(timeout);
        }
        // The writer is idle, so this continues until a job comes or no work is left.
        while jobs.is_empty()
            && self.turns.due(Instant::now()).is_none_or(|due| due > Instant::now())
            && self.needs_care()
        {
            self.care();
        }
        self.cared = Instant::now();
        if jobs.is_empty() && self.turns.is_empty() {
            self.reclaim();
        }
        Err(timeout)
    }

    fn reclaim(&self) {
        if !self.doubtful
            && let Some(store) = &self.store
            && let Err(error) = store.reclaim()
        {
            tracing::warn!(target: "bevy_convex_replicate::backend", %error, "cannot give back free space");
        }
    }

    /// The time until the next search for old tombstones.
    fn until_pruning(&self) -> Duration {
        let every = PRUNE_EVERY.min(self.retention).max(IDLE);
        self.pruned.map_or(Duration::ZERO, |pruned| every.saturating_sub(pruned.elapsed()))
    }

    /// Prunes some of the documents that were deleted longer ago than the retention.
    pub(super) fn prune(&mut self) {
        let now = (self.clock)();
        let before = |age: Duration| now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        let records = match self.doubtful {
            true => Vec::new(),
            false => {
                let parts_before = before(self.retention.max(PART_RETENTION));
                self.log.read().prunable(before(self.retention), parts_before, PRUNE_DOCUMENTS)
            }
        };
        match self.make_durable(&records) {
            // Without records nothing changes. After a failed write the log in memory may have rows that the disk
            // refused, so it must not be published.
            Ok(()) if records.is_empty() => {}
            Ok(()) => {
                let mut log = self.log.write();
                log.forget(&records, now);
                log.publish();
            }
            Err(problem) => {
                tracing::error!(target: "bevy_convex_replicate::backend", %problem, "cannot prune the log");
            }
        }
        self.tell();
        if records.is_empty() || self.doubtful {
            // Nothing is left, or nothing can be pruned for now.
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

    /// Runs the mutations whose turn it is, as one transaction. Without a time, resting callers have their turn too.
    /// Returns whether there were any mutations.
    fn group(&mut self, now: Option<Instant>) -> bool {
        let group = match now {
            Some(now) => self.turns.next(now),
            None => self.turns.next_at_once(),
        };
        let Some(group) = group else {
            return false;
        };
        let mut records = Vec::new();
        let mut answers: Answers = Vec::new();
        let reloaded = self.reload();
        for Mutate { bytes, collection, mutation, key, user, reply, .. } in group.mutations {
            if let (Ok(()), Some(reply_again)) = (&reloaded, key.and_then(|key| self.outcome(key))) {
                answers.push((reply, reply_again));
                continue;
            }
            let rights = Rights { user: user.as_ref(), rule: &*self.rule };
            let admitted = match &reloaded {
                Ok(()) => self.capacity.take(bytes, self.store.as_ref()).map_err(CallError::from),
                Err(problem) => Err(CallError::Message(problem.clone())),
            };
            let result = admitted.and_then(|()| {
                mutate(&mut self.log.write(), &collection, rights, mutation, (self.clock)(), &mut records)
            });
            if let (Some(key), Ok((value, ts))) = (key, &result) {
                let value = serde_json::Value::from(value.clone()).to_string().into();
                let outcome = Outcome { key, at: (self.clock)(), ts: *ts, value };
                self.log.write().remember_outcome(outcome, &mut records);
            }
            let ts = result.as_ref().map_or(0, |(_, ts)| *ts);
            answers.push((reply, Reply { result: result.map(|(value, _)| value), ts }));
        }
        if let Err(problem) = self.persist(&records) {
            for (_, reply) in answers.iter_mut().filter(|(_, reply)| reply.result.is_ok()) {
                *reply = Reply { result: Err(CallError::Message(problem.clone())), ts: 0 };
            }
        }
        // Answers go first: a connection sends its answer, then the transition of the same commit.
        for (reply, answer) in answers {
            reply(answer);
        }
        self.tell();
        if group.is_heavy
            && let Some(started) = now
        {
            let ended = Instant::now();
            self.turns.ran_heavy(group.bytes, ended - started, ended);
        }
        true
    }

    /// The answer to a mutation that has run before.
    fn outcome(&self, key: RequestKey) -> Option<Reply> {
        let log = self.log.read();
        let outcome = log.outcome(key)?;
        // This program wrote the value, so it can be read.
        let json: serde_json::Value = serde_json::from_str(&outcome.value).ok()?;
        Some(Reply { result: Ok(Value::try_from(json).ok()?), ts: outcome.ts })
    }

    /// Makes records durable and lets readers see their effects.
    fn persist(&mut self, records: &[Record]) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        self.make_durable(records)?;
        self.log.write().publish();
        Ok(())
    }

    fn make_durable(&mut self, records: &[Record]) -> Result<(), String> {
        if !records.is_empty()
            && let Some(store) = &mut self.store
            && let Err(error) = store.write(records)
        {
            tracing::error!(target: "bevy_convex_replicate::backend", %error, "the log cannot be written");
            self.doubtful = true;
            return Err(format!("the backend cannot write its log: {error}"));
        }
        Ok(())
    }

    /// Tells connections if there is a newer published commit.
    fn tell(&self) {
        let published = self.log.read().published();
        self.published.send_if_modified(|newest| std::mem::replace(newest, published) != published);
    }

    /// After a failed write, reads the log from the disk again.
    fn reload(&mut self) -> Result<(), String> {
        let Some(store) = self.store.as_ref().filter(|_| self.doubtful) else {
            return Ok(());
        };
        let mut read = store.read().map_err(|error| format!("the backend cannot read its log: {error}"))?;
        let mut log = self.log.write();
        read.go_on_after(&log);
        *log = read;
        drop(log);
        self.doubtful = false;
        Ok(())
    }
}

/// The simulator calls these in place of the thread.
#[cfg(feature = "simulation")]
impl Writer {
    pub(super) fn log(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read()
    }

    pub(super) fn shared(&self) -> Shared {
        self.log.clone()
    }

    /// Mutations that wait.
    pub(super) fn waiting(&self, jobs: &Receiver<Job>) -> usize {
        self.turns.len() + jobs.len()
    }

    /// Runs the mutations whose turn it is, as one transaction. The simulator has no clock here, so all mutations come
    /// at the same moment and no caller rests.
    pub(super) fn run_group(&mut self, jobs: &Receiver<Job>) {
        for job in jobs.try_iter() {
            // The simulator sends no other jobs.
            if let Job::Mutate(mutate) = job {
                self.turns.push(mutate.caller, mutate.bytes, mutate, self.cared);
            }
        }
        self.group(None);
    }

    /// Looks after the log as the thread does when it is idle. After a failed write, it first reads the log again, as the
    /// next mutation would: if all apps have discarded what was refused, there is none.
    pub(super) fn look_after(&mut self) {
        if let Err(problem) = self.reload() {
            tracing::error!(target: "bevy_convex_replicate::backend", %problem, "cannot look after the log");
        }
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

/// Runs one mutation on the log in memory.
fn mutate(
    log: &mut Log,
    collection: &str,
    rights: Rights<'_>,
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
            let (answer, ts) = taken(log.push_changes(collection, rights, args, now)?, records);
            (wire::push_results(log.epoch(), answer), ts)
        }
        Mutation::Put(args) => {
            let ((), ts) = taken(log.put_document(collection, rights, args, now)?, records);
            (wire::success(), ts)
        }
        Mutation::Delete { id } => {
            let ((), ts) = taken(log.delete_document(collection, rights, &id, rand::random(), now)?, records);
            (wire::success(), ts)
        }
    })
}

/// Nanoseconds since 1970. The log stays in order if the clock is wrong.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX / 2)
}
