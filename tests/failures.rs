//! What an app is told when something is wrong with what it was given, and that everything else goes on.
#![cfg(feature = "bevy")]

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    prelude::*,
    worker::{Failure, FailureKind},
};

/// Longer than anything here takes on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Component, Serialize, Deserialize, Clone, Default)]
struct Task {
    text: String,
    /// Documents have text for keys: this can be written only while it is empty.
    grid: BTreeMap<Vec<u8>, u8>,
}

#[derive(Resource, Default)]
struct Failures(Vec<Failure>);

fn app(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(configure(ReplicatePlugin::new("failures").store(store)))
        .replicate::<Task>("tasks")
        .init_resource::<Failures>()
        .add_systems(Update, |mut failed: MessageReader<SyncFailed>, mut failures: ResMut<Failures>| {
            failures.0.extend(failed.read().map(|failed| failed.0.clone()));
        });
    app.finish();
    app.cleanup();
    app
}

fn write(app: &mut App, id: &str, text: &str) {
    app.world_mut().spawn((Task { text: text.into(), ..Task::default() }, DocumentId::new(id)));
}

fn texts(app: &mut App) -> Vec<String> {
    let world = app.world_mut();
    world.query::<&Task>().iter(world).map(|task| task.text.clone()).collect()
}

/// Runs the app until something is so.
#[track_caller]
fn until<T>(what: &str, app: &mut App, mut look: impl FnMut(&mut App) -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        app.update();
        if let Some(found) = look(app) {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}: {:?}", app.world().resource::<SyncStatus>());
        std::thread::yield_now();
    }
}

#[track_caller]
fn told(app: &mut App, kind: FailureKind) -> Failure {
    until("a failure", app, |app| {
        app.world().resource::<Failures>().0.iter().find(|failure| failure.kind == kind).cloned()
    })
}

#[track_caller]
fn until_saved(app: &mut App) {
    until("saved", app, |app| app.world().resource::<SyncStatus>().is_saved().then_some(()));
}

#[test]
fn an_address_that_is_none_is_told_and_the_app_works_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let mut board = app(&store, |plugin| plugin.deployment("nowhere at all"));
    write(&mut board, "a", "made here");
    let failure = told(&mut board, FailureKind::Deployment);
    assert!(failure.to_string().contains("the deployment's address is not usable"), "{failure}");
    until_saved(&mut board);
    drop(board);
    let mut again = app(&store, |plugin| plugin);
    until("what was stored", &mut again, |app| (texts(app) == ["made here"]).then_some(()));
}

#[test]
fn a_store_of_a_newer_format_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let mut board = app(&store, |plugin| plugin);
    write(&mut board, "a", "kept");
    // Not before it is captured.
    board.update();
    until_saved(&mut board);
    drop(board);
    let format = |to: Option<i64>| {
        let file = rusqlite::Connection::open(&store).unwrap();
        let now = file.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap();
        to.inspect(|to| file.pragma_update(None, "user_version", to).unwrap());
        now
    };
    let ours = format(Some(99));

    let mut older = app(&store, |plugin| plugin);
    write(&mut older, "b", "in memory");
    let failure = told(&mut older, FailureKind::Store).to_string();
    assert!(failure.contains("store.sqlite") && failure.contains("99"), "{failure}");
    assert_eq!(texts(&mut older), ["in memory"]);
    assert!(!older.world().resource::<SyncStatus>().is_saved());
    assert_eq!(format(Some(ours)), 99);

    // It is tried again: once the file can be read, everything is there.
    until("both", &mut older, |app| (texts(app).len() == 2).then_some(()));
    until_saved(&mut older);
}

#[test]
fn a_value_that_cannot_be_written_is_told_with_its_document_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let mut board = app(&store, |plugin| plugin);
    write(&mut board, "bad", "before");
    write(&mut board, "good", "before");
    board.update();
    until_saved(&mut board);
    let world = board.world_mut();
    for (mut task, id) in world.query::<(&mut Task, &DocumentId)>().iter_mut(world) {
        task.text = "after".into();
        if id.as_str() == "bad" {
            task.grid.insert(vec![1, 2], 3);
        }
    }
    let failure = told(&mut board, FailureKind::Unwritable);
    assert_eq!(failure.collection.as_deref(), Some("tasks"));
    assert_eq!(failure.document.as_ref().map(DocumentId::as_str), Some("bad"));
    until_saved(&mut board);
    drop(board);

    let mut again = app(&store, |plugin| plugin);
    until("what was stored", &mut again, |app| (texts(app).len() == 2).then_some(()));
    let world = again.world_mut();
    let stored: BTreeMap<_, _> = world
        .query::<(&Task, &DocumentId)>()
        .iter(world)
        .map(|(task, id)| (id.as_str().to_owned(), task.text.clone()))
        .collect();
    assert_eq!(stored, BTreeMap::from([("bad".into(), "before".into()), ("good".into(), "after".into())]));
}
