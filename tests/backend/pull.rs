//! `pullDeltas`: pages and checkpoints.

use convex::Value;

use crate::support::*;

#[tokio::test]
async fn a_commit_of_many_rows_is_read_in_smaller_pages() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut documents = Vec::new();
    for index in 0..50 {
        let mut task = Writer::new(&format!("t{index:02}"));
        task.put("n", index).put("m", index);
        documents.push(task.document(None));
    }
    accepted(&push(&mut client, "tasks", documents).await);
    for limit in [1.0, 7.0, 99.0, 100.0] {
        let deltas = pull_all(&mut client, "tasks", limit).await;
        assert_eq!(deltas.len(), 100);
        for (index, delta) in deltas.iter().enumerate() {
            assert_eq!(text(field(delta, "id")), format!("t{:02}", index / 2));
            assert_eq!(number(field(delta, "ordinal")), (64 * (index + 1)) as f64);
            assert_eq!(int(field(delta, "ts")), int(field(&deltas[0], "ts")), "one commit");
        }
    }
    // A limit outside the range is set to the nearest allowed value.
    for limit in [0.0, -3.0, f64::NAN] {
        let page = ok(query(&mut client, "tasks:pullDeltas", [("checkpoint", start()), ("limit", limit.into())]).await);
        assert_eq!(array(field(&page, "deltas")).len(), 1, "{limit}");
    }
    let page = ok(query(&mut client, "tasks:pullDeltas", [("checkpoint", start()), ("limit", 1e9.into())]).await);
    assert_eq!(array(field(&page, "deltas")).len(), 100);
    assert_eq!(field(&page, "hasMore"), &Value::Boolean(false));
}

#[tokio::test]
async fn the_bytes_of_a_page_are_limited() {
    let backend = backend();
    let mut client = client(&backend).await;
    for index in 0..5 {
        let mut task = Writer::new(&format!("t{index}"));
        task.document.put_bytes(index);
        accepted(&push(&mut client, "tasks", vec![task.document(None)]).await);
    }
    let page = ok(query(&mut client, "tasks:pullDeltas", [("checkpoint", start())]).await);
    assert_eq!(array(field(&page, "deltas")).len(), 2, "of 200 KiB each, in 512");
    assert_eq!(field(&page, "hasMore"), &Value::Boolean(true));
    assert_eq!(pull_all(&mut client, "tasks", 1_000.0).await.len(), 5);
}

trait PutBytes {
    fn put_bytes(&mut self, seed: u8);
}

impl PutBytes for automerge::AutoCommit {
    fn put_bytes(&mut self, seed: u8) {
        use automerge::{ROOT, ScalarValue, transaction::Transactable};
        self.put(ROOT, "bytes", ScalarValue::Bytes(vec![seed; 200 * 1024])).unwrap();
        self.commit();
    }
}

#[tokio::test]
async fn a_checkpoint_that_the_log_never_returned_is_refused() {
    let backend = backend();
    let mut client = client(&backend).await;
    let unknown = |result| assert_eq!(text(field(&refused(result), "code")), "checkpointUnknown");
    unknown(query(&mut client, "tasks:pullDeltas", [("checkpoint", position(1, 0))]).await);
    let mut task = Writer::new("t1");
    task.put("n", 1);
    accepted(&push(&mut client, "tasks", vec![task.document(None)]).await);
    let page = ok(query(&mut client, "tasks:pullDeltas", [("checkpoint", start())]).await);
    let newest = field(&page, "checkpoint").clone();
    let at_end = ok(query(&mut client, "tasks:pullDeltas", [("checkpoint", newest.clone())]).await);
    assert!(array(field(&at_end, "deltas")).is_empty());
    assert_eq!(field(&at_end, "checkpoint"), &newest);
    let ts = int(field(&newest, "ts"));
    for ahead in [position(ts, 65), position(ts + 1, 0), position(i64::MAX, u32::MAX), position(-1, 0)] {
        unknown(query(&mut client, "tasks:pullDeltas", [("checkpoint", ahead)]).await);
    }
    let half = Value::Object(object([("ts", ts.into()), ("ordinal", 0.5.into())]));
    unknown(query(&mut client, "tasks:pullDeltas", [("checkpoint", half)]).await);
}
