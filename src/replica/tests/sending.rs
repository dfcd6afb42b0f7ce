//! When changes are sent, and how answers to pushes are handled.

use super::{super::outbox::Outbox, *};

#[test]
fn a_remote_change_is_not_pushed_back() {
    let (first, mut second) = pair();
    second.pushes.clear();
    second.put("a", 1, &task("start"));
    assert!(second.pushes.is_empty(), "{:?}", second.pushes);
    assert_eq!(second.replica.unsent(), 0);
    assert_eq!(first.replica.unsent(), 0);
}

#[test]
fn an_own_change_that_comes_back_is_neither_shown_nor_stored_again() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("mine"));
    let made = peer.made();
    peer.accept();
    peer.handle(Event::Backend(FromBackend::Page(page(0, 5, &[("a", &made[0])]))));
    assert!(peer.delivered.is_empty());
    assert_eq!(peer.chunks[&DocumentId::new("a")].len(), 1);
    assert_eq!(peer.checkpoint_at(), Some(at(5)));
}

#[test]
fn an_edit_is_sent_while_the_disk_is_still_at_work() {
    let mut peer = Peer::connected(1);
    peer.durable = false;
    peer.put("a", 0, &task("mine"));
    assert_eq!(peer.pushes.len(), 1);
    // The mark comes after the change in the order of writes.
    peer.accept();
    assert_eq!(peer.sent.len(), 1);
    assert_eq!(peer.chunks.len(), 1);
}

#[test]
fn one_push_is_in_flight_and_later_edits_go_together() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.put("b", 0, &task("two"));
    peer.put("c", 0, &task("three"));
    assert_eq!(peer.pushes.len(), 1);
    peer.accept();
    assert_eq!(peer.pushes.len(), 2);
    assert_eq!(peer.pushes[1].documents.len(), 2);
    peer.accept();
    assert_eq!(peer.replica.unsent(), 0);
    assert_eq!(peer.sent.len(), 3);
}

#[test]
fn a_dropped_push_is_sent_again_after_reconnecting() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    let number = peer.pushes.last().unwrap().number;
    peer.handle(Event::Backend(FromBackend::PushDropped { number, collection: TASKS }));
    peer.handle(Event::Disconnected);
    peer.put("a", 0, &task("one more"));
    let before = peer.pushes.len();
    peer.handle(Event::Connected);
    assert_eq!(peer.pushes.len(), before, "nothing is sent before the log is known");
    peer.handle(Event::Backend(FromBackend::Page(page(0, 0, &[]))));
    assert_eq!(peer.pushes.last().unwrap().documents[0].changes.len(), 2);
}

#[test]
fn the_answer_to_a_push_that_was_given_up_is_not_taken_for_the_next_ones() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    let given_up = peer.pushes.last().unwrap().clone();
    peer.handle(Event::Disconnected);
    peer.put("a", 0, &task("one more"));
    peer.handle(Event::Connected);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 0, &[]))));
    assert_eq!(peer.pushes.len(), 2);
    let results = vec![(given_up.documents[0].id.clone(), Ok(()))];
    peer.handle(Event::Backend(FromBackend::Answered(PushAnswer {
        number: given_up.number,
        collection: TASKS,
        epoch: "epoch".into(),
        results,
    })));
    peer.handle(Event::Backend(FromBackend::PushDropped { number: given_up.number, collection: TASKS }));
    assert_eq!((peer.replica.unsent(), peer.sent.len()), (1, 0));
    assert_eq!(peer.pushes.len(), 2, "the second is still on its way");
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.sent.len()), (0, 2));
}

