//! News is true when it is announced: the deployment was read, everything is live, a component was changed.

mod common;

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_convex_replicate::{
    CollectionIndex, DocumentIndex,
    prelude::*,
    worker::{Report, Status},
};
use common::*;

const DEADLINE: Duration = Duration::from_secs(60);
const TASKS: CollectionIndex = CollectionIndex(0);

/// How often the systems with a run condition ran.
#[derive(Resource, Default, Debug, PartialEq)]
struct Ran {
    ready: usize,
    read: usize,
    live: usize,
    told: usize,
}

/// A world that applies as little as it can in a frame. Systems with a run condition assert that it is true:
/// the world has `full` documents.
fn waiting_world(full: usize) -> World1 {
    let mut world = world(|app| {
        app.replicate::<Task>("tasks").init_resource::<Ran>();
    });
    // The plugin was added before, so the budget is set by its resource.
    world.app.insert_resource(Full(full));
    world.app.add_systems(
        Update,
        (
            (|mut ran: ResMut<Ran>| ran.ready += 1).run_if(collection_ready::<Task>),
            (|mut ran: ResMut<Ran>, tasks: Query<&Task>, full: Res<Full>| {
                assert_eq!(tasks.iter().len(), full.0, "the deployment was read");
                ran.read += 1;
            })
            .run_if(deployment_read::<Task>),
            (|mut ran: ResMut<Ran>, tasks: Query<&Task>, full: Res<Full>| {
                assert_eq!(tasks.iter().len(), full.0, "it is live");
                ran.live += 1;
            })
            .run_if(sync_live),
            |mut ran: ResMut<Ran>, mut read: MessageReader<DeploymentRead<Task>>| ran.told += read.read().count(),
        ),
    );
    world
}

#[derive(Resource)]
struct Full(usize);

fn status(connection: Connection) -> Report {
    Report::Status(Status { connection, saved: 0, lost: 0, unsent: 0, store_open: true })
}

fn read(read: bool) -> Report {
    Report::Read { collection: TASKS, read }
}

fn shown(world: &World1) -> &SyncStatus {
    world.app.world().resource::<SyncStatus>()
}

#[track_caller]
fn until(world: &mut World1, mut condition: impl FnMut(&mut World1) -> bool) {
    let start = Instant::now();
    while !condition(world) {
        assert!(start.elapsed() < DEADLINE);
        world.frame();
    }
}

#[test]
fn news_waits_until_the_versions_before_it_are_in_the_world() {
    let mut world = waiting_world(3_000);
    for n in 0..3_000 {
        world.deliver(&n.to_string(), 1, 0, Some(task("from elsewhere")));
    }
    world.report(read(true));
    world.report(status(Connection::Live));
    world.frame();
    assert!(!shown(&world).is_live() || world.app.world().resource::<DocumentIndex>().len() == 3_000);
    until(&mut world, |world| shown(world).is_live() && shown(world).deployment_read);
    world.frame();
    let ran = world.app.world().resource::<Ran>();
    assert!(ran.read > 0 && ran.live > 0 && ran.told == 1, "{ran:?}");
    assert_eq!(ran.ready, 0, "the store has not reported everything");
}

#[test]
fn an_app_is_catching_up_until_it_is_live() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    world.app.world_mut().get_mut::<Task>(entity).unwrap().done = true;
    world.frame();
    // The version lacks the edit, so it waits for one that includes it.
    world.deliver("a", 2, 0, Some(task("two")));
    world.report(read(true));
    world.report(status(Connection::CatchingUp { received: 3, total: Some(4) }));
    world.report(status(Connection::Live));
    world.frame();
    assert_eq!(world.get("a").unwrap().text, "one");
    assert_eq!(shown(&world).connection, Connection::CatchingUp { received: 3, total: Some(4) });
    assert!(!shown(&world).deployment_read);
    world.deliver("a", 3, 1, Some(task("three")));
    world.frame();
    assert_eq!(world.get("a").unwrap().text, "three");
    assert!(shown(&world).is_live() && shown(&world).deployment_read);
}

