use std::{
    fs,
    path::{Path, PathBuf},
};

use bevy_convex_replicate::{
    replica::{Checkpoint, Position},
    store::{Store, StoreError, Write},
};
use rusqlite::{Connection, config::DbConfig};

use crate::author::{Author, commit, open};

/// A closed store with several pages.
fn filled() -> (tempfile::TempDir, PathBuf, Vec<Author>) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let mut authors: Vec<Author> = (0..100).map(|number| Author::new("tasks", &format!("{number:03}"))).collect();
    let batch: Vec<Write> = authors.iter_mut().map(|author| Write::Document(author.edit("title", 1))).collect();
    store.commit(&batch).unwrap();
    let path = store.path().to_owned();
    (folder, path, authors)
}

/// Opens a file that must be refused, and asserts that the error names the file and that the file is not changed.
#[track_caller]
fn refused(path: &Path) -> StoreError {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let before = (fs::read(path).ok(), fs::read(&log).unwrap_or_default());
    let error = Store::open(path).map(drop).expect_err("it must be refused");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert!(!error.is_transient(), "{error}");
    assert!(before == (fs::read(path).ok(), fs::read(&log).unwrap_or_default()), "the file has been changed: {error}");
    error
}

#[track_caller]
fn refused_as_damaged(path: &Path) {
    let error = refused(path);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn opening_a_store_makes_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some/more/store.sqlite3");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.path(), path);
    assert!(path.is_file());
}

#[test]
fn a_file_name_that_looks_like_an_sqlite_uri_is_a_file_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file:a?mode=memory%20#ü.sqlite3");
    drop(Store::open(&path).unwrap());
    assert!(path.is_file());
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store.sqlite3"), "").unwrap();
    let mut store = open(&folder);
    let mut a = Author::new("tasks", "a");
    commit(&mut store, &a.edit("title", 1));
    drop(store);
    a.assert_stored(&open(&folder));
}

#[test]
fn an_incomplete_new_store_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["store.sqlite3.new", "store.sqlite3.new-journal"] {
        fs::write(folder.path().join(name), "half").unwrap();
    }
    drop(open(&folder));
    assert!(!folder.path().join("store.sqlite3.new").exists());
}

#[test]
fn a_file_that_is_not_a_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite3");
    let noise: Vec<u8> = (0..10_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for content in [&b"x"[..], b"Dear diary,\n", &noise] {
        fs::write(&path, content).unwrap();
        let error = refused(&path);
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE bookmark (url TEXT)").unwrap();
    drop(other);
    let error = refused(&path);
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_newer_format_is_refused() {
    let (_folder, path, _) = filled();
    let mut bytes = fs::read(&path).unwrap();
    bytes[60..64].copy_from_slice(&7_u32.to_be_bytes());
    fs::write(&path, bytes).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::Newer { found: 7, supported: 3, .. }), "{error}");
}

#[test]
fn a_newer_format_recorded_only_in_the_log_is_refused() {
    let (_folder, path, _) = filled();
    let newer = Connection::open(&path).unwrap();
    newer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    newer.pragma_update(None, "user_version", 4).unwrap();
    drop(newer);
    assert_eq!(fs::read(&path).unwrap()[60..64], [0, 0, 0, 3]);
    let error = refused(&path);
    assert!(matches!(error, StoreError::Newer { found: 4, .. }), "{error}");
}

#[test]
fn a_store_of_format_1_is_upgraded_and_an_older_program_then_refuses_it() {
    let (_folder, path, mut authors) = filled();
    let mut store = Store::open(&path).unwrap();
    let remote = store.remote("https://one.example", "epoch").unwrap();
    let far = Checkpoint { position: Position { ts: 7, ordinal: 1 }, pruned: Some(3) };
    store.commit(&[Write::Checkpoint { remote, collection: "tasks".into(), checkpoint: far }]).unwrap();
    drop(store);
    let older = Connection::open(&path).unwrap();
    older
        .execute_batch("DROP TABLE refused; ALTER TABLE checkpoint DROP COLUMN pruned; PRAGMA user_version = 1")
        .unwrap();
    drop(older);

    // Version 1 did not store information about pruning.
    let expected = Some(far.position.into());
    for _ in 0..2 {
        let mut store = Store::open(&path).unwrap();
        assert_eq!(store.remote("https://one.example", "epoch").unwrap(), remote);
        assert_eq!(store.checkpoint(remote, "tasks").unwrap(), expected);
        authors.iter_mut().for_each(|author| author.assert_stored(&store));
    }
    assert_eq!(fs::read(&path).unwrap()[60..64], [0, 0, 0, 3], "a program that knows only format 1 refuses it");
    let mut store = Store::open(&path).unwrap();
    store.commit(&[Write::Checkpoint { remote, collection: "tasks".into(), checkpoint: far }]).unwrap();
    assert_eq!(store.checkpoint(remote, "tasks").unwrap(), Some(far));
}

