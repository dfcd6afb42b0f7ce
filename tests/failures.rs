//! The failures that an app receives when its configuration, its store or its values are faulty, and that everything
//! else continues to work.
#![cfg(all(feature = "bevy", feature = "backend"))]

mod whole;

use std::{collections::BTreeMap, path::Path};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};
use whole::{is_quiet, reported, status, until_it};

#[derive(Component, Serialize, Deserialize, Clone, Default)]
struct Task {
    text: String,
    /// The keys of a document are strings, so this field can be written only while it is empty.
    grid: BTreeMap<Vec<u8>, u8>,
}

fn app(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    whole::app(|app| {
        app.add_plugins(configure(ReplicatePlugin::new("failures").store(store))).replicate::<Task>("tasks");
    })
}

fn write(app: &mut App, id: &str, text: &str) {
    app.world_mut().spawn((Task { text: text.into(), ..Task::default() }, DocumentId::new(id)));
}

fn texts(app: &mut App) -> Vec<String> {
    let world = app.world_mut();
    world.query::<&Task>().iter(world).map(|task| task.text.clone()).collect()
}

#[track_caller]
fn until_saved(app: &mut App) {
    until_it("all is saved", app, |app| status(app).is_saved());
}

#[test]
fn an_invalid_deployment_url_is_reported_and_the_app_works_offline() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let mut board = app(&store, |plugin| plugin.deployment("nowhere at all"));
    write(&mut board, "a", "made here");
    let failure = reported(&mut board, FailureKind::Deployment);
    assert!(failure.to_string().contains("the deployment's address is not usable"), "{failure}");
    until_saved(&mut board);
    drop(board);
    let mut again = app(&store, |plugin| plugin);
    until_it("the stored documents are shown", &mut again, |app| texts(app) == ["made here"]);
}

#[test]
fn a_store_of_a_newer_format_is_reported_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let mut board = app(&store, |plugin| plugin);
    write(&mut board, "a", "kept");
    // Before the edit is captured.
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
    let failure = reported(&mut older, FailureKind::Store).to_string();
    assert!(failure.contains("store.sqlite") && failure.contains("99"), "{failure}");
    assert_eq!(texts(&mut older), ["in memory"]);
    assert!(!status(&older).is_saved());
    assert_eq!(format(Some(ours)), 99);

    // The store is opened again later. Once the file can be read, the app has everything.
    until_it("both", &mut older, |app| texts(app).len() == 2);
    until_saved(&mut older);
}

#[test]
fn a_value_that_cannot_be_written_is_reported_with_its_document_and_the_others_are_saved() {
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
    let failure = reported(&mut board, FailureKind::Unwritable);
    assert_eq!(failure.collection.as_deref(), Some("tasks"));
    assert_eq!(failure.document.as_ref().map(DocumentId::as_str), Some("bad"));
    until_saved(&mut board);
    drop(board);

    let mut again = app(&store, |plugin| plugin);
    until_it("the stored documents are shown", &mut again, |app| texts(app).len() == 2);
    let world = again.world_mut();
    let stored: BTreeMap<_, _> = world
        .query::<(&Task, &DocumentId)>()
        .iter(world)
        .map(|(task, id)| (id.as_str().to_owned(), task.text.clone()))
        .collect();
    assert_eq!(stored, BTreeMap::from([("bad".into(), "before".into()), ("good".into(), "after".into())]));
}

fn shell(store: &Path, sql: &str) {
    rusqlite::Connection::open(store).unwrap().execute_batch(sql).unwrap();
}

fn edit(app: &mut App, id: &str, text: &str) {
    let world = app.world_mut();
    let mut tasks = world.query::<(&mut Task, &DocumentId)>();
    let (mut task, _) = tasks.iter_mut(world).find(|(_, found)| found.as_str() == id).expect("it is shown");
    task.text = text.into();
    app.update();
}

/// Makes the store's disk full for every write of a change, with the error that SQLite reports.
const FULL: &str = "CREATE TABLE planted (id INTEGER PRIMARY KEY AUTOINCREMENT);
    INSERT INTO planted VALUES (9223372036854775807);
    CREATE TRIGGER planted_full BEFORE INSERT ON chunk BEGIN INSERT INTO planted VALUES (NULL); END";

