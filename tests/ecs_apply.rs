//! Versions from elsewhere enter the world, are not sent back, and revert nothing.

mod common;

use std::time::{Duration, Instant};

use bevy::{
    ecs::{lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
};
use bevy_convex_replicate::{CollectionIndex, DocumentIndex, prelude::*, worker::Report};
use common::*;

/// The longest that a test runs frames until a condition is true.
const DEADLINE: Duration = Duration::from_secs(60);

fn until(world: &mut World1, mut condition: impl FnMut(&mut World1) -> bool) {
    let start = Instant::now();
    while !condition(world) {
        assert!(start.elapsed() < DEADLINE, "the condition does not become true");
        world.frame();
    }
}

#[test]
fn a_document_from_elsewhere_gets_an_entity_and_is_not_sent_back() {
    let mut world = tasks();
    world.log::<Task>();
    world.deliver("a", 1, 0, Some(task("from elsewhere")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 1)]);
    assert_eq!(world.get("a"), Some(task("from elsewhere")));
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Inserted, Origin::Remote)]);
    for _ in 0..3 {
        assert_eq!(world.sent_by_frame(), []);
    }
}

#[test]
fn a_document_is_updated_in_place_and_not_sent_back() {
    let mut world = tasks();
    world.log::<Task>();
    let entity = world.shown("a", task("one"));
    world.changes::<Task>();
    world.deliver("a", 2, 0, Some(task("two")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!((world.entity("a"), world.get("a")), (Some(entity), Some(task("two"))));
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Updated, Origin::Remote)]);
    assert_eq!(world.sent_by_frame(), []);
}

#[test]
fn systems_see_what_was_applied_as_a_change() {
    #[derive(Resource, Default)]
    struct Seen(Vec<String>);
    let mut world = tasks();
    world.app.init_resource::<Seen>().add_systems(
        Update,
        |tasks: Query<&Task, Changed<Task>>, mut seen: ResMut<Seen>| {
            seen.0.extend(tasks.iter().map(|task| task.text.clone()));
        },
    );
    world.shown("a", task("one"));
    world.deliver("a", 2, 0, Some(task("two")));
    world.frame().frame();
    assert_eq!(world.app.world().resource::<Seen>().0, ["one", "two"]);
}

#[test]
fn an_edit_of_a_version_just_applied_is_sent_at_its_generation() {
    let mut world = tasks();
    world.app.add_systems(Update, |mut tasks: Query<&mut Task, Added<Task>>| {
        for mut task in &mut tasks {
            task.done = true;
        }
    });
    world.deliver("a", 7, 0, Some(task("one")));
    assert_eq!(
        world.sent_by_frame(),
        [Sent::Applied("a".into(), 7), put("a", 7, 1, &Task { text: "one".into(), done: true })]
    );
}

#[test]
fn an_edit_between_capture_and_apply_is_sent_before_it_is_overwritten() {
    let mut world = tasks();
    world.shown("a", task("one"));
    // After Last and before PreUpdate: the remote version does not include it.
    world.edit("a", |task| task.done = true);
    world.deliver("a", 2, 0, Some(task("remote")));
    assert_eq!(world.sent_by_frame(), [put("a", 1, 1, &Task { text: "one".into(), done: true })]);
    assert_eq!(world.get("a"), Some(Task { text: "one".into(), done: true }), "the edit does not blink");
    // The worker has merged both.
    world.deliver("a", 3, 1, Some(Task { text: "remote".into(), done: true }));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 3)]);
    assert_eq!(world.get("a"), Some(Task { text: "remote".into(), done: true }));
    assert_eq!(world.sent_by_frame(), []);
}

#[test]
fn a_version_that_lacks_a_captured_edit_waits_for_one_that_has_it() {
    let mut world = tasks();
    world.shown("a", task("one"));
    world.edit("a", |task| task.text = "mine".into());
    world.frame();
    world.deliver("a", 2, 0, Some(task("theirs")));
    for _ in 0..5 {
        world.frame();
        assert_eq!(world.get("a"), Some(task("mine")));
    }
    world.deliver("a", 3, 1, Some(task("merged")));
    world.frame();
    assert_eq!(world.get("a"), Some(task("merged")));
    let sent = world.sent();
    assert_eq!(sent, [put("a", 1, 1, &task("mine")), Sent::Applied("a".into(), 3)]);
}

#[test]
fn a_version_does_not_wait_forever() {
    let mut world = tasks();
    world.shown("a", task("one"));
    world.edit("a", |task| task.text = "mine".into());
    world.frame();
    world.sent();
    world.deliver("a", 2, 0, Some(task("theirs")));
    until(&mut world, |world| world.get("a") == Some(task("theirs")));
    assert_eq!(world.sent(), [Sent::Applied("a".into(), 2)]);
    // The next edit is made at that version.
    world.edit("a", |task| task.done = true);
    assert_eq!(world.edits_by_frame(), [put("a", 2, 2, &Task { text: "theirs".into(), done: true })]);
}

