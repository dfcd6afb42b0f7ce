//! Each test is a plain loop: inputs in, outputs and frames out, with the time as an argument.

use automerge::{AutoCommit, ROOT, transaction::Transactable};
use serde_json::json;
use std::sync::Arc;

use super::*;
use crate::backend::{
    access::{Everyone, Token, Users},
    limits::{LOG_BYTES, MESSAGES_AT_ONCE, PATIENCE, RETENTION},
    log::Log,
    turns::Caller,
    writer::{self, Jobs},
};

const SECOND: Duration = Duration::from_secs(1);

/// A session, the time, and the writer that it works with.
struct Rig {
    session: Session,
    log: Shared,
    jobs: Jobs,
    now: Duration,
}

fn access(token: Option<&str>) -> Access {
    Access { token: token.map(|token| Token::new(token.into())), ..Access::default() }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.jobs.stop();
    }
}

impl Rig {
    fn new(token: Option<&str>) -> Self {
        let (log, jobs, _, _) =
            writer::start(Log::new("epoch"), None, RETENTION, LOG_BYTES, Arc::new(Everyone)).unwrap();
        Self { session: Session::new(access(token), PATIENCE, SECOND), log, jobs, now: SECOND }
    }

    fn give(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now);
    }

    fn say(&mut self, message: Json) {
        self.give(Input::Text(&message.to_string()));
    }

    /// Waits until the session's time has come.
    fn wait(&mut self) {
        self.now = self.session.poll_timeout();
        self.give(Input::Timer);
    }

    /// All frames that are left to send. The reason to close comes last.
    fn frames(&mut self) -> Vec<Json> {
        let text = |frame| match frame {
            Frame::Message(message) => message,
            Frame::Close(reason) => json!({ "closes": reason }),
        };
        std::iter::from_fn(|| self.session.next_frame(&self.log)).map(text).collect()
    }

    /// The types of the messages that are left to send.
    fn kinds(&mut self) -> Vec<String> {
        let kind = |frame: Json| frame.get("type").and_then(Json::as_str).unwrap_or("the end").to_owned();
        self.frames().into_iter().map(kind).collect()
    }

    fn subscribe(&mut self, base: u32, query: Json) {
        let (new, kind) = (base + 1, "ModifyQuerySet");
        self.say(json!({ "type": kind, "baseVersion": base, "newVersion": new, "modifications": [query] }));
    }

    /// Runs the mutations that the session outputs, and gives it the answers.
    fn run(&mut self) -> usize {
        let mut ran = 0;
        while let Some(output) = self.session.poll() {
            let Output::Run { request, key, collection, mutation, user, bytes } = output else { continue };
            let (answer, answered) = crossbeam_channel::bounded(1);
            self.jobs
                .mutate((Caller(1), bytes), key, collection, mutation, user, move |reply| drop(answer.send(reply)));
            let reply = answered.recv().unwrap();
            // The commit is published by then.
            self.jobs.look(|_| ()).unwrap();
            self.give(Input::Answered(request, reply));
            ran += 1;
        }
        ran
    }
}

#[test]
fn a_reader_that_is_slow_gets_only_the_newest_presence() {
    let mut rig = Rig::new(None);
    rig.say(json!({ "type": "Connect", "sessionId": "11111111-1111-4111-8111-111111111111", "connectionCount": 0 }));
    let query = json!({ "type": "Add", "queryId": 0, "udfPath": "cards:listPresence", "args": [{}] });
    rig.subscribe(0, query);
    assert_eq!(rig.frames().len(), 1);
    let areas = rig.session.queries().areas();
    let area = areas.first().expect("the query's area");
    for value in 0..20 {
        let call = SetPresence { session: "0123456789abcdef".into(), scope: None, value: Some(value.to_string()) };
        rig.log.presence().set(area, call, None, None, std::time::Instant::now()).unwrap();
        rig.give(Input::Look);
    }
    // The socket has room again.
    let frames = rig.frames();
    let [frame] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(frame["modifications"][0]["value"]["peers"][0]["value"], "19");
    rig.give(Input::Look);
    assert!(rig.frames().is_empty(), "nothing has changed");
}

