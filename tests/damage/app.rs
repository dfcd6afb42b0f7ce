//! Complete apps whose store is damaged.

use std::{collections::BTreeMap, path::Path};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
    worker::FailureKind,
};

use crate::{
    harm::Files,
    whole::{self, failed, is_quiet, status, until_it as until},
};

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Task {
    text: String,
}

fn app(store: &Path, url: Option<&str>, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    let mut plugin = ReplicatePlugin::new("damage").store(store);
    if let Some(url) = url {
        plugin = plugin.deployment(url);
    }
    whole::app(|app| {
        app.add_plugins(configure(plugin)).replicate::<Task>("tasks");
    })
}

fn tasks(app: &mut App) -> BTreeMap<DocumentId, String> {
    let world = app.world_mut();
    let mut tasks = world.query::<(&DocumentId, &Task)>();
    tasks.iter(world).map(|(id, task)| (id.clone(), task.text.clone())).collect()
}

fn insert(app: &mut App, text: &str) -> DocumentId {
    let id = DocumentId::random();
    app.world_mut().spawn((Task { text: text.into() }, id.clone()));
    id
}

/// A store with a task that was sent and edits that were not sent, and with damage in the sent part.
struct Scene {
    folder: tempfile::TempDir,
    backend: Backend,
    sent: DocumentId,
    unsent: Vec<DocumentId>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::start(BackendConfig::new().data(folder.path().join("backend"))).unwrap();
        let store = folder.path().join("store.sqlite3");
        let mut one = app(&store, Some(backend.url()), |plugin| plugin);
        let sent = insert(&mut one, "sent");
        until("it is sent", &mut one, |one| is_quiet(one));
        drop(one);
        let mut offline = app(&store, Some(backend.url()), |plugin| plugin.offline());
        until("the store is read", &mut offline, |offline| tasks(offline).contains_key(&sent));
        let unsent = (0..50).map(|number| insert(&mut offline, &format!("unsent {number}"))).collect();
        let entity = entity(&mut offline, &sent);
        offline.world_mut().get_mut::<Task>(entity).unwrap().text.push_str(", then edited");
        until("all is saved", &mut offline, |offline| {
            let status = status(offline);
            status.is_saved() && status.unsent == 51
        });
        drop(offline);
        Self { folder, backend, sent, unsent }
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store.sqlite3")
    }

    /// Damages the page that SQLite needs to list the checkpoints, and a change that the backend has.
    fn damage(&self) -> Files {
        let path = self.store();
        let shell = rusqlite::Connection::open(&path).unwrap();
        shell.execute_batch("UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE holder IS NOT NULL").unwrap();
        let checkpoint: i64 = shell
            .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'checkpoint'", [], |row| row.get(0))
            .unwrap();
        drop(shell);
        let checkpoint = usize::try_from(checkpoint).unwrap();
        let mut files = Files::read(&path);
        files.main.as_mut().unwrap()[(checkpoint - 1) * 4096..checkpoint * 4096].fill(0xa5);
        files.write(&path);
        files
    }

    /// Waits until the backend and this app have everything, including an edit that depends on a lost change.
    fn assert_healed(&self, app: &mut App) {
        until("everything is sent and shown", app, |app| {
            let tasks = tasks(app);
            is_quiet(app) && tasks.len() == 51 && tasks[&self.sent] == "sent, then edited"
        });
        assert!(self.unsent.iter().all(|id| tasks(app).contains_key(id)));
        let mut fresh = crate::app::app(&self.folder.path().join("fresh.sqlite3"), Some(self.backend.url()), |p| p);
        let here = tasks(app);
        until("another app has it too", &mut fresh, |fresh| tasks(fresh) == here);
    }
}

fn delete(In(id): In<DocumentId>, mut tasks: Collection<Task>) {
    tasks.delete(&id);
}

