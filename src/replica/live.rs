//! One loaded document: an Automerge document, and the versions at which the world's next edits are made.
//!
//! Most documents are made, or arrive, in one change, and leave memory without another. For such a document only the
//! change and its value are kept until more is needed.

use std::{collections::BTreeMap, sync::Arc};

use automerge::{ActorId, AutomergeError, ChangeHash};

use super::{
    event::{EditKind, Generation, Put, Schema, UnsentChange, View, WriteId},
    opened::{Edited, Merged, Opened, automerge_error, made, too_many_operations},
};
use crate::{
    DocumentId,
    chunk::inspect::{self, Received},
    format::{self, FirstChange, FormatError, Value},
    limits,
    record::StoredChunk,
};

/// For each generation, the version at which the world's next edit is made.
pub(super) type Bases = BTreeMap<Generation, Base>;

/// A version at which an edit of the world is made.
#[derive(Clone, Debug, Default)]
pub(super) struct Base {
    pub(super) heads: Vec<ChangeHash>,
    /// The values that the entity shows in place of those that its types read from that version.
    pub(super) shown: Vec<Shown>,
}

/// The values that an entity shows of some of its components, while the document has other values or does not fit them.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) mask: u32,
    pub(super) fields: BTreeMap<String, Value>,
}

impl Base {
    fn at(heads: Vec<ChangeHash>) -> Self {
        Self { heads, shown: Vec::new() }
    }
}

/// How long a name made by [`DocumentId::random`] counts as new: far more than the time from making a name to making
/// its document. Clocks may be set in between.
const NEW_NAME_SECONDS: i64 = 24 * 60 * 60;

/// Whether no other app can make a document of this name: it is a UUID of version 7 that was made just now.
fn is_new_name(id: &DocumentId, now: i64) -> bool {
    let timestamp = uuid::Uuid::try_parse(id.as_str()).ok().filter(|id| id.get_version_num() == 7);
    let made = timestamp.and_then(|id| id.get_timestamp()).and_then(|time| i64::try_from(time.to_unix().0).ok());
    made.is_some_and(|made| (now - made).abs() <= NEW_NAME_SECONDS)
}

/// A loaded document.
pub(super) struct Live {
    actor: ActorId,
    content: Content,
    /// `base[g]`: the version at which an edit of generation `g` is made.
    bases: Bases,
    /// The last write of it.
    pub(super) last_write: WriteId,
    /// When the document was last used. This is a count, not a time.
    pub(super) last_used: u64,
    /// Whether it has changes that the store refused.
    pub(super) is_kept: bool,
    /// Whether it has a change that was refused, so that it must be thrown away.
    pub(super) is_spoiled: bool,
    /// An upper bound of its saved size: the bytes of its changes, or the last measured size and the bytes added since.
    size: usize,
}

enum Content {
    /// No change yet.
    Blank,
    /// A single change, whose value is known without a document.
    First {
        hash: ChangeHash,
        bytes: Arc<[u8]>,
        value: Value,
    },
    Open(Box<Opened>),
}

impl Live {
    /// A document that does not exist yet.
    pub(super) fn new(actor: &ActorId) -> Self {
        Self {
            actor: actor.clone(),
            content: Content::Blank,
            bases: BTreeMap::new(),
            last_write: 0,
            last_used: 0,
            is_kept: false,
            is_spoiled: false,
            size: 0,
        }
    }

    /// Loads a stored document. The world has it at `generation`.
    pub(super) fn load(actor: &ActorId, chunks: &[Arc<[u8]>], generation: Generation) -> Result<Self, AutomergeError> {
        let mut live = Self::new(actor);
        let mut all = Vec::with_capacity(chunks.iter().map(|chunk| chunk.len()).sum());
        for chunk in chunks {
            all.extend_from_slice(chunk);
        }
        live.size = all.len();
        if !all.is_empty() {
            live.open()?.load(&all)?;
        }
        // Generation 0 counts as well: then the world made the document and was given no other version of it.
        live.delivered(generation);
        Ok(live)
    }

