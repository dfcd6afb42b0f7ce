//! Drives a [`Session`] in virtual time, with two queues in place of the official client and its socket. Decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use convex::{FunctionResult, Value};
use tokio::sync::mpsc;

pub(crate) use super::session::{Mutation, Subscription};
use super::{
    Notice, Request, Transport,
    reconnect::End,
    session::{Input, Output, Session},
};

impl Transport {
    /// A transport whose requests the simulator takes.
    pub(crate) fn simulated() -> (Self, mpsc::UnboundedReceiver<Request>) {
        let (requests, asked) = mpsc::unbounded_channel();
        (Self { requests }, asked)
    }
}

/// What a client says to its deployment.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Subscribe { subscription: Subscription, function: String, arguments: String },
    Close(Subscription),
    Mutate { mutation: Mutation, function: String, arguments: String },
}

/// What the deployment says. Results of all subscriptions that have news come as one, of one moment.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Results(Vec<(Subscription, FunctionResult)>),
    Answer { mutation: Mutation, result: FunctionResult },
}

/// A client's side of the line.
pub(crate) struct Line {
    session: Session,
    link: Link,
    now: Duration,
    open: BTreeSet<Subscription>,
    /// The newest result of everything that is open.
    results: BTreeMap<Subscription, FunctionResult>,
    /// What is to be said.
    pub(crate) up: VecDeque<Up>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Closed,
    Opening,
    Open,
}

impl Line {
    pub(crate) fn new(url: &str, collections: Vec<String>, seed: u64) -> Self {
        Self {
            session: Session::new(url.into(), collections, false, seed),
            link: Link::Closed,
            now: Duration::ZERO,
            open: BTreeSet::new(),
            results: BTreeMap::new(),
            up: VecDeque::new(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link == Link::Open
    }

    /// Whether an attempt to connect is under way.
    pub(crate) fn is_opening(&self) -> bool {
        self.link == Link::Opening
    }

    /// Whether a push is on its way.
    pub(crate) fn is_pushing(&self) -> bool {
        self.session.is_pushing()
    }

    /// Whether there is something to tell the worker.
    pub(crate) fn has_notice(&self) -> bool {
        self.session.has_notice()
    }

    /// It is so late, counted from a moment before this was made.
    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.handle(Input::Request(request));
    }

    /// The attempt to connect succeeds.
    pub(crate) fn connect(&mut self) {
        self.link = Link::Open;
        self.handle(Input::Connected { token_sent: false });
    }

    /// The attempt to connect fails.
    pub(crate) fn refuse(&mut self) {
        self.link = Link::Closed;
        self.handle(Input::Disconnected(End::Unreachable("it was simulated".into())));
    }

    /// The connection is lost, if it has not ended already.
    pub(crate) fn lose(&mut self) {
        if self.is_connected() {
            self.handle(Input::Disconnected(End::Lost("it was simulated".into())));
        }
    }

    /// The deployment said something.
    pub(crate) fn hear(&mut self, down: Down) {
        match down {
            Down::Results(results) => {
                self.results.extend(results.into_iter().filter(|(subscription, _)| self.open.contains(subscription)));
                self.read();
            }
            Down::Answer { mutation, result } => self.handle(Input::MutationAnswered(mutation, Ok(&result))),
        }
    }

    /// When [`time_out`](Self::time_out) would do something.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.session.poll_timeout()
    }

    pub(crate) fn time_out(&mut self) {
        self.handle(Input::Timer);
    }

    /// The worker takes a notice.
    pub(crate) fn next_notice(&mut self) -> Option<Notice> {
        let notice = self.session.next_notice();
        self.carry_out();
        notice
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now);
        self.carry_out();
    }

    fn read(&mut self) {
        let values: Vec<_> = self.results.iter().map(|(subscription, result)| (*subscription, result)).collect();
        self.session.handle(Input::Values(&values), self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Open { .. } => self.link = Link::Opening,
                Output::Close => {
                    self.link = Link::Closed;
                    self.up.clear();
                    self.open.clear();
                    self.results.clear();
                }
                Output::Subscribe { subscription, function, arguments } => {
                    self.open.insert(subscription);
                    self.up.push_back(Up::Subscribe { subscription, function, arguments: encoded(arguments) });
                }
                Output::Unsubscribe(subscription) => {
                    self.open.remove(&subscription);
                    self.results.remove(&subscription);
                    self.up.push_back(Up::Close(subscription));
                }
                Output::Mutate { mutation, function, arguments } => {
                    self.up.push_back(Up::Mutate { mutation, function, arguments: encoded(arguments) });
                }
                Output::Read => self.read(),
            }
        }
    }
}

/// As the client sends arguments: an array of one object.
fn encoded(arguments: BTreeMap<String, Value>) -> String {
    serde_json::Value::from(Value::Array(vec![Value::Object(arguments)])).to_string()
}
