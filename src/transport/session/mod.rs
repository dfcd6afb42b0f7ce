//! The client's session: every decision of a transport, without a socket, a thread or a clock.
//!
//! A session stands above the official client, or above whatever else can subscribe to queries and call mutations. A
//! driver runs it:
//!
//! ```text
//!   replica ── Request ──>  ┌─────────┐  ── Output ──>  ┌────────┐
//!                           │ Session │                 │ driver │ ── sockets, the official client
//!   replica <── Notice ───  └─────────┘  <── Input ───  └────────┘
//! ```
//!
//! The driver's whole loop:
//!
//! 1. Give the session one [`Input`] with the present time: [`Session::handle`].
//! 2. Carry out every [`Output`] that [`Session::poll`] returns, in order.
//! 3. Take notices with [`Session::next_notice`] while the replica has room for them, and poll again: a page may have
//!    waited for the room.
//! 4. Wait for the next input. At [`Session::poll_timeout`] the input is [`Input::Timer`].
//!
//! Time is a [`Duration`] since a moment that the driver chooses once and that never goes back. Randomness comes from
//! the seed. So a test, the simulator and an event loop of a browser can drive a session as tokio does in
//! [`Task`](super::task::Task).
//!
//! Inside, `reconnect` decides when to connect and what a failure means, `follow` from where each collection is read,
//! and `outgoing` which mutations a push takes. `read` and `write` connect these parts with the inputs and outputs.

mod read;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use convex::{FunctionResult, Value};

use self::write::InFlight;
use super::{
    Notice, Reason, Request,
    endpoint::Endpoint,
    follow::{Follow, Key},
    reconnect::{End, ReconnectPolicy},
};
use crate::{
    CollectionIndex,
    limits::or_tiny,
    record::{FromBackend, Push, Refusal, RefusalCode, ToBackend},
};

/// How long a deployment may take for its first answer: longer than Convex lets any query run.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The limit of notices that wait in the session. One more waits in the channel to the worker. Some are pages of
/// 512 KiB, and this many of them fit in memory. Pages that do not fit wait at the deployment.
const NOTICES: usize = 8;

/// Names a subscription of a connection. A name is not used again within a session, except a count's in a later
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subscription {
    /// The number of documents in a collection.
    Count(CollectionIndex),
    /// A collection's log from a position.
    Log(CollectionIndex, Key),
}

/// Numbers the mutations of a session, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mutation(pub(crate) u64);

/// An event outside of the session.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The replica requests something.
    Request(Request),
    /// The attempt that [`Output::Open`] asked for succeeded. `token_sent`: the deployment was given a token.
    Connected {
        /// Whether the connection was given a token.
        token_sent: bool,
    },
    /// The attempt failed, or the connection ended.
    Disconnected(End),
    /// The newest results of all open subscriptions that have one. Results that did not change may be among them.
    Values(&'a [(Subscription, &'a FunctionResult)]),
    /// The subscription's function cannot be called under that name.
    SubscriptionRefused(Subscription, Refusal),
    /// A mutation was answered, or cannot be called under that name.
    MutationAnswered(Mutation, Result<&'a FunctionResult, Refusal>),
    /// The time of [`Session::poll_timeout`] has come.
    Timer,
}

/// An instruction to the driver.
#[derive(Debug)]
pub(crate) enum Output {
    /// Connect. Ends in [`Input::Connected`] or [`Input::Disconnected`].
    Open {
        /// The deployment to connect to.
        endpoint: Endpoint,
        /// Whether a fresh token has to be fetched.
        refresh: bool,
    },
    /// Drop the connection or the attempt, if there is one. No input about it may follow.
    Close,
    /// Subscribe to a query. Its results come as [`Input::Values`].
    Subscribe {
        /// The name of the subscription.
        subscription: Subscription,
        /// The function's path.
        function: String,
        /// Its arguments.
        arguments: BTreeMap<String, Value>,
    },
    /// End a subscription.
    Unsubscribe(Subscription),
    /// Call a mutation. Ends in [`Input::MutationAnswered`], unless the connection ends first.
    Mutate {
        /// The name of the call.
        mutation: Mutation,
        /// The function's path.
        function: String,
        /// Its arguments.
        arguments: BTreeMap<String, Value>,
    },
    /// Give the newest results again, as [`Input::Values`], because a page was left there for lack of room.
    Read,
}