#[test]
fn the_deployment_counts_as_read_until_the_connection_ends_and_again_after_catching_up() {
    let mut world = waiting_world(0);
    world.report(read(true));
    world.report(status(Connection::Live));
    world.frame().frame();
    assert!(shown(&world).is_live() && shown(&world).deployment_read);
    // The connection ends and begins again before apply takes in the news of either.
    world.report(read(false));
    world.report(status(Connection::Offline { reason: None }));
    world.frame();
    assert!(!shown(&world).is_live() && !shown(&world).deployment_read);
    let before = world.app.world().resource::<Ran>().read;
    world.report(read(true));
    world.report(status(Connection::Live));
    world.report(read(false));
    world.report(status(Connection::Offline { reason: None }));
    world.frame().frame();
    assert!(!shown(&world).is_live() && !shown(&world).deployment_read);
    assert_eq!(world.app.world().resource::<Ran>().read, before);
    world.app.insert_resource(Full(1));
    world.deliver("a", 1, 0, Some(task("made meanwhile")));
    world.report(read(true));
    world.report(status(Connection::Live));
    world.frame().frame();
    let ran = world.app.world().resource::<Ran>();
    assert!(ran.read > before && ran.told == 2, "{ran:?}");
}

#[test]
fn the_deployment_is_read_when_all_collections_are() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Wall {
        height: f32,
    }
    let mut world = world(|app| {
        app.replicate::<Task>("tasks").replicate::<Wall>("walls");
    });
    world.report(read(true));
    world.frame();
    let is_read = |world: &mut World1| {
        let mut read = (false, false);
        world.app.world_mut().insert_resource(Answer::default());
        world.run(
            |tasks: bevy_convex_replicate::ecs::Arrival<Task>,
             walls: bevy_convex_replicate::ecs::Arrival<Wall>,
             mut answer: ResMut<Answer>| answer.0 = (tasks.is_read(), walls.is_read()),
        );
        std::mem::swap(&mut read, &mut world.app.world_mut().resource_mut::<Answer>().0);
        read
    };
    assert_eq!(is_read(&mut world), (true, false));
    assert!(!shown(&world).deployment_read);
    world.report(Report::Read { collection: CollectionIndex(1), read: true });
    world.frame();
    assert_eq!(is_read(&mut world), (true, true));
    assert!(shown(&world).deployment_read);
}

#[derive(Resource, Default)]
struct Answer((bool, bool));

#[test]
fn a_component_that_is_touched_in_every_frame_delays_nobody_and_announces_nothing() {
    let mut world = tasks();
    world.log::<Task>();
    let entity = world.shown("a", task("one"));
    world.changes::<Task>();
    world.app.add_systems(Update, move |mut tasks: Query<&mut Task>| tasks.get_mut(entity).unwrap().set_changed());
    world.frame().frame();
    for capture in 1..=2 {
        world.compared("a", capture, &[]);
    }
    // The third edit is on its way, without an answer.
    world.deliver("a", 2, 0, Some(task("from elsewhere")));
    world.frame();
    assert_eq!(world.get("a").unwrap().text, "from elsewhere");
    assert_eq!(world.changes::<Task>(), [told("a", ChangeKind::Updated, Origin::Remote)]);
}

#[test]
fn an_edit_after_a_touch_is_waited_for_as_soon_as_it_is_known() {
    let mut world = tasks();
    let entity = world.shown("a", task("one"));
    let touch = |world: &mut World1| {
        world.app.world_mut().get_mut::<Task>(entity).unwrap().set_changed();
        world.frame();
    };
    touch(&mut world);
    world.compared("a", 1, &[]);
    touch(&mut world);
    world.compared("a", 2, &["text"]);
    touch(&mut world);
    world.deliver("a", 2, 1, Some(task("without it")));
    world.frame();
    assert_eq!(world.get("a").unwrap().text, "one");
    world.deliver("a", 3, 3, Some(task("with it")));
    world.frame();
    assert_eq!(world.get("a").unwrap().text, "with it");
}
