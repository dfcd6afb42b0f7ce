//! Edits at the versions that the world has seen, merged with changes of others.

use super::*;

#[test]
fn a_remote_change_between_capture_and_apply_is_merged_not_reverted() {
    let (mut first, mut second) = pair();
    first.put("a", 0, &Task { done: true, ..task("start") });
    relay(&first, "a", &mut second, 1, 2);
    // The world still shows generation 1, where it is not done.
    second.put("a", 1, &task("start again"));
    let (generation, seen, shown) = second.last();
    assert_eq!((generation, seen), (3, 1));
    assert_eq!(shown, Some(Task { done: true, ..task("start again") }));
    assert_eq!(second.stored("a"), shown);
}

#[test]
fn two_captures_before_the_first_comes_back_are_both_kept() {
    let (mut first, mut second) = pair();
    first.put("a", 0, &Task { done: true, ..task("start") });
    relay(&first, "a", &mut second, 1, 2);
    second.put("a", 1, &Task { votes: Counter(1), ..task("start, one") });
    second.put("a", 1, &Task { votes: Counter(3), ..task("start, one, two") });
    let (_, seen, shown) = second.last();
    assert_eq!(seen, 2);
    assert_eq!(shown, Some(Task { text: "start, one, two".into(), done: true, votes: Counter(3) }));
}

#[test]
fn concurrent_letters_and_counts_add_up() {
    let (mut first, mut second) = pair();
    first.put("a", 0, &Task { votes: Counter(2), ..task("a fresh start") });
    second.put("a", 1, &Task { votes: Counter(5), ..task("start now") });
    let back = second.made();
    relay(&first, "a", &mut second, 1, 2);
    let rows: Vec<(&str, &[u8])> = back.iter().map(|bytes| ("a", &bytes[..])).collect();
    first.handle(Event::Backend(FromBackend::Page(page(0, 3, &rows))));
    let expected = Task { text: "a fresh start now".into(), done: false, votes: Counter(7) };
    assert_eq!(first.last().2, Some(expected.clone()));
    assert_eq!(second.last().2, Some(expected));
}

#[test]
fn a_document_that_was_not_loaded_is_loaded_to_be_edited() {
    let (first, mut second) = pair();
    let chunks = first.chunks.clone();
    let mut peer = Peer::connected(3);
    peer.chunks = chunks;
    let id = DocumentId::new("a");
    let value = second.delivered[0].value.clone().unwrap();
    let heads = vec![automerge::ChangeHash([1; 32])];
    peer.handle(Event::Opened { collection: TASKS, documents: vec![StoredDocument { id, heads, value }] });
    assert_eq!(peer.last(), (1, 0, Some(task("start"))));
    peer.put("a", 1, &task("start over"));
    assert_eq!(peer.stored("a"), Some(task("start over")));
    assert_eq!(peer.delivered.len(), 1, "nothing new for the world");
    relay(&peer, "a", &mut second, 1, 2);
    assert_eq!(second.last().2, Some(task("start over")));
}

#[test]
fn an_edit_that_waits_behind_a_failing_edit_is_taken_in() {
    let (first, second) = pair();
    let mut peer = Peer::connected(3);
    peer.chunks = first.chunks.clone();
    let id = DocumentId::new("a");
    let document = DocumentKey { collection: TASKS, id: id.clone() };
    let value = second.delivered[0].value.clone().unwrap();
    let heads = vec![automerge::ChangeHash([1; 32])];
    peer.handle(Event::Opened { collection: TASKS, documents: vec![StoredDocument { id, heads, value }] });
    for (number, mask, text) in [(1, PANICS, "lost"), (2, 1, "start over")] {
        let kind = EditKind::put((format::to_value(&task(text)).unwrap(), mask));
        let edit = Edit { document: document.clone(), generation: 1, seq: number, kind };
        // Both come before the document is read.
        peer.replica.handle(Event::Edit(number, edit), 0);
    }
    peer.handle(Event::Applied(Vec::new()));
    assert_eq!(peer.failures, [FailureKind::Unwritable]);
    assert_eq!(peer.edited, [1, 2]);
    assert_eq!(peer.stored("a"), Some(task("start over")));
}

#[test]
fn a_document_put_before_the_stored_one_was_seen_shows_the_stored_one() {
    let (_, mut second) = pair();
    second.put("a", 0, &task("default"));
    // The world had generation 0, so it had not seen the document's content.
    let (_, seen, shown) = second.last();
    assert_eq!((seen, shown), (1, Some(task("start"))));
    assert_eq!(second.stored("a"), Some(task("start")));
}

#[test]
fn a_deleted_document_is_gone_everywhere_until_it_is_restored() {
    let (mut first, mut second) = pair();
    second.put("a", 1, &task("edited meanwhile"));
    let concurrent = second.made();
    first.edit("a", 0, EditKind::Delete);
    relay(&first, "a", &mut second, 1, 2);
    assert_eq!(second.last().2, None);
    first.handle(Event::Backend(FromBackend::Page(page(0, 3, &[("a", &concurrent[0])]))));
    assert_eq!(first.last().2, None, "an edit does not resurrect");
    first.edit("a", 1, EditKind::Restore);
    assert_eq!(first.last().2, Some(task("edited meanwhile")));
}

#[test]
fn putting_a_document_that_was_deleted_brings_it_back() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.edit("a", 0, EditKind::Delete);
    assert_eq!(peer.stored("a"), None);
    peer.put("a", 0, &task("two"));
    assert_eq!(peer.stored("a"), Some(task("two")));
}

#[test]
fn a_document_made_here_takes_edits_after_it_has_left_memory() {
    let mut peer = Peer::connected(1);
    peer.put("first", 0, &task("start"));
    // More generations than are kept in memory.
    for number in 0..2_100 {
        peer.put(&format!("{number}"), 0, &task("other"));
    }
    peer.put("first", 0, &task("start again"));
    assert_eq!(peer.stored("first"), Some(task("start again")));
}

#[test]
fn an_edit_that_failed_counts_as_included_in_later_versions() {
    let (mut first, mut second) = pair();
    let unwritable =
        |id: &str, seq| Event::Unwritable { document: DocumentKey { collection: TASKS, id: DocumentId::new(id) }, seq };
    second.handle(unwritable("a", 1));
    first.put("a", 0, &task("start now"));
    relay(&first, "a", &mut second, 1, 2);
    assert_eq!(second.last().1, 1);
    // An earlier edit does not count as included before it is.
    second.handle(unwritable("b", 2));
    second.put("b", 0, &task("made again"));
    assert_eq!(second.last().1, 1, "no new version of it");
}

#[test]
fn a_restore_of_an_unknown_document_does_not_hold_back_the_document_when_it_arrives() {
    let (first, _) = pair();
    let mut third = Peer::connected(3);
    third.edit("a", 0, EditKind::Restore);
    let chunk = first.chunks[&DocumentId::new("a")][0].0.to_vec();
    third.handle(Event::Backend(FromBackend::Page(page(0, 2, &[("a", &chunk)]))));
    assert_eq!(third.last(), (1, 1, Some(task("start"))));
}