#[test]
fn presence_is_listed_once_in_each_look_and_commits_do_not_wait_for_it() {
    let mut rig = Rig::new(None);
    rig.subscribe(0, json!({ "type": "Add", "queryId": 0, "udfPath": "cards:listPresence", "args": [{}] }));
    rig.subscribe(1, pull(1, "a"));
    rig.frames();
    let area = rig.session.follows().first().expect("the query's area").clone();
    let show = |rig: &Rig, value: &str| {
        let call = SetPresence { session: "0123456789abcdef".into(), scope: None, value: Some(value.into()) };
        rig.log.presence().set(&area, call, None, None, std::time::Instant::now()).unwrap();
    };
    let changed = |frames: &[Json]| -> Vec<u64> {
        let modifications = frames.iter().filter_map(|frame| frame["modifications"].as_array()).flatten();
        modifications.filter_map(|modification| modification["queryId"].as_u64()).collect()
    };
    for value in 0..5 {
        show(&rig, &format!("before {value}"));
        rig.give(Input::Look);
        let Some(Frame::Message(frame)) = rig.session.next_frame(&rig.log) else { panic!("a list") };
        assert_eq!(changed(&[frame]), [0]);
        // The socket has room at once, and the area changes meanwhile.
        show(&rig, &format!("after {value}"));
        assert_eq!(changed(&rig.frames()), Vec::<u64>::new());
        // The answers and results of a push are sent, and nothing of the area.
        rig.say(push(value, "a"));
        rig.run();
        rig.give(Input::News);
        assert_eq!(changed(&rig.frames()), [1]);
    }
}

#[test]
fn presence_is_answered_without_the_writer() {
    let mut rig = Rig::new(None);
    let call = |request: u32, value: &str| {
        let arguments = json!({ "session": "0123456789abcdef", "value": value });
        json!({ "type": "Mutation", "requestId": request, "udfPath": "cards:setPresence", "args": [arguments] })
    };
    rig.say(call(0, "1"));
    let Some(Output::Present { request, area, call: presence, user }) = rig.session.poll() else {
        panic!("another instruction");
    };
    let mut seat = rig.log.presence().seat(Arc::default());
    let result = seat.set(area.clone(), presence, user, std::time::Instant::now());
    rig.give(Input::Presented(request, result));
    assert_eq!(rig.kinds(), ["MutationResponse", "Transition"]);
    assert_eq!(rig.log.presence().list(&area).len(), 1);
    seat.leave(std::time::Instant::now());
    assert!(rig.log.presence().list(&area).is_empty());
}

/// A query of a log from its beginning.
fn pull(id: u32, scope: &str) -> Json {
    let start = json!({ "ts": { "$integer": "AAAAAAAAAAA=" }, "ordinal": 0.0 });
    json!({ "type": "Add", "queryId": id, "udfPath": "tasks:pullDeltas", "args": [{ "checkpoint": start, "scope": scope }] })
}

/// A push of a new document.
fn push(request: u32, scope: &str) -> Json {
    let mut document = AutoCommit::new();
    document.put(ROOT, "n", 1).unwrap();
    let change = document.get_last_local_change().unwrap().raw_bytes().to_vec();
    let changes = [json!({ "bytes": Json::from(Value::Bytes(change)) })];
    let arguments = json!({ "documents": [{ "id": scope, "changes": changes }], "scope": scope });
    json!({ "type": "Mutation", "requestId": request, "udfPath": "tasks:pushChanges", "args": [arguments] })
}

fn authenticate(base: u32, token: &str) -> Json {
    json!({ "type": "Authenticate", "baseVersion": base, "tokenType": "User", "value": token })
}

