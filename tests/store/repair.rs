use std::path::Path;

use bevy_convex_replicate::{
    DocumentId,
    store::{StoreError, Write},
};
use rusqlite::Connection;

use crate::author::{Author, commit, open, store};

/// A statement that a person could run in the sqlite3 shell.
fn shell(folder: &tempfile::TempDir, sql: &str) {
    let path: &Path = folder.path();
    Connection::open(path.join("store.sqlite3")).unwrap().execute_batch(sql).unwrap();
}

fn stale(folder: &tempfile::TempDir) -> i64 {
    Connection::open(folder.path().join("store.sqlite3"))
        .unwrap()
        .query_row("SELECT count(*) FROM document WHERE value_heads IS NULL", [], |row| row.get(0))
        .unwrap()
}

fn rows(folder: &tempfile::TempDir, id: &DocumentId) -> i64 {
    Connection::open(folder.path().join("store.sqlite3"))
        .unwrap()
        .query_row(
            "SELECT count(*) FROM chunk JOIN document ON document = document.id WHERE name = ?1",
            [id.as_str()],
            |row| row.get(0),
        )
        .unwrap()
}

#[test]
fn a_cached_value_that_does_not_match_its_heads_is_computed_again() {
    for damage in [
        "UPDATE document SET value_heads = NULL",
        "UPDATE document SET value_heads = zeroblob(32), value = 'null'",
        "UPDATE document SET value = '{'",
        // One letter is changed, and the value is still valid JSON.
        "UPDATE document SET value = replace(value, '1', '3')",
        "UPDATE document SET heads = zeroblob(32)",
        "UPDATE document SET value = CAST(x'ff' AS TEXT)",
    ] {
        let (folder, mut store) = store();
        let remote = store.remote("https://a.example", "1").unwrap();
        let mut authors: Vec<Author> = ["a", "b", "c"].iter().map(|name| Author::new("tasks", name)).collect();
        for author in &mut authors {
            commit(&mut store, &author.edit("title", 1));
            commit(&mut store, &author.receive(remote, "done", 2));
        }
        drop(store);
        shell(&folder, damage);
        let store = open(&folder);
        // The first reader repairs it.
        let unsent = store.unsent_chunks("tasks", &authors[1].id, Some(remote)).unwrap();
        assert_eq!(unsent.heads, authors[1].document.get_heads());
        let documents = store.documents("tasks", None, 10).unwrap();
        assert_eq!(documents.len(), 3);
        for (document, author) in documents.iter().zip(&mut authors) {
            assert_eq!(document.heads, author.document.get_heads());
            author.assert_stored(&store);
        }
        assert_eq!(stale(&folder), 0);
        assert!(store.take_damaged().is_empty());
    }
}

#[test]
fn an_unreadable_document_does_not_stop_others_from_being_read() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut authors: Vec<Author> = ["a", "b", "c", "d", "e"].iter().map(|name| Author::new("tasks", name)).collect();
    let batch: Vec<Write> = authors
        .iter_mut()
        .flat_map(|author| [author.receive(remote, "title", 1), author.receive(remote, "title", 2)])
        .map(Write::Document)
        .collect();
    store.commit(&batch).unwrap();
    drop(store);
    shell(
        &folder,
        "UPDATE document SET value_heads = NULL WHERE name IN ('a', 'c');
         UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE document = (SELECT id FROM document WHERE name = 'a');
         DELETE FROM chunk WHERE id = (SELECT min(chunk.id) FROM chunk JOIN document ON document = document.id WHERE name = 'c');
         UPDATE document SET value_heads = NULL WHERE name = 'e';
         DELETE FROM chunk WHERE document = (SELECT id FROM document WHERE name = 'e');",
    );
    let mut store = open(&folder);
    for limit in [1, 2, 3, 10] {
        let documents = store.documents("tasks", None, limit).unwrap();
        let found: Vec<_> = documents.iter().map(|document| document.id.as_str()).collect();
        assert_eq!(found, ["b", "d"][..limit.min(2)]);
        let damaged = store.take_damaged();
        let reported: Vec<_> = damaged.iter().map(ToString::to_string).collect();
        assert!(reported[0].contains("tasks/a"), "{reported:?}");
        if limit > 1 {
            assert!(reported[1].contains("tasks/c"), "{reported:?}");
        }
        if limit > 2 {
            assert!(reported[2].contains("tasks/e"), "{reported:?}");
            assert_eq!(damaged.len(), 3);
        }
        assert!(damaged.iter().all(|error| !error.is_transient()));
    }
    for name in [0, 2, 4] {
        let id = authors[name].id.clone();
        let error = store.unsent_chunks("tasks", &id, None).unwrap_err();
        assert!(matches!(error, StoreError::DamagedDocument { .. }), "{error}");
        // The damaged rows are not changed.
        let before = rows(&folder, &id);
        store.compact("tasks", &id, remote).unwrap_or(false);
        assert_eq!(rows(&folder, &id), before);
    }
    authors[1].assert_stored(&store);
    authors[3].assert_stored(&store);
}

