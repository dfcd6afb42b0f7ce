//! Calls of the functions that every collection has, as requests to the log. [`wire`] has their shapes.

mod answer;

use convex::Value;
use convex_sync_types::UdfPath;

pub(super) use self::answer::Answer;
use super::{
    access::Rights,
    limits::PATH_BYTES,
    log::{Log, TooOld},
    presence::{Area, Presence},
};
use crate::{
    limits::SCOPE_BYTES,
    record::Refusal,
    wire::{self, FunctionName, PullChanges, PullDeltas, PushChanges, PutDocument, SetPresence},
};

/// The reason why a call has no answer.
#[derive(Clone, Debug)]
pub(super) enum CallError {
    /// A `ConvexError`: the application refused the call.
    Refused(Refusal),
    /// Any other error, such as a wrong call or a full disk.
    Message(String),
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl CallError {
    /// The message and the data, in the form of the protocol.
    pub fn into_parts(self) -> (String, Option<Value>) {
        match self {
            Self::Message(message) => (message, None),
            Self::Refused(refusal) => {
                let data = wire::error_data(&refusal);
                (format!("Uncaught ConvexError: {}", serde_json::Value::from(data.clone())), Some(data))
            }
        }
    }
}

/// A call of a mutation.
#[derive(Debug)]
pub(super) enum Called {
    /// Of the log, which the writer changes.
    Log(String, Mutation),
    /// Of presence, which is changed at once.
    Presence(Area, SetPresence),
}

/// A call of a mutation of the log, with its arguments.
#[derive(Debug)]
pub(super) enum Mutation {
    Push(PushChanges),
    Put(PutDocument),
    Delete { id: String },
}

/// A call of a query, with its arguments.
#[derive(Clone, Debug)]
pub(super) enum Query {
    PullDeltas(PullDeltas),
    PullChanges(PullChanges),
    ChangeStream,
    ListPresence { scope: Option<String> },
}

impl Query {
    /// The scope whose changes the query depends on. `None` for the whole collection.
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::PullDeltas(args) => args.scope.as_deref(),
            Self::ListPresence { scope } => scope.as_deref(),
            Self::PullChanges(_) | Self::ChangeStream => None,
        }
    }

    /// The area whose peers the query lists. Such a query depends on no commit.
    pub fn area(&self, collection: &str) -> Option<Area> {
        match self {
            Self::ListPresence { scope } => Some(Area { collection: collection.to_owned(), scope: scope.clone() }),
            _ => None,
        }
    }

    /// Runs the query. The caller builds the value from the answer, because it can release the log before that.
    pub fn run(&self, collection: &str, rights: Rights<'_>, log: &Log, presence: &Presence) -> Result<Answer, Refusal> {
        rights.check_read(collection, self.scope())?;
        Ok(match self {
            Self::PullDeltas(args) => Answer::Deltas(log.pull_deltas(collection, args)?, log.epoch().to_string()),
            Self::PullChanges(PullChanges { checkpoint, limit }) => {
                Answer::Documents(log.pull_changes(collection, *checkpoint, *limit))
            }
            Self::ChangeStream => Answer::stream(log.change_stream(collection)),
            Self::ListPresence { scope } => {
                Answer::Peers(presence.list(&Area { collection: collection.to_owned(), scope: scope.clone() }))
            }
        })
    }
}

/// The peers of an area, if the caller may read there. This needs no log.
pub(super) fn list_presence(area: &Area, rights: Rights<'_>, presence: &Presence) -> Result<Answer, Refusal> {
    rights.check_read(&area.collection, area.scope.as_deref())?;
    Ok(Answer::Peers(presence.list(area)))
}

impl Query {
    /// Runs the query as of an earlier commit.
    pub fn run_at(
        &self,
        collection: &str,
        rights: Rights<'_>,
        log: &Log,
        presence: &Presence,
        ts: i64,
    ) -> Result<Result<Answer, Refusal>, TooOld> {
        if let Err(refusal) = rights.check_read(collection, self.scope()) {
            return Ok(Err(refusal));
        }
        // Presence has no past.
        if matches!(self, Self::ListPresence { .. }) || log.touched(collection, self.scope()) <= ts {
            return Ok(self.run(collection, rights, log, presence));
        }
        log.check_past(ts)?;
        Ok(match self {
            Self::PullDeltas(args) => {
                log.pull_deltas_until(collection, args, ts).map(|page| Answer::Deltas(page, log.epoch().to_string()))
            }
            Self::PullChanges(PullChanges { checkpoint, limit }) => {
                Ok(Answer::Documents(log.pull_changes_at(collection, *checkpoint, *limit, ts)))
            }
            Self::ChangeStream => Ok(Answer::stream(log.change_stream_at(collection, ts))),
            Self::ListPresence { .. } => return Ok(self.run(collection, rights, log, presence)),
        })
    }
}

