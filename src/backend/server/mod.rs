//! A thin shell around the log: sockets, HTTP and authentication.

pub(super) mod admission;
mod allowance;
mod connection;
mod frames;
mod gate;
mod http;
mod listener;
pub(super) mod origin;
pub(in crate::backend) mod session;
pub(super) mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use self::{admission::Doors, gate::Client, http::cors, listener::Sockets, origin::Origins, tls::Certificate};
use super::{
    access::Access,
    limits::{FRAME_BYTES, PRESENCE_EXPIRE_EVERY, SOCKET_BUFFER_BYTES, WEB_SOCKETS},
    metrics::{Metrics, Refused},
    turns::Caller,
    writer::{Jobs, Shared},
};

/// The state that all connections share.
pub(super) struct Server {
    pub log: Shared,
    pub jobs: Jobs,
    /// The caller for all HTTP requests. They share one turn among the connections.
    pub http: Caller,
    /// The newest commit that readers see.
    pub published: watch::Receiver<i64>,
    /// Becomes true when the backend stops.
    pub stopping: watch::Receiver<bool>,
    /// The tokens that are valid, and the rule.
    pub access: watch::Sender<Access>,
    pub origins: Origins,
    pub doors: Arc<Doors>,
    pub certificate: Option<Arc<Certificate>>,
    /// The path below which the API is, e.g. `/sync`. Empty for the root.
    pub prefix: String,
    /// The time that a client may send nothing or receive nothing.
    pub patience: Duration,
    pub connections: AtomicUsize,
    pub places: Arc<Semaphore>,
}

impl Server {
    /// Makes room for the largest number of connections.
    pub fn places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(WEB_SOCKETS))
    }

    /// The counters for `/metrics`.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.jobs.metrics()
    }

    /// Whether a client that offers this token may call functions.
    fn admits(&self, offered: Option<&str>) -> bool {
        let access = self.access.borrow();
        access.admit(offered).is_some_and(|admission| access.rights(&admission).admits())
    }
}

/// Serves until the backend stops.
pub(super) async fn serve(listener: TcpListener, server: Arc<Server>) -> std::io::Result<()> {
    let mut stopping = server.stopping.clone();
    let metrics = server.metrics().clone();
    tokio::spawn(expire_presence(server.log.clone()));
    let listener = Sockets::new(listener, server.doors.clone(), server.patience, server.certificate.clone(), metrics);
    if let Some(certificate) = &server.certificate {
        tokio::spawn(tls::keep_current(certificate.clone(), server.stopping.clone()));
    }
    let api = Router::new().route("/api/sync", get(sync)).route("/api/{version}/sync", get(sync));
    let api = http::add_routes(api).route("/healthz", get(gate::health)).route("/metrics", get(gate::metrics));
    let router = match server.prefix.as_str() {
        "" => api,
        prefix => Router::new().nest(prefix, api),
    };
    let router = router
        .layer(middleware::from_fn_with_state(server.clone(), gate::admit))
        .layer(middleware::from_fn_with_state(server.clone(), check_origin))
        .with_state(server);
    axum::serve(listener, router.into_make_service_with_connect_info::<Client>())
        .with_graceful_shutdown(async move {
            // An error means that the backend is gone.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        })
        .await
}

/// Removes the peers that were not heard of for too long, for as long as the runtime lives.
async fn expire_presence(log: Shared) {
    let mut every = tokio::time::interval(PRESENCE_EXPIRE_EVERY);
    loop {
        every.tick().await;
        log.presence().expire(std::time::Instant::now());
    }
}

/// Checks the `Origin` header. Any page in a browser could try to reach a server on this machine, and the header names
/// the page's origin.
async fn check_origin(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return match cors::is_preflight(request.method()) {
            true => cors::preflight(request.headers()),
            false => next.run(request).await,
        };
    };
    if !server.origins.admit(&origin) {
        server.metrics().refused(Refused::Origin);
        let message = "This origin is not allowed. Add it to those the backend allows.";
        return gate::answer(StatusCode::FORBIDDEN, "OriginNotAllowed", message);
    }
    let mut response = match cors::is_preflight(request.method()) {
        true => cors::preflight(request.headers()),
        false => next.run(request).await,
    };
    cors::allow(&mut response, origin);
    response
}

/// Speaks the sync protocol.
async fn sync(
    State(server): State<Arc<Server>>,
    ConnectInfo(Client(standing)): ConnectInfo<Client>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Ok(place) = server.places.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections").into_response();
    };
    if !standing.begin_frames() {
        // The client has to wait for the answer to its handshake (RFC 6455, section 4.1).
        return (StatusCode::BAD_REQUEST, "something came before the handshake was answered").into_response();
    }
    let upgrade = upgrade
        .max_message_size(FRAME_BYTES)
        .max_frame_size(FRAME_BYTES)
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        .write_buffer_size(SOCKET_BUFFER_BYTES);
    upgrade.on_upgrade(async move |socket| {
        server.connections.fetch_add(1, Ordering::Relaxed);
        // The connection is counted down even if this panics.
        let _counted = Counted(&server.connections);
        connection::run(socket, server.clone(), standing).await;
        drop(place);
    })
}

/// Counts an open connection for as long as it exists.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The token after `Bearer` (or `Convex`) in the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("convex")).then_some(token.trim())
}