#[test]
fn commits_in_other_scopes_are_no_news() {
    let mut rig = Rig::new(None);
    rig.subscribe(0, pull(0, "mine"));
    let queries = rig.session.queries();
    assert!(queries.are_due(&rig.log));
    assert_eq!(rig.kinds(), ["Transition"]);
    assert!(!queries.are_due(&rig.log));
    rig.say(push(0, "theirs"));
    rig.run();
    assert!(!queries.are_due(&rig.log));
    rig.say(push(1, "mine"));
    rig.run();
    assert!(queries.are_due(&rig.log));
    rig.frames();
    assert!(!queries.are_due(&rig.log));
}

#[test]
fn an_answer_comes_before_the_transition_that_tells_of_it() {
    let mut rig = Rig::new(None);
    rig.subscribe(0, pull(0, "mine"));
    rig.say(push(0, "mine"));
    assert_eq!(rig.run(), 1);
    let frames = rig.frames();
    let [answer, transition] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!(answer["type"], "MutationResponse");
    assert_eq!(answer["success"], true);
    assert_eq!(transition["type"], "Transition");
    assert_eq!(transition["endVersion"]["ts"], answer["ts"]);
}

#[test]
fn each_transition_starts_where_the_one_before_ended() {
    let mut rig = Rig::new(None);
    rig.subscribe(0, pull(0, "mine"));
    let mut frames = rig.frames();
    for request in 0..3 {
        rig.say(push(request, "mine"));
        rig.run();
        frames.extend(rig.frames());
    }
    rig.subscribe(1, json!({ "type": "Remove", "queryId": 0 }));
    frames.extend(rig.frames());
    frames.retain(|frame| frame["type"] == "Transition");
    assert_eq!(frames.len(), 5);
    for pair in frames.windows(2) {
        assert_eq!(pair[0]["endVersion"], pair[1]["startVersion"]);
    }
}

#[test]
fn a_mutation_that_fails_is_followed_by_a_transition_too() {
    let mut rig = Rig::new(None);
    rig.say(json!({ "type": "Mutation", "requestId": 7, "udfPath": "tasks:nothing", "args": [{}] }));
    assert_eq!(rig.run(), 0);
    assert_eq!(rig.kinds(), ["MutationResponse", "Transition"]);
    assert!(rig.kinds().is_empty(), "once");
}

#[test]
fn a_result_that_did_not_change_is_not_sent_again() {
    let mut rig = Rig::new(None);
    rig.subscribe(0, pull(0, "mine"));
    rig.frames();
    rig.say(push(0, "theirs"));
    rig.run();
    rig.give(Input::News);
    let frames = rig.frames();
    let transition = frames.iter().find(|frame| frame["type"] == "Transition").expect("the mutation's");
    assert_eq!(transition["modifications"], json!([]));
}

#[test]
fn messages_of_another_version_end_the_connection() {
    let mut rig = Rig::new(None);
    rig.subscribe(3, pull(0, "mine"));
    assert_eq!(rig.kinds(), ["FatalError", "the end"]);
    assert!(rig.session.is_over());
    rig.say(push(0, "mine"));
    assert_eq!(rig.run(), 0, "nothing more is taken");
}

#[test]
fn a_client_is_refused_until_it_has_shown_the_token() {
    let mut rig = Rig::new(Some("secret"));
    rig.subscribe(0, pull(0, "mine"));
    rig.say(push(0, "mine"));
    assert_eq!(rig.run(), 0);
    let frames = rig.frames();
    assert_eq!(frames[0]["success"], false);
    assert_eq!(frames[1]["modifications"][0]["type"], "QueryFailed");
    rig.say(authenticate(0, "secret"));
    assert_eq!(rig.frames()[0]["modifications"][0]["type"], "QueryUpdated");
    rig.say(push(1, "mine"));
    assert_eq!(rig.run(), 1);
    rig.frames();
    rig.give(Input::AccessChanged(access(Some("another"))));
    assert_eq!(rig.kinds(), ["AuthError", "the end"]);
}

