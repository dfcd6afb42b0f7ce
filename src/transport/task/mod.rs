mod read;
mod write;

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    Notice, Request, TransportConfig,
    connection::{Connection, Happening},
    endpoint::Endpoint,
    follow::Follow,
    outgoing::Outgoing,
    reconnect::{End, ReconnectPolicy},
};
use crate::{
    CollectionIndex,
    record::{Push, Refusal, RefusalCode},
};

/// How long a deployment may take to answer the first thing it is asked: longer than Convex lets any query run.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The one task of a transport. It waits for whatever comes first, asks the parts that decide, and does what they say.
pub(super) struct Task {
    config: TransportConfig,
    reconnect: ReconnectPolicy,
    state: State,
    follows: BTreeMap<CollectionIndex, Follow>,
    /// The push in flight, and those that wait for it.
    outgoing: Option<Outgoing>,
    waiting: VecDeque<Push>,
    notices: mpsc::Sender<Notice>,
    /// What did not fit there yet.
    overflow: VecDeque<Notice>,
    /// Whether a page waits for room among the notices.
    held: bool,
}

enum State {
    /// Not before it is asked for.
    Offline,
    Pausing(Instant),
    Connecting(Pin<Box<dyn Future<Output = Result<Connection, End>> + Send>>),
    Connected(Box<Connection>),
}

enum Event {
    Request(Option<Request>),
    PauseOver,
    Attempted(Result<Connection, End>),
    Happened(Happening),
    /// A time a [`Follow`] or a first answer was waited for has come.
    Due,
    /// There is room among the notices; `false`: nobody takes them any more.
    Room(bool),
}

impl State {
    async fn next(&mut self) -> Event {
        match self {
            Self::Offline => std::future::pending().await,
            Self::Pausing(until) => {
                tokio::time::sleep_until((*until).into()).await;
                Event::PauseOver
            }
            Self::Connecting(attempt) => Event::Attempted(attempt.await),
            Self::Connected(connection) => Event::Happened(connection.next().await),
        }
    }
}

impl Task {
    pub(super) fn new(config: TransportConfig, notices: mpsc::Sender<Notice>) -> Self {
        Self {
            reconnect: ReconnectPolicy::new(config.seed, config.auth.is_some()),
            config,
            state: State::Offline,
            follows: BTreeMap::new(),
            outgoing: None,
            waiting: VecDeque::new(),
            notices,
            overflow: VecDeque::new(),
            held: false,
        }
    }

