//! A pruned log: the replica reads it again, offers documents again, and drops pruned documents.

use super::*;

/// The refusal of a checkpoint that lies before the pruned rows.
fn starts_over() -> Event {
    let refusal = Refusal::new("checkpointUnknown", "what was deleted since is gone");
    Event::Backend(FromBackend::PullRefused { collection: TASKS, refusal })
}

#[test]
fn changes_only_pushed_to_a_log_that_was_pruned_since_are_offered_again() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    // Others deleted the document, and it was pruned before a page told of it. The checkpoint is still the beginning,
    // which no log refuses.
    peer.subscribed.clear();
    let begins = Page { pruned: Some(7), ..page(0, 0, &[]) };
    peer.handle(Event::Backend(FromBackend::Page(begins.clone())));
    assert_eq!(peer.subscribed, [Checkpoint::default()]);
    peer.handle(Event::Backend(FromBackend::Page(begins.clone())));
    assert_eq!(peer.pushes.len(), 2, "offered again");
    peer.refuse("pruned");
    assert!(peer.last().2.is_none(), "it is gone");
    assert!(peer.chunks.is_empty(), "from the store as well");
    assert!(peer.failures.is_empty(), "it had no edits that were not sent: {:?}", peer.failures);

    // Once for each pruning.
    peer.put("b", 0, &task("two"));
    peer.accept();
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    peer.subscribed.clear();
    peer.handle(Event::Backend(FromBackend::Page(begins)));
    assert!(peer.subscribed.is_empty(), "{:?}", peer.subscribed);
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn a_document_that_was_forgotten_and_comes_again_includes_what_the_world_did_to_the_old_one() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.put("a", 0, &task("two"));
    peer.refuse("pruned");
    assert!(peer.last().2.is_none(), "it is gone");
    let mut other = Peer::connected(2);
    other.put("a", 0, &task("made anew"));
    relay(&other, "a", &mut peer, 0, 9);
    assert_eq!((peer.last().1, peer.last().2), (2, Some(task("made anew"))));
}

#[test]
fn a_page_that_waits_for_a_document_is_dropped_when_everything_starts_over() {
    let mut other = Peer::connected(1);
    other.put("new", 0, &task("one"));
    let mut peer = Peer::connected(2);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 1, &[]))));
    let id = DocumentId::new("cold");
    peer.chunks.insert(id.clone(), Vec::new());
    let (heads, value) = (vec![ChangeHash([1; 32])], Value::Map(BTreeMap::new()));
    peer.handle(Event::Opened { collection: TASKS, documents: vec![StoredDocument { id: id.clone(), heads, value }] });
    // The log has news of a document that is being read from the store, and of a new document.
    let made = other.made();
    let rows: [(&str, &[u8]); 2] = [("cold", &made[0]), ("new", &made[0])];
    peer.replica.handle(Event::Backend(FromBackend::Page(page(1, 3, &rows))), 0);
    peer.replica.handle(starts_over(), 0);
    let key = DocumentKey { collection: TASKS, id };
    peer.replica.handle(Event::Loaded { document: key, chunks: Vec::new() }, 0);
    let writes: Vec<_> = std::iter::from_fn(|| peer.replica.poll())
        .filter(|effect| matches!(effect, Effect::Store(StoreRequest::Write(..))))
        .collect();
    assert!(writes.is_empty(), "what the log has pruned meanwhile would stay for ever: {writes:?}");
}

