//! Deleted documents are pruned while everything goes on: they may be gone everywhere, nothing brings them back, and nothing else is lost.

use std::{collections::BTreeSet, time::Duration};

use convex::Value;
use rand::{Rng, rngs::StdRng};

use super::{
    deployment::Deployment,
    fault::{Fault, Faults},
    oracle::{NAMES, NOTES},
    schedule::Simulation,
    with_writes_left,
};
use crate::{DocumentId, backend::simulated::Node};

const COLLECTION: &str = NAMES[NOTES.0 as usize];

/// How long deleted documents are kept: shorter than many an app is away.
pub(super) fn retention(faults: &Faults, rng: &mut StdRng) -> Duration {
    match faults.has(Fault::Prune) {
        true => Duration::from_millis(rng.random_range(0..3_000)),
        false => Duration::MAX,
    }
}

/// Whether there may be something to prune.
pub(super) fn has_tombstones(node: &Node) -> bool {
    node.rows(COLLECTION).iter().any(|(_, row)| matches!(row, Value::Object(row) if row.contains_key("deleted")))
}

/// The writer prunes. A reader that is slow would have been disconnected long before what it waits for is that old.
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
        // Tombstones are what the merged documents say, not what their writers said.
        node.look_after();
        node.prune();
    });
    let pruned = node.pruned(COLLECTION);
    simulation.trace.add(format!("{url}: prunes, and remembers {pruned:?}"));
    simulation.oracle.pruned.extend(pruned);
}

/// Notes when an app has forgotten what it believed of its log: it may offer to it what it has now. Nobody does so twice where nothing was pruned in between: one who
/// ends again and again before it has read all would never be done.
pub(super) fn started_over(simulation: &mut Simulation, peer: usize) -> Result<(), String> {
    let at = &mut simulation.peers[peer];
    let Some(app) = &mut at.app else { return Ok(()) };
    let forgotten = app.process.forgotten();
    if std::mem::replace(&mut app.forgotten, forgotten) == forgotten {
        return Ok(());
    }
    let stored = at.stored()?;
    at.offers.extend(stored);
    let Some(node) = &simulation.deployments[at.deployment].node else { return Ok(()) };
    let began = NAMES.map(|collection| node.pruned_to(collection));
    simulation.trace.add(format!("{}: starts over, with the log pruned to {began:?}", at.name));
    match at.began.insert(began) || !simulation.is_one_log {
        true => Ok(()),
        false => Err(format!("{}: starts over, and did so already since the log was pruned", at.name)),
    }
}

/// What a log has pruned is not in it again.
pub(super) fn nothing_came_back(deployment: &Deployment) -> Result<BTreeSet<DocumentId>, String> {
    let Some(node) = &deployment.node else { return Err("the backend does not run".into()) };
    let pruned = node.pruned(COLLECTION);
    match node.rows(COLLECTION).into_iter().find(|(id, _)| pruned.contains(id)) {
        Some((id, _)) => Err(format!("{id} was pruned, and is in the log again")),
        None => Ok(pruned),
    }
}
