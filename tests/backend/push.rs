//! `pushChanges`: accepted changes, refused changes, and the resulting row.

use automerge::{ActorId, AutoCommit, Change, ROOT, transaction::Transactable};
use convex::Value;

use crate::support::*;

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Option<Value> {
    Some(Value::Object(object(fields)))
}

/// The bytes of a change with a checksum that matches them.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let length = (bytes[9..].iter().position(|byte| byte & 0x80 == 0).unwrap()) + 1;
    let mut hasher = Sha256::new();
    hasher.update(&bytes[8..9 + length]);
    hasher.update(&bytes[9 + length..]);
    let hash = hasher.finalize();
    bytes[4..8].copy_from_slice(&hash[..4]);
    bytes
}

#[tokio::test]
async fn a_repeated_push_changes_nothing() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut task = Writer::new("t1");
    task.put("text", "once");
    let document = task.document(fields([("text", "once".into())]));
    for _ in 0..3 {
        accepted(&push(&mut client, "tasks", vec![document.clone()]).await);
    }
    assert_eq!(pull_all(&mut client, "tasks", 10.0).await.len(), 1);
    let (_, row) = &backend.rows("tasks")[0];
    assert_eq!(number(field(row, "version")), 1.0);
}

#[tokio::test]
async fn fields_are_stored_as_sent_only_if_the_writer_has_seen_all_changes() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut ada = Writer::new("t1");
    ada.put("text", "a").put("done", false);
    accepted(
        &push(&mut client, "tasks", vec![ada.document(fields([("text", "a".into()), ("done", false.into())]))]).await,
    );

    // This differs from the change: the fast path stores the fields that the writer sent.
    ada.put("text", "b");
    let mut bob = Writer::new("t1");
    bob.merge(&mut ada);
    let document = ada.document(None);
    let mut document = match document {
        Value::Object(fields) => fields,
        _ => unreachable!(),
    };
    document.insert("fields".into(), Value::Object(object([("text", "B!".into())])));
    document.insert("removed".into(), Value::Array(vec!["done".into()]));
    let results = push(&mut client, "tasks", vec![Value::Object(document)]).await;
    accepted(&results);
    // The row is corrected when the log is maintained, so both values are correct here.
    let text_now = text(field(&backend.rows("tasks")[0].1, "text")).to_owned();
    assert!(text_now == "B!" || text_now == "b", "{text_now}");

    // Two pushes at the same heads: the second is merged, whatever fields it sends.
    let heads = bob.document.get_heads();
    let mut carol = Writer::new("t1");
    carol.merge(&mut bob);
    assert_eq!(carol.document.get_heads(), heads);
    bob.put("owner", "bob");
    carol.put("priority", 3);
    accepted(&push(&mut client, "tasks", vec![bob.document(fields([("owner", "bob".into())]))]).await);
    accepted(&push(&mut client, "tasks", vec![carol.document(fields([("priority", 99.0.into())]))]).await);
    let (_, row) = &backend.rows("tasks")[0];
    assert_eq!(text(field(row, "owner")), "bob");
    assert_eq!(number(field(row, "priority")), 3.0);
    assert_eq!(text(field(row, "text")), "b");
}

#[tokio::test]
async fn a_row_stored_as_sent_is_corrected_when_the_log_is_idle() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut task = Writer::new("t1");
    task.put("text", "truth");
    accepted(&push(&mut client, "tasks", vec![task.document(fields([("text", "a lie".into())]))]).await);
    let corrected = async {
        while text(field(&backend.rows("tasks")[0].1, "text")) != "truth" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, corrected).await.expect("corrected in time");
}

#[tokio::test]
async fn the_row_of_a_deleted_document_says_that_it_is_deleted() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut task = Writer::new("t1");
    task.put("text", "short-lived");
    accepted(&push(&mut client, "tasks", vec![task.document(fields([("text", "short-lived".into())]))]).await);
    assert!(!has(&backend.rows("tasks")[0].1, "deleted"));
    task.put("deleted", true);
    accepted(&push(&mut client, "tasks", vec![task.document(fields([("deleted", true.into())]))]).await);
    assert_eq!(field(&backend.rows("tasks")[0].1, "deleted"), &Value::Boolean(true));
    task.put("deleted", false);
    accepted(&push(&mut client, "tasks", vec![task.document(None)]).await);
    assert!(!has(&backend.rows("tasks")[0].1, "deleted"));
}

