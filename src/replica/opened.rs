//! A document that is opened in Automerge: edits at any of its versions, and merges of changes from elsewhere.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use automerge::{
    ActorId, AutoCommit, AutomergeError, Change as AutomergeChange, ChangeHash, ROOT, ReadDoc,
    transaction::{CommitOptions, Transactable},
};

use super::{
    alias::aliases,
    defaults::add_defaults,
    event::{EditKind, Schema, View},
    live::{Base, Shown},
};
use crate::{
    DocumentId,
    chunk::{
        inspect::{self, Received},
        sound,
    },
    format::{self, FormatError, LeftOut, Options, PlaceChange, Value},
    limits,
    record::{ChunkKind, StoredChunk},
};

pub(super) struct Opened {
    document: AutoCommit,
    /// The value that was read last, with its heads. An edit usually starts at the heads where the edit before it
    /// ended, and reading a counter takes time in proportion to its increments.
    shown: Option<(Vec<ChangeHash>, Value)>,
    /// Whether the document is known to have arrived whole. Once true, this stays true.
    is_whole: bool,
}

/// The result of a local edit.
#[derive(Default)]
pub(super) struct Edited {
    /// The changes it made, dependencies first. Empty if it changes nothing.
    pub(super) made: Vec<StoredChunk>,
    /// The parts of the edit that were not written.
    pub(super) problems: Vec<FormatError>,
    /// Whether the document did not fit the app's types before the edit, and fits them now.
    pub(super) is_repaired: bool,
}

/// A change made here, with the root fields it touches.
pub(super) fn made(hash: ChangeHash, bytes: Arc<[u8]>, fields: Vec<String>) -> StoredChunk {
    StoredChunk { hash, kind: ChunkKind::Change, bytes, remote: None, fields }
}

fn made_at(place: PlaceChange) -> StoredChunk {
    made(place.change.hash(), place.change.raw_bytes().into(), vec![place.field])
}

/// A chunk's name, the changes in it that a document lacks, and whether it is a snapshot.
type NewChunk = (ChangeHash, Vec<AutomergeChange>, bool);

/// The result of merging chunks.
pub(super) struct Merged {
    /// New changes or snapshots to store: hash, whether it is a snapshot, bytes.
    pub(super) chunks: Vec<(ChangeHash, bool, Arc<[u8]>)>,
    /// Whether the document's heads changed.
    pub(super) moved: bool,
}

impl Opened {
    pub(super) fn new(actor: &ActorId) -> Self {
        Self { document: AutoCommit::new().with_actor(actor.clone()), shown: None, is_whole: false }
    }

    /// Adds chunks from the store.
    pub(super) fn load(&mut self, chunks: &[u8]) -> Result<(), AutomergeError> {
        self.document.load_incremental(chunks).map(|_| ())
    }

    pub(super) fn heads(&mut self) -> Vec<ChangeHash> {
        self.document.get_heads()
    }

    /// The document's size in bytes when it is saved.
    pub(super) fn saved_bytes(&mut self) -> usize {
        self.document.save().len()
    }

    /// The document's value at the heads at which it is isolated, or else its present value.
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

    /// The document's value at these heads.
    pub(super) fn value_at(&mut self, heads: &[ChangeHash]) -> Value {
        self.document.isolate(heads);
        let value = format::read(&self.document);
        self.document.integrate();
        value
    }

    /// Whether the document has arrived whole.
    pub(super) fn is_whole(&mut self) -> bool {
        if !self.is_whole {
            let has_id = self.document.get(ROOT, format::ID).is_ok_and(|id| id.is_some());
            self.is_whole =
                has_id || self.document.get_changes(&[]).iter().any(|change| !format::is_place_change(change));
        }
        self.is_whole
    }

    /// Takes the first changes of the document. Another app may have made some of them too.
    pub(super) fn begin(&mut self, mut changes: Vec<PlaceChange>) -> Result<Vec<StoredChunk>, FormatError> {
        changes.retain(|place| !self.document.get_missing_deps(&[place.change.hash()]).is_empty());
        self.document.apply_changes(changes.iter().map(|place| place.change.clone())).map_err(automerge_error)?;
        Ok(changes.into_iter().map(made_at).collect())
    }

