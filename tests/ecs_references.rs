//! Documents that refer to others, and whose components are in several collections.

mod common;

use bevy::{
    prelude::*,
    reflect::{FromReflect, TypeRegistry},
};
use bevy_convex_replicate::{
    CollectionIndex, DocumentIndex,
    format::{Value, from_value, to_value},
    limits::DOCUMENT_ID_BYTES,
    prelude::*,
};
use common::*;

/// A component that derives no more than it needs.
#[derive(Component)]
struct Plain;

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq, Reflect)]
struct Turret {
    target: Option<DocumentRef<Task>>,
    owner: DocumentId,
}

fn turret(target: &str) -> Turret {
    Turret { target: Some(DocumentRef::new(target)), owner: id("me") }
}

fn turrets() -> World1 {
    world(|app| {
        app.replicate::<Turret>("turrets").replicate::<Task>("tasks");
    })
}

/// The entity that the turret aims at.
fn aim(world: &mut World1) -> Option<Entity> {
    use bevy::ecs::system::RunSystemOnce;
    let aim = |turrets: Query<&Turret>, documents: Documents| documents.entity(turrets.single().ok()?.target.as_ref()?);
    world.app.world_mut().run_system_once(aim).unwrap()
}

#[test]
fn a_reference_is_a_string_that_is_replaced_whole() {
    let written = to_value(&turret("a")).unwrap();
    assert_eq!(written.get("target"), Some(&Value::Scalar("a".into())));
    assert_eq!(written.get("owner"), Some(&Value::Scalar("me".into())));
    assert_eq!(from_value::<Turret>(&written).unwrap(), turret("a"));
    // A web app may write it as text.
    let text = Value::Map([("owner".to_string(), Value::Text("me".into()))].into());
    assert_eq!(from_value::<Turret>(&text).unwrap(), Turret { target: None, owner: id("me") });
    let json = serde_json::to_string(&DocumentRef::<Plain>::new("a")).unwrap();
    assert_eq!(json, "\"a\"");
    assert_eq!(serde_json::from_str::<DocumentRef<Plain>>(&json).unwrap(), DocumentRef::new("a"));
}

#[test]
fn a_reference_with_an_invalid_name_is_not_read() {
    for name in [String::new(), "x".repeat(DOCUMENT_ID_BYTES + 1)] {
        assert!(from_value::<DocumentRef<Plain>>(&Value::Scalar(name.clone())).is_err());
        assert!(to_value(&DocumentRef::<Plain>::new(name)).is_err());
    }
}

#[test]
fn a_component_with_a_reference_reflects() {
    let mut registry = TypeRegistry::new();
    registry.register::<Turret>();
    let copy = Turret::from_reflect(turret("a").as_partial_reflect()).unwrap();
    assert_eq!(copy, turret("a"));
    let mut other = turret("b");
    other.apply(copy.as_partial_reflect());
    assert_eq!(other, turret("a"));
    assert!(turret("a").reflect_partial_eq(copy.as_partial_reflect()).unwrap());
}

#[test]
fn a_reference_gives_the_entity_that_shows_its_target_now() {
    let mut world = turrets();
    assert_eq!(aim(&mut world), None);
    world.app.world_mut().spawn((turret("a"), id("t")));
    assert_eq!(aim(&mut world), None, "its target has not arrived");
    let target = world.app.world_mut().spawn((task("a"), id("a"))).id();
    assert_eq!(aim(&mut world), Some(target));
    assert_eq!(DocumentRef::<Task>::new("a").entity(world.app.world()), Some(target));
    world.run(move |tasks: Collection<Task>, documents: Documents| {
        let reference = documents.reference::<Task>(target).unwrap();
        assert_eq!(tasks.resolve(&reference), Some(target));
        assert_eq!(documents.reference::<Turret>(target), None, "it is of another collection");
        assert_eq!(documents.collection(target), Some("tasks"));
    });
    world.app.world_mut().despawn(target);
    assert_eq!(aim(&mut world), None, "it is hidden");
    assert_eq!(DocumentRef::<Plain>::new("a").entity(world.app.world()), None, "of no collection");
    assert_eq!(DocumentRef::<Task>::new("a").entity(&World::new()), None, "of no app");
    assert_eq!(world.failures(), []);
}

