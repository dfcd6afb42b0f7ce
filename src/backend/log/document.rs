//! What the log knows of one document.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use automerge::{ActorId, Change, ChangeHash};
use convex::Value;

use super::record::{Covered, DocumentRecord};
use crate::{DocumentId, backend::failure::Failure, record::Position};

/// A document: which changes it has, where their bytes are in the log, and its row.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub id: DocumentId,
    pub scope: Option<Arc<str>>,
    pub history: History,
    /// Its rows in the log, in order.
    pub rows: Vec<Position>,
    /// The bytes in them.
    pub bytes: usize,
    /// The snapshot that its first rows are, if any.
    pub snapshot: Option<Snapshot>,
    /// How many rows there must be before compaction is tried (again).
    pub compact_at: usize,
    /// SHA-256 of the chunks in the log that came in parts: a repeated part is recognised.
    pub whole: HashSet<[u8; 32]>,
    pub fields: Arc<BTreeMap<String, Value>>,
    pub deleted: bool,
    /// The commit of its last change.
    pub modified: i64,
    /// Whether `fields` are the merged document's, rather than the writer's word.
    pub merged: bool,
}

/// A snapshot in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    /// How many changes it stands for.
    pub changes: usize,
    /// How many rows it is: its parts.
    pub rows: usize,
    /// SHA-256 of all of it where it is in parts.
    pub hash: Option<[u8; 32]>,
}

impl Document {
    pub fn new(id: DocumentId, scope: Option<Arc<str>>) -> Self {
        Self {
            id,
            scope,
            history: History::default(),
            rows: Vec::new(),
            bytes: 0,
            snapshot: None,
            compact_at: super::super::limits::COMPACT_ROWS,
            whole: HashSet::new(),
            fields: Arc::default(),
            deleted: false,
            modified: 0,
            merged: true,
        }
    }

    pub fn record(&self, collection: &Arc<str>) -> DocumentRecord {
        DocumentRecord {
            collection: collection.clone(),
            id: self.id.clone(),
            scope: self.scope.clone(),
            heads: self.history.heads.iter().copied().collect(),
            fields: self.fields.clone(),
            deleted: self.deleted,
            modified: self.modified,
            merged: self.merged,
        }
    }

    /// The row in the app's table.
    pub fn row(&self) -> Value {
        let mut row = (*self.fields).clone();
        row.insert("id".into(), Value::from(self.id.as_str()));
        row.insert("version".into(), Value::Float64(self.history.len() as f64));
        row.insert("timestamp".into(), Value::Float64(super::micros(self.modified)));
        if self.deleted {
            row.insert("deleted".into(), Value::Boolean(true));
        }
        Value::Object(row)
    }
}

/// Which changes a document has. Survives compaction.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Per change the number of its last operation.
    changes: HashMap<ChangeHash, u64>,
    /// Per actor its changes, by sequence number less one.
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

    /// How many changes an actor has here, and the number of its last operation.
    fn actor(&self, actor: &ActorId) -> (u64, u64) {
        let Some(changes) = self.actors.get(actor) else {
            return (0, 0);
        };
        let last = changes.last().and_then(|last| self.changes.get(last)).copied().unwrap_or_default();
        (changes.len() as u64, last)
    }

    /// What is remembered of the first `count` changes, in log order.
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
        self.remember(&covered(change));
    }

    /// Adds what is known of a change, without its place among the heads.
    pub fn remember(&mut self, change: &Covered) {
        self.changes.insert(change.hash, change.max_op);
        self.actors.entry(change.actor.clone()).or_default().push(change.hash);
        self.order.push(change.hash);
    }
}

/// New changes, tried on a history without touching it (nor copying it: it may be long).
pub(super) struct Overlay<'a> {
    history: &'a History,
    changes: HashMap<ChangeHash, u64>,
    /// Per actor with new changes: its count, and its last operation.
    actors: HashMap<ActorId, (u64, u64)>,
    /// What the new changes depend on outside of themselves.
    outside: BTreeSet<ChangeHash>,
}

impl<'a> Overlay<'a> {
    pub fn new(history: &'a History) -> Self {
        Self { history, changes: HashMap::new(), actors: HashMap::new(), outside: BTreeSet::new() }
    }

    /// Whether the new changes follow on exactly what the history has: their writer saw all of it.
    pub fn continues(&self) -> bool {
        self.outside == self.history.heads
    }

    /// Whether the change is new; or why it is refused.
    pub fn admit(&mut self, change: &Change) -> Result<bool, Failure> {
        let hash = change.hash();
        if self.history.has(&hash) || self.changes.contains_key(&hash) {
            return Ok(false);
        }
        let mut deepest = 0;
        for dependency in change.deps() {
            let Some(max_op) = self.changes.get(dependency).or_else(|| self.history.changes.get(dependency)) else {
                return Err(Failure::new(
                    "missingDependencies",
                    format!("change {hash} depends on {dependency}, which the log does not have"),
                ));
            };
            deepest = deepest.max(*max_op);
        }
        let actor = change.actor_id();
        let (known, last) = self.actors.get(actor).copied().unwrap_or_else(|| self.history.actor(actor));
        match change.seq() {
            0 => return Err(Failure::invalid_change("sequence numbers start at 1")),
            seq if seq <= known => {
                return Err(Failure::new(
                    "reusedSequence",
                    format!("actor {actor} has another change with sequence number {seq}"),
                ));
            }
            seq if seq > known + 1 => {
                return Err(Failure::new(
                    "missingDependencies",
                    format!("change {hash} is number {seq} of its actor, of which the log has {known}"),
                ));
            }
            _ => {}
        }
        let start = change.start_op().get();
        if start <= deepest || start <= last {
            return Err(Failure::invalid_change("its operations have numbers that earlier ones have"));
        }
        let covered = covered(change);
        self.outside.extend(change.deps().iter().filter(|dependency| !self.changes.contains_key(*dependency)));
        self.actors.insert(covered.actor, (covered.seq, covered.max_op));
        self.changes.insert(hash, covered.max_op);
        Ok(true)
    }
}

pub(super) fn covered(change: &Change) -> Covered {
    Covered {
        hash: change.hash(),
        actor: change.actor_id().clone(),
        seq: change.seq(),
        // As `Change::max_op`, which would overflow for a change without operations that starts at 0.
        max_op: (change.start_op().get() + change.len() as u64).saturating_sub(1),
    }
}