#[tokio::test]
async fn a_change_without_its_dependencies_is_refused_and_the_others_are_accepted() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut orphan = Writer::new("orphan");
    orphan.put("text", "first");
    let first = orphan.document(None);
    orphan.put("text", "second");
    let second = orphan.document(None);
    let mut fine = Writer::new("fine");
    fine.put("text", "fine");

    let results = push(&mut client, "tasks", vec![second.clone(), fine.document(None)]).await;
    assert_eq!(text(field(&results[0], "code")), "missingDependencies");
    assert_eq!(text(field(&results[0], "id")), "orphan");
    accepted(&results[1..]);
    assert_eq!(backend.rows("tasks").len(), 1);

    accepted(&push(&mut client, "tasks", vec![first]).await);
    accepted(&push(&mut client, "tasks", vec![second]).await);
    assert_eq!(text(field(&backend.rows("tasks")[1].1, "text")), "second");
}

#[tokio::test]
async fn the_changes_of_a_document_are_accepted_together_or_not_at_all() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut task = Writer::new("t1");
    task.put("text", "good");
    let good = task.changes();
    let garbage: &[u8] = b"garbage";
    let results = push(&mut client, "tasks", vec![pushed("t1", [good[0].raw_bytes(), garbage], None)]).await;
    assert_eq!(code(&results), "invalidChange");
    assert!(pull_all(&mut client, "tasks", 10.0).await.is_empty());
    assert!(backend.rows("tasks").is_empty());
}

#[tokio::test]
async fn forged_bytes_are_refused() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut task = Writer::new("t1");
    task.put("text", "x".repeat(1_000));
    let mut change = task.changes().remove(0);
    let raw = change.raw_bytes().to_vec();
    let compressed = change.bytes().into_owned();
    assert_eq!(compressed[8], 2, "a compressed change");

    let mut wrong_checksum = raw.clone();
    wrong_checksum[4] ^= 1;
    let mut flipped = raw.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let two: Vec<u8> = [raw.clone(), raw.clone()].concat();
    let truncated = raw[..raw.len() - 1].to_vec();
    let saved = task.document.save();
    let cases: [&[u8]; 9] =
        [&[], b"garbage", &wrong_checksum, &flipped, &two, &truncated, &compressed, &saved, &[0x85, 0x6f, 0x4a, 0x83]];
    for bytes in cases {
        let results = push(&mut client, "tasks", vec![pushed("t1", [bytes], None)]).await;
        assert_eq!(code(&results), "invalidChange", "{bytes:?}");
    }
    accepted(&push(&mut client, "tasks", vec![pushed("t1", [&*raw], None)]).await);
}

#[tokio::test]
async fn bytes_changed_at_random_never_stop_the_backend() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut task = Writer::new("t1");
    task.document.put(ROOT, "n", 7).unwrap();
    let list = task.document.put_object(ROOT, "list", automerge::ObjType::List).unwrap();
    for index in 0..20 {
        task.document.insert(&list, index, index as i64).unwrap();
    }
    task.document.commit();
    let raw = task.changes()[0].raw_bytes().to_vec();
    let mut documents = Vec::new();
    for index in 9..raw.len() {
        for value in [0x00, 0x7f, 0x80, 0xff, raw[index] ^ 1] {
            let mut forged = raw.clone();
            forged[index] = value;
            documents.push(pushed(&format!("d{index}-{value}"), [&*resealed(forged)], None));
        }
    }
    for batch in documents.chunks(100) {
        assert_eq!(push(&mut client, "tasks", batch.to_vec()).await.len(), batch.len());
    }
    accepted(&push(&mut client, "tasks", vec![pushed("t1", [&*raw], None)]).await);
    assert!(backend.rows("tasks").iter().any(|(id, _)| id.as_str() == "t1"));
}

#[tokio::test]
async fn a_change_that_claims_too_many_operations_is_refused() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut task = Writer::new("t1");
    task.put("a", 1).put("b", 2);
    let mut document = AutoCommit::new();
    document.put(ROOT, "n", 1).unwrap();
    document.commit();
    let raw = document.get_changes(&[])[0].raw_bytes().to_vec();
    // The action column contains one literal: this makes it a run of 2^60.
    let literal = [0x7f, 0x01];
    let at = raw.windows(2).rposition(|window| window == literal).expect("the action column");
    let mut data = raw[..at].to_vec();
    data.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 0x01]);
    data.extend(&raw[at + 2..]);
    data[9] += 8;
    // The column's length: its specification is 0x42.
    let column = data.windows(2).position(|window| window == [0x42, 0x02]).expect("the column's description");
    data[column + 1] = 10;
    let results = push(&mut client, "tasks", vec![pushed("t1", [&*resealed(data)], None)]).await;
    assert_eq!(code(&results), "tooLarge");
}

