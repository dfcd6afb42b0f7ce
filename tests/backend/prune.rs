//! Documents that were deleted longer ago than the retention are removed permanently, and no client can bring them
//! back.

use std::{path::Path, time::Duration};

use bevy_convex_replicate::backend::{Backend, BackendConfig};
use convex::{FunctionResult, Value};
use futures::StreamExt;
use sha2::{Digest, Sha256};

use crate::support::*;

const FOREVER: Duration = Duration::MAX;

fn open(directory: &Path, retention: Duration) -> Backend {
    Backend::start(BackendConfig::new().data(directory).retention(retention)).expect("a backend starts")
}

async fn delete(client: &mut convex::ConvexClient, id: &str) -> FunctionResult {
    let args = [("collectionName", "tasks".into()), ("documentId", id.into())];
    mutate(client, "tasks:deleteDocument", args).await
}

async fn page(client: &mut convex::ConvexClient, checkpoint: Value) -> FunctionResult {
    query(client, "tasks:pullDeltas", [("checkpoint", checkpoint)]).await
}

/// With a retention of zero, the writer prunes the next time it looks.
async fn until_rows(backend: &Backend, ids: &[&str]) {
    let are_left = async {
        while !backend.rows("tasks").iter().map(|(id, _)| id.as_str()).eq(ids.iter().copied()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, are_left).await.expect("pruned in time");
}

/// Makes two documents and deletes one. Returns the positions before and after the deletion, and the writers.
async fn deleted(client: &mut convex::ConvexClient) -> (Value, Value, Writer, Writer) {
    let (mut gone, mut stays) = (Writer::new("gone"), Writer::new("stays"));
    accepted(&push(client, "tasks", vec![gone.put("n", 1).document(None)]).await);
    let before = field(&ok(page(client, start()).await), "checkpoint").clone();
    accepted(&push(client, "tasks", vec![stays.put("n", 1).document(None)]).await);
    ok(delete(client, "gone").await);
    let after = field(&ok(page(client, start()).await), "checkpoint").clone();
    (before, after, gone, stays)
}

#[tokio::test]
async fn a_tombstone_older_than_the_retention_is_removed_and_an_old_client_starts_over() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), FOREVER);
    let mut one = client(&backend).await;
    let (before, after, mut gone, _) = deleted(&mut one).await;
    assert_eq!(backend.rows("tasks").len(), 2, "kept for as long as was said");
    backend.stop();

    // The TypeScript functions give the same answers: `convex/tests/upkeep.test.ts`. The answers are also the same
    // after a restart, from the data on the disk.
    for round in 0..2 {
        let backend = open(directory.path(), Duration::ZERO);
        let mut one = client(&backend).await;
        until_rows(&backend, &["stays"]).await;
        let log = pull_all(&mut one, "tasks", 100.0).await;
        assert_eq!(log.iter().map(|row| text(field(row, "id"))).collect::<Vec<_>>(), ["stays"], "round {round}");
        // A client that has seen the deletion continues; a client that has not starts over.
        let at_end = ok(page(&mut one, after.clone()).await);
        assert!(array(field(&at_end, "deltas")).is_empty());
        assert_eq!(text(field(&refused(page(&mut one, before.clone()).await), "code")), "checkpointUnknown");
        let ahead = position(int(field(&after, "ts")) + 1, 0);
        assert_eq!(text(field(&refused(page(&mut one, ahead).await), "code")), "checkpointUnknown");

        let stream = ok(query(&mut one, "tasks:changeStream", []).await);
        assert_eq!(number(field(&stream, "count")), 1.0);
        let newest = int(field(&log[0], "ts")).div_euclid(1_000) as f64;
        assert_eq!(number(field(&stream, "timestamp")), newest, "of what is left");

        let whole = pushed("gone", gone.document.get_changes(&[]).iter().map(|change| change.raw_bytes()), None);
        assert_eq!(code(&push(&mut one, "tasks", vec![whole]).await), "pruned");
        assert_eq!(code(&push(&mut one, "tasks", vec![Writer::new("gone").document(None)]).await), "pruned");
        let saved = gone.document.save();
        let args = [
            ("collectionName", "tasks".into()),
            ("documentId", "gone".into()),
            ("crdtBytes", saved.into()),
            ("materializedDoc", Value::Object(object([]))),
            ("version", 1.0.into()),
        ];
        let data = refused(mutate(&mut one, "tasks:insertDocument", args).await);
        assert_eq!((text(field(&data, "code")), text(field(&data, "document"))), ("pruned", "gone"));
        assert_eq!(text(field(&refused(delete(&mut one, "gone").await), "code")), "unknownDocument");
        assert_eq!(backend.rows("tasks").len(), 1, "nothing came back");
        backend.stop();
    }
}

