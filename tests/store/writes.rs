use bevy_convex_replicate::{
    DocumentId,
    replica::{Checkpoint, Position},
    store::{RemoteId, Store, StoreError, Write},
};

use crate::author::{Author, commit, hashes, open, store};

/// A position in a log that was pruned, for which all pages agree.
fn at(ts: i64, ordinal: u32) -> Checkpoint {
    Checkpoint { position: Position { ts, ordinal }, pruned: Some(ts / 2) }
}

/// Everything that a store returns for a collection, as text.
fn contents(store: &Store, collection: &str, remotes: &[RemoteId]) -> String {
    let documents = store.documents(collection, None, usize::MAX).unwrap();
    let chunks: Vec<_> = documents.iter().map(|document| store.chunks(collection, &document.id).unwrap()).collect();
    let checkpoints: Vec<_> = remotes.iter().map(|remote| store.checkpoint(*remote, collection).unwrap()).collect();
    let unsent: Vec<_> =
        remotes.iter().map(|remote| store.unsent(collection, Some(*remote), usize::MAX).unwrap()).collect();
    format!("{documents:#?}\n{chunks:#?}\n{checkpoints:?}\n{unsent:?}")
}

#[test]
fn a_reopened_store_has_exactly_the_committed_state() {
    let (folder, mut store) = store();
    let here = store.remote("https://one.example", "epoch").unwrap();
    let there = store.remote("https://two.example", "epoch").unwrap();
    let (mut a, mut b) = (Author::new("tasks", "a"), Author::new("tasks", "b"));
    let first = a.edit("title", 1);
    let sent = a.sent(here, hashes(&first));
    let batch = [
        Write::Document(first),
        sent,
        Write::Document(b.receive(here, "title", 2)),
        Write::Document(b.edit("done", 3)),
        Write::Checkpoint { remote: here, collection: "tasks".into(), checkpoint: at(i64::MAX, u32::MAX) },
    ];
    store.commit(&batch).unwrap();
    let before = contents(&store, "tasks", &[here, there]);
    drop(store);

    let mut store = open(&folder);
    assert_eq!(contents(&store, "tasks", &[here, there]), before);
    assert_eq!(store.checkpoint(here, "tasks").unwrap(), Some(at(i64::MAX, u32::MAX)));
    assert_eq!(store.checkpoint(there, "tasks").unwrap(), None);
    assert_eq!(store.last_remote("https://one.example").unwrap(), Some(here));
    assert_eq!(store.remote("https://two.example", "epoch").unwrap(), there);
    a.assert_stored(&store);
    b.assert_stored(&store);
}

#[test]
fn a_remote_is_a_deployment_and_an_epoch_and_the_last_one_used_is_remembered() {
    let (_folder, mut store) = store();
    assert_eq!(store.last_remote("https://a.example").unwrap(), None);
    let first = store.remote("https://a.example", "1").unwrap();
    let second = store.remote("https://a.example", "2").unwrap();
    let other = store.remote("https://b.example", "1").unwrap();
    assert!(first != second && second != other && first != other);
    assert_eq!(store.last_remote("https://a.example").unwrap(), Some(second));
    assert_eq!(store.remote("https://a.example", "1").unwrap(), first);
    assert_eq!(store.last_remote("https://a.example").unwrap(), Some(first));
    assert_eq!(store.last_remote("https://b.example").unwrap(), Some(other));
}

#[test]
fn a_batch_committed_twice_is_stored_once() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    let first = a.edit("title", 1);
    let sent = a.sent(remote, hashes(&first));
    let batch = [
        Write::Document(first),
        sent,
        Write::Document(a.edit("title", 2)),
        Write::Document(a.receive(remote, "done", 1)),
        Write::Checkpoint { remote, collection: "tasks".into(), checkpoint: at(5, 1) },
    ];
    store.commit(&batch).unwrap();
    let once = contents(&store, "tasks", &[remote]);
    store.commit(&batch).unwrap();
    assert_eq!(contents(&store, "tasks", &[remote]), once);
    a.assert_stored(&store);
}