    /// Opens the document in Automerge, if that has not been done.
    fn open(&mut self) -> Result<&mut Opened, AutomergeError> {
        if !matches!(self.content, Content::Open(_)) {
            let mut opened = Box::new(Opened::new(&self.actor));
            if let Content::First { bytes, .. } = &self.content {
                opened.load(bytes)?;
            }
            self.content = Content::Open(opened);
        }
        match &mut self.content {
            Content::Open(opened) => Ok(opened),
            // The document was opened just above.
            _ => Err(AutomergeError::Fail),
        }
    }

    /// The data to keep from a document that is dropped, for when it is loaded again.
    pub(super) fn into_bases(self) -> Bases {
        self.bases
    }

    /// Takes over the versions that the world has of this document.
    pub(super) fn with_bases(self, bases: Bases) -> Self {
        Self { bases, ..self }
    }

    pub(super) fn heads(&mut self) -> Vec<ChangeHash> {
        match &mut self.content {
            Content::Blank => Vec::new(),
            Content::First { hash, .. } => vec![*hash],
            Content::Open(opened) => opened.heads(),
        }
    }

    pub(super) fn value(&mut self) -> Value {
        match &mut self.content {
            Content::Blank => Value::Map(BTreeMap::new()),
            Content::First { value, .. } => value.clone(),
            Content::Open(opened) => opened.value(),
        }
    }

    /// Whether the document has arrived whole. A document with a plain name is made by several changes, and the last of
    /// them sets its id.
    pub(super) fn is_whole(&mut self) -> bool {
        match &mut self.content {
            Content::Blank => false,
            Content::First { value, bytes, .. } => {
                value.get(format::ID).is_some()
                    || inspect::change(bytes).is_ok_and(|change| !format::is_place_change(&change))
            }
            Content::Open(opened) => opened.is_whole(),
        }
    }

    /// The value that fills the world at the next start: none while the document has not arrived whole.
    pub(super) fn cached(&mut self) -> Value {
        if self.is_whole() { self.value() } else { Value::Null }
    }

    /// The world was given the current version as `generation`.
    pub(super) fn delivered(&mut self, generation: Generation) {
        let heads = self.heads();
        self.bases.insert(generation, Base::at(heads));
    }

    /// Notes that the world put this value before it saw the current version. The world shows the value until it gets
    /// that version.
    pub(super) fn put_unseen(&mut self, generation: Generation, mask: u32, value: &Value) {
        self.delivered(generation);
        let fields = value.as_map().cloned().unwrap_or_default();
        self.bases.entry(generation).or_default().shown.push(Shown { mask, fields });
    }

    /// The world shows `generation` now, except for the components `kept`, which are still as in the version `from`.
    pub(super) fn kept(&mut self, generation: Generation, from: Generation, kept: u32, schema: &dyn Schema) {
        let Some(before) = self.bases.range(..=from).next_back().map(|(_, base)| base.clone()) else { return };
        let mut shown: Vec<Shown> = before.shown.iter().filter(|shown| shown.mask & kept != 0).cloned().collect();
        let known = shown.iter().fold(0, |known, shown| known | shown.mask);
        let Some(value) = self.value_at(&before.heads) else { return };
        for bit in (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| kept & bit & !known != 0) {
            if let Ok(fields) = schema.view(&value, bit).value.into_map() {
                shown.push(Shown { mask: bit, fields });
            }
        }
        if let Some(base) = self.bases.get_mut(&generation) {
            base.shown = shown;
        }
    }

    /// The values that the world shows in each of its versions, in place of these versions: their changes may go.
    pub(super) fn into_shown(mut self, schema: &dyn Schema) -> Bases {
        let mut bases = std::mem::take(&mut self.bases);
        for base in bases.values_mut() {
            let known = base.shown.iter().fold(0, |known, shown| known | shown.mask);
            let Some(value) = self.value_at(&base.heads) else { continue };
            let View { value, misfits } = schema.view(&value, !known);
            let fields = value.into_map().unwrap_or_default();
            base.shown.push(Shown { mask: !known & !misfits, fields });
        }
        bases
    }

