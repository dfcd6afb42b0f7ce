//! Whole apps on an embedded backend: documents that refer to others, and parents.

mod whole;

use std::{collections::BTreeMap, path::Path};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};
use whole::{failures, is_quiet, until};

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Task {
    text: String,
    after: Option<DocumentRef<Task>>,
}

fn app(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    whole::app(|app| {
        app.add_plugins(configure(ReplicatePlugin::new("entities").store(store)))
            .replicate_components::<(Task, DocumentParent<Task>)>("tasks")
            .replicate_hierarchy::<Task>();
    })
}

fn task(name: &str) -> (Task, DocumentId) {
    (Task { text: name.into(), after: None }, DocumentId::new(name))
}

fn entity(app: &App, name: &str) -> Option<Entity> {
    DocumentRef::<Task>::new(name).entity(app.world())
}

/// The parent of each document, by name.
fn family(app: &mut App) -> BTreeMap<String, Option<String>> {
    let world = app.world_mut();
    let mut all = world.query::<(&DocumentId, Option<&ChildOf>)>();
    all.iter(world)
        .map(|(id, child)| {
            let parent = child.and_then(|child| world.get::<DocumentId>(child.parent()));
            (id.to_string(), parent.map(DocumentId::to_string))
        })
        .collect()
}

fn is(expected: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    expected.iter().map(|(name, parent)| (name.to_string(), parent.map(str::to_string))).collect()
}

#[track_caller]
fn both_show(apps: &mut [&mut App], expected: &[(&str, Option<&str>)]) {
    let expected = is(expected);
    until("both show the same family", apps, |apps| {
        apps.iter_mut().all(|app| is_quiet(app) && family(app) == expected).then_some(())
    });
}

fn put_below(app: &mut App, child: &str, parent: &str) {
    let (child, parent) = (entity(app, child).unwrap(), entity(app, parent).unwrap());
    app.world_mut().entity_mut(child).insert(ChildOf(parent));
}

