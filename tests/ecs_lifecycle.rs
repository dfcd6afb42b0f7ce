//! Deleting, despawning, removing, cloning and showing documents.

mod common;

use bevy::prelude::*;
use bevy_convex_replicate::prelude::*;
use common::*;

#[test]
fn deleting_sends_the_last_edits_and_the_deletion() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.log::<Task>();
    world.changes::<Task>();
    world.edit("a", |task| task.text = "last words".into());
    world.queue(|commands| {
        commands.entity(entity).delete_document();
    });
    assert!(world.app.world().get_entity(entity).is_err());
    let deleted = Sent::Delete { id: "a".into(), generation: 1, capture: 2 };
    assert_eq!(world.sent_by_frame(), [put("a", 1, 1, &task("last words")), deleted]);
    let removed = world.changes::<Task>();
    assert_eq!(removed.last(), Some(&told("a", ChangeKind::Removed, Origin::Local)));
    assert_eq!(world.sent_by_frame(), []);
}

#[test]
fn a_version_from_before_the_deletion_brings_nothing_back() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.queue(|commands| {
        commands.entity(entity).delete_document();
    });
    world.deliver("a", 2, 0, Some(task("edited elsewhere")));
    world.frame();
    assert_eq!(world.entity("a"), None);
    world.deliver("a", 3, 1, None);
    world.frame();
    assert_eq!(world.entity("a"), None);
    let applied: Vec<_> = world.sent().into_iter().filter(|sent| !sent.is_edit()).collect();
    assert_eq!(applied, [Sent::Applied("a".into(), 2), Sent::Applied("a".into(), 3)]);
}

#[test]
fn a_deletion_can_be_taken_back() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.log::<Task>();
    world.queue(|commands| {
        commands.entity(entity).delete_document();
    });
    world.run(|mut tasks: Collection<Task>| tasks.restore(&id("a")));
    let restored = Sent::Restore { id: "a".into(), generation: 1, capture: 2 };
    assert_eq!(world.sent_by_frame().last(), Some(&restored));
    world.changes::<Task>();
    // A version from before the restoration is ignored; one from after it is shown.
    world.deliver("a", 2, 1, None);
    world.frame();
    world.deliver("a", 3, 2, Some(task("one")));
    world.frame();
    assert_eq!(world.get("a"), Some(task("one")));
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Inserted, Origin::Remote)]);
}

#[test]
fn a_document_deleted_in_an_earlier_run_can_be_restored() {
    let mut world = tasks();
    world.run(|mut tasks: Collection<Task>| tasks.restore(&id("a")));
    assert_eq!(world.sent_by_frame(), [Sent::Restore { id: "a".into(), generation: 0, capture: 1 }]);
    world.deliver("a", 1, 1, Some(task("from long ago")));
    world.frame();
    assert_eq!(world.get("a"), Some(task("from long ago")));
}

#[test]
fn a_deleted_document_can_be_made_anew() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.queue(|commands| {
        commands.entity(entity).delete_document();
        commands.spawn((task("new"), id("a")));
    });
    let sent = world.sent_by_frame();
    assert_eq!(sent[1], Sent::Restore { id: "a".into(), generation: 1, capture: 2 });
    assert_eq!(sent[2], put("a", 1, 3, &task("new")));
    assert_eq!(world.get("a"), Some(task("new")));
}

#[test]
fn a_document_made_and_deleted_in_one_frame_is_both() {
    let mut world = tasks();
    world.run(|mut tasks: Collection<Task>| {
        tasks.insert_with_id(id("a"), task("short"));
        tasks.delete(&id("a"));
    });
    let deleted = Sent::Delete { id: "a".into(), generation: 0, capture: 2 };
    assert_eq!(world.sent_by_frame(), [put("a", 0, 1, &task("short")), deleted]);
}