#[test]
fn edits_wait_while_the_disk_is_full_and_are_saved_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let mut board = app(&store, |plugin| plugin);
    write(&mut board, "a", "before");
    board.update();
    until_saved(&mut board);
    shell(&store, FULL);
    edit(&mut board, "a", "on a full disk");
    write(&mut board, "b", "on a full disk");
    let failure = reported(&mut board, FailureKind::Store).to_string();
    assert!(failure.contains("store.sqlite is full") && failure.contains("free some space"), "{failure}");
    edit(&mut board, "b", "and once more");
    assert_eq!((texts(&mut board).len(), status(&board).unsaved, status(&board).lost), (2, 3, 0));
    shell(&store, "DROP TRIGGER planted_full; DROP TABLE planted");
    until_saved(&mut board);
    assert_eq!(whole::failures(&board).len(), 1, "it is reported once");
    drop(board);
    let mut again = app(&store, |plugin| plugin);
    until_it("the stored documents are shown", &mut again, |app| texts(app).len() == 2);
    let mut stored = texts(&mut again);
    stored.sort();
    assert_eq!(stored, ["and once more", "on a full disk"]);
}

#[test]
fn a_change_that_the_store_refuses_does_not_count_as_saved_and_is_pulled_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut board = app(&store, |plugin| plugin.deployment(backend.url()));
    write(&mut board, "a", "before");
    write(&mut board, "b", "before");
    until_it("both are sent", &mut board, |board| backend.stats().documents == 2 && is_quiet(board));
    let made = backend.stats().changes;
    shell(
        &store,
        "CREATE TRIGGER planted BEFORE INSERT ON chunk WHEN NEW.document = (SELECT id FROM document WHERE name = 'a')
         BEGIN SELECT RAISE(ABORT, 'planted'); END",
    );
    edit(&mut board, "a", "refused");
    let failure = reported(&mut board, FailureKind::Store);
    assert_eq!(failure.collection.as_deref(), Some("tasks"));
    assert_eq!(failure.document.as_ref().map(DocumentId::as_str), Some("a"));
    assert!(failure.to_string().contains("planted"), "{failure}");
    edit(&mut board, "b", "after");
    edit(&mut board, "a", "refused again");
    until_it("the deployment has all of it", &mut board, |board| {
        backend.stats().changes == made + 3 && status(board).is_sent() && status(board).unsaved == 0
    });
    assert_eq!(status(&board).lost, 2);
    assert!(!status(&board).is_saved());
    assert!(status(&board).to_string().contains("2 edits cannot be saved"), "{}", status(&board));
    assert_eq!(whole::failures(&board).len(), 1, "it is reported once: {:?}", whole::failures(&board));
    drop(board);

    shell(&store, "DROP TRIGGER planted");
    let mut offline = app(&store, |plugin| plugin.deployment(backend.url()).offline());
    until_it("the stored documents are shown", &mut offline, |app| texts(app).len() == 2);
    let mut stored = texts(&mut offline);
    stored.sort();
    assert_eq!(stored, ["after", "before"]);
    drop(offline);
    let mut again = app(&store, |plugin| plugin.deployment(backend.url()));
    until_it("the lost edits are back", &mut again, |app| {
        let mut texts = texts(app);
        texts.sort();
        texts == ["after", "refused again"] && is_quiet(app)
    });
}

#[test]
fn a_store_that_cannot_be_opened_is_the_reported_reason_for_being_offline() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut first = app(&store, |plugin| plugin);
    until_it("the first app has the store", &mut first, |app| status(app).store_open);
    let mut second = app(&store, |plugin| plugin.deployment(backend.url()));
    until_it("the reason", &mut second, |app| status(app).reason().is_some());
    let shown = status(&second).to_string();
    assert!(shown.starts_with("Offline, the store") && shown.contains("is in use by"), "{shown}");
    drop(first);
    until_it("it is connected", &mut second, |app| status(app).is_live());
}

#[test]
fn an_app_without_a_path_for_its_store_reports_this_as_long_as_it_runs() {
    let mut lost = whole::app(|app| {
        let name = "no/name/of/a/folder";
        app.add_plugins(ReplicatePlugin::new(name).deployment("http://127.0.0.1:1")).replicate::<Task>("tasks");
    });
    write(&mut lost, "a", "in memory");
    let failure = reported(&mut lost, FailureKind::Store).to_string();
    assert!(failure.contains("nothing is saved"), "{failure}");
    lost.update();
    assert!(status(&lost).reason().is_some_and(|reason| reason.contains("nothing is saved")), "{}", status(&lost));
    assert!(!status(&lost).is_saved() && !status(&lost).store_open);
}
