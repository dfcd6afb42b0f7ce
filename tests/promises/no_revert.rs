//! Concurrent edits of different fields both survive, even if both occur within one frame.

use crate::apps::{Place, settle, task};

#[test]
fn two_apps_edit_different_fields_within_the_same_frame() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let id = one.insert(task("draft"));
    settle(&place, [&mut one, &mut two]);
    for round in 0..20 {
        let text = format!("draft {round}");
        one.edit(&id, |task| task.text = text.clone());
        two.edit(&id, |task| task.is_completed = round % 2 == 0);
        let tasks = settle(&place, [&mut one, &mut two]);
        assert_eq!((&tasks[&id].text, tasks[&id].is_completed), (&text, round % 2 == 0));
    }
}

#[test]
fn an_edit_of_a_value_that_a_newer_version_is_about_to_replace_survives() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let id = one.insert(task("start"));
    settle(&place, [&mut one, &mut two]);
    for round in 0..50 {
        // One app sends; the other makes two edits in the frame in which the change arrives.
        one.edit(&id, |task| task.votes += 1);
        one.update();
        two.edit(&id, |task| task.text = format!("round {round}"));
        two.update();
        one.edit(&id, |task| task.votes += 1);
        one.update();
        two.update();
    }
    let tasks = settle(&place, [&mut one, &mut two]);
    assert_eq!((tasks[&id].votes.0, &*tasks[&id].text), (100, "round 49"));
}
