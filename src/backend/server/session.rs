//! One connection's side of the sync protocol, without its socket.
//!
//! The client keeps a version (of its query set, its identity, and the data), and takes only transitions that start at it. So exactly one
//! place makes them: [`Session::transition`], from the newest that is published. What happens meanwhile is not queued: a connection that
//! reads slowly gets fewer, later transitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use convex::Value;
use convex_sync_types::{
    AuthenticationToken, ClientMessage, ErrorPayload, IdentityVersion, LogLinesMessage, QueryId, QuerySetModification,
    QuerySetVersion, ServerMessage, SessionRequestSeqNumber, StateModification, StateVersion, Timestamp,
};
use serde_json::Value as Json;

use super::Server;
use crate::{
    backend::{
        function::{self, Answer, CallError, Mutation, Query},
        limits::QUERIES,
        writer::{Reply, Shared},
    },
    limits::DOCUMENT_PAGE_BYTES,
    record::{Refusal, RefusalCode},
};

/// What a client's message leads to.
pub(super) enum Step {
    /// Nothing at all.
    Nothing,
    /// A transition.
    Transition,
    /// An answer at once.
    Answer(Json),
    /// A mutation to run; its answer is [`answer`]'s.
    Run { request: SessionRequestSeqNumber, collection: String, mutation: Mutation },
    /// A last message, and the reason to close with.
    End(Json, String),
}

/// One connection's state.
pub(super) struct Session {
    server: Arc<Server>,
    /// What the client has.
    version: StateVersion,
    query_set: QuerySetVersion,
    identity: IdentityVersion,
    is_authenticated: bool,
    queries: Queries,
    removed: BTreeSet<QueryId>,
    /// A transition is due even if no result changed.
    is_owing: bool,
    hasher: RandomState,
}

/// The queries of a connection.
#[derive(Clone, Default)]
pub(super) struct Queries(Arc<Mutex<BTreeMap<QueryId, OpenQuery>>>);

impl Queries {
    // They are whole whenever nobody has them; a panic in between ends the connection.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<QueryId, OpenQuery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any of them has a new result, or may have one.
    pub fn are_due(&self, log: &Shared) -> bool {
        match self.0.try_lock() {
            Ok(queries) => {
                let log = log.read();
                queries.values().any(|query| query.is_due(&log))
            }
            // They are being run, perhaps on what was there before.
            Err(_) => true,
        }
    }
}

struct OpenQuery {
    call: Result<(String, Query), CallError>,
    /// The newest commit when it was last run; `None`: never.
    ran_at: Option<i64>,
    /// Its page is full: what is committed later comes after it, on other pages.
    is_full: bool,
    /// Tells whether a result is the one that was sent last.
    sent: Option<u64>,
}

impl OpenQuery {
    fn is_due(&self, log: &crate::backend::log::Log) -> bool {
        match (&self.call, self.ran_at) {
            (_, None) => true,
            (Ok(_), Some(_)) if self.is_full => false,
            (Ok((collection, query)), Some(ran_at)) => log.touched(collection, query.scope()) > ran_at,
            (Err(_), Some(_)) => false,
        }
    }
}

impl Session {
    pub fn new(server: Arc<Server>) -> Self {
        Self {
            is_authenticated: server.admits(None),
            server,
            version: StateVersion::initial(),
            query_set: 0,
            identity: 0,
            queries: Queries::default(),
            removed: BTreeSet::new(),
            is_owing: false,
            hasher: RandomState::new(),
        }
    }

    /// Those that are open, now and later.
    pub fn queries(&self) -> Queries {
        self.queries.clone()
    }

    /// Takes a client's message.
    pub fn handle(&mut self, text: &str) -> Step {
        let message = serde_json::from_str::<Json>(text).map_err(|error| error.to_string()).and_then(|message| {
            check_paths(&message)?;
            ClientMessage::try_from(message).map_err(|error| error.to_string())
        });
        let message = match message {
            Ok(message) => message,
            Err(error) => return fatal(format!("Received an invalid message: {error}")),
        };
        match message {
            ClientMessage::Connect { .. } | ClientMessage::Event(_) => Step::Nothing,
            ClientMessage::ModifyQuerySet { base_version, new_version, modifications } => {
                self.modify(base_version, new_version, modifications)
            }
            ClientMessage::Mutation { request_id: request, udf_path, args, .. } => {
                let call = match self.is_authenticated {
                    true => function::mutation(&udf_path, args.get()),
                    false => Err(unauthenticated()),
                };
                match call {
                    Ok((collection, mutation)) => Step::Run { request, collection, mutation },
                    Err(error) => Step::Answer(self.answer(request, Reply { result: Err(error), ts: 0 })),
                }
            }
            ClientMessage::Action { request_id, udf_path, .. } => {
                Step::Answer(Json::from(ServerMessage::<Value>::ActionResponse {
                    request_id,
                    result: Err(ErrorPayload::Message(format!(
                        "Could not find public function for '{udf_path}'. This backend has no actions."
                    ))),
                    log_lines: LogLinesMessage(Vec::new()),
                }))
            }
            ClientMessage::Authenticate { base_version, token } => self.authenticate(base_version, token),
        }
    }