#[test]
fn a_deletion_that_was_taken_back_can_be_made_again_before_the_document_is_back() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.log::<Task>();
    world.queue(|commands| {
        commands.entity(entity).delete_document();
    });
    world.run(|mut tasks: Collection<Task>| {
        tasks.restore(&id("a"));
        tasks.delete(&id("a"));
        tasks.delete(&id("a"));
    });
    let sent = world.sent_by_frame();
    assert_eq!(
        sent[1..],
        [
            Sent::Restore { id: "a".into(), generation: 1, capture: 2 },
            Sent::Delete { id: "a".into(), generation: 1, capture: 3 },
        ]
    );
    world.deliver("a", 2, 2, Some(task("one")));
    world.frame();
    assert_eq!(world.entity("a"), None);
}

#[test]
fn a_deleted_document_that_was_made_anew_can_be_deleted_in_the_same_frame() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.log::<Task>();
    world.queue(|commands| {
        commands.entity(entity).delete_document();
        let new = commands.spawn((task("new"), id("a"))).id();
        commands.entity(new).delete_document();
    });
    let sent = world.sent_by_frame();
    assert_eq!(sent.last(), Some(&Sent::Delete { id: "a".into(), generation: 1, capture: 4 }));
    assert_eq!(world.entity("a"), None);
}

#[test]
fn despawning_deletes_nothing_and_hides_the_document() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.app.world_mut().despawn(entity);
    assert_eq!(world.sent_by_frame(), []);
    world.deliver("a", 2, 0, Some(task("edited elsewhere")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!(world.entity("a"), None);
}

#[test]
fn an_edit_in_the_frame_of_the_despawn_is_sent() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.edit("a", |task| task.text = "last words".into());
    world.app.world_mut().despawn(entity);
    assert_eq!(world.sent_by_frame(), [put("a", 1, 1, &task("last words"))]);
}

#[test]
fn a_document_spawned_and_despawned_in_one_frame_is_sent() {
    let mut world = tasks();
    let entity = world.app.world_mut().spawn((task("short"), id("a"))).id();
    world.app.world_mut().despawn(entity);
    assert_eq!(world.sent_by_frame(), [put("a", 0, 1, &task("short"))]);
}

#[test]
fn an_edit_by_an_observer_of_the_despawn_is_sent() {
    #[derive(Component)]
    struct Selected;
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.app.world_mut().entity_mut(entity).insert(Selected);
    world.app.add_observer(|remove: On<Remove, Selected>, mut tasks: Query<&mut Task>| {
        tasks.get_mut(remove.entity).unwrap().text = "no longer selected".into();
    });
    world.app.world_mut().despawn(entity);
    assert_eq!(texts(&world.sent_by_frame()).last().map(String::as_str), Some("no longer selected"));
}

#[test]
fn a_hidden_document_comes_back_when_it_is_shown() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.app.world_mut().despawn(entity);
    world.run(|mut tasks: Collection<Task>| tasks.show(&id("a")));
    assert_eq!(world.sent_by_frame(), [Sent::Show("a".into())]);
    world.deliver("a", 2, 0, Some(task("as it is now")));
    world.frame();
    assert_eq!(world.get("a"), Some(task("as it is now")));
}

#[test]
fn a_hidden_document_that_is_spawned_again_shows_what_is_stored() {
    let mut world = tasks();
    let first = world.shown("a", task("stored"));
    world.app.world_mut().despawn(first);
    world.deliver("a", 2, 0, Some(task("edited elsewhere")));
    world.frame();
    world.sent();
    let again = world.app.world_mut().spawn((task("default"), id("a"))).id();
    assert_eq!(world.sent_by_frame(), [Sent::Show("a".into())], "a default is no edit");
    world.edit("a", |task| task.done = true);
    assert_eq!(world.sent_by_frame(), [], "and neither is an edit of it before the stored version is there");
    world.deliver("a", 3, 0, Some(task("edited elsewhere")));
    world.frame();
    assert_eq!((world.entity("a"), world.get("a")), (Some(again), Some(task("edited elsewhere"))));
    // From now on it is a document like any other.
    world.edit("a", |task| task.done = true);
    assert_eq!(texts(&world.edits_by_frame()), ["edited elsewhere"]);
    assert_eq!(world.failures(), []);
}

