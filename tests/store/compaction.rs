use bevy_convex_replicate::{
    DocumentId,
    limits::COMPACT_CHUNKS,
    store::{ChunkKind, RemoteId, Store, Write},
};

use crate::author::{Author, commit, hashes, open, store};

/// Edits a document many times, half of them in another app, and sends everything.
fn sent_history(store: &mut Store, author: &mut Author, remote: RemoteId, changes: usize) {
    let mut batch = Vec::new();
    for number in 0..changes {
        if number % 2 == 0 {
            let write = author.edit("title", number as i64);
            let sent = author.sent(remote, hashes(&write));
            batch.extend([Write::Document(write), sent]);
        } else {
            batch.push(Write::Document(author.receive(remote, "done", number as i64)));
        }
    }
    store.commit(&batch).unwrap();
}

#[test]
fn a_compacted_document_loads_as_before() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    sent_history(&mut store, &mut a, remote, COMPACT_CHUNKS);
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    let chunks = store.chunks("tasks", &a.id).unwrap();
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].kind, ChunkKind::Snapshot);
    assert_eq!(chunks[0].remote, Some(remote));
    a.assert_stored(&store);
    assert_eq!(store.unsent_count("tasks", Some(remote)).unwrap(), 0);
    assert!(!store.compact("tasks", &a.id, remote).unwrap());

    // More changes follow the snapshot, also in a new run, and are compacted with it.
    commit(&mut store, &a.edit("title", -1));
    drop(store);
    let mut store = open(&folder);
    a.assert_stored(&store);
    let chunks = store.chunks("tasks", &a.id).unwrap();
    assert_eq!(chunks[0].kind, ChunkKind::Snapshot);
    let sent = a.sent(remote, vec![chunks[1].hash]);
    store.commit(&[sent]).unwrap();
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    assert_eq!(store.chunks("tasks", &a.id).unwrap().len(), 1);
    a.assert_stored(&store);
}

#[test]
fn unsent_changes_are_never_compacted() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let other = store.remote("https://b.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    sent_history(&mut store, &mut a, remote, COMPACT_CHUNKS);
    assert!(!store.compact("tasks", &a.id, other).unwrap());
    let unsent = a.edit("title", -1);
    commit(&mut store, &unsent);
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    let kinds: Vec<ChunkKind> = store.chunks("tasks", &a.id).unwrap().iter().map(|chunk| chunk.kind).collect();
    assert_eq!(kinds, [ChunkKind::Snapshot, ChunkKind::Change]);
    let waiting = store.unsent_chunks("tasks", &a.id, Some(remote)).unwrap();
    assert_eq!(waiting.chunks.iter().map(|change| change.hash).collect::<Vec<_>>(), hashes(&unsent));
    drop(store);
    let mut store = open(&folder);
    a.assert_stored(&store);
    assert!(!store.compact("tasks", &a.id, remote).unwrap());
    store.commit(&[a.sent(remote, hashes(&unsent))]).unwrap();
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    assert_eq!(store.chunks("tasks", &a.id).unwrap().len(), 1);
    a.assert_stored(&store);
    assert!(!store.compact("tasks", &DocumentId::new("none"), remote).unwrap());
}

#[test]
fn changes_that_depend_on_unsent_ones_are_not_compacted_before_them() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    sent_history(&mut store, &mut a, remote, 4);
    let unanswered = a.edit("title", -1);
    commit(&mut store, &unanswered);
    commit(&mut store, &a.receive(remote, "done", -2));
    assert!(!store.compact("tasks", &a.id, remote).unwrap());
    store.commit(&[a.sent(remote, hashes(&unanswered))]).unwrap();
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    assert_eq!(store.chunks("tasks", &a.id).unwrap().len(), 1);
    a.assert_stored(&store);
}

#[test]
fn a_snapshot_is_offered_to_another_remote_as_one_chunk() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    sent_history(&mut store, &mut a, remote, 10);
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    let younger = a.edit("title", -1);
    commit(&mut store, &younger);
    let other = store.remote("https://a.example", "2").unwrap();
    let document = store.unsent_chunks("tasks", &a.id, Some(other)).unwrap();
    assert_eq!(document.chunks.len(), 2);
    assert_eq!((document.chunks[0].kind, &document.chunks[0].fields), (ChunkKind::Snapshot, &None));
    assert_eq!(document.chunks[1].hash, hashes(&younger)[0]);
    let all = document.chunks.iter().map(|change| change.hash).collect();
    store.commit(&[a.sent(other, all)]).unwrap();
    assert_eq!(store.unsent_count("tasks", Some(other)).unwrap(), 0);
    assert!(store.compact("tasks", &a.id, other).unwrap());
    a.assert_stored(&store);
}

#[test]
fn changes_that_a_snapshot_covers_may_be_received_again() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    let first = a.receive(remote, "title", 1);
    commit(&mut store, &first);
    commit(&mut store, &a.receive(remote, "title", 2));
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    let mut again = a.write(first.chunks);
    again.chunks[0].remote = Some(remote);
    commit(&mut store, &again);
    a.assert_stored(&store);
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    assert_eq!(store.chunks("tasks", &a.id).unwrap().len(), 1);
    a.assert_stored(&store);
}

#[test]
fn another_remote_may_hold_the_same_snapshot() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let other = store.remote("https://b.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    let both = [a.receive(remote, "title", 1), a.receive(remote, "title", 2)];
    both.iter().for_each(|write| commit(&mut store, write));
    assert!(store.compact("tasks", &a.id, remote).unwrap());
    for write in both {
        let mut again = a.write(write.chunks);
        again.chunks[0].remote = Some(other);
        commit(&mut store, &again);
    }
    assert!(store.compact("tasks", &a.id, other).unwrap());
    let chunks = store.chunks("tasks", &a.id).unwrap();
    assert_eq!((chunks.len(), chunks[0].remote), (1, Some(other)));
    assert!(store.unsent_chunks("tasks", &a.id, Some(other)).unwrap().chunks.is_empty());
    a.assert_stored(&store);
}

#[test]
fn long_documents_that_are_sent_are_worth_compacting() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let other = store.remote("https://b.example", "1").unwrap();
    let mut authors: Vec<Author> =
        ["short", "long", "edited", "unsent"].iter().map(|name| Author::new("tasks", name)).collect();
    for (author, changes) in authors.iter_mut().zip([COMPACT_CHUNKS - 1, COMPACT_CHUNKS, COMPACT_CHUNKS, 10]) {
        sent_history(&mut store, author, remote, changes);
    }
    commit(&mut store, &authors[2].edit("title", -1));
    let offline: Vec<Write> =
        (0..COMPACT_CHUNKS).map(|number| Write::Document(authors[3].edit("title", -(number as i64)))).collect();
    store.commit(&offline).unwrap();
    let named = |name: &str| ("tasks".to_owned(), DocumentId::new(name));
    assert_eq!(store.compactable(remote, 10).unwrap(), [named("edited"), named("long")]);
    assert_eq!(store.compactable(remote, 1).unwrap(), [named("edited")]);
    assert!(store.compactable(other, 10).unwrap().is_empty());
    for (collection, id) in store.compactable(remote, 10).unwrap() {
        assert!(store.compact(&collection, &id, remote).unwrap());
    }
    assert!(store.compactable(remote, 10).unwrap().is_empty());
    for author in &mut authors {
        author.assert_stored(&store);
    }
}
