//! Damaged stores of an app.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use bevy_convex_replicate::{
    DocumentId,
    format::{self, Value},
    store::{Store, StoreError, Write},
};

use crate::{
    author::{Author, open},
    harm::{Files, each},
};

/// The content of a store and every earlier content, because lost commits may make the store older.
struct Truth {
    values: BTreeMap<DocumentId, Vec<Value>>,
    hashes: HashSet<automerge::ChangeHash>,
    chunks: usize,
}

impl Truth {
    fn note(&mut self, author: &Author) {
        self.values.entry(author.id.clone()).or_default().push(format::read(&author.document));
    }
}

/// A store with documents that were sent, compacted and edited again, either closed or in the state after a kill.
fn filled(killed: bool) -> (Files, Truth) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut authors: Vec<Author> = (0..40).map(|n| Author::new("tasks", &format!("task-{n:03}"))).collect();
    let mut truth = Truth { values: BTreeMap::new(), hashes: HashSet::new(), chunks: 0 };
    for round in 0..6 {
        let mut batch = Vec::new();
        for author in &mut authors {
            let write = match round {
                0..4 => author.receive(remote, &format!("field {round}"), round),
                _ => author.edit("edited here", round),
            };
            truth.hashes.extend(write.chunks.iter().map(|chunk| chunk.hash));
            truth.note(author);
            batch.push(Write::Document(write));
        }
        store.commit(&batch).unwrap();
        if round == 3 {
            for author in authors.iter().step_by(3) {
                assert!(store.compact("tasks", &author.id, remote).unwrap());
                let chunks = store.chunks("tasks", &author.id).unwrap();
                truth.hashes.extend(chunks.iter().map(|chunk| chunk.hash));
            }
        }
    }
    truth.chunks = authors.iter().map(|author| store.chunks("tasks", &author.id).unwrap().len()).sum();
    let path = store.path().to_owned();
    if !killed {
        drop(store);
    }
    let files = Files::read(&path);
    assert_eq!(files.log.as_ref().is_some_and(|log| !log.is_empty()), killed);
    (files, truth)
}

/// Reads everything and makes an edit. Every result must be true or an error that names the file.
#[track_caller]
fn use_it(harm: &str, store: &mut Store, truth: &Truth) -> Vec<StoreError> {
    let mut errors = Vec::new();
    match store.documents("tasks", None, 1_000) {
        Ok(documents) => {
            for document in documents {
                // No checksum covers the name of a document.
                let known = truth.values.get(&document.id);
                let all = || truth.values.values().flatten();
                let is_true = match known {
                    Some(values) => values.contains(&document.value),
                    None => all().any(|value| *value == document.value),
                };
                assert!(is_true, "{harm}: {} never was {:?}", document.id, document.value);
            }
        }
        Err(error) => errors.push(error),
    }
    errors.extend(store.take_damaged());
    for id in truth.values.keys() {
        match store.chunks("tasks", id) {
            Ok(chunks) => assert!(chunks.iter().all(|chunk| truth.hashes.contains(&chunk.hash)), "{harm}: {id}"),
            Err(error) => errors.push(error),
        }
        match store.unsent_chunks("tasks", id, None) {
            Ok(unsent) => {
                assert!(unsent.chunks.iter().all(|change| truth.hashes.contains(&change.hash)), "{harm}: {id}");
            }
            Err(error) => errors.push(error),
        }
    }
    errors.extend(store.unsent("tasks", None, usize::MAX).err());
    errors.extend(store.last_remote("https://a.example").err());
    let mut author = Author::new("tasks", "new");
    let write = author.edit("title", 1);
    match store.commit(&[Write::Document(write)]) {
        Ok(()) => author.assert_stored(store),
        Err(error) => errors.push(error),
    }
    errors
}

#[track_caller]
fn is_documented(harm: &str, path: &Path, error: &StoreError) {
    assert!(!matches!(error, StoreError::Unexpected { .. }), "{harm}: {error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{harm}: {error}");
}

