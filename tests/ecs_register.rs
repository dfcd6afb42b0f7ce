//! Registering collections: a mistake panics while the app is built, and the message says what to do.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bevy::{
    ecs::reflect::{AppTypeRegistry, ReflectComponent},
    prelude::*,
    reflect::GetTypeRegistration,
};
use bevy_convex_replicate::{DocumentIndex, ecs::Link, format, prelude::*};
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

/// The message of the panic when `build` registers a collection. The collection `tasks` is registered before.
fn refused(build: impl FnOnce(&mut App)) -> String {
    let (link, ..) = Link::channels();
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, ReplicatePlugin::new("test"))).insert_resource(link).replicate::<Task>("tasks");
    panic_of(|| build(&mut app))
}

/// The message with which `build` panics.
fn panic_of(build: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(build)).expect_err("it panics");
    *panic.downcast::<String>().expect("the message is formatted")
}

#[test]
fn a_component_that_is_no_document_is_refused() {
    let failure = refused(|app| {
        app.replicate::<Number>("numbers");
    });
    assert!(failure.contains("Number"), "{failure}");
}

#[test]
fn a_name_that_no_module_can_have_is_refused() {
    let failure = refused(|app| {
        app.replicate::<Other>("my tasks");
    });
    assert!(failure.contains("\"my tasks\"") && failure.contains("module in Convex"), "{failure}");
}

#[test]
fn a_collection_or_a_component_registered_twice_is_refused() {
    let failure = refused(|app| {
        app.replicate::<Other>("tasks");
    });
    assert!(failure.contains("another collection has that name"), "{failure}");
    let failure = refused(|app| {
        app.replicate::<Task>("others");
    });
    assert!(failure.contains("Task"), "{failure}");
    let failure = refused(|app| {
        app.replicate_components::<(Other, Other)>("others");
    });
    assert!(failure.contains("Other is listed twice"), "{failure}");
}

#[test]
fn components_with_a_field_of_the_same_name_are_refused() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Note {
        text: String,
    }
    let failure = refused(|app| {
        app.replicate_components::<(Other, Note)>("notes");
    });
    assert!(failure.contains("`text`"), "{failure}");
}

/// Named like bevy's entity, which has serde only with bevy's feature `serialize`.
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
    assert!(failure.contains("`target`") && failure.contains("DocumentRef"), "{failure}");
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
    assert!(failure.contains("is a resource"), "{failure}");
    let failure = refused(|app| {
        app.replicate_components::<(Other, Settings)>("settings");
    });
    assert!(failure.contains("is a resource"), "{failure}");
}

#[test]
fn a_marker_beside_other_components_is_refused() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Frozen {}
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Unit;
    let failure = refused(|app| {
        app.replicate_components::<(Other, Frozen)>("others");
    });
    assert!(failure.contains("Frozen has no fields"), "{failure}");
    let failure = refused(|app| {
        app.replicate_components::<(Unit, Other)>("others");
    });
    assert!(failure.contains("a struct without fields"), "{failure}");
    // Alone it needs no fields: the document itself says that it is there.
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
        app.replicate_components::<(Task, Place)>("others");
    });
    assert!(failure.contains("every component of tasks"), "{failure}");
}

#[test]
fn a_collection_registered_when_the_app_runs_is_refused() {
    let mut world = tasks();
    world.frame();
    let failure = panic_of(|| {
        world.app.replicate::<Other>("others");
    });
    assert!(failure.contains("running already"), "{failure}");
    world.app.world_mut().spawn((task("works"), id("a")));
    assert_eq!(texts(&world.edits_by_frame()), ["works"]);
}

#[test]
fn a_hierarchy_without_its_component_is_refused() {
    let started = |build: fn(&mut App)| {
        let mut world = world(build);
        panic_of(|| world.app.finish())
    };
    let failure = started(|app| {
        app.replicate::<Task>("tasks").replicate_hierarchy::<Task>();
    });
    assert!(failure.contains("is in no collection"), "{failure}");
    let failure = started(|app| {
        app.replicate_components::<(Task, DocumentParent<Other>)>("tasks").replicate_hierarchy::<Other>();
    });
    assert!(failure.contains("the parents of"), "{failure}");
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

    // An entity that gets the second component later stays in the collection of the first.
    let later = world.app.world_mut().spawn((task("three"), id("b"))).id();
    world.edits_by_frame();
    world.app.world_mut().entity_mut(later).insert(Other { text: "four".into() });
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(world.failures().len(), 1);
    world.app.world_mut().get_mut::<Task>(later).unwrap().done = true;
    assert_eq!(world.edits_by_frame().len(), 1);
}

