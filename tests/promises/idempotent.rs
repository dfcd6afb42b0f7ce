//! A message may be received twice, and a push may be retried after a crash: the result is the same.

use crate::apps::{Place, settle, task};

#[test]
fn a_push_interrupted_at_any_moment_is_in_the_log_once() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let id = one.insert(task(""));
    settle(&place, [&mut one, &mut two]);
    for round in 0..30 {
        one.edit(&id, |task| task.votes += 1);
        // The connection ends a different number of frames after the edit each time: before, during and after the push.
        for _ in 0..round % 7 {
            one.update();
        }
        one.go_offline();
        one.update();
        one.go_online();
        one.update();
    }
    let tasks = settle(&place, [&mut one, &mut two]);
    assert_eq!(tasks[&id].votes.0, 30);
    assert!(place.changes() <= 31, "{} changes", place.changes());
}

#[test]
fn a_wiped_deployment_is_offered_everything_again() {
    let mut place = Place::new();
    let mut one = place.device("one");
    for number in 0..250 {
        one.insert(task(&format!("task {number}")));
    }
    settle(&place, [&mut one]);
    place.wipe_backend();
    assert!(place.table().is_empty());
    let mut two = place.device("two");
    assert_eq!(settle(&place, [&mut one, &mut two]).len(), 250);
}