#[test]
fn the_answer_to_a_push_is_ignored_while_everything_starts_over() {
    let mut peer = Peer::connected(1);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 3, &[]))));
    peer.put("a", 0, &task("one"));
    let push = peer.pushes.pop().unwrap();
    peer.replica.handle(starts_over(), 0);
    let forget: Vec<_> = std::iter::from_fn(|| peer.replica.poll()).collect();
    let results = vec![(DocumentId::new("a"), Ok(()))];
    peer.handle(Event::Backend(FromBackend::Answered(PushAnswer {
        number: push.number,
        collection: TASKS,
        epoch: "epoch".into(),
        results,
    })));
    assert!(peer.sent.is_empty(), "it may have been pruned since");
    assert!(matches!(&forget[..], [Effect::Store(StoreRequest::LookUp(Lookup::Forget(_)))]), "{forget:?}");
    for effect in forget {
        let event = peer.carry_out(effect).unwrap();
        peer.handle(event);
    }
    peer.handle(Event::Backend(FromBackend::Page(page(0, 0, &[]))));
    assert_eq!(peer.pushes.len(), 1, "it is offered again");
}

#[test]
fn a_checkpoint_refused_again_before_the_new_start_starts_over_once() {
    let mut peer = Peer::connected(1);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 3, &[]))));
    let forgets = |peer: &mut Peer| {
        peer.replica.handle(starts_over(), 0);
        let effects: Vec<_> = std::iter::from_fn(|| peer.replica.poll()).collect();
        let forgets = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Store(StoreRequest::LookUp(Lookup::Forget(_)))))
            .count();
        for effect in effects {
            if let Some(event) = peer.carry_out(effect) {
                peer.replica.handle(event, 0);
            }
        }
        forgets
    };
    // A refusal may also come after the store has forgotten: the connection ended in between, and the next one asked
    // from the old place.
    assert_eq!((forgets(&mut peer), forgets(&mut peer)), (1, 0));
    peer.handle(Event::Backend(FromBackend::Page(page(0, 5, &[]))));
    assert_eq!(forgets(&mut peer), 1);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 7, &[]))));
    peer.replica.handle(starts_over(), 0);
    peer.replica.handle(starts_over(), 0);
    let effects = std::iter::from_fn(|| peer.replica.poll());
    assert_eq!(
        effects.filter(|effect| matches!(effect, Effect::Store(StoreRequest::LookUp(Lookup::Forget(_))))).count(),
        1,
        "of two collections"
    );
}

#[test]
fn only_the_document_that_was_pruned_is_dropped_and_its_unsent_edits_are_reported() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.put("b", 0, &task("two"));
    peer.put("c", 0, &task("three"));
    let ids: Vec<_> = peer.pushes[0].documents.iter().map(|document| document.id.to_string()).collect();
    assert_eq!(ids, ["a"]);
    peer.refuse("pruned");
    assert_eq!(peer.failures, [FailureKind::Pruned]);
    assert!(peer.last().2.is_none());
    assert_eq!(peer.chunks.keys().map(|id| id.to_string()).collect::<Vec<_>>(), ["b", "c"]);
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.failures.len()), (0, 1));
    assert_eq!(peer.sent.len(), 2);
}

#[test]
fn a_page_that_waits_for_its_logs_name_while_that_is_forgotten_is_not_lost() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.handle(Event::Backend(FromBackend::Page(page(0, 9, &[]))));
    let refusal = Refusal::new("checkpointUnknown", "ahead of the log");
    peer.replica.handle(Event::Backend(FromBackend::PullRefused { collection: TASKS, refusal }), 1_700_000_000_000);
    // The disk is slow: a page from the beginning comes before its answer.
    let mut other = Peer::connected(2);
    other.put("b", 0, &task("two"));
    peer.replica.handle(Event::Backend(FromBackend::Page(page(0, 5, &[("b", &other.made()[0])]))), 1_700_000_000_000);
    let effects: Vec<_> = std::iter::from_fn(|| peer.replica.poll()).collect();
    peer.subscribed.clear();
    for effect in effects {
        if let Some(event) = peer.carry_out(effect) {
            peer.handle(event);
        }
    }
    let is_taken_in = peer.chunks.contains_key(&DocumentId::new("b"));
    assert!(is_taken_in || peer.subscribed == [Checkpoint::default()], "taken in, or asked for again");
}
