use super::*;

fn doors() -> Arc<Doors> {
    Doors::new(Duration::from_secs(60), Arc::default())
}

fn at(party: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, party], 1))
}

/// Lets as many strangers of an address in as there are places for it.
fn fill(doors: &Arc<Doors>, party: u8, count: usize, now: Instant) -> Vec<Arc<Standing>> {
    (0..count).map(|_| doors.admit(at(party), now).expect("there is a place")).collect()
}

fn is_evicted(standing: &Standing) -> bool {
    standing.is_evicted(Waker::noop())
}

#[test]
fn one_address_has_only_a_part_and_its_oldest_stranger_goes_first() {
    let (doors, start) = (doors(), Instant::now());
    let others = fill(&doors, 1, STRANGERS_PER_ADDRESS, start);
    assert!(doors.admit(at(1), start).is_none(), "they have only just come");
    assert!(doors.admit(at(2), start).is_some(), "another address has its own part");
    assert!(doors.admit(at(1), start + STRANGER_GRACE).is_some());
    let evicted: Vec<bool> = others.iter().map(|standing| is_evicted(standing)).collect();
    assert!(evicted[0] && !evicted[1..].contains(&true));
}

#[test]
fn a_newcomer_takes_a_place_at_once_from_an_address_that_has_many() {
    let (doors, start) = (doors(), Instant::now());
    let mut all = fill(&doors, 1, STRANGERS_PER_ADDRESS, start);
    all.extend(fill(&doors, 2, STRANGERS - STRANGERS_PER_ADDRESS, start));
    assert!(doors.admit(at(3), start).is_some());
    assert_eq!(all.iter().filter(|standing| is_evicted(standing)).count(), 1);
    assert_eq!(doors.strangers(), STRANGERS);
}

#[test]
fn among_many_addresses_everybody_keeps_a_place_for_a_while() {
    let (doors, start) = (doors(), Instant::now());
    let all: Vec<_> = (0..STRANGERS as u32)
        .map(|number| doors.admit(SocketAddr::from((number.to_be_bytes(), 1)), start).unwrap())
        .collect();
    let newcomer = SocketAddr::from(([11, 0, 0, 1], 1));
    assert!(doors.admit(newcomer, start).is_none());
    assert!(doors.admit(newcomer, start + STRANGER_GRACE).is_some());
    assert!(all.iter().any(|standing| is_evicted(standing)));
}

#[test]
fn a_network_of_ipv6_is_one_party() {
    let party = |address: &str| Party::of(address.parse().unwrap());
    assert_eq!(party("2001:db8::1"), party("2001:db8::ffff:1"));
    assert_ne!(party("2001:db8::1"), party("2001:db8:0:1::1"));
    assert_eq!(party("::ffff:10.0.0.1"), party("10.0.0.1"));
    assert_ne!(party("10.0.0.1"), party("10.0.0.2"));
}

#[test]
fn members_take_no_stranger_s_place_and_are_never_evicted() {
    let (doors, start) = (doors(), Instant::now());
    let friend = doors.admit(at(1), start).unwrap();
    let pass = friend.enter().unwrap();
    assert_eq!((doors.strangers(), doors.members()), (0, 1));
    let later = start + STRANGER_GRACE;
    fill(&doors, 1, STRANGERS_PER_ADDRESS, start);
    fill(&doors, 1, STRANGERS_PER_ADDRESS, later);
    assert!(!is_evicted(&friend) && friend.until().is_none());
    drop(pass);
    assert_eq!(doors.members(), 0);
    assert!(friend.until().is_some(), "it is a stranger again");
    friend.leave();
    assert_eq!(doors.strangers(), STRANGERS_PER_ADDRESS);
}

#[test]
fn a_stranger_may_send_little_and_a_member_much() {
    let doors = doors();
    let standing = doors.admit(at(1), Instant::now()).unwrap();
    assert_eq!(standing.take(&vec![0; STRANGER_HEAD_BYTES + STRANGER_BYTES]), Ok(()));
    assert!(!standing.is_over());
    assert_eq!(standing.take(&[0; 1]), Ok(()));
    assert!(standing.is_over());
    standing.begin(STRANGER_BYTES);
    assert!(!standing.is_over(), "another request has begun");
    assert_eq!(standing.take(&vec![0; STRANGER_BYTES]), Ok(()));
    let _pass = standing.enter().unwrap();
    standing.finish();
    assert_eq!(standing.take(&vec![0; FREE_BYTES + UNFINISHED_BYTES]), Ok(()));
    assert_eq!(standing.take(&[0; 1]), Err(Excess));
}

#[test]
fn a_head_is_found_across_reads_until_its_request_is_looked_at() {
    let standing = doors().admit(at(1), Instant::now()).unwrap();
    assert_eq!(standing.take(b"GET / HTTP/1.1\r\nHost: x\r\n"), Ok(()));
    assert!(!standing.has_head());
    assert_eq!(standing.take(b"\r\nbody"), Ok(()));
    assert!(standing.has_head());
    standing.begin(STRANGER_BYTES);
    assert!(!standing.has_head());
    assert_eq!(standing.take(b"more of the body"), Ok(()));
    assert!(!standing.has_head());
}

#[test]
fn unfinished_messages_share_their_memory_until_they_are_complete() {
    let (doors, start) = (doors(), Instant::now());
    let members: Vec<_> = fill(&doors, 1, 3, start).into_iter().map(|one| (one.enter().unwrap(), one)).collect();
    let [(_, a), (_, b), (_, c)] = members.as_slice() else { panic!("there are three") };
    assert_eq!(a.take(&vec![0; FREE_BYTES + UNFINISHED_BYTES / 2]), Ok(()));
    assert_eq!(b.take(&vec![0; FREE_BYTES + UNFINISHED_BYTES / 2]), Ok(()));
    assert_eq!(c.take(&vec![0; FREE_BYTES]), Ok(()), "small messages need none of it");
    assert_eq!(c.take(&[0; 1]), Err(Excess));
    a.finish();
    assert_eq!(c.take(&[0; 1]), Ok(()));
    b.leave();
    assert_eq!(c.reserve(UNFINISHED_BYTES), Ok(()));
}
