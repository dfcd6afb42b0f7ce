//! Replicas with the same changes show equal components.

use bevy_convex_replicate::format::Counter;

use crate::apps::{Place, Task, settle, task, until};

#[test]
fn an_edit_in_one_app_reaches_the_other() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let id = one.insert(task("write it down"));
    until("the task arrives", [&mut one, &mut two], |[_, two]| two.tasks().contains_key(&id));
    two.edit(&id, |task| task.is_completed = true);
    until("the edit comes back", [&mut one, &mut two], |[one, _]| one.tasks()[&id].is_completed);
    settle(&place, [&mut one, &mut two]);
}

#[test]
fn concurrent_edits_of_a_counter_and_a_string_by_three_apps_all_survive() {
    let place = Place::new();
    let (mut one, mut two, mut three) = (place.device("one"), place.device("two"), place.device("three"));
    let id = one.insert(task("middle"));
    settle(&place, [&mut one, &mut two, &mut three]);
    for round in 0..10 {
        one.edit(&id, |task| task.text.insert(0, 'a'));
        two.edit(&id, |task| task.text.push('b'));
        three.edit(&id, |task| task.votes += 2);
        one.edit(&id, |task| task.votes += 1);
        two.edit(&id, |task| task.votes += round);
        for device in [&mut one, &mut two, &mut three] {
            device.update();
        }
    }
    let tasks = settle(&place, [&mut one, &mut two, &mut three]);
    let text = format!("{}middle{}", "a".repeat(10), "b".repeat(10));
    assert_eq!(tasks[&id], Task { text, is_completed: false, votes: Counter(10 + 20 + 45) });
}

#[test]
fn a_deletion_and_a_restored_document_reach_every_app() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let id = one.insert(task("short-lived"));
    settle(&place, [&mut one, &mut two]);
    two.delete(&id);
    assert!(settle(&place, [&mut one, &mut two]).is_empty());
    one.restore(&id);
    until("it is back", [&mut one, &mut two], |devices| devices.iter_mut().all(|d| d.tasks().contains_key(&id)));
    settle(&place, [&mut one, &mut two]);
}