#[test]
fn an_app_that_edits_in_every_frame_shows_the_edits_of_others() {
    let mut world = tasks();
    world.shown("a", task(""));
    world.app.add_systems(Update, |mut tasks: Query<&mut Task>| {
        for mut task in &mut tasks {
            task.text.push('.');
        }
    });
    world.frame();
    let mut generation = 1;
    // The worker is always one edit behind.
    until(&mut world, |world| {
        generation += 1;
        let sent = world.sent();
        let seen = sent.iter().filter_map(|sent| match sent {
            Sent::Put { capture, .. } => Some(capture - 1),
            _ => None,
        });
        let seen = seen.max().unwrap_or_default();
        world.deliver("a", generation, seen, Some(Task { text: String::new(), done: true }));
        world.get("a").unwrap().done
    });
}

#[test]
fn a_newer_version_takes_the_place_of_one_that_waits() {
    let mut world = tasks();
    world.log::<Task>();
    for generation in 1..=5 {
        world.deliver("a", generation, 0, Some(task(&generation.to_string())));
    }
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 5)]);
    assert_eq!(world.get("a"), Some(task("5")));
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Inserted, Origin::Remote)]);
}

#[test]
fn a_document_deleted_elsewhere_is_despawned() {
    let mut world = tasks();
    world.log::<Task>();
    let entity = world.shown("a", task("one"));
    world.changes::<Task>();
    world.deliver("a", 2, 0, None);
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert!(world.app.world().get_entity(entity).is_err());
    assert_eq!(world.entity("a"), None);
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Removed, Origin::Remote)]);
    world.deliver("a", 3, 0, Some(task("restored elsewhere")));
    world.frame();
    assert_eq!(world.get("a"), Some(task("restored elsewhere")));
}

#[test]
fn an_edit_of_a_document_that_is_deleted_elsewhere_is_sent_first() {
    let mut world = tasks();
    world.shown("a", task("one"));
    world.edit("a", |task| task.text = "still typing".into());
    world.deliver("a", 2, 0, None);
    assert_eq!(texts(&world.sent_by_frame()), ["still typing"]);
    assert!(world.entity("a").is_some());
    world.deliver("a", 3, 1, None);
    world.frame();
    assert_eq!(world.entity("a"), None);
}

