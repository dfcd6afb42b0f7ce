//! The embedded Convex-compatible backend: the functions of `docs/wire.md` for every collection, over Convex's sync protocol and HTTP API.
//!
//! It makes an app collaborative with nothing else installed, hosts a game on a local network, and is the peer in tests. The official
//! clients talk to it as to a self-hosted deployment or the cloud.
//!
//! ```
//! use bevy_convex_replicate::backend::{Backend, BackendConfig};
//!
//! let backend = Backend::start(BackendConfig::new().listen("127.0.0.1:0"))?;
//! println!("an app connects to {}", backend.url());
//! # Ok::<(), bevy_convex_replicate::backend::BackendError>(())
//! ```
//!
//! Inside: `log` is what the backend knows and does, in memory and without any input or output of its own; `writer` is the one thread
//! that changes it and makes changes durable (`store`), by `turns`; `server` is a thin shell that turns sockets into calls (`function`).

mod config;
mod error;
mod function;
mod limits;
mod log;
mod refusal;
mod room;
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

pub use self::{config::BackendConfig, error::BackendError};
use self::{
    log::Log,
    server::{Server, Token},
    store::Store,
    writer::Jobs,
};
use crate::DocumentId;

/// How long connections are given to close when the backend stops.
const CLOSING: Duration = Duration::from_secs(2);

/// A running backend. Stops when dropped; everything it has acknowledged is durable then, and was before.
pub struct Backend {
    address: SocketAddr,
    url: String,
    epoch: Arc<str>,
    jobs: Jobs,
    server: Arc<Server>,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
    writing: Option<JoinHandle<()>>,
}

/// How much a backend holds.
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
    /// Their bytes.
    pub bytes: usize,
    /// Changes taken in, those in snapshots included.
    pub changes: usize,
}

impl Backend {
    /// Starts a backend on threads of its own, and returns when it listens.
    pub fn start(config: BackendConfig) -> Result<Self, BackendError> {
        let BackendConfig { listen, data, new_epoch, token, origins, patience, retention, max_log_bytes } = config;
        let listener = bind(&listen, token.as_deref())?;
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
        let (shared, jobs, published, writing) = writer::start(log, store, retention, max_log_bytes)?;
        let (stop, stopping) = watch::channel(false);
        let server = Arc::new(Server {
            log: shared,
            jobs: jobs.clone(),
            http: jobs.caller(),
            published,
            stopping,
            token: watch::Sender::new(token.map(Token::new)),
            origins,
            patience,
            connections: AtomicUsize::new(0),
            places: Server::places(),
        });
        let serve = serve(runtime, listener, server.clone());
        let serving = std::thread::Builder::new().name("replicate-backend".into()).spawn(serve)?;
        let url = format!("http://{address}");
        tracing::info!(target: "bevy_convex_replicate::backend", %address, "listening");
        Ok(Self { address, url, epoch, jobs, server, stop, serving: Some(serving), writing: Some(writing) })
    }

    /// What clients connect to, e.g. `http://127.0.0.1:3210`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for another token from now on. Connections that were let in before are told that theirs is not valid any more, as Convex tells when
    /// one has expired, and closed: clients ask their callback for another.
    pub fn replace_token(&self, token: impl Into<String>) -> Result<(), BackendError> {
        let token = token.into();
        if token.is_empty() {
            return Err(BackendError::TokenEmpty);
        }
        self.server.token.send_replace(Some(Token::new(token)));
        Ok(())
    }

    /// The id of its log: stays for as long as its data do, unless they are started with [`BackendConfig::new_epoch`].
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The app's table: a row per document of a collection, tombstones included, in the order of their names. All rows are of one moment,
    /// and durable.
    pub fn rows(&self, collection: &str) -> Vec<(DocumentId, convex::Value)> {
        let collection = collection.to_owned();
        self.jobs.look(move |log| log.rows(&collection)).unwrap_or_default()
    }

    /// How much it holds.
    pub fn stats(&self) -> BackendStats {
        let (collections, documents, rows, bytes) = self.jobs.look(Log::size).unwrap_or_default();
        let changes = self.jobs.look(Log::changes).unwrap_or_default();
        let connections = self.server.connections.load(Ordering::Relaxed);
        BackendStats { connections, collections, documents, rows, bytes, changes }
    }

    /// Stops: no new connections, those open are closed, what was asked is done. Returns when all is over.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.serving.take() {
            // It tells of its own end in the log.
            let _ = serving.join();
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

/// Serves until it is told to stop, then lets connections close.
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
                    // Whoever cannot be waited for is cut off below.
                    let _ = serving.await;
                    let _ = server.places.acquire_many(limits::CONNECTIONS as u32).await;
                };
                let _ = tokio::time::timeout(CLOSING, closed).await;
            }
        });
        runtime.shutdown_background();
    }
}

/// Listens where nobody can come in who should not.
fn bind(listen: &str, token: Option<&str>) -> Result<TcpListener, BackendError> {
    let bad = |source: io::Error| BackendError::Address { address: listen.to_owned(), source };
    let addresses: Vec<SocketAddr> = std::net::ToSocketAddrs::to_socket_addrs(listen).map_err(bad)?.collect();
    if token.is_some_and(str::is_empty) {
        return Err(BackendError::TokenEmpty);
    }
    if token.is_none() && !addresses.iter().all(|address| address.ip().to_canonical().is_loopback()) {
        return Err(BackendError::TokenNeeded { address: listen.to_owned() });
    }
    let listener = TcpListener::bind(&*addresses).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BackendError::AddressInUse { address: listen.to_owned() },
        _ => bad(source),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