#[test]
fn a_repeated_old_write_does_not_restore_the_old_value() {
    let (_folder, mut store) = store();
    let mut a = Author::new("tasks", "a");
    let old = a.edit("title", 1);
    commit(&mut store, &old);
    commit(&mut store, &a.edit("title", 2));
    commit(&mut store, &old);
    a.assert_stored(&store);
}

#[test]
fn writing_a_stored_chunk_again_only_sets_its_holder() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    let made = a.edit("title", 1);
    commit(&mut store, &made);
    let mut echo = made.clone();
    echo.chunks[0].remote = Some(remote);
    echo.chunks[0].fields.clear();
    echo.chunks[0].bytes = [0; 3].into();
    commit(&mut store, &echo);
    let chunks = store.chunks("tasks", &a.id).unwrap();
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].remote, Some(remote));
    assert_eq!(chunks[0].bytes, made.chunks[0].bytes);
    assert_eq!(chunks[0].fields, ["title"]);
    // A write without a holder does not remove a known one.
    commit(&mut store, &made);
    assert_eq!(store.chunks("tasks", &a.id).unwrap()[0].remote, Some(remote));
}

#[test]
fn the_same_change_in_two_documents_is_sent_separately_for_each() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let (mut a, b) = (Author::new("tasks", "a"), Author::new("notes", "a"));
    let in_tasks = a.edit("title", 1);
    let mut in_notes = in_tasks.clone();
    in_notes.collection = "notes".into();
    let sent = b.sent(remote, hashes(&in_notes));
    store.commit(&[Write::Document(in_tasks), Write::Document(in_notes), sent]).unwrap();
    assert_eq!(store.unsent_count("tasks", Some(remote)).unwrap(), 1);
    assert_eq!(store.unsent_count("notes", Some(remote)).unwrap(), 0);
}

#[test]
fn writes_are_applied_in_order() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    let made = a.edit("title", 1);
    let sent = a.sent(remote, hashes(&made));
    let checkpoint = |checkpoint| Write::Checkpoint { remote, collection: "tasks".into(), checkpoint };
    // A report of sending before the write has no effect on later writes.
    store.commit(&[sent, Write::Document(made), checkpoint(at(9, 9)), checkpoint(at(2, 0))]).unwrap();
    assert_eq!(store.unsent_count("tasks", Some(remote)).unwrap(), 1);
    // The last write counts, even if it goes back, because a client may have to start over.
    assert_eq!(store.checkpoint(remote, "tasks").unwrap(), Some(at(2, 0)));
}

#[test]
fn a_batch_is_written_completely_or_not_at_all() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let (mut a, mut b) = (Author::new("tasks", "a"), Author::new("new collection", "b"));
    commit(&mut store, &a.edit("title", 1));
    let before = contents(&store, "tasks", &[remote]);

    let mut later = Author::new("tasks", "a");
    later.document = a.document.fork();
    let good = [
        Write::Document(later.edit("title", 2)),
        Write::Checkpoint { remote, collection: "tasks".into(), checkpoint: at(7, 0) },
        Write::Document(b.edit("title", 3)),
    ];
    let unknown = Write::Checkpoint { remote: RemoteId(99), collection: "tasks".into(), checkpoint: at(8, 0) };
    for failing in [0, 1, 2, 3] {
        let mut batch = good.to_vec();
        batch.insert(failing, unknown.clone());
        let error = store.commit(&batch).unwrap_err();
        assert!(matches!(&error, StoreError::Rejected { collection, .. } if collection == "tasks"), "{error}");
        assert!(!error.is_transient());
        assert_eq!(contents(&store, "tasks", &[remote]), before);
        assert!(store.documents("new collection", None, 10).unwrap().is_empty());
    }
    // The store can be used as before, and no part of the failed batch appears later.
    drop(store);
    let mut store = open(&folder);
    assert_eq!(contents(&store, "tasks", &[remote]), before);
    store.commit(&good).unwrap();
    later.assert_stored(&store);
    b.assert_stored(&store);
}

