//! The pull cursor follows the commit order with a tie-break, and is stored together with the changes that it covers.

use bevy_convex_replicate::limits;
use convex::Value;

use crate::apps::{Place, settle, task, until};

#[test]
fn many_documents_of_one_commit_all_arrive_however_often_the_reader_is_interrupted() {
    let place = Place::new();
    let mut one = place.device("one");
    let all = place.many(3_000);
    for number in 0..all {
        one.insert(task(&format!("task {number}")));
    }
    settle(&place, [&mut one]);
    let mut two = place.device("two");
    let mut seen = 0;
    loop {
        until("something more arrives", [&mut two], |[two]| two.tasks().len() > seen);
        seen = two.tasks().len();
        if seen == all {
            break;
        }
        // The app ends while it is catching up: the checkpoint must not be ahead of the stored changes.
        two = two.restart();
        until("the store is read", [&mut two], |[two]| two.seen().ready);
    }
    settle(&place, [&mut one, &mut two]);
}

/// The commits of the rows on the page of the log after `checkpoint`, and the page's own checkpoint.
fn page(place: &Place, checkpoint: &Value) -> (Vec<i64>, Value) {
    let Value::Object(page) = place.query("tasks:pullDeltas", [("checkpoint", checkpoint.clone())]) else {
        panic!("a page is an object")
    };
    let Value::Array(deltas) = &page["deltas"] else { panic!("{page:?}") };
    let commit = |delta: &Value| match delta {
        Value::Object(delta) => match delta["ts"] {
            Value::Int64(ts) => ts,
            ref other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    (deltas.iter().map(commit).collect(), page["checkpoint"].clone())
}

#[test]
fn a_commit_larger_than_a_page_arrives_completely() {
    let place = Place::new();
    let mut one = place.device("one");
    until("it is connected", [&mut one], |[one]| one.is_quiet());
    one.go_offline();
    // In one push, and therefore in one commit.
    let large = limits::PAGE_BYTES / 10;
    for number in 0..14 {
        one.insert(task(&format!("{number:02} {}", "x".repeat(large))));
    }
    one.update();
    until("all is saved", [&mut one], |[one]| one.status().is_saved());
    one.go_online();
    let table = settle(&place, [&mut one]);
    assert_eq!(table.len(), 14);
    let start = Value::Object([("ts".into(), Value::Int64(0)), ("ordinal".into(), 0.0.into())].into());
    let (first, checkpoint) = page(&place, &start);
    let (rest, _) = page(&place, &checkpoint);
    assert_eq!(first.len() + rest.len(), 14);
    assert_eq!(first.last(), rest.first(), "the page ends within the commit");

    let mut two = place.device("two");
    until("the first page arrives", [&mut two], |[two]| two.tasks().len() >= first.len());
    two = two.restart();
    settle(&place, [&mut one, &mut two]);
}