    /// Makes an edit at the version `base`, and moves `base` to the version after it. `is_tip`: `base` is the
    /// document's current version.
    pub(super) fn edit_at(
        &mut self,
        base: &mut Base,
        is_tip: bool,
        id: &DocumentId,
        kind: &EditKind,
        schema: &dyn Schema,
        seconds: i64,
    ) -> Result<Edited, FormatError> {
        // With 10,000 changes of history an isolated edit takes 13 ms, one at the tip 37 us.
        if !is_tip {
            self.document.isolate(&base.heads);
        }
        let edited = self.edit(base, is_tip, id, kind, schema, seconds);
        base.heads = self.document.get_heads();
        if !is_tip {
            self.document.integrate();
        }
        edited
    }

    /// Makes an edit at the version at which the document is isolated, or at the current one.
    fn edit(
        &mut self,
        base: &mut Base,
        is_tip: bool,
        id: &DocumentId,
        kind: &EditKind,
        schema: &dyn Schema,
        seconds: i64,
    ) -> Result<Edited, FormatError> {
        let current = self.value();
        let mut fields = Vec::new();
        let mut changes = Vec::new();
        let result = match kind {
            EditKind::Put { value: (value, mask), .. } => {
                self.put(base, is_tip, id, &current, (value, *mask), schema, &mut fields, &mut changes)
            }
            kind => {
                let deleted = matches!(kind, EditKind::Delete);
                mark_deleted(&mut self.document, &current, deleted, &mut fields).map(|()| Edited::default())
            }
        };
        let operations = self.document.pending_ops();
        let result = result.and_then(|edited| match operations as u64 > limits::CHANGE_OPERATIONS {
            true => Err(too_many_operations(operations)),
            false => Ok(edited),
        });
        let edited = match result {
            Ok(edited) => edited,
            Err(error) => {
                self.document.rollback();
                // The containers that were made for the edit are in the document and stay there.
                if changes.is_empty() {
                    return Err(error);
                }
                return Ok(Edited { made: changes, problems: vec![error], ..Edited::default() });
            }
        };
        let document = &mut self.document;
        if document.pending_ops() > 0
            && let Some(hash) = document.commit_with(CommitOptions::default().with_time(seconds))
        {
            let Some(change) = document.get_change_by_hash(&hash) else {
                return Err(unexpected("the change just made is not in the document"));
            };
            changes.push(made(hash, change.raw_bytes().into(), fields));
        }
        Ok(Edited { made: changes, ..edited })
    }

    /// Writes the difference between `value` and the entity's previous value. The result names no changes: they are not
    /// committed yet.
    #[allow(clippy::too_many_arguments, reason = "an edit depends on each of them")]
    fn put(
        &mut self,
        base: &mut Base,
        is_tip: bool,
        id: &DocumentId,
        current: &Value,
        (value, mask): (&Value, u32),
        schema: &dyn Schema,
        fields: &mut Vec<String>,
        changes: &mut Vec<StoredChunk>,
    ) -> Result<Edited, FormatError> {
        let (mut view, misfit) = shown(base, current, value, mask, schema);
        format::check_keepable(&view, value)?;
        let (aliases, filled) = aliases(schema, mask, current, &view, value);
        let is_new = current.get(format::ID).is_none();
        if !misfit && !is_new {
            add_defaults(schema, mask, current, &mut view, filled);
        }
        let mut options = Options { left_out: LeftOut::Removed, misfit, fresh: false, aliases: &aliases };
        let heads = &mut base.heads;
        let prepared = format::prepare(&mut self.document, heads, !is_tip, id.as_str(), (&view, value), &options);
        changes.extend(prepared.into_iter().map(made_at));

        let new_id = is_new.then_some(id.as_str());
        let reads = |document: &Value| {
            let read = schema.view(document, mask);
            (read.misfits == 0).then_some(read.value)
        };
        let except = if misfit { BTreeSet::new() } else { format::deleted_parts(&view, value, current, reads) };
        if !misfit {
            options.left_out = LeftOut::Emptied { except: &except };
        }
        let outcome = loop {
            let outcome = self.write(current, new_id, &view, value, &options, fields)?;
            if misfit || !(outcome.emptied || outcome.filled) {
                break outcome;
            }
            if reads(&format::read(&self.document)).as_ref() == Some(value) {
                break outcome;
            }
            // The type distinguishes an empty part from a missing one, which could not be foreseen.
            if outcome.filled && !options.fresh {
                options.fresh = true;
            } else if outcome.emptied {
                options.left_out = LeftOut::Removed;
            } else {
                break outcome;
            }
            self.document.rollback();
            fields.clear();
        };
        remember(base, &view, value, mask);
        let is_repaired = misfit && reads(current).is_none() && reads(&format::read(&self.document)).is_some();
        Ok(Edited { problems: outcome.refused, is_repaired, ..Edited::default() })
    }

