//! Documents that are in the world in one state of the app only, as in `examples/states.rs`: whole apps.

#[path = "../examples/states.rs"]
mod states;
mod whole;

use std::path::Path;

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};
use states::{Screen, Wall};
use whole::{failures, is_quiet, until};

fn app(store: &Path, url: &str) -> App {
    whole::app(|app| {
        app.add_plugins(ReplicatePlugin::new("states").store(store).deployment(url));
        states::level(app);
    })
}

/// The heights of the walls in the world.
fn walls(app: &mut App) -> Vec<u32> {
    let world = app.world_mut();
    let mut heights: Vec<u32> = world.query::<&Wall>().iter(world).map(|wall| wall.height).collect();
    heights.sort_unstable();
    heights
}

fn enter(app: &mut App, screen: Screen) {
    app.world_mut().resource_mut::<NextState<Screen>>().set(screen);
    app.update();
}

fn quiet(apps: &mut [&mut App]) {
    until("all is quiet", apps, |apps| apps.iter().all(|app| is_quiet(app)).then_some(()));
}

#[test]
fn a_level_that_is_entered_again_shows_the_edits_made_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut one = app(&folder.path().join("one"), backend.url());
    let mut two = app(&folder.path().join("two"), backend.url());
    enter(&mut one, Screen::Level);
    enter(&mut two, Screen::Level);
    for (name, height) in [("a", 1), ("b", 2)] {
        one.world_mut().spawn((Wall { height }, DocumentId::new(name)));
    }
    until("both have both", &mut [&mut one, &mut two], |apps| {
        apps.iter_mut().all(|app| walls(app) == [1, 2]).then_some(())
    });
    enter(&mut one, Screen::Menu);
    assert_eq!(walls(&mut one), [] as [u32; 0]);

    // The other app goes on building, and tears a wall down.
    let world = two.world_mut();
    let found: Vec<_> =
        world.query::<(Entity, &Wall)>().iter(world).map(|(wall, Wall { height })| (wall, *height)).collect();
    for (wall, height) in found {
        match height {
            1 => two.world_mut().get_mut::<Wall>(wall).unwrap().height = 10,
            _ => {
                two.world_mut().commands().entity(wall).delete_document();
            }
        }
    }
    two.world_mut().spawn((Wall { height: 3 }, DocumentId::new("c")));
    two.update();
    quiet(&mut [&mut one, &mut two]);
    assert_eq!((walls(&mut one), walls(&mut two)), (vec![], vec![3, 10]));

    enter(&mut one, Screen::Level);
    until("it is back, as it is by now", &mut [&mut one, &mut two], |apps| (walls(apps[0]) == [3, 10]).then_some(()));
    quiet(&mut [&mut one, &mut two]);
    assert_eq!(walls(&mut two), [3, 10], "leaving and entering edits nothing");

    // An app that spawns its walls again when it enters shows the stored documents, not the values it spawned.
    enter(&mut one, Screen::Menu);
    enter(&mut one, Screen::Level);
    one.update();
    enter(&mut two, Screen::Menu);
    two.world_mut().spawn((Wall { height: 0 }, DocumentId::new("c")));
    enter(&mut two, Screen::Level);
    until("both are as before", &mut [&mut one, &mut two], |apps| {
        apps.iter_mut().all(|app| is_quiet(app) && walls(app) == [3, 10]).then_some(())
    });
    assert!(failures(&one).is_empty() && failures(&two).is_empty());
}
