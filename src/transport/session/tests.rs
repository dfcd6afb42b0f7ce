//! Each test is a plain loop: inputs in, outputs and notices out, with the time as an argument.

use std::sync::Arc;

use automerge::ChangeHash;

use super::*;
use crate::{
    DocumentId,
    record::{Checkpoint, FromBackend, Position, PushNumber, PushedDocument, ToBackend},
};

const TASKS: CollectionIndex = CollectionIndex(0);
const NOTES: CollectionIndex = CollectionIndex(1);
const SECOND: Duration = Duration::from_secs(1);

fn at(ts: i64) -> Position {
    Position { ts, ordinal: 0 }
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn position(ts: i64) -> Value {
    object([("ts", Value::Int64(ts)), ("ordinal", Value::Float64(0.0))])
}

/// A result of `pullDeltas` with a row at each of the given times.
fn page(from: i64, times: &[i64]) -> FunctionResult {
    let rows = times.iter().map(|ts| {
        object([
            ("id", "a".into()),
            ("bytes", Value::Bytes(vec![0; 10])),
            ("ts", Value::Int64(*ts)),
            ("ordinal", Value::Float64(0.0)),
        ])
    });
    FunctionResult::Value(object([
        ("deltas", Value::Array(rows.collect())),
        ("checkpoint", position(times.last().copied().unwrap_or(from))),
        ("hasMore", false.into()),
        ("epoch", "e1".into()),
    ]))
}

/// An answer of `pushChanges` that accepts the given documents.
fn accepted(epoch: &str, ids: &[&str]) -> FunctionResult {
    let results = ids.iter().map(|id| object([("id", (*id).into()), ("status", "accepted".into())]));
    FunctionResult::Value(object([("epoch", epoch.into()), ("results", Value::Array(results.collect()))]))
}

fn unauthenticated() -> FunctionResult {
    let data = object([("code", "unauthenticated".into()), ("message", "who are you".into())]);
    FunctionResult::ConvexError(convex::ConvexError { message: "refused".into(), data })
}

fn push(number: u64, ids: &[&str], bytes: usize) -> Request {
    let document = |id: &&str| PushedDocument {
        id: DocumentId::new(*id),
        changes: vec![(ChangeHash([0; 32]), Arc::from(vec![0; bytes]))],
        fields: None,
        removed: Vec::new(),
    };
    let documents = ids.iter().map(document).collect();
    Request::Backend(ToBackend::Push(Push { number: PushNumber(number), collection: TASKS, documents }))
}

fn subscribe(collection: CollectionIndex, from: i64) -> Request {
    Request::Backend(ToBackend::Subscribe { collection, checkpoint: Checkpoint::from(at(from)) })
}

fn lost(why: &str) -> End {
    End::Lost(why.into())
}

/// A session with its time.
struct Rig {
    session: Session,
    now: Duration,
}

impl Rig {
    fn new(has_auth: bool) -> Self {
        let collections = vec!["tasks".into(), "notes".into()];
        Self { session: Session::new("http://127.0.0.1:3210".into(), collections, has_auth, 7), now: SECOND }
    }

    /// A connected session without subscriptions.
    fn connected() -> Self {
        let mut rig = Self::new(false);
        rig.give(Input::Request(Request::Online(true)));
        rig.give(Input::Connected { token_sent: false });
        rig.outputs();
        rig.notices();
        rig
    }

    fn give(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now);
    }

    fn value(&mut self, subscription: Subscription, result: &FunctionResult) {
        self.give(Input::Values(&[(subscription, result)]));
    }

    /// Waits until the session's time has come.
    fn wait(&mut self) {
        self.now = self.session.poll_timeout().expect("it waits for a time");
        self.give(Input::Timer);
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll()).collect()
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.session.next_notice()).collect()
    }

    /// The subscriptions to logs that the outputs open, with where they begin.
    fn opened(&mut self) -> Vec<(Subscription, Value)> {
        let log = |output| match output {
            Output::Subscribe { subscription: subscription @ Subscription::Log(..), arguments, .. } => {
                Some((subscription, arguments["checkpoint"].clone()))
            }
            _ => None,
        };
        self.outputs().into_iter().filter_map(log).collect()
    }

    /// The only mutation that the outputs call.
    fn called(&mut self) -> (Mutation, BTreeMap<String, Value>) {
        match self.outputs().as_slice() {
            [Output::Mutate { mutation, function, arguments }] => {
                assert_eq!(function, "tasks:pushChanges");
                (*mutation, arguments.clone())
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, mutation: Mutation, result: &FunctionResult) {
        self.give(Input::MutationAnswered(mutation, Ok(result)));
    }
}

/// The times of the rows of all pages.
fn rows(notices: &[Notice]) -> Vec<i64> {
    let rows = notices.iter().filter_map(|notice| match notice {
        Notice::Backend(FromBackend::Page(page)) => Some(&page.rows),
        _ => None,
    });
    rows.flatten().map(|row| row.position.ts).collect()
}

#[test]
fn a_session_begins_by_connecting() {
    let mut rig = Rig::new(false);
    assert_eq!(rig.session.poll_timeout(), Some(Duration::ZERO));
    rig.give(Input::Timer);
    assert!(matches!(rig.outputs().as_slice(), [Output::Open { refresh: false, .. }]));
    assert!(matches!(rig.notices().as_slice(), [Notice::Connecting { attempt: 1, reason: None }]));
}

#[test]
fn a_session_that_is_to_be_offline_from_the_start_never_tries() {
    let mut rig = Rig::new(false);
    rig.give(Input::Request(Request::Online(false)));
    assert!(matches!(rig.outputs().as_slice(), [Output::Close]));
    assert!(matches!(rig.notices().as_slice(), [Notice::Disconnected { reason: Reason::Asked, retry_in: None }]));
    assert_eq!(rig.session.poll_timeout(), None);
    rig.give(Input::Request(Request::Online(true)));
    assert!(matches!(rig.outputs().as_slice(), [Output::Open { .. }]));
}

#[test]
fn a_bad_url_is_tried_only_when_it_is_asked_for() {
    let mut session = Session::new("nowhere".into(), vec!["tasks".into()], false, 7);
    session.handle(Input::Timer, SECOND);
    assert!(matches!(session.poll(), Some(Output::Close)));
    assert_eq!(session.poll_timeout(), None);
    let notices: Vec<_> = std::iter::from_fn(|| session.next_notice()).collect();
    assert!(matches!(
        notices.as_slice(),
        [Notice::Connecting { .. }, Notice::Disconnected { reason: Reason::BadUrl(_), retry_in: None }]
    ));
}

#[test]
fn after_a_failure_it_pauses_and_tries_again_at_that_time() {
    let mut rig = Rig::new(false);
    rig.give(Input::Timer);
    rig.give(Input::Disconnected(End::Unreachable("refused".into())));
    rig.outputs();
    let pause = rig.notices().into_iter().find_map(|notice| match notice {
        Notice::Disconnected { reason: Reason::Unreachable(_), retry_in } => retry_in,
        _ => None,
    });
    assert_eq!(rig.session.poll_timeout(), Some(rig.now + pause.expect("it is tried again")));
    rig.give(Input::Timer);
    if pause > Some(Duration::ZERO) {
        assert!(rig.outputs().is_empty(), "it is too early");
    }
    rig.wait();
    assert!(matches!(rig.outputs().as_slice(), [Output::Open { .. }]));
    assert!(matches!(rig.notices().as_slice(), [Notice::Connecting { attempt: 2, reason: Some(_) }]));
}

#[test]
fn collections_are_read_and_counted_in_each_connection() {
    let mut rig = Rig::new(false);
    rig.give(Input::Request(subscribe(TASKS, 3)));
    assert!(matches!(rig.outputs().as_slice(), [Output::Open { .. }]), "nothing is asked before it is connected");
    for _ in 0..2 {
        rig.give(Input::Connected { token_sent: false });
        let outputs = rig.outputs();
        let names: Vec<_> = outputs
            .iter()
            .map(|output| match output {
                Output::Subscribe { subscription, function, .. } => (*subscription, function.as_str()),
                other => panic!("{other:?}"),
            })
            .collect();
        let [(log @ Subscription::Log(TASKS, _), "tasks:pullDeltas"), counts @ ..] = names.as_slice() else {
            panic!("{names:?}");
        };
        let count = (Subscription::Count(TASKS), "tasks:changeStream");
        assert_eq!(counts, [count, (Subscription::Count(NOTES), "notes:changeStream")]);
        rig.notices();
        rig.value(*log, &page(3, &[]));
        rig.value(Subscription::Count(TASKS), &FunctionResult::Value(object([("count", Value::Float64(5.0))])));
        assert!(matches!(
            rig.notices().as_slice(),
            [Notice::Backend(FromBackend::Page(_)), Notice::Count { collection: TASKS, documents: 5 }]
        ));
        assert!(matches!(rig.outputs().as_slice(), [Output::Unsubscribe(Subscription::Count(TASKS))]));
        rig.give(Input::Disconnected(lost("closed")));
        rig.wait();
        assert!(matches!(rig.outputs().as_slice(), [Output::Close, Output::Open { .. }]));
    }
}

#[test]
fn rows_are_handed_on_once_across_results_and_connections() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(subscribe(TASKS, 0)));
    let (first, from) = rig.opened().remove(0);
    assert_eq!(from, position(0));
    rig.value(first, &page(0, &[1, 2]));
    rig.value(first, &page(0, &[1, 2, 3]));
    rig.value(first, &page(0, &[1, 2, 3]));
    assert_eq!(rows(&rig.notices()), [1, 2, 3]);
    rig.give(Input::Disconnected(lost("closed")));
    rig.wait();
    rig.give(Input::Connected { token_sent: false });
    let (second, from) = rig.opened().remove(0);
    assert_eq!(from, position(3), "it goes on where it was");
    rig.value(first, &page(0, &[1, 2, 3, 4]));
    assert!(rows(&rig.notices()).is_empty(), "that subscription is gone");
    rig.value(second, &page(3, &[4]));
    assert_eq!(rows(&rig.notices()), [4]);
}