    fn modify(
        &mut self,
        base: QuerySetVersion,
        new: QuerySetVersion,
        modifications: Vec<QuerySetModification>,
    ) -> Step {
        if base != self.query_set || new <= base {
            return fatal(format!(
                "Base version {base} passed up doesn't match the current version {}",
                self.query_set
            ));
        }
        let mut queries = self.queries.lock();
        for modification in modifications {
            match modification {
                QuerySetModification::Add(query) => {
                    if queries.len() >= QUERIES {
                        return fatal(format!("More than {QUERIES} queries are open in one connection"));
                    }
                    let call = function::query(&query.udf_path, query.args.get());
                    self.removed.remove(&query.query_id);
                    queries.insert(query.query_id, OpenQuery { call, ran_at: None, is_full: false, sent: None });
                }
                QuerySetModification::Remove { query_id } => {
                    queries.remove(&query_id);
                    self.removed.insert(query_id);
                }
            }
        }
        self.query_set = new;
        self.is_owing = true;
        Step::Transition
    }

    fn authenticate(&mut self, base: IdentityVersion, token: AuthenticationToken) -> Step {
        if base != self.identity {
            return fatal(format!(
                "Identity version {base} passed up doesn't match the current version {}",
                self.identity
            ));
        }
        let offered = match &token {
            AuthenticationToken::User(token) | AuthenticationToken::Admin(token, _) => Some(token.as_str()),
            AuthenticationToken::None => None,
        };
        let admits = self.server.admits(offered);
        if offered.is_some() && !admits {
            let (error, reason) = auth_error("The token is wrong", base, true);
            return Step::End(error, reason);
        }
        self.is_authenticated = admits;
        self.identity += 1;
        self.is_owing = true;
        for query in self.queries.lock().values_mut() {
            (query.ran_at, query.is_full) = (None, false);
        }
        Step::Transition
    }

    /// Another token is asked for now. Gives the last message of a connection that was let in with the one before, and why it ends.
    pub fn expire(&mut self) -> Option<(Json, String)> {
        std::mem::replace(&mut self.is_authenticated, false)
            .then(|| auth_error("The token is not valid any more", self.identity, false))
    }

    /// The answer to a mutation. A transition follows it, also if it failed: the client may wait for one.
    pub fn answer(&mut self, request_id: SessionRequestSeqNumber, reply: Reply) -> Json {
        self.is_owing = true;
        let ts = reply.result.is_ok().then(|| timestamp(reply.ts));
        let result = reply.result.map_err(|error| match error.into_parts() {
            (message, None) => ErrorPayload::Message(message),
            (message, Some(data)) => ErrorPayload::ErrorData { message, data },
        });
        ServerMessage::MutationResponse { request_id, result, ts, log_lines: LogLinesMessage(Vec::new()) }.into()
    }

    /// The transition to what is published now; `None` if the client has all of it. There may be more at once after a large one.
    pub fn transition(&mut self) -> Option<Json> {
        let mut results = Vec::new();
        // Before the log, as everywhere.
        let mut queries = self.queries.lock();
        let published = {
            let log = self.server.log.read();
            let published = log.published();
            let mut bytes = 0;
            for (id, open) in queries.iter_mut() {
                if !open.is_due(&log) || bytes > DOCUMENT_PAGE_BYTES {
                    continue;
                }
                open.ran_at = Some(published);
                let result = match &open.call {
                    Err(error) => Err(error.clone()),
                    Ok(_) if !self.is_authenticated => Err(unauthenticated()),
                    Ok((collection, query)) => query.run(collection, &log).map_err(CallError::Refused),
                };
                bytes += result.as_ref().map_or(0, answer_bytes);
                open.is_full = matches!(&result, Ok(Answer::Deltas(page, _)) if page.has_more);
                results.push((*id, result));
            }
            published
        };
        let mut modifications: Vec<_> = std::mem::take(&mut self.removed)
            .into_iter()
            .map(|query_id| StateModification::QueryRemoved { query_id })
            .collect();
        for (id, result) in results {
            let modification = modification(id, result);
            let sent = Some(match &modification {
                StateModification::QueryUpdated { value, .. } => self.hasher.hash_one(value),
                StateModification::QueryFailed { error_message, error_data, .. } => {
                    self.hasher.hash_one((error_message, error_data))
                }
                StateModification::QueryRemoved { .. } => 0,
            });
            if let Some(query) = queries.get_mut(&id)
                && std::mem::replace(&mut query.sent, sent) != sent
            {
                modifications.push(modification);
            }
        }
        drop(queries);
        if modifications.is_empty() && !std::mem::take(&mut self.is_owing) {
            return None;
        }
        self.is_owing = false;
        let end = StateVersion {
            query_set: self.query_set,
            identity: self.identity,
            ts: self.version.ts.max(timestamp(published)),
        };
        let start = std::mem::replace(&mut self.version, end);
        Some(
            ServerMessage::Transition {
                start_version: start,
                end_version: end,
                modifications,
                client_clock_skew: None,
                server_ts: None,
            }
            .into(),
        )
    }
}

