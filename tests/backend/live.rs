//! Clients that follow each other's changes.

use convex::Value;

use crate::support::*;

#[tokio::test]
async fn a_client_receives_the_changes_that_another_pushes() {
    let backend = backend();
    let (mut ada, mut bob) = (client(&backend).await, client(&backend).await);
    let mut news = bob.subscribe("tasks:pullDeltas", object([("checkpoint", start())])).await.unwrap();
    until(&mut news, |page| array(field(page, "deltas")).is_empty()).await;

    let mut task = Writer::new("t1");
    task.put("text", "water the plants");
    let fields = Value::Object(object([("text", "water the plants".into())]));
    accepted(&push(&mut ada, "tasks", vec![task.document(Some(fields))]).await);

    let page = until(&mut news, |page| !array(field(page, "deltas")).is_empty()).await;
    let delta = &array(field(&page, "deltas"))[0];
    assert_eq!(text(field(delta, "id")), "t1");
    assert_eq!(text(field(&page, "epoch")), backend.epoch());
    let received = automerge::Change::from_bytes(bytes(field(delta, "bytes")).to_vec()).unwrap();
    assert_eq!(vec![received.hash()], task.document.get_heads());

    let rows = backend.rows("tasks");
    assert_eq!(rows.len(), 1);
    assert_eq!(text(field(&rows[0].1, "text")), "water the plants");
    assert_eq!(field(&rows[0].1, "version"), &Value::Float64(1.0));
}

#[tokio::test]
async fn a_batch_arrives_completely_and_concurrent_writers_lose_nothing() {
    let backend = backend();
    let mut reader = client(&backend).await;
    let mut news = reader.subscribe("tasks:pullDeltas", object([("checkpoint", start())])).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let url = backend.url().to_owned();
            tokio::spawn(async move {
                let mut client = client_of(&url).await;
                for round in 0..5 {
                    let documents = (0..10)
                        .map(|index| Writer::new(&format!("w{number}-{round}-{index}")).put("n", index).document(None))
                        .collect();
                    accepted(&push(&mut client, "tasks", documents).await);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let page = until(&mut news, |page| array(field(page, "deltas")).len() == 200).await;
    let mut ids: Vec<_> =
        array(field(&page, "deltas")).iter().map(|delta| text(field(delta, "id")).to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

#[tokio::test]
async fn several_writers_of_one_document_end_with_the_merged_row() {
    let backend = backend();
    let mut first = client(&backend).await;
    let mut origin = Writer::new("shared");
    origin.put("start", true);
    accepted(&push(&mut first, "tasks", vec![origin.document(None)]).await);
    let mut writers: Vec<Writer> = Vec::new();
    for _ in 0..3 {
        let mut writer = Writer::new("shared");
        writer.merge(&mut origin);
        writers.push(writer);
    }
    for round in 0..10 {
        for (number, writer) in writers.iter_mut().enumerate() {
            let name = format!("by{number}");
            writer.put(&name, round);
            let fields = Value::Object(object([(name.as_str(), f64::from(round).into())]));
            accepted(&push(&mut first, "tasks", vec![writer.document(Some(fields))]).await);
        }
    }
    let (_, row) = &backend.rows("tasks")[0];
    for writer in 0..3 {
        assert_eq!(number(field(row, &format!("by{writer}"))), 9.0);
    }
    assert_eq!(number(field(row, "version")), 31.0);
}