#[test]
fn a_quiet_subscription_gives_way_to_an_empty_one() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(subscribe(TASKS, 0)));
    let (first, _) = rig.opened().remove(0);
    rig.value(first, &page(0, &[1]));
    assert!(rig.outputs().is_empty());
    rig.wait();
    let outputs = rig.outputs();
    let [Output::Unsubscribe(closed), Output::Subscribe { subscription, arguments, .. }] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    assert_eq!((*closed, &arguments["checkpoint"]), (first, &position(1)));
    rig.value(*subscription, &page(1, &[]));
    assert_eq!(rig.session.poll_timeout(), None, "it rests");
}

#[test]
fn a_page_without_room_is_read_again_when_there_is_room() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(subscribe(TASKS, 0)));
    let (log, _) = rig.opened().remove(0);
    let most = or_tiny(NOTICES, 1) as i64;
    let times: Vec<_> = (1..=most + 2).collect();
    for upto in 1..times.len() {
        rig.value(log, &page(0, &times[..upto]));
    }
    let mut notices: Vec<_> = rig.session.next_notice().into_iter().collect();
    let outputs = rig.outputs();
    assert!(matches!(outputs.as_slice(), [Output::Read]), "{outputs:?}");
    rig.value(log, &page(0, &times));
    notices.extend(rig.notices());
    assert_eq!(rows(&notices), times, "all of them, in order");
}