#[test]
fn a_snapshot_is_sent_as_changes_and_marked_whole_with_the_last() {
    let mut author = Peer::connected(1);
    author.put("a", 0, &task("one"));
    author.put("a", 0, &task("two"));
    let all: Vec<u8> = author.chunks[&DocumentId::new("a")].iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
    let snapshot = AutoCommit::load(&all).unwrap().save();
    let row = chunk_hash(&snapshot);
    let changes = changes_of(row, &snapshot);
    assert_eq!(changes.len(), 2);
    let mut peer = Peer::connected(2);
    let id = DocumentId::new("a");
    peer.handle(Event::Remote {
        epoch: Some("epoch".into()),
        state: RemoteState { remote: Some(RemoteId(9)), unsent: vec![Vec::new()], ..RemoteState::default() },
    });
    let collection = peer.replica.collections.first_mut().unwrap();
    collection.outbox.reset(vec![id.clone()], false);
    let batch = collection.outbox.next_batch();
    assert_eq!(batch.read, [(id.clone(), false)]);
    collection.outbox.read(UnsentDocument { id: id.clone(), changes, fields: None }, batch.number);
    peer.handle(Event::Retry);
    assert_eq!(peer.pushes[0].documents[0].changes.len(), 2);
    peer.accept();
    assert!(peer.sent.contains(&row));
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn chunks_that_have_the_same_changes_are_all_marked() {
    let mut author = Peer::connected(1);
    for title in ["one", "two", "three"] {
        author.put("a", 0, &task(title));
    }
    let bytes: Vec<_> = author.chunks[&DocumentId::new("a")].iter().map(|(bytes, _)| bytes.to_vec()).collect();
    let snapshots = [2, 3].map(|most| AutoCommit::load(&bytes[..most].concat()).unwrap().save());
    let [shorter, longer] = snapshots.map(|snapshot| changes_of(chunk_hash(&snapshot), &snapshot));
    let single = |change: &UnsentChange| UnsentChange { chunk: change.hash, ..change.clone() };
    let singles: Vec<_> = longer.iter().map(single).collect();
    // The last change of each snapshot is also a change of another chunk before or after it.
    for changes in [
        [shorter.clone(), longer.clone(), singles.clone()].concat(),
        [longer.clone(), shorter.clone(), singles.clone()].concat(),
        [singles.clone(), shorter, longer].concat(),
    ] {
        let mut outbox = Outbox::default();
        let id = DocumentId::new("a");
        outbox.reset(vec![id.clone()], false);
        let number = outbox.next_batch().number;
        outbox.read(UnsentDocument { id: id.clone(), changes: changes.clone(), fields: None }, number);
        let mut marked = Vec::new();
        let mut sent = Vec::new();
        while outbox.len() > 0 {
            let mut batch = outbox.next_batch();
            // A snapshot must not be marked before all of its changes are accepted.
            batch.send[0].changes.truncate(1);
            sent.extend(batch.send[0].changes.iter().map(|(hash, _)| *hash));
            outbox.sent(&batch.send);
            marked.extend(outbox.accepted(&id));
            for end in [2, 3] {
                let snapshot = changes.iter().filter(|change| change.chunk != change.hash);
                let chunk = snapshot.clone().find(|change| change.hash == singles[end - 1].hash).unwrap().chunk;
                assert!(!marked.contains(&chunk) || sent.len() >= end, "snapshot of {end}, {} sent", sent.len());
            }
        }
        assert_eq!(sent, singles.iter().map(|change| change.hash).collect::<Vec<_>>());
        for change in &changes {
            assert!(marked.contains(&change.chunk));
        }
    }
}

#[test]
fn a_snapshot_is_marked_once_the_backend_has_everything_of_it_by_whatever_way() {
    let mut author = Peer::connected(1);
    for title in ["one", "two", "three"] {
        author.put("a", 0, &task(title));
    }
    let bytes: Vec<_> = author.chunks[&DocumentId::new("a")].iter().map(|(bytes, _)| bytes.to_vec()).collect();
    let snapshot = AutoCommit::load(&bytes.concat()).unwrap().save();
    let chunk = chunk_hash(&snapshot);
    let changes = changes_of(chunk, &snapshot);
    let hashes: Vec<_> = changes.iter().map(|change| change.hash).collect();
    let id = DocumentId::new("a");
    for order in [[0, 1, 2], [2, 1, 0], [2, 0, 1], [1, 2, 0]] {
        for answered in [false, true] {
            let mut outbox = Outbox::default();
            outbox.reset(vec![id.clone()], false);
            let number = outbox.next_batch().number;
            outbox.read(UnsentDocument { id: id.clone(), changes: changes.clone(), fields: None }, number);
            let mut marked = Vec::new();
            for at in &order[..2] {
                marked.extend(outbox.held(&id, &[hashes[*at]].into()));
            }
            assert!(!marked.contains(&chunk), "{order:?}: the backend lacks a change of it");
            if answered {
                let batch = outbox.next_batch();
                outbox.sent(&batch.send);
                marked.extend(outbox.accepted(&id));
            } else {
                marked.extend(outbox.held(&id, &[hashes[order[2]]].into()));
            }
            assert!(marked.contains(&chunk), "{order:?} {answered}");
            assert_eq!(outbox.len(), 0);
        }
    }
}

#[test]
fn a_pushed_change_carries_only_the_fields_it_touches() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.put("a", 0, &Task { done: true, ..task("one") });
    let fields = peer.pushes.last().unwrap().documents[0].fields.as_ref().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["done"]);
}

