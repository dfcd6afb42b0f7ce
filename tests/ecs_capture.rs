//! Every edit is sent once, wherever in the frame it is made.

mod common;

use bevy::{ecs::entity_disabling::Disabled, prelude::*};
use bevy_convex_replicate::{CollectionIndex, DocumentIndex, prelude::*};
use common::*;

#[test]
fn a_spawned_document_is_sent_once() {
    let mut world = tasks();
    world.log::<Task>();
    world.app.world_mut().spawn((task("milk"), id("a")));
    assert_eq!(world.edits_by_frame(), [put("a", 0, 1, &task("milk"))]);
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Inserted, Origin::Local)]);
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(world.changes::<Task>(), []);
}

#[test]
fn a_document_spawned_before_the_app_runs_is_sent() {
    let mut world = tasks();
    world.app.add_systems(Startup, |mut commands: Commands| {
        commands.spawn((task("startup"), id("a")));
    });
    assert_eq!(texts(&world.edits_by_frame()), ["startup"]);
}

#[test]
fn an_edit_in_place_is_sent_with_the_next_count() {
    let mut world = tasks();
    world.log::<Task>();
    world.app.world_mut().spawn((task("milk"), id("a")));
    world.frame();
    world.changes::<Task>();
    world.sent();
    world.edit("a", |task| task.done = true);
    assert_eq!(world.edits_by_frame(), [put("a", 0, 2, &Task { text: "milk".into(), done: true })]);
    assert_eq!(world.changes::<Task>(), [], "the worker has not compared it yet");
    world.compared("a", 2, &["done"]);
    world.frame();
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Updated, Origin::Local)]);
}

#[test]
fn an_edit_by_a_system_of_any_schedule_is_sent_in_the_same_frame() {
    macro_rules! edits_in {
        ($($schedule:ident)*) => {$({
            let mut world = tasks();
            world.shown("a", task("before"));
            world.app.add_systems($schedule, |mut tasks: Query<&mut Task>, mut done: Local<bool>| {
                if !std::mem::replace(&mut *done, true) {
                    tasks.single_mut().unwrap().text = stringify!($schedule).into();
                }
            });
            assert_eq!(texts(&world.edits_by_frame()), [stringify!($schedule)]);
            assert_eq!(world.edits_by_frame(), []);
        })*};
    }
    edits_in!(First PreUpdate Update PostUpdate);
}