#[test]
fn all_hidden_documents_come_back_together() {
    let mut world = tasks();
    for name in ["a", "b", "c"] {
        let entity = world.shown(name, task(name));
        if name != "b" {
            world.app.world_mut().despawn(entity);
        }
    }
    world.run(|mut tasks: Collection<Task>| tasks.show_all());
    let mut sent = world.sent_by_frame();
    sent.sort_by_key(|sent| format!("{sent:?}"));
    assert_eq!(sent, [Sent::Show("a".into()), Sent::Show("c".into())]);
}

#[test]
fn removing_the_identity_hides_the_document_and_keeps_the_entity() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.edit("a", |task| task.text = "kept".into());
    world.app.world_mut().entity_mut(entity).remove::<DocumentId>();
    assert_eq!(texts(&world.sent_by_frame()), ["kept"]);
    world.app.world_mut().get_mut::<Task>(entity).unwrap().text = "no document any more".into();
    world.deliver("a", 2, 0, Some(task("edited elsewhere")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!(world.app.world().get::<Task>(entity), Some(&task("no document any more")));
    // When the identity returns, the value is an edit at the version that was passed over.
    world.app.world_mut().entity_mut(entity).insert(id("a"));
    assert_eq!(world.sent_by_frame(), [put("a", 2, 2, &task("no document any more"))]);
}

#[test]
fn replacing_the_identity_makes_it_another_document() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.edit("a", |task| task.text = "of a".into());
    world.app.world_mut().entity_mut(entity).insert((task("of b"), id("b")));
    assert_eq!(world.sent_by_frame(), [put("a", 1, 1, &task("of a")), put("b", 0, 1, &task("of b"))]);
    assert_eq!((world.entity("a"), world.entity("b")), (None, Some(entity)));
    world.app.world_mut().entity_mut(entity).insert((task("again"), id("b")));
    assert_eq!(world.sent_by_frame(), [put("b", 0, 2, &task("again"))]);
    assert_eq!(world.sent_by_frame(), []);
}