#[test]
fn a_component_of_no_collection_is_reported() {
    let mut world = tasks();
    world.run(|mut others: Collection<Other>| {
        assert!(others.is_empty() && !others.is_ready());
        others.delete(&id("a"));
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
fn tools_see_the_librarys_components_by_reflection() {
    fn is_seen<T: GetTypeRegistration>(world: &World, entity: Entity) -> bool {
        let registry = world.resource::<AppTypeRegistry>().read();
        let component = registry.get_type_data::<ReflectComponent>(std::any::TypeId::of::<T>());
        component.expect("it is registered as a component").reflect(world.entity(entity)).is_some()
    }
    let mut world = world(|app| {
        app.replicate_components::<(Task, DocumentParent<Task>)>("tasks").replicate_hierarchy::<Task>();
    });
    let parent = DocumentParent::<Task>::new("b");
    let entity = world.app.world_mut().spawn((task("one"), parent, id("a"))).id();
    world.frame();
    let world = world.app.world();
    assert!(is_seen::<DocumentId>(world, entity));
    assert!(is_seen::<DocumentParent<Task>>(world, entity));
    assert!(!is_seen::<Misfit>(world, entity), "the document fits");
}

/// A component as an app writes it for tools such as bevy-inspector-egui.
#[derive(Component, Reflect, Serialize, Deserialize, Clone)]
#[reflect(Component)]
struct Seen {
    column: Scalar<String>,
    votes: Counter,
    due: Timestamp,
    picture: Bytes,
    colour: Whole<[f32; 3]>,
    steps: KeyedList<String>,
    first: Option<ItemKey>,
    parent: Option<DocumentRef<Task>>,
}

#[test]
fn tools_edit_a_component_with_the_librarys_types_by_reflection() {
    let mut world = world(|app| {
        app.register_type::<Seen>().replicate::<Seen>("seen");
    });
    let seen = Seen {
        column: "todo".into(),
        votes: Counter(1),
        due: Timestamp(2),
        picture: vec![3].into(),
        colour: Whole([0.0, 0.5, 1.0]),
        steps: ["one".to_owned()].into_iter().collect(),
        first: None,
        parent: None,
    };
    let entity = world.app.world_mut().spawn((seen, id("a"))).id();
    assert_eq!(world.edits_by_frame().len(), 1);

    let registry = world.app.world().resource::<AppTypeRegistry>().clone();
    let registry = registry.read();
    let component = registry.get_type_data::<ReflectComponent>(std::any::TypeId::of::<Seen>()).expect("a component");
    let mut reflected = component.reflect_mut(world.app.world_mut().entity_mut(entity)).expect("the entity has it");
    let fields = reflected.reflect_mut().as_struct().expect("named fields");
    assert_eq!(
        fields.field("steps").and_then(|steps| steps.try_downcast_ref::<KeyedList<String>>()).unwrap()[0],
        "one"
    );
    *fields.field_mut("votes").and_then(|votes| votes.try_downcast_mut::<Counter>()).unwrap() += 4;
    assert_eq!(world.edits_by_frame().len(), 1);
    assert_eq!(world.app.world().get::<Seen>(entity).unwrap().votes, Counter(5));
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

#[test]
fn a_collection_for_pages_of_the_original_library_refuses_types_that_break_them() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Score {
        points: format::Counter,
    }
    let told = refused(|app| {
        app.replicate::<Score>("scores").web_compatible("scores");
    });
    for part in ["\"scores\" cannot be web_compatible", "`points` is a Counter", "docs/web.md"] {
        assert!(told.contains(part), "{told}");
    }
    let told = refused(|app| {
        app.replicate_components::<(Other, Score)>("both").web_compatible("both");
    });
    assert!(told.contains("`points` is a Counter"), "{told}");
    assert!(
        refused(|app| {
            app.web_compatible("notes");
        })
        .contains("after replicate")
    );
    let (link, ..) = Link::channels();
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, ReplicatePlugin::new("test"))).insert_resource(link);
    app.replicate::<Other>("others").web_compatible("others");
}
