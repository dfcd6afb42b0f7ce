//! Refused documents, what a discard drops, stores that are deleted, and stores whose edits another one takes.

use std::path::PathBuf;

use bevy_convex_replicate::{
    DocumentId,
    replica::{Checkpoint, Position},
    store::{RefusalCode, RefusedWrite, RemoteId, Store, StoreError, Write},
};

use crate::author::{Author, commit, hashes, names, open, store};

fn note(author: &Author, remote: RemoteId, refused: Option<RefusedWrite>) -> Write {
    Write::Refused { remote, collection: author.collection.clone(), id: author.id.clone(), refused }
}

fn discard(author: &Author, remote: RemoteId) -> Write {
    Write::Discard { remote, collection: author.collection.clone(), id: author.id.clone() }
}

fn refused() -> RefusedWrite {
    RefusedWrite { since: 1_700_000_000_123, code: RefusalCode::NotAuthorized, reason: "no “🦦”".into() }
}

fn documents(store: &Store) -> Vec<String> {
    let all = store.documents("tasks", None, usize::MAX).unwrap();
    let ids: Vec<DocumentId> = all.into_iter().map(|document| document.id).collect();
    names(&ids).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_note_of_a_refusal_is_kept_until_it_is_taken_back() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    commit(&mut store, &a.edit("title", 1));
    store.commit(&[note(&a, remote, Some(refused()))]).unwrap();
    drop(store);
    let mut store = open(&folder);
    assert_eq!(store.refused("tasks").unwrap(), [(a.id.clone(), remote, refused())]);
    assert_eq!(store.refused("others").unwrap(), []);
    store.commit(&[note(&a, remote, None)]).unwrap();
    assert_eq!(store.refused("tasks").unwrap(), []);
    // A document that is not there is not refused either.
    store.commit(&[note(&Author::new("tasks", "b"), remote, Some(refused()))]).unwrap();
    assert_eq!(store.refused("tasks").unwrap(), []);
    // A refused document can be pruned.
    store.commit(&[note(&a, remote, Some(refused()))]).unwrap();
    store.commit(&[Write::Forget { remote, collection: "tasks".into(), id: a.id.clone() }]).unwrap();
    assert_eq!((store.refused("tasks").unwrap(), documents(&store)), (vec![], vec![]));
}

#[test]
fn a_discard_drops_what_the_remote_lacks_of_one_document() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let (mut a, mut b) = (Author::new("tasks", "a"), Author::new("tasks", "b"));
    commit(&mut store, &a.receive(remote, "title", 1));
    let sent = a.edit("title", 2);
    commit(&mut store, &sent);
    store.commit(&[a.sent(remote, hashes(&sent))]).unwrap();
    let mut held = Author { document: a.document.fork(), ..Author::new("tasks", "a") };
    commit(&mut store, &a.edit("title", 3));
    commit(&mut store, &a.edit("done", 4));
    commit(&mut store, &b.edit("title", 5));
    store.commit(&[note(&a, remote, Some(refused())), discard(&a, remote)]).unwrap();
    drop(store);
    let store = open(&folder);
    held.assert_stored(&store);
    b.assert_stored(&store);
    assert_eq!(store.refused("tasks").unwrap(), []);
    assert_eq!(names(&store.unsent("tasks", Some(remote), usize::MAX).unwrap()), ["b"]);
}

#[test]
fn a_new_document_goes_with_its_discarded_changes() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    commit(&mut store, &a.edit("title", 1));
    store.commit(&[note(&a, remote, Some(refused())), discard(&a, remote), discard(&a, remote)]).unwrap();
    assert_eq!(documents(&store), Vec::<String>::new());
    // It can be made again.
    commit(&mut store, &a.edit("title", 2));
    assert_eq!(documents(&store), ["a"]);
}

#[test]
fn a_discard_keeps_what_the_remote_must_have() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    // The answers to the pushes of these two are lost, and somebody else has edited the document since.
    commit(&mut store, &a.edit("title", 1));
    commit(&mut store, &a.edit("title", 2));
    commit(&mut store, &a.receive(remote, "done", 3));
    let mut held = Author { document: a.document.fork(), ..Author::new("tasks", "a") };
    commit(&mut store, &a.edit("title", 4));
    store.commit(&[discard(&a, remote)]).unwrap();
    held.assert_stored(&store);
    assert!(store.unsent("tasks", Some(remote), usize::MAX).unwrap().is_empty());
}

const READ: Checkpoint = Checkpoint { position: Position { ts: 5, ordinal: 0 }, pruned: Some(3) };
const UNREAD: Checkpoint = Checkpoint { position: Position { ts: 0, ordinal: 0 }, pruned: Some(3) };

fn have_read(store: &mut Store, remotes: &[RemoteId]) {
    for remote in remotes {
        let write = Write::Checkpoint { remote: *remote, collection: "tasks".into(), checkpoint: READ };
        store.commit(&[write]).unwrap();
    }
}

#[test]
fn the_only_log_of_a_store_is_not_read_again_because_of_a_discard() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    commit(&mut store, &a.receive(remote, "title", 1));
    commit(&mut store, &a.edit("title", 2));
    have_read(&mut store, &[remote]);
    store.commit(&[discard(&a, remote)]).unwrap();
    assert_eq!(store.checkpoint(remote, "tasks").unwrap(), Some(READ));
}