#[test]
fn an_observer_during_apply_loses_no_edit_and_echoes_nothing() {
    let mut world = tasks();
    world.app.add_observer(|add: On<Add, Task>, mut tasks: Query<&mut Task>| {
        let mut task = tasks.get_mut(add.entity).unwrap();
        if task.text == "edit me" {
            task.done = true;
        }
    });
    world.deliver("a", 1, 0, Some(task("leave me")));
    world.deliver("b", 1, 0, Some(task("edit me")));
    world.deliver("c", 1, 0, Some(task("leave me")));
    assert_eq!(world.edits_by_frame(), [put("b", 1, 1, &Task { text: "edit me".into(), done: true })]);
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn a_hook_of_the_component_during_apply_loses_no_edit_and_echoes_nothing() {
    #[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
    #[component(on_add = tidy, on_insert = count)]
    struct Hooked {
        text: String,
        inserts: u32,
    }
    fn tidy(mut world: DeferredWorld, context: HookContext) {
        let mut hooked = world.get_mut::<Hooked>(context.entity).unwrap();
        if hooked.text.ends_with(' ') {
            hooked.text = hooked.text.trim().into();
        }
    }
    fn count(mut world: DeferredWorld, context: HookContext) {
        let mut hooked = world.get_mut::<Hooked>(context.entity).unwrap();
        if hooked.text == "count" {
            hooked.inserts += 1;
        }
    }
    let mut world = world(|app| {
        app.replicate::<Hooked>("tasks");
    });
    let content = |text: &str| Some(Box::new((Some(Hooked { text: text.into(), inserts: 0 }),)) as Box<_>);
    world.deliver_content("plain", 1, 0, content("plain"), Origin::Remote);
    world.deliver_content("tidied", 1, 0, content("blank "), Origin::Remote);
    world.deliver_content("counted", 1, 0, content("count"), Origin::Remote);
    let edits = world.edits_by_frame();
    let edited: Vec<_> = edits
        .iter()
        .map(|edit| match edit {
            Sent::Put { id, generation: 1, capture: 1, .. } => id.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(edited, ["tidied", "counted"]);
    assert_eq!(world.get_as::<Hooked>("tidied").unwrap().text, "blank");
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn a_command_of_an_observer_during_apply_is_an_edit() {
    let mut world = tasks();
    world.app.add_observer(|add: On<Insert, Task>, mut commands: Commands| {
        let entity = add.entity;
        commands.queue(move |world: &mut World| {
            let mut task = world.get_mut::<Task>(entity).unwrap();
            if task.text == "a" {
                task.text = "by command".into();
            }
        });
    });
    world.deliver("a", 1, 0, Some(task("a")));
    assert_eq!(texts(&world.edits_by_frame()), ["by command"]);
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn an_observer_during_apply_may_edit_a_document_that_was_applied_before_and_one_that_comes_after() {
    let mut world = tasks();
    for name in ["before", "after"] {
        world.shown(name, task("old"));
    }
    world.app.add_observer(|_: On<Add, Task>, mut tasks: Query<&mut Task>| {
        for mut task in &mut tasks {
            if task.text != "new" {
                task.done = true;
            }
        }
    });
    world.deliver("before", 2, 0, Some(task("applied")));
    world.deliver("middle", 1, 0, Some(task("new")));
    world.deliver("after", 2, 0, Some(task("waits")));
    let edits = world.edits_by_frame();
    assert_eq!(edits.len(), 2, "{edits:?}");
    assert!(edits.contains(&put("before", 2, 1, &Task { text: "applied".into(), done: true })));
    assert!(edits.contains(&put("after", 1, 1, &Task { text: "old".into(), done: true })), "{edits:?}");
    assert_eq!(
        world.get("after"),
        Some(Task { text: "old".into(), done: true }),
        "it waits for a version with the edit"
    );
    assert_eq!(world.edits_by_frame(), []);
}

#[test]
fn an_observer_may_despawn_an_entity_that_apply_made() {
    let mut world = tasks();
    world.app.add_observer(|add: On<Add, Task>, mut commands: Commands| {
        commands.entity(add.entity).despawn();
    });
    world.deliver("a", 1, 0, Some(task("a")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 1)]);
    assert_eq!(world.entity("a"), None);
    world.deliver("a", 2, 0, Some(task("hidden now")));
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 2)]);
    assert_eq!(world.entity("a"), None);
}

#[test]
fn a_collection_is_ready_when_everything_stored_is_in_the_world() {
    let mut world = tasks();
    world.log::<Task>();
    // Each frame applies as few documents as possible.
    world.app.add_plugins(|app: &mut App| {
        app.add_systems(Update, |ready: MessageReader<CollectionReady<Task>>, tasks: Query<&Task>| {
            assert!(ready.is_empty() || tasks.iter().len() == 1_000);
        });
    });
    for n in 0..1_000 {
        world.deliver_content(&n.to_string(), 1, 0, Some(Box::new((Some(task("stored")),))), Origin::Stored);
    }
    world.report(Report::Ready(CollectionIndex(0)));
    until(&mut world, |world| world.ready::<Task>() == 1);
    let changes = world.changes::<Task>();
    assert_eq!(changes.len(), 1_000);
    assert!(changes.iter().all(|change| change.origin == Origin::Stored && change.kind == ChangeKind::Inserted));
    let applied = world.sent().len();
    assert_eq!(applied, 1_000);
    world.frame().frame();
    assert_eq!(world.ready::<Task>(), 1);
    assert_eq!(world.sent(), []);
}

#[test]
fn a_budget_spreads_documents_over_frames() {
    let (link, _commands, reports) = bevy_convex_replicate::ecs::Link::channels();
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, ReplicatePlugin::new("test").apply_budget(Duration::ZERO))).insert_resource(link);
    app.replicate::<Task>("tasks");
    for n in 0..200 {
        let document = bevy_convex_replicate::DocumentKey { collection: CollectionIndex(0), id: id(&n.to_string()) };
        let content = Some(Box::new((Some(task("x")),)) as Box<_>);
        reports
            .send(Report::Delta { document, generation: 1, seen: 0, content, misfit: None, origin: Origin::Remote })
            .unwrap();
    }
    app.update();
    let shown = app.world().resource::<DocumentIndex>().len();
    assert!(shown > 0 && shown < 200, "{shown}");
    let start = Instant::now();
    while app.world().resource::<DocumentIndex>().len() < 200 {
        assert!(start.elapsed() < DEADLINE);
        app.update();
    }
}

#[test]
fn a_misfit_makes_no_entity_and_leaves_the_one_that_is_there() {
    let mut world = tasks();
    let nothing = || Some(Box::new((None::<Task>,)) as Box<_>);
    world.deliver_content("a", 1, 0, nothing(), Origin::Remote);
    assert_eq!(world.sent_by_frame(), [Sent::Applied("a".into(), 1)]);
    assert_eq!(world.entity("a"), None);
    world.shown("b", task("fits"));
    world.deliver_content("b", 2, 0, nothing(), Origin::Remote);
    assert_eq!(world.sent_by_frame(), [Sent::Applied("b".into(), 2)]);
    assert_eq!(world.get("b"), Some(task("fits")));
    assert_eq!(world.sent_by_frame(), []);
}
