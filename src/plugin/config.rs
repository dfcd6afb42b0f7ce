//! How a [`ReplicatePlugin`] is set up.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use bevy::prelude::World;

use super::{APPLY_BUDGET, ReplicatePlugin};
use crate::{
    ecs::{Link, Port},
    failure::{Failure, FailureKind},
    store::{StoreError, default_path},
    transport::AuthToken,
    worker::{CollectionConfig, Command, Report, Worker, WorkerConfig},
};

impl ReplicatePlugin {
    /// For the app of that name: its store is `default.sqlite3` in a folder of that name where the platform keeps apps' data
    /// (see [`default_path`] for what a name may be).
    pub fn new(app: impl Into<String>) -> Self {
        Self {
            app: app.into(),
            profile: "default".into(),
            deployment: None,
            auth: None,
            store: None,
            offline: false,
            rebuild: false,
            apply_budget: APPLY_BUDGET,
            #[cfg(feature = "backend")]
            host: None,
        }
    }

    /// Which of several stores of this app: another user, or another instance on the same machine. `default` unless set.
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = profile.into();
        self
    }

    /// Synchronises through this Convex deployment or `replicate-backend`: `https://happy-otter-123.convex.cloud`,
    /// `http://192.168.1.7:3210`.
    pub fn deployment(mut self, url: impl Into<String>) -> Self {
        self.deployment = Some(url.into());
        self
    }

    /// Asks this for a token whenever one is needed. Its argument is true when the last one was refused or the connection was lost, so that
    /// a cached one should be refreshed; `Ok(None)` goes without.
    ///
    /// An app that logs more than `info` should add [`LOG_FILTER`](crate::transport::LOG_FILTER) to its filter: the official client logs tokens at
    /// `debug`.
    pub fn auth<F, R>(mut self, token: F) -> Self
    where
        F: Fn(bool) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<String>, String>> + Send + 'static,
    {
        self.auth = Some(Arc::new(move |refresh| Box::pin(token(refresh))));
        self
    }

    /// Authenticates with a token that stays the same.
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.auth(move |_| std::future::ready(Ok(Some(token.clone()))))
    }

    /// Keeps the store in this file instead of the platform's folder for data.
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// Does not connect until [`SyncControl::go_online`](crate::collection::SyncControl::go_online).
    pub fn offline(mut self) -> Self {
        self.offline = true;
        self
    }

    /// Sets a store that is damaged aside when the app starts, and makes a new one of what can be read of it and of what the deployment
    /// has; without this it is refused, and edits are not saved until
    /// [`SyncControl::rebuild_store`](crate::collection::SyncControl::rebuild_store) is called. If only some documents are damaged, that is done at the next start. Either way the damaged files are kept, see
    /// [`Store::set_aside`](crate::store::Store::set_aside), and [`SyncFailed`](crate::message::SyncFailed) tells what happened.
    pub fn rebuild_damaged_store(mut self) -> Self {
        self.rebuild = true;
        self
    }

    /// How long applying changes from elsewhere may take in a frame. 2 ms unless set. At least a few documents are applied in each frame,
    /// whatever they take.
    pub fn apply_budget(mut self, budget: Duration) -> Self {
        self.apply_budget = budget;
        self
    }

    /// Runs the embedded backend in this app and synchronises through it: others connect to this address, e.g. `127.0.0.1:3210`. Its
    /// data are in a folder beside the store. An address that other machines can reach needs a token.
    ///
    /// If it cannot be run, [`SyncFailed`](crate::message::SyncFailed) tells why and the app goes on; if that is because
    /// another instance of the app hosts there already, this one joins it. An app that runs an [`EmbeddedBackend`](super::EmbeddedBackend) already hosts
    /// no second one: it synchronises through the one it has.
    #[cfg(feature = "backend")]
    pub fn host(mut self, listen: impl Into<String>) -> Self {
        self.host = Some(Host { listen: listen.into(), token: None });
        self
    }

    /// As [`host`](Self::host), for those who know this token only.
    #[cfg(feature = "backend")]
    pub fn host_with_token(mut self, listen: impl Into<String>, token: impl Into<String>) -> Self {
        let token = token.into();
        self.host = Some(Host { listen: listen.into(), token: Some(token.clone()) });
        self.token(token)
    }

    fn path(&self) -> Result<PathBuf, StoreError> {
        match &self.store {
            Some(path) => Ok(path.clone()),
            None => default_path(&self.app, &self.profile),
        }
    }

    /// Where the backend that this app hosts keeps its data.
    #[cfg(feature = "backend")]
    pub(super) fn host_folder(&self) -> Option<PathBuf> {
        Some(self.path().ok()?.with_extension("backend"))
    }

    pub(super) fn config(&self) -> Config {
        Config {
            store: self.path(),
            deployment: self.deployment.clone(),
            auth: self.auth.clone(),
            online: !self.offline,
            rebuild: self.rebuild,
            #[cfg(feature = "backend")]
            host: self.host.clone(),
        }
    }
}

/// What to host.
#[cfg(feature = "backend")]
#[derive(Clone)]
pub(super) struct Host {
    pub(super) listen: String,
    pub(super) token: Option<String>,
}

/// What to start.
pub(super) struct Config {
    store: Result<PathBuf, StoreError>,
    deployment: Option<String>,
    auth: Option<AuthToken>,
    online: bool,
    rebuild: bool,
    #[cfg(feature = "backend")]
    host: Option<Host>,
}

impl Config {
    /// Where to connect to.
    #[cfg(feature = "backend")]
    fn url(&self, world: &mut World) -> Option<String> {
        match self.host {
            Some(_) => super::host::deployment(world),
            None => self.deployment.clone(),
        }
    }

    /// Where to connect to.
    #[cfg(not(feature = "backend"))]
    fn url(&self, _: &mut World) -> Option<String> {
        self.deployment.clone()
    }

    /// Starts a worker, and lays a line to it.
    pub(super) fn connect(self, world: &mut World, collections: Vec<CollectionConfig>) -> Link {
        let deployment = self.url(world);
        let store = match self.store {
            Ok(store) => store,
            Err(error) => {
                let message = format!("there is nowhere to keep this app's documents, so nothing is saved: {error}");
                return Link::new(Nowhere(Some(Failure {
                    kind: FailureKind::Store,
                    collection: None,
                    document: None,
                    message,
                })));
            }
        };
        let config = WorkerConfig { store, deployment, auth: self.auth, online: self.online, collections };
        let worker = Worker::start(config);
        if self.rebuild {
            worker.rebuild_if_damaged();
        }
        Link::new(worker)
    }
}

/// Where edits go when there is nowhere to keep them. They stay unsaved.
struct Nowhere(Option<Failure>);

impl Port for Nowhere {
    fn send(&mut self, _: Command) {}

    fn try_recv(&mut self) -> Option<Report> {
        self.0.take().map(Report::Stopped)
    }
}

impl Port for Worker {
    fn send(&mut self, command: Command) {
        Worker::send(self, command);
    }

    fn try_recv(&mut self) -> Option<Report> {
        Worker::try_recv(self)
    }
}
