//! Checks the promises.

use std::collections::{BTreeMap, BTreeSet};

use automerge::AutoCommit;
use convex::Value as Plain;

use super::{
    deployment::Deployment,
    oracle::{NAMES, NOTES, Note},
    peer::Change,
    prune, rights,
    schedule::Simulation,
    words::at,
};
use crate::{
    DocumentId,
    format::{self, Counter, Value},
    store::Store,
};

/// Checks an app's store against the logs that it knows. No checkpoint passes over a commit: the store has everything
/// that its log has shown up to the checkpoint. And the log has each change that the store takes as sent.
pub(super) fn marks(simulation: &mut Simulation, peer: usize) -> Result<(), String> {
    let Some(app) = &simulation.peers[peer].app else { return Ok(()) };
    let store = app.process.store();
    let mut logs = Vec::new();
    for (remote, deployment, epoch) in store.remotes().map_err(|error| error.to_string())? {
        let mut checkpoints = Vec::new();
        for collection in NAMES {
            if let Some(checkpoint) = store.checkpoint(remote, collection).map_err(|error| error.to_string())? {
                checkpoints.push((collection, checkpoint.position));
            }
        }
        logs.push((remote, deployment, epoch, checkpoints));
    }
    if logs.is_empty() {
        return Ok(());
    }
    let contents = simulation.peers[peer].contents()?;
    let name = &simulation.peers[peer].name;
    for (remote, url, epoch, checkpoints) in logs {
        let Some(deployment) = simulation.deployments.iter().find(|deployment| deployment.url == url) else { continue };
        let mut shown = BTreeSet::new();
        for row in deployment.history(&epoch) {
            let Some(hash) = row.change else { continue };
            let change = (row.collection, row.document.clone(), hash);
            let is_covered =
                checkpoints.iter().find(|(of, position)| *of == row.collection && row.position <= *position);
            if let Some((_, position)) = is_covered.filter(|_| !contents.all.contains(&change)) {
                return Err(format!(
                    "{name}: its checkpoint of {} is {}, and it does not have change {hash} of {} at {}",
                    row.collection,
                    at(*position),
                    row.document,
                    at(row.position)
                ));
            }
            shown.insert(change);
        }
        let held = contents.held.get(&remote.0).into_iter().flatten();
        let is_missing = |change: &&Change| !simulation.oracle.pruned.contains(&change.1) && !shown.contains(*change);
        if let Some((_, document, hash)) = held.into_iter().find(is_missing) {
            return Err(format!("{name}: it takes change {hash} of {document} as sent, and {epoch} does not have it"));
        }
    }
    Ok(())
}

/// Checks everything that must hold when nothing is left to do.
pub(super) fn all(simulation: &mut Simulation) -> Result<(), String> {
    for peer in 0..simulation.peers.len() {
        marks(simulation, peer)?;
    }
    let pruned = prune::nothing_came_back(&simulation.deployments[0])?;
    for collection in NAMES {
        let merged = merged(&simulation.deployments[0], collection)?;
        table(&simulation.deployments[0], collection, &merged)?;
        for peer in &simulation.peers {
            let Some(app) = &peer.app else { return Err(format!("{}: does not run", peer.name)) };
            rights::nothing_is_refused(app.process.store()).map_err(|what| format!("{}: {what}", peer.name))?;
            store(app.process.store(), collection, &merged, &pruned, &rights::unfinished(simulation, &merged))
                .map_err(|what| format!("{}: {what}", peer.name))?;
        }
        if collection == NAMES[usize::from(NOTES.0)] {
            notes(simulation, &merged)?;
        }
    }
    let settings: Vec<_> =
        simulation.peers.iter().filter_map(|peer| Some(peer.app.as_ref()?.world.settings())).collect();
    if settings.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("the settings differ: {settings:?}"));
    }
    Ok(())
}

/// A collection as its log has it: the value, the heads and the number of changes of each document.
pub(super) type Merged = BTreeMap<DocumentId, (Value, BTreeSet<automerge::ChangeHash>, usize)>;

fn merged(deployment: &Deployment, collection: &str) -> Result<Merged, String> {
    let Some(node) = &deployment.node else { return Err("the backend does not run".into()) };
    let mut bytes: BTreeMap<DocumentId, Vec<u8>> = BTreeMap::new();
    for (document, chunk) in node.chunks(collection) {
        bytes.entry(document).or_default().extend_from_slice(&chunk);
    }
    bytes
        .into_iter()
        .map(|(id, bytes)| {
            let mut document =
                AutoCommit::load(&bytes).map_err(|error| format!("{id} in the log cannot be loaded: {error}"))?;
            let heads = document.get_heads().into_iter().collect();
            let changes = document.get_changes(&[]).len();
            Ok((id, (format::read(&document), heads, changes)))
        })
        .collect()
}