#[test]
fn a_family_is_the_same_in_every_app_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let store = |name: &str| folder.path().join(name);
    let mut one = app(&store("one"), |plugin| plugin.deployment(backend.url()));
    let mut two = app(&store("two"), |plugin| plugin.deployment(backend.url()));
    for name in ["a", "b", "c", "d"] {
        one.world_mut().spawn(task(name));
    }
    let orphans = [("a", None), ("b", None), ("c", None), ("d", None)];
    both_show(&mut [&mut one, &mut two], &orphans);
    put_below(&mut one, "c", "b");
    put_below(&mut one, "d", "c");
    both_show(&mut [&mut one, &mut two], &[("a", None), ("b", None), ("c", Some("b")), ("d", Some("c"))]);

    // In one frame each app puts the parent of the other app below its own: no edit is lost, and both show the same.
    put_below(&mut one, "a", "b");
    put_below(&mut two, "b", "a");
    both_show(&mut [&mut one, &mut two], &[("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("c"))]);
    // The second app shows this family also before the first app's edit has come.
    until("both documents name the parents that were set", &mut [&mut one, &mut two], |apps| {
        let named = |app: &App, name| app.world().get::<DocumentParent<Task>>(entity(app, name)?).cloned();
        let is_named = |app: &App| {
            named(app, "a") == Some(DocumentParent::new("b")) && named(app, "b") == Some(DocumentParent::new("a"))
        };
        apps.iter().all(|app| is_named(app)).then_some(())
    });
    let row = backend.rows("tasks").into_iter().find(|(id, _)| id.as_str() == "b").unwrap().1;
    let convex::Value::Object(row) = row else { panic!("a row is an object: {row:?}") };
    assert_eq!(row["parent"], "a".into());

    drop(one);
    let mut again = app(&store("one"), |plugin| plugin.deployment(backend.url()));
    both_show(&mut [&mut again, &mut two], &[("a", None), ("b", Some("a")), ("c", Some("b")), ("d", Some("c"))]);
    // When `b` leaves the cycle, the reference that was not followed is followed.
    let b = entity(&two, "b").unwrap();
    two.world_mut().entity_mut(b).remove::<ChildOf>();
    both_show(&mut [&mut again, &mut two], &[("a", Some("b")), ("b", None), ("c", Some("b")), ("d", Some("c"))]);

    // The children of a deleted parent stay.
    let b = entity(&two, "b").unwrap();
    two.world_mut().commands().entity(b).delete_document();
    both_show(&mut [&mut again, &mut two], &[("a", None), ("c", None), ("d", Some("c"))]);
    assert!(failures(&again).is_empty() && failures(&two).is_empty());
}

/// Named like bevy's entity, which has serde only with bevy's feature `serialize`.
mod bevy_ecs {
    pub mod entity {
        #[derive(serde::Serialize, serde::Deserialize, Clone)]
        pub struct Entity(pub u64);
    }
}

#[derive(Serialize, Deserialize, Clone)]
enum Order {
    Rest,
    Follow { leader: bevy_ecs::entity::Entity },
}

#[derive(Component, Serialize, Deserialize, Clone)]
struct Soldier {
    order: Order,
}

#[test]
fn an_entity_deep_in_a_component_is_refused_at_the_edit() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = whole::app(|app| {
        app.add_plugins(ReplicatePlugin::new("entities").store(folder.path().join("one")));
        app.replicate::<Soldier>("soldiers");
    });
    let order = Order::Follow { leader: bevy_ecs::entity::Entity(7) };
    let soldier = app.world_mut().spawn((Soldier { order }, DocumentId::new("a"))).id();
    let failure = until("it is told", &mut [&mut app], |apps| failures(apps[0]).first().cloned());
    let message = failure.to_string();
    assert!(message.contains("order.Follow.leader") && message.contains("DocumentRef"), "{message}");
    // The next good edit is saved.
    app.world_mut().get_mut::<Soldier>(soldier).unwrap().order = Order::Rest;
    whole::until_it("it is saved", &mut app, |app| whole::status(app).is_saved());
    drop(app);
    let mut app = whole::app(|app| {
        app.add_plugins(ReplicatePlugin::new("entities").store(folder.path().join("one")));
        app.replicate::<Soldier>("soldiers");
    });
    whole::until_it("it is there", &mut app, |app| {
        let world = app.world_mut();
        world.query::<&Soldier>().iter(world).any(|soldier| matches!(soldier.order, Order::Rest))
    });
    assert!(failures(&app).is_empty());
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Badge {
    number: u32,
}

#[test]
fn a_component_whose_edit_was_refused_stays_when_others_edit_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let app = |name: &str| {
        whole::app(|app| {
            let plugin = ReplicatePlugin::new("entities").store(folder.path().join(name)).deployment(backend.url());
            app.add_plugins(plugin).replicate_components::<(Badge, Soldier)>("soldiers");
        })
    };
    let (mut one, mut two) = (app("one"), app("two"));
    let badge = |app: &mut App| app.world_mut().query::<&Badge>().iter(app.world()).next().cloned();
    let soldier = one.world_mut().spawn((Badge { number: 1 }, DocumentId::new("a"))).id();
    until("both have it", &mut [&mut one, &mut two], |apps| {
        apps.iter_mut().all(|app| badge(app).is_some()).then_some(())
    });
    let order = Order::Follow { leader: bevy_ecs::entity::Entity(7) };
    one.world_mut().entity_mut(soldier).insert(Soldier { order });
    until("it is told", &mut [&mut one], |apps| failures(apps[0]).first().cloned());
    let world = two.world_mut();
    world.query::<&mut Badge>().single_mut(world).unwrap().number = 2;
    until("the edit is there", &mut [&mut one, &mut two], |apps| {
        apps.iter_mut().all(|app| badge(app) == Some(Badge { number: 2 })).then_some(())
    });
    assert!(one.world().get::<Soldier>(soldier).is_some());
    // The next good edit brings it to the other one.
    one.world_mut().get_mut::<Soldier>(soldier).unwrap().order = Order::Rest;
    until("both have it", &mut [&mut one, &mut two], |apps| {
        let world = apps[1].world_mut();
        world.query::<&Soldier>().iter(world).next().map(|_| ())
    });
}

#[test]
fn a_reference_set_by_two_at_once_is_one_of_the_two() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut one = app(&folder.path().join("one"), |plugin| plugin.deployment(backend.url()));
    let mut two = app(&folder.path().join("two"), |plugin| plugin.deployment(backend.url()));
    one.world_mut().spawn(task("a"));
    both_show(&mut [&mut one, &mut two], &[("a", None)]);
    let names = ["a-first-target", "another-target"];
    for (app, name) in [&mut one, &mut two].into_iter().zip(names) {
        let a = entity(app, "a").unwrap();
        app.world_mut().get_mut::<Task>(a).unwrap().after = Some(DocumentRef::new(name));
    }
    let after = |app: &App| app.world().get::<Task>(entity(app, "a").unwrap()).unwrap().after.clone();
    let last = until("both have one of the two", &mut [&mut one, &mut two], |apps| {
        let [one, two] = [after(apps[0])?, after(apps[1])?];
        (apps.iter().all(|app| is_quiet(app)) && one == two).then_some(one)
    });
    assert!(names.contains(&last.id().as_str()), "{last}: names are not merged letter by letter");
    assert_eq!(last.entity(one.world()), None);
    // The target arrives.
    two.world_mut().spawn((Task { text: "target".into(), after: None }, last.id().clone()));
    until("it is found", &mut [&mut one, &mut two], |apps| last.entity(apps[0].world()));
}
