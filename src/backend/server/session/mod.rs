//! The server's session: one connection's side of the sync protocol, without its socket, its task or a clock.
//!
//! ```text
//!   client ── text ──>  ┌─────────┐  ── Output ──>  mutations for the writer, pings
//!                       │ Session │
//!   client <── Frame ── └─────────┘  <── Input ───  the writer's answers, news of the log, another token, the time
//! ```
//!
//! The driver's whole loop:
//!
//! 1. Give the session one [`Input`] with the present time: [`Session::handle`].
//! 2. Carry out every [`Output`] that [`Session::poll`] returns.
//! 3. While the socket has room, send what [`Session::next_frame`] returns, which is made at that moment.
//! 4. Wait for the next input. The socket is read only while [`Session::reads`]. At [`Session::poll_timeout`] the input
//!    is [`Input::Timer`].
//! 5. Once the session is [not open](Session::is_open) any more, send the remaining frames and stop.
//!
//! Time is a [`Duration`] since a moment that the driver chooses once and that never goes back.
//!
//! The client keeps a version (of its query set, its identity, and the data), and takes only transitions that start at
//! this version. So exactly one place makes them: [`Session::next_frame`], from the newest commit that is published.
//! Commits are not queued meanwhile, so a connection that reads slowly gets fewer and later transitions.

mod queries;

use std::{
    collections::{BTreeSet, VecDeque},
    hash::RandomState,
    time::Duration,
};

use convex::Value;
use convex_sync_types::{
    AuthenticationToken, ClientMessage, ErrorPayload, IdentityVersion, LogLinesMessage, QueryId, QuerySetModification,
    QuerySetVersion, ServerMessage, SessionRequestSeqNumber, StateModification, StateVersion, Timestamp,
};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

pub(in crate::backend) use self::queries::Queries;
use super::allowance::Allowance;
use crate::backend::{
    access::{Access, Admission, Rights},
    function::{self, CallError, Called, Mutation},
    limits::{PING_EVERY, PINGS, WAITING_MUTATION_BYTES, WAITING_MUTATIONS},
    log::RequestKey,
    presence::Area,
    writer::{Reply, Shared},
};
use crate::{
    record::{Refusal, RefusalCode, UserId},
    wire::SetPresence,
};

