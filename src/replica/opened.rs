//! A document in Automerge's hands: edited at any of its versions, and merged with what comes from elsewhere.

use std::{collections::HashSet, sync::Arc};

use automerge::{
    ActorId, AutoCommit, AutomergeError, Change as AutomergeChange, ChangeHash, ROOT,
    transaction::{CommitOptions, Transactable},
};

use super::{
    event::{Change, Schema},
    sound,
};
use crate::{
    DocumentId,
    format::{self, FormatError, Value},
    inspect::{self, Received},
    limits,
};

pub(super) struct Opened {
    document: AutoCommit,
    /// What was read last, and at which heads: an edit starts from where the one before it ended, and reading takes as long as a counter
    /// has been counted up.
    shown: Option<(Vec<ChangeHash>, Value)>,
}

/// What a local edit made.
pub(super) struct Made {
    pub(super) hash: ChangeHash,
    pub(super) bytes: Arc<[u8]>,
    /// The root fields it touches.
    pub(super) fields: Vec<String>,
}

/// A chunk's name, the changes in it that a document lacks, and whether it is a snapshot.
type NewChunk = (ChangeHash, Vec<AutomergeChange>, bool);

/// A change, or several, as they came.
pub(super) struct Merged {
    /// New changes or snapshots to store: hash, whether it is a snapshot, bytes.
    pub(super) chunks: Vec<(ChangeHash, bool, Arc<[u8]>)>,
    /// Whether the document shows something else now.
    pub(super) moved: bool,
}

impl Opened {
    pub(super) fn new(actor: &ActorId) -> Self {
        Self { document: AutoCommit::new().with_actor(actor.clone()), shown: None }
    }

    /// Adds chunks from the store.
    pub(super) fn load(&mut self, chunks: &[u8]) -> Result<(), AutomergeError> {
        self.document.load_incremental(chunks).map(|_| ())
    }

    pub(super) fn heads(&mut self) -> Vec<ChangeHash> {
        self.document.get_heads()
    }

    /// How many bytes it takes when it is saved.
    pub(super) fn saved_bytes(&mut self) -> usize {
        self.document.save().len()
    }

    /// What it holds, at the heads where it is isolated if it is.
    pub(super) fn value(&mut self) -> Value {
        let heads = self.document.get_heads();
        if let Some((at, value)) = &self.shown
            && *at == heads
        {
            return value.clone();
        }
        let value = format::read(&self.document);
        self.shown = Some((heads, value.clone()));
        value
    }

    /// Makes an edit at these heads, or at those it has. Returns the heads after it there, too.
    pub(super) fn edit_at(
        &mut self,
        heads: Option<Vec<ChangeHash>>,
        id: &DocumentId,
        change: &Change,
        schema: &dyn Schema,
        seconds: i64,
    ) -> (Result<Option<Made>, FormatError>, Vec<ChangeHash>) {
        // With 10,000 changes of history an isolated edit takes 13 ms, one at the tip 37 us.
        if let Some(heads) = &heads {
            self.document.isolate(heads);
        }
        let made = self.edit(id, change, schema, seconds);
        let after = self.document.get_heads();
        if heads.is_some() {
            self.document.integrate();
        }
        (made, after)
    }

    /// Makes an edit at the version that the document is at.
    fn edit(
        &mut self,
        id: &DocumentId,
        change: &Change,
        schema: &dyn Schema,
        seconds: i64,
    ) -> Result<Option<Made>, FormatError> {
        let current = self.value();
        let document = &mut self.document;
        let mut fields = Vec::new();
        let result = match change {
            Change::Put { value, mask } => {
                put(document, id, &current, value, &schema.view(&current, *mask), &mut fields)
            }
            Change::Delete => mark_deleted(document, &current, true, &mut fields),
            Change::Restore => mark_deleted(document, &current, false, &mut fields),
        };
        if let Err(error) = result {
            document.rollback();
            return Err(error);
        }
        let operations = document.pending_ops();
        if operations == 0 {
            return Ok(None);
        }
        if operations as u64 > limits::CHANGE_OPERATIONS {
            document.rollback();
            return Err(too_many_operations(operations));
        }
        let Some(hash) = document.commit_with(CommitOptions::default().with_time(seconds)) else {
            return Ok(None);
        };
        let Some(change) = document.get_change_by_hash(&hash) else {
            return Err(unexpected("the change just made is not in the document"));
        };
        Ok(Some(Made { hash, bytes: change.raw_bytes().into(), fields }))
    }

