//! Reads the cases from their files and runs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use serde::Deserialize;
use serde_json::Value as Json;

use crate::{
    http::Outcome,
    pattern::{Bindings, fill, mismatch},
    wire::{HttpStep, Sockets, SyncStep, request},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The name for people.
    #[serde(rename = "about")]
    pub _about: String,
    #[serde(default)]
    pub values: BTreeMap<String, Json>,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(tag = "call", rename_all = "camelCase")]
pub enum Step {
    Mutation(Call),
    Query(Call),
    /// Instead of a call: the rows of the table that `path` names, in the order of their documents.
    Rows(Call),
    Http(HttpStep),
    Sync(SyncStep),
}

/// A call, and exactly one of `returns` and `fails`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    path: String,
    args: Json,
    /// The user who calls.
    #[serde(default, rename = "as")]
    user: Option<String>,
    /// `null` is a possible result of a function.
    #[serde(default, deserialize_with = "present")]
    returns: Option<Json>,
    #[serde(default)]
    fails: Option<Fails>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

#[derive(Clone, Copy)]
pub enum Kind {
    Mutation,
    Query,
    Rows,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mutation => "mutation",
            Self::Query => "query",
            Self::Rows => "rows",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Fails {
    Data(Json),
    Message(Vec<String>),
}

impl Case {
    /// The users who call.
    pub fn users(&self) -> BTreeSet<&str> {
        let calls = self.steps.iter().filter_map(|step| match step {
            Step::Mutation(call) | Step::Query(call) | Step::Rows(call) => Some(call),
            Step::Http(_) | Step::Sync(_) => None,
        });
        calls.filter_map(|call| call.user.as_deref()).collect()
    }
}

/// Runs a case. Returns the first deviation as the error.
pub fn run(
    case: &Case,
    values: &BTreeMap<String, Json>,
    address: SocketAddr,
    mut call: impl FnMut(Kind, &str, &Json, Option<&str>) -> Outcome,
) -> Result<(), String> {
    let mut bindings: Bindings = values.clone();
    let mut sockets = Sockets::default();
    for (index, step) in case.steps.iter().enumerate() {
        let (kind, step) = match step {
            Step::Mutation(step) => (Kind::Mutation, step),
            Step::Query(step) => (Kind::Query, step),
            Step::Rows(step) => (Kind::Rows, step),
            Step::Http(step) => {
                let within = |problem| format!("step {index}, {}: {problem}", step.path);
                request(step, address, &mut bindings).map_err(within)?;
                continue;
            }
            Step::Sync(step) => {
                let within = |problem| format!("step {index}, {}: {problem}", step.socket);
                sockets.run(step, address, &mut bindings).map_err(within)?;
                continue;
            }
        };
        let within = |problem: String| format!("step {index}, {}: {problem}", step.path);
        let args = fill(&step.args, &bindings).map_err(within)?;
        let outcome = call(kind, &step.path, &args, step.user.as_deref());
        check(step, outcome, &mut bindings).map_err(within)?;
    }
    Ok(())
}

fn check(step: &Call, outcome: Outcome, bindings: &mut Bindings) -> Result<(), String> {
    match (&step.returns, &step.fails, outcome) {
        (Some(pattern), None, Outcome::Returned(value)) => mismatch(pattern, &value, bindings, "$"),
        (Some(_), None, Outcome::Failed { message, .. }) => Err(format!("failed: {message}")),
        (None, Some(_), Outcome::Returned(value)) => Err(format!("did not fail: {value}")),
        (None, Some(Fails::Data(pattern)), Outcome::Failed { message, data }) => match data {
            Some(data) => mismatch(pattern, &data, bindings, "$"),
            None => Err(format!("failed without data: {message}")),
        },
        (None, Some(Fails::Message(parts)), Outcome::Failed { message, .. }) => {
            match parts.iter().find(|part| !message.contains(*part)) {
                Some(missing) => Err(format!("{message:?} lacks {missing:?}")),
                None => Ok(()),
            }
        }
        _ => Err("a step has either `returns` or `fails`".into()),
    }
}
