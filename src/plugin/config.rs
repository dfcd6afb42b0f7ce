//! The configuration of a [`ReplicatePlugin`].

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
    /// A plugin for the app called `app`. Its store is `default.sqlite3` in a folder of that name, in the platform's
    /// folder for apps' data. [`default_path`] says which names are valid.
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

    /// Selects one of several stores of this app: for another user, or for another instance on the same machine. The
    /// default is `default`.
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

    /// Calls `token` before each attempt to connect. The argument is true if the last token was refused or the
    /// connection was lost, so a cached token should be refreshed. `Ok(None)` connects without a token.
    ///
    /// The callback runs on the worker's single-threaded runtime: it may await an identity provider, but must not
    /// block. It has 30 seconds, so it must not wait for a person.
    ///
    /// `Err` is the reason for being offline, which [`SyncStatus::reason`](crate::message::SyncStatus::reason) shows.
    /// The callback is called again after a pause of at most 15 seconds, or at once after
    /// [`SyncControl::go_online`](crate::collection::SyncControl::go_online): call that when the user has signed in. A
    /// missing or refused token is also reported as [`FailureKind::Unauthenticated`].
    ///
    /// An app that logs more than `info` should add [`LOG_FILTER`](crate::transport::LOG_FILTER) to its filter, because
    /// the official client logs tokens at `debug`.
    pub fn auth<F, R>(mut self, token: F) -> Self
    where
        F: Fn(bool) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<String>, String>> + Send + 'static,
    {
        self.auth = Some(Arc::new(move |refresh| Box::pin(token(refresh))));
        self
    }

    /// Authenticates with a fixed token.
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

    /// Sets a damaged store aside when the app starts, and makes a new one with the documents that can be read from it
    /// and those of the deployment. Without this, a damaged store is refused, and edits are not saved until
    /// [`SyncControl::rebuild_store`](crate::collection::SyncControl::rebuild_store) is called. If only some documents
    /// are damaged, the store is rebuilt at the next start. The damaged files are kept
    /// beside the new one. [`SyncFailed`](crate::message::SyncFailed) reports what
    /// happened.
    pub fn rebuild_damaged_store(mut self) -> Self {
        self.rebuild = true;
        self
    }

    /// The time that applying changes from elsewhere may take in a frame. The default is 2 ms. Each frame applies at
    /// least a few documents, however long they take.
    pub fn apply_budget(mut self, budget: Duration) -> Self {
        self.apply_budget = budget;
        self
    }

    /// Runs the embedded backend in this app and synchronises through it. Other apps connect to the same address, e.g.
    /// `127.0.0.1:3210`. The backend's data are in a folder beside the store. An address that other machines can reach
    /// needs a token.
    ///
    /// If the backend cannot run, [`SyncFailed`](crate::message::SyncFailed) says why and the app continues. If the
    /// reason is that another instance of the app hosts there already, this one joins it.
    ///
    /// # Panics
    ///
    /// When the plugin is added to an app that already runs an [`EmbeddedBackend`](super::EmbeddedBackend).
    #[cfg(feature = "backend")]
    pub fn host(mut self, listen: impl Into<String>) -> Self {
        self.host = Some(Host { listen: listen.into(), token: None });
        self
    }

    /// The same as [`host`](Self::host), but only clients that know this token can connect.
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

    /// The data folder of the backend that this app hosts.
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

/// The backend to host.
#[cfg(feature = "backend")]
#[derive(Clone)]
pub(super) struct Host {
    pub(super) listen: String,
    pub(super) token: Option<String>,
}

/// The worker to start, and how.
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
    /// The URL to connect to.
    #[cfg(feature = "backend")]
    fn url(&self, world: &mut World) -> Option<String> {
        match self.host {
            Some(_) => super::host::deployment(world),
            None => self.deployment.clone(),
        }
    }

    /// The URL to connect to.
    #[cfg(not(feature = "backend"))]
    fn url(&self, _: &mut World) -> Option<String> {
        self.deployment.clone()
    }

    /// Starts a worker, and returns a link to it.
    pub(super) fn connect(self, world: &mut World, collections: Vec<CollectionConfig>) -> Link {
        let deployment = self.url(world);
        let store = match self.store {
            Ok(store) => store,
            Err(error) => {
                let message = format!("there is no place for this app's store, so nothing is saved: {error}");
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

/// Takes the worker's place when there is no place for a store. Edits stay unsaved.
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
