//! The main thread does no disk, network or CRDT work, and applying changes stays within its budget.

use std::time::Duration;

use crate::apps::{Device, Place, settle, task, until};

#[test]
fn many_documents_arrive_over_several_frames() {
    let place = Place::new();
    let mut one = place.device("one");
    let all = place.many(2_000);
    for number in 0..all {
        one.insert(task(&format!("task {number}")));
    }
    settle(&place, [&mut one]);
    // No batch fits into this budget, so each frame applies the minimum.
    let budget = Duration::ZERO;
    let mut two = Device::with(place.store("two"), Some(&place.url()), |plugin| plugin.apply_budget(budget));
    let mut frames_with_news = 0;
    let mut count = 0;
    until("all are there", [&mut two], |[two]| {
        let now = two.tasks().len();
        frames_with_news += usize::from(now > count);
        count = now;
        count == all
    });
    assert!(frames_with_news > all / 100, "{all} documents were applied in {frames_with_news} frames");
}

#[test]
fn an_unreachable_deployment_does_not_delay_local_work() {
    let mut place = Place::new();
    place.stop_backend();
    let mut one = place.device("one");
    let id = one.insert(task("instant"));
    assert!(one.tasks().contains_key(&id));
    until("it is saved, and the reason is reported", [&mut one], |[one]| {
        one.status().is_saved() && one.status().reason().is_some()
    });
}
