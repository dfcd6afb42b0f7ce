//! A damaged store is set aside, and a new one is made from the readable data.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bevy_convex_replicate::store::{SetAside, Store, StoreError, Write};
use rusqlite::Connection;

use crate::author::{Author, commit, hashes, names, open, store};

const FILE: &str = "store.sqlite3";

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join(FILE)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn shell(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Sets a store aside, and asserts that its files are unchanged under their new names.
#[track_caller]
fn set_aside(path: &Path) -> SetAside {
    let before: Vec<_> = ["", "-wal"].iter().map(|part| fs::read(beside(path, part)).ok()).collect();
    let done = Store::set_aside(path).unwrap();
    let kept: Vec<_> = ["", "-wal"].iter().map(|part| fs::read(beside(&done.kept[0], part)).ok()).collect();
    assert!(kept == before, "the damaged files have been changed");
    assert!(!beside(path, ".new").exists() && !beside(path, ".rebuilt").exists());
    done
}

/// Authors of documents that a remote has, each with one edit that the remote does not have.
fn written(store: &mut Store, count: usize) -> Vec<Author> {
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut authors: Vec<Author> = (0..count).map(|n| Author::new("tasks", &format!("{n:03}"))).collect();
    let mut batch = Vec::new();
    for author in &mut authors {
        batch.push(Write::Document(author.receive(remote, "title", 1)));
        batch.push(Write::Document(author.edit("done", 2)));
    }
    batch.push(Write::Checkpoint { remote, collection: "tasks".into(), checkpoint: Default::default() });
    store.commit(&batch).unwrap();
    authors
}

#[test]
fn the_new_store_has_everything_of_an_undamaged_one_and_all_of_it_is_unsent() {
    let (folder, mut store) = store();
    let mut authors = written(&mut store, 20);
    let remote = store.last_remote("https://a.example").unwrap().unwrap();
    assert!(store.compact("tasks", &authors[3].id, remote).is_ok());
    drop(store);
    let done = set_aside(&file(&folder));
    assert_eq!(done.kept[0].file_name().unwrap(), "store.sqlite3.damaged-1");
    assert_eq!((done.documents, done.chunks), (20, 40));
    assert!(done.lost.is_empty(), "{done}");
    let store = open(&folder);
    for author in &mut authors {
        author.assert_stored(&store);
        let unsent = store.unsent_chunks("tasks", &author.id, None).unwrap();
        assert!(unsent.complete && unsent.whole);
        assert!(unsent.chunks.iter().all(|change| change.fields.is_none()));
    }
    assert_eq!(store.last_remote("https://a.example").unwrap(), None, "everything is pulled again");
    assert_eq!(store.unsent_count("tasks", None).unwrap(), 20);
}

#[test]
fn a_second_damaged_store_gets_the_next_name() {
    let (folder, store) = store();
    drop(store);
    for number in 1..=3 {
        let done = set_aside(&file(&folder));
        assert_eq!(done.kept, [beside(&file(&folder), &format!(".damaged-{number}"))]);
        drop(open(&folder));
    }
}

#[test]
fn commits_that_are_only_in_the_log_are_read_too() {
    let (folder, mut store) = store();
    let mut authors = written(&mut store, 5);
    // The state after a kill: the log was not copied into the file.
    let copy = tempfile::tempdir().unwrap();
    for part in ["", "-wal"] {
        fs::copy(beside(&file(&folder), part), beside(&file(&copy), part)).unwrap();
    }
    assert!(fs::metadata(beside(&file(&copy), "-wal")).unwrap().len() > 0);
    let done = set_aside(&file(&copy));
    assert_eq!((done.documents, done.chunks), (5, 10), "{done}");
    let rebuilt = open(&copy);
    authors.iter_mut().for_each(|author| author.assert_stored(&rebuilt));
}

#[test]
fn an_unreadable_page_loses_only_the_rows_on_it() {
    let (folder, mut store) = store();
    let mut authors = written(&mut store, 300);
    drop(store);
    let path = file(&folder);
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    let mut most_lost = 0;
    // The first page contains the schema, without which nothing can be read; see below.
    for page in 1..pages {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xa5);
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder);
        fs::write(&path, &damaged).unwrap();
        let refused = Store::open(&path).map(drop).unwrap_err();
        assert!(refused.is_damage(), "{refused}");
        assert!(refused.to_string().contains("rebuild_store"), "{refused}");
        let done = set_aside(&path);
        let store = open(&folder);
        let lost = 600 - done.chunks;
        most_lost = most_lost.max(lost);
        assert!(lost == 0 || !done.lost.is_empty(), "page {page}: {lost} changes are missing and no loss is reported");
        assert!(done.lost.iter().all(|lost| lost.to_string().contains("store.sqlite3.damaged-1")), "{done}");
        let documents = store.documents("tasks", None, 1_000).unwrap();
        assert!(store.take_damaged().is_empty(), "page {page}");
        for stored in documents {
            let author = authors.iter_mut().find(|author| author.id == stored.id).unwrap();
            let heads = author.document.get_heads();
            assert!(stored.heads == heads || done.chunks < 600, "page {page}: {} is another", stored.id);
        }
    }
    // An inner page of the table of changes, or the root of a small table, affects more than one page.
    assert!(most_lost > 0, "no damaged page lost a change");
    fs::write(&path, &whole).unwrap();
    Store::open(&path).unwrap();
}

