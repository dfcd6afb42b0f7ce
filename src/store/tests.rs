//! Tests that need the inside of the room. The others are in `tests/store`.

use automerge::{ActorId, AutoCommit, ChangeHash, ROOT, transaction::Transactable};

use super::{compact::long_and_held, unsent::BY_HOLDER, *};
use crate::{
    DocumentId, format,
    limits::{COMPACT_CHUNKS, DOCUMENT_ID_BYTES},
    sqlite::is_durable,
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store.sqlite3")).unwrap();
    (folder, store)
}

fn edit(document: &mut AutoCommit, remote: Option<RemoteId>, text: &str) -> DocumentWrite {
    document.put(ROOT, "text", text).unwrap();
    document.commit();
    let change = document.get_last_local_change().unwrap();
    DocumentWrite {
        collection: "tasks".to_owned(),
        id: DocumentId::new("a"),
        chunks: vec![StoredChunk {
            hash: change.hash(),
            kind: ChunkKind::Change,
            bytes: change.raw_bytes().into(),
            remote,
            fields: Vec::new(),
        }],
        heads: document.get_heads(),
        value: format::read(document),
    }
}

fn commit(store: &mut Store, write: DocumentWrite) {
    store.commit(&[Write::Document(write)]).unwrap();
}

fn loaded(store: &Store) -> Vec<ChangeHash> {
    let chunks = store.chunks("tasks", &DocumentId::new("a")).unwrap();
    repair::load(chunks.iter()).unwrap().document.get_heads()
}

#[test]
fn a_store_can_live_on_a_thread_of_its_own() {
    fn is_send<T: Send>() {}
    is_send::<Store>();
    is_send::<StoreError>();
}

#[test]
fn a_commit_returns_when_it_is_on_the_disk() {
    let (folder, made) = store();
    assert!(is_durable(&made.connection));
    drop(made);
    let path = folder.path().join("store.sqlite3");
    let found = Store::open(&path).unwrap();
    assert!(is_durable(&found.connection));
    drop(found);
    Store::set_aside(&path).unwrap();
    let rebuilt = Store::open(&path).unwrap();
    assert!(is_durable(&rebuilt.connection));
}

#[test]
fn a_full_disk_loses_nothing_that_was_stored() {
    let (folder, mut store) = store();
    let mut document = AutoCommit::new().with_actor(ActorId::random());
    commit(&mut store, edit(&mut document, None, "small"));
    let heads = document.get_heads();
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(())).unwrap();

    let large = edit(&mut document, None, &"large ".repeat(20_000));
    let batch = [Write::Document(large)];
    for _ in 0..3 {
        let error = store.commit(&batch).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(error.is_transient());
        assert!(error.to_string().contains(store.path().to_str().unwrap()), "{error}");
        assert_eq!(loaded(&store), heads);
    }
    // A small write still fits. Once there is room again, the large one is taken.
    store.remote("https://a.example", "1").unwrap();
    store.connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
    store.commit(&batch).unwrap();
    drop(store);
    let store = Store::open(&folder.path().join("store.sqlite3")).unwrap();
    assert_eq!(loaded(&store), document.get_heads());
}

#[test]
fn compaction_leaves_what_arrived_after_it_had_read() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let id = DocumentId::new("a");
    let mut document = AutoCommit::new().with_actor(ActorId::random());
    for text in ["one", "two", "three"] {
        commit(&mut store, edit(&mut document, Some(remote), text));
    }
    let snapshot = store.make_snapshot("tasks", &id, remote).unwrap().unwrap();
    let arrived = edit(&mut document, None, "four");
    commit(&mut store, arrived.clone());
    assert!(store.replace(&snapshot).unwrap());

    let chunks = store.chunks("tasks", &id).unwrap();
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[0].kind, ChunkKind::Snapshot);
    assert_eq!((chunks[1].hash, chunks[1].remote), (arrived.chunks[0].hash, None));
    assert_eq!(loaded(&store), document.get_heads());
    let stored: i64 = store.connection.query_row("SELECT chunks FROM document", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, 2);
}

#[test]
fn compaction_does_nothing_when_a_row_it_read_has_changed() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let other = store.remote("https://a.example", "2").unwrap();
    let id = DocumentId::new("a");
    let mut document = AutoCommit::new().with_actor(ActorId::random());
    let first = edit(&mut document, Some(remote), "one");
    commit(&mut store, first.clone());
    commit(&mut store, edit(&mut document, Some(remote), "two"));

    let snapshot = store.make_snapshot("tasks", &id, remote).unwrap().unwrap();
    let changes = vec![first.chunks[0].hash];
    let sent =
        |remote| Write::Sent { remote, collection: "tasks".to_owned(), id: id.clone(), changes: changes.clone() };
    store.commit(&[sent(other)]).unwrap();
    assert!(!store.replace(&snapshot).unwrap());
    assert_eq!(store.chunks("tasks", &id).unwrap().len(), 2);

    store.commit(&[sent(remote)]).unwrap();
    assert!(store.replace(&snapshot).unwrap());
    // The rows are already replaced.
    assert!(!store.replace(&snapshot).unwrap());
    assert_eq!(store.chunks("tasks", &id).unwrap().len(), 1);
    assert_eq!(loaded(&store), document.get_heads());
}

