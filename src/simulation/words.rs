//! Messages and commands in words, for the trace.

use automerge::ChangeHash;
use convex::Value;
use convex_sync_types::{ClientMessage, QuerySetModification, ServerMessage, StateModification};

use super::oracle::NAMES;
use crate::{
    DocumentKey,
    record::FromBackend,
    replica::{Edit, EditKind, Position, Push},
    transport::Notice,
    worker::Command,
};

pub(super) fn at(position: Position) -> String {
    format!("{}.{}", position.ts, position.ordinal)
}

pub(super) fn described(push: &Push) -> String {
    let documents: Vec<_> = push
        .documents
        .iter()
        .map(|document| {
            let changes: Vec<_> = document.changes.iter().map(|(hash, _)| short(hash)).collect();
            format!("{} [{}]", document.id, changes.join(" "))
        })
        .collect();
    documents.join(", ")
}

/// The first digits of a hash.
pub(super) fn short(hash: &ChangeHash) -> String {
    hash.to_string().chars().take(6).collect()
}

pub(super) fn told(notice: &Notice) -> String {
    match notice {
        Notice::Backend(FromBackend::Page(page)) => {
            let rows: Vec<_> = page.rows.iter().map(|row| format!("{} {}", row.id, at(row.position))).collect();
            let more = if page.has_more { " and more" } else { "" };
            format!("{}: from {} to {}: {}{more}", page.epoch, at(page.from), at(page.to), rows.join(", "))
        }
        Notice::Backend(FromBackend::Answered(answer)) => {
            let results: Vec<_> = answer
                .results
                .iter()
                .map(|(id, result)| match result {
                    Ok(()) => format!("{id} accepted"),
                    Err(refusal) => format!("{id} refused: {} {}", refusal.code, refusal.message),
                })
                .collect();
            format!("{}: {}", answer.epoch, results.join(", "))
        }
        Notice::Backend(FromBackend::PullRefused { refusal, .. })
        | Notice::Backend(FromBackend::PushRefused { refusal, .. }) => {
            format!("refused: {} {}", refusal.code, refusal.message)
        }
        Notice::Connecting { .. } => "connecting".into(),
        Notice::Connected => "connected".into(),
        Notice::Disconnected { .. } => "disconnected".into(),
        Notice::Count { .. } => "a count".into(),
        Notice::Backend(FromBackend::PushDropped { .. }) => "a push was dropped".into(),
    }
}

/// Describes a message to a backend.
pub(super) fn said(message: &ClientMessage) -> String {
    match message {
        ClientMessage::ModifyQuerySet { modifications, .. } => {
            let queries: Vec<_> = modifications
                .iter()
                .map(|modification| match modification {
                    QuerySetModification::Add(query) => format!("{} {}", query.udf_path, query.args.get()),
                    QuerySetModification::Remove { query_id } => format!("the end of {query_id}"),
                })
                .collect();
            queries.join(", ")
        }
        ClientMessage::Mutation { request_id, udf_path, .. } => format!("mutation {request_id} {udf_path}"),
        ClientMessage::Connect { .. }
        | ClientMessage::Action { .. }
        | ClientMessage::Authenticate { .. }
        | ClientMessage::Event(_) => "a message".into(),
    }
}

/// Describes a message of a backend.
pub(super) fn heard(message: &ServerMessage<Value>) -> String {
    match message {
        ServerMessage::Transition { modifications, .. } => {
            let queries: Vec<_> = modifications
                .iter()
                .map(|modification| match modification {
                    StateModification::QueryUpdated { query_id, .. } => query_id.to_string(),
                    StateModification::QueryFailed { query_id, error_message, .. } => {
                        format!("{query_id} ({error_message})")
                    }
                    StateModification::QueryRemoved { query_id } => format!("the end of {query_id}"),
                })
                .collect();
            format!("a transition of {}", queries.join(", "))
        }
        ServerMessage::MutationResponse { request_id, .. } => format!("the answer to {request_id}"),
        ServerMessage::FatalError { error_message } => format!("the error {error_message}"),
        ServerMessage::AuthError { error_message, .. } => format!("the refusal {error_message}"),
        ServerMessage::TransitionChunk { .. } | ServerMessage::ActionResponse { .. } | ServerMessage::Ping => {
            "a message".into()
        }
    }
}

/// Describes a command.
pub(super) fn describe(command: &Command) -> String {
    let of = |document: &DocumentKey| format!("{}/{}", NAMES[usize::from(document.collection.0)], document.id);
    match command {
        Command::Edit(Edit { document, generation, seq, kind }) => {
            let change = match kind {
                EditKind::Put { value, .. } => match value.encode() {
                    Ok((value, _)) => value.to_json_text(),
                    Err(error) => error.to_string(),
                },
                EditKind::Delete => "deleted".into(),
                EditKind::Restore => "restored".into(),
            };
            format!("edit {} g{generation} c{seq} {change}", of(document))
        }
        Command::Applied(shown) => {
            let shown: Vec<_> = shown.iter().map(|(key, generation)| format!("{} g{generation}", of(key))).collect();
            format!("applied {}", shown.join(", "))
        }
        Command::Kept(kept) => format!("kept {:b} of {} g{}", kept.components, of(&kept.document), kept.generation),
        Command::Show(document) => format!("show {}", of(document)),
        Command::Online(online) => format!("online {online}"),
        Command::Retry => "retry".into(),
        Command::RetryOne(document) => format!("retry {}", of(document)),
        Command::Discard(document) => format!("discard {}", of(document)),
        Command::RebuildStore => "rebuild the store".into(),
    }
}