    /// Moves all versions of the world to the current one. The values that the world shows stay.
    pub(super) fn rebase(&mut self) {
        let heads = self.heads();
        self.bases.values_mut().for_each(|base| base.heads.clone_from(&heads));
    }

    fn value_at(&mut self, heads: &[ChangeHash]) -> Option<Value> {
        if self.heads() == heads {
            return Some(self.value());
        }
        Some(self.open().ok()?.value_at(heads))
    }

    /// The world will not edit at a version before `generation` any more.
    pub(super) fn forget_bases_before(&mut self, generation: Generation) {
        self.bases = self.bases.split_off(&generation);
    }

    /// Whether the store has everything that is kept here.
    pub(super) fn is_idle(&mut self, written: WriteId) -> bool {
        let heads = self.heads();
        !self.is_kept
            && self.last_write <= written
            && self.bases.len() <= 1
            && self.bases.values().all(|base| base.heads == heads && base.shown.is_empty())
    }

    /// Whether there is a version at which the world's next edit of `generation` is made. There is none if the world
    /// put a document of an existing name before it had seen that document.
    pub(super) fn has_base(&self, generation: Generation) -> bool {
        self.bases.range(..=generation).next().is_some()
    }

    /// Makes an edit of the world at the version it had seen.
    ///
    /// `seconds` is the time since 1970. Automerge notes it in the change and uses it for nothing else.
    pub(super) fn edit(
        &mut self,
        id: &DocumentId,
        generation: Generation,
        kind: &EditKind,
        schema: &dyn Schema,
        seconds: i64,
    ) -> Result<Edited, FormatError> {
        self.forget_older_bases(generation);
        let tip = self.heads();
        if !self.is_whole()
            && let EditKind::Put { value: (value, _), put } = kind
        {
            // Another app can make a document of the same name only if this one was just spawned under a name that both
            // know.
            let is_blank = matches!(self.content, Content::Blank);
            let is_own = is_blank && (*put == Put::Edited || is_new_name(id, seconds));
            format::check_keepable(&Value::Map(BTreeMap::new()), value)?;
            let made = match is_own {
                true => {
                    let nothing = Value::Map(BTreeMap::new());
                    let first = format::write_first(&self.actor, id.as_str(), &nothing, value, seconds)?;
                    fits_a_change(first.change.raw_bytes().len())?;
                    if first.change.len() as u64 > limits::CHANGE_OPERATIONS {
                        return Err(too_many_operations(first.change.len()));
                    }
                    self.begin(first)
                }
                false => {
                    let changes = format::first_changes(id.as_str(), value)?;
                    for place in &changes {
                        fits_a_change(place.change.raw_bytes().len())?;
                        if place.change.len() as u64 > limits::CHANGE_OPERATIONS {
                            return Err(too_many_operations(place.change.len()));
                        }
                    }
                    self.size += changes.iter().map(|place| place.change.raw_bytes().len()).sum::<usize>();
                    self.open().map_err(automerge_error)?.begin(changes)?
                }
            };
            self.delivered(generation);
            return Ok(Edited { made, ..Edited::default() });
        }
        let mut base = self.bases.range(..=generation).next_back().map(|(_, base)| base.clone()).unwrap_or_default();
        let is_tip = base.heads.is_empty() || base.heads == tip;
        if is_tip {
            base.heads = tip;
        }
        let opened = self.open().map_err(automerge_error)?;
        let edited = opened.edit_at(&mut base, is_tip, id, kind, schema, seconds);
        if let (Ok(Edited { made, .. }), EditKind::Put { .. }) = (&edited, kind) {
            for change in made {
                if let Err(error) = self.fits(change.bytes.len()) {
                    // The base stays at the version before this edit.
                    self.is_spoiled = true;
                    return Err(error);
                }
            }
        }
        self.bases.insert(generation, base);
        edited
    }

