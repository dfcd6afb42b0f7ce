//! The embedded Convex-compatible backend: the functions of `docs/wire.md` for every collection, over Convex's sync
//! protocol and HTTP API.
//!
//! With it an app is collaborative with nothing else installed, and can host a game on a local network. The tests use
//! it as their backend. The official clients talk to it as to a self-hosted deployment or to the cloud.
//!
//! ```
//! use bevy_convex_replicate::backend::{Backend, BackendConfig};
//!
//! let backend = Backend::start(BackendConfig::new().listen("127.0.0.1:0"))?;
//! println!("an app connects to {}", backend.url());
//! # Ok::<(), bevy_convex_replicate::backend::BackendError>(())
//! ```
//!
//! Inside, `log` holds the state and makes every decision, in memory and without input or output of its own. `writer`
//! is the only thread that changes the log; it makes changes durable with `store`, and `turns` chooses which caller is
//! next. `server` is a thin shell that turns messages from sockets into calls (`function`).

mod access;
mod capacity;
mod config;
mod error;
mod function;
mod limits;
mod log;
mod metrics;
mod presence;
mod refusal;
mod server;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;
mod store;
mod turns;
mod writer;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::watch;

#[cfg(feature = "oidc")]
pub use self::access::{OidcError, OidcProvider};
use self::{
    access::{Access, Token},
    log::Log,
    server::{Server, admission::Doors, origin::Origins, tls::Certificate},
    store::Store,
    writer::Jobs,
};
pub use self::{
    access::{
        Authorize, DocumentRow, Everyone, OwnRows, ReadRequest, SignedIn, UserToken, UserTokens, UserTokensError,
        WriteKind, WriteRequest,
    },
    config::BackendConfig,
    error::BackendError,
};
use crate::DocumentId;
pub use crate::record::UserId;

/// The time that connections are given to close when the backend stops.
const CLOSING: Duration = Duration::from_secs(2);

/// A running backend. It stops when dropped. Everything that it has acknowledged is durable already.
pub struct Backend {
    address: SocketAddr,
    url: String,
    epoch: Arc<str>,
    jobs: Jobs,
    server: Arc<Server>,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
    /// The threads that follow the files of tokens and keys until the sender is dropped.
    following: Option<(crossbeam_channel::Sender<()>, Vec<JoinHandle<()>>)>,
    writing: Option<JoinHandle<()>>,
}

/// The numbers of things that a backend holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendStats {
    /// Open connections.
    pub connections: usize,
    /// Collections with a document.
    pub collections: usize,
    /// Documents, tombstones included.
    pub documents: usize,
    /// Log rows: changes, snapshots and parts.
    pub rows: usize,
    /// The bytes of the rows.
    pub bytes: usize,
    /// Changes in the log, including those in snapshots.
    pub changes: usize,
}