#[tokio::test]
async fn commits_after_the_pruning_of_the_newest_row_have_later_positions() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), FOREVER);
    let mut one = client(&backend).await;
    let (_, after, _, mut stays) = deleted(&mut one).await;
    backend.stop();
    let backend = open(directory.path(), Duration::ZERO);
    until_rows(&backend, &["stays"]).await;
    backend.stop();
    let backend = open(directory.path(), Duration::ZERO);
    let mut one = client(&backend).await;
    accepted(&push(&mut one, "tasks", vec![stays.put("n", 2).document(None)]).await);
    let news = ok(page(&mut one, after).await);
    assert_eq!(array(field(&news, "deltas")).len(), 1, "a client that had read everything receives the new commit");
}

#[tokio::test]
async fn a_deleted_document_that_was_restored_is_not_pruned() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), FOREVER);
    let mut one = client(&backend).await;
    let mut task = Writer::new("back");
    accepted(&push(&mut one, "tasks", vec![task.put("n", 1).put("deleted", true).document(None)]).await);
    accepted(&push(&mut one, "tasks", vec![task.put("deleted", false).document(None)]).await);
    let mut gone = Writer::new("gone");
    accepted(&push(&mut one, "tasks", vec![gone.put("deleted", true).document(None)]).await);
    // Only the writer's row says that the document is deleted: its changes do not.
    let mut claimed = Writer::new("claimed");
    let fields = Value::Object(object([("n", 1.0.into()), ("deleted", true.into())]));
    accepted(&push(&mut one, "tasks", vec![claimed.put("n", 1).document(Some(fields))]).await);
    backend.stop();
    let backend = open(directory.path(), Duration::ZERO);
    until_rows(&backend, &["back", "claimed"]).await;
    let mut one = client(&backend).await;
    accepted(&push(&mut one, "tasks", vec![task.put("n", 2).document(None)]).await);
}

#[tokio::test]
async fn a_client_that_follows_from_before_a_pruned_delete_has_to_start_over() {
    let backend = Backend::start(BackendConfig::new().retention(Duration::ZERO)).expect("a backend in memory starts");
    let mut one = client(&backend).await;
    let mut task = Writer::new("gone");
    accepted(&push(&mut one, "tasks", vec![task.put("n", 1).document(None)]).await);
    let first = field(&ok(page(&mut one, start()).await), "checkpoint").clone();
    let mut following = one.subscribe("tasks:pullDeltas", object([("checkpoint", first)])).await.unwrap();
    ok(delete(&mut one, "gone").await);
    let data = tokio::time::timeout(DEADLINE, async {
        loop {
            if let FunctionResult::ConvexError(error) = following.next().await.expect("it goes on") {
                return error.data;
            }
        }
    });
    assert_eq!(text(field(&data.await.expect("an answer in time"), "code")), "checkpointUnknown");
    assert!(backend.rows("tasks").is_empty());
}

#[tokio::test]
async fn a_client_that_begins_after_the_pruning_reads_all_pages_and_one_without_the_mark_starts_over() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), FOREVER);
    let mut one = client(&backend).await;
    for id in ["a", "b", "c", "gone"] {
        accepted(&push(&mut one, "tasks", vec![Writer::new(id).put("n", 1).document(None)]).await);
    }
    ok(delete(&mut one, "gone").await);
    accepted(&push(&mut one, "tasks", vec![Writer::new("d").put("n", 1).document(None)]).await);
    let before = ok(one_row(&mut one, start(), None).await);
    assert!(!has(&before, "pruned"), "nothing has been");
    backend.stop();

    // The TypeScript functions give the same answers: `convex/tests/upkeep.test.ts`. The answers are also the same
    // after a restart, from the data on the disk.
    for _ in 0..2 {
        let backend = open(directory.path(), Duration::ZERO);
        until_rows(&backend, &["a", "b", "c", "d"]).await;
        let mut one = client(&backend).await;
        let first = ok(one_row(&mut one, start(), None).await);
        let (mut ids, mut at) = (Vec::new(), first.clone());
        loop {
            ids.extend(array(field(&at, "deltas")).iter().map(|row| text(field(row, "id")).to_owned()));
            if *field(&at, "hasMore") == Value::Boolean(false) {
                break;
            }
            let pruned = Some(field(&at, "pruned").clone());
            at = ok(one_row(&mut one, field(&at, "checkpoint").clone(), pruned).await);
        }
        assert_eq!(ids, ["a", "b", "c", "d"]);

        let checkpoint = field(&first, "checkpoint");
        let other = Value::Int64(int(field(&first, "pruned")) - 1);
        for forgotten in [None, Some(other)] {
            let data = refused(one_row(&mut one, checkpoint.clone(), forgotten).await);
            assert_eq!(text(field(&data, "code")), "checkpointUnknown");
        }
        backend.stop();
    }
}

async fn one_row(client: &mut convex::ConvexClient, checkpoint: Value, pruned: Option<Value>) -> FunctionResult {
    let limit = ("limit", Value::Float64(1.0));
    match pruned {
        Some(pruned) => {
            query(client, "tasks:pullDeltas", [("checkpoint", checkpoint), limit, ("pruned", pruned)]).await
        }
        None => query(client, "tasks:pullDeltas", [("checkpoint", checkpoint), limit]).await,
    }
}

