//! Requests to the writer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use convex::Value;
use crossbeam_channel::Sender;

use crate::backend::{
    function::{CallError, Mutation},
    log::{Log, RequestKey},
    metrics::Metrics,
    turns::Caller,
};
use crate::record::UserId;

/// The answer to a mutation, and the commit that it reports.
pub(in crate::backend) struct Reply {
    pub result: Result<Value, CallError>,
    pub ts: i64,
}

/// Sends requests to the writer.
#[derive(Clone)]
pub(in crate::backend) struct Jobs {
    sender: Sender<Job>,
    callers: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
}

pub(in crate::backend) enum Job {
    Mutate(Mutate),
    Look(Box<dyn FnOnce(&Log) + Send>),
    Stop,
}

pub(in crate::backend) struct Mutate {
    pub(super) caller: Caller,
    /// The size of its message.
    pub(super) bytes: usize,
    pub(super) collection: String,
    pub(super) mutation: Mutation,
    /// The user who calls, as the connection has verified.
    pub(super) user: Option<UserId>,
    /// The name of the call, if the client may send it again.
    pub(super) key: Option<RequestKey>,
    pub(super) reply: Box<dyn FnOnce(Reply) + Send>,
}

impl Jobs {
    pub(super) fn new(sender: Sender<Job>) -> Self {
        Self { sender, callers: Arc::default(), metrics: Arc::default() }
    }

    /// The counters for `/metrics`.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// A new caller. Its mutations keep their order and take turns with those of other callers.
    pub fn caller(&self) -> Caller {
        Caller(self.callers.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a mutation whose message has `bytes` bytes, unless a mutation of the same `key` has succeeded before. Then
    /// the answer is the earlier outcome. `reply` is called once the mutation is durable, in the order of the caller's
    /// calls. It is dropped if the backend has stopped.
    pub fn mutate(
        &self,
        (caller, bytes): (Caller, usize),
        key: Option<RequestKey>,
        collection: String,
        mutation: Mutation,
        user: Option<UserId>,
        reply: impl FnOnce(Reply) + Send + 'static,
    ) {
        let (metrics, arrived) = (self.metrics.clone(), Instant::now());
        let reply = move |answer: Reply| {
            metrics.committed(arrived.elapsed(), answer.result.is_ok());
            reply(answer);
        };
        let mutate = Mutate { caller, bytes, collection, mutation, key, user, reply: Box::new(reply) };
        // The writer ends only when the backend stops. `reply` is dropped then, and the receiver of the answer notices.
        let _ = self.sender.send(Job::Mutate(mutate));
    }

    /// Reads the log at a moment when everything in it is durable. Returns `None` if the backend has stopped.
    pub fn look<T: Send + 'static>(&self, look: impl FnOnce(&Log) -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let look = Box::new(move |log: &Log| drop(sender.send(look(log))));
        self.sender.send(Job::Look(look)).ok()?;
        receiver.recv().ok()
    }

    /// Ends the writer after the requests sent so far.
    pub fn stop(&self) {
        // The writer may have ended already.
        let _ = self.sender.send(Job::Stop);
    }
}

#[cfg(feature = "simulation")]
impl Jobs {
    /// The two ends of the channel, for a writer without a thread.
    pub(in crate::backend) fn channel() -> (Self, crossbeam_channel::Receiver<Job>) {
        let (sender, jobs) = crossbeam_channel::unbounded();
        (Self::new(sender), jobs)
    }
}
