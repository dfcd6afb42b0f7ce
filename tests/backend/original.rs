//! The original API, which sends whole documents.

use automerge::{AutoCommit, ROOT, ReadDoc, transaction::Transactable};
use convex::{ConvexClient, FunctionResult, Value};

use crate::support::*;

async fn put(client: &mut ConvexClient, function: &str, id: &str, crdt: Vec<u8>) -> FunctionResult {
    let args = [
        ("collectionName", Value::from("tasks")),
        ("documentId", id.into()),
        ("crdtBytes", crdt.into()),
        ("materializedDoc", Value::Object(object([("text", "not believed".into())]))),
        ("version", 77.0.into()),
    ];
    mutate(client, &format!("tasks:{function}"), args).await
}

async fn delete(client: &mut ConvexClient, id: &str) -> FunctionResult {
    mutate(client, "tasks:deleteDocument", [("collectionName", "tasks".into()), ("documentId", id.into())]).await
}

async fn pull(client: &mut ConvexClient, from: f64, limit: f64) -> Value {
    let checkpoint = Value::Object(object([("lastModified", from.into())]));
    let args = [("collectionName", "tasks".into()), ("checkpoint", checkpoint), ("limit", limit.into())];
    ok(query(client, "tasks:pullChanges", args).await)
}

#[tokio::test]
async fn whole_documents_can_be_pushed_and_pulled() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut document = AutoCommit::new();
    document.put(ROOT, "text", "x".repeat(2_000)).unwrap();
    document.commit();
    let inserted = document.save();
    assert_eq!(
        field(&ok(put(&mut client, "insertDocument", "t1", inserted.clone()).await), "success"),
        &Value::Boolean(true)
    );
    // A repeated document is merged.
    ok(put(&mut client, "insertDocument", "t1", inserted).await);
    document.put(ROOT, "done", true).unwrap();
    document.commit();
    ok(put(&mut client, "updateDocument", "t1", document.save()).await);

    let mut other = AutoCommit::new();
    other.put(ROOT, "text", "other").unwrap();
    other.commit();
    // A concatenation of changes, one of them compressed.
    let mut chunks =
        document.get_changes(&[]).into_iter().map(|mut change| change.bytes().into_owned()).collect::<Vec<_>>();
    assert_eq!(chunks[0][8], 2);
    ok(put(&mut client, "insertDocument", "t2", chunks.concat()).await);
    // Only the new changes, as `save_incremental` returns them.
    document.put(ROOT, "more", 1).unwrap();
    document.commit();
    chunks = vec![document.get_changes(&[]).last().unwrap().raw_bytes().to_vec()];
    ok(put(&mut client, "updateDocument", "t2", chunks.concat()).await);

    let rows = backend.rows("tasks");
    assert_eq!(text(field(&rows[0].1, "text")).len(), 2_000);
    assert_eq!(field(&rows[0].1, "done"), &Value::Boolean(true));
    assert_eq!(number(field(&rows[0].1, "version")), 2.0);
    assert_eq!(number(field(&rows[1].1, "version")), 3.0);

    let page = pull(&mut client, 0.0, 100.0).await;
    let changes = array(field(&page, "changes"));
    assert_eq!(changes.iter().map(|change| text(field(change, "documentId"))).collect::<Vec<_>>(), ["t1", "t2"]);
    let loaded = automerge::Automerge::load(bytes(field(&changes[1], "crdtBytes"))).unwrap();
    assert_eq!(loaded.get_heads(), document.get_heads());
    assert_eq!(loaded.get(ROOT, "more").unwrap().unwrap().0.as_i64(), Some(1));
    assert_eq!(number(field(&changes[1], "version")), 3.0);
    assert_eq!(field(&changes[1], "timestamp"), field(&rows[1].1, "timestamp"));
    assert_eq!(field(field(&page, "checkpoint"), "lastModified"), field(&changes[1], "timestamp"));

    let stream = ok(query(&mut client, "tasks:changeStream", [("collectionName", "tasks".into())]).await);
    assert_eq!(number(field(&stream, "count")), 2.0);
    assert_eq!(field(&stream, "timestamp"), field(&changes[1], "timestamp"));
    let nothing = ok(query(&mut client, "nothing:changeStream", []).await);
    assert_eq!((number(field(&nothing, "timestamp")), number(field(&nothing, "count"))), (0.0, 0.0));
}

#[tokio::test]
async fn each_page_of_one_document_advances_the_checkpoint() {
    let backend = backend();
    let mut client = client(&backend).await;
    for index in 0..5 {
        let mut document = AutoCommit::new();
        document.put(ROOT, "n", index).unwrap();
        document.commit();
        ok(put(&mut client, "insertDocument", &format!("t{index}"), document.save()).await);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut checkpoint = 0.0;
    for _ in 0..6 {
        let page = pull(&mut client, checkpoint, 1.0).await;
        seen.extend(array(field(&page, "changes")).iter().map(|change| text(field(change, "documentId")).to_owned()));
        checkpoint = number(field(field(&page, "checkpoint"), "lastModified"));
        if field(&page, "hasMore") == &Value::Boolean(false) {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn deleting_is_a_change_like_any_other() {
    let backend = backend();
    let mut client = client(&backend).await;
    let data = refused(delete(&mut client, "t1").await);
    assert_eq!((text(field(&data, "code")), text(field(&data, "document"))), ("unknownDocument", "t1"));
    let mut document = AutoCommit::new();
    document.put(ROOT, "text", "gone soon").unwrap();
    document.commit();
    ok(put(&mut client, "insertDocument", "t1", document.save()).await);
    ok(delete(&mut client, "t1").await);
    ok(delete(&mut client, "t1").await);
    let deltas = pull_all(&mut client, "tasks", 10.0).await;
    assert_eq!(deltas.len(), 2);
    document.load_incremental(bytes(field(&deltas[1], "bytes"))).unwrap();
    assert_eq!(document.get(ROOT, "deleted").unwrap().unwrap().0.as_bool(), Some(true));
    assert_eq!(field(&backend.rows("tasks")[0].1, "deleted"), &Value::Boolean(true));
    let page = pull(&mut client, 0.0, 100.0).await;
    assert_eq!(array(field(&page, "changes")).len(), 1, "tombstones are included");
}

#[tokio::test]
async fn bytes_that_are_not_a_document_are_refused() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut document = AutoCommit::new();
    document.put(ROOT, "text", "x".repeat(500)).unwrap();
    document.commit();
    let saved = document.save();
    for crdt in [b"garbage".to_vec(), saved[..saved.len() - 3].to_vec(), [saved.clone(), b"x".to_vec()].concat()] {
        let data = refused(put(&mut client, "insertDocument", "t1", crdt).await);
        assert_eq!((text(field(&data, "code")), text(field(&data, "document"))), ("invalidChange", "t1"));
    }
    document.put(ROOT, "more", 1).unwrap();
    document.commit();
    let second = document.get_changes(&[]).remove(1).raw_bytes().to_vec();
    let data = refused(put(&mut client, "insertDocument", "t1", second).await);
    assert_eq!(text(field(&data, "code")), "missingDependencies");
    assert!(backend.rows("tasks").is_empty());
}
