//! The checks of a request before its function is called: whether the client may send it, and how large it may be. And
//! the two pages for operators.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State, connect_info::Connected},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
    serve::IncomingStream,
};
use serde_json::json;

use super::{Server, admission::Standing, bearer, listener::Sockets, origin::may_be_rebound};
use crate::backend::{
    limits::{FRAME_BYTES, STRANGER_BYTES, STRANGER_HEAD_BYTES},
    log::Size,
    metrics::{Gauges, Refused},
};

/// The socket that a request came on.
#[derive(Clone)]
pub(super) struct Client(pub Arc<Standing>);

impl Connected<IncomingStream<'_, Sockets>> for Client {
    fn connect_info(stream: IncomingStream<'_, Sockets>) -> Self {
        Self(stream.io().standing().clone())
    }
}

/// Lets a request with a valid token have a large body and a member's time. Other requests are a stranger's.
pub(super) async fn admit(
    State(server): State<Arc<Server>>,
    ConnectInfo(Client(standing)): ConnectInfo<Client>,
    mut request: Request,
    next: Next,
) -> Response {
    standing.begin(STRANGER_HEAD_BYTES + STRANGER_BYTES);
    let headers = request.headers();
    let offered = bearer(headers);
    let is_member = server.admits(offered);
    if offered.is_some() && !is_member {
        server.metrics().refused(Refused::Unauthenticated);
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let most = if is_member { FRAME_BYTES } else { STRANGER_BYTES };
    if length.is_some_and(|length| length > most) {
        server.metrics().refused(Refused::LargeStranger);
        let message =
            format!("the body may have {most} bytes{}", if is_member { "" } else { " without a valid token" });
        return answer(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge", &message);
    }
    // A WebSocket becomes a member's by its own messages.
    let upgrades = headers.contains_key(header::UPGRADE);
    let pass = match is_member && !upgrades {
        true => match standing.enter() {
            Some(pass) => Some(pass),
            None => {
                server.metrics().refused(Refused::Full);
                return answer(StatusCode::SERVICE_UNAVAILABLE, "TooManyConnections", "try again later");
            }
        },
        false => None,
    };
    if pass.is_some() && standing.reserve(length.unwrap_or(0)).is_err() {
        server.metrics().refused(Refused::Memory);
        return answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "TooManyRequests",
            "other large requests arrive: try again later",
        );
    }
    DefaultBodyLimit::max(most).apply(&mut request);
    let response = next.run(request).await;
    drop(pass);
    response
}

pub(super) fn answer(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

/// `GET /healthz`: whether the backend serves. It takes no lock, so that a busy disk does not make it late.
pub(super) async fn health(State(server): State<Arc<Server>>) -> Response {
    match *server.stopping.borrow() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
        false => "ok\n".into_response(),
    }
}

/// `GET /metrics`. Where the backend requires a token, other machines need it for this page, too: it shows how much the
/// backend is used. A request that a proxy passed on counts as one from another machine.
pub(super) async fn metrics(
    State(server): State<Arc<Server>>,
    ConnectInfo(Client(standing)): ConnectInfo<Client>,
    headers: HeaderMap,
) -> Response {
    let is_passed_on =
        ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| headers.contains_key(*name));
    let is_rebound = may_be_rebound(&headers);
    let is_local = standing.address().ip().to_canonical().is_loopback() && !is_passed_on && !is_rebound;
    let offered = bearer(&headers);
    let has_token = server.admits(offered) && (offered.is_some() || !is_rebound);
    if !is_local && !has_token {
        return answer(StatusCode::UNAUTHORIZED, "Unauthenticated", "from another machine, this page needs the token");
    }
    let Size { documents, rows, bytes, .. } = server.log.read().size();
    let gauges = Gauges {
        connections: server.connections.load(Ordering::Relaxed),
        strangers: server.doors.strangers(),
        members: server.doors.members(),
        documents,
        rows,
        bytes,
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], server.metrics().text(&gauges)).into_response()
}