fn entity(app: &mut App, id: &DocumentId) -> Entity {
    let world = app.world_mut();
    let mut ids = world.query::<(Entity, &DocumentId)>();
    ids.iter(world).find(|(_, found)| *found == id).map(|(entity, _)| entity).unwrap()
}

#[test]
fn a_damaged_store_is_rebuilt_from_the_deployment_on_request() {
    let scene = Scene::new();
    let damaged = scene.damage();
    let mut app = app(&scene.store(), Some(scene.backend.url()), |plugin| plugin);
    let early = insert(&mut app, "while it was refused");
    until("the damage is reported", &mut app, |app| failed(app, FailureKind::DamagedStore).is_some());
    let message = failed(&app, FailureKind::DamagedStore).unwrap().to_string();
    assert!(message.contains("SyncControl::rebuild_store") && message.contains("store.sqlite3"), "{message}");
    assert!(damaged.are_at(&scene.store()));
    app.world_mut().run_system_cached(|mut sync: SyncControl| sync.rebuild_store()).unwrap();
    until("it is set aside", &mut app, |app| failed(app, FailureKind::SetAside).is_some());
    until("the early edit is saved", &mut app, |app| tasks(app).contains_key(&early) && is_quiet(app));
    let kept = crate::harm::beside(&scene.store(), ".damaged-1");
    assert!(damaged.are_at(&kept));
    app.world_mut().run_system_cached_with(delete, early).unwrap();
    scene.assert_healed(&mut app);
    // The rebuild was requested once.
    drop(app);
    let mut again = crate::app::app(&scene.store(), Some(scene.backend.url()), |plugin| plugin);
    scene.assert_healed(&mut again);
    assert_eq!(failed(&again, FailureKind::SetAside), None);
}

#[test]
fn a_damaged_store_is_rebuilt_at_the_start_if_the_app_is_configured_to() {
    let scene = Scene::new();
    let damaged = scene.damage();
    let mut app = app(&scene.store(), Some(scene.backend.url()), |plugin| plugin.rebuild_damaged_store());
    scene.assert_healed(&mut app);
    assert!(damaged.are_at(&crate::harm::beside(&scene.store(), ".damaged-1")));
    let reported = failed(&app, FailureKind::SetAside).unwrap().to_string();
    assert!(reported.contains("damaged-1") && reported.contains("Not readable"), "{reported}");
}

#[test]
fn a_damaged_document_is_restored_at_the_next_start_after_a_rebuild_request() {
    let scene = Scene::new();
    let shell = rusqlite::Connection::open(scene.store()).unwrap();
    shell.execute_batch("UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE holder IS NOT NULL").unwrap();
    drop(shell);
    let mut app = app(&scene.store(), Some(scene.backend.url()), |plugin| plugin.rebuild_damaged_store());
    // The unsent changes and the last value can be read.
    until("all is sent", &mut app, |app| is_quiet(app) && tasks(app).len() == 51);
    assert_eq!(tasks(&mut app)[&scene.sent], "sent, then edited");
    let entity = entity(&mut app, &scene.sent);
    app.world_mut().get_mut::<Task>(entity).unwrap().text.push('!');
    until("the damage is reported", &mut app, |app| failed(app, FailureKind::DamagedStore).is_some());
    let message = failed(&app, FailureKind::DamagedStore).unwrap().to_string();
    assert!(message.contains(&format!("tasks/{}", scene.sent)), "{message}");
    // The damaged document does not delay the others.
    let other = insert(&mut app, "another");
    until("another is sent", &mut app, |app| is_quiet(app));
    app.world_mut().run_system_cached_with(delete, other).unwrap();
    until("it is deleted", &mut app, |app| is_quiet(app) && tasks(app).len() == 51);
    drop(app);
    let mut again = crate::app::app(&scene.store(), Some(scene.backend.url()), |plugin| plugin.rebuild_damaged_store());
    scene.assert_healed(&mut again);
    assert!(failed(&again, FailureKind::SetAside).is_some());
}