    fn write(
        &mut self,
        current: &Value,
        new_id: Option<&str>,
        view: &Value,
        value: &Value,
        options: &Options,
        fields: &mut Vec<String>,
    ) -> Result<format::Outcome, FormatError> {
        if current.is_deleted() {
            // A put restores a document that was deleted when the app last saw it.
            mark_deleted(&mut self.document, current, false, fields)?;
        }
        let mut outcome = format::edit_with(&mut self.document, new_id, view, value, options)?;
        fields.extend(std::mem::take(&mut outcome.edited.set));
        fields.extend(std::mem::take(&mut outcome.edited.removed));
        Ok(outcome)
    }

    /// Takes in chunks from elsewhere, in their order. It skips chunks that the document has and chunks that are
    /// damaged. The returned text describes the first damaged chunk.
    ///
    /// # Errors
    ///
    /// Fails if the chunks do not fit this document. The document may have taken in some of them, so drop it.
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
        // The changes of a snapshot were proven when the snapshot was loaded.
        sound::apply(&before, changes, &unproven, |changes| {
            document.apply_changes(changes)?;
            Ok(document.document())
        })?;
        merged.moved = document.get_heads() != before;
        Ok((merged, damaged))
    }
}

/// The value that the entity shows of the components in `mask`: either the value that their types read from the
/// document, or the value that the entity shows in its place. Also returns whether it shows anything in its place.
fn shown(base: &mut Base, current: &Value, value: &Value, mask: u32, schema: &dyn Schema) -> (Value, bool) {
    let known = base.shown.iter().fold(0, |known, shown| known | shown.mask);
    let View { value: view, misfits } = schema.view(current, mask & !known);
    let mut fields = view.into_map().unwrap_or_default();
    if misfits != 0 {
        // The app gave the entity a component that the document holds in a form that does not fit. The document keeps
        // that form.
        let own = value.as_map().into_iter().flatten().filter(|(key, _)| !fields.contains_key(*key));
        let own = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        base.shown.push(Shown { mask: misfits, fields: own });
    }
    let shown: Vec<&Shown> = base.shown.iter().filter(|shown| shown.mask & mask != 0).collect();
    for Shown { mask: of, fields: shown } in &shown {
        let is_part = |key: &String| of & !mask == 0 || value.get(key).is_some();
        fields.extend(shown.iter().filter(|(key, _)| is_part(key)).map(|(key, value)| (key.clone(), value.clone())));
    }
    (Value::Map(fields), !shown.is_empty())
}

/// Notes that the entity shows `value` now.
fn remember(base: &mut Base, view: &Value, value: &Value, mask: u32) {
    for shown in base.shown.iter_mut().filter(|shown| shown.mask & mask != 0) {
        let gone = |key: &String| view.get(key).is_some() && value.get(key).is_none();
        shown.fields.retain(|key, _| !gone(key));
        let is_all = shown.mask & mask == mask;
        for (key, value) in value.as_map().into_iter().flatten() {
            if is_all || shown.fields.contains_key(key) {
                shown.fields.insert(key.clone(), value.clone());
            }
        }
    }
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

/// Returns the chunk if all its dependencies are in the document or among `known`, and adds its changes to `known`. A
/// log gives dependencies first. Automerge would queue a change whose dependencies are missing, and the chunks that are
/// stored until then could not be opened on their own.
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

/// The problem of a change with too many operations.
pub(super) fn too_many_operations(operations: usize) -> FormatError {
    let most = limits::CHANGE_OPERATIONS;
    let message = format!(
        "the edit takes {operations} operations, and an edit may take at most {most}; make it in several edits"
    );
    FormatError::new(message)
}

fn unexpected(message: &str) -> FormatError {
    FormatError::new(format!("the document cannot be written: {message}"))
}
