use super::*;
use crate::record::UserId;

const CARDS: CollectionIndex = CollectionIndex(0);
const TTL: Duration = Duration::from_secs(6);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Areas with a connection, and the time.
struct Rig {
    areas: Areas,
    now: Duration,
    calls: u64,
    is_open: bool,
}

impl Rig {
    fn new() -> Self {
        let mut areas = Areas::default();
        areas.set_secret("0123456789abcdef".into());
        Self { areas, now: ms(1_000), calls: 0, is_open: true }
    }

    fn show(&mut self, scope: Option<&str>, value: Option<&str>) -> Vec<Next> {
        let next = self.areas.show(Showing {
            collection: CARDS,
            scope: scope.map(str::to_owned),
            value: value.map(Arc::from),
            rate: PRESENCE_RATE,
        });
        self.take(next)
    }

    /// Notes the calls, as the session does.
    fn take(&mut self, next: Vec<Next>) -> Vec<Next> {
        for next in &next {
            let Next::Set { scope, .. } = next else { continue };
            self.calls += 1;
            self.areas.called(Mutation(self.calls), CARDS, scope.clone());
        }
        next
    }

    fn next(&mut self) -> Vec<Next> {
        let next = self.areas.next(self.is_open, self.now);
        self.take(next)
    }

    /// The values that are sent now.
    fn sent(&mut self) -> Vec<Option<String>> {
        let value = |next| match next {
            Next::Set { value, .. } => Some(value.map(|value| value.to_string())),
            _ => None,
        };
        self.next().into_iter().filter_map(value).collect()
    }

    /// Answers the oldest call that has no answer.
    fn answer(&mut self, answer: Result<Pace, Refusal>) -> Option<Next> {
        let call = *self.areas.calls.keys().next().expect("a call without an answer");
        let call = self.areas.take_call(call).unwrap();
        self.areas.answered(call, answer, self.now)
    }

    fn accept(&mut self, hz: u32) {
        let pace = Pace { interval: Duration::from_secs(1) / hz, ttl: TTL };
        assert_eq!(self.answer(Ok(pace)), None);
    }

    /// The number of the subscription.
    fn key(&self) -> AreaKey {
        self.areas.areas[&CARDS].subscription.unwrap()
    }
}

fn peer(secret: &str, value: &str) -> Peer {
    Peer { id: PeerId::of_session(secret), user: Some(UserId::recorded("replicate|ada")), value: value.into() }
}

fn sent(value: &str) -> Vec<Option<String>> {
    vec![Some(value.to_owned())]
}

#[test]
fn the_first_value_is_sent_at_once_and_later_ones_at_the_slower_pace_newest_first() {
    let mut rig = Rig::new();
    rig.show(None, Some("1"));
    assert_eq!(rig.sent(), sent("1"));
    // The deployment has not said how often it takes values.
    rig.show(None, Some("2"));
    rig.now += ms(500);
    assert!(rig.sent().is_empty());
    rig.accept(4);
    assert_eq!(rig.sent(), sent("2"));
    for value in ["3", "4", "5"] {
        rig.show(None, Some(value));
        rig.now += ms(50);
        assert!(rig.sent().is_empty());
    }
    assert_eq!(rig.areas.due(true), Some(ms(1_750)));
    rig.now = ms(1_750);
    assert_eq!(rig.sent(), sent("5"));
}

#[test]
fn values_do_not_pile_up_on_the_way() {
    let mut rig = Rig::new();
    rig.show(None, Some("0"));
    rig.next();
    rig.accept(30);
    let mut count = 0;
    for value in 1..100 {
        rig.now += ms(40);
        rig.show(None, Some(&value.to_string()));
        count += rig.sent().len();
    }
    assert_eq!(count, CALLS);
    rig.accept(30);
    assert_eq!(rig.sent(), sent("99"));
}

#[test]
fn a_value_that_stays_the_same_is_sent_again_before_its_time_is_over() {
    let mut rig = Rig::new();
    rig.show(None, Some("1"));
    rig.next();
    rig.accept(30);
    rig.show(None, Some("1"));
    assert!(rig.sent().is_empty(), "it is the same");
    let due = rig.areas.due(true).unwrap();
    assert!(due < rig.now + TTL / 2);
    rig.now = due;
    assert_eq!(rig.sent(), sent("1"));
    rig.accept(30);
    rig.show(None, None);
    rig.now += ms(100);
    assert_eq!(rig.sent(), [None]);
    rig.accept(30);
    assert_eq!(rig.areas.due(true), None, "an app that shows nothing sends nothing");
}