#[test]
fn frequent_queries_are_answered_by_an_index_alone() {
    let (_folder, store) = store();
    let plan = |sql: &str| -> String {
        let mut statement = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = statement.query_map([1, 1], |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    };
    let unsent = plan(BY_HOLDER);
    assert_eq!(unsent, "SEARCH chunk USING COVERING INDEX chunk_holder (holder=? AND collection=?)");
    let long = plan(&long_and_held());
    assert!(long.contains("SEARCH document USING INDEX document_long"), "{long}");
    assert!(!long.contains("TEMP B-TREE"), "{long}");
}

#[test]
fn the_schema_has_the_numbers_of_the_limits() {
    let (_folder, store) = store();
    let schema: String =
        store.connection.query_row("SELECT group_concat(sql) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert!(schema.contains(&format!("WHERE chunks >= {COMPACT_CHUNKS}")));
    assert!(schema.contains(&format!("BETWEEN 1 AND {DOCUMENT_ID_BYTES}")));
}

#[test]
fn a_store_with_changes_that_cannot_be_read_is_not_adopted_and_never_deleted() {
    let (folder, mut from) = store();
    let mut document = AutoCommit::new().with_actor(ActorId::random());
    commit(&mut from, edit(&mut document, None, "mine"));
    from.connection.execute("UPDATE chunk SET bytes = zeroblob(length(bytes))", []).unwrap();
    drop(from);
    let (from, to) = (folder.path().join("store.sqlite3"), folder.path().join("store.sqlite3.users/a.sqlite3"));
    let error = Store::adopt(&from, &to).unwrap_err();
    assert!(matches!(error, StoreError::DamagedDocument { .. }), "{error}");
    // It was damaged after it had been given to the other one.
    let adopted = sqlite::beside(&to, ".adopted");
    fs::rename(&from, &adopted).unwrap();
    drop(Store::open(&to).unwrap());
    assert!(!adopted.exists() && sqlite::beside(&to, ".damaged-1").exists());
}

#[test]
fn a_store_is_not_adopted_without_its_log() {
    let (folder, mut from) = store();
    let path = folder.path().join("store.sqlite3");
    let mut document = AutoCommit::new().with_actor(ActorId::random());
    // Another program reads the file, so closing it cannot move the log into it.
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM chunk;").unwrap();
    commit(&mut from, edit(&mut document, None, "mine"));
    drop(from);
    let to = folder.path().join("store.sqlite3.users/a.sqlite3");
    let error = Store::adopt(&path, &to).unwrap_err();
    assert!(error.to_string().contains("its log"), "{error}");
    drop(reader);
    Store::adopt(&path, &to).unwrap();
    assert_eq!(loaded(&Store::open(&to).unwrap()), document.get_heads());
}

#[test]
fn a_store_that_was_about_to_be_replaced_is_not_deleted_with_its_edits() {
    let (folder, mut store) = store();
    let path = folder.path().join("store.sqlite3");
    commit(&mut store, edit(&mut AutoCommit::new().with_actor(ActorId::random()), None, "mine"));
    drop(store);
    fs::rename(&path, sqlite::beside(&path, ".rebuilt")).unwrap();
    assert!(matches!(Store::wipe(&path, false), Err(StoreError::Unsent { edits: 1, .. })));
    assert_eq!(Store::wipe(&path, true).unwrap(), 1);
}

#[test]
fn a_value_computed_anew_shows_nothing_of_a_document_that_has_not_arrived_whole() {
    let (_folder, mut store) = store();
    let value = format::to_value(&std::collections::BTreeMap::from([("text", "x")])).unwrap();
    let mut changes = format::first_changes("a", &value).unwrap();
    let last = changes.pop().expect("it sets the id");
    let mut document = AutoCommit::new();
    for (place, is_whole) in changes.into_iter().map(|place| (place, false)).chain([(last, true)]) {
        document.apply_changes([place.change.clone()]).unwrap();
        let chunk = StoredChunk {
            hash: place.change.hash(),
            kind: ChunkKind::Change,
            bytes: place.change.raw_bytes().into(),
            remote: None,
            fields: Vec::new(),
        };
        let (collection, id) = ("tasks".to_owned(), DocumentId::new("a"));
        let (heads, value) = (document.get_heads(), format::Value::Null);
        commit(&mut store, DocumentWrite { collection, id, chunks: vec![chunk], heads, value });
        store.connection.execute("UPDATE document SET value_heads = NULL", []).unwrap();
        let found = store.documents("tasks", None, 1).unwrap().remove(0);
        assert_eq!(found.value.get(format::ID).is_some(), is_whole);
        assert_eq!(found.value == format::Value::Null, !is_whole);
    }
}