#[test]
fn an_edit_after_capture_is_sent_with_the_next_frame() {
    let mut world = tasks();
    world.shown("a", task("before"));
    world.app.add_systems(
        Last,
        (|mut tasks: Query<&mut Task>, mut done: Local<bool>| {
            if !std::mem::replace(&mut *done, true) {
                tasks.single_mut().unwrap().text = "late".into();
            }
        })
        .after(ReplicateSystems::Capture),
    );
    assert_eq!(world.edits_by_frame(), []);
    assert_eq!(texts(&world.edits_by_frame()), ["late"]);
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn an_edit_in_a_fixed_timestep_is_sent() {
    let mut world = tasks();
    world.shown("a", task("before"));
    world.app.insert_resource(bevy::time::TimeUpdateStrategy::FixedTimesteps(1));
    world.app.add_systems(FixedUpdate, |mut tasks: Query<&mut Task>, mut steps: Local<u32>| {
        *steps += 1;
        tasks.single_mut().unwrap().text = format!("step {}", *steps);
    });
    // The first frame only starts the clock.
    world.frame();
    world.sent();
    let sent: Vec<_> = (0..3).flat_map(|_| texts(&world.edits_by_frame())).collect();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert_eq!(world.get("a").unwrap().text, *sent.last().unwrap());
}

#[test]
fn a_component_inserted_whole_is_sent() {
    let mut world = tasks();
    let entity = world.shown("a", task("before"));
    world.edit("a", |task| task.text = "in between".into());
    world.app.world_mut().entity_mut(entity).insert(task("after"));
    assert_eq!(world.edits_by_frame(), [put("a", 1, 1, &task("after"))]);
}

#[test]
fn an_edit_by_an_observer_or_a_command_is_sent() {
    let mut world = tasks();
    world.shown("a", task("before"));
    #[derive(Event)]
    struct Rename;
    world.app.add_observer(|_: On<Rename>, mut tasks: Query<&mut Task>| {
        tasks.single_mut().unwrap().text.push_str(" observer");
    });
    world.queue(|commands| {
        commands.trigger(Rename);
        commands.queue(|world: &mut World| {
            let mut tasks = world.query::<&mut Task>();
            tasks.single_mut(world).unwrap().text.push_str(" command");
        });
    });
    assert_eq!(texts(&world.edits_by_frame()), ["before observer command"]);
}

#[test]
fn an_entity_becomes_a_document_when_it_gets_an_identity() {
    let mut world = tasks();
    let entity = world.app.world_mut().spawn(task("old")).id();
    assert_eq!(world.edits_by_frame(), []);
    world.frame();
    world.app.world_mut().entity_mut(entity).insert(id("a"));
    assert_eq!(world.edits_by_frame(), [put("a", 0, 1, &task("old"))]);
}

#[test]
fn an_entity_becomes_a_document_when_it_gets_a_component() {
    let mut world = tasks();
    let entity = world.app.world_mut().spawn(id("a")).id();
    assert_eq!(world.edits_by_frame(), []);
    world.app.world_mut().entity_mut(entity).insert(task("later"));
    assert_eq!(world.edits_by_frame(), [put("a", 0, 1, &task("later"))]);
    assert_eq!(world.entity("a"), Some(entity));
}

#[test]
fn a_component_in_a_sparse_set_is_captured_too() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    #[component(storage = "SparseSet")]
    struct Rare {
        text: String,
    }
    let mut world = world(|app| {
        app.replicate::<Rare>("rare");
    });
    let entity = world.app.world_mut().spawn((Rare { text: "one".into() }, id("a"))).id();
    assert_eq!(world.edits_by_frame().len(), 1);
    assert_eq!(world.edits_by_frame(), []);
    world.app.world_mut().get_mut::<Rare>(entity).unwrap().text = "two".into();
    assert_eq!(world.edits_by_frame().len(), 1);
}

#[test]
fn a_disabled_entity_is_captured_too() {
    let mut world = tasks();
    let entity = world.shown("a", task("before"));
    world.app.world_mut().entity_mut(entity).insert(Disabled);
    assert_eq!(world.edits_by_frame(), []);
    world.app.world_mut().get_mut::<Task>(entity).unwrap().text = "while disabled".into();
    assert_eq!(texts(&world.edits_by_frame()), ["while disabled"]);
}

#[test]
fn only_the_documents_that_changed_are_sent() {
    let mut world = tasks();
    for n in 0..200 {
        world.deliver(&format!("{n}"), 1, 0, Some(task(&n.to_string())));
    }
    while world.get("199").is_none() {
        world.frame();
    }
    world.frame();
    world.sent();
    for n in ["0", "63", "64", "65", "199"] {
        world.edit(n, |task| task.done = true);
    }
    let mut sent = texts(&world.edits_by_frame());
    sent.sort();
    assert_eq!(sent, ["0", "199", "63", "64", "65"]);
}

#[test]
fn commands_make_documents() {
    let mut world = tasks();
    world.queue(|commands| {
        let entity = commands.spawn_document(task("one")).id();
        commands.entity(entity).insert(Name::new("a name"));
        commands.spawn_document(task("two"));
    });
    let sent = world.edits_by_frame();
    assert_eq!(texts(&sent), ["one", "two"]);
    assert_eq!(world.app.world().resource::<DocumentIndex>().len(), 2);
}

#[test]
fn a_collection_makes_changes_and_finds_documents() {
    let mut world = tasks();
    world.run(|mut tasks: Collection<Task>| {
        tasks.insert_with_id(id("a"), task("one"));
        tasks.update(&id("a"), |task| task.done = true);
        let two = tasks.insert(task("two"));
        assert!(tasks.get(&two).is_none(), "the command runs after the system");
        assert!(!tasks.is_ready());
    });
    assert_eq!(texts(&world.edits_by_frame()), ["one", "two"]);
    world.run(|tasks: Collection<Task>| {
        assert_eq!(tasks.len(), 2);
        assert!(tasks.get(&id("a")).unwrap().done);
        let entity = tasks.entity(&id("a")).unwrap();
        assert_eq!(tasks.id(entity), Some(&id("a")));
        let mut all: Vec<_> = tasks.iter().map(|(_, _, task)| task.text.clone()).collect();
        all.sort();
        assert_eq!(all, ["one", "two"]);
        assert!(tasks.get(&id("nobody")).is_none());
    });
    world.report(bevy_convex_replicate::worker::Report::Ready(CollectionIndex(0)));
    world.frame();
    world.run(|tasks: Collection<Task>| assert!(tasks.is_ready()));
}

