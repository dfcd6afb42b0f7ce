//! Requests of pages from other origins, as browsers make them.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

/// How long a browser may remember what a page may send, in seconds: as long as on Convex (`cors` in
/// `crates/local_backend/src/router.rs` of get-convex/convex-backend). Browsers have their own, shorter limits.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
/// The methods that Convex names.
const METHODS: HeaderValue = HeaderValue::from_static("GET,POST,OPTIONS,PATCH,DELETE,PUT");

/// Whether a browser asks what a page may send, before it sends it.
pub(in crate::backend::server) fn is_preflight(method: &Method) -> bool {
    *method == Method::OPTIONS
}

/// The answer to such a question: a page may send every header that it asks for.
pub(in crate::backend::server) fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    response
}

/// Lets a page of this origin read the response.
pub(in crate::backend::server) fn allow(response: &mut Response, origin: HeaderValue) {
    const VARY: [HeaderName; 3] =
        [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS];
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    for name in VARY {
        headers.append(header::VARY, name.into());
    }
}
