//! A transport without a socket: the decisions of [`Follow`], [`Outgoing`] and [`wire`], and two queues in place of the official client.
//!
//! What [`Task`](super::task) does around them is repeated here without waiting: requests, opening subscriptions, reading
//! results, one push at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use convex::{FunctionResult, Value};
use tokio::sync::mpsc;

use super::{
    NOTICES, Notice, Reason, Request, Transport,
    follow::{Follow, Key, OPEN_BYTES, Outcome},
    outgoing::{Heard, Next, Outgoing},
    wire::{self, Function, FunctionName, PageView},
};
// Re-exported for this room's callers.
pub(crate) use crate::line::{Down, Subscription, Up};
use crate::{
    CollectionIndex,
    limits::{PAGE_BYTES, or_tiny},
    record::Push,
};

impl Transport {
    /// One whose requests the simulator takes.
    pub(crate) fn simulated() -> (Self, mpsc::UnboundedReceiver<Request>) {
        let (requests, asked) = mpsc::unbounded_channel();
        (Self { requests }, asked)
    }
}

/// A client's side of the line.
pub(crate) struct Line {
    collections: Vec<String>,
    follows: BTreeMap<CollectionIndex, Follow>,
    outgoing: Option<Outgoing>,
    waiting: VecDeque<Push>,
    is_connected: bool,
    /// The newest result of everything subscribed.
    results: BTreeMap<Subscription, FunctionResult>,
    /// Names mutations, in all connections.
    requests: u64,
    held: bool,
    origin: Instant,
    now: Duration,
    /// What is to be said.
    pub(crate) up: VecDeque<Up>,
    /// What the worker has not been told yet.
    pub(crate) notices: VecDeque<Notice>,
}