#[test]
fn another_connection_is_told_everything_again_and_peers_stay_for_a_moment() {
    let mut rig = Rig::new();
    rig.show(None, Some("1"));
    assert!(matches!(&rig.next()[..], [Next::Follow { .. }, Next::Set { .. }]));
    rig.accept(30);
    let peers = vec![peer("a", "1")];
    let key = rig.key();
    assert!(rig.areas.listed(CARDS, key, Ok(peers.clone())).is_some());
    rig.is_open = false;
    assert!(rig.next().is_empty());
    rig.now += ms(1_000);
    rig.is_open = true;
    assert!(matches!(&rig.next()[..], [Next::Follow { .. }, Next::Set { .. }]));
    assert_eq!(rig.areas.listed(CARDS, key, Ok(Vec::new())), None, "an answer of the old connection");
    let key = rig.key();
    assert_eq!(rig.areas.listed(CARDS, key, Ok(peers)), None, "the same peers as before");

    rig.is_open = false;
    rig.next();
    let due = rig.areas.due(false).unwrap();
    assert_eq!(due, rig.now + GRACE);
    rig.now = due;
    assert_eq!(rig.next(), [Next::Peers { collection: CARDS, peers: Vec::new() }]);
    assert_eq!(rig.areas.due(false), None);
}

#[test]
fn another_scope_is_another_subscription_and_the_last_one_is_left() {
    let mut rig = Rig::new();
    rig.show(Some("red"), Some("1"));
    rig.next();
    rig.accept(30);
    let key = rig.key();
    rig.areas.listed(CARDS, key, Ok(vec![peer("a", "1")]));
    let next = rig.show(Some("blue"), Some("1"));
    let left = Next::Set { collection: CARDS, scope: Some("red".into()), value: None };
    let gone = Next::Peers { collection: CARDS, peers: Vec::new() };
    assert_eq!(next, [Next::Unfollow { collection: CARDS, key }, left, gone]);
    assert_eq!(rig.areas.listed(CARDS, key, Ok(vec![peer("a", "2")])), None);
    rig.now += ms(100);
    let next = rig.next();
    let shown = Next::Set { collection: CARDS, scope: Some("blue".into()), value: Some("1".into()) };
    assert_eq!(next[1], shown);
}

#[test]
fn an_app_is_not_one_of_its_own_peers() {
    let mut rig = Rig::new();
    rig.show(None, None);
    rig.next();
    let (key, other) = (rig.key(), peer("a", "1"));
    let all = vec![other.clone(), peer("0123456789abcdef", "2")];
    let next = rig.areas.listed(CARDS, key, Ok(all));
    assert_eq!(next, Some(Next::Peers { collection: CARDS, peers: vec![other] }));
}

#[test]
fn a_refusal_is_reported_once_and_tried_again_and_a_missing_function_is_not() {
    let mut rig = Rig::new();
    let refuse = |code: &str| Err(Refusal::new(code, "no"));
    rig.show(None, Some("1"));
    rig.next();
    assert!(matches!(rig.answer(refuse("notAuthorized")), Some(Next::Refused { .. })));
    rig.now = rig.areas.due(true).unwrap();
    assert_eq!(rig.sent(), sent("1"));
    assert_eq!(rig.answer(refuse("notAuthorized")), None);
    rig.now = rig.areas.due(true).unwrap();
    rig.sent();
    // The deployment said another rate than it takes: the value waits.
    assert_eq!(rig.answer(refuse("tooOften")), None);
    assert!(rig.sent().is_empty());
    rig.now += TOO_OFTEN;
    assert_eq!(rig.sent(), sent("1"));
    assert!(matches!(rig.answer(refuse("unknownFunction")), Some(Next::Refused { .. })));
    assert_eq!(rig.areas.due(true), None);
}

#[test]
fn leaving_ends_when_the_deployment_knows_or_cannot_be_reached() {
    let mut rig = Rig::new();
    rig.show(None, Some("1"));
    rig.next();
    rig.accept(30);
    rig.areas.leave();
    assert_eq!(rig.next(), [Next::Set { collection: CARDS, scope: None, value: None }]);
    assert!(rig.next().is_empty());
    rig.accept(30);
    assert_eq!(rig.next(), [Next::Left]);
    assert!(rig.next().is_empty());

    let mut offline = Rig { is_open: false, ..Rig::new() };
    offline.show(None, Some("1"));
    offline.areas.leave();
    assert_eq!(offline.next(), [Next::Left]);
}

#[test]
fn a_rate_that_is_no_number_is_the_usual_one() {
    let mut rig = Rig::new();
    for rate in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0] {
        let value = Some(Arc::from("1"));
        rig.areas.show(Showing { collection: CARDS, scope: None, value, rate });
        let interval = rig.areas.areas[&CARDS].interval;
        assert!((Duration::from_secs_f64(1.0 / PRESENCE_RATE)..=ms(1_000)).contains(&interval), "{rate}: {interval:?}");
    }
}