#[test]
fn pushes_go_one_after_the_other() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(push(1, &["a"], 10)));
    rig.give(Input::Request(push(2, &["b"], 10)));
    let (first, _) = rig.called();
    rig.answer(first, &accepted("e1", &["a"]));
    let (second, _) = rig.called();
    assert_ne!(first, second);
    rig.answer(second, &accepted("e1", &["b"]));
    let notices = rig.notices();
    let [Notice::Backend(FromBackend::Answered(one)), Notice::Backend(FromBackend::Answered(two))] = notices.as_slice()
    else {
        panic!("{notices:?}")
    };
    assert_eq!((one.number, two.number), (PushNumber(1), PushNumber(2)));
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(push(1, &["a"], 10)));
    rig.give(Input::Request(push(2, &["a"], 10)));
    let (first, _) = rig.called();
    rig.answer(first, &accepted("e1", &["a"]));
    rig.answer(first, &accepted("e1", &["a"]));
    assert_eq!(rig.notices().len(), 1);
    assert!(rig.session.in_flight.is_some(), "the second push has no answer yet");
}

#[test]
fn pushes_without_a_connection_are_dropped() {
    let mut rig = Rig::connected();
    for number in 1..=2 {
        rig.give(Input::Request(push(number, &["a"], 10)));
    }
    let (mutation, _) = rig.called();
    rig.give(Input::Disconnected(lost("closed")));
    rig.give(Input::Request(push(3, &["a"], 10)));
    let dropped = |notice: &Notice| match notice {
        Notice::Backend(FromBackend::PushDropped { number, .. }) => Some(number.0),
        _ => None,
    };
    assert_eq!(rig.notices().iter().filter_map(dropped).collect::<Vec<_>>(), [1, 2, 3]);
    rig.answer(mutation, &accepted("e1", &["a"]));
    assert!(rig.notices().is_empty());
}

