//! One bad document stops nobody: a refused push keeps the edit, reports it, and the rest keeps syncing.

use bevy_convex_replicate::{limits, worker::FailureKind};

use crate::apps::{Place, settle, task, until};

#[test]
fn a_row_too_large_for_the_backend_is_kept_and_reported() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let id = one.insert(task("good"));
    settle(&place, [&mut one, &mut two]);
    let huge = one.insert(task(&"x".repeat(limits::ROW_BYTES + 1)));
    let other = one.insert(task("also good"));
    until("the others arrive and the bad one is reported", [&mut one, &mut two], |[one, two]| {
        let told = one
            .seen()
            .failures
            .iter()
            .any(|failure| failure.kind == FailureKind::Refused && failure.document.as_ref() == Some(&huge));
        told && two.tasks().contains_key(&other)
    });
    one.edit(&id, |task| task.text.push('!'));
    until("later edits arrive", [&mut one, &mut two], |[_, two]| two.tasks()[&id].text == "good!");
    until("only the bad one waits", [&mut one], |[one]| one.status().unsent == 1);
    assert!(one.tasks().contains_key(&huge));
    assert!(!two.tasks().contains_key(&huge));
    // It is in the store: the next start has it.
    let mut one = one.restart();
    until("the store is read", [&mut one], |[one]| one.seen().ready);
    assert!(one.tasks().contains_key(&huge));
}

#[test]
fn a_document_of_another_shape_is_reported_and_left_alone() {
    let place = Place::new();
    let mut one = place.device("one");
    let good = one.insert(task("good"));
    settle(&place, [&mut one]);
    // Another app's idea of a task.
    let mut document = automerge::AutoCommit::new();
    automerge::transaction::Transactable::put(&mut document, automerge::ROOT, "text", 7).unwrap();
    place.call(
        "tasks:insertDocument",
        [
            ("collectionName", "tasks".into()),
            ("documentId", "other".into()),
            ("crdtBytes", convex::Value::Bytes(document.save())),
            ("materializedDoc", convex::Value::Object(Default::default())),
            ("version", 1.0.into()),
        ],
    );
    until("the misfit is reported", [&mut one], |[one]| {
        one.seen().failures.iter().any(|failure| {
            failure.kind == FailureKind::Misfit && failure.document.as_ref().is_some_and(|id| id.as_str() == "other")
        })
    });
    one.edit(&good, |task| task.is_completed = true);
    until("the rest goes on", [&mut one], |[one]| one.is_quiet());
    until("it is in the table", [&mut one], |_| {
        let row = place.rows().into_iter().find(|(id, _)| *id == good);
        matches!(row, Some((_, row)) if matches!(row["isCompleted"], convex::Value::Boolean(true)))
    });
}