#[test]
fn a_removed_component_stays_away_until_it_is_inserted() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.edit("a", |task| task.text = "last words".into());
    world.app.world_mut().entity_mut(entity).remove::<Task>();
    assert_eq!(world.sent_by_frame(), [put("a", 1, 1, &task("last words"))], "the document keeps its fields");
    world.deliver("a", 2, 1, Some(task("edited elsewhere")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!(world.get("a"), None);
    world.app.world_mut().entity_mut(entity).insert(task("back"));
    assert_eq!(world.sent_by_frame(), [put("a", 2, 2, &task("back"))]);
    world.deliver("a", 3, 2, Some(task("edited again")));
    world.frame();
    assert_eq!(world.get("a"), Some(task("edited again")));
}

#[test]
fn a_removed_component_comes_back_when_the_document_is_shown() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.app.world_mut().entity_mut(entity).remove::<Task>();
    world.run(|mut tasks: Collection<Task>| tasks.show(&id("a")));
    assert_eq!(world.sent_by_frame(), [Sent::Show("a".into())]);
    world.deliver("a", 2, 0, Some(task("one")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!((world.entity("a"), world.get("a")), (Some(entity), Some(task("one"))));
    assert_eq!(world.sent_by_frame(), [], "inserting it is not an edit");
}

#[test]
fn a_clone_is_no_document() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    let clone = world.app.world_mut().entity_mut(entity).clone_and_spawn();
    assert_eq!(world.sent_by_frame(), []);
    assert_eq!(world.app.world().get::<Task>(clone), Some(&task("one")));
    assert!(world.app.world().get::<DocumentId>(clone).is_none());
    world.app.world_mut().get_mut::<Task>(clone).unwrap().done = true;
    assert_eq!(world.sent_by_frame(), []);
    world.app.world_mut().entity_mut(clone).insert(id("b"));
    assert_eq!(world.sent_by_frame(), [put("b", 0, 1, &Task { text: "one".into(), done: true })]);
    assert_eq!(world.entity("a"), Some(entity));
}

#[test]
fn a_document_is_shown_by_one_entity() {
    let mut world = tasks();
    let first = world.shown("a", task("one"));
    let second = world.app.world_mut().spawn((task("two"), id("a"))).id();
    assert_eq!(world.sent_by_frame(), []);
    assert_eq!(world.entity("a"), Some(first));
    let failures = world.failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!((failures[0].kind, &failures[0].document), (FailureKind::Identity, &Some(id("a"))));
    // It is reported once, and despawning the second entity changes nothing.
    world.app.world_mut().get_mut::<Task>(second).unwrap().done = true;
    assert_eq!(world.sent_by_frame(), []);
    world.app.world_mut().despawn(second);
    assert_eq!(world.sent_by_frame(), []);
    assert_eq!(world.failures(), []);
    assert_eq!(world.entity("a"), Some(first));
}

#[test]
fn the_second_entity_of_a_document_takes_the_place_of_the_first() {
    let mut world = tasks();
    let first = world.shown("a", task("one"));
    let second = world.app.world_mut().spawn((task("two"), id("a"))).id();
    world.frame();
    world.app.world_mut().despawn(first);
    // Its own value would revert the document, so the stored version replaces it.
    assert_eq!(world.sent_by_frame(), [Sent::Show("a".into())]);
    assert_eq!(world.entity("a"), Some(second));
    world.deliver("a", 2, 0, Some(task("as stored")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!(world.get("a"), Some(task("as stored")));
    world.edit("a", |task| task.done = true);
    assert_eq!(world.sent_by_frame(), [put("a", 2, 1, &Task { text: "as stored".into(), done: true })]);
    world.app.world_mut().despawn(second);
    assert_eq!((world.sent_by_frame(), world.entity("a")), (vec![], None));
}

#[test]
fn the_second_entity_takes_the_place_in_the_frame_in_which_it_came() {
    let mut world = tasks();
    let first = world.shown("a", task("one"));
    world.edit("a", |task| task.text = "last words".into());
    let third = world.app.world_mut().spawn((task("two"), id("a"))).id();
    world.app.world_mut().spawn((task("three"), id("b")));
    // The first entity becomes another document, which has the same effect as despawning it.
    world.app.world_mut().entity_mut(first).insert((task("four"), id("c")));
    let sent = world.sent_by_frame();
    assert!(sent.contains(&put("a", 1, 1, &task("last words"))) && sent.contains(&Sent::Show("a".into())), "{sent:?}");
    assert_eq!(texts(&sent).len(), 3, "{sent:?}");
    assert_eq!(world.entity("a"), Some(third));
    world.edit("a", |task| task.text = "edited before it was brought up to date".into());
    assert_eq!(texts(&world.sent_by_frame()), ["edited before it was brought up to date"]);
}

#[test]
fn the_second_entity_of_a_deleted_document_is_left_alone() {
    let mut world = tasks();
    let first = world.shown("a", task("one"));
    let second = world.app.world_mut().spawn((task("two"), id("a"))).id();
    world.queue(|commands| {
        commands.entity(first).delete_document();
    });
    assert_eq!(world.sent_by_frame(), [Sent::Delete { id: "a".into(), generation: 1, capture: 1 }]);
    assert_eq!(world.entity("a"), None);
    assert_eq!(world.app.world().get::<Task>(second), Some(&task("two")));
}

#[test]
fn a_document_that_this_world_never_had_can_be_restored_and_deleted() {
    let mut world = tasks();
    world.run(|mut tasks: Collection<Task>| {
        tasks.restore(&id("a"));
        tasks.delete(&id("a"));
        tasks.restore(&id("a"));
        tasks.restore(&id("b"));
    });
    let restored = |id: &str, capture| Sent::Restore { id: id.into(), generation: 0, capture };
    let deleted = Sent::Delete { id: "a".into(), generation: 0, capture: 2 };
    assert_eq!(world.sent_by_frame(), [restored("a", 1), deleted, restored("a", 3), restored("b", 1)]);
    world.deliver("a", 1, 2, None);
    world.deliver("b", 1, 1, Some(task("b")));
    world.frame();
    assert_eq!((world.entity("a"), world.get("b")), (None, Some(task("b"))));
    world.deliver("a", 2, 3, Some(task("a")));
    world.frame();
    assert_eq!(world.get("a"), Some(task("a")));
}

#[test]
fn an_entity_that_is_given_the_name_it_had_keeps_its_document() {
    let mut world = tasks();
    let first = world.shown("a", task("one"));
    let second = world.app.world_mut().spawn((task("two"), id("a"))).id();
    world.frame();
    world.app.world_mut().entity_mut(first).insert(id("a"));
    world.frame();
    assert_eq!(world.entity("a"), Some(first));
    world.app.world_mut().despawn(first);
    world.frame();
    assert_eq!(world.entity("a"), Some(second));
}

#[test]
fn children_are_hidden_with_their_parent() {
    let mut world = tasks();
    let (parent, child, freed) =
        (world.shown("a", task("a")), world.shown("b", task("b")), world.shown("c", task("c")));
    world.app.world_mut().entity_mut(parent).add_children(&[child, freed]);
    world.app.world_mut().get_mut::<Task>(child).unwrap().text = "last words".into();
    world.app.world_mut().entity_mut(freed).remove::<ChildOf>();
    world.app.world_mut().despawn(parent);
    assert_eq!(texts(&world.sent_by_frame()), ["last words"]);
    assert_eq!((world.entity("a"), world.entity("b"), world.entity("c")), (None, None, Some(freed)));
    world.run(|mut tasks: Collection<Task>| tasks.show(&id("b")));
    assert_eq!(world.sent_by_frame(), [Sent::Show("b".into())]);
}

#[test]
fn a_name_that_no_document_can_have_is_reported() {
    let mut world = tasks();
    world.app.world_mut().spawn((task("one"), id("")));
    world.app.world_mut().spawn((task("two"), id(&"x".repeat(129))));
    world.app.world_mut().spawn((task("three"), id(&"x".repeat(128))));
    assert_eq!(texts(&world.sent_by_frame()), ["three"]);
    let failures = world.failures();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures.iter().all(|failure| failure.kind == FailureKind::Identity));
}

#[test]
fn a_marker_of_the_apps_own_is_left_alone() {
    #[derive(Component)]
    struct Selected;
    let mut world = tasks();
    world.app.world_mut().spawn((Selected, task("one"), id("a")));
    assert_eq!(texts(&world.sent_by_frame()), ["one"]);
    let entity = world.entity("a").unwrap();
    world.app.world_mut().entity_mut(entity).remove::<Selected>();
    assert_eq!(world.sent_by_frame(), []);
    world.app.world_mut().entity_mut(entity).insert(Selected);
    assert_eq!(world.sent_by_frame(), []);
    world.deliver("a", 1, 1, Some(task("two")));
    world.frame();
    assert!(world.app.world().get::<Selected>(entity).is_some());
}

#[test]
fn deleting_an_entity_that_is_no_document_is_reported() {
    let mut world = tasks();
    let entity = world.app.world_mut().spawn(task("one")).id();
    world.queue(|commands| {
        commands.entity(entity).delete_document();
    });
    assert_eq!(world.sent_by_frame(), []);
    assert_eq!(world.failures().len(), 1);
    assert!(world.app.world().get_entity(entity).is_ok());
}
