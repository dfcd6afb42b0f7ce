//! A document that cannot be read is reported, and all others continue to synchronise.

use bevy_convex_replicate::worker::FailureKind;

use crate::apps::{Place, settle, task, until};

#[test]
fn a_document_that_does_not_fit_is_reported_and_not_changed() {
    let place = Place::new();
    let mut one = place.device("one");
    let good = one.insert(task("good"));
    settle(&place, [&mut one]);
    // A document that another app wrote with a different form of a task.
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
    until("the other documents are synchronised", [&mut one], |[one]| one.is_quiet());
    until("it is in the table", [&mut one], |_| {
        let row = place.rows().into_iter().find(|(id, _)| *id == good);
        matches!(row, Some((_, row)) if matches!(row["isCompleted"], convex::Value::Boolean(true)))
    });
}