/// Checks that the app's table has the fields of the merged documents.
fn table(deployment: &Deployment, collection: &str, merged: &Merged) -> Result<(), String> {
    let Some(node) = &deployment.node else { return Err("the backend does not run".into()) };
    let rows: BTreeMap<_, _> = node.rows(collection).into_iter().collect();
    if !rows.keys().eq(merged.keys()) {
        return Err(format!("the table of {collection} has {:?}, the log {:?}", rows.keys(), merged.keys()));
    }
    for (id, row) in rows {
        let (value, _, changes) = &merged[&id];
        let mut expected = match value.to_convex() {
            Plain::Object(fields) => fields,
            other => return Err(format!("{id} is {other:?}")),
        };
        if expected.get("deleted") != Some(&Plain::Boolean(true)) {
            expected.remove("deleted");
        }
        expected.insert("id".into(), id.as_str().into());
        expected.insert("version".into(), Plain::Float64(*changes as f64));
        let Plain::Object(mut row) = row else { return Err(format!("the row of {id} is no object")) };
        row.remove("timestamp");
        if row != expected {
            return Err(format!("the row of {id} is {row:?}, the merged document {expected:?}"));
        }
    }
    Ok(())
}

/// Checks that a store has the documents of the log, except tombstones of `pruned` documents, that its cached values
/// match its chunks, and that nothing is left to send.
fn store(
    store: &Store,
    collection: &str,
    merged: &Merged,
    pruned: &BTreeSet<DocumentId>,
    unfinished: &BTreeSet<DocumentId>,
) -> Result<(), String> {
    let mut documents = store.documents(collection, None, usize::MAX).map_err(|error| error.to_string())?;
    documents.retain(|document| !(pruned.contains(&document.id) && document.value.is_deleted()));
    if !documents.iter().map(|document| &document.id).eq(merged.keys()) {
        let ids: Vec<_> = documents.iter().map(|document| &document.id).collect();
        return Err(format!("its store has {ids:?} of {collection}, the log {:?}", merged.keys()));
    }
    for stored in documents {
        let chunks = store.chunks(collection, &stored.id).map_err(|error| error.to_string())?;
        let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        let mut document =
            AutoCommit::load(&bytes).map_err(|error| format!("{} cannot be loaded: {error}", stored.id))?;
        let heads: BTreeSet<_> = document.get_heads().into_iter().collect();
        if unfinished.contains(&stored.id) {
            continue;
        }
        if heads != stored.heads.iter().copied().collect() || format::read(&document) != stored.value {
            return Err(format!("the cached value of {} is not that of its chunks", stored.id));
        }
        let (value, expected, _) = &merged[&stored.id];
        if heads != *expected || stored.value != *value {
            return Err(format!("{} is {:?} in its store, and {value:?} in the log", stored.id, stored.value));
        }
    }
    let remote = store.last_remote("http://first").map_err(|error| error.to_string())?;
    let unsent = store.unsent(collection, remote, usize::MAX).map_err(|error| error.to_string())?;
    if !unsent.is_empty() {
        return Err(format!("its store says that {unsent:?} of {collection} are not sent"));
    }
    Ok(())
}

/// Checks that all worlds show the merged notes, and that the merged notes have every saved edit.
fn notes(simulation: &Simulation, merged: &Merged) -> Result<(), String> {
    let mut expected = BTreeMap::new();
    let unfinished = rights::unfinished(simulation, merged);
    for (id, (value, ..)) in merged.iter().filter(|(id, _)| !unfinished.contains(*id)) {
        let note = read(value).map_err(|error| format!("{id} does not fit: {error}"))?;
        if !simulation.oracle.pruned.contains(id) {
            simulation.oracle.check(id, &note).map_err(|what| format!("{id}: {what}"))?;
            let later = value.get("later").map(format::from_value).transpose();
            let later = later.map_err(|error| format!("{id} does not fit: {error}"))?.unwrap_or_default();
            simulation.oracle.check_later(id, &later).map_err(|what| format!("{id}: {what}"))?;
        }
        if !value.is_deleted() {
            expected.insert(id.clone(), note);
        }
    }
    for mark in &simulation.oracle.marks {
        let is_there = merged.contains_key(&mark.document) || simulation.oracle.pruned.contains(&mark.document);
        if mark.fate != super::oracle::Fate::Perhaps && !is_there {
            return Err(format!("{} is missing, and {:?} was {:?}", mark.document, mark.done, mark.fate));
        }
        if mark.fate == super::oracle::Fate::Open {
            return Err(format!("{:?} of {} was never saved", mark.done, mark.document));
        }
    }
    for peer in &simulation.peers {
        let shown = peer.app.as_ref().map(|app| app.world.notes()).unwrap_or_default();
        if shown != expected {
            return Err(format!("{} shows {shown:?}, the log has {expected:?}", peer.name));
        }
    }
    Ok(())
}

fn read(value: &Value) -> Result<Note, format::FormatError> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Stored {
        text: String,
        votes: Counter,
        items: Vec<i64>,
        own: i64,
        done: bool,
    }
    let Stored { text, votes, items, own, done } = format::from_value(value)?;
    Ok(Note { text, votes: votes.0, items, own, done })
}
