//! Drives a [`Session`] with tokio and the official client. This module makes no decision.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    AuthToken, Notice, Request, TransportConfig,
    connection::{OpenClient, Told},
    reconnect::End,
    session::{Input, Output, Session},
};

/// The task of a transport.
pub(super) struct Task {
    session: Session,
    auth: Option<AuthToken>,
    user: Option<String>,
    link: Link,
    notices: mpsc::Sender<Notice>,
    /// The start of the session's time.
    origin: Instant,
}

enum Link {
    Closed,
    Opening(Pin<Box<dyn Future<Output = Result<OpenClient, End>> + Send>>),
    Open(Box<OpenClient>),
}

enum Event {
    Request(Option<Request>),
    Opened(Result<OpenClient, End>),
    Told(Told),
    /// There is room for a notice. `false` means that the receiver of the notices is gone.
    Space(bool),
    Timer,
}

impl Link {
    async fn next(&mut self) -> Event {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Opening(attempt) => Event::Opened(attempt.await),
            Self::Open(connection) => Event::Told(connection.next().await),
        }
    }
}

impl Task {
    pub(super) fn new(config: TransportConfig, notices: mpsc::Sender<Notice>) -> Self {
        let TransportConfig { url, auth, user, collections, seed } = config;
        let session = Session::new(url, collections, auth.is_some(), seed);
        Self { session, auth, user, link: Link::Closed, notices, origin: Instant::now() }
    }

    /// Runs until the senders of requests or the receiver of notices are gone.
    pub(super) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        // The first request decides how the session begins.
        match requests.try_recv() {
            Ok(request) => self.handle(Input::Request(request)),
            Err(_) => self.handle(Input::Timer),
        }
        loop {
            self.carry_out();
            let due = self.session.poll_timeout();
            let has_notice = self.session.has_notice();
            let event = tokio::select! {
                request = requests.recv() => Event::Request(request),
                event = self.link.next() => event,
                room = self.notices.reserve(), if has_notice => Event::Space(room.is_ok()),
                () = self.notices.closed(), if !has_notice => Event::Space(false),
                () = at(self.origin, due) => Event::Timer,
            };
            match event {
                Event::Request(None) | Event::Space(false) => return,
                // `carry_out` uses the room.
                Event::Space(true) => {}
                Event::Request(Some(request)) => self.handle(Input::Request(request)),
                Event::Timer => self.handle(Input::Timer),
                Event::Opened(attempt) => self.opened(attempt),
                Event::Told(told) => self.told(told),
            }
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(input, self.origin.elapsed());
    }

    fn opened(&mut self, attempt: Result<OpenClient, End>) {
        match attempt {
            Ok(connection) => {
                let token_sent = connection.token_sent;
                self.link = Link::Open(Box::new(connection));
                self.handle(Input::Connected { token_sent });
            }
            Err(end) => {
                // A finished attempt must not be polled again.
                self.link = Link::Closed;
                self.handle(Input::Disconnected(end));
            }
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Nothing => {}
            Told::Ended(end) => self.handle(Input::Disconnected(end)),
            Told::Values => self.read(),
            Told::Refused(subscription, refusal) => self.handle(Input::SubscriptionRefused(subscription, refusal)),
            Told::Answered(mutation, result) => {
                self.handle(Input::MutationAnswered(mutation, result.as_ref().map_err(Clone::clone)));
            }
        }
    }

    fn read(&mut self) {
        if let Link::Open(connection) = &self.link {
            self.session.handle(Input::Values(&connection.values()), self.origin.elapsed());
        }
    }

    /// Carries out the session's instructions, and passes on the notices for which there is room.
    fn carry_out(&mut self) {
        loop {
            while let Some(output) = self.session.poll() {
                self.obey(output);
            }
            if !self.session.has_notice() {
                return;
            }
            let Ok(room) = self.notices.try_reserve() else { return };
            if let Some(notice) = self.session.next_notice() {
                room.send(notice);
            }
        }
    }

    fn obey(&mut self, output: Output) {
        match (output, &mut self.link) {
            (Output::Open { endpoint, refresh }, link) => {
                *link = Link::Opening(Box::pin(OpenClient::establish(
                    endpoint,
                    self.auth.clone(),
                    self.user.clone(),
                    refresh,
                )));
            }
            (Output::Close, link) => *link = Link::Closed,
            (Output::Subscribe { subscription, function, arguments }, Link::Open(connection)) => {
                connection.subscribe(subscription, function, arguments);
            }
            (Output::Unsubscribe(subscription), Link::Open(connection)) => connection.unsubscribe(subscription),
            (Output::Mutate { mutation, function, arguments }, Link::Open(connection)) => {
                connection.mutate(mutation, function, arguments);
            }
            (Output::Read, Link::Open(_)) => self.read(),
            // The session asks for these only while it is connected.
            (Output::Subscribe { .. } | Output::Unsubscribe(_) | Output::Mutate { .. } | Output::Read, _) => {}
        }
    }
}

async fn at(origin: Instant, due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep_until((origin + due).into()).await,
        None => std::future::pending().await,
    }
}