#[test]
fn the_fields_of_an_unanswered_push_do_not_overwrite_later_edits_of_others() {
    let mut first = Peer::connected(1);
    first.put("a", 0, &task("start"));
    first.accept();
    // The log takes this one, and the answer is lost.
    first.put("a", 0, &task("start one"));
    let mut second = Peer::connected(2);
    relay(&first, "a", &mut second, 0, 2);
    second.apply("a", 1);
    second.put("a", 1, &task("start one two"));
    first.handle(Event::Disconnected);
    first.handle(Event::Connected);
    let others = second.made();
    first.handle(Event::Backend(FromBackend::Page(page(0, 3, &[("a", &others[0])]))));
    let (generation, _, shown) = first.last();
    assert_eq!(shown, Some(task("start one two")));
    first.apply("a", generation);
    first.put("a", generation, &Task { done: true, ..task("start one two") });
    let stale = "start one";
    let text = |push: &Push| push.documents[0].fields.as_ref().and_then(|fields| fields.get("text").cloned());
    let last = first.pushes.last().unwrap();
    if last.documents[0].changes.len() == 1 {
        // The change was sent again before the page came, and now both are sent, because this push gets no answer
        // either.
        first.handle(Event::Disconnected);
        first.handle(Event::Connected);
        first.handle(Event::Backend(FromBackend::Page(page(0, 3, &[]))));
    }
    let last = first.pushes.last().unwrap();
    assert_eq!(last.documents[0].changes.len(), 2);
    assert_ne!(text(last), Some(Value::Text(stale.into())));
    assert_eq!(last.documents[0].fields, None, "the backend merges");
}

#[test]
fn a_refused_document_holds_back_itself_alone() {
    let mut peer = Peer::connected(1);
    peer.put("bad", 0, &task("one"));
    peer.refuse("rowRefused");
    assert_eq!(peer.failures, [FailureKind::Refused]);
    peer.put("good", 0, &task("two"));
    let last = peer.pushes.last().unwrap();
    assert_eq!(last.documents.len(), 1);
    assert_eq!(last.documents[0].id.as_str(), "good");
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.pushes.len()), (1, 2), "the edit is kept");
    peer.handle(Event::Retry);
    assert_eq!(peer.pushes.last().unwrap().documents[0].changes.len(), 1);
}

#[test]
fn a_refused_document_is_sent_again_when_it_is_edited() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("refused"));
    peer.refuse("rowRefused");
    peer.put("a", 0, &task("good"));
    assert_eq!(peer.pushes.last().unwrap().documents[0].changes.len(), 2);
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.failures.len()), (0, 1));
    assert_eq!(peer.replica.due(), None);
}

#[test]
fn an_edit_that_was_made_while_the_one_before_was_being_refused_is_sent() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("refused"));
    peer.put("a", 0, &task("good"));
    assert_eq!(peer.pushes.len(), 1);
    peer.refuse("rowRefused");
    assert_eq!(peer.pushes.len(), 2);
    peer.accept();
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn a_document_that_is_edited_in_every_frame_is_not_refused_in_every_frame_and_is_sent_when_it_is_good() {
    let mut peer = Peer::connected(1);
    for frame in 0..600 {
        // Ten seconds at sixty frames a second.
        peer.now += 16;
        peer.put("a", 0, &task(&format!("bad {frame}")));
        if peer.replica.remote.in_flight.is_some() {
            peer.refuse("rowRefused");
        }
    }
    assert!((3..10).contains(&peer.pushes.len()), "{}", peer.pushes.len());
    assert_eq!(peer.failures.len(), 1, "the same refusal is reported once");
    let pushed = peer.pushes.len();
    peer.put("a", 0, &task("good"));
    assert_eq!(peer.pushes.len(), pushed);
    peer.now = peer.replica.due().expect("it waits for a time");
    peer.handle(Event::Due);
    assert_eq!(peer.pushes.len(), pushed + 1);
    while peer.replica.unsent() > 0 {
        peer.accept();
    }
    // A refusal after an accepted push is reported.
    peer.put("a", 0, &task("bad again"));
    peer.refuse("rowRefused");
    assert_eq!(peer.failures.len(), 2);
}

