//! Convex's HTTP API: the routes, statuses and codes of `crates/local_backend/src/public_api.rs` and `router.rs` of
//! get-convex/convex-backend.

mod call;
pub(super) mod cors;
mod error;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use convex::Value;
use convex_sync_types::UdfPath;
use serde_json::json;
use tokio::sync::oneshot;
use url::form_urlencoded;

use self::{
    call::{Batch, Body, Call, CallAt, CallByUrl, Format, Ts},
    error::HttpError,
};
use super::{Server, bearer, origin::may_be_rebound, session::unauthenticated};
use crate::backend::{
    access::{Access, Admission, Rights},
    function::{self, CallError},
    limits::{FRAME_BYTES, QUERIES},
    log::{Log, TooOld},
    metrics::Refused,
};

/// The answer at `/instance_name`, where Convex has the name of the deployment.
const INSTANCE_NAME: &str = "replicate-backend";

/// Adds the HTTP API to the other routes, and an answer for everything else.
pub(super) fn add_routes(router: Router<Arc<Server>>) -> Router<Arc<Server>> {
    router
        .route("/api/query", get(query_by_url).post(query))
        .route("/api/query_ts", post(query_ts))
        .route("/api/query_at_ts", post(query_at_ts))
        .route("/api/query_batch", post(query_batch))
        .route("/api/mutation", post(mutation))
        .route("/api/action", post(action))
        .route("/api/function", post(any_function))
        .route("/api/run/{*path}", post(run))
        .route("/version", get(async || env!("CARGO_PKG_VERSION")))
        .route("/instance_version", get(async || env!("CARGO_PKG_VERSION")))
        .route("/instance_name", get(async || INSTANCE_NAME))
        .route("/", get(async || "This is replicate-backend. It speaks Convex's protocols at /api."))
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::wrong_method)
}

type Answer = Result<Response, HttpError>;

async fn query(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Answer {
    let caller = Caller::of(&server, &headers)?;
    let call: Call = call::read(&headers, body)?;
    let (path, format) = (call::path(&call.path)?, Format::parse(call.format.as_deref())?);
    Ok(format.respond(caller.query(&path, call.args.get())))
}

/// `GET /api/query?path=..&args=..&format=..`: the arguments are JSON.
async fn query_by_url(State(server): State<Arc<Server>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let caller = Caller::of(&server, &headers)?;
    // A page does not know the token, where there is one.
    if caller.access.is_open() && may_be_rebound(&headers) {
        server.metrics().refused(Refused::Origin);
        let message = "a GET without a token has to name this backend by its address or as localhost: use POST, or set a \
                       token";
        return Err(HttpError::new(StatusCode::FORBIDDEN, "HostNotAllowed", message));
    }
    let query = query.unwrap_or_default();
    let parameter = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find_map(|(found, value)| (found == name).then(|| value.into_owned()))
    };
    let needed = |name: &'static str| {
        parameter(name).ok_or_else(|| HttpError::bad("BadQueryArgs", format!("the parameter {name} is missing")))
    };
    let (path, args) = (needed("path")?, needed("args")?);
    let (path, format) = (call::path(&path)?, Format::parse(parameter("format").as_deref())?);
    Ok(format.respond(caller.query(&path, &args)))
}

/// The newest commit. The official client's `consistentQuery` runs all its queries at one such time.
async fn query_ts(State(server): State<Arc<Server>>) -> Response {
    Json(Ts::encode(server.log.read().published())).into_response()
}

async fn query_at_ts(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Answer {
    let caller = Caller::of(&server, &headers)?;
    let call: CallAt = call::read(&headers, body)?;
    let (path, format) = (call::path(&call.path)?, Format::parse(call.format.as_deref())?);
    let ts = call.ts.decode()?;
    if ts > server.log.read().published() {
        return Err(HttpError::bad("BadTimestamp", "the timestamp is ahead of this backend's newest commit"));
    }
    let found = caller.admit().and_then(|rights| Ok((rights, function::query(&path, call.args.get())?)));
    let (rights, (collection, query)) = match found {
        Ok(found) => found,
        Err(error) => return Ok(format.respond(Err(error))),
    };
    let answer = query.run_at(&collection, rights, &server.log.read(), ts);
    let answer = answer.map_err(|TooOld| {
        let message = "the log does not have this time any more: ask /api/query_ts for a newer one (in JavaScript: \
                       make a new ConvexHttpClient)";
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "OutOfRetention", message)
    })?;
    Ok(format.respond(answer.map(Value::from).map_err(CallError::from)))
}