#[test]
fn the_error_for_a_document_with_an_invalid_name_contains_the_name() {
    let (_folder, mut store) = store();
    for name in ["", &"x".repeat(129), &"ü".repeat(65)] {
        let error = store.commit(&[Write::Document(Author::new("tasks", name).edit("title", 1))]).unwrap_err();
        assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
        assert!(error.to_string().contains(&format!("tasks/{name}")), "{error}");
    }
    let mut long = Author::new("tasks", &"ü".repeat(64));
    commit(&mut store, &long.edit("title", 1));
    long.assert_stored(&store);
}

#[test]
fn documents_are_read_in_pages_ordered_by_name() {
    let (_folder, mut store) = store();
    let mut names: Vec<String> = (0..25).map(|number| format!("{:02}", number * 7 % 25)).collect();
    names.push("é\0'%".to_owned());
    let mut batch = Vec::new();
    for name in &names {
        batch.push(Write::Document(Author::new("tasks", name).edit("title", 1)));
        batch.push(Write::Document(Author::new("notes", name).edit("title", 1)));
    }
    store.commit(&batch).unwrap();
    names.sort();
    for limit in [1, 7, 13, 26, 27, usize::MAX] {
        let mut found = Vec::new();
        let mut after: Option<DocumentId> = None;
        loop {
            let page = store.documents("tasks", after.as_ref(), limit).unwrap();
            assert!(page.len() <= limit);
            let last = page.len() < limit;
            after = page.last().map(|document| document.id.clone()).or(after);
            found.extend(page.into_iter().map(|document| document.id.to_string()));
            if last {
                break;
            }
        }
        assert_eq!(found, names);
    }
    assert!(store.documents("tasks", None, 0).unwrap().is_empty());
    assert!(store.documents("none", None, 10).unwrap().is_empty());
    assert!(store.chunks("none", &DocumentId::new("00")).unwrap().is_empty());
    assert!(store.chunks("tasks", &DocumentId::new("none")).unwrap().is_empty());
}

#[test]
fn a_forgotten_document_is_removed_and_pulled_again_from_remotes_that_have_it() {
    let (folder, mut store) = store();
    let here = store.remote("https://one.example", "epoch").unwrap();
    let there = store.remote("https://two.example", "epoch").unwrap();
    let (mut gone, mut stays) = (Author::new("tasks", "gone"), Author::new("tasks", "stays"));
    let (mut other, far) = (Author::new("other", "gone"), at(7, 1));
    let checkpoint =
        |remote, collection: &str| Write::Checkpoint { remote, collection: collection.into(), checkpoint: far };
    store
        .commit(&[
            Write::Document(gone.receive(there, "title", 1)),
            Write::Document(gone.edit("title", 2)),
            Write::Document(stays.edit("title", 3)),
            Write::Document(other.edit("title", 4)),
            checkpoint(here, "tasks"),
            checkpoint(there, "tasks"),
            checkpoint(there, "other"),
        ])
        .unwrap();
    assert!(store.holds_any(there, "tasks").unwrap());
    assert!(!store.holds_any(here, "tasks").unwrap());
    let forget = Write::Forget { remote: here, collection: "tasks".into(), id: DocumentId::new("gone") };
    store.commit(std::slice::from_ref(&forget)).unwrap();
    for _ in 0..2 {
        let ids = |collection| -> Vec<_> {
            let documents = store.documents(collection, None, usize::MAX).unwrap();
            documents.iter().map(|document| document.id.to_string()).collect()
        };
        assert_eq!((ids("tasks"), ids("other")), (vec!["stays".to_owned()], vec!["gone".to_owned()]));
        assert!(store.chunks("tasks", &DocumentId::new("gone")).unwrap().is_empty());
        let unsent = store.unsent("tasks", Some(here), usize::MAX).unwrap();
        assert_eq!(unsent, [DocumentId::new("stays")]);
        assert_eq!(store.checkpoint(here, "tasks").unwrap(), Some(far), "that log does not have it");
        assert_eq!(store.checkpoint(there, "tasks").unwrap(), None, "the other may");
        assert_eq!(store.checkpoint(there, "other").unwrap(), Some(far));
        assert!(!store.holds_any(there, "tasks").unwrap());
        // Forgetting it again, or forgetting a document that does not exist, has no effect.
        store.commit(std::slice::from_ref(&forget)).unwrap();
        drop(store);
        store = open(&folder);
    }
}