#[test]
fn a_change_that_no_backend_takes_is_not_made_and_the_next_edit_is_sent() {
    let mut peer = Peer::connected(1);
    for document in ["new", "old"] {
        if document == "old" {
            peer.put(document, 0, &task("short"));
            peer.accept();
        }
        let made = peer.made().len();
        let failures = peer.failures.len();
        let written = peer.last_write;
        peer.edit(document, 0, large(limits::CHANGE_BYTES));
        assert_eq!(peer.failures[failures..], [FailureKind::Unwritable]);
        assert_eq!((peer.made().len(), peer.last_write), (made, written), "nothing was written or sent");
        peer.put(document, 0, &Task { done: true, ..task("short again") });
        peer.accept();
        assert_eq!(peer.made().len(), made + 1);
        assert_eq!(peer.stored(document), Some(Task { done: true, ..task("short again") }));
        assert_eq!(peer.replica.unsent(), 0);
    }
}

/// An edit with about this many random bytes, which cannot be compressed.
fn large(bytes: usize) -> EditKind {
    let mut state = bytes as u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let Value::Map(mut fields) = format::to_value(&task("large")).unwrap() else { panic!("a task is a map") };
    fields.insert("picture".into(), Value::Bytes(std::iter::repeat_with(next).take(bytes).collect()));
    EditKind::put((Value::Map(fields), 1))
}

#[test]
fn a_document_that_is_full_takes_what_fits_and_its_deletion() {
    let mut peer = Peer::connected(1);
    let mut taken = 0;
    while peer.failures.is_empty() {
        peer.edit("a", 0, large(900_000 + taken));
        while peer.replica.unsent() > 0 {
            peer.accept();
        }
        taken += 1;
        assert!(taken < 10);
    }
    assert_eq!((taken, &peer.failures[..]), (5, &[FailureKind::Unwritable][..]));
    assert_eq!(peer.stored("a"), Some(task("large")));
    // An edit that still fits is accepted.
    peer.put("a", 0, &task("small"));
    peer.accept();
    assert_eq!((peer.replica.unsent(), peer.stored("a")), (0, Some(task("small"))));
    peer.edit("a", 0, large(900_000));
    assert_eq!(peer.failures.len(), 2);
    peer.edit("a", 0, EditKind::Delete);
    peer.accept();
    assert_eq!((peer.failures.len(), peer.replica.unsent(), peer.stored("a")), (2, 0, None));
}

#[test]
fn a_document_too_large_only_with_others_is_sent_again_and_the_first_of_a_push_is_reported() {
    let mut peer = Peer::connected(1);
    peer.put("small", 0, &task("zero"));
    peer.put("large", 0, &task("one"));
    peer.put("larger", 0, &task("two"));
    peer.accept();
    let names = |peer: &Peer| -> Vec<String> {
        peer.pushes.last().unwrap().documents.iter().map(|document| document.id.to_string()).collect()
    };
    assert_eq!(names(&peer), ["large", "larger"]);
    peer.refuse("tooLarge");
    assert_eq!(peer.failures, [FailureKind::Refused]);
    assert_eq!(names(&peer), ["larger"], "it may go in without the other");
    peer.accept();
    assert_eq!((peer.failures.len(), peer.replica.unsent()), (1, 1));
}

#[test]
fn a_log_that_lacks_dependencies_is_offered_everything_once() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.put("a", 0, &task("two"));
    peer.refuse("missingDependencies");
    assert_eq!(peer.pushes.last().unwrap().documents[0].changes.len(), 2);
    assert!(peer.failures.is_empty());
    peer.refuse("missingDependencies");
    assert_eq!(peer.failures, [FailureKind::Refused]);
}

#[test]
fn a_long_time_offline_is_kept_in_the_store_and_sent_whole() {
    let mut peer = Peer::new(1);
    for count in 0..400 {
        peer.put("a", 0, &task(&format!("edit {count}")));
    }
    assert_eq!(peer.replica.unsent(), 1);
    peer.handle(Event::Connected);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 0, &[]))));
    assert_eq!(peer.made().len(), 400);
    peer.accept();
    assert_eq!(peer.replica.unsent(), 0);
}

#[test]
fn an_edit_made_while_the_unsent_are_read_is_sent_after_a_reconnect() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    // There are more unsent changes than are kept in memory, so they are read from the store.
    for number in 0..300 {
        peer.put("a", 0, &task(&format!("{number}")));
    }
    peer.reads_wait = true;
    peer.accept();
    peer.put("a", 0, &task("while it is read"));
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 0, &[]))));
    peer.reads_wait = false;
    for answer in std::mem::take(&mut peer.reads) {
        peer.handle(answer);
    }
    let pushed: Vec<ChangeHash> =
        peer.pushes.iter().flat_map(|push| &push.documents).flat_map(|d| &d.changes).map(|(hash, _)| *hash).collect();
    for (bytes, _) in &peer.chunks[&DocumentId::new("a")] {
        assert!(pushed.contains(&change_hash(bytes).unwrap()), "an edit was never sent");
    }
}