/// Several queries, all at the newest commit.
async fn query_batch(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Answer {
    let caller = Caller::of(&server, &headers)?;
    let Batch { queries } = call::read(&headers, body)?;
    if queries.len() > QUERIES {
        return Err(HttpError::bad("BatchTooLarge", format!("a batch has at most {QUERIES} queries")));
    }
    let mut calls = Vec::with_capacity(queries.len());
    for call in queries {
        calls.push((call::path(&call.path)?, Format::parse(call.format.as_deref())?, call.args));
    }
    let mut answers = Vec::with_capacity(calls.len());
    {
        let log = server.log.read();
        let mut bytes = 0;
        for (path, format, args) in calls {
            let answer = caller.query_in(&log, &path, args.get());
            bytes += answer.as_ref().map_or(0, function::Answer::bytes);
            if bytes > FRAME_BYTES {
                return Err(HttpError::bad("BatchTooLarge", format!("the answers have more than {FRAME_BYTES} bytes")));
            }
            answers.push((format, answer));
        }
    }
    let results: Vec<_> = answers.into_iter().map(|(format, answer)| format.outcome(answer.map(Value::from))).collect();
    Ok(Json(json!({ "results": results })).into_response())
}

async fn mutation(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Answer {
    let caller = Caller::of(&server, &headers)?;
    let call: Call = call::read(&headers, body)?;
    let (path, format) = (call::path(&call.path)?, Format::parse(call.format.as_deref())?);
    Ok(format.respond(caller.mutation(&path, call.args.get()).await?))
}

/// This backend has no actions. A call fails as on Convex where there is no such action.
async fn action(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Answer {
    let caller = Caller::of(&server, &headers)?;
    let call: Call = call::read(&headers, body)?;
    let (path, format) = (call::path(&call.path)?, Format::parse(call.format.as_deref())?);
    Ok(format.respond(caller.admit().and_then(|_| Err(function::action(&path)))))
}

/// A function of any kind.
async fn any_function(State(server): State<Arc<Server>>, headers: HeaderMap, body: Body) -> Answer {
    let caller = Caller::of(&server, &headers)?;
    let call: Call = call::read(&headers, body)?;
    let (path, format) = (call::path(&call.path)?, Format::parse(call.format.as_deref())?);
    Ok(format.respond(caller.function(&path, call.args.get()).await?))
}

/// A function of any kind, whose path is in the URL: `/api/run/tasks/pullDeltas`.
async fn run(State(server): State<Arc<Server>>, Path(path): Path<String>, headers: HeaderMap, body: Body) -> Answer {
    let caller = Caller::of(&server, &headers)?;
    let call: CallByUrl = call::read(&headers, body)?;
    let (module, name) = path.rsplit_once('/').ok_or_else(|| {
        HttpError::bad("MissingIdentifier", "The URL has to name a function, as /api/run/tasks/pullDeltas does.")
    })?;
    let (path, format) = (call::path(&format!("{module}:{name}"))?, Format::parse(call.format.as_deref())?);
    Ok(format.respond(caller.function(&path, call.args.get()).await?))
}

/// The caller of a request, who did not offer a wrong token.
struct Caller<'a> {
    server: &'a Server,
    access: Access,
    admission: Option<Admission>,
}

impl<'a> Caller<'a> {
    fn of(server: &'a Server, headers: &HeaderMap) -> Result<Self, HttpError> {
        let offered = bearer(headers);
        let access = server.access.borrow().clone();
        let admission = access.admit(offered);
        if offered.is_some() && admission.is_none() {
            return Err(HttpError::new(StatusCode::UNAUTHORIZED, "Unauthenticated", "the token is wrong"));
        }
        Ok(Self { server, access, admission })
    }

    /// The rights of the caller, if it may call functions.
    fn admit(&self) -> Result<Rights<'_>, CallError> {
        let rights = self.admission.as_ref().map(|admission| self.access.rights(admission));
        rights.filter(Rights::admits).ok_or_else(unauthenticated)
    }

    fn query(&self, path: &UdfPath, args: &str) -> Result<Value, CallError> {
        // The log is free again before the value is built.
        let answer = self.query_in(&self.server.log.read(), path, args)?;
        Ok(answer.into())
    }

    fn query_in(&self, log: &Log, path: &UdfPath, args: &str) -> Result<function::Answer, CallError> {
        let rights = self.admit()?;
        let (collection, query) = function::query(path, args)?;
        Ok(query.run(&collection, rights, log)?)
    }

    async fn mutation(&self, path: &UdfPath, args: &str) -> Result<Result<Value, CallError>, HttpError> {
        let (collection, mutation) = match self.admit().and_then(|_| function::mutation(path, args)) {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let user = self.admission.as_ref().and_then(|admission| admission.user.clone());
        let (sender, receiver) = oneshot::channel();
        // The caller may be gone when the answer comes.
        let reply = |reply| drop(sender.send(reply));
        self.server.jobs.mutate((self.server.http, args.len()), None, collection, mutation, user, reply);
        match receiver.await {
            Ok(reply) => Ok(reply.result),
            Err(_) => Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "Overloaded", "the backend is stopping")),
        }
    }

    async fn function(&self, path: &UdfPath, args: &str) -> Result<Result<Value, CallError>, HttpError> {
        match function::is_mutation(path) {
            true => self.mutation(path, args).await,
            false => Ok(self.query(path, args)),
        }
    }
}
