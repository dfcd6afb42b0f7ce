//! The embedded backend inside an app.

use std::path::PathBuf;

use bevy::prelude::*;
use crossbeam_channel::{Receiver, TryRecvError};

use crate::{
    backend::{Backend, BackendConfig, BackendError},
    ecs::{DocumentIndex, ReplicateSystems, report},
    failure::{Failure, FailureKind},
};

/// Runs the embedded backend in this app, for others to connect to. An app that is also a client of it uses
/// [`ReplicatePlugin::host`](super::ReplicatePlugin::host) instead.
///
/// ```no_run
/// use bevy::prelude::*;
/// use bevy_convex_replicate::{backend::BackendConfig, plugin::EmbeddedBackend};
///
/// App::new()
///     .add_plugins(MinimalPlugins)
///     .add_plugins(EmbeddedBackend::new(BackendConfig::new().listen("127.0.0.1:3210").data("data")))
///     .run();
/// ```
///
/// It starts on a thread of its own and runs until the app is dropped. If it cannot, the app goes on, and
/// [`SyncFailed`](crate::message::SyncFailed) tells why. An app runs one backend: with [`ReplicatePlugin::host`](super::ReplicatePlugin::host) as
/// well, that which was added first, and the other is told of and left out.
pub struct EmbeddedBackend {
    config: BackendConfig,
}

impl EmbeddedBackend {
    /// A backend set up like that.
    pub fn new(config: BackendConfig) -> Self {
        Self { config }
    }
}

impl Plugin for EmbeddedBackend {
    fn build(&self, app: &mut App) {
        super::prepare(app);
        start(app, self.config.clone());
    }
}

type Started = Result<Backend, BackendError>;

/// The backend that this app runs.
#[derive(Resource)]
pub struct Hosted {
    /// Where it was to listen.
    listen: String,
    starting: Option<Receiver<Started>>,
    running: Option<Backend>,
}

impl Hosted {
    /// Starts it elsewhere, because it reads its data first.
    fn start(config: BackendConfig) -> Self {
        let listen = config.listen.clone();
        let (sender, starting) = crossbeam_channel::bounded(1);
        let spawned = std::thread::Builder::new().name("replicate-host".into()).spawn({
            let sender = sender.clone();
            move || {
                // An app that is gone by now needs no backend.
                let _ = sender.send(Backend::start(config));
            }
        });
        if let Err(error) = spawned {
            let _ = sender.send(Err(error.into()));
        }
        Self { listen, starting: Some(starting), running: None }
    }

    /// The backend; `None` while it does not run. Its [`url`](Backend::url) is what others connect to.
    pub fn backend(&self) -> Option<&Backend> {
        self.running.as_ref()
    }

    /// Takes note of how starting went, once. The error is for the app.
    fn take_note(&mut self, started: Started) -> Result<(), BackendError> {
        self.starting = None;
        self.running = Some(started?);
        Ok(())
    }

    fn poll(&mut self) -> Result<(), BackendError> {
        let Some(starting) = &self.starting else { return Ok(()) };
        match starting.try_recv() {
            Ok(started) => self.take_note(started),
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => self.take_note(Err(gone())),
        }
    }

    /// Waits until it listens.
    fn wait(&mut self) -> Result<(), BackendError> {
        let Some(starting) = self.starting.clone() else { return Ok(()) };
        self.take_note(starting.recv().unwrap_or_else(|_| Err(gone())))
    }
}

fn gone() -> BackendError {
    std::io::Error::other("the thread that was starting it ended by a panic").into()
}

/// Starts what this app hosts, unless it hosts something already.
fn start(app: &mut App, config: BackendConfig) {
    if let Some(hosted) = app.world().get_resource::<Hosted>() {
        let message = format!(
            "this app hosts a backend at {} already, so it hosts none at {}: add EmbeddedBackend, or call ReplicatePlugin::host, not both",
            hosted.listen, config.listen
        );
        return app.world_mut().resource_mut::<DocumentIndex>().fail(FailureKind::Host, None, None, message);
    }
    app.insert_resource(Hosted::start(config)).add_systems(PreUpdate, watch_host.before(ReplicateSystems::Apply));
}

/// Sees whether the backend runs by now.
fn watch_host(mut hosted: ResMut<Hosted>, mut commands: Commands) {
    // Looked at in every frame, changed twice.
    if let Err(error) = hosted.bypass_change_detection().poll() {
        // At once: in an app without `ReplicatePlugin` nobody else would.
        commands.queue(move |world: &mut World| report(world, failure(&error)));
    }
}

fn failure(error: &BackendError) -> Failure {
    let message = format!("this app hosts no backend: {error}");
    Failure { kind: FailureKind::Host, collection: None, document: None, message }
}

/// Hosts a backend at `listen` for this app itself too, and gives the deployment to connect to: that address, also when someone
/// else hosts there already.
pub(super) fn host(app: &mut App, listen: &str, data: Option<PathBuf>, token: Option<&str>) {
    let mut config = BackendConfig::new().listen(listen);
    if let Some(data) = data {
        config = config.data(data);
    }
    if let Some(token) = token {
        config = config.token(token);
    }
    start(app, config);
}

/// Where the hosting app itself connects to. Only a port that the system chooses has to be waited for.
pub(super) fn deployment(world: &mut World) -> Option<String> {
    let listen = &world.get_resource::<Hosted>()?.listen;
    if !listen.ends_with(":0") {
        return Some(reachable(&format!("http://{listen}")));
    }
    let waited = world.resource_mut::<Hosted>().wait();
    if let Err(error) = waited {
        world.resource_mut::<DocumentIndex>().failures.push(failure(&error));
    }
    world.resource::<Hosted>().backend().map(|backend| reachable(backend.url()))
}

/// "Every address of this machine" is one to listen on, but not everywhere one to connect to.
fn reachable(url: &str) -> String {
    url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
}