/// An app's session with its deployment. See the [module](self) for how it is driven.
pub(crate) struct Session {
    url: String,
    has_auth: bool,
    /// The collections' module names, by index.
    collections: Vec<String>,
    reconnect: ReconnectPolicy,
    state: State,
    follows: BTreeMap<CollectionIndex, Follow>,
    /// Counts that were asked for in this connection and are not answered yet.
    counts: BTreeSet<CollectionIndex>,
    /// The push in flight, and the pushes that wait for it.
    in_flight: Option<InFlight>,
    waiting: VecDeque<Push>,
    /// The number of the last mutation.
    mutations: u64,
    outputs: VecDeque<Output>,
    notices: VecDeque<Notice>,
    /// Whether a page waits for room among the notices.
    held: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing has happened yet. The first input decides whether the session connects.
    New,
    /// The session is not connected, and connects only when that is requested.
    Offline,
    Pausing {
        until: Duration,
    },
    Opening,
    Open {
        since: Duration,
    },
}

impl Session {
    /// A session that has not begun. The first input begins it. The session then connects, unless that input is a
    /// request to be offline. `has_auth` tells whether there is a token callback. `seed` seeds the jitter of the
    /// pauses.
    pub(crate) fn new(url: String, collections: Vec<String>, has_auth: bool, seed: u64) -> Self {
        Self {
            url,
            has_auth,
            collections,
            reconnect: ReconnectPolicy::new(seed, has_auth),
            state: State::New,
            follows: BTreeMap::new(),
            counts: BTreeSet::new(),
            in_flight: None,
            waiting: VecDeque::new(),
            mutations: 0,
            outputs: VecDeque::new(),
            notices: VecDeque::new(),
            held: false,
        }
    }

    /// Handles an input.
    pub(crate) fn handle(&mut self, input: Input<'_>, now: Duration) {
        if matches!(self.state, State::New) && !matches!(input, Input::Request(Request::Online(false))) {
            self.attempt(now);
        }
        match input {
            Input::Request(request) => self.request(request, now),
            Input::Connected { token_sent } => self.connected(token_sent, now),
            Input::Disconnected(end) => self.disconnected(end, now),
            Input::Values(values) => self.read(values, now),
            Input::SubscriptionRefused(subscription, refusal) => self.subscription_refused(subscription, refusal, now),
            Input::MutationAnswered(mutation, result) => self.mutation_answered(mutation, result, now),
            Input::Timer => self.tick(now),
        }
    }