#[test]
fn changes_that_depend_on_a_lost_one_stay_unsent_until_it_comes_back() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let (mut a, mut b) = (Author::new("tasks", "a"), Author::new("tasks", "b"));
    let sent = a.receive(remote, "title", 1);
    let unsent = a.edit("done", 2);
    for write in [sent.clone(), unsent.clone()] {
        commit(&mut store, &write);
    }
    commit(&mut store, &b.receive(remote, "title", 1));
    let more = b.edit("done", 2);
    commit(&mut store, &more);
    drop(store);
    let path = file(&folder);
    // Everything of `a` that was sent is damaged; nothing of `b` is.
    shell(&path, "UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE id = 1");
    let done = set_aside(&path);
    assert_eq!((done.documents, done.chunks, done.lost.len()), (2, 3, 2), "{done}");
    assert!(done.lost[0].to_string().contains("tasks/a"), "{done}");

    let mut store = open(&folder);
    // Nothing of the document can be shown. This is not an error, because the missing change is on its way.
    let documents = store.documents("tasks", None, 10).unwrap();
    assert_eq!(documents.len(), 2);
    assert!(documents[0].heads.is_empty() && !documents[1].heads.is_empty());
    assert!(store.take_damaged().is_empty());
    assert_eq!(names(&store.unsent("tasks", None, 10).unwrap()), ["a", "b"]);
    let offered = store.unsent_chunks("tasks", &a.id, None).unwrap();
    assert_eq!(offered.chunks.iter().map(|change| change.hash).collect::<Vec<_>>(), hashes(&unsent));
    assert!(!offered.complete);
    b.assert_stored(&store);
    // The deployment sends the lost change.
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut back = a.write(sent.chunks);
    back.chunks[0].remote = Some(remote);
    commit(&mut store, &back);
    a.assert_stored(&store);
    assert!(store.unsent_chunks("tasks", &a.id, Some(remote)).unwrap().complete);
}

#[test]
fn a_change_whose_row_names_another_document_stays_with_its_document() {
    let (folder, mut store) = store();
    let mut authors = written(&mut store, 4);
    drop(store);
    let path = file(&folder);
    let mut bytes = fs::read(&path).unwrap();
    // A row of a change begins with its header: the header's length, then the types of the columns. Here these are `id`
    // (NULL), `document` (one byte), `collection` (the constant 1) and `hash` (32 bytes). The first value after the
    // header is the document's number.
    let owner = (0..bytes.len() - 100)
        .filter(|at| bytes[at + 1..at + 5] == [0, 1, 9, 76])
        .map(|at| at + usize::from(bytes[at]))
        .find(|at| bytes[*at] == 2)
        .expect("a change of the second document");
    bytes[owner] ^= 1;
    fs::write(&path, bytes).unwrap();
    // Two indices contradict the row.
    let done = set_aside(&path);
    assert_eq!((done.chunks, done.lost.len()), (8, 0), "{done}");
    let store = open(&folder);
    authors.iter_mut().for_each(|author| author.assert_stored(&store));
}

#[test]
fn an_interrupted_rebuild_is_completed_at_the_next_opening() {
    for (moved, log_moved) in [(false, false), (true, false), (true, true)] {
        let (folder, mut store) = store();
        let mut authors = written(&mut store, 3);
        drop(store);
        let path = file(&folder);
        fs::write(beside(&path, "-wal"), "log").unwrap();
        let old = fs::read(&path).unwrap();
        // A complete new store, as it is before it is renamed.
        fs::copy(&path, beside(&path, ".rebuilt")).unwrap();
        if moved {
            fs::write(&path, "damaged").unwrap();
            fs::rename(&path, beside(&path, ".damaged-1")).unwrap();
        }
        if log_moved {
            fs::rename(beside(&path, "-wal"), beside(&path, ".damaged-1-wal")).unwrap();
        }
        let store = open(&folder);
        authors.iter_mut().for_each(|author| author.assert_stored(&store));
        assert!(!beside(&path, ".rebuilt").exists());
        if moved {
            assert_eq!(fs::read(beside(&path, ".damaged-1")).unwrap(), b"damaged");
            assert_eq!(fs::read(beside(&path, ".damaged-1-wal")).unwrap(), b"log");
            drop(store);
            assert!(fs::read(&path).unwrap() == old);
        }
    }
}

#[test]
fn a_store_that_is_in_use_or_newer_is_not_set_aside() {
    let (folder, store) = store();
    let path = file(&folder);
    let error = Store::set_aside(&path).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[60..64].copy_from_slice(&7_u32.to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = Store::set_aside(&path).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    assert!(fs::read(&path).unwrap() == bytes);
    let error = Store::set_aside(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::IsAFolder { .. }), "{error}");
}

#[test]
fn a_file_that_is_no_longer_a_store_is_kept_and_not_read() {
    for content in [&b"x"[..], b"SQLite format 3\0", &[0; 8192]] {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder);
        fs::write(&path, content).unwrap();
        let done = set_aside(&path);
        assert_eq!((done.documents, done.chunks, done.lost.len()), (0, 0, 1), "{done}");
        assert_eq!(fs::read(&done.kept[0]).unwrap(), content);
        assert!(open(&folder).documents("tasks", None, 1).unwrap().is_empty());
    }
    let folder = tempfile::tempdir().unwrap();
    let done = Store::set_aside(&file(&folder)).unwrap();
    assert!(done.kept.is_empty() && done.lost.is_empty());
    drop(open(&folder));
}

#[test]
fn an_open_store_can_request_its_rebuild() {
    let (folder, store) = store();
    let path = file(&folder);
    assert!(!Store::wants_rebuild(&path));
    store.ask_for_rebuild().unwrap();
    assert!(Store::wants_rebuild(&path));
    drop(store);
    set_aside(&path);
    assert!(!Store::wants_rebuild(&path));
}