#[test]
fn a_system_that_waits_for_a_target_reads_that_it_was_inserted() {
    let mut world = turrets();
    world.app.world_mut().spawn((turret("a"), id("t")));
    world.log::<Task>();
    world.frame();
    world.app.world_mut().spawn((task("a"), id("a")));
    world.frame();
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Inserted, Origin::Local)]);
    assert!(aim(&mut world).is_some());
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Player {
    name: String,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Enemy {
    rage: u8,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Place {
    x: f32,
}

fn arena() -> World1 {
    world(|app| {
        app.replicate_components::<(Player, Place)>("players").replicate_components::<(Place, Enemy)>("enemies");
        app.replicate::<Task>("tasks");
    })
}

fn player() -> Player {
    Player { name: "Ada".into() }
}

/// The collection, and the fields of each edit.
fn fields(sent: &[Sent]) -> Vec<Vec<String>> {
    sent.iter()
        .map(|sent| match sent {
            Sent::Put { value: Value::Map(fields), .. } => fields.keys().cloned().collect(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn collection_of(world: &World1, entity: Entity) -> Option<u16> {
    Some(world.app.world().resource::<DocumentIndex>().document(entity)?.collection.0)
}

#[test]
fn a_component_may_be_in_several_collections() {
    let mut world = arena();
    let ada = world.app.world_mut().spawn((player(), Place { x: 1.0 }, id("a"))).id();
    let orc = world.app.world_mut().spawn((Enemy { rage: 9 }, Place { x: 2.0 }, id("a"))).id();
    assert_eq!(fields(&world.edits_by_frame()), [["name", "x"], ["rage", "x"]]);
    assert_eq!((collection_of(&world, ada), collection_of(&world, orc)), (Some(0), Some(1)));
    for entity in [ada, orc] {
        world.app.world_mut().get_mut::<Place>(entity).unwrap().x += 1.0;
        assert_eq!(fields(&world.edits_by_frame()), [["x"]]);
    }
    // A version from elsewhere is shown too.
    world.deliver_content("b", 1, 0, Some(Box::new((Some(player()), Some(Place { x: 3.0 })))), Origin::Remote);
    world.frame();
    assert_eq!(world.get_as("b"), Some(Place { x: 3.0 }));
    assert_eq!(world.app.world().resource::<DocumentIndex>().entity(CollectionIndex(1), &id("b")), None);
    // It is removed from the document of one collection only.
    world.app.world_mut().entity_mut(ada).remove::<Place>();
    world.edits_by_frame();
    world.deliver_content("a", 1, 9, Some(Box::new((Some(player()), Some(Place { x: 4.0 })))), Origin::Remote);
    world.frame();
    assert_eq!(world.get_as::<Place>("a"), None);
    assert_eq!(world.failures(), []);
}

#[test]
fn messages_of_a_shared_component_name_the_collection() {
    let mut world = arena();
    world.app.world_mut().spawn((player(), Place { x: 1.0 }, id("a")));
    let orc = world.app.world_mut().spawn((Enemy { rage: 9 }, Place { x: 2.0 }, id("a"))).id();
    world.frame();
    world.queue(|commands| {
        commands.entity(orc).delete_document();
    });
    world.run(|mut told: MessageReader<DocumentChanged<Place>>, documents: Documents| {
        let of = [documents.collection_of::<Player>().unwrap(), documents.collection_of::<Enemy>().unwrap()];
        let told: Vec<_> = told.read().map(|change| (change.collection, change.kind)).collect();
        let inserted = ChangeKind::Inserted;
        assert_eq!(told, [(of[0], inserted), (of[1], inserted), (of[1], ChangeKind::Removed)]);
        assert_eq!(documents.collection_of::<Place>(), None);
    });
}

#[test]
fn the_component_that_decides_the_collection_may_come_later() {
    let mut world = arena();
    let entity = world.app.world_mut().spawn((Place { x: 1.0 }, id("a"))).id();
    world.app.world_mut().entity_mut(entity).insert(player());
    assert_eq!(fields(&world.edits_by_frame()), [["name", "x"]]);
    assert_eq!(world.failures(), []);
}

#[test]
fn an_entity_that_could_be_of_several_collections_is_reported_once() {
    let mut world = arena();
    let entity = world.app.world_mut().spawn((Place { x: 1.0 }, id("a"))).id();
    assert_eq!(world.edits_by_frame(), []);
    let failures = world.failures();
    assert!(failures.len() == 1 && failures[0].message.contains("players, enemies"), "{failures:?}");
    world.app.world_mut().get_mut::<Place>(entity).unwrap().x = 2.0;
    world.frame();
    assert_eq!(world.failures(), []);
    // The new component decides the collection.
    world.app.world_mut().entity_mut(entity).insert(Enemy { rage: 1 });
    assert_eq!(fields(&world.edits_by_frame()), [["rage", "x"]]);
    // With the components of both, it belongs to neither.
    world.app.world_mut().spawn((player(), Enemy { rage: 1 }, Place { x: 1.0 }, id("both")));
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(world.failures().len(), 1);
}

#[test]
fn a_shared_component_is_no_part_of_a_third_collection() {
    let mut world = arena();
    let entity = world.app.world_mut().spawn((task("one"), Place { x: 1.0 }, id("a"))).id();
    assert_eq!(fields(&world.edits_by_frame()), [["done", "text"]]);
    world.app.world_mut().get_mut::<Place>(entity).unwrap().x = 2.0;
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(world.failures(), []);
}

#[test]
fn a_collection_is_not_found_by_a_shared_component() {
    let mut world = arena();
    world.app.world_mut().spawn((player(), Place { x: 1.0 }, id("a")));
    world.run(|mut places: Collection<Place>, players: Collection<Player>| {
        assert_eq!((places.entity(&id("a")), places.len()), (None, 1));
        assert!(players.entity(&id("a")).is_some());
        places.delete(&id("a"));
    });
    world.frame();
    let failures = world.failures();
    assert!(failures.len() == 1 && failures[0].message.contains("players, enemies"), "{failures:?}");
    assert!(world.entity("a").is_some());
}