#[test]
fn all_logs_that_may_have_what_a_discard_drops_are_read_again() {
    let (_folder, mut store) = store();
    let (other, remote) =
        (store.remote("https://a.example", "1").unwrap(), store.remote("https://b.example", "1").unwrap());
    let (mut a, mut b) = (Author::new("tasks", "a"), Author::new("tasks", "b"));
    commit(&mut store, &a.receive(other, "title", 1));
    commit(&mut store, &b.receive(remote, "title", 2));
    have_read(&mut store, &[other, remote]);
    // Nothing is dropped.
    store.commit(&[discard(&b, remote)]).unwrap();
    assert_eq!(store.checkpoint(other, "tasks").unwrap(), Some(READ));
    store.commit(&[discard(&a, remote)]).unwrap();
    assert_eq!(documents(&store), ["b"]);
    // This remote had it too, if the other one has taken its mark.
    for remote in [other, remote] {
        assert_eq!(store.checkpoint(remote, "tasks").unwrap(), Some(UNREAD));
    }
}

#[test]
fn a_snapshot_whose_marks_were_dropped_is_not_taken_for_sent_by_a_discard() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    for value in 0..3 {
        commit(&mut store, &a.receive(remote, "title", value));
    }
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    // The log is read again, because it was pruned, and it no longer has the document.
    store.forget(remote).unwrap();
    have_read(&mut store, &[remote]);
    store.commit(&[discard(&a, remote)]).unwrap();
    assert_eq!(documents(&store), Vec::<String>::new());
    assert_eq!(store.checkpoint(remote, "tasks").unwrap(), Some(UNREAD));
}

#[test]
fn of_a_snapshot_a_discard_keeps_what_the_remote_must_have() {
    let (_folder, mut store) = store();
    let (other, remote) =
        (store.remote("https://a.example", "1").unwrap(), store.remote("https://b.example", "1").unwrap());
    let mut a = Author::new("tasks", "a");
    commit(&mut store, &a.receive(other, "title", 1));
    // Another app has only the first change when it makes its own.
    let mut held = Author { document: a.document.fork(), ..Author::new("tasks", "a") };
    commit(&mut store, &a.receive(other, "title", 2));
    assert!(store.compact("tasks", &a.id, other).unwrap());
    let received = held.receive(remote, "done", 3);
    a.document.merge(&mut held.document.fork()).unwrap();
    commit(&mut store, &a.write(received.chunks));
    store.commit(&[discard(&a, remote)]).unwrap();
    held.assert_stored(&store);
    assert!(store.unsent("tasks", Some(remote), usize::MAX).unwrap().is_empty());
}

#[test]
fn a_store_with_unsent_edits_is_deleted_only_if_they_may_be_lost() {
    let (folder, mut store) = store();
    let path = store.path().to_owned();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    let sent = a.edit("title", 1);
    commit(&mut store, &sent);
    store.commit(&[a.sent(remote, hashes(&sent))]).unwrap();
    commit(&mut store, &a.edit("title", 2));
    assert!(matches!(Store::wipe(&path, true), Err(StoreError::InUse { .. })));
    drop(store);
    assert!(matches!(Store::wipe(&path, false), Err(StoreError::Unsent { edits: 1, .. })));
    a.assert_stored(&open(&folder));
    assert_eq!(Store::wipe(&path, true).unwrap(), 1);
    assert_eq!(documents(&open(&folder)), Vec::<String>::new());
    assert_eq!(Store::wipe(&path, false).unwrap(), 0);
    assert_eq!(Store::wipe(&folder.path().join("never/there.sqlite3"), false).unwrap(), 0);
}

#[test]
fn a_store_takes_in_the_edits_of_another_once_and_after_an_interruption_too() {
    for interrupted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (from, to): (PathBuf, PathBuf) =
            (folder.path().join("app.sqlite3"), folder.path().join("app.sqlite3.users/a.sqlite3"));
        let (mut a, mut b, mut c) = (Author::new("tasks", "a"), Author::new("tasks", "b"), Author::new("tasks", "c"));
        let mut store = Store::open(&from).unwrap();
        let other = store.remote("https://a.example", "1").unwrap();
        commit(&mut store, &a.edit("title", 1));
        // Somebody else's document is pulled again, if the user may read it.
        commit(&mut store, &c.receive(other, "title", 3));
        drop(store);
        let mut store = Store::open(&to).unwrap();
        let remote = store.remote("https://a.example", "1").unwrap();
        commit(&mut store, &b.receive(remote, "title", 2));
        drop(store);
        if interrupted {
            std::fs::rename(&from, folder.path().join("app.sqlite3.users/a.sqlite3.adopted")).unwrap();
        } else {
            Store::adopt(&from, &to).unwrap();
        }
        for _ in 0..2 {
            let store = Store::open(&to).unwrap();
            a.assert_stored(&store);
            b.assert_stored(&store);
            assert_eq!(documents(&store), ["a", "b"]);
            assert_eq!(names(&store.unsent("tasks", Some(remote), usize::MAX).unwrap()), ["a"]);
        }
        assert_eq!(documents(&Store::open(&from).unwrap()), Vec::<String>::new());
        Store::adopt(&from, &to).unwrap();
    }
}
