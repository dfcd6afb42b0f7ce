//! Changes of documents as events for observers.

mod common;

use bevy::prelude::*;
use bevy_convex_replicate::{CollectionIndex, prelude::*};
use common::*;

/// The data that an observer saw: name, kind of change, origin, and the entity's value at that time.
type Seen = (String, ChangeKind, Origin, Option<Task>);

#[derive(Resource, Default)]
struct Log(Vec<Seen>);

fn record(event: On<DocumentEvent<Task>>, tasks: Query<&Task>, mut log: ResMut<Log>) {
    let DocumentChanged { id, kind, origin, .. } = &event.change;
    log.0.push((id.to_string(), *kind, *origin, tasks.get(event.entity).ok().cloned()));
}

fn observed() -> World1 {
    let mut world = tasks();
    world.app.init_resource::<Log>().add_observer(record);
    world
}

fn log(world: &mut World1) -> Vec<Seen> {
    std::mem::take(&mut world.app.world_mut().resource_mut::<Log>().0)
}

fn seen(id: &str, kind: ChangeKind, origin: Origin, value: &Task) -> Seen {
    (id.into(), kind, origin, Some(value.clone()))
}

#[test]
fn observers_see_each_change_with_the_new_value() {
    let mut world = observed();
    world.log::<Task>();
    world.deliver("a", 1, 0, Some(task("one")));
    world.frame();
    assert_eq!(log(&mut world), [seen("a", ChangeKind::Inserted, Origin::Remote, &task("one"))]);
    world.deliver("a", 2, 0, Some(task("two")));
    world.frame();
    assert_eq!(log(&mut world), [seen("a", ChangeKind::Updated, Origin::Remote, &task("two"))]);
    world.edit("a", |task| task.text = "three".into());
    world.frame();
    assert_eq!(log(&mut world), [], "the worker has not compared the edit yet");
    world.compared("a", 1, &["text"]);
    world.frame();
    assert_eq!(log(&mut world), [seen("a", ChangeKind::Updated, Origin::Local, &task("three"))]);
    world.app.world_mut().spawn((task("new"), id("b")));
    world.frame();
    assert_eq!(log(&mut world), [seen("b", ChangeKind::Inserted, Origin::Local, &task("new"))]);
    world.frame();
    assert_eq!(log(&mut world), []);
    assert_eq!(world.changes::<Task>().len(), 4, "the messages are the same");
}

#[test]
fn observers_of_a_deletion_still_find_the_entity() {
    let mut world = observed();
    let [here, _] = ["a", "b"].map(|name| world.shown(name, task(name)));
    log(&mut world);
    world.queue(|commands| {
        commands.entity(here).delete_document();
    });
    assert_eq!(log(&mut world), [seen("a", ChangeKind::Removed, Origin::Local, &task("a"))]);
    assert!(world.app.world().get_entity(here).is_err());
    world.deliver("b", 2, 0, None);
    world.frame();
    assert_eq!(log(&mut world), [seen("b", ChangeKind::Removed, Origin::Remote, &task("b"))]);
    assert_eq!(world.entity("b"), None);
}

#[test]
fn an_observer_of_one_entity_sees_its_changes_alone() {
    let mut world = tasks();
    world.app.init_resource::<Log>();
    let [a, _] = ["a", "b"].map(|name| world.shown(name, task(name)));
    world.app.world_mut().entity_mut(a).observe(record);
    for name in ["a", "b"] {
        world.deliver(name, 2, 0, Some(task("changed")));
    }
    world.frame();
    assert_eq!(log(&mut world), [seen("a", ChangeKind::Updated, Origin::Remote, &task("changed"))]);
}

#[test]
fn an_observer_may_edit_the_document_and_make_others() {
    let mut world = tasks();
    world.app.add_observer(|event: On<DocumentEvent<Task>>, mut tasks: Query<&mut Task>, mut commands: Commands| {
        let DocumentChanged { id, origin, .. } = &event.change;
        if *origin == Origin::Remote {
            tasks.get_mut(event.entity).unwrap().done = true;
            commands.spawn((task("made by the observer"), DocumentId::new(format!("{id}-copy"))));
        }
    });
    for name in ["a", "b"] {
        world.deliver(name, 1, 0, Some(task(name)));
    }
    let mut edits = world.edits_by_frame();
    edits.sort_by_key(|sent| format!("{sent:?}"));
    let done = |name: &str| Task { text: name.into(), done: true };
    let copy = |name: &str| put(name, 0, 1, &task("made by the observer"));
    assert_eq!(edits, [put("a", 1, 1, &done("a")), copy("a-copy"), put("b", 1, 1, &done("b")), copy("b-copy")]);
    assert_eq!((world.get("a"), world.get("b")), (Some(done("a")), Some(done("b"))));
}

#[test]
fn an_observer_may_despawn_the_entity_of_a_deleted_document() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.app.add_observer(|event: On<DocumentEvent<Task>>, mut commands: Commands| {
        commands.entity(event.entity).despawn();
    });
    world.deliver("a", 2, 0, None);
    world.frame();
    assert!(world.app.world().get_entity(entity).is_err());
    assert_eq!((world.entity("a"), world.failures()), (None, vec![]));
}

#[test]
fn an_observer_that_deletes_a_document_again_changes_nothing() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.app.add_observer(|event: On<DocumentEvent<Task>>, mut commands: Commands| {
        commands.entity(event.entity).delete_document();
    });
    world.deliver("a", 2, 0, None);
    world.frame();
    assert!(world.app.world().get_entity(entity).is_err());
    assert_eq!((world.entity("a"), world.failures()), (None, vec![]));
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn an_app_can_test_its_readers_and_observers_without_documents() {
    let mut app = App::new();
    app.add_message::<DocumentChanged<Task>>().init_resource::<Log>().add_observer(record);
    let entity = app.world_mut().spawn(task("one")).id();
    let change =
        DocumentChanged::<Task>::new(CollectionIndex(0), id("a"), Some(entity), ChangeKind::Updated, Origin::Remote);
    app.world_mut().write_message(change.clone());
    app.world_mut().trigger(DocumentEvent::new(entity, change));
    assert_eq!(app.world().resource::<Messages<DocumentChanged<Task>>>().len(), 1);
    let log = &app.world().resource::<Log>().0;
    assert_eq!(*log, [seen("a", ChangeKind::Updated, Origin::Remote, &task("one"))]);
}