#[test]
fn a_log_that_is_replaced_within_a_push_ends_the_connection() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(push(1, &["a", "b"], 800_000)));
    let (first, _) = rig.called();
    rig.answer(first, &accepted("e1", &["a"]));
    let (second, _) = rig.called();
    rig.answer(second, &accepted("e2", &["b"]));
    let outputs = rig.outputs();
    assert!(matches!(outputs.as_slice(), [Output::Close]), "{outputs:?}");
    let notices = rig.notices();
    assert!(
        matches!(
            notices.as_slice(),
            [Notice::Disconnected { reason: Reason::Lost(_), .. }, Notice::Backend(FromBackend::PushDropped { .. })]
        ),
        "{notices:?}"
    );
}

#[test]
fn silence_ends_a_connection_in_time() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(subscribe(TASKS, 0)));
    rig.outputs();
    let since = rig.now;
    rig.wait();
    assert_eq!(rig.now, since + FIRST_ANSWER_TIMEOUT);
    assert!(matches!(rig.outputs().as_slice(), [Output::Close]));
    assert!(matches!(rig.notices().as_slice(), [Notice::Disconnected { reason: Reason::Lost(_), .. }]));

    let mut rig = Rig::connected();
    rig.give(Input::Request(push(1, &["a"], 10)));
    rig.outputs();
    rig.wait();
    let notices = rig.notices();
    assert!(
        matches!(notices.as_slice(), [Notice::Disconnected { reason: Reason::Lost(why), .. }, Notice::Backend(FromBackend::PushDropped { .. })]
            if why.contains("tasks:pushChanges")),
        "{notices:?}"
    );
}

#[test]
fn a_refused_token_is_refreshed_once_and_then_given_up() {
    let mut rig = Rig::new(true);
    rig.give(Input::Request(subscribe(TASKS, 0)));
    rig.give(Input::Connected { token_sent: true });
    let (log, _) = rig.opened().remove(0);
    rig.value(log, &unauthenticated());
    rig.notices();
    rig.outputs();
    rig.wait();
    assert!(matches!(rig.outputs().as_slice(), [Output::Open { refresh: true, .. }]));
    rig.give(Input::Connected { token_sent: true });
    rig.notices();
    let (log, _) = rig.opened().remove(0);
    rig.value(log, &unauthenticated());
    let notices = rig.notices();
    assert!(
        matches!(notices.as_slice(), [Notice::Disconnected { reason: Reason::Unauthenticated(_), retry_in: Some(_) }]),
        "{notices:?}"
    );
}

#[test]
fn a_collection_that_is_not_configured_is_refused_in_both_directions() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(subscribe(CollectionIndex(2), 0)));
    let Request::Backend(ToBackend::Push(push)) = push(1, &["a"], 10) else { panic!() };
    rig.give(Input::Request(Request::Backend(ToBackend::Push(Push { collection: CollectionIndex(2), ..push }))));
    let notices = rig.notices();
    assert!(
        matches!(
            notices.as_slice(),
            [Notice::Backend(FromBackend::PullRefused { .. }), Notice::Backend(FromBackend::PushRefused { .. })]
        ),
        "{notices:?}"
    );
    assert!(rig.outputs().is_empty());
}

#[test]
fn going_offline_closes_and_coming_back_begins_anew() {
    let mut rig = Rig::connected();
    rig.give(Input::Request(subscribe(TASKS, 0)));
    rig.give(Input::Request(Request::Online(false)));
    let outputs = rig.outputs();
    assert!(matches!(outputs.as_slice(), [Output::Close]), "nothing is asked of what is closed: {outputs:?}");
    rig.give(Input::Disconnected(lost("late")));
    rig.notices();
    rig.give(Input::Request(Request::Online(true)));
    assert!(matches!(rig.outputs().as_slice(), [Output::Open { .. }]));
    assert!(matches!(rig.notices().as_slice(), [Notice::Connecting { attempt: 1, reason: Some(Reason::Asked) }]));
}
