//! Tests of the writer without its thread.

use automerge::{AutoCommit, ROOT, transaction::Transactable};

use super::*;
use crate::backend::access::Everyone;
use crate::wire::{Chunk, DocumentChanges, PushChanges};

/// A push that creates the document "d".
fn push(value: i64) -> Mutation {
    let mut document = AutoCommit::new();
    document.put(ROOT, "value", value).unwrap();
    let changes = document.get_changes(&[]);
    let changes =
        changes.iter().map(|change| Chunk { bytes: change.raw_bytes().to_vec().into(), part: None }).collect();
    let documents = vec![DocumentChanges { id: "d".into(), changes, fields: None, removed: Vec::new() }];
    Mutation::Push(PushChanges { documents, scope: None })
}

#[test]
fn rows_that_the_disk_refused_are_not_published_when_the_writer_prunes() {
    let (mut writer, published) =
        Writer::new(Log::new("log"), None, Duration::ZERO, u64::MAX, Arc::new(Everyone), Box::new(|| 1_000_000_000));
    assert!(mutate(&mut writer.log.write(), "c", Rights::default(), push(1), 1_000_000_000, &mut Vec::new()).is_ok());
    // As after a write that failed.
    writer.doubtful = true;
    writer.prune();
    assert_eq!(writer.log.read().published(), 0);
    assert!(!published.has_changed().unwrap());
}

#[test]
fn queries_run_again_after_the_log_was_read_again_while_the_clock_went_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), "log").unwrap();
    let mut log = store.read().unwrap();
    let mut records = Vec::new();
    mutate(&mut log, "c", Rights::default(), push(1), 1_000, &mut records).unwrap();
    store.write(&records).unwrap();
    log.publish();
    // A time that is not on the disk, as after a pruning.
    mutate(&mut log, "c", Rights::default(), push(2), 5_000, &mut Vec::new()).unwrap();
    log.publish();
    let (mut writer, _published) =
        Writer::new(log, Some(store), Duration::MAX, u64::MAX, Arc::new(Everyone), Box::new(|| 2_000));
    // As after a write that failed.
    writer.doubtful = true;
    writer.reload().unwrap();
    // A query that was answered at 5,000 runs again, because the log on the disk may be another one.
    assert!(writer.log.read().touched("c", None) > 5_000);
    let ran_at = writer.log.read().published();
    let mut records = Vec::new();
    mutate(&mut writer.log.write(), "c", Rights::default(), push(3), 2_000, &mut records).unwrap();
    writer.persist(&records).unwrap();
    assert!(writer.log.read().touched("c", None) > ran_at);
}