    pub(super) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        // Asked to be offline from the start: not even one attempt.
        let first = requests.try_recv().ok();
        match first {
            Some(Request::Online(false)) => self.go_offline(),
            first => {
                self.attempt();
                if let Some(request) = first {
                    self.request(request);
                }
            }
        }
        loop {
            let due = self.due();
            let wants_room = self.held || !self.overflow.is_empty();
            let event = tokio::select! {
                request = requests.recv() => Event::Request(request),
                event = self.state.next() => event,
                room = self.notices.reserve(), if wants_room => Event::Room(room.is_ok()),
                () = self.notices.closed(), if !wants_room => Event::Room(false),
                () = at(due) => Event::Due,
            };
            match event {
                Event::Request(None) | Event::Room(false) => return,
                Event::Request(Some(request)) => self.request(request),
                Event::PauseOver => self.attempt(),
                Event::Attempted(Ok(connection)) => self.connected(connection),
                Event::Attempted(Err(end)) => self.ended(end),
                Event::Happened(happening) => self.happened(happening),
                Event::Due => self.tick(),
                Event::Room(true) => self.flush(),
            }
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Subscribe { collection, checkpoint } => {
                if usize::from(collection.0) >= self.config.collections.len() {
                    let refusal = unknown_collection(collection);
                    self.tell(Notice::PullRefused { collection, refusal });
                    return;
                }
                let follow = self.follows.entry(collection).or_insert_with(|| Follow::new(collection, checkpoint));
                let closed = follow.restart(checkpoint);
                self.close(collection, closed);
                self.open();
            }
            Request::Push(push) => self.push(push),
            Request::Online(true) => {
                self.reconnect.restart();
                if matches!(self.state, State::Offline | State::Pausing(_)) {
                    self.attempt();
                }
            }
            Request::Online(false) => self.go_offline(),
        }
    }

    fn go_offline(&mut self) {
        self.state = State::Offline;
        self.reconnect.stop();
        self.tell(Notice::Disconnected { reason: super::Reason::Asked, retry_in: None });
        self.drop_everything();
    }

    fn attempt(&mut self) {
        let (notice, refresh) = self.reconnect.begin();
        self.tell(notice);
        match Endpoint::parse(&self.config.url) {
            Ok(endpoint) => {
                let attempt = Connection::establish(endpoint, self.config.auth.clone(), refresh);
                self.state = State::Connecting(Box::pin(attempt));
            }
            Err(why) => self.ended(End::BadUrl(why)),
        }
    }

    fn connected(&mut self, connection: Connection) {
        tracing::debug!(target: "bevy_convex_replicate::transport", url = self.config.url, "connected");
        self.reconnect.connected(connection.token_sent);
        self.state = State::Connected(Box::new(connection));
        self.tell(Notice::Connected);
        self.open();
        if let State::Connected(connection) = &mut self.state {
            for (index, name) in (0..=u16::MAX).zip(&self.config.collections) {
                connection.count(CollectionIndex(index), name);
            }
        }
    }

    fn ended(&mut self, end: End) {
        let lasted = match &self.state {
            State::Connected(connection) => connection.since.elapsed(),
            _ => Duration::ZERO,
        };
        let (reason, retry_in) = self.reconnect.ended(end, lasted);
        // Without the URL: one that was refused may have a password in it.
        tracing::debug!(target: "bevy_convex_replicate::transport", ?reason, ?retry_in, "not connected");
        self.state = match retry_in {
            Some(pause) => State::Pausing(Instant::now() + pause),
            None => State::Offline,
        };
        self.tell(Notice::Disconnected { reason, retry_in });
        self.drop_everything();
    }

    /// What was in flight went with the connection.
    fn drop_everything(&mut self) {
        self.held = false;
        for follow in self.follows.values_mut() {
            follow.disconnected();
        }
        if let Some(outgoing) = self.outgoing.take() {
            self.tell(outgoing.dropped());
        }
        while let Some(push) = self.waiting.pop_front() {
            self.tell(Notice::Dropped { number: push.number, collection: push.collection });
        }
    }

    fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Nothing => {}
            Happening::Ended(end) => {
                let end = match end {
                    End::Lost(why) if !self.reconnect.has_answered() => {
                        End::Lost(format!("{why} before anything was answered"))
                    }
                    end => end,
                };
                self.ended(end);
            }
            Happening::Results => self.read(),
            Happening::Subscribed(collection, key, Ok(subscription)) => {
                let is_open = self.follows.get(&collection).is_some_and(|follow| follow.key() == Some(key));
                if let (true, State::Connected(connection)) = (is_open, &mut self.state) {
                    connection.keep(collection, key, subscription);
                    // Its result may have come before its name.
                    self.read();
                }
            }
            Happening::Subscribed(collection, key, Err(refusal)) => {
                if let Some(follow) = self.follows.get_mut(&collection) {
                    let outcome = follow.answer(key, Err(refusal), true, Instant::now());
                    self.act(collection, outcome);
                }
            }
            Happening::Counting(..) => {}
            Happening::Mutated(result) => self.mutated(result),
        }
    }

    /// When [`Task::tick`] is due.
    fn due(&self) -> Option<Instant> {
        let State::Connected(connection) = &self.state else { return None };
        let is_waiting = !self.follows.is_empty() && !self.reconnect.has_answered();
        let first_answer = is_waiting.then_some(connection.since + FIRST_ANSWER_TIMEOUT);
        self.follows.values().filter_map(Follow::quiet_at).chain(first_answer).min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let State::Connected(connection) = &self.state else { return };
        if !self.follows.is_empty() && !self.reconnect.has_answered() && connection.since + FIRST_ANSWER_TIMEOUT <= now
        {
            let seconds = FIRST_ANSWER_TIMEOUT.as_secs();
            self.ended(End::Lost(format!("nothing was answered within {seconds} seconds")));
            return;
        }
        for follow in self.follows.values_mut() {
            follow.tick(now);
        }
        self.open();
    }

    fn has_room(&self) -> bool {
        self.overflow.is_empty() && self.notices.capacity() > 0
    }

    /// Pages are told only while there is room. All else is little, and waits here if need be.
    fn tell(&mut self, notice: Notice) {
        self.overflow.push_back(notice);
        self.pass_on();
    }

    fn pass_on(&mut self) {
        while let Some(notice) = self.overflow.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(notice)) = self.notices.try_send(notice) {
                self.overflow.push_front(notice);
                return;
            }
        }
    }

    fn flush(&mut self) {
        self.pass_on();
        if self.held && self.has_room() {
            self.read();
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn unknown_collection(collection: CollectionIndex) -> Refusal {
    Refusal::new(
        RefusalCode::BadName,
        format!("there is no collection number {}: name it in the transport's configuration", collection.0),
    )
}