#[tokio::test]
async fn a_second_change_with_the_sequence_number_of_an_actor_is_refused() {
    let backend = backend();
    let mut client = client(&backend).await;
    let change = |text: &str| -> Change {
        let mut document = AutoCommit::new().with_actor(ActorId::from([7; 16]));
        document.put(ROOT, "text", text).unwrap();
        document.commit();
        document.get_changes(&[]).remove(0)
    };
    let (one, other) = (change("one"), change("other"));
    accepted(&push(&mut client, "tasks", vec![pushed("t1", [one.raw_bytes()], None)]).await);
    let results = push(&mut client, "tasks", vec![pushed("t1", [other.raw_bytes()], None)]).await;
    assert_eq!(code(&results), "reusedSequence");
    // In another document the same sequence number is allowed.
    accepted(&push(&mut client, "tasks", vec![pushed("t2", [other.raw_bytes()], None)]).await);
}

#[tokio::test]
async fn values_that_convex_cannot_store_are_left_out_of_the_row() {
    let backend = backend();
    let mut client = client(&backend).await;
    let mut task = Writer::new("t1");
    for name in ["_private", "$special", "naïve", "", "text"] {
        task.put(name, 1);
    }
    accepted(&push(&mut client, "tasks", vec![task.document(None)]).await);
    task.put("text", 2);
    accepted(
        &push(&mut client, "tasks", vec![task.document(fields([("text", 2.0.into()), ("_text", 2.0.into())]))]).await,
    );
    let (_, row) = backend.rows("tasks").remove(0);
    assert_eq!(number(field(&row, "text")), 2.0);
    let lacks: Vec<_> = array(field(&row, "notInRow")).iter().map(text).collect();
    assert_eq!(lacks, ["[\"\"]", "[\"$special\"]", "[\"_private\"]", "[\"naïve\"]"]);

    let mut large = Writer::new("large");
    for index in 0..6 {
        large.put(&format!("text{index}"), "x".repeat(200_000));
    }
    let changes = large.changes();
    let (some, rest) = changes.split_at(5);
    accepted(&push(&mut client, "tasks", vec![pushed("large", some.iter().map(Change::raw_bytes), None)]).await);
    accepted(&push(&mut client, "tasks", vec![pushed("large", rest.iter().map(Change::raw_bytes), None)]).await);
    let rows = backend.rows("tasks");
    assert_eq!(array(field(&rows[0].1, "notInRow")), ["text0".into()]);
    assert_eq!(text(field(&rows[0].1, "text5")).len(), 200_000);

    let mut task = Writer::new(&"x".repeat(129));
    task.put("text", 1);
    assert_eq!(code(&push(&mut client, "tasks", vec![task.document(None)]).await), "tooLarge");
    let mut task = Writer::new("");
    task.put("text", 1);
    assert_eq!(code(&push(&mut client, "tasks", vec![task.document(None)]).await), "invalidChange");
}

#[tokio::test]
async fn the_size_of_a_push_is_limited() {
    let backend = backend();
    let mut client = client(&backend).await;
    let documents = (0..101).map(|index| pushed(&format!("t{index}"), [], None)).collect::<Vec<_>>();
    let data = refused(mutate(&mut client, "tasks:pushChanges", [("documents", documents.into())]).await);
    assert_eq!(text(field(&data, "code")), "pushTooLarge");
    assert_eq!(number(field(&data, "limit")), 100.0);

    let chunk = vec![0; 200 * 1024];
    let documents = vec![pushed("t1", (0..6).map(|_| &*chunk), None)];
    let data = refused(mutate(&mut client, "tasks:pushChanges", [("documents", documents.into())]).await);
    assert_eq!(text(field(&data, "code")), "pushTooLarge");

    let chunk = vec![0; 256 * 1024 + 1];
    assert_eq!(code(&push(&mut client, "tasks", vec![pushed("t1", [&*chunk], None)]).await), "tooLarge");
}

#[tokio::test]
async fn a_scope_has_only_its_own_documents() {
    let backend = backend();
    let mut client = client(&backend).await;
    for (id, scope) in [("t1", Some("red")), ("t2", Some("blue")), ("t3", None)] {
        let mut task = Writer::new(id);
        task.put("text", id);
        let documents = Value::Array(vec![task.document(None)]);
        let answer = match scope {
            Some(scope) => {
                mutate(&mut client, "tasks:pushChanges", [("documents", documents), ("scope", scope.into())]).await
            }
            None => mutate(&mut client, "tasks:pushChanges", [("documents", documents)]).await,
        };
        accepted(array(field(&ok(answer), "results")));
    }
    let ids = |page: &Value| {
        array(field(page, "deltas")).iter().map(|delta| text(field(delta, "id")).to_owned()).collect::<Vec<_>>()
    };
    let red = ok(query(&mut client, "tasks:pullDeltas", [("checkpoint", start()), ("scope", "red".into())]).await);
    assert_eq!(ids(&red), ["t1"]);
    let all = ok(query(&mut client, "tasks:pullDeltas", [("checkpoint", start())]).await);
    assert_eq!(ids(&all), ["t1", "t2", "t3"]);
}