impl Backend {
    /// Starts a backend on threads of its own, and returns when it listens.
    pub fn start(config: BackendConfig) -> Result<Self, BackendError> {
        let BackendConfig {
            listen,
            data,
            new_epoch,
            token,
            origins,
            patience,
            retention,
            max_log_bytes,
            certificate,
            prefix,
            rule,
            oidc,
        } = config;
        if token.as_deref().is_some_and(str::is_empty) {
            return Err(BackendError::TokenEmpty);
        }
        let origins = Origins::new(origins)?;
        let prefix = prefix.as_deref().map(config::prefix).transpose()?.unwrap_or_default();
        let certificate = certificate.map(|(chain, key)| Certificate::load(chain, key)).transpose()?.map(Arc::new);
        let access = Access { token: token.map(Token::new), rule: rule.clone(), ..Access::default() };
        let access = watch::Sender::new(access);
        let (stop_following, stopped) = crossbeam_channel::bounded(0);
        let follow = data.clone().map(|data| {
            let access = access.clone();
            access::watch(data, stopped.clone(), move |users| access.send_modify(|access| access.users = Some(users)))
        });
        let follow = follow.transpose()?;
        let follow_keys = oidc.map(|provider| {
            let access = access.clone();
            access::follow(provider, stopped, move |keys| access.send_modify(|access| access.keys = Some(keys)))
        });
        let follow_keys = follow_keys.transpose()?;
        let listener = bind(&listen, access.borrow().is_open())?;
        let address = listener.local_addr()?;
        let epoch = uuid::Uuid::new_v4().to_string();
        let (log, store) = match data {
            None => (Log::new(epoch), None),
            Some(directory) => {
                let store = Store::open(&directory, &epoch)?;
                let mut log = store.read()?;
                if new_epoch {
                    store.renew_epoch(&epoch)?;
                    log.renew_epoch(epoch);
                }
                (log, Some(store))
            }
        };
        let epoch = log.epoch().clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("replicate-backend")
            .enable_all()
            .build()?;
        let (shared, jobs, published, writing) = writer::start(log, store, retention, max_log_bytes, rule)?;
        let (stop, stopping) = watch::channel(false);
        let server = Arc::new(Server {
            log: shared,
            jobs: jobs.clone(),
            http: jobs.caller(),
            published,
            stopping,
            access,
            origins,
            doors: Doors::new(patience, jobs.metrics().clone()),
            certificate,
            prefix,
            patience,
            connections: AtomicUsize::new(0),
            places: Server::places(),
        });
        let serve = serve(runtime, listener, server.clone());
        let serving = std::thread::Builder::new().name("replicate-backend".into()).spawn(serve)?;
        let mut following = Vec::new();
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        if let Some(follow) = follow {
            following.push(thread("replicate-backend-tokens").spawn(follow)?);
        }
        if let Some(follow) = follow_keys {
            following.push(thread("replicate-backend-keys").spawn(follow)?);
        }
        let following = Some((stop_following, following));
        let scheme = if server.certificate.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}{}", server.prefix);
        tracing::info!(target: "bevy_convex_replicate::backend", %address, "listening");
        Ok(Self { address, url, epoch, jobs, server, stop, serving: Some(serving), following, writing: Some(writing) })
    }

    /// The URL that clients connect to, e.g. `http://127.0.0.1:3210`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address that the backend listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the token. Connections that were opened with the old token are told that it is not valid any more, as
    /// Convex does when a token has expired, and are closed. Clients then ask their callback for another token.
    pub fn replace_token(&self, token: impl Into<String>) -> Result<(), BackendError> {
        let token = token.into();
        if token.is_empty() {
            return Err(BackendError::TokenEmpty);
        }
        self.server.access.send_modify(|access| access.token = Some(Token::new(token)));
        Ok(())
    }

    /// The id of the backend's log. It stays the same as long as the data directory does, unless the backend is started
    /// with [`BackendConfig::new_epoch`].
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The app's table: one row per document of a collection, tombstones included, sorted by name. All rows are from
    /// the same moment and durable.
    pub fn rows(&self, collection: &str) -> Vec<(DocumentId, convex::Value)> {
        let collection = collection.to_owned();
        self.jobs.look(move |log| log.rows(&collection)).unwrap_or_default()
    }

    /// Counts the things that the backend holds.
    pub fn stats(&self) -> BackendStats {
        let log::Size { collections, documents, rows, bytes } = self.jobs.look(Log::size).unwrap_or_default();
        let changes = self.jobs.look(Log::changes).unwrap_or_default();
        let connections = self.server.connections.load(Ordering::Relaxed);
        BackendStats { connections, collections, documents, rows, bytes, changes }
    }

    /// Stops the backend: it accepts no new connections, closes the open ones and finishes the mutations it has
    /// received. Returns when that is done.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.serving.take() {
            // A failure of the server is logged by the server.
            let _ = serving.join();
        }
        if let Some((stop, following)) = self.following.take() {
            drop(stop);
            for thread in following {
                let _ = thread.join();
            }
        }
        self.jobs.stop();
        if let Some(writing) = self.writing.take()
            && writing.join().is_err()
        {
            tracing::error!(target: "bevy_convex_replicate::backend", "the writer panicked");
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end();
    }
}

/// Serves until it is told to stop, then gives connections time to close.
fn serve(runtime: tokio::runtime::Runtime, listener: TcpListener, server: Arc<Server>) -> impl FnOnce() + Send {
    move || {
        let mut stopping = server.stopping.clone();
        runtime.block_on(async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(target: "bevy_convex_replicate::backend", %error, "cannot serve");
                    return;
                }
            };
            let serving = tokio::spawn(server::serve(listener, server.clone()));
            let stopped = stopping.wait_for(|stopping| *stopping).await.map(drop);
            if stopped.is_ok() {
                let closed = async {
                    // A connection that does not close in time is cut off below.
                    let _ = serving.await;
                    let _ = server.places.acquire_many(limits::WEB_SOCKETS as u32).await;
                };
                let _ = tokio::time::timeout(CLOSING, closed).await;
            }
        });
        runtime.shutdown_background();
    }
}

/// Binds the listener. Refuses an address that other machines can reach if the backend asks for no token.
fn bind(listen: &str, is_open: bool) -> Result<TcpListener, BackendError> {
    let bad = |source: io::Error| BackendError::Address { address: listen.to_owned(), source };
    let addresses: Vec<SocketAddr> = std::net::ToSocketAddrs::to_socket_addrs(listen).map_err(bad)?.collect();
    if is_open && !addresses.iter().all(|address| address.ip().to_canonical().is_loopback()) {
        return Err(BackendError::TokenNeeded { address: listen.to_owned() });
    }
    let listener = TcpListener::bind(&*addresses).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BackendError::AddressInUse { address: listen.to_owned() },
        _ => bad(source),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
