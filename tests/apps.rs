//! Whole apps on an embedded backend: several components in a document, several collections in an app.

mod whole;

use std::{collections::BTreeMap, path::Path};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};
use whole::{is_quiet, status, until, until_it};

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Player {
    name: String,
    score: Counter,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Position {
    x: f32,
    y: f32,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Wall {
    from: (i32, i32),
}

/// The players that an app shows.
type Players = BTreeMap<String, (Option<Player>, Option<Position>)>;

fn app(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    whole::app(|app| {
        app.add_plugins(configure(ReplicatePlugin::new("apps").store(store)))
            .replicate_components::<(Player, Position)>("players")
            .replicate::<Wall>("level/walls");
    })
}

fn player(name: &str) -> Player {
    Player { name: name.into(), score: Counter(0) }
}

fn at(x: f32, y: f32) -> Position {
    Position { x, y }
}

fn id(name: &str) -> DocumentId {
    DocumentId::new(name)
}

fn players(app: &mut App) -> Players {
    let world = app.world_mut();
    let mut all = world.query::<(&DocumentId, Option<&Player>, Option<&Position>)>();
    let shown = all.iter(world).filter(|(_, player, position)| player.is_some() || position.is_some());
    shown.map(|(id, player, position)| (id.to_string(), (player.cloned(), position.cloned()))).collect()
}

fn edit<T: Component<Mutability = bevy::ecs::component::Mutable>>(app: &mut App, id: &str, edit: impl FnOnce(&mut T)) {
    let world = app.world_mut();
    let mut all = world.query::<(&DocumentId, &mut T)>();
    let (_, mut value) = all.iter_mut(world).find(|(found, _)| found.as_str() == id).expect("it is shown");
    edit(&mut value);
}

#[test]
fn the_components_of_a_document_are_edited_apart_and_come_back_together() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let store = |name: &str| folder.path().join(name);
    let mut one = app(&store("one"), |plugin| plugin.deployment(backend.url()));
    let mut two = app(&store("two"), |plugin| plugin.deployment(backend.url()));
    one.world_mut().spawn((player("Ada"), at(1.0, 2.0), id("ada")));
    one.world_mut().spawn((player("Bob"), id("bob")));
    one.world_mut().spawn((at(7.0, 7.0), id("stone")));
    let all = |ada, bob: Option<Position>| {
        Players::from([
            ("ada".into(), ada),
            ("bob".into(), (Some(player("Bob")), bob)),
            ("stone".into(), (None, Some(at(7.0, 7.0)))),
        ])
    };
    let first = all((Some(player("Ada")), Some(at(1.0, 2.0))), None);
    until("the other has all three", &mut [&mut one, &mut two], |apps| (players(apps[1]) == first).then_some(()));

    // In one frame, both apps raise the score; one moves Ada along x, the other along y and renames her, and Bob gets a
    // position.
    edit::<Player>(&mut one, "ada", |ada| ada.score.0 += 2);
    edit::<Position>(&mut one, "ada", |ada| ada.x = 10.0);
    edit::<Player>(&mut two, "ada", |ada| {
        ada.score.0 += 3;
        ada.name = "Ada L.".into();
    });
    edit::<Position>(&mut two, "ada", |ada| ada.y = 20.0);
    let world = two.world_mut();
    let bob = world.query::<(Entity, &DocumentId)>().iter(world).find(|(_, id)| id.as_str() == "bob").unwrap().0;
    two.world_mut().entity_mut(bob).insert(at(0.5, 0.5));
    let ada = Player { name: "Ada L.".into(), score: Counter(5) };
    let last = all((Some(ada), Some(at(10.0, 20.0))), Some(at(0.5, 0.5)));
    until("both have all edits", &mut [&mut one, &mut two], |apps| {
        apps.iter_mut().all(|app| is_quiet(app) && players(app) == last).then_some(())
    });
    let row = backend.rows("players").into_iter().find(|(id, _)| id.as_str() == "ada").unwrap().1;
    let convex::Value::Object(row) = row else { panic!("a row is an object: {row:?}") };
    assert_eq!(row["name"], "Ada L.".into(), "fields stand side by side: {row:?}");
    assert_eq!((&row["score"], &row["x"], &row["y"]), (&5.0.into(), &10.0.into(), &20.0.into()));

    drop(one);
    let mut again = app(&store("one"), |plugin| plugin.deployment(backend.url()).offline());
    until_it("all is there without a connection", &mut again, |app| players(app) == last);
    assert!(whole::failures(&again).is_empty() && whole::failures(&two).is_empty());
}

#[test]
fn a_component_removed_from_a_document_is_removed_everywhere_and_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut one = app(&folder.path().join("one"), |plugin| plugin.deployment(backend.url()));
    let mut two = app(&folder.path().join("two"), |plugin| plugin.deployment(backend.url()));
    let ada = one.world_mut().spawn((player("Ada"), at(1.0, 2.0), id("ada"))).id();
    let shown = |position| Players::from([("ada".to_string(), (Some(player("Ada")), position))]);
    let both_show = |one: &mut App, two: &mut App, position: Option<Position>| {
        until("both show it", &mut [one, two], |apps| {
            apps.iter_mut().all(|app| is_quiet(app) && players(app) == shown(position.clone())).then_some(())
        });
    };
    both_show(&mut one, &mut two, Some(at(1.0, 2.0)));
    // The app that made it removes it. The other app puts it back, and removes it in turn.
    one.world_mut().commands().entity(ada).remove_from_document::<Position>();
    both_show(&mut one, &mut two, None);
    let world = two.world_mut();
    let other = world.query_filtered::<Entity, With<Player>>().single(world).unwrap();
    two.world_mut().entity_mut(other).insert(at(3.0, 4.0));
    both_show(&mut one, &mut two, Some(at(3.0, 4.0)));
    two.world_mut().commands().entity(other).remove_from_document::<Position>();
    both_show(&mut one, &mut two, None);
    let row = backend.rows("players").into_iter().next().unwrap().1;
    let convex::Value::Object(row) = row else { panic!("a row is an object: {row:?}") };
    assert!(row.contains_key("name") && !row.contains_key("x") && !row.contains_key("y"), "{row:?}");
    assert!(whole::failures(&one).is_empty() && whole::failures(&two).is_empty());
}

