//! Answers to requests that reach no function.

use axum::{
    Json,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A request that reaches no function: Convex answers with a status and `{ code, message }` (`HttpResponseError` in
/// `crates/common/src/http/mod.rs` of get-convex/convex-backend). The codes are Convex's, where it has one.
#[derive(Debug)]
pub(super) struct HttpError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl HttpError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "code": self.code, "message": self.message }))).into_response()
    }
}

/// The answer where no route has this path.
pub(super) async fn unknown_path(uri: Uri) -> HttpError {
    let message = format!(
        "Nothing is at {}. This backend has /api/sync for the sync protocol and, of the HTTP API, query, query_ts, \
         query_at_ts, query_batch, mutation, action, function and run under /api.",
        uri.path()
    );
    HttpError::new(StatusCode::NOT_FOUND, "NotFound", message)
}

/// The answer where a route with this path takes other methods.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> HttpError {
    HttpError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        format!("{} does not take the method {method}.", uri.path()),
    )
}