    /// Refuses an edit that no backend would take. Deleting and restoring a document is always possible.
    fn fits(&mut self, change: usize) -> Result<(), FormatError> {
        fits_a_change(change)?;
        self.size += change;
        if self.size <= limits::DOCUMENT_BYTES {
            return Ok(());
        }
        self.size = self.open().map_err(automerge_error)?.saved_bytes();
        if self.size <= limits::DOCUMENT_BYTES {
            return Ok(());
        }
        Err(FormatError::new(format!(
            "the document with its history has {} bytes, and at most {} can be sent; continue in a new document, and delete this one",
            self.size,
            limits::DOCUMENT_BYTES
        )))
    }

    /// Takes the first change of the document.
    fn begin(&mut self, FirstChange { change, edited, value }: FirstChange) -> Vec<StoredChunk> {
        let (hash, bytes) = (change.hash(), Arc::<[u8]>::from(change.raw_bytes()));
        self.size += bytes.len();
        self.content = Content::First { hash, bytes: Arc::clone(&bytes), value };
        vec![made(hash, bytes, edited.set.into_iter().collect())]
    }

    fn forget_older_bases(&mut self, generation: Generation) {
        if let Some((&oldest, _)) = self.bases.range(..=generation).next_back() {
            self.forget_bases_before(oldest);
        }
    }

    /// Takes in chunks from elsewhere, in their order. Chunks that it has and damaged chunks are skipped; the error of
    /// the first damaged one is returned.
    ///
    /// # Errors
    ///
    /// If the chunks do not fit this document. Some of them may have been applied, so the document must be thrown away.
    pub(super) fn merge(&mut self, chunks: &[Vec<u8>]) -> Result<(Merged, Option<String>), String> {
        if let [chunk] = chunks
            && let Some(hash) = self.begin_with(chunk)
        {
            return Ok((Merged { chunks: vec![(hash, false, chunk.as_slice().into())], moved: true }, None));
        }
        self.size += chunks.iter().map(Vec::len).sum::<usize>();
        let opened = self.open().map_err(|error| error.to_string())?;
        opened.merge(chunks)
    }

    /// Takes a chunk as the first change of a document that has none, if its value can be read without Automerge.
    fn begin_with(&mut self, chunk: &[u8]) -> Option<ChangeHash> {
        if !matches!(self.content, Content::Blank) || inspect::is_snapshot(chunk) {
            return None;
        }
        let change = inspect::change(chunk).ok()?;
        let (hash, value) = (change.hash(), format::read_first(&change)?);
        self.content = Content::First { hash, bytes: chunk.into(), value };
        self.size += chunk.len();
        Some(hash)
    }
}

/// Refuses a change that is too large to be sent.
fn fits_a_change(bytes: usize) -> Result<(), FormatError> {
    if bytes <= limits::CHANGE_BYTES {
        return Ok(());
    }
    let most = limits::CHANGE_BYTES;
    let message = format!(
        "the edit takes {bytes} bytes, and an edit may take at most {most}; make it in several edits, or keep large data elsewhere"
    );
    Err(FormatError::new(message))
}

/// The changes in a snapshot, dependencies first. Empty if it cannot be read: then loading its document fails and
/// reports it.
pub(crate) fn changes_of(hash: ChangeHash, snapshot: &[u8]) -> Vec<UnsentChange> {
    let Ok(Received::Snapshot(changes)) = inspect::received(snapshot) else { return Vec::new() };
    let mut changes: Vec<_> = changes
        .iter()
        .map(|change| UnsentChange { hash: change.hash(), chunk: change.hash(), bytes: change.raw_bytes().into() })
        .collect();
    if let Some(last) = changes.last_mut() {
        last.chunk = hash;
    }
    changes
}