fn open_damaged(name: &str, killed: bool) {
    let (whole, truth) = filled(killed);
    let (mut refused, mut reported, mut rebuilt_whole) = (0, 0, 0);
    each(name, &whole, |harm, damaged, _| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite3");
        damaged.write(&path);
        match Store::open(&path) {
            Err(error) => {
                refused += 1;
                is_documented(harm, &path, &error);
                assert!(damaged.are_at(&path), "{harm}: the files were changed by {error}");
            }
            Ok(mut store) => {
                let errors = use_it(harm, &mut store, &truth);
                reported += usize::from(!errors.is_empty());
                errors.iter().for_each(|error| is_documented(harm, &path, error));
            }
        }
        // After any damage the store can be set aside, and the new store is complete.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite3");
        damaged.write(&path);
        let done = match Store::set_aside(&path) {
            Ok(done) => done,
            Err(StoreError::Newer { .. }) => return,
            Err(error) => panic!("{harm}: {error}"),
        };
        if let Some(kept) = done.kept.first().filter(|_| damaged.main.is_some()) {
            assert!(damaged.are_at(kept), "{harm}: setting aside has changed the files");
        }
        rebuilt_whole += usize::from(done.chunks >= truth.chunks);
        let is_reported = done.chunks >= truth.chunks || !done.lost.is_empty();
        let log_is_short = *damaged.log.as_deref().unwrap_or_default() != *whole.log.as_deref().unwrap_or_default();
        let is_gone = damaged.main.as_ref().is_none_or(Vec::is_empty);
        assert!(is_reported || log_is_short || is_gone, "{harm}: {done}");
        let mut store = Store::open(&path).unwrap_or_else(|error| panic!("{harm}: {error}"));
        let documents = store.documents("tasks", None, 1_000).unwrap();
        assert!(documents.len() <= done.documents);
        assert!(store.take_damaged().is_empty(), "{harm}");
        for id in store.unsent("tasks", None, usize::MAX).unwrap() {
            let offered = store.unsent_chunks("tasks", &id, None).unwrap();
            assert!(offered.chunks.iter().all(|change| truth.hashes.contains(&change.hash)), "{harm}: {id}");
        }
        let mut author = Author::new("tasks", "new");
        let write = author.edit("title", 1);
        store.commit(&[Write::Document(write)]).unwrap();
        author.assert_stored(&store);
    });
    println!("{name}: refused={refused} opened with reported errors={reported} rebuilt without loss={rebuilt_whole}");
    assert!(refused > 0 || whole.log.is_some());
}

#[test]
fn a_damaged_store_is_refused_or_returns_no_false_data() {
    open_damaged("closed store", false);
}

#[test]
fn a_damaged_store_of_a_killed_app_is_refused_or_returns_no_false_data() {
    open_damaged("killed app's store", true);
}

#[test]
fn a_flipped_bit_in_any_change_is_detected_when_the_document_is_read() {
    let (whole, truth) = filled(false);
    let main = whole.main.clone().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite3");
    whole.write(&path);
    let mut changes = Vec::new();
    let store = Store::open(&path).unwrap();
    for id in truth.values.keys() {
        changes.extend(store.chunks("tasks", id).unwrap().into_iter().map(|chunk| (id.clone(), chunk.bytes)));
    }
    drop(store);
    let mut tried = 0;
    for (number, (id, bytes)) in changes.iter().enumerate().step_by(5) {
        // The offset of the change in the file, if all of it is on one page.
        let places: Vec<usize> = (0..main.len()).filter(|at| main[*at..].starts_with(bytes)).collect();
        // There may be a second copy in a page that is no longer used.
        let [start] = places[..] else { continue };
        tried += 1;
        let mut damaged = main.clone();
        damaged[start + number % bytes.len()] ^= 1 << (number % 8);
        std::fs::write(&path, &damaged).unwrap();
        let store = Store::open(&path).expect("SQLite does not notice");
        for error in [store.chunks("tasks", id).unwrap_err(), store.unsent_chunks("tasks", id, None).unwrap_err()] {
            assert!(matches!(&error, StoreError::DamagedDocument { document, .. } if document == id), "{error}");
        }
        // The last value is stored separately and can still be shown.
        assert!(store.document("tasks", id).unwrap().is_some());
    }
    assert!(tried > 10, "only {tried} changes were found in the file");
}

#[test]
fn a_damaged_index_of_the_log_loses_nothing() {
    let (whole, truth) = filled(true);
    for shm in [vec![], vec![0; 32_768], vec![0xa5; 32_768], vec![0xff; 100]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite3");
        whole.write(&path);
        std::fs::write(crate::harm::beside(&path, "-shm"), shm).unwrap();
        let mut store = Store::open(&path).unwrap();
        let documents = store.documents("tasks", None, 1_000).unwrap();
        assert_eq!(documents.len(), truth.values.len());
        assert!(documents.iter().all(|document| truth.values[&document.id].last() == Some(&document.value)));
        assert!(use_it("shm", &mut store, &truth).is_empty());
    }
}

/// Root ignores file permissions, so a folder in the place of the lock file prevents writing.
#[test]
fn a_folder_that_cannot_be_written_to_is_reported_and_nothing_is_changed() {
    let (whole, _) = filled(false);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite3");
    whole.write(&path);
    std::fs::create_dir(crate::harm::beside(&path, ".lock")).unwrap();
    for error in [Store::open(&path).map(drop).unwrap_err(), Store::set_aside(&path).map(drop).unwrap_err()] {
        assert!(matches!(error, StoreError::Io { .. } | StoreError::ReadOnly { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert!(whole.are_at(&path));
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_or_file_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let (whole, _) = filled(false);
    for read_only_file in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite3");
        whole.write(&path);
        let target = if read_only_file { path.clone() } else { folder.path().to_owned() };
        let mode = |mode| std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(if read_only_file { 0o444 } else { 0o555 });
        // File permissions do not stop root.
        let obeys = match std::fs::OpenOptions::new().append(true).create(true).open(match read_only_file {
            true => path.clone(),
            false => folder.path().join("probe"),
        }) {
            Ok(_) => false,
            Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        };
        let result = Store::open(&path).map(drop);
        mode(0o755);
        if obeys {
            let error = result.unwrap_err();
            assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
            assert!(whole.are_at(&path));
        } else {
            result.unwrap();
        }
    }
}
