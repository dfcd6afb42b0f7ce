//! The embedded backend inside an app.

use std::path::PathBuf;

use bevy::prelude::*;
use crossbeam_channel::{Receiver, TryRecvError};

use crate::{
    backend::{Backend, BackendConfig, BackendError},
    ecs::{Failures, ReplicateSystems, report},
    failure::{Failure, FailureKind},
    worker::Waker,
};

/// Runs the embedded backend in this app, so that other apps can connect to it. An app that is also a client of its
/// backend uses [`ReplicatePlugin::host`](super::ReplicatePlugin::host) instead.
///
/// ```no_run
/// use bevy::prelude::*;
/// use bevy_convex_replicate::{EmbeddedBackend, backend::BackendConfig};
///
/// App::new()
///     .add_plugins(MinimalPlugins)
///     .add_plugins(EmbeddedBackend::new(BackendConfig::new().listen("127.0.0.1:3210").data("data")))
///     .run();
/// ```
///
/// It starts on a thread of its own and runs until the app is dropped. If it cannot start, the app continues, and
/// [`SyncFailed`](crate::message::SyncFailed) says why. An app runs one backend.
///
/// # Panics
///
/// When it is added to an app that also uses [`ReplicatePlugin::host`](super::ReplicatePlugin::host).
pub struct EmbeddedBackend {
    config: BackendConfig,
}

impl EmbeddedBackend {
    /// A backend with this configuration.
    pub fn new(config: BackendConfig) -> Self {
        Self { config }
    }
}

impl Plugin for EmbeddedBackend {
    fn build(&self, app: &mut App) {
        super::prepare(app);
        start(app, self.config.clone(), None);
    }
}

type Started = Result<Backend, BackendError>;

/// The backend that this app runs.
#[derive(Resource)]
pub struct Hosted {
    /// The address at which it is to listen.
    listen: String,
    starting: Option<Receiver<Started>>,
    running: Option<Backend>,
}

impl Hosted {
    /// Starts the backend on another thread, because it reads its data first.
    fn start(config: BackendConfig, waker: Option<Waker>) -> Self {
        let listen = config.listen.clone();
        let (sender, starting) = crossbeam_channel::bounded(1);
        let spawned = std::thread::Builder::new().name("replicate-host".into()).spawn({
            let sender = sender.clone();
            move || {
                // If the app is gone by now, it needs no backend.
                let _ = sender.send(Backend::start(config));
                if let Some(wake) = waker {
                    wake();
                }
            }
        });
        if let Err(error) = spawned {
            let _ = sender.send(Err(error.into()));
        }
        Self { listen, starting: Some(starting), running: None }
    }

    /// The backend; `None` while it does not run. Other apps connect to its [`url`](Backend::url).
    pub fn backend(&self) -> Option<&Backend> {
        self.running.as_ref()
    }

    /// Stores the result of starting, once. The caller reports the error to the app.
    fn finish(&mut self, started: Started) -> Result<(), BackendError> {
        self.starting = None;
        self.running = Some(started?);
        Ok(())
    }

    fn poll(&mut self) -> Result<(), BackendError> {
        let Some(starting) = &self.starting else { return Ok(()) };
        match starting.try_recv() {
            Ok(started) => self.finish(started),
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => self.finish(Err(gone())),
        }
    }

    /// Waits until the backend listens.
    fn wait(&mut self) -> Result<(), BackendError> {
        let Some(starting) = self.starting.clone() else { return Ok(()) };
        self.finish(starting.recv().unwrap_or_else(|_| Err(gone())))
    }
}

fn gone() -> BackendError {
    std::io::Error::other("the thread that started it panicked").into()
}

/// Starts the backend that this app hosts. Panics if the app hosts one already.
fn start(app: &mut App, config: BackendConfig, waker: Option<Waker>) {
    if let Some(hosted) = app.world().get_resource::<Hosted>() {
        panic!(
            "this app hosts a backend at {} already, so it cannot host another one at {}; \
             add EmbeddedBackend or call ReplicatePlugin::host, not both",
            hosted.listen, config.listen
        );
    }
    app.insert_resource(Hosted::start(config, waker))
        .add_systems(PreUpdate, watch_host.before(ReplicateSystems::Apply));
}

/// Looks whether the backend has started.
fn watch_host(mut hosted: ResMut<Hosted>, mut commands: Commands) {
    // This looks in every frame, but the resource changes only twice.
    if let Err(error) = hosted.bypass_change_detection().poll() {
        // At once, because in an app without `ReplicatePlugin` no system reports the failures that wait.
        commands.queue(move |world: &mut World| report(world, failure(&error)));
    }
}

fn failure(error: &BackendError) -> Failure {
    let message = format!("this app hosts no backend: {error}");
    Failure { kind: FailureKind::Host, collection: None, document: None, message }
}

/// Hosts a backend at `listen` for this app and others.
pub(super) fn host(app: &mut App, listen: &str, data: Option<PathBuf>, token: Option<&str>, waker: Option<Waker>) {
    let mut config = BackendConfig::new().listen(listen);
    if let Some(data) = data {
        config = config.data(data);
    }
    if let Some(token) = token {
        config = config.token(token);
    }
    start(app, config, waker);
}

/// The URL at which the hosting app itself connects: `listen`, also if another app hosts there already. If the system
/// chooses the port, this waits until it has.
pub(super) fn deployment(world: &mut World) -> Option<String> {
    let listen = &world.get_resource::<Hosted>()?.listen;
    if !listen.ends_with(":0") {
        return Some(reachable(&format!("http://{listen}")));
    }
    let waited = world.resource_mut::<Hosted>().wait();
    if let Err(error) = waited {
        world.resource_mut::<Failures>().push(failure(&error));
    }
    world.resource::<Hosted>().backend().map(|backend| reachable(backend.url()))
}

/// A server can listen at "every address of this machine", but not every system lets a client connect to that: this
/// machine's own address takes its place.
fn reachable(url: &str) -> String {
    url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
}