    /// The next instruction; `None` means that the driver must wait for an input.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The time at which [`Input::Timer`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        match self.state {
            State::New => Some(Duration::ZERO),
            State::Offline | State::Opening => None,
            State::Pausing { until } => Some(until),
            State::Open { since } => {
                let quiet = self.follows.values().filter_map(Follow::quiet_at);
                let answer = self.in_flight.as_ref().and_then(InFlight::deadline);
                quiet.chain(self.first_answer_deadline(since)).chain(answer).min()
            }
        }
    }

    /// The next notice for the replica. Taking a notice may make room for a page, so [`poll`](Self::poll) after it.
    pub(crate) fn next_notice(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front();
        if self.held && self.has_room() {
            self.held = false;
            self.outputs.push_back(Output::Read);
        }
        notice
    }

    /// Whether a notice is waiting.
    pub(crate) fn has_notice(&self) -> bool {
        !self.notices.is_empty()
    }

    fn request(&mut self, request: Request, now: Duration) {
        match request {
            Request::Backend(ToBackend::Subscribe { collection, checkpoint }) => {
                if usize::from(collection.0) >= self.collections.len() {
                    let refusal = unknown_collection(collection);
                    self.notices.push_back(Notice::Backend(FromBackend::PullRefused { collection, refusal }));
                    return;
                }
                let follow = self.follows.entry(collection).or_insert_with(|| Follow::new(collection, checkpoint));
                if let Some(closed) = follow.restart(checkpoint)
                    && self.is_open()
                {
                    self.outputs.push_back(Output::Unsubscribe(Subscription::Log(collection, closed)));
                }
                self.subscribe();
            }
            Request::Backend(ToBackend::Push(push)) => self.push(push, now),
            Request::Online(true) => {
                self.reconnect.restart();
                if matches!(self.state, State::Offline | State::Pausing { .. }) {
                    self.attempt(now);
                }
            }
            Request::Online(false) => {
                self.reconnect.stop();
                self.close(State::Offline, Reason::Asked, None);
            }
        }
    }

    fn attempt(&mut self, now: Duration) {
        let (notice, refresh) = self.reconnect.begin();
        self.notices.push_back(notice);
        match Endpoint::parse(&self.url) {
            Ok(endpoint) => {
                self.state = State::Opening;
                self.outputs.push_back(Output::Open { endpoint, refresh });
            }
            Err(why) => self.end(End::BadUrl(why), now),
        }
    }

    fn connected(&mut self, token_sent: bool, now: Duration) {
        if !matches!(self.state, State::Opening) {
            return;
        }
        tracing::debug!(target: "bevy_convex_replicate::transport", url = self.url, "connected");
        self.reconnect.connected(token_sent);
        self.state = State::Open { since: now };
        self.notices.push_back(Notice::Connected);
        self.subscribe();
        self.count();
    }

    fn disconnected(&mut self, end: End, now: Duration) {
        match (self.state, end) {
            (State::Open { .. }, End::Lost(why)) if !self.reconnect.has_answered() => {
                self.end(End::Lost(format!("{why} before anything was answered")), now);
            }
            (State::Open { .. } | State::Opening, end) => self.end(end, now),
            (State::New | State::Offline | State::Pausing { .. }, _) => {}
        }
    }

    /// Ends the connection or the attempt, whichever side ended it.
    fn end(&mut self, end: End, now: Duration) {
        let lasted = match self.state {
            State::Open { since } => now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        let (reason, retry_in) = self.reconnect.ended(end, lasted);
        // The event does not have the URL, because a refused URL may have a password in it.
        tracing::debug!(target: "bevy_convex_replicate::transport", ?reason, ?retry_in, "not connected");
        let state = match retry_in {
            Some(pause) => State::Pausing { until: now + pause },
            None => State::Offline,
        };
        self.close(state, reason, retry_in);
    }

    /// Goes without a connection. Everything in flight is lost with the old one.
    fn close(&mut self, state: State, reason: Reason, retry_in: Option<Duration>) {
        self.state = state;
        // The outputs that are left belong to the old connection, and not to the next.
        self.outputs.clear();
        self.outputs.push_back(Output::Close);
        self.notices.push_back(Notice::Disconnected { reason, retry_in });
        self.held = false;
        self.counts.clear();
        for follow in self.follows.values_mut() {
            follow.disconnected();
        }
        if let Some(in_flight) = self.in_flight.take() {
            self.notices.push_back(in_flight.dropped());
        }
        while let Some(push) = self.waiting.pop_front() {
            self.notices.push_back(Notice::Backend(FromBackend::PushDropped {
                number: push.number,
                collection: push.collection,
            }));
        }
    }

    fn tick(&mut self, now: Duration) {
        match self.state {
            State::New | State::Offline | State::Opening => {}
            State::Pausing { until } if until <= now => self.attempt(now),
            State::Pausing { .. } => {}
            State::Open { since } => {
                if self.first_answer_deadline(since).is_some_and(|deadline| deadline <= now) {
                    let seconds = FIRST_ANSWER_TIMEOUT.as_secs();
                    self.end(End::Lost(format!("nothing was answered within {seconds} seconds")), now);
                } else if let Some(why) = self.in_flight.as_ref().and_then(|in_flight| in_flight.is_late(now)) {
                    self.disconnected(End::Lost(why), now);
                } else {
                    for follow in self.follows.values_mut() {
                        follow.tick(now);
                    }
                    self.subscribe();
                }
            }
        }
    }

    fn first_answer_deadline(&self, since: Duration) -> Option<Duration> {
        let is_waiting = !self.follows.is_empty() && !self.reconnect.has_answered();
        is_waiting.then_some(since + FIRST_ANSWER_TIMEOUT)
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Pages are handed on only while there is room. All other notices are small and few.
    fn has_room(&self) -> bool {
        self.notices.len() < or_tiny(NOTICES, 1)
    }
}

fn unknown_collection(collection: CollectionIndex) -> Refusal {
    Refusal::new(
        RefusalCode::BadName,
        format!("there is no collection number {}: name it in the transport's configuration", collection.0),
    )
}

/// The questions of the simulator.
#[cfg(feature = "simulation")]
impl Session {
    /// Whether a push is on its way.
    pub(crate) fn is_pushing(&self) -> bool {
        self.in_flight.is_some() || !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests;