#[test]
fn a_truncated_store_is_refused() {
    let (_folder, path, _) = filled();
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 10 * 4096);
    for length in [1, 15, 50, 99, 100, 4095, 4096, 5000, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        refused_as_damaged(&path);
    }
    fs::write(&path, &whole).unwrap();
    Store::open(&path).unwrap();
}

#[test]
fn a_store_with_a_damaged_page_is_refused() {
    let (_folder, path, mut authors) = filled();
    let whole = fs::read(&path).unwrap();
    // The first 100 bytes of the file are its header, which identifies it as a database.
    for start in (0..whole.len()).step_by(4096).map(|start| start.max(100)) {
        let mut damaged = whole.clone();
        damaged[start..start + 200].fill(0xa5);
        fs::write(&path, &damaged).unwrap();
        refused_as_damaged(&path);
    }
    fs::write(&path, &whole).unwrap();
    let store = Store::open(&path).unwrap();
    for author in &mut authors {
        author.assert_stored(&store);
    }
}

#[test]
fn a_store_without_its_tables_or_with_impossible_rows_is_refused() {
    for damage in [
        "DROP TABLE checkpoint",
        "ALTER TABLE chunk DROP COLUMN fields",
        "PRAGMA ignore_check_constraints = ON; UPDATE chunk SET kind = 5",
        "PRAGMA ignore_check_constraints = ON; UPDATE document SET heads = x'00'",
        "PRAGMA user_version = 0",
    ] {
        let (_folder, path, _) = filled();
        let shell = Connection::open(&path).unwrap();
        shell.execute_batch(damage).unwrap();
        drop(shell);
        refused_as_damaged(&path);
    }
}

// Before this was checked, a flipped bit in the text of the schema made writing fail "in an unexpected way".
#[test]
fn a_schema_that_does_not_fit_together_is_damage() {
    let (_folder, path, mut authors) = filled();
    let shell = Connection::open(&path).unwrap();
    shell
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'collection (id)', 'collection (jd)') WHERE name = 'chunk';",
        )
        .unwrap();
    drop(shell);
    let mut store = Store::open(&path).unwrap();
    let error = store.commit(&[Write::Document(authors[0].edit("title", 2))]).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn a_log_without_its_store_is_not_deleted() {
    let (_folder, path, _) = filled();
    for suffix in ["-wal", "-journal"] {
        let log = PathBuf::from(format!("{}{suffix}", path.display()));
        fs::write(&log, "changes").unwrap();
        fs::write(&path, "").unwrap();
        refused_as_damaged(&path);
        fs::remove_file(&path).unwrap();
        refused_as_damaged(&path);
        assert_eq!(fs::read(&log).unwrap(), b"changes");
        fs::remove_file(&log).unwrap();
    }
}

#[test]
fn a_folder_is_refused_as_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(folder.path());
    assert!(matches!(error, StoreError::IsAFolder { .. }), "{error}");
}

#[test]
fn the_error_names_a_folder_that_cannot_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for below in ["store.sqlite3", "some/more/store.sqlite3"] {
        let error = Store::open(&file.join(below)).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Folder { .. }), "{error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        assert!(!error.is_transient());
    }
}

#[test]
fn a_refused_store_is_not_locked() {
    let (_folder, path, _) = filled();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "no store").unwrap();
    refused(&path);
    fs::write(&path, whole).unwrap();
    Store::open(&path).unwrap();
}
