//! Deleted documents are pruned during the schedule. They may be gone everywhere, they never come back, and nothing
//! else is lost.

use std::{collections::BTreeSet, time::Duration};

use convex::Value;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{
    deployment::Deployment,
    fault::{Fault, Faults},
    oracle::{NAMES, NOTES},
    quiet,
    schedule::Simulation,
    with_writes_left,
};
use crate::{DocumentId, backend::simulated::Node};

const COLLECTION: &str = NAMES[NOTES.0 as usize];

/// Milliseconds after which every schedule that prunes may prune a document.
const RETENTION: i64 = 3_000;

/// The time for which deleted documents are kept. Many apps are away for longer.
pub(super) fn retention(faults: &Faults, rng: &mut StdRng) -> Duration {
    match faults.has(Fault::Prune) {
        true => Duration::from_millis(rng.random_range(0..RETENTION as u64)),
        false => Duration::MAX,
    }
}

/// Whether there may be documents to prune.
pub(super) fn has_tombstones(node: &Node) -> bool {
    node.rows(COLLECTION).iter().any(|(_, row)| matches!(row, Value::Object(row) if row.contains_key("deleted")))
}

/// Lets the writer prune. A real backend would have disconnected a slow reader long before the reader's messages are
/// that old.
pub(super) fn prune(simulation: &mut Simulation, deployment: usize) {
    for peer in 0..simulation.peers.len() {
        let Some(node) = &simulation.deployments[deployment].node else { return };
        let of = &simulation.peers[peer];
        let is_behind = of.client.is_some_and(|client| node.has_frames(client)) || !of.down.is_empty();
        if of.deployment == deployment && is_behind {
            simulation.disconnect(peer);
        }
    }
    let Deployment { node: Some(node), url, full_until, .. } = &mut simulation.deployments[deployment] else { return };
    let writes = (simulation.now < *full_until).then_some(0);
    with_writes_left(writes, || {
        // Merged documents decide what is a tombstone, and not the rows as their writers sent them. So the rows are
        // checked first.
        node.look_after();
        node.prune();
    });
    let pruned = node.pruned(COLLECTION);
    simulation.trace.add(format!("{url}: prunes, and remembers {pruned:?}"));
    simulation.oracle.pruned.extend(pruned);
}

/// Lets an app be away while the user of another app deletes a document that both show, and the log prunes it. By
/// chance alone, this would seldom happen to an app that has the document.
pub(super) fn miss(simulation: &mut Simulation, away: usize) -> Result<(), String> {
    let deployment = simulation.peers[away].deployment;
    let others: Vec<_> = (0..simulation.peers.len())
        .filter(|other| *other != away && simulation.peers[*other].deployment == deployment)
        .filter(|other| simulation.peers[*other].app.as_ref().is_some_and(|app| app.line.is_connected()))
        .collect();
    let Some(other) = others.choose(&mut simulation.rng).copied() else { return Ok(()) };
    let shown = [away, other].map(|at| simulation.app(at, |app| app.world.notes()).unwrap_or_default());
    let both: Vec<_> = shown[1].keys().filter(|id| shown[0].contains_key(id)).collect();
    let Some(document) = both.choose(&mut simulation.rng).copied() else { return Ok(()) };
    quiet::rush(simulation, away)?;
    simulation.go(away, false);
    quiet::rush(simulation, away)?;
    quiet::rush(simulation, other)?;
    simulation.trace.add(format!("{} deletes {document}", simulation.peers[other].name));
    simulation.app(other, |app| app.world.delete(document));
    for _ in 0..3 {
        quiet::rush(simulation, other)?;
    }
    simulation.pass(RETENTION);
    prune(simulation, deployment);
    Ok(())
}

/// Notes when an app has forgotten its knowledge of its log, and may offer the changes that it has now. It is an error
/// if an app does so twice and nothing was pruned in between. Otherwise an app that ends again and again before it has
/// read the whole log would never finish.
pub(super) fn started_over(simulation: &mut Simulation, peer: usize) -> Result<(), String> {
    let at = &mut simulation.peers[peer];
    let Some(app) = &mut at.app else { return Ok(()) };
    let forgotten = app.process.forgotten();
    if std::mem::replace(&mut app.forgotten, forgotten) == forgotten {
        return Ok(());
    }
    let contents = at.contents()?;
    at.offers.extend(contents.all);
    let Some(node) = &simulation.deployments[at.deployment].node else { return Ok(()) };
    let began = NAMES.map(|collection| node.pruned_to(collection));
    simulation.trace.add(format!("{}: starts over, with the log pruned to {began:?}", at.name));
    match at.began.insert(began) || !simulation.is_one_log {
        true => Ok(()),
        false => Err(format!("{}: starts over, and did so already since the log was pruned", at.name)),
    }
}

/// Checks that no pruned document is in the log again, and returns the pruned documents.
pub(super) fn nothing_came_back(deployment: &Deployment) -> Result<BTreeSet<DocumentId>, String> {
    let Some(node) = &deployment.node else { return Err("the backend does not run".into()) };
    let pruned = node.pruned(COLLECTION);
    match node.rows(COLLECTION).into_iter().find(|(id, _)| pruned.contains(id)) {
        Some((id, _)) => Err(format!("{id} was pruned, and is in the log again")),
        None => Ok(pruned),
    }
}
