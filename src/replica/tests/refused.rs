//! Refused documents: they stay refused until they are accepted or discarded, and a discarded document is as the backend
//! has it.

use super::*;

fn key(id: &str) -> DocumentKey {
    DocumentKey { collection: TASKS, id: DocumentId::new(id) }
}

fn is_refused(peer: &Peer, id: &str) -> bool {
    assert_eq!(peer.refused, peer.stored_refusals);
    peer.refused.contains_key(&DocumentId::new(id))
}

#[test]
fn a_refused_document_stays_refused_since_the_first_time_until_it_is_accepted() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    let since = peer.now;
    peer.refuse("notAuthorized");
    peer.now += 10_000;
    peer.put("a", 0, &task("two"));
    peer.refuse("notAuthorized");
    let refused = &peer.refused[&DocumentId::new("a")];
    assert_eq!((refused.since, &refused.code, &*refused.reason), (since, &RefusalCode::NotAuthorized, "no"));
    peer.handle(Event::RetryOne(key("a")));
    assert!(is_refused(&peer, "a"));
    peer.accept();
    assert!(!is_refused(&peer, "a"));
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn a_discarded_document_is_as_the_backend_has_it_and_others_are_not_concerned() {
    let (_, mut peer) = pair();
    peer.put("b", 0, &task("other"));
    peer.accept();
    peer.put("a", 1, &task("start, refused"));
    peer.refuse("notAuthorized");
    peer.put("b", 0, &task("other, unsent"));
    // Edited since, and not sent.
    peer.put("a", 1, &task("start, refused, later"));
    peer.handle(Event::Discard(key("a")));
    assert_eq!(peer.last().2, Some(task("start")));
    assert_eq!(peer.stored("a"), Some(task("start")));
    assert!(!is_refused(&peer, "a"));
    assert_eq!(peer.stored("b"), Some(task("other, unsent")));
    assert_eq!(peer.replica.unsent(), 1);
    // The document can be edited as any other.
    let generation = peer.last().0;
    peer.apply("a", generation);
    peer.accept();
    peer.put("a", generation, &task("start again"));
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.stored("a")), (0, Some(task("start again"))));
}

#[test]
fn an_edit_made_before_the_world_shows_the_discarded_version_changes_only_what_it_changed() {
    let (_, mut peer) = pair();
    peer.put("a", 1, &Task { done: true, ..task("start, refused") });
    peer.refuse("notAuthorized");
    peer.handle(Event::Discard(key("a")));
    peer.put("a", 1, &Task { done: true, votes: Counter(3), ..task("start, refused") });
    let (_, seen, shown) = peer.last();
    assert_eq!((seen, shown), (2, Some(Task { votes: Counter(3), ..task("start") })));
}

#[test]
fn a_new_document_that_is_discarded_goes_with_edits_of_it_that_are_on_their_way() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("new"));
    peer.refuse("notAuthorized");
    peer.handle(Event::Discard(key("a")));
    let (generation, _, shown) = peer.last();
    assert_eq!(shown, None);
    assert!(peer.chunks[&DocumentId::new("a")].is_empty());
    let pushes = peer.pushes.len();
    peer.put("a", 0, &task("new, edited"));
    assert_eq!((peer.pushes.len(), peer.replica.unsent(), peer.edited.len()), (pushes, 0, 2));
    // A document of the same name can be made again.
    peer.edit("a", generation, EditKind::put((format::to_value(&task("newer")).unwrap(), 1)));
    peer.accept();
    assert_eq!(peer.stored("a"), Some(task("newer")));
}

#[test]
fn a_document_that_is_made_anew_before_the_world_learns_that_the_discarded_one_is_gone_is_shown() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("new"));
    peer.refuse("notAuthorized");
    peer.handle(Event::Discard(key("a")));
    let (gone, _, shown) = peer.last();
    assert_eq!(shown, None);
    let value = (format::to_value(&task("newer")).unwrap(), 1);
    peer.edit("a", 0, EditKind::Put { value, put: Put::Spawned });
    let (generation, _, shown) = peer.last();
    assert!(generation > gone, "the world would take it for an older version");
    assert_eq!(shown, Some(task("newer")));
    peer.put("a", 0, &task("newest"));
    assert_eq!(peer.last().2, Some(task("newest")));
    peer.accept();
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.stored("a")), (0, Some(task("newest"))));
}

