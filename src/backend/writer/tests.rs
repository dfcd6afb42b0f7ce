//! Tests of the writer without its thread.

use automerge::{AutoCommit, ROOT, transaction::Transactable};

use super::*;
use crate::backend::access::Everyone;
use crate::wire::{Chunk, DocumentChanges, PushChanges};

#[test]
fn rows_that_the_disk_refused_are_not_published_when_the_writer_prunes() {
    let (mut writer, published) =
        Writer::new(Log::new("log"), None, Duration::ZERO, u64::MAX, Arc::new(Everyone), Box::new(|| 1_000_000_000));
    let mut document = AutoCommit::new();
    document.put(ROOT, "value", 1).unwrap();
    let changes = document.get_changes(&[]);
    let changes =
        changes.iter().map(|change| Chunk { bytes: change.raw_bytes().to_vec().into(), part: None }).collect();
    let documents = vec![DocumentChanges { id: "d".into(), changes, fields: None, removed: Vec::new() }];
    let push = Mutation::Push(PushChanges { documents, scope: None });
    assert!(mutate(&mut writer.log.write(), "c", Rights::default(), push, 1_000_000_000, &mut Vec::new()).is_ok());
    // As after a write that failed.
    writer.doubtful = true;
    writer.prune();
    assert_eq!(writer.log.read().published(), 0);
    assert!(!published.has_changed().unwrap());
}