#[test]
fn each_function_is_reported_once_whatever_the_message_says() {
    let mut rig = Rig::new();
    rig.show(None, Some("1"));
    rig.next();
    let key = rig.key();
    let refuse = |message: &str| Err(Refusal::new("notAuthorized", message));
    let is_reported = |next: Option<Next>| matches!(next, Some(Next::Refused { .. }));
    assert!(is_reported(rig.answer(Err(Refusal::new("notAuthorized", "may not show")))));
    assert!(is_reported(rig.areas.listed(CARDS, key, refuse("may not see"))));
    for message in ["at noon", "at one"] {
        rig.now = rig.areas.due(true).unwrap();
        rig.next();
        assert!(!is_reported(rig.answer(Err(Refusal::new("notAuthorized", message)))));
        assert!(!is_reported(rig.areas.listed(CARDS, key, refuse(message))));
    }
    // What succeeded meanwhile is reported again.
    rig.areas.listed(CARDS, key, Ok(Vec::new()));
    assert!(is_reported(rig.areas.listed(CARDS, key, refuse("may not see"))));
}

#[test]
fn an_app_that_has_to_sign_in_again_sees_nobody_and_reports_nothing() {
    let mut rig = Rig::new();
    rig.show(None, Some("1"));
    rig.next();
    let key = rig.key();
    rig.areas.listed(CARDS, key, Ok(vec![peer("a", "1")]));
    let next = rig.areas.listed(CARDS, key, Err(Refusal::new(RefusalCode::Unauthenticated, "no token")));
    assert_eq!(next, Some(Next::Peers { collection: CARDS, peers: Vec::new() }));
}

#[test]
fn peers_that_connect_again_later_than_this_app_do_not_flicker() {
    let mut rig = Rig::new();
    rig.show(None, None);
    rig.next();
    let (a, b) = (peer("a", "1"), peer("b", "1"));
    let key = rig.key();
    rig.areas.listed(CARDS, key, Ok(vec![a.clone(), b.clone()]));
    rig.is_open = false;
    rig.next();
    rig.now += ms(500);
    rig.is_open = true;
    rig.next();
    let key = rig.key();
    // The backend has started again and knows nobody yet.
    assert_eq!(rig.areas.listed(CARDS, key, Ok(Vec::new())), None);
    let moved = peer("a", "2");
    let next = rig.areas.listed(CARDS, key, Ok(vec![moved.clone()]));
    assert_eq!(next, Some(Next::Peers { collection: CARDS, peers: vec![moved.clone(), b] }));
    let due = rig.areas.due(true).unwrap();
    assert_eq!(due, rig.now + GRACE);
    rig.now = due;
    assert_eq!(rig.next(), [Next::Peers { collection: CARDS, peers: vec![moved] }]);
    assert_eq!(rig.areas.due(true), None);
}

#[test]
fn few_values_go_before_a_push() {
    let mut rig = Rig::new();
    rig.show(None, Some("0"));
    rig.next();
    // Four values a second are a slow rate: each is a transaction.
    rig.accept(4);
    let mut sent = 0;
    for value in 1..10 {
        rig.now += ms(1_000);
        rig.show(None, Some(&value.to_string()));
        sent += rig.sent().len();
    }
    assert_eq!(sent, CALLS_SLOW);
    rig.accept(30);
    rig.accept(30);

    let most = |rig: &mut Rig| {
        for value in 20..40 {
            rig.now += ms(1_000);
            rig.show(None, Some(&value.to_string()));
            rig.next();
        }
        rig.areas.calls.len()
    };
    rig.areas.set_pushing(true);
    assert_eq!(most(&mut rig), CALLS_SLOW);
    rig.areas.set_pushing(false);
    assert_eq!(most(&mut rig), CALLS);
}

#[test]
fn a_late_answer_of_the_last_scope_says_nothing_of_the_present_one() {
    let mut rig = Rig::new();
    rig.show(Some("red"), Some("1"));
    rig.next();
    rig.accept(30);
    rig.now += ms(100);
    rig.show(Some("red"), Some("2"));
    assert_eq!(rig.sent(), sent("2"));
    rig.show(Some("blue"), Some("2"));
    // The value that was shown in red, and then the leaving of it.
    assert_eq!(rig.answer(Err(Refusal::new(RefusalCode::TooOften, "wait"))), None);
    assert_eq!(rig.answer(Err(Refusal::new("notAuthorized", "no"))), None);
    rig.now += ms(100);
    assert_eq!(rig.sent(), sent("2"), "blue does not wait for red");
}
