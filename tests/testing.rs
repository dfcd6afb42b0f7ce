//! The test helper for apps.
#![cfg(all(feature = "bevy", feature = "backend"))]

use bevy::prelude::*;
use bevy_convex_replicate::{prelude::*, testing};

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Task {
    text: String,
}

fn texts(app: &mut App) -> Vec<String> {
    let world = app.world_mut();
    world.query::<&Task>().iter(world).map(|task| task.text.clone()).collect()
}

#[test]
fn a_pair_of_apps_is_connected_in_both_directions() {
    let mut apps = testing::pair(|app| {
        app.replicate::<Task>("tasks");
    });
    apps.one.world_mut().spawn((Task { text: "one".into() }, DocumentId::new("a")));
    apps.until("the second app shows the task", |_, two| texts(two) == ["one"]);
    let world = apps.two.world_mut();
    world.query::<&mut Task>().single_mut(world).unwrap().text = "two".into();
    apps.until("the first app shows the edit", |one, _| texts(one) == ["two"]);
    assert!(apps.deployment().starts_with("http://127.0.0.1:"));
}

#[test]
fn two_pairs_have_nothing_in_common() {
    let pair = || {
        testing::pair(|app| {
            app.replicate::<Task>("tasks");
        })
    };
    let (mut first, mut second) = (pair(), pair());
    first.one.world_mut().spawn((Task { text: "of the first".into() }, DocumentId::new("a")));
    second.one.world_mut().spawn((Task { text: "of the second".into() }, DocumentId::new("a")));
    first.until("the task arrives", |_, two| texts(two) == ["of the first"]);
    second.until("the task arrives", |_, two| texts(two) == ["of the second"]);
    assert_ne!(first.deployment(), second.deployment());
}