#[test]
fn a_token_that_ends_ends_its_connection_at_that_moment() {
    let mut rig = Rig::new(None);
    let clock = || 1_000 * SECOND;
    let users = Some(Arc::new(Users::one("adas", UserId::new("replicate", "ada"), clock() + 3 * SECOND)));
    let access = Access { users, clock, ..Access::default() };
    rig.session = Session::new(access, PATIENCE, SECOND);
    rig.say(authenticate(0, "adas"));
    assert_eq!(rig.kinds(), ["Transition"]);
    assert_eq!(rig.session.poll_timeout(), 4 * SECOND);
    rig.wait();
    let frames = rig.frames();
    assert_eq!(frames[0]["type"], "AuthError");
    assert_eq!(frames[0]["error"], "The token has expired");
    assert!(!rig.session.is_open());
}

#[test]
fn a_client_that_never_pauses_does_not_outlive_its_token() {
    let mut rig = Rig::new(None);
    let clock = || 1_000 * SECOND;
    let users = Some(Arc::new(Users::one("adas", UserId::new("replicate", "ada"), clock() + 3 * SECOND)));
    let access = Access { users, clock, ..Access::default() };
    rig.session = Session::new(access, PATIENCE, SECOND);
    rig.say(authenticate(0, "adas"));
    rig.frames();
    rig.now = 4 * SECOND;
    // The driver takes a message before it looks at the time.
    rig.say(push(0, "late"));
    assert!(rig.session.poll().is_none(), "a mutation runs with a token that has ended");
    assert_eq!(rig.kinds(), ["AuthError", "the end"]);
}

#[test]
fn a_wrong_token_ends_the_connection() {
    let mut rig = Rig::new(Some("secret"));
    rig.say(authenticate(0, "guess"));
    assert_eq!(rig.kinds(), ["AuthError", "the end"]);
}

#[test]
fn a_client_that_waits_for_much_is_not_read() {
    let mut rig = Rig::new(None);
    for request in 0..WAITING_MUTATIONS as u32 {
        assert!(rig.session.reads());
        rig.say(push(request, "mine"));
    }
    assert!(!rig.session.reads());
    assert_eq!(rig.run(), WAITING_MUTATIONS);
    assert!(!rig.session.reads(), "the answers wait");
    rig.frames();
    assert!(rig.session.reads());
}

#[test]
fn a_flood_is_held_back_and_then_read_again() {
    let mut rig = Rig::new(None);
    let mut messages = 0;
    while rig.session.reads() {
        rig.give(Input::Alive(1));
        messages += 1;
    }
    assert!(f64::from(messages) >= MESSAGES_AT_ONCE);
    rig.wait();
    assert!(rig.session.reads());
}

#[test]
fn a_client_that_says_nothing_is_pinged_and_given_up() {
    let mut rig = Rig::new(None);
    let mut pings = 0;
    while rig.session.is_open() {
        rig.wait();
        while let Some(Output::Ping) = rig.session.poll() {
            pings += 1;
        }
    }
    assert_eq!(pings, PINGS);
    assert!(rig.now > SECOND + PATIENCE);
    assert_eq!(rig.kinds(), ["the end"]);

    let mut rig = Rig::new(None);
    for _ in 0..100 {
        rig.wait();
        rig.give(Input::Alive(2));
    }
    assert!(rig.session.is_open());
}

#[test]
fn a_backend_that_stops_sends_what_is_ready_and_closes() {
    let mut rig = Rig::new(None);
    rig.say(push(0, "mine"));
    rig.run();
    rig.give(Input::Stopping);
    assert_eq!(rig.kinds(), ["MutationResponse", "the end"]);
    let mut rig = Rig::new(None);
    rig.say(push(0, "mine"));
    rig.run();
    rig.give(Input::Gone);
    assert!(rig.kinds().is_empty(), "nobody is there");
}