impl Line {
    pub(crate) fn new(collections: Vec<String>) -> Self {
        Self {
            collections,
            follows: BTreeMap::new(),
            outgoing: None,
            waiting: VecDeque::new(),
            is_connected: false,
            results: BTreeMap::new(),
            requests: 0,
            held: false,
            // Only differences to it matter.
            origin: Instant::now(),
            now: Duration::ZERO,
            up: VecDeque::new(),
            notices: VecDeque::new(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether a push is on its way.
    pub(crate) fn is_pushing(&self) -> bool {
        self.outgoing.is_some() || !self.waiting.is_empty()
    }

    pub(crate) fn request(&mut self, request: Request) {
        match request {
            Request::Subscribe { collection, checkpoint } => {
                let follow = self.follows.entry(collection).or_insert_with(|| Follow::new(collection, checkpoint));
                let closed = follow.restart(checkpoint);
                self.close(collection, closed);
                self.open();
            }
            Request::Push(push) => {
                if self.is_connected {
                    self.waiting.push_back(push);
                    if self.outgoing.is_none() {
                        self.send();
                    }
                } else {
                    self.notices.push_back(Notice::Dropped { number: push.number, collection: push.collection });
                }
            }
            // The simulator connects and disconnects as it likes.
            Request::Online(_) => {}
        }
    }

    pub(crate) fn connect(&mut self) {
        self.is_connected = true;
        self.notices.push_back(Notice::Connected);
        self.open();
    }

    /// The connection is gone, and with it what was in flight.
    pub(crate) fn disconnect(&mut self) {
        self.is_connected = false;
        self.held = false;
        self.up.clear();
        self.results.clear();
        let reason = Reason::Lost("it was simulated".into());
        self.notices.push_back(Notice::Disconnected { reason, retry_in: None });
        for follow in self.follows.values_mut() {
            follow.disconnected();
        }
        if let Some(outgoing) = self.outgoing.take() {
            self.notices.push_back(outgoing.dropped());
        }
        while let Some(push) = self.waiting.pop_front() {
            self.notices.push_back(Notice::Dropped { number: push.number, collection: push.collection });
        }
    }

    /// The deployment said something.
    pub(crate) fn hear(&mut self, down: Down) {
        match down {
            Down::Results(results) => {
                for (subscription, result) in results {
                    if self.is_open(subscription) {
                        self.results.insert(subscription, result);
                    }
                }
                self.read();
            }
            // The official client knows its requests by number: an answer that comes again is none.
            Down::Answer { request, result } if request == self.requests => self.mutated(&result),
            Down::Answer { .. } => {}
        }
    }

    /// Time has passed, counted from when this was made.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = now;
        if !self.is_connected {
            return;
        }
        let now = self.origin + now;
        for follow in self.follows.values_mut() {
            follow.tick(now);
        }
        self.open();
    }

    /// When [`tick`](Self::tick) would do something.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.follows.values().filter_map(Follow::quiet_at).min().map(|at| at - self.origin)
    }

    /// The worker took a notice: a page may have waited for the room.
    pub(crate) fn next_notice(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front();
        if self.held && self.has_room() {
            self.read();
        }
        notice
    }

    fn is_open(&self, Subscription(collection, key): Subscription) -> bool {
        self.follows.get(&collection).is_some_and(|follow| follow.key() == Some(Key(key)))
    }

    fn has_room(&self) -> bool {
        self.notices.len() < or_tiny(NOTICES, 1)
    }

    fn open(&mut self) {
        if !self.is_connected {
            return;
        }
        let mut reserved: usize = self.follows.values().map(Follow::reserved).sum();
        for (collection, follow) in &mut self.follows {
            let others = reserved - follow.reserved();
            if !follow.wants_to_open() || (others > 0 && others + PAGE_BYTES > OPEN_BYTES) {
                continue;
            }
            reserved = others + PAGE_BYTES;
            let (key, checkpoint, old) = follow.open();
            if let Some(old) = old {
                let subscription = Subscription(*collection, old.0);
                self.results.remove(&subscription);
                self.up.push_back(Up::Close(subscription));
            }
            self.up.push_back(Up::Subscribe {
                subscription: Subscription(*collection, key.0),
                function: function(&self.collections, *collection).to_string(),
                arguments: encoded(wire::pull_arguments(checkpoint, follow.pruned())),
            });
        }
    }

    fn close(&mut self, collection: CollectionIndex, key: Option<Key>) {
        if let Some(key) = key {
            let subscription = Subscription(collection, key.0);
            self.results.remove(&subscription);
            if self.is_connected {
                self.up.push_back(Up::Close(subscription));
            }
        }
    }

    fn read(&mut self) {
        self.held = false;
        let open: Vec<_> = self
            .follows
            .iter()
            .filter_map(|(collection, follow)| Some(Subscription(*collection, follow.key()?.0)))
            .collect();
        for subscription in open {
            let Subscription(collection, key) = subscription;
            let key = Key(key);
            let room = self.has_room();
            let Some(result) = self.results.get(&subscription) else { continue };
            let Some(follow) = self.follows.get_mut(&collection) else { continue };
            let page = wire::outcome(result, function(&self.collections, collection)).and_then(PageView::of);
            let Outcome { page, refusal, held } = follow.answer(key, page, room, self.origin + self.now);
            self.held |= held;
            self.notices.extend(page.map(Notice::Page));
            self.notices.extend(refusal.map(|refusal| Notice::PullRefused { collection, refusal }));
        }
        self.open();
    }

    fn send(&mut self) {
        loop {
            let outgoing = match &mut self.outgoing {
                Some(outgoing) => outgoing,
                None => {
                    let Some(push) = self.waiting.pop_front() else { return };
                    let name = &self.collections[usize::from(push.collection.0)];
                    self.outgoing.insert(Outgoing::new(push, name))
                }
            };
            match outgoing.next() {
                Next::Send(arguments) => {
                    self.requests += 1;
                    self.up.push_back(Up::Mutate {
                        request: self.requests,
                        function: outgoing.function().to_string(),
                        arguments: encoded(arguments),
                    });
                    return;
                }
                Next::Done(notice) => {
                    self.outgoing = None;
                    self.notices.push_back(notice);
                }
            }
        }
    }

    fn mutated(&mut self, result: &FunctionResult) {
        // So that the same answer is not taken twice.
        self.requests += 1;
        let Some(outgoing) = &mut self.outgoing else { return };
        match outgoing.answered(result) {
            Heard::GoOn | Heard::Unauthenticated(_) => self.send(),
            Heard::EpochChanged => self.disconnect(),
        }
    }
}

fn function(collections: &[String], collection: CollectionIndex) -> Function<'_> {
    let module = collections.get(usize::from(collection.0)).map_or("", String::as_str);
    Function { module, name: FunctionName::PullDeltas }
}

/// As the client sends arguments: an array of one object.
fn encoded(arguments: BTreeMap<String, Value>) -> String {
    serde_json::Value::from(Value::Array(vec![Value::Object(arguments)])).to_string()
}
