use super::*;

const SECRET: &str = "0123456789abcdef";

fn area(scope: Option<&str>) -> Area {
    Area { collection: "cards".into(), scope: scope.map(str::to_owned) }
}

fn call(session: &str, value: Option<&str>) -> SetPresence {
    SetPresence { session: session.into(), scope: None, value: value.map(str::to_owned) }
}

fn secret(number: usize) -> String {
    format!("{number:016}")
}

fn values(presence: &Presence, scope: Option<&str>) -> Vec<String> {
    presence.list(&area(scope)).iter().map(|peer| peer.value.to_string()).collect()
}

#[test]
fn a_peer_goes_with_its_connection_and_not_with_one_that_it_had_before() {
    let presence = Arc::new(Presence::default());
    let now = Instant::now();
    let mut first = presence.seat(Arc::default());
    first.set(area(None), call(SECRET, Some("1")), None, now).unwrap();
    let mut second = presence.seat(Arc::default());
    second.set(area(None), call(SECRET, Some("1")), None, now).unwrap();
    drop(first);
    presence.expire(now + PRESENCE_LOST);
    assert_eq!(values(&presence, None), ["1"]);
    drop(second);
    // The app may connect again at once.
    presence.expire(now);
    assert_eq!(values(&presence, None), ["1"]);
    presence.expire(Instant::now() + PRESENCE_LOST);
    assert!(values(&presence, None).is_empty());
    assert!(presence.lock().held.is_empty());
    assert!(presence.lock().areas.is_empty(), "nothing is kept of an area without peers and followers");
    assert_eq!(presence.lock().places, 0);
}

#[test]
fn a_peer_that_is_not_heard_of_goes_after_its_time_and_the_same_value_again_keeps_it() {
    let presence = Presence::default();
    let start = Instant::now();
    presence.set(&area(None), call(SECRET, Some("1")), None, None, start).unwrap();
    presence.set(&area(None), call(SECRET, Some("1")), None, None, start + TTL / 2).unwrap();
    presence.expire(start + TTL);
    assert_eq!(values(&presence, None), ["1"]);
    presence.expire(start + TTL + TTL / 2);
    assert!(values(&presence, None).is_empty());
}

#[test]
fn only_a_change_makes_another_version_and_is_told_to_followers() {
    let presence = Arc::new(Presence::default());
    let now = Instant::now();
    let news = Arc::new(Notify::new());
    let mut seat = presence.seat(news.clone());
    seat.follow([area(None)].into());
    let is_told = || {
        let mut waiting = std::pin::pin!(news.notified());
        let waker = std::task::Waker::noop();
        waiting.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready()
    };
    use std::future::Future;
    let mut version = presence.version(&area(None));
    let mut expect = |what: &str, changes: bool| {
        let now = presence.version(&area(None));
        assert_eq!((now != std::mem::replace(&mut version, now), is_told()), (changes, changes), "{what}");
    };
    presence.set(&area(None), call(SECRET, Some("1")), None, None, now).unwrap();
    expect("a new peer", true);
    presence.set(&area(None), call(SECRET, Some("1")), None, None, now).unwrap();
    expect("the same value", false);
    presence.set(&area(Some("a")), call(SECRET, Some("1")), None, None, now).unwrap();
    expect("another scope", false);
    presence.set(&area(None), call(SECRET, Some("2")), None, None, now).unwrap();
    expect("another value", true);
    presence.set(&area(None), call(SECRET, None), None, None, now).unwrap();
    expect("it left", true);
    presence.set(&area(None), call(SECRET, None), None, None, now).unwrap();
    expect("it leaves again", false);
}

#[test]
fn a_peer_shows_at_most_its_rate_after_a_burst() {
    let presence = Presence::default();
    let start = Instant::now();
    let mut shown = 0;
    // A thousand values in ten seconds.
    for at in 0..1_000 {
        let now = start + Duration::from_millis(10 * at);
        match presence.set(&area(None), call(SECRET, Some(&at.to_string())), None, None, now) {
            Ok(_) => shown += 1,
            Err(refusal) => assert_eq!(refusal.code, RefusalCode::TooOften),
        }
    }
    let most = PRESENCE_RATE * (10.0 + PRESENCE_BURST.as_secs_f64()) + 1.0;
    assert!((PRESENCE_RATE * 10.0..=most).contains(&f64::from(shown)), "{shown}");
}