#[test]
fn a_discard_waits_for_a_document_that_is_being_read_and_pages_wait_for_the_discard() {
    let (mut first, mut peer) = pair();
    peer.put("a", 1, &task("start, refused"));
    peer.refuse("notAuthorized");
    peer.loads_wait = true;
    peer.handle(Event::Discard(key("a")));
    first.put("a", 0, &task("start, elsewhere"));
    relay(&first, "a", &mut peer, 1, 2);
    assert_eq!(peer.checkpoint_at(), Some(at(1)), "the page waits");
    peer.loads_wait = false;
    let load = peer.reads.remove(0);
    peer.handle(load);
    assert_eq!(peer.last().2, Some(task("start, elsewhere")));
    assert_eq!(peer.stored("a"), Some(task("start, elsewhere")));
    assert_eq!(peer.checkpoint_at(), Some(at(2)));
}

#[test]
fn a_log_that_may_have_what_a_discard_dropped_is_read_again_and_no_page_passes_it() {
    let (mut first, mut peer) = pair();
    peer.put("a", 1, &task("start, refused"));
    peer.refuse("notAuthorized");
    peer.loads_wait = true;
    peer.handle(Event::Discard(key("a")));
    first.put("b", 0, &task("another document"));
    relay(&first, "b", &mut peer, 1, 2);
    assert_eq!(peer.checkpoint_at(), Some(at(1)), "the page waits");
    peer.loads_wait = false;
    let load = peer.reads.remove(0);
    peer.handle(Event::ReadAgain(TASKS));
    peer.handle(load);
    assert_eq!(peer.checkpoint_at(), Some(at(1)), "the page comes again");
    assert_eq!(peer.subscribed.last().unwrap().position, at(0));
    relay(&first, "b", &mut peer, 0, 2);
    assert_eq!(peer.checkpoint_at(), Some(at(2)));
}

#[test]
fn a_push_that_the_backend_took_after_all_comes_back_after_the_discard() {
    let (_, mut peer) = pair();
    peer.put("a", 1, &task("start, refused"));
    peer.refuse("notAuthorized");
    peer.handle(Event::RetryOne(key("a")));
    let made = peer.made();
    peer.handle(Event::Discard(key("a")));
    assert_eq!(peer.last().2, Some(task("start")));
    peer.accept();
    peer.handle(Event::Backend(FromBackend::Page(page(1, 2, &[("a", made.last().unwrap())]))));
    assert_eq!(peer.last().2, Some(task("start, refused")));
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn a_late_refusal_of_discarded_changes_is_no_refusal_of_a_later_edit() {
    let (_, mut peer) = pair();
    peer.put("a", 1, &task("start, refused"));
    peer.refuse("notAuthorized");
    peer.handle(Event::RetryOne(key("a")));
    peer.handle(Event::Discard(key("a")));
    let generation = peer.last().0;
    peer.put("a", generation, &task("start, allowed"));
    let (failures, pushes) = (peer.failures.len(), peer.pushes.len());
    peer.refuse("notAuthorized");
    assert!(!is_refused(&peer, "a"));
    assert_eq!((peer.failures.len(), peer.pushes.len()), (failures, pushes + 1));
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.stored("a")), (0, Some(task("start, allowed"))));
}

#[test]
fn changes_that_the_log_shows_are_kept_by_a_discard_although_their_push_was_not_answered() {
    let (_, mut peer) = pair();
    peer.put("a", 1, &task("start, taken"));
    let made = peer.made();
    peer.handle(Event::Backend(FromBackend::Page(page(1, 2, &[("a", made.last().unwrap())]))));
    let number = peer.pushes.last().unwrap().number;
    peer.handle(Event::Backend(FromBackend::PushDropped { number, collection: TASKS }));
    assert_eq!(peer.replica.unsent(), 0, "the log has it");
    peer.put("a", 1, &task("start, taken, refused"));
    peer.refuse("notAuthorized");
    peer.handle(Event::Discard(key("a")));
    assert_eq!(peer.last().2, Some(task("start, taken")));
}