/// The library's parser panics at a long path that is cut within a letter; and open queries keep theirs.
fn check_paths(message: &Json) -> Result<(), String> {
    let modifications = message.get("modifications").and_then(Json::as_array).into_iter().flatten();
    for path in std::iter::once(message).chain(modifications).filter_map(|holder| holder.get("udfPath")?.as_str()) {
        function::check_path(path)?;
    }
    Ok(())
}

fn answer_bytes(answer: &Answer) -> usize {
    match answer {
        Answer::Deltas(page, _) => page.deltas.iter().map(|delta| delta.bytes.len()).sum(),
        Answer::Documents(page) => page.documents.iter().map(|document| document.bytes.len()).sum(),
        Answer::Stream { .. } => 0,
    }
}

fn modification(query_id: QueryId, result: Result<Answer, CallError>) -> StateModification<Json> {
    let log_lines = LogLinesMessage(Vec::new());
    match result {
        Ok(answer) => {
            StateModification::QueryUpdated { query_id, value: Value::from(answer).into(), log_lines, journal: None }
        }
        Err(error) => {
            let (error_message, error_data) = error.into_parts();
            let error_data = error_data.map(Json::from);
            StateModification::QueryFailed { query_id, error_message, log_lines, journal: None, error_data }
        }
    }
}

fn auth_error(reason: &str, base: IdentityVersion, attempted: bool) -> (Json, String) {
    let error = ServerMessage::<Value>::AuthError {
        error_message: reason.into(),
        base_version: Some(base),
        auth_update_attempted: Some(attempted),
    };
    (error.into(), reason.into())
}

fn fatal(error_message: String) -> Step {
    Step::End(ServerMessage::<Value>::FatalError { error_message: error_message.clone() }.into(), error_message)
}

/// A call by someone who has not shown the token.
pub(super) fn unauthenticated() -> CallError {
    CallError::Refused(Refusal::new(RefusalCode::Unauthenticated, "this backend asks for a token"))
}

fn timestamp(ts: i64) -> Timestamp {
    // Commits come after 1970.
    Timestamp::try_from(ts).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use automerge::{AutoCommit, ROOT, transaction::Transactable};
    use serde_json::json;
    use tokio::sync::watch;

    use super::*;
    use crate::backend::{
        limits::{LOG_BYTES, PATIENCE, RETENTION},
        log::Log,
        writer,
    };

    fn server() -> Arc<Server> {
        let (log, jobs, published, _) = writer::start(Log::new("epoch"), None, RETENTION, LOG_BYTES).unwrap();
        Arc::new(Server {
            http: jobs.caller(),
            log,
            jobs,
            published,
            stopping: watch::channel(false).1,
            token: watch::channel(None).0,
            origins: Vec::new(),
            patience: PATIENCE,
            connections: 0.into(),
            places: Server::places(),
        })
    }

    /// Pushes a new document, and waits for the answer.
    fn push(session: &mut Session, scope: &str) {
        let mut document = AutoCommit::new();
        document.put(ROOT, "n", 1).unwrap();
        let change = document.get_last_local_change().unwrap().raw_bytes().to_vec();
        let changes = [json!({ "bytes": Json::from(Value::Bytes(change)) })];
        let arguments = json!({ "documents": [{ "id": scope, "changes": changes }], "scope": scope });
        let message =
            json!({ "type": "Mutation", "requestId": 0, "udfPath": "tasks:pushChanges", "args": [arguments] });
        let Step::Run { collection, mutation, .. } = session.handle(&message.to_string()) else {
            panic!("it is a mutation");
        };
        let jobs = &session.server.jobs;
        let (answer, answered) = crossbeam_channel::bounded(1);
        jobs.mutate((jobs.caller(), 1), collection, mutation, move |reply| answer.send(reply.result.is_ok()).unwrap());
        assert!(answered.recv().unwrap());
        // Shown by then.
        jobs.look(|_| ()).unwrap();
    }

    #[test]
    fn what_others_write_in_their_scopes_is_no_news() {
        let server = server();
        let mut session = Session::new(server.clone());
        let start = json!({ "ts": { "$integer": "AAAAAAAAAAA=" }, "ordinal": 0.0 });
        let query = json!({ "type": "Add", "queryId": 0, "udfPath": "tasks:pullDeltas", "args": [{ "checkpoint": start, "scope": "mine" }] });
        let message = json!({ "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [query] });
        assert!(matches!(session.handle(&message.to_string()), Step::Transition));
        let queries = session.queries();
        assert!(queries.are_due(&server.log));
        session.transition().expect("its result");
        assert!(!queries.are_due(&server.log));
        push(&mut session, "theirs");
        assert!(!queries.are_due(&server.log));
        push(&mut session, "mine");
        assert!(queries.are_due(&server.log));
        session.transition().expect("the news");
        assert!(!queries.are_due(&server.log));
        server.jobs.stop();
    }
}