/// A mutation of a collection, by its path.
pub(super) fn mutation(path: &UdfPath, args: &str) -> Result<Called, CallError> {
    let (collection, function) = split(path)?;
    let args = || wire::arguments(function, args).map_err(CallError::Message);
    let mutation = match function {
        FunctionName::PushChanges => {
            let push = PushChanges::decode(args()?);
            check_scope(push.scope.as_deref())?;
            Mutation::Push(push)
        }
        FunctionName::InsertDocument | FunctionName::UpdateDocument => Mutation::Put(PutDocument::decode(args()?)),
        FunctionName::DeleteDocument => Mutation::Delete { id: wire::document_to_delete(args()?) },
        FunctionName::SetPresence => {
            let call = SetPresence::decode(args()?);
            check_scope(call.scope.as_deref())?;
            return Ok(Called::Presence(Area { collection, scope: call.scope.clone() }, call));
        }
        FunctionName::PullDeltas
        | FunctionName::PullChanges
        | FunctionName::ChangeStream
        | FunctionName::ListPresence => return Err(wrong_kind(path, "Mutation", "Query")),
    };
    Ok(Called::Log(collection, mutation))
}

/// A query of a collection, by its path.
pub(super) fn query(path: &UdfPath, args: &str) -> Result<(String, Query), CallError> {
    let (collection, function) = split(path)?;
    let args = || wire::arguments(function, args).map_err(CallError::Message);
    let query = match function {
        FunctionName::PullDeltas => {
            let pull = PullDeltas::decode(args()?);
            check_scope(pull.scope.as_deref())?;
            Query::PullDeltas(pull)
        }
        FunctionName::PullChanges => Query::PullChanges(PullChanges::decode(args()?)),
        FunctionName::ChangeStream => {
            args()?;
            Query::ChangeStream
        }
        FunctionName::ListPresence => {
            let scope = wire::area_to_list(args()?);
            check_scope(scope.as_deref())?;
            Query::ListPresence { scope }
        }
        FunctionName::PushChanges
        | FunctionName::InsertDocument
        | FunctionName::UpdateDocument
        | FunctionName::DeleteDocument
        | FunctionName::SetPresence => return Err(wrong_kind(path, "Query", "Mutation")),
    };
    Ok((collection, query))
}

/// The refusal of a call of an action, because this backend has no actions.
pub(super) fn action(path: &UdfPath) -> CallError {
    match split(path) {
        Ok(_) => wrong_kind(path, "Action", if is_mutation(path) { "Mutation" } else { "Query" }),
        Err(unknown) => unknown,
    }
}

/// Whether this is the path of a mutation.
pub(super) fn is_mutation(path: &UdfPath) -> bool {
    match split(path) {
        Ok((_, function)) => match function {
            FunctionName::PushChanges
            | FunctionName::InsertDocument
            | FunctionName::UpdateDocument
            | FunctionName::DeleteDocument
            | FunctionName::SetPresence => true,
            FunctionName::PullDeltas
            | FunctionName::PullChanges
            | FunctionName::ChangeStream
            | FunctionName::ListPresence => false,
        },
        Err(_) => false,
    }
}

/// Checks the length of a scope, because it becomes part of every document in it, and of every open query.
fn check_scope(scope: Option<&str>) -> Result<(), CallError> {
    match scope {
        Some(scope) if scope.len() > SCOPE_BYTES => {
            Err(Refusal::too_large(format!("the scope has {} bytes", scope.len()), SCOPE_BYTES).into())
        }
        _ => Ok(()),
    }
}

/// Checks the length of a path, before the path is parsed.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if path.len() > PATH_BYTES {
        return Err(format!("the function path has {} bytes; at most {PATH_BYTES} are taken", path.len()));
    }
    if !path.is_ascii() {
        return Err(format!("not a function path: {path:?}"));
    }
    Ok(())
}

/// The collection and the function of a path: `tasks:pushChanges` is a function of the collection `tasks`.
fn split(path: &UdfPath) -> Result<(String, FunctionName), CallError> {
    let module = path.module().as_str();
    let collection = module.strip_suffix(".js").unwrap_or(module);
    let function = path.function_name().and_then(|name| FunctionName::parse(name)).ok_or_else(|| unknown(path))?;
    Ok((collection.to_owned(), function))
}

fn unknown(path: &UdfPath) -> CallError {
    CallError::Message(format!(
        "{} for '{}'. This backend has, for every collection: pushChanges, pullDeltas, \
         insertDocument, updateDocument, deleteDocument, pullChanges, changeStream, setPresence and listPresence.",
        wire::NO_FUNCTION,
        path.clone().canonicalize().strip()
    ))
}

fn wrong_kind(path: &UdfPath, called: &str, defined: &str) -> CallError {
    CallError::Message(format!("Trying to execute {path} as {called}, but it is defined as {defined}."))
}