#[test]
fn no_actor_and_number_is_used_again_after_a_discard() {
    let (_, mut peer) = pair();
    peer.put("a", 1, &task("start, refused"));
    peer.refuse("notAuthorized");
    peer.handle(Event::Discard(key("a")));
    let generation = peer.last().0;
    peer.put("a", generation, &task("start, again"));
    let mut seen = std::collections::BTreeSet::new();
    for bytes in peer.made() {
        let change = automerge::Change::try_from(&*bytes).unwrap();
        assert!(seen.insert((change.actor_id().clone(), change.seq())), "{} {}", change.actor_id(), change.seq());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_document_that_was_refused_in_an_earlier_run_is_refused_and_can_be_discarded_without_a_connection() {
    let (_, mut before) = pair();
    before.put("a", 1, &task("start, refused"));
    before.refuse("notAuthorized");
    let refused = before.refused[&DocumentId::new("a")].clone();
    let mut peer = Peer::new(3);
    peer.chunks = before.chunks;
    peer.sent = before.sent;
    let documents = vec![(DocumentId::new("a"), RemoteId(1), refused.clone())];
    let value = format::to_value(&task("start, refused")).unwrap();
    let stored = StoredDocument {
        id: DocumentId::new("a"),
        heads: vec![change_hash(&before.pushes[0].documents[0].changes[0].1).unwrap()],
        value,
    };
    peer.handle(Event::Opened { collection: TASKS, documents: vec![stored] });
    peer.handle(Event::Refused { collection: TASKS, documents });
    peer.stored_refusals = peer.refused.clone();
    assert_eq!(peer.refused[&DocumentId::new("a")], refused);
    // The store has not told of the backend yet.
    peer.handle(Event::Discard(key("a")));
    let unsent = vec![vec![DocumentId::new("a")]];
    let state = RemoteState { remote: Some(RemoteId(1)), unsent, ..RemoteState::default() };
    peer.handle(Event::Remote { epoch: None, state });
    assert_eq!(peer.last().2, Some(task("start")));
    assert!(!is_refused(&peer, "a"));
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn another_log_refuses_nothing_yet() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.refuse("notAuthorized");
    peer.handle(Event::Backend(FromBackend::Page(Page { epoch: "other".into(), ..page(0, 0, &[]) })));
    assert!(peer.refused.is_empty());
    assert_eq!(peer.pushes.len(), 2, "it is offered to that log");
}

#[test]
fn a_document_that_is_not_refused_is_not_discarded() {
    let (_, mut peer) = pair();
    peer.put("a", 1, &task("start, unsent"));
    peer.handle(Event::Discard(key("a")));
    assert_eq!(peer.failures, [FailureKind::Identity]);
    assert_eq!(peer.stored("a"), Some(task("start, unsent")));
}

#[test]
fn a_document_whose_push_was_taken_and_never_answered_is_refused_no_longer_in_the_next_run() {
    // The store's knowledge in the next run: the push was noted with the rows of the log or, in the second case, with its
    // answer, and the process ended before the refusal was taken back.
    for unsent in [vec![DocumentId::new("a")], Vec::new()] {
        let mut peer = Peer::new(3);
        peer.chunks.insert(DocumentId::new("a"), Vec::new());
        let refused = RefusedWrite { since: 1, code: RefusalCode::NotAuthorized, reason: "no".into() };
        let documents = vec![(DocumentId::new("a"), RemoteId(1), refused)];
        peer.handle(Event::Refused { collection: TASKS, documents });
        peer.stored_refusals = peer.refused.clone();
        assert!(is_refused(&peer, "a"));
        let state = RemoteState { remote: Some(RemoteId(1)), unsent: vec![unsent], ..RemoteState::default() };
        peer.handle(Event::Remote { epoch: None, state });
        peer.handle(Event::Connected);
        peer.handle(Event::Backend(FromBackend::Page(page(0, 0, &[]))));
        assert!(!is_refused(&peer, "a"));
        assert_eq!((peer.replica.unsent(), peer.pushes.len()), (0, 0));
    }
}
