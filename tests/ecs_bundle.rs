//! Several components in one document.

mod common;

use std::any::Any;

use bevy::prelude::*;
use bevy_convex_replicate::prelude::*;
use common::*;

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Player {
    name: String,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
struct Position {
    x: f32,
    y: f32,
}

fn player(name: &str) -> Player {
    Player { name: name.into() }
}

fn at(x: f32) -> Position {
    Position { x, y: 0.0 }
}

fn players() -> World1 {
    let mut world = world(|app| {
        app.replicate_components::<(Player, Position)>("players");
    });
    world.log::<Player>().log::<Position>();
    world
}

fn content(player: Option<Player>, position: Option<Position>) -> Option<Box<dyn Any + Send>> {
    Some(Box::new((player, position)))
}

fn masks(sent: &[Sent]) -> Vec<u32> {
    sent.iter()
        .map(|sent| match sent {
            Sent::Put { mask, .. } => *mask,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn an_edit_has_the_components_that_changed() {
    let mut world = players();
    let entity = world.app.world_mut().spawn((player("Ada"), at(1.0), id("a"))).id();
    let sent = world.edits_by_frame();
    assert_eq!(masks(&sent), [0b11]);
    let Sent::Put { value, .. } = &sent[0] else { panic!("{sent:?}") };
    assert_eq!(value.get("name").and_then(|name| name.as_str()), Some("Ada"));
    assert!(value.get("x").is_some() && value.get("y").is_some());
    assert_eq!(world.changes::<Player>(), [told("a", ChangeKind::Inserted, Origin::Local)]);
    assert_eq!(world.changes::<Position>(), [told("a", ChangeKind::Inserted, Origin::Local)]);

    world.app.world_mut().get_mut::<Position>(entity).unwrap().x = 2.0;
    assert_eq!(masks(&world.edits_by_frame()), [0b10]);
    world.compared("a", 2, &["x"]);
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(world.changes::<Player>(), []);
    assert_eq!(world.changes::<Position>(), [told("a", ChangeKind::Updated, Origin::Local)]);
}

#[test]
fn only_the_touched_component_that_changed_is_announced() {
    let mut world = players();
    let entity = world.app.world_mut().spawn((player("Ada"), at(1.0), id("a"))).id();
    world.edits_by_frame();
    world.changes::<Player>();
    world.changes::<Position>();
    world.app.world_mut().get_mut::<Position>(entity).unwrap().set_changed();
    world.app.world_mut().get_mut::<Player>(entity).unwrap().name = "Grace".into();
    assert_eq!(masks(&world.edits_by_frame()), [0b11]);
    world.compared("a", 2, &["name"]);
    world.frame();
    assert_eq!(world.changes::<Player>(), [told("a", ChangeKind::Updated, Origin::Local)]);
    assert_eq!(world.changes::<Position>(), []);
}

#[test]
fn both_components_changed_are_one_edit() {
    let mut world = players();
    let entity = world.app.world_mut().spawn((player("Ada"), at(1.0), id("a"))).id();
    world.edits_by_frame();
    world.app.world_mut().get_mut::<Position>(entity).unwrap().x = 2.0;
    world.app.world_mut().get_mut::<Player>(entity).unwrap().name = "Grace".into();
    assert_eq!(masks(&world.edits_by_frame()), [0b11]);
}

#[test]
fn a_component_removed_from_the_document_is_an_edit() {
    let mut world = players();
    let entity = world.app.world_mut().spawn((player("Ada"), at(1.0), id("a"))).id();
    world.edits_by_frame();
    world.changes::<Position>();
    world.app.world_mut().get_mut::<Position>(entity).unwrap().x = 2.0;
    world.queue(|commands| {
        commands.entity(entity).remove_from_document::<Position>();
    });
    assert_eq!(world.app.world().get::<Position>(entity), None);
    let sent = world.edits_by_frame();
    assert_eq!(masks(&sent), [0b10, 0b10], "the last edit, and the removal");
    let Sent::Put { value, .. } = &sent[1] else { panic!("{sent:?}") };
    assert_eq!(*value, bevy_convex_replicate::format::Value::Map(Default::default()));
    let told_of: Vec<_> = world.changes::<Position>().into_iter().map(|told| (told.kind, told.shown)).collect();
    // The edit before it is announced when the worker has compared it.
    assert_eq!(told_of, [(ChangeKind::Removed, true)]);
    // Another app puts it back.
    world.deliver_content("a", 1, 9, content(Some(player("Ada")), Some(at(3.0))), Origin::Remote);
    world.frame();
    assert_eq!(world.get_as("a"), Some(at(3.0)));
    assert_eq!(world.failures(), []);
}

#[test]
fn a_removal_that_is_impossible_is_reported() {
    let mut world = world(|app| {
        app.replicate_components::<(Player, Position)>("players").replicate::<Task>("tasks");
    });
    let alone = world.app.world_mut().spawn((task("one"), id("a"))).id();
    let none = world.app.world_mut().spawn(player("Ada")).id();
    world.edits_by_frame();
    world.queue(|commands| {
        commands.entity(alone).remove_from_document::<Task>();
        commands.entity(alone).remove_from_document::<Position>();
        commands.entity(none).remove_from_document::<Position>();
    });
    assert_eq!(world.edits_by_frame(), []);
    let messages: Vec<_> = world.failures().into_iter().map(|failure| failure.message).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    for (message, part) in
        messages.iter().zip(["only component", "no component of its collection", "shows no document"])
    {
        assert!(message.contains(part), "{message}");
    }
    assert!(world.app.world().get::<Task>(alone).is_some());
}

#[test]
fn a_whole_document_is_applied_without_an_echo() {
    let mut world = players();
    world.deliver_content("a", 1, 0, content(Some(player("Ada")), Some(at(1.0))), Origin::Remote);
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 1)]);
    world.deliver_content("a", 2, 0, content(Some(player("Grace")), Some(at(2.0))), Origin::Remote);
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!(world.get_as("a"), Some(player("Grace")));
    assert_eq!(world.get_as("a"), Some(at(2.0)));
    assert_eq!(world.sent_by_frame(), []);
}

#[test]
fn a_part_of_a_document_is_applied_without_an_echo() {
    let mut world = players();
    world.deliver_content("a", 1, 0, content(Some(player("Ada")), None), Origin::Remote);
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 1)]);
    assert_eq!(world.get_as::<Position>("a"), None);
    world.changes::<Player>();
    // The rest comes later. A component that the new version lacks stays as it is.
    world.deliver_content("a", 2, 0, content(None, Some(at(2.0))), Origin::Remote);
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!((world.get_as("a"), world.get_as("a")), (Some(player("Ada")), Some(at(2.0))));
    assert_eq!(world.changes::<Player>(), []);
    assert_eq!(world.changes::<Position>(), [told("a", ChangeKind::Inserted, Origin::Remote)]);
    assert_eq!(world.sent_by_frame(), []);
}