/// An event outside of the session.
pub(in crate::backend) enum Input<'a> {
    /// The client sent a text.
    Text(&'a str),
    /// The client sent this many bytes that are no text.
    Binary(usize),
    /// The client's socket received a ping or a pong of this many bytes.
    Alive(usize),
    /// The client closed the connection, or the socket failed.
    Gone,
    /// The writer answered the first of the mutations that have no answer yet.
    Answered(SessionRequestSeqNumber, Reply),
    /// What a peer shows was changed, or the change was refused.
    Presented(SessionRequestSeqNumber, Result<Value, Refusal>),
    /// A commit has changed the result of an open query, or may have, as [`Queries::are_due`] says.
    News,
    /// An area of an open query has changed, or may have. The driver gives this seldom enough: between two of them, the
    /// query of an area is not run again.
    Look,
    /// The backend accepts other tokens from now on.
    AccessChanged(Access),
    /// The backend stops.
    Stopping,
    /// The connection has to end, for this reason.
    TurnedAway(&'static str),
    /// The time of [`Session::poll_timeout`] has come.
    Timer,
}

/// An instruction to the driver.
pub(in crate::backend) enum Output {
    /// Hand a mutation to the writer, in this order. Ends in [`Input::Answered`].
    Run {
        /// The name of the call.
        request: SessionRequestSeqNumber,
        /// The name under which the client may send the call again, over another connection.
        key: Option<RequestKey>,
        /// The collection of the function.
        collection: String,
        /// The function and its arguments.
        mutation: Mutation,
        /// The verified caller.
        user: Option<UserId>,
        /// The length of the message.
        bytes: usize,
    },
    /// Change what a peer shows, which the caller may. Ends in [`Input::Presented`], at once.
    Present {
        /// The name of the call.
        request: SessionRequestSeqNumber,
        /// Where it is shown.
        area: Area,
        /// The arguments.
        call: SetPresence,
        /// The verified caller.
        user: Option<UserId>,
    },
    /// Send a ping if there is room at once. Without room, another frame is on its way.
    Ping,
}

/// A frame to the client.
pub(in crate::backend) enum Frame {
    /// A message.
    Message(Json),
    /// The end of the connection, and the reason.
    Close(String),
}

/// The session of one connection. See the [module](self) for how it is driven.
pub(in crate::backend) struct Session {
    state: State,
    access: Access,
    /// The caller, after it was admitted.
    admission: Option<Admission>,
    /// The time when the caller's token ends.
    expires: Option<Duration>,
    /// The id that the client has given itself. It keeps the id when it connects again.
    session: Option<[u8; 16]>,
    /// The version that the client has.
    version: StateVersion,
    query_set: QuerySetVersion,
    identity: IdentityVersion,
    queries: Queries,
    removed: BTreeSet<QueryId>,
    /// A transition is due even if no result changed.
    is_owing: bool,
    /// There may be something for a transition.
    is_stale: bool,
    /// The number of the last [look](Input::Look).
    look: u64,
    /// Answers that wait for room in the socket.
    ready: VecDeque<Json>,
    /// The lengths of mutations whose answers are still to come. They and the answers that wait are bounded together.
    running: VecDeque<usize>,
    outputs: VecDeque<Output>,
    allowance: Allowance,
    /// The time until which the socket is not read, because the client sent too much.
    held_back: Option<Duration>,
    /// The time when the client was last heard.
    heard: Duration,
    /// The time that a client may stay silent.
    patience: Duration,
    /// The time when the next ping is due.
    ping_at: Duration,
    hasher: RandomState,
}

enum State {
    Open,
    /// The session sends the answers that are ready, and then this reason.
    Closing(String),
    Over,
}

impl Session {
    /// Makes the session of a new connection. `access` says which tokens are accepted. `patience` is how long
    /// the client may stay silent.
    pub fn new(access: Access, patience: Duration, now: Duration) -> Self {
        Self {
            state: State::Open,
            admission: access.admit(None),
            access,
            expires: None,
            session: None,
            version: StateVersion::initial(),
            query_set: 0,
            identity: 0,
            queries: Queries::default(),
            removed: BTreeSet::new(),
            is_owing: false,
            is_stale: false,
            look: 0,
            ready: VecDeque::new(),
            running: VecDeque::new(),
            outputs: VecDeque::new(),
            allowance: Allowance::new(now),
            held_back: None,
            heard: now,
            patience,
            ping_at: now + ping_every(patience),
            hasher: RandomState::new(),
        }
    }

    /// A handle to the open queries, which shows later changes too.
    pub fn queries(&self) -> Queries {
        self.queries.clone()
    }

    /// Changes whenever the areas to follow may have changed.
    pub fn follow_version(&self) -> (QuerySetVersion, IdentityVersion, bool) {
        (self.query_set, self.identity, self.is_authenticated())
    }

    /// The areas to follow: none for a client that may not call functions.
    pub fn follows(&self) -> BTreeSet<Area> {
        if self.is_authenticated() { self.queries.areas() } else { BTreeSet::new() }
    }

    /// The verified caller.
    pub fn user(&self) -> Option<&UserId> {
        self.admission.as_ref()?.user.as_ref()
    }

    /// Handles an input. After the end, the only input that matters is that the client is gone.
    pub fn handle(&mut self, input: Input<'_>, now: Duration) {
        // The driver looks at the time last, so a client that never pauses must not put off the end of its token.
        let is_due = self.expires.is_some_and(|expires| expires <= now);
        if is_due && self.is_open() && !matches!(input, Input::Gone | Input::Answered(..)) {
            self.admission = None;
            self.refuse_token("The token has expired", false);
            return;
        }
        match (&self.state, input) {
            (_, Input::Gone) => self.state = State::Over,
            (State::Closing(_) | State::Over, _) => {}
            (State::Open, Input::Text(text)) => {
                self.hear(text.len(), now);
                self.message(text);
            }
            (State::Open, Input::Binary(bytes)) => {
                self.hear(bytes, now);
                self.end("only text messages are understood".into());
            }
            (State::Open, Input::Alive(bytes)) => self.hear(bytes, now),
            (State::Open, Input::Answered(request, reply)) => {
                // Answers come in the order of the calls.
                self.running.pop_front();
                self.answer(request, reply);
            }
            (State::Open, Input::Presented(request, result)) => {
                // The answer belongs to no commit. A reader of the area is told in its next look.
                self.answer(request, Reply { result: result.map_err(CallError::from), ts: 0 });
            }
            (State::Open, Input::News) => self.is_stale = true,
            (State::Open, Input::Look) => {
                self.look += 1;
                self.is_stale = true;
            }
            (State::Open, Input::AccessChanged(access)) => self.change_access(access),
            (State::Open, Input::Stopping) => self.end("the backend is stopping".into()),
            (State::Open, Input::TurnedAway(reason)) => self.end(reason.into()),
            (State::Open, Input::Timer) => self.tick(now),
        }
    }

    /// The next instruction.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The time when [`Input::Timer`] is due.
    pub fn poll_timeout(&self) -> Duration {
        self.held_back.into_iter().chain(self.expires).fold(self.ping_at, Duration::min)
    }

    /// Whether the driver must read the socket now.
    pub fn reads(&self) -> bool {
        self.is_open()
            && self.held_back.is_none()
            && self.ready.len() + self.running.len() < WAITING_MUTATIONS
            && self.running.iter().sum::<usize>() < WAITING_MUTATION_BYTES
    }

    /// Whether the client may call functions.
    pub fn is_authenticated(&self) -> bool {
        self.admitted().is_some()
    }

    /// Whether the connection continues.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether the connection has ended and no frame is left to send.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether there may be a frame to send.
    pub fn has_frames(&self) -> bool {
        match self.state {
            State::Open => !self.ready.is_empty() || self.is_stale,
            State::Closing(_) => true,
            State::Over => false,
        }
    }

    /// The next frame. Call this when the socket has room for it.
    pub fn next_frame(&mut self, log: &Shared) -> Option<Frame> {
        if self.is_over() {
            return None;
        }
        // Answers go before transitions, because a transition that includes a mutation must not come before the
        // mutation's answer.
        if let Some(answer) = self.ready.pop_front() {
            return Some(Frame::Message(answer));
        }
        if let State::Closing(reason) = &mut self.state {
            let reason = std::mem::take(reason);
            self.state = State::Over;
            return Some(Frame::Close(reason));
        }
        if !self.is_stale {
            return None;
        }
        let transition = self.transition(log);
        // After a large transition there may be more at once.
        self.is_stale = transition.is_some();
        transition.map(Frame::Message)
    }

    fn hear(&mut self, bytes: usize, now: Duration) {
        self.heard = now;
        self.held_back = self.allowance.take(bytes, now);
    }

    fn tick(&mut self, now: Duration) {
        let reads = self.reads();
        self.held_back.take_if(|held_back| *held_back <= now);
        if self.ping_at > now {
            return;
        }
        self.ping_at = now + ping_every(self.patience);
        if !reads {
            // The client may have sent much that was not read.
            self.heard = now;
        } else if now.saturating_sub(self.heard) > self.patience {
            self.end(format!("nothing was heard for {} seconds", self.patience.as_secs()));
            return;
        }
        self.outputs.push_back(Output::Ping);
    }

    fn end(&mut self, reason: String) {
        self.state = State::Closing(reason);
    }

    /// Sends a last message and ends the connection.
    fn end_with(&mut self, message: ServerMessage<Value>, reason: String) {
        self.ready.push_back(message.into());
        self.end(reason);
    }

    fn fatal(&mut self, error_message: String) {
        self.end_with(ServerMessage::FatalError { error_message: error_message.clone() }, error_message);
    }

    /// Handles a client's message.
    fn message(&mut self, text: &str) {
        let message = serde_json::from_str::<Json>(text).map_err(|error| error.to_string()).and_then(|message| {
            check_paths(&message)?;
            ClientMessage::try_from(message).map_err(|error| error.to_string())
        });
        match message {
            Err(error) => self.fatal(format!("Received an invalid message: {error}")),
            Ok(ClientMessage::Connect { session_id, .. }) => self.session = Some(*session_id.as_bytes()),
            Ok(ClientMessage::Event(_)) => {}
            Ok(ClientMessage::ModifyQuerySet { base_version, new_version, modifications }) => {
                self.modify(base_version, new_version, modifications);
            }
            Ok(ClientMessage::Mutation { request_id: request, udf_path, args, .. }) => {
                let call = match self.admitted() {
                    Some(admission) => {
                        let rights = self.access.rights(admission);
                        function::mutation(&udf_path, args.get()).and_then(|call| permitted(call, rights))
                    }
                    None => Err(unauthenticated()),
                };
                match call {
                    Ok(Called::Presence(area, call)) => {
                        let user = self.admission.as_ref().and_then(|admission| admission.user.clone());
                        self.outputs.push_back(Output::Present { request, area, call, user });
                    }
                    Ok(Called::Log(collection, mutation)) => {
                        let user = self.admission.as_ref().and_then(|admission| admission.user.clone());
                        let session = self.session.map(|session| session_of(session, user.as_ref()));
                        let key = session.map(|session| RequestKey { session, request });
                        self.running.push_back(text.len());
                        let bytes = text.len();
                        self.outputs.push_back(Output::Run { request, key, collection, mutation, user, bytes });
                    }
                    Err(error) => self.answer(request, Reply { result: Err(error), ts: 0 }),
                }
            }
            Ok(ClientMessage::Action { request_id, udf_path, .. }) => {
                let error = if self.admitted().is_some() { function::action(&udf_path) } else { unauthenticated() };
                let response = ServerMessage::<Value>::ActionResponse {
                    request_id,
                    result: Err(payload(error)),
                    log_lines: LogLinesMessage(Vec::new()),
                };
                self.ready.push_back(response.into());
                self.is_stale = true;
            }
            Ok(ClientMessage::Authenticate { base_version, token }) => self.authenticate(base_version, token),
        }
    }

    fn modify(&mut self, base: QuerySetVersion, new: QuerySetVersion, modifications: Vec<QuerySetModification>) {
        if base != self.query_set || new <= base {
            self.fatal(format!("Base version {base} passed up doesn't match the current version {}", self.query_set));
            return;
        }
        if let Err(problem) = self.queries.modify(modifications, &mut self.removed) {
            self.fatal(problem);
            return;
        }
        self.query_set = new;
        self.owe();
    }

    fn authenticate(&mut self, base: IdentityVersion, token: AuthenticationToken) {
        if base != self.identity {
            self.fatal(format!(
                "Identity version {base} passed up doesn't match the current version {}",
                self.identity
            ));
            return;
        }
        let offered = match &token {
            AuthenticationToken::User(token) | AuthenticationToken::Admin(token, _) => Some(token.as_str()),
            AuthenticationToken::None => None,
        };
        let admission = self.access.admit(offered);
        if offered.is_some() && admission.is_none() {
            self.refuse_token("The token is wrong", true);
            return;
        }
        let remaining = admission.as_ref().and_then(|admission| self.access.remaining(admission));
        // The client was heard just now.
        self.expires = remaining.map(|remaining| self.heard.saturating_add(remaining));
        self.admission = admission;
        self.identity += 1;
        self.queries.run_again();
        self.owe();
    }

    /// Accepts other tokens. A connection that was let in with a token that is not accepted any more ends.
    fn change_access(&mut self, access: Access) {
        self.access = access;
        if self.admission.take_if(|admission| !self.access.still_admits(admission)).is_some() {
            self.refuse_token("The token is not valid any more", false);
        }
    }

    /// The caller, if it may call functions.
    fn admitted(&self) -> Option<&Admission> {
        self.admission.as_ref().filter(|admission| self.access.rights(admission).admits())
    }

    fn refuse_token(&mut self, reason: &str, attempted: bool) {
        let error = ServerMessage::AuthError {
            error_message: reason.into(),
            base_version: Some(self.identity),
            auth_update_attempted: Some(attempted),
        };
        self.end_with(error, reason.into());
    }

    /// Answers a mutation. A transition follows even if the mutation failed, because the client may wait for one.
    fn answer(&mut self, request_id: SessionRequestSeqNumber, reply: Reply) {
        let ts = reply.result.is_ok().then(|| timestamp(reply.ts));
        let result = reply.result.map_err(payload);
        let log_lines = LogLinesMessage(Vec::new());
        self.ready.push_back(ServerMessage::MutationResponse { request_id, result, ts, log_lines }.into());
        self.owe();
    }

    fn owe(&mut self) {
        self.is_owing = true;
        self.is_stale = true;
    }

    /// Makes the transition to the newest published commit. `None` if the client has all of it.
    fn transition(&mut self, log: &Shared) -> Option<Json> {
        let (published, results) = self.queries.run(
            log,
            self.admitted().map(|admission| self.access.rights(admission)),
            &self.hasher,
            self.look,
        );
        let removed = std::mem::take(&mut self.removed).into_iter();
        let mut modifications: Vec<_> = removed.map(|query_id| StateModification::QueryRemoved { query_id }).collect();
        modifications.extend(results);
        if modifications.is_empty() && !self.is_owing {
            return None;
        }
        self.is_owing = false;
        let end = StateVersion {
            query_set: self.query_set,
            identity: self.identity,
            ts: self.version.ts.max(timestamp(published)),
        };
        let start = std::mem::replace(&mut self.version, end);
        let mut transition = Json::from(ServerMessage::Transition {
            start_version: start,
            end_version: end,
            modifications,
            client_clock_skew: None,
            server_ts: None,
        });
        // The library writes null for a value that is absent. The official JavaScript client takes null for a time long
        // ago, and warns at every transition that it took too long.
        if let Some(fields) = transition.as_object_mut() {
            fields.retain(|name, value| !(value.is_null() && matches!(&**name, "clientClockSkew" | "serverTs")));
        }
        Some(transition)
    }
}

/// Refuses to show something in an area that the caller may not read. The writer asks about calls of the log.
pub(super) fn permitted(call: Called, rights: Rights<'_>) -> Result<Called, CallError> {
    if let Called::Presence(area, _) = &call {
        rights.check_read(&area.collection, area.scope.as_deref())?;
    }
    Ok(call)
}

fn payload(error: CallError) -> ErrorPayload<Value> {
    match error.into_parts() {
        (message, None) => ErrorPayload::Message(message),
        (message, Some(data)) => ErrorPayload::ErrorData { message, data },
    }
}

/// The session with the id that a client has given itself, of one user. Another user's client that sends the same id
/// gets none of the stored answers.
fn session_of(session: [u8; 16], user: Option<&UserId>) -> [u8; 16] {
    let Some(user) = user else { return session };
    let mut own = [0; 16];
    own.copy_from_slice(&Sha256::new().chain_update(session).chain_update(user.as_str()).finalize()[..16]);
    own
}

/// How often a client is pinged.
pub(super) fn ping_every(patience: Duration) -> Duration {
    PING_EVERY.min(patience / PINGS).max(Duration::from_millis(1))
}

/// The error of a call by a client that has not sent the token.
pub(super) fn unauthenticated() -> CallError {
    CallError::Refused(Refusal::new(
        RefusalCode::Unauthenticated,
        "this backend asks for a token, or for one of a user with a name",
    ))
}

/// Refuses paths that are too long. The library's parser panics at a long path that it cuts within a letter, and each
/// open query keeps its path.
fn check_paths(message: &Json) -> Result<(), String> {
    let modifications = message.get("modifications").and_then(Json::as_array).into_iter().flatten();
    for path in std::iter::once(message).chain(modifications).filter_map(|holder| holder.get("udfPath")?.as_str()) {
        function::check_path(path)?;
    }
    Ok(())
}

fn timestamp(ts: i64) -> Timestamp {
    // Commits come after 1970.
    Timestamp::try_from(ts).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
