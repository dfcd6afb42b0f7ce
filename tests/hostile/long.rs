//! The size of a document after a long time of editing. `examples/soak` does this with 100,000 edits, and for hours.

use std::{path::Path, sync::Arc, time::Duration};

use automerge::{AutoCommit, Automerge, ROOT, ScalarValue, transaction::Transactable};
use bevy_convex_replicate::{
    DocumentId,
    backend::{Backend, BackendConfig},
    format,
    limits::CHUNK_BYTES,
    store::{ChunkKind, DocumentWrite, Store, StoredChunk, Write},
};
use rusqlite::Connection;
use sha2::Digest as _;

use crate::{
    chunks, memory, panics,
    peer::{self, DEADLINE, Peer},
};

/// Enough changes for many compactions, and few enough for every run.
const EDITS: usize = 4_000;
/// The largest ratio of stored bytes to the bytes of the document's snapshot.
const MOST: u64 = 20;

/// A document with this many changes, and the bytes of its snapshot.
fn edited() -> (AutoCommit, u64) {
    let mut document = AutoCommit::new().with_actor(chunks::actor(8));
    document.put(ROOT, "count", ScalarValue::counter(0)).unwrap();
    document.commit();
    for number in 1..EDITS {
        match number % 3 {
            0 => document.increment(ROOT, "count", 1).unwrap(),
            1 => document.put(ROOT, "number", number as i64).unwrap(),
            _ => document.put(ROOT, "done", number % 2 == 0).unwrap(),
        }
        document.commit();
    }
    let bytes = document.save().len() as u64;
    (document, bytes)
}

fn size(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [path.to_owned(), log.into()].iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum()
}

#[test]
fn a_log_stores_a_long_document_in_little_more_than_its_snapshot_and_reopens_completely() {
    let _alone = memory::alone();
    panics::watch();
    let folder = tempfile::tempdir().unwrap();
    let open = || Backend::start(BackendConfig::new().data(folder.path())).expect("the log opens");
    let backend = open();
    let (mut document, snapshot) = edited();
    peer::run(async {
        let mut peer = Peer::connect(&backend).await;
        for changes in chunks::changes(&mut document).chunks(500) {
            assert!(peer.push("tasks", None, "long", changes).await);
        }
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while backend.stats().rows > 129 {
            assert!(tokio::time::Instant::now() < deadline, "it is not compacted: {:?}", backend.stats());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    backend.stop();
    let path = folder.path().join("log.sqlite");
    let connection = Connection::open(&path).unwrap();
    let stored: i64 = connection
        .query_row("SELECT sum(length(bytes) + coalesce(length(covers), 0)) FROM chunk", [], |row| row.get(0))
        .unwrap();
    drop(connection);
    assert!((stored as u64) < MOST * snapshot, "{stored} bytes for a snapshot of {snapshot}");
    // It recognises every change that it ever accepted, by the content of the snapshot.
    let backend = open();
    assert_eq!(backend.stats().changes, EDITS);
    peer::run(async {
        let mut peer = Peer::connect(&backend).await;
        assert!(peer.push("tasks", None, "long", &chunks::changes(&mut document)[..10]).await, "a repeat is accepted");
        document.put(ROOT, "number", -1).unwrap();
        let next = chunks::changes(&mut document).pop().unwrap();
        assert!(peer.push("tasks", None, "long", &[next]).await, "and what follows");
    });
    assert_eq!(backend.stats().changes, EDITS + 1);
}

#[test]
fn a_log_with_a_snapshot_in_parts_can_be_opened_again() {
    let _alone = memory::alone();
    panics::watch();
    let folder = tempfile::tempdir().unwrap();
    let open = || Backend::start(BackendConfig::new().data(folder.path())).expect("the log opens");
    let backend = open();
    let mut document = AutoCommit::new().with_actor(chunks::actor(8));
    // Data that cannot be compressed, so that the snapshot takes several rows.
    let mut noise = [7_u8; 32];
    for number in 0..700_i64 {
        let bytes: Vec<u8> = (0..32)
            .flat_map(|_| {
                noise = sha2::Sha256::digest(noise).into();
                noise
            })
            .collect();
        document.put(ROOT, "noise", bytes).unwrap();
        document.put(ROOT, "number", number).unwrap();
        document.commit();
    }
    assert!(document.save().len() > 2 * CHUNK_BYTES, "it is in three parts");
    peer::run(async {
        let mut peer = Peer::connect(&backend).await;
        for changes in chunks::changes(&mut document).chunks(100) {
            assert!(peer.push("tasks", None, "large", changes).await);
        }
        let deadline = tokio::time::Instant::now() + DEADLINE;
        // On a busy machine the writer finds time to compact before the last push, whose rows then stay.
        while backend.stats().rows >= 700 {
            assert!(tokio::time::Instant::now() < deadline, "it is not compacted: {:?}", backend.stats());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let stats = backend.stats();
    backend.stop();
    let backend = open();
    assert_eq!((backend.stats().changes, backend.stats().rows), (700, stats.rows));
    peer::run(async {
        let mut peer = Peer::connect(&backend).await;
        document.put(ROOT, "number", -1).unwrap();
        let next = chunks::changes(&mut document).pop().unwrap();
        assert!(peer.push("tasks", None, "large", &[next]).await, "what follows is accepted");
    });
    assert_eq!(backend.stats().changes, 701);
}

#[test]
fn a_store_gives_back_the_space_that_compaction_frees() {
    let _alone = memory::alone();
    panics::watch();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let mut store = Store::open(&path).unwrap();
    let remote = store.remote("http://127.0.0.1:9", "log").unwrap();
    let (mut document, snapshot) = edited();
    let chunks = document.get_changes(&[]).into_iter().map(|change| StoredChunk {
        hash: change.hash(),
        kind: ChunkKind::Change,
        bytes: Arc::from(change.raw_bytes()),
        remote: Some(remote),
        fields: Vec::new(),
    });
    let id = DocumentId::new("long");
    let write = DocumentWrite {
        collection: "tasks".into(),
        id: id.clone(),
        chunks: chunks.collect(),
        heads: document.get_heads(),
        value: format::read(&document),
    };
    store.commit(&[Write::Document(write)]).unwrap();
    assert!(!store.reclaim().unwrap(), "nothing is free yet");
    assert!(store.compact("tasks", &id, remote).unwrap());
    assert!(store.reclaim().unwrap());
    let stored = size(&path);
    // In addition to the snapshot there are SQLite's pages and indices.
    assert!(stored < MOST * snapshot + 128 * 1024, "{stored} bytes for a snapshot of {snapshot}");
    drop(store);
    let store = Store::open(&path).unwrap();
    let chunks = store.chunks("tasks", &id).unwrap();
    assert_eq!(Automerge::load(&chunks[0].bytes).unwrap().get_heads(), document.get_heads());
    assert_eq!(store.document("tasks", &id).unwrap().unwrap().value, format::read(&document));
}
