//! The configuration of a [`ReplicatePlugin`].

use std::{collections::BTreeMap, future::Future, path::PathBuf, sync::Arc, time::Duration};

use bevy::prelude::World;

use super::{
    APPLY_BUDGET, ReplicatePlugin,
    account::{Account, CurrentAuth},
};
use crate::{
    CollectionIndex,
    ecs::{Link, Port},
    failure::{Failure, FailureKind},
    message::SyncStatus,
    store::{StoreError, default_path},
    transport::{AuthToken, Token},
    worker::{CollectionConfig, Command, PresenceCodec, Report, Waker, Worker, WorkerConfig},
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
            user: None,
            signed_out: false,
            store: None,
            offline: false,
            rebuild: false,
            apply_budget: APPLY_BUDGET,
            waker: None,
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

    /// The user whose documents the app shows, and as whom it authenticates. Each user of a profile has a store of
    /// their own ([`user_path`](crate::store::user_path)), so edits of one user are never sent under the token of
    /// another. Any text is a user's name. It must name the same person for ever.
    ///
    /// [`SyncControl::sign_in`](crate::collection::SyncControl::sign_in) changes the user while the app runs. Without
    /// this, the documents are nobody's, and every token is taken for one that may send them.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The app has users, and nobody is signed in when it starts: as after
    /// [`SyncControl::sign_out`](crate::collection::SyncControl::sign_out). Documents that are made meanwhile are
    /// nobody's and stay on this machine.
    pub fn signed_out(mut self) -> Self {
        self.signed_out = true;
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
    pub fn auth<F, R>(self, token: F) -> Self
    where
        F: Fn(bool) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<String>, String>> + Send + 'static,
    {
        self.auth_as(move |refresh| {
            let token = token(refresh);
            async move { Ok(token.await?.map(Token::from)) }
        })
    }

    /// The same as [`auth`](Self::auth), with a callback that also says whose token it is ([`Token::of`]). If that is
    /// another user than the one who is signed in, because the account was changed elsewhere, the app does not connect,
    /// and [`SyncFailed`](crate::message::SyncFailed) says so ([`FailureKind::OtherUser`]). Nothing is sent. The
    /// callback is asked again after a pause.
    ///
    /// Convex does not tell the client as whom it is connected, so the callback's word counts. A callback that does not
    /// say whose token it is, [`auth`](Self::auth) among them, is believed to give tokens of the user who is signed in.
    pub fn auth_as<F, R>(mut self, token: F) -> Self
    where
        F: Fn(bool) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Token>, String>> + Send + 'static,
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

    /// Calls `wake` when something arrives for an app that sleeps between frames: documents of others, an answer of the
    /// store, a failure, a change of the status. Without it, such an app finds that in its next frame, whatever causes
    /// it. `wake` is called on other threads, and once until the next frame. It should return at once.
    ///
    /// With winit, whose [`desktop_app`](https://docs.rs/bevy/latest/bevy/winit/struct.WinitSettings.html) settings let
    /// an app sleep, it is the proxy of the event loop, which is there as soon as `DefaultPlugins` are added:
    ///
    /// ```ignore
    /// use bevy::winit::{EventLoopProxyWrapper, WinitSettings, WinitUserEvent};
    ///
    /// let mut app = App::new();
    /// app.add_plugins(DefaultPlugins).insert_resource(WinitSettings::desktop_app());
    /// let proxy = (**app.world().resource::<EventLoopProxyWrapper>()).clone();
    /// app.add_plugins(ReplicatePlugin::new("my-app").waker(move || {
    ///     let _ = proxy.send_event(WinitUserEvent::WakeUp);
    /// }));
    /// ```
    ///
    /// Saving and synchronising never wait for a frame: an app that is hidden or minimised does both.
    pub fn waker(mut self, wake: impl Fn() + Send + Sync + 'static) -> Self {
        self.waker = Some(Arc::new(wake));
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
            store: self.path().map_err(|error| error.to_string()),
            deployment: self.deployment.clone(),
            auth: self.auth.clone().filter(|_| !self.signed_out),
            user: self.user.clone().filter(|_| !self.signed_out),
            signed_out: self.signed_out,
            online: !self.offline,
            rebuild: self.rebuild,
            waker: self.waker.clone(),
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
#[derive(Clone)]
pub(super) struct Config {
    /// The profile's store, or why there is none.
    store: Result<PathBuf, String>,
    deployment: Option<String>,
    auth: Option<AuthToken>,
    user: Option<String>,
    signed_out: bool,
    online: bool,
    rebuild: bool,
    waker: Option<Waker>,
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

    /// The user at the start.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The profile's store, or why there is none.
    pub(super) fn store(&self) -> Result<PathBuf, String> {
        self.store.clone()
    }

    /// Whether to connect at the start.
    pub(super) fn online(&self) -> bool {
        self.online
    }

    /// Whether a damaged store is to be set aside.
    pub(super) fn rebuild(&self) -> bool {
        self.rebuild
    }

    /// Starts a worker, and returns a link to it.
    pub(super) fn connect(self, world: &mut World, collections: Vec<CollectionConfig>) -> Link {
        let auth = CurrentAuth::new(self.auth.clone());
        let deployment = if self.signed_out { None } else { self.url(world) };
        let presence = crate::ecs::presence::codecs(world);
        let link = match self.settings(deployment, self.user.clone(), &auth, self.online, collections, presence) {
            Ok(settings) => {
                let worker = Worker::start(settings);
                if self.rebuild {
                    worker.rebuild_if_damaged();
                }
                Link::new(worker)
            }
            Err(link) => link,
        };
        world.resource_mut::<SyncStatus>().user.clone_from(&self.user);
        world.insert_resource(Account::new(self, auth));
        link
    }

    /// The settings of a worker for this user, or for nobody, who has no deployment. Without a place for a store, the
    /// error is the link that says so.
    pub(super) fn worker(
        &self,
        world: &mut World,
        user: Option<String>,
        auth: &CurrentAuth,
        online: bool,
        collections: Vec<CollectionConfig>,
    ) -> Result<WorkerConfig, Link> {
        let deployment = user.as_ref().and_then(|_| self.url(world));
        let presence = crate::ecs::presence::codecs(world);
        self.settings(deployment, user, auth, online, collections, presence)
    }

    fn settings(
        &self,
        deployment: Option<String>,
        user: Option<String>,
        auth: &CurrentAuth,
        online: bool,
        collections: Vec<CollectionConfig>,
        presence: BTreeMap<CollectionIndex, Arc<dyn PresenceCodec>>,
    ) -> Result<WorkerConfig, Link> {
        match &self.store {
            Ok(store) => {
                let auth = auth.callback(user.is_some());
                let waker = self.waker.clone();
                Ok(WorkerConfig { store: store.clone(), user, deployment, auth, online, collections, presence, waker })
            }
            Err(error) => {
                let message = format!("there is no place for this app's store, so nothing is saved: {error}");
                let failure = Failure { kind: FailureKind::Store, collection: None, document: None, message };
                Err(Link::new(Nowhere(Some(failure))))
            }
        }
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

    fn wake(&self) {
        self.wake_front_end();
    }
}
