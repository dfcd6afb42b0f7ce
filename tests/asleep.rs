//! Apps that run no frame until they are woken.

#[path = "whole/mod.rs"]
mod whole;

use std::{
    path::Path,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};
use whole::{failed, is_quiet, status, until_it};

const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Task {
    text: String,
}

/// An app that sleeps between frames.
struct Sleeper {
    app: App,
    woken: Receiver<()>,
}

impl Sleeper {
    fn start(store: &Path, build: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> Self {
        let (wake, woken) = channel();
        let plugin = ReplicatePlugin::new("asleep").store(store).waker(move || {
            // The receiver is gone while the app ends.
            let _ = wake.send(());
        });
        let mut app = whole::app(|app| {
            app.add_plugins(build(plugin)).replicate::<Task>("tasks");
        });
        app.update();
        Self { app, woken }
    }

    /// Runs a frame each time that the app is woken.
    #[track_caller]
    fn until(&mut self, what: &str, mut condition: impl FnMut(&mut App) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(&mut self.app) {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.woken.recv_timeout(left).is_err() {
                panic!("the app was not woken until {what}; {:?}", status(&self.app));
            }
            self.app.update();
        }
    }

    fn is_woken(&self) -> usize {
        self.woken.try_iter().count()
    }
}

fn tasks(app: &mut App) -> usize {
    app.world_mut().query::<&Task>().iter(app.world()).count()
}

struct Place {
    backend: Backend,
    folder: tempfile::TempDir,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let config = BackendConfig::new().listen("127.0.0.1:0").data(folder.path().join("backend"));
    Place { backend: Backend::start(config).unwrap(), folder }
}

impl Place {
    fn awake(&self) -> App {
        let plugin =
            ReplicatePlugin::new("asleep").store(self.folder.path().join("awake")).deployment(self.backend.url());
        let mut app = whole::app(|app| {
            app.add_plugins(plugin).replicate::<Task>("tasks");
        });
        until_it("the app is connected", &mut app, |app| is_quiet(app));
        app
    }

    fn asleep(&self, build: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> Sleeper {
        let url = self.backend.url();
        let mut app = Sleeper::start(&self.folder.path().join("asleep"), |plugin| build(plugin.deployment(url)));
        app.until("it is connected", |app| is_quiet(app));
        app
    }
}

fn spawn(app: &mut App, number: usize) {
    for at in 0..number {
        app.world_mut().spawn((Task { text: at.to_string() }, DocumentId::random()));
    }
    until_it("the documents are sent", app, |app| is_quiet(app));
}

#[test]
fn an_app_that_sleeps_is_woken_by_what_arrives() {
    let place = place();
    let (mut awake, mut asleep) = (place.awake(), place.asleep(|plugin| plugin));
    spawn(&mut awake, 1);
    asleep.until("a document arrives", |app| tasks(app) == 1);
    // Its own edits are saved and sent while it sleeps, and it hears of that.
    asleep.app.world_mut().spawn((Task { text: "own".into() }, DocumentId::random()));
    asleep.app.update();
    asleep.until("its edit is sent", |app| !status(app).is_saved() || tasks(app) == 2);
    until_it("the other app shows it", &mut awake, |app| tasks(app) == 2);
    asleep.until("it hears that all is sent", |app| is_quiet(app));
}

#[test]
fn an_app_is_woken_once_until_its_next_frame() {
    let place = place();
    let (mut awake, mut asleep) = (place.awake(), place.asleep(|plugin| plugin));
    asleep.app.update();
    asleep.is_woken();
    spawn(&mut awake, 1);
    asleep.woken.recv_timeout(DEADLINE).expect("it is woken");
    for _ in 0..3 {
        spawn(&mut awake, 10);
    }
    assert_eq!(asleep.is_woken(), 0);
    asleep.app.update();
    asleep.until("all documents arrive", |app| tasks(app) == 31);
}

#[test]
fn an_app_that_leaves_work_for_the_next_frame_is_woken_for_it() {
    let place = place();
    let mut awake = place.awake();
    let mut asleep = place.asleep(|plugin| plugin.apply_budget(Duration::ZERO));
    spawn(&mut awake, 1_000);
    asleep.until("all documents are shown", |app| tasks(app) == 1_000);
}

#[test]
fn an_app_that_sleeps_hears_that_it_cannot_host() {
    let place = place();
    let file = place.folder.path().join("hosting");
    std::fs::create_dir_all(&file).unwrap();
    // A file is where the backend's folder would be.
    std::fs::write(file.join("store.backend"), "no folder").unwrap();
    let mut app = Sleeper::start(&file.join("store"), |plugin| plugin.host("127.0.0.1:0"));
    app.until("the failure is reported", |app| failed(app, FailureKind::Host).is_some());
}
