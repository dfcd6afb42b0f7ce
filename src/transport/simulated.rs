//! Drives a [`Session`] in virtual time. The official client's own state machine stands in for the client, and a queue
//! stands in for its socket. This module makes no decision.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use convex::{FunctionResult, QueryResults, SubscriberId, Value, base_client::BaseConvexClient};
use convex_sync_types::{ClientMessage, ServerMessage, SessionRequestSeqNumber, UdfPath};
use tokio::sync::{mpsc, oneshot};

use super::{
    Notice, Request, Transport,
    reconnect::End,
    session::{Input, Mutation, Output, Session, Subscription},
};

impl Transport {
    /// A transport whose requests the simulator takes.
    pub(crate) fn simulated() -> (Self, mpsc::UnboundedReceiver<Request>) {
        let (requests, asked) = mpsc::unbounded_channel();
        (Self { requests }, asked)
    }
}

/// A client's side of the line.
pub(crate) struct Line {
    session: Session,
    link: Link,
    now: Duration,
    /// Messages on their way to the deployment.
    pub(crate) up: VecDeque<ClientMessage>,
}

enum Link {
    Closed,
    Opening,
    Open(Box<Client>),
}

/// The official client's state machine, for as long as one connection lasts.
struct Client {
    base: BaseConvexClient,
    subscriptions: BTreeMap<Subscription, SubscriberId>,
    /// The newest results that the client has.
    results: QueryResults,
    /// The mutation in flight.
    called: Option<Called>,
    /// The last mutation that was answered.
    answered: Option<(Mutation, FunctionResult)>,
}

struct Called {
    mutation: Mutation,
    request: Option<SessionRequestSeqNumber>,
    answer: oneshot::Receiver<FunctionResult>,
}

impl Client {
    fn new() -> Self {
        Self {
            base: BaseConvexClient::new(),
            subscriptions: BTreeMap::new(),
            results: QueryResults::default(),
            called: None,
            answered: None,
        }
    }

    fn values(&self) -> Vec<(Subscription, &FunctionResult)> {
        let result = |(name, id): (&Subscription, &SubscriberId)| Some((*name, self.results.get(id)?));
        self.subscriptions.iter().filter_map(result).collect()
    }

    /// Takes the client's answer to the mutation in flight.
    fn take_answer(&mut self) -> bool {
        let Some(called) = &mut self.called else { return false };
        let Ok(result) = called.answer.try_recv() else { return false };
        self.answered = Some((called.mutation, result));
        self.called = None;
        true
    }
}

impl Line {
    pub(crate) fn new(url: &str, collections: Vec<String>, seed: u64) -> Self {
        Self {
            session: Session::new(url.into(), collections, false, seed),
            link: Link::Closed,
            now: Duration::ZERO,
            up: VecDeque::new(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    /// Whether an attempt to connect is under way.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.link, Link::Opening)
    }

    /// Whether a push is on its way.
    pub(crate) fn is_pushing(&self) -> bool {
        self.session.is_pushing()
    }

    /// Whether there is a notice for the worker.
    pub(crate) fn has_notice(&self) -> bool {
        self.session.has_notice()
    }

    /// Sets the time, counted from a moment before this was made.
    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.handle(Input::Request(request));
    }

    /// Lets the attempt to connect succeed.
    pub(crate) fn connect(&mut self) {
        self.link = Link::Open(Box::new(Client::new()));
        self.handle(Input::Connected { token_sent: false });
    }

    /// Lets the attempt to connect fail.
    pub(crate) fn refuse(&mut self) {
        self.link = Link::Closed;
        self.handle(Input::Disconnected(End::Unreachable("it was simulated".into())));
    }

    /// Lets the attempt to connect fail for this reason.
    pub(crate) fn fail(&mut self, end: End) {
        self.link = Link::Closed;
        self.handle(Input::Disconnected(end));
    }

    /// Loses the connection, if it has not ended already.
    pub(crate) fn lose(&mut self, why: &str) {
        if self.is_connected() {
            self.handle(Input::Disconnected(End::Lost(why.into())));
        }
    }

    /// Takes a message of the deployment. A transition may bring results and an answer at once, and chance decides
    /// which of them the session sees first.
    pub(crate) fn hear(&mut self, message: ServerMessage<Value>, answer_first: bool) {
        let Link::Open(client) = &mut self.link else { return };
        if let ServerMessage::MutationResponse { request_id, .. } = &message
            && client.called.as_ref().and_then(|called| called.request) != Some(*request_id)
        {
            // This answers a mutation that arrived twice, which does not happen on a real line.
            return;
        }
        let has_results = match client.base.receive_message(message) {
            Ok(results) => {
                let has_results = results.is_some();
                if let Some(results) = results {
                    client.results = results;
                }
                has_results
            }
            Err(why) => return self.lose(&why),
        };
        let is_answered = client.take_answer();
        if is_answered && answer_first {
            self.answer();
        }
        if has_results {
            self.read();
        }
        if is_answered && !answer_first {
            self.answer();
        }
    }

    /// Gives the session the last results and the last answer again.
    pub(crate) fn repeat(&mut self) {
        self.read();
        self.answer();
    }

    /// The time at which [`time_out`](Self::time_out) has an effect.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.session.poll_timeout()
    }

    pub(crate) fn time_out(&mut self) {
        self.handle(Input::Timer);
    }

    /// Takes a notice for the worker.
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
        if let Link::Open(client) = &self.link {
            self.session.handle(Input::Values(&client.values()), self.now);
            self.carry_out();
        }
    }

    fn answer(&mut self) {
        if let Link::Open(client) = &self.link
            && let Some((mutation, result)) = &client.answered
        {
            self.session.handle(Input::MutationAnswered(*mutation, Ok(result)), self.now);
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Open { .. } => self.link = Link::Opening,
                Output::Close => {
                    self.link = Link::Closed;
                    self.up.clear();
                }
                Output::Read => self.read(),
                Output::Subscribe { .. } | Output::Unsubscribe(_) | Output::Mutate { .. } => self.ask(output),
            }
        }
    }

    /// Carries out an instruction with the client, and takes the client's messages to the deployment.
    fn ask(&mut self, output: Output) {
        let Link::Open(client) = &mut self.link else { return };
        match output {
            Output::Subscribe { subscription, function, arguments } => {
                // The simulator's collections have names that are valid module names.
                let Ok(path) = function.parse::<UdfPath>() else { return };
                client.subscriptions.insert(subscription, client.base.subscribe(path, arguments));
            }
            Output::Unsubscribe(subscription) => {
                if let Some(id) = client.subscriptions.remove(&subscription) {
                    client.base.unsubscribe(id);
                }
            }
            Output::Mutate { mutation, function, arguments } => {
                let Ok(path) = function.parse::<UdfPath>() else { return };
                let answer = client.base.mutation(path, arguments);
                client.called = Some(Called { mutation, request: None, answer });
            }
            Output::Open { .. } | Output::Close | Output::Read => {}
        }
        while let Some(message) = client.base.pop_next_message() {
            if let (ClientMessage::Mutation { request_id, .. }, Some(called)) = (&message, &mut client.called) {
                called.request = Some(*request_id);
            }
            self.up.push_back(message);
        }
    }
}
