//! The changes of a document, and the check whether new changes fit them.

use std::collections::{BTreeSet, HashMap};

use automerge::{ActorId, Change, ChangeHash};

use super::record::Covered;
use crate::record::{Refusal, RefusalCode};

/// The changes of a document. They stay known after compaction.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// The number of the last operation of each change.
    changes: HashMap<ChangeHash, u64>,
    /// The changes of each actor, by sequence number less one.
    actors: HashMap<ActorId, Vec<ChangeHash>>,
    pub heads: BTreeSet<ChangeHash>,
    /// All changes, in the order they entered the log.
    order: Vec<ChangeHash>,
}

impl History {
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn has(&self, hash: &ChangeHash) -> bool {
        self.changes.contains_key(hash)
    }

    /// The number of an actor's changes here, and the number of its last operation.
    fn actor(&self, actor: &ActorId) -> (u64, u64) {
        let Some(changes) = self.actors.get(actor) else {
            return (0, 0);
        };
        let last = changes.last().and_then(|last| self.changes.get(last)).copied().unwrap_or_default();
        (changes.len() as u64, last)
    }

    /// The first `count` changes, in log order, as the log remembers them.
    pub fn covered(&self, count: usize) -> Vec<Covered> {
        let mut places = HashMap::new();
        for (actor, changes) in &self.actors {
            for (index, hash) in changes.iter().enumerate() {
                places.insert(*hash, (actor, index as u64 + 1));
            }
        }
        let place = |hash: &ChangeHash| {
            let (actor, seq) = places.get(hash)?;
            Some(Covered { hash: *hash, actor: (*actor).clone(), seq: *seq, max_op: *self.changes.get(hash)? })
        };
        self.order.iter().take(count).filter_map(place).collect()
    }

    /// Takes in a change that an [`Overlay`] has admitted.
    pub fn take(&mut self, change: &Change) {
        for dependency in change.deps() {
            self.heads.remove(dependency);
        }
        self.heads.insert(change.hash());
        self.remember(&Covered::of(change));
    }

    /// Adds a known change, without changing the heads.
    pub fn remember(&mut self, change: &Covered) {
        self.changes.insert(change.hash, change.max_op);
        self.actors.entry(change.actor.clone()).or_default().push(change.hash);
        self.order.push(change.hash);
    }
}

/// New changes, tried on a history without changing or copying it. The history may be long.
pub(super) struct Overlay<'a> {
    history: &'a History,
    changes: HashMap<ChangeHash, u64>,
    /// For each actor with new changes: the number of its changes, and the number of its last operation.
    actors: HashMap<ActorId, (u64, u64)>,
    /// The dependencies of the new changes that are not new changes themselves.
    outside: BTreeSet<ChangeHash>,
}

impl<'a> Overlay<'a> {
    pub fn new(history: &'a History) -> Self {
        Self { history, changes: HashMap::new(), actors: HashMap::new(), outside: BTreeSet::new() }
    }

    /// Whether the new changes follow on exactly the changes of the history, so that their writer had seen all of it.
    pub fn continues(&self) -> bool {
        self.outside == self.history.heads
    }

    /// Whether the change is new, or the reason why it is refused.
    pub fn admit(&mut self, change: &Change) -> Result<bool, Refusal> {
        let hash = change.hash();
        if self.history.has(&hash) || self.changes.contains_key(&hash) {
            return Ok(false);
        }
        let mut deepest = 0;
        for dependency in change.deps() {
            let Some(max_op) = self.changes.get(dependency).or_else(|| self.history.changes.get(dependency)) else {
                return Err(Refusal::new(
                    RefusalCode::MissingDependencies,
                    format!("change {hash} depends on {dependency}, which the log does not have"),
                ));
            };
            deepest = deepest.max(*max_op);
        }
        let actor = change.actor_id();
        let (known, last) = self.actors.get(actor).copied().unwrap_or_else(|| self.history.actor(actor));
        match change.seq() {
            0 => return Err(Refusal::invalid_change("sequence numbers start at 1")),
            seq if seq <= known => {
                return Err(Refusal::new(
                    RefusalCode::ReusedSequence,
                    format!("actor {actor} has another change with sequence number {seq}"),
                ));
            }
            seq if seq > known + 1 => {
                return Err(Refusal::new(
                    RefusalCode::MissingDependencies,
                    format!("change {hash} is number {seq} of its actor, of which the log has {known}"),
                ));
            }
            _ => {}
        }
        let start = change.start_op().get();
        if start <= deepest || start <= last {
            return Err(Refusal::invalid_change("its operations have numbers that earlier ones have"));
        }
        let covered = Covered::of(change);
        self.outside.extend(change.deps().iter().filter(|dependency| !self.changes.contains_key(*dependency)));
        self.actors.insert(covered.actor, (covered.seq, covered.max_op));
        self.changes.insert(hash, covered.max_op);
        Ok(true)
    }
}
