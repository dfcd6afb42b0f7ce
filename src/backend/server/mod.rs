//! A thin shell around the log: sockets, HTTP and authentication.

mod allowance;
mod connection;
mod http;
mod listener;
pub(in crate::backend) mod session;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use subtle::ConstantTimeEq;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use self::http::cors;
use super::{
    limits::{CONNECTIONS, FRAME_BYTES, SOCKET_BUFFER_BYTES},
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
    pub token: watch::Sender<Option<Token>>,
    pub origins: Vec<String>,
    /// How long a client may send nothing or take nothing.
    pub patience: Duration,
    pub connections: AtomicUsize,
    pub places: Arc<Semaphore>,
}

/// The token that callers must send. It is never shown.
#[derive(Clone)]
pub(super) struct Token(Arc<str>);

impl Token {
    pub fn new(token: String) -> Self {
        Self(token.into())
    }

    /// Whether a client that offers this token may call functions. `token` is the required token, if there is one.
    fn admits(token: Option<&Self>, offered: Option<&str>) -> bool {
        token.is_none_or(|token| offered.is_some_and(|offered| token.is(offered)))
    }

    /// Whether this is the token. The comparison takes as long for a wrong token as for the right one of the same
    /// length.
    fn is(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }
}

impl Server {
    /// Makes room for the largest number of connections.
    pub fn places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(CONNECTIONS))
    }

    /// Whether a client that offers this token may call functions.
    fn admits(&self, offered: Option<&str>) -> bool {
        Token::admits(self.token.borrow().as_ref(), offered)
    }
}

/// Serves until the backend stops.
pub(super) async fn serve(listener: TcpListener, server: Arc<Server>) -> std::io::Result<()> {
    let mut stopping = server.stopping.clone();
    let listener = listener::Sockets::new(listener, server.patience);
    let router = Router::new().route("/api/sync", get(sync)).route("/api/{version}/sync", get(sync));
    let router = http::add_routes(router)
        .layer(DefaultBodyLimit::max(FRAME_BYTES))
        .layer(middleware::from_fn_with_state(server.clone(), check_origin))
        .with_state(server);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            // An error means that the backend is gone.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        })
        .await
}

/// Checks the `Origin` header. Any page in a browser could try to reach a server on this machine, and the header names
/// the page's origin.
async fn check_origin(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return next.run(request).await;
    };
    if !server.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
        return (StatusCode::FORBIDDEN, "This origin is not allowed. Add it to those the backend allows.")
            .into_response();
    }
    let mut response = match cors::is_preflight(request.method()) {
        true => cors::preflight(request.headers()),
        false => next.run(request).await,
    };
    cors::allow(&mut response, origin);
    response
}

/// Speaks the sync protocol.
async fn sync(State(server): State<Arc<Server>>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(place) = server.places.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many connections").into_response();
    };
    let upgrade = upgrade
        .max_message_size(FRAME_BYTES)
        .max_frame_size(FRAME_BYTES)
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        .write_buffer_size(SOCKET_BUFFER_BYTES);
    upgrade.on_upgrade(async move |socket| {
        server.connections.fetch_add(1, Ordering::Relaxed);
        // The connection is counted down even if this panics.
        let _counted = Counted(&server.connections);
        connection::run(socket, server.clone()).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_the_token() {
        let token = Token::new("a token".into());
        assert!(token.is("a token"));
        for other in ["", "a", "a toke", "a token ", "a tokem", "b token", "A TOKEN", "a token\0"] {
            assert!(!token.is(other), "{other:?}");
        }
    }
}