/// The SQL block of `docs/store.md` that contains `part`.
fn documented(part: &str) -> &'static str {
    include_str!("../../docs/store.md")
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|sql| sql.contains(part))
        .unwrap()
}

#[test]
fn the_documented_queries_of_a_store_give_what_the_documentation_says() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let (mut a, mut b) = (Author::new("tasks", "a"), Author::new("tasks", "b"));
    let checkpoint = Write::Checkpoint { remote, collection: "tasks".into(), checkpoint: Default::default() };
    let batch = [Write::Document(a.edit("title", 1)), Write::Document(b.receive(remote, "title", 1)), checkpoint];
    store.commit(&batch).unwrap();
    let shell = Connection::open(folder.path().join("store.sqlite3")).unwrap();
    let statements: Vec<&str> = documented("Changes that have not been sent")
        .split_inclusive(';')
        .filter(|sql| !sql.trim().is_empty())
        .collect();
    let rows: Vec<usize> =
        statements.iter().map(|sql| shell.prepare(sql).unwrap().query_map([], |_| Ok(())).unwrap().count()).collect();
    // Two documents, one unsent change, one checkpoint, and two documents by size.
    assert_eq!(rows, [2, 1, 1, 2]);
}

/// Does what `.dump` and `sed` do to an undamaged store: copies its tables and rows and nothing else.
#[test]
fn rows_put_into_a_new_file_become_a_store_as_documented() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut authors: Vec<Author> = ["a", "b", "c"].iter().map(|name| Author::new("tasks", name)).collect();
    for author in &mut authors {
        commit(&mut store, &author.receive(remote, "title", 1));
    }
    drop(store);
    let path = folder.path().join("store.sqlite3");
    let old = folder.path().join("old.sqlite3");
    std::fs::rename(&path, &old).unwrap();
    let new = Connection::open(&path).unwrap();
    new.execute("ATTACH ?1 AS old", [old.to_str().unwrap()]).unwrap();
    let schema: Vec<String> = new
        .prepare("SELECT sql FROM old.sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for sql in schema {
        new.execute_batch(&sql).unwrap();
    }
    for table in ["remote", "collection", "document", "chunk", "checkpoint"] {
        new.execute_batch(&format!("INSERT INTO {table} SELECT * FROM old.{table}")).unwrap();
    }
    // This damages the page that contains these rows.
    new.execute_batch(
        "PRAGMA foreign_keys = OFF;
         DELETE FROM document WHERE name = 'a';
         DELETE FROM chunk WHERE document = (SELECT id FROM document WHERE name = 'b');",
    )
    .unwrap();
    drop(new);
    shell(&folder, documented("PRAGMA application_id"));
    let store = open(&folder);
    let documents = store.documents("tasks", None, 10).unwrap();
    assert_eq!(documents.len(), 1);
    assert!(store.take_damaged().is_empty());
    authors[2].assert_stored(&store);
}

#[test]
fn the_repairs_of_the_documentation_work() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut authors: Vec<Author> = ["some-id", "b"].iter().map(|name| Author::new("tasks", name)).collect();
    for author in &mut authors {
        commit(&mut store, &author.receive(remote, "title", 1));
    }
    for collection in ["tasks", "notes"] {
        let checkpoint = Write::Checkpoint { remote, collection: collection.into(), checkpoint: Default::default() };
        store.commit(&[checkpoint]).unwrap();
    }
    drop(store);
    shell(&folder, documented("SET value_heads = NULL"));
    assert_eq!(stale(&folder), 2);
    shell(&folder, documented("DELETE FROM document"));
    let store = open(&folder);
    assert!(store.document("tasks", &authors[0].id).unwrap().is_none());
    assert!(store.chunks("tasks", &authors[0].id).unwrap().is_empty());
    assert_eq!(store.checkpoint(remote, "tasks").unwrap(), None);
    assert_eq!(store.checkpoint(remote, "notes").unwrap(), Some(Default::default()));
    authors[1].assert_stored(&store);
}
