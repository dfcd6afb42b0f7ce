//! What cannot be registered is told, and the app goes on.

mod common;

use bevy::prelude::*;
use bevy_convex_replicate::{ecs::Link, prelude::*, worker::Failure};
use common::*;

#[derive(Component, Serialize, Deserialize, Clone)]
struct Other {
    text: String,
}

#[derive(Component, Serialize, Deserialize, Clone)]
struct Number(f32);

#[derive(Component, Serialize, Deserialize, Clone)]
struct Place {
    x: f32,
}

/// The failure of registering, and proof that the collection `tasks` works nevertheless.
fn refused(build: impl FnOnce(&mut App)) -> Failure {
    let mut world = world(|app| {
        app.replicate::<Task>("tasks");
        build(app);
    });
    world.app.world_mut().spawn((task("works"), id("a")));
    assert_eq!(texts(&world.edits_by_frame()), ["works"]);
    let mut failures = world.failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let failure = failures.remove(0);
    assert_eq!(failure.kind, FailureKind::Registration);
    assert!(failure.collection.is_some());
    failure
}

#[test]
fn a_component_that_is_no_document_is_refused() {
    let failure = refused(|app| {
        app.replicate::<Number>("numbers");
    });
    assert!(failure.to_string().contains("Number"), "{failure}");
}

#[test]
fn a_name_that_is_no_modules_is_refused() {
    let failure = refused(|app| {
        app.replicate::<Other>("my tasks");
    });
    assert!(failure.to_string().starts_with("my tasks: "), "{failure}");
}

#[test]
fn a_collection_or_a_component_registered_twice_is_refused() {
    refused(|app| {
        app.replicate::<Other>("tasks");
    });
    let failure = refused(|app| {
        app.replicate::<Task>("others");
    });
    assert!(failure.message.contains("Task"), "{failure}");
    refused(|app| {
        app.replicate_bundle::<(Other, Other)>("others");
    });
}

#[test]
fn components_with_a_field_of_the_same_name_are_refused() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Note {
        text: String,
    }
    let failure = refused(|app| {
        app.replicate_bundle::<(Other, Note)>("notes");
    });
    assert!(failure.message.contains("`text`"), "{failure}");
}

/// Called as bevy's, which serde knows with bevy's feature `serialize` alone.
mod bevy_ecs {
    pub mod entity {
        #[derive(serde::Serialize, serde::Deserialize, Clone)]
        pub struct Entity(pub u64);
    }
}

#[test]
fn a_component_with_an_entity_is_refused() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Turret {
        range: f32,
        target: Option<bevy_ecs::entity::Entity>,
    }
    let failure = refused(|app| {
        app.replicate::<Turret>("turrets");
    });
    assert!(failure.message.contains("`target`") && failure.message.contains("DocumentRef"), "{failure}");
}

#[test]
fn a_resource_is_refused() {
    #[derive(Resource, Serialize, Deserialize, Clone)]
    struct Settings {
        volume: f32,
    }
    let failure = refused(|app| {
        app.insert_resource(Settings { volume: 1.0 }).replicate::<Settings>("settings");
    });
    assert!(failure.message.contains("is a resource"), "{failure}");
    let failure = refused(|app| {
        app.replicate_bundle::<(Other, Settings)>("settings");
    });
    assert!(failure.message.contains("is a resource"), "{failure}");
}

#[test]
fn a_marker_beside_other_components_is_refused() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Frozen {}
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Unit;
    let failure = refused(|app| {
        app.replicate_bundle::<(Other, Frozen)>("others");
    });
    assert!(failure.message.contains("Frozen has no fields"), "{failure}");
    refused(|app| {
        app.replicate_bundle::<(Unit, Other)>("others");
    });
    // Alone it says all there is to say: that there is such a document.
    let mut world = world(|app| {
        app.replicate::<Frozen>("frozen");
    });
    world.app.world_mut().spawn((Frozen {}, id("a")));
    assert_eq!(world.edits_by_frame().len(), 1);
    assert_eq!(world.failures(), []);
}

#[test]
fn a_collection_without_a_component_of_its_own_is_refused() {
    let failure = refused(|app| {
        app.replicate_bundle::<(Task, Place)>("others");
    });
    assert!(failure.message.contains("every component of tasks"), "{failure}");
}

#[test]
fn a_collection_registered_when_the_app_runs_is_refused() {
    let mut world = tasks();
    world.frame();
    world.app.replicate::<Other>("others");
    world.frame();
    assert_eq!(world.failures().len(), 1);
}

#[test]
fn an_entity_in_two_collections_is_refused() {
    let mut world = world(|app| {
        app.replicate::<Task>("tasks").replicate::<Other>("others");
    });
    let both = world.app.world_mut().spawn((task("one"), Other { text: "two".into() }, id("a"))).id();
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(world.failures().len(), 1);
    assert!(world.app.world().resource::<DocumentIndex>().document(both).is_none());

    // One that gets the second component later stays in the first's collection.
    let later = world.app.world_mut().spawn((task("three"), id("b"))).id();
    world.edits_by_frame();
    world.app.world_mut().entity_mut(later).insert(Other { text: "four".into() });
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(world.failures().len(), 1);
    world.app.world_mut().get_mut::<Task>(later).unwrap().done = true;
    assert_eq!(world.edits_by_frame().len(), 1);
}

#[test]
fn a_component_of_no_collection_is_told_of() {
    let mut world = tasks();
    world.run(|mut others: Collection<Other>| {
        assert!(others.is_empty() && !others.is_ready());
        others.delete(id("a"));
    });
    world.frame();
    assert_eq!(world.failures()[0].kind, FailureKind::Registration);
}

#[test]
fn collections_may_be_registered_before_the_plugin_is_added() {
    let (link, commands, _reports) = Link::channels();
    let mut app = App::new();
    app.replicate::<Task>("tasks")
        .add_plugins((MinimalPlugins, ReplicatePlugin::new("test")))
        .insert_resource(link)
        .replicate::<Other>("others");
    app.finish();
    app.cleanup();
    app.world_mut().spawn((task("one"), id("a")));
    app.world_mut().spawn((Other { text: "two".into() }, id("a")));
    app.update();
    assert_eq!(commands.try_iter().count(), 2);
    assert_eq!(app.world().resource::<SyncStatus>().last_error, None);
}

#[test]
fn documents_without_the_plugin_are_ordinary_entities() {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins);
    let entity = app.world_mut().spawn((task("one"), id("a"))).id();
    app.update();
    app.world_mut().entity_mut(entity).insert(id("b")).remove::<DocumentId>();
    app.world_mut().despawn(entity);
    app.update();
}