    /// Takes in chunks that came from elsewhere, in their order. Those it has are passed over, and so are damaged ones; the first of them is
    /// told of.
    ///
    /// # Errors
    ///
    /// If they do not fit this document. It may have taken in some of them then, and must be thrown away.
    pub(super) fn merge(&mut self, chunks: &[Vec<u8>]) -> Result<(Merged, Option<String>), String> {
        let document = &mut self.document;
        let before = document.get_heads();
        let mut merged = Merged { chunks: Vec::new(), moved: false };
        let mut damaged = None;
        let (mut changes, mut unproven) = (Vec::new(), Vec::new());
        let mut known = HashSet::new();
        for bytes in chunks {
            match read_chunk(document, bytes).and_then(|chunk| fits(document, chunk, &mut known)) {
                Ok((_, new, _)) if new.is_empty() => {}
                Ok((hash, new, snapshot)) => {
                    if !snapshot {
                        unproven.push(hash);
                    }
                    changes.extend(new);
                    merged.chunks.push((hash, snapshot, bytes.as_slice().into()));
                }
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
        // Those of a snapshot have been proven by loading it.
        sound::apply(&before, changes, &unproven, |changes| {
            document.apply_changes(changes)?;
            Ok(document.document())
        })?;
        merged.moved = document.get_heads() != before;
        Ok((merged, damaged))
    }
}

fn put(
    document: &mut AutoCommit,
    id: &DocumentId,
    current: &Value,
    value: &Value,
    view: &Value,
    fields: &mut Vec<String>,
) -> Result<(), FormatError> {
    format::check_keepable(view, value)?;
    if current.is_deleted() {
        // Putting a document that was deleted when the app last saw it brings it back.
        mark_deleted(document, current, false, fields)?;
    }
    let edited = match current.get(format::ID) {
        Some(_) => format::edit(document, view, value)?,
        None => format::create(document, id.as_str(), view, value)?,
    };
    fields.extend(edited.set);
    fields.extend(edited.removed);
    Ok(())
}

fn mark_deleted(
    document: &mut AutoCommit,
    current: &Value,
    deleted: bool,
    fields: &mut Vec<String>,
) -> Result<(), FormatError> {
    if current.is_deleted() != deleted {
        document.put(ROOT, format::DELETED, deleted).map_err(automerge_error)?;
        fields.push(format::DELETED.into());
    }
    Ok(())
}

/// The chunk, if all that it depends on is here, or among `known`, to which its changes are added. A log gives dependencies first. Without
/// them Automerge would put a change aside, and what is stored of the document could not be opened by itself.
fn fits(document: &mut AutoCommit, chunk: NewChunk, known: &mut HashSet<ChangeHash>) -> Result<NewChunk, String> {
    for change in &chunk.1 {
        let missing = document.get_missing_deps(change.deps());
        if let Some(missing) =
            missing.iter().find(|missing| change.deps().contains(missing) && !known.contains(*missing))
        {
            return Err(format!("it depends on {missing}, which did not come before it"));
        }
        known.insert(change.hash());
    }
    Ok(chunk)
}

fn read_chunk(document: &mut AutoCommit, bytes: &[u8]) -> Result<NewChunk, String> {
    match inspect::received(bytes).map_err(|error| error.to_string())? {
        Received::Snapshot(changes) => Ok((super::chunk_hash(bytes), lacking(document, changes), true)),
        Received::Change(change) => Ok((change.hash(), lacking(document, vec![*change]), false)),
    }
}

fn lacking(document: &mut AutoCommit, mut changes: Vec<AutomergeChange>) -> Vec<AutomergeChange> {
    changes.retain(|change| !document.get_missing_deps(&[change.hash()]).is_empty());
    changes
}

pub(super) fn automerge_error(error: AutomergeError) -> FormatError {
    unexpected(&error.to_string())
}

/// Refuses a change of so many operations.
pub(super) fn too_many_operations(operations: usize) -> FormatError {
    let most = limits::CHANGE_OPERATIONS;
    let message = format!("the edit takes {operations} operations, and one can have {most}; make it in several edits");
    FormatError { path: String::new(), message }
}

fn unexpected(message: &str) -> FormatError {
    FormatError { path: String::new(), message: format!("the document cannot be written: {message}") }
}
