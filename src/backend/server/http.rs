//! Convex's HTTP API: `/api/query` and `/api/mutation`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use convex::Value;
use convex_sync_types::UdfPath;
use serde::Deserialize;
use serde_json::{Value as Json_, json, value::RawValue};
use tokio::sync::oneshot;

use super::{Server, bearer, session::unauthenticated};
use crate::backend::{
    access::{Access, Admission},
    function::{self, CallError},
};

/// A call. The official clients send `args` as an array of one object, and ask for `convex_encoded_json`.
#[derive(Deserialize)]
struct Call {
    path: String,
    #[serde(default)]
    args: Option<Box<RawValue>>,
    #[serde(default)]
    format: Option<String>,
}

/// `POST /api/query`.
pub(super) async fn query(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Response {
    let (call, path, access, admission) = match admit(&server, &headers, &body) {
        Ok(call) => call,
        Err(response) => return *response,
    };
    let result = function::query(&path, args(&call)).and_then(|(collection, query)| {
        let answer = query.run(&collection, access.rights(&admission), &server.log.read())?;
        Ok(Value::from(answer))
    });
    respond(&call, result)
}

/// `POST /api/mutation`.
pub(super) async fn mutation(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Response {
    let (call, path, _, admission) = match admit(&server, &headers, &body) {
        Ok(call) => call,
        Err(response) => return *response,
    };
    let result = match function::mutation(&path, args(&call)) {
        Ok((collection, mutation)) => {
            let (sender, receiver) = oneshot::channel();
            // The caller may be gone when the answer comes.
            let user = admission.user;
            server.jobs.mutate((server.http, body.len()), collection, mutation, user, |reply| drop(sender.send(reply)));
            match receiver.await {
                Ok(reply) => reply.result,
                Err(_) => {
                    return (StatusCode::SERVICE_UNAVAILABLE, "the backend is stopping").into_response();
                }
            }
        }
        Err(error) => Err(error),
    };
    respond(&call, result)
}

fn args(call: &Call) -> &str {
    call.args.as_deref().map_or("{}", RawValue::get)
}

/// Reads a call, and checks that the caller may make it.
fn admit(
    server: &Server,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Call, UdfPath, Access, Admission), Box<Response>> {
    let bad = |problem: String| Box::new((StatusCode::BAD_REQUEST, problem).into_response());
    let offered = bearer(headers);
    let access = server.access.borrow().clone();
    let admission = access.admit(offered);
    if offered.is_some() && admission.is_none() {
        let body = json!({ "code": "Unauthenticated", "message": "the token is wrong" });
        return Err(Box::new((StatusCode::UNAUTHORIZED, Json(body)).into_response()));
    }
    let call: Call = serde_json::from_slice(body).map_err(|error| bad(format!("not a call: {error}")))?;
    let Some(admission) = admission.filter(|admission| access.rights(admission).admits()) else {
        return Err(Box::new(respond(&call, Err(unauthenticated()))));
    };
    function::check_path(&call.path).map_err(bad)?;
    let path = call.path.parse().map_err(|error| bad(format!("not a function path: {error}")))?;
    Ok((call, path, access, admission))
}

fn respond(call: &Call, result: Result<Value, CallError>) -> Response {
    let encode = |value: Value| match call.format.as_deref() {
        Some("convex_encoded_json") => Json_::from(value),
        _ => value.export(),
    };
    let body = match result {
        Ok(value) => json!({ "status": "success", "value": encode(value), "logLines": [] }),
        Err(error) => {
            let (message, data) = error.into_parts();
            let mut body = json!({ "status": "error", "errorMessage": message, "logLines": [] });
            if let Some(data) = data {
                body["errorData"] = encode(data);
            }
            body
        }
    };
    Json(body).into_response()
}