#[test]
fn updating_a_document_that_is_not_shown_is_reported() {
    let mut world = tasks();
    world.run(|mut tasks: Collection<Task>| {
        tasks.update(&id("nobody"), |task| task.done = true);
        tasks.delete(&id("nobody"));
        tasks.show(&id("nobody"));
    });
    assert_eq!(world.edits_by_frame(), []);
    let failures = world.failures();
    assert_eq!(failures.len(), 3);
    assert!(failures.iter().all(|failure| failure.kind == FailureKind::Identity
        && failure.document == Some(id("nobody"))
        && failure.collection.as_deref() == Some("tasks")));
    assert!(world.app.world().resource::<SyncStatus>().last_error.is_some());
}

#[test]
fn unsaved_edits_are_counted_until_the_worker_has_them() {
    use bevy_convex_replicate::worker::{Report, Status};
    let mut world = tasks();
    world.queue(|commands| {
        commands.spawn_document(task("one"));
        commands.spawn_document(task("two"));
    });
    world.frame();
    assert_eq!(world.app.world().resource::<SyncStatus>().unsaved, 2);
    world.report(Report::Status(Status {
        connection: Connection::Live,
        saved: 2,
        lost: 0,
        unsent: 1,
        store_open: true,
    }));
    world.frame();
    let status = world.app.world().resource::<SyncStatus>();
    assert!(status.is_saved() && status.is_live() && !status.is_sent() && status.store_open);
    assert_eq!(status.to_string(), "Live; 1 document waits to be sent");
}

#[test]
fn synchronising_is_switched_by_a_system() {
    let mut world = tasks();
    world.run(|mut sync: SyncControl| {
        sync.go_offline();
        sync.go_online();
        sync.retry();
    });
    assert_eq!(world.sent_by_frame(), [Sent::Online(false), Sent::Online(true), Sent::Retry]);
}

#[test]
fn the_last_edit_before_the_app_exits_is_sent_and_the_link_is_closed() {
    let mut world = tasks();
    world.shown("a", task("before"));
    world.app.add_systems(Update, |mut tasks: Query<&mut Task>, mut exit: MessageWriter<AppExit>| {
        tasks.single_mut().unwrap().text = "last words".into();
        exit.write(AppExit::Success);
    });
    assert_eq!(texts(&world.edits_by_frame()), ["last words"]);
    assert!(!world.app.world().contains_resource::<bevy_convex_replicate::ecs::Link>());
}

#[test]
fn a_name_without_a_component_is_reported_once_and_the_entity_becomes_a_document_when_it_gets_one() {
    #[derive(Component)]
    struct Local;
    let mut world = tasks();
    let entity = world.app.world_mut().spawn((id("a"), Local)).id();
    world.frame();
    assert_eq!(world.failures(), []);
    for _ in 0..10 {
        world.frame();
    }
    let failures = world.failures();
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].kind, failures[0].document.clone()), (FailureKind::Identity, Some(id("a"))));
    world.app.world_mut().entity_mut(entity).insert(task("later"));
    assert_eq!(world.edits_by_frame(), [put("a", 0, 1, &task("later"))]);
    // An entity that gets its component in the next frame is not reported, and neither is one that is despawned.
    let (first, second) = (world.app.world_mut().spawn(id("b")).id(), world.app.world_mut().spawn(id("c")).id());
    world.frame();
    world.app.world_mut().entity_mut(first).insert(task("next"));
    world.app.world_mut().despawn(second);
    for _ in 0..10 {
        world.frame();
    }
    assert_eq!(world.failures(), []);
}