#[test]
fn an_observer_of_a_part_that_is_inserted_loses_no_edit() {
    let mut world = players();
    world.deliver_content("a", 1, 0, content(Some(player("Ada")), None), Origin::Remote);
    world.frame();
    world.sent();
    // It edits the component that was replaced just before, and the one that is inserted.
    world.app.add_observer(|add: On<Add, Position>, mut players: Query<(&mut Player, &mut Position)>| {
        let (mut player, mut position) = players.get_mut(add.entity).unwrap();
        player.name.push_str(" the Countess");
        position.y = 5.0;
    });
    world.deliver_content("a", 2, 0, content(Some(player("Ada Lovelace")), Some(at(2.0))), Origin::Remote);
    let edits = world.edits_by_frame();
    assert_eq!(masks(&edits), [0b11]);
    assert_eq!(world.get_as("a"), Some(player("Ada Lovelace the Countess")));
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn a_removed_component_stays_away_and_the_other_is_updated() {
    let mut world = players();
    world.deliver_content("a", 1, 0, content(Some(player("Ada")), Some(at(1.0))), Origin::Remote);
    world.frame();
    world.sent();
    let entity = world.entity("a").unwrap();
    world.app.world_mut().entity_mut(entity).remove::<Position>();
    assert_eq!(world.sent_by_frame(), []);
    world.deliver_content("a", 2, 0, content(Some(player("Grace")), Some(at(2.0))), Origin::Remote);
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!((world.get_as("a"), world.get_as::<Position>("a")), (Some(player("Grace")), None));
}

#[test]
fn each_component_gives_a_collection_of_the_same_documents() {
    let mut world = players();
    world.run(|mut players: Collection<Player>, positions: Collection<Position>| {
        assert!(positions.is_empty());
        players.insert_with_id(id("a"), (player("Ada"), at(1.0)));
        players.insert_with_id(id("b"), player("Grace"));
    });
    assert_eq!(masks(&world.edits_by_frame()), [0b11, 0b01]);
    world.run(|players: Collection<Player>, mut positions: Collection<Position>| {
        assert_eq!((players.len(), positions.len()), (2, 1));
        assert_eq!(players.entity(&id("a")), positions.entity(&id("a")));
        positions.update(&id("a"), |position| position.y = 1.0);
        positions.delete(&id("b"));
    });
    assert_eq!(world.edits_by_frame().len(), 2);
    assert!(world.entity("b").is_none());
}