#[test]
fn leaving_and_coming_back_shows_no_more_than_the_rate() {
    let presence = Presence::default();
    let start = Instant::now();
    let mut shown = 0;
    for at in 0..1_000 {
        let now = start + Duration::from_millis(10 * at);
        presence.set(&area(None), call(SECRET, None), None, None, now).unwrap();
        shown += u32::from(presence.set(&area(None), call(SECRET, Some("1")), None, None, now).is_ok());
        presence.expire(now);
    }
    let most = PRESENCE_RATE * (10.0 + PRESENCE_BURST.as_secs_f64()) + 1.0;
    assert!(f64::from(shown) <= most, "{shown}");
}

#[test]
fn entering_scope_after_scope_leaves_nothing_behind() {
    let presence = Arc::new(Presence::default());
    let start = Instant::now();
    let mut seat = presence.seat(Arc::default());
    for number in 0..1_000 {
        let now = start + Duration::from_secs(number);
        let scope = format!("level {number}");
        seat.set(area(Some(&scope)), call(SECRET, Some("1")), None, now).unwrap();
        seat.set(area(Some(&scope)), call(SECRET, None), None, now).unwrap();
        presence.expire(now + PRESENCE_BURST);
    }
    let areas = presence.lock();
    assert_eq!((areas.areas.len(), areas.places, areas.held.len()), (0, 0, 0));
}

#[test]
fn a_full_area_refuses_others_and_not_those_who_are_in_it() {
    let presence = Arc::new(Presence::default());
    let now = Instant::now();
    let set = |number: usize, value: Option<&str>| {
        let seat = Some((number / PRESENCE_PLACES_OF_HOLDER) as u64);
        presence.set(&area(None), call(&secret(number), value), None, seat, now).map_err(|refusal| refusal.code)
    };
    for number in 0..PRESENCE_PEERS {
        set(number, Some("1")).unwrap();
    }
    assert_eq!(set(PRESENCE_PEERS, Some("1")), Err(RefusalCode::AreaFull));
    set(0, Some("2")).unwrap();
    set(0, None).unwrap();
    set(PRESENCE_PEERS, Some("1")).unwrap();
    assert_eq!(set(0, Some("1")), Err(RefusalCode::AreaFull), "its place was taken meanwhile");
}

#[test]
fn one_caller_leaves_room_for_others() {
    let presence = Presence::default();
    let now = Instant::now();
    let mut number = 0;
    // Enters with new secrets until that is refused.
    let mut enter = |user: Option<&str>, seat: Option<u64>| {
        let before = number;
        loop {
            number += 1;
            let user = user.map(UserId::recorded);
            if let Err(refusal) = presence.set(&area(None), call(&secret(number), Some("1")), user, seat, now) {
                assert_eq!(refusal.code, RefusalCode::AreaFull);
                break (number - before - 1, refusal.limit.unwrap() as usize);
            }
        }
    };
    let (of_user, of_holder) = (PRESENCE_PEERS_OF_USER, PRESENCE_PLACES_OF_HOLDER);
    assert_eq!(enter(Some("ada"), Some(1)), (of_user, of_user));
    assert_eq!(enter(Some("ada"), Some(2)), (0, of_user), "over another connection");
    assert_eq!(enter(Some("ada"), None), (0, of_user), "by HTTP");
    assert_eq!(enter(Some("eve"), None), (of_user, of_user));
    assert_eq!(enter(None, Some(3)), (of_holder, of_holder));
    assert_eq!(enter(None, None), (of_holder, of_holder));
    assert_eq!(enter(Some("bob"), Some(4)), (of_user, of_user));
}

#[test]
fn another_caller_of_a_connection_does_not_keep_the_peers_of_the_last_one() {
    let presence = Arc::new(Presence::default());
    let now = Instant::now();
    let mut seat = presence.seat(Arc::default());
    seat.set(area(None), call(SECRET, Some("1")), Some(UserId::recorded("ada")), now).unwrap();
    seat.leave(now);
    assert!(values(&presence, None).is_empty());
    seat.set(area(None), call(SECRET, Some("1")), Some(UserId::recorded("eve")), now).unwrap();
    assert_eq!(presence.list(&area(None))[0].user, Some(UserId::recorded("eve")));
}

#[test]
fn a_value_and_a_secret_have_their_bounds() {
    let presence = Presence::default();
    let now = Instant::now();
    let set = |session: &str, value: &str| {
        presence.set(&area(None), call(session, Some(value)), None, None, now).map_err(|refusal| refusal.code)
    };
    set(SECRET, &"x".repeat(PRESENCE_BYTES)).unwrap();
    assert_eq!(set(SECRET, &"x".repeat(PRESENCE_BYTES + 1)), Err(RefusalCode::TooLarge));
    assert_eq!(set("short", "1"), Err(RefusalCode::InvalidSession));
    assert_eq!(set(&"x".repeat(PRESENCE_SESSION_BYTES + 1), "1"), Err(RefusalCode::InvalidSession));
}