/// Makes a log of the present format one of format 1.
const FORMAT_1: &str = "
DROP TABLE pruned;
CREATE TABLE part_1 (
    collection TEXT NOT NULL, document TEXT NOT NULL,
    hash BLOB NOT NULL, part_index INTEGER NOT NULL, part_count INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    stamp BLOB,
    PRIMARY KEY (collection, document, hash, part_index)
) STRICT;
INSERT INTO part_1 SELECT collection, document, hash, part_index, part_count, bytes, stamp FROM part;
DROP TABLE part;
ALTER TABLE part_1 RENAME TO part;
ALTER TABLE chunk DROP COLUMN author;
PRAGMA user_version = 1";

#[tokio::test]
async fn a_log_of_format_1_is_upgraded_with_its_waiting_parts_and_an_older_program_then_refuses_it() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), FOREVER);
    let mut one = client(&backend).await;
    let (_, after, ..) = deleted(&mut one).await;
    let mut large = Writer::new("large");
    large.put("text", "x".repeat(400_000));
    let raw = large.changes()[0].raw_bytes().to_vec();
    let (first, last) = raw.split_at(256 * 1024);
    let part = |bytes: &[u8], index: u32| {
        let hash = Sha256::digest(&raw).to_vec();
        let part = object([("hash", hash.into()), ("index", f64::from(index).into()), ("count", 2.0.into())]);
        let chunk = object([("bytes", bytes.to_vec().into()), ("part", Value::Object(part))]);
        Value::Object(object([("id", "large".into()), ("changes", Value::Array(vec![Value::Object(chunk)]))]))
    };
    accepted(&push(&mut one, "tasks", vec![part(first, 0)]).await);
    backend.stop();

    // The schema of format 1 with its stamps: those of `part` did not cover the time.
    let file = directory.path().join("log.sqlite");
    let older = rusqlite::Connection::open(&file).unwrap();
    let stamp = {
        let mut hash = Sha256::new();
        let digest = Sha256::digest(&raw);
        let cells: [(u8, &[u8]); 6] = [
            (3, b"tasks"),
            (3, b"large"),
            (4, &digest),
            (1, &0_i64.to_le_bytes()),
            (1, &2_i64.to_le_bytes()),
            (4, first),
        ];
        for (kind, bytes) in cells {
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        hash.finalize().to_vec()
    };
    older.execute_batch(FORMAT_1).unwrap();
    assert_eq!(older.execute("UPDATE part SET stamp = ?1", [&stamp]).unwrap(), 1);
    drop(older);

    let backend = open(directory.path(), FOREVER);
    let mut one = client(&backend).await;
    assert!(array(field(&ok(page(&mut one, after).await), "deltas")).is_empty(), "the log goes on");
    accepted(&push(&mut one, "tasks", vec![part(last, 1)]).await);
    assert_eq!(backend.rows("tasks").iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["gone", "large", "stays"]);
    backend.stop();
    let newer = rusqlite::Connection::open(&file).unwrap();
    let format: i64 = newer.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(format, 4, "a program that knows only format 1 refuses it");
    newer.execute_batch(FORMAT_1).unwrap();
    newer
        .execute(
            "INSERT INTO part (collection, document, hash, part_index, part_count, bytes, stamp) VALUES ('tasks', 'odd', ?1, 0, 2, x'00', ?1)",
            [&stamp],
        )
        .unwrap();
    drop(newer);
    let error = Backend::start(BackendConfig::new().data(directory.path())).err().unwrap();
    assert!(error.to_string().contains("odd"), "what is damaged is not believed because it is older: {error}");
}

#[tokio::test]
async fn a_client_that_has_read_to_the_middle_of_the_commit_of_a_pruned_delete_starts_over() {
    let directory = tempfile::tempdir().unwrap();
    let backend = open(directory.path(), FOREVER);
    let mut one = client(&backend).await;
    let mut gone = Writer::new("gone");
    let mut changes = gone.put("n", 1).changes();
    changes.extend(gone.put("deleted", true).changes());
    let whole = pushed("gone", changes.iter().map(|change| change.raw_bytes()), None);
    accepted(&push(&mut one, "tasks", vec![whole]).await);
    let made = field(&ok(one_row(&mut one, start(), None).await), "checkpoint").clone();
    let all = field(&ok(page(&mut one, start()).await), "checkpoint").clone();
    assert_eq!(int(field(&made, "ts")), int(field(&all, "ts")), "one commit");
    backend.stop();
    let backend = open(directory.path(), Duration::ZERO);
    until_rows(&backend, &[]).await;
    let mut one = client(&backend).await;
    assert_eq!(text(field(&refused(page(&mut one, made).await), "code")), "checkpointUnknown");
    assert!(array(field(&ok(page(&mut one, all).await), "deltas")).is_empty());
}