#[test]
fn a_hidden_document_spawned_with_more_components_gains_them_and_keeps_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = app(&folder.path().join("one"), |plugin| plugin);
    let ada = one.world_mut().spawn((player("Ada"), id("ada"))).id();
    until_it("it is saved", &mut one, |app| status(app).is_saved() && players(app).len() == 1);
    one.world_mut().despawn(ada);
    one.update();
    one.world_mut().spawn((player("default"), at(1.0, 2.0), id("ada")));
    let shown = Players::from([("ada".to_string(), (Some(player("Ada")), Some(at(1.0, 2.0))))]);
    until_it("it is shown", &mut one, |app| players(app) == shown);
    one.update();
    until_it("it is saved", &mut one, |app| status(app).is_saved());
    drop(one);
    let mut again = app(&folder.path().join("one"), |plugin| plugin);
    until_it("it has both", &mut again, |app| players(app) == shown);
    assert!(whole::failures(&again).is_empty());
}

#[test]
fn the_collections_of_an_app_share_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut one = app(&folder.path().join("one"), |plugin| plugin.deployment(backend.url()));
    let mut two = app(&folder.path().join("two"), |plugin| plugin.deployment(backend.url()));
    let wall = Wall { from: (3, -4) };
    one.world_mut().spawn((player("Ada"), id("same name")));
    one.world_mut().spawn((wall.clone(), id("same name")));
    until("the other has both", &mut [&mut one, &mut two], |apps| {
        let world = apps[1].world_mut();
        let walls: Vec<_> = world.query::<&Wall>().iter(world).cloned().collect();
        (walls == [wall.clone()] && players(apps[1]).contains_key("same name")).then_some(())
    });
    until("both are quiet", &mut [&mut one, &mut two], |apps| apps.iter().all(|app| is_quiet(app)).then_some(()));
    assert_eq!(backend.stats().connections, 2, "one for each app");
    assert_eq!(backend.stats().collections, 2);
    assert_eq!(status(&two).last_error, None);
}
