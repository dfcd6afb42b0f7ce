//! `pushChanges`: each document is taken whole or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use automerge::Change;
use convex::Value;
use sha2::{Digest, Sha256};

use super::{
    Committed, Document, Log, LogRow, Record, Row, Waiting,
    document::{History, Overlay},
    merge::{self, Tried},
    row,
};
use crate::{
    DocumentId,
    backend::{failure::Failure, limits::WAITING_BYTES},
    inspect,
    limits::{
        CHANGE_BYTES, CHUNK_BYTES, COMMIT_BYTES, DOCUMENT_BYTES, DOCUMENT_ID_BYTES, ORDINAL_STEP, PUSH_BYTES,
        PUSH_CHANGES, PUSH_DOCUMENTS,
    },
    replica::{Part, Position},
};

/// The arguments of `pushChanges`.
#[derive(Clone, Debug)]
pub(in crate::backend) struct PushChanges {
    pub documents: Vec<PushedDocument>,
    pub scope: Option<String>,
}

/// A document of a push.
#[derive(Clone, Debug)]
pub(in crate::backend) struct PushedDocument {
    pub id: String,
    pub changes: Vec<Chunk>,
    pub fields: Option<Value>,
    pub removed: Vec<String>,
}

/// A change, or a part of one.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Chunk {
    pub bytes: Arc<[u8]>,
    /// `None` within: the part's numbers make no sense.
    pub part: Option<Option<Part>>,
}

/// The answer to a push: one result per document, in order.
#[derive(Clone, Debug)]
pub(in crate::backend) struct PushAnswer {
    pub results: Vec<(String, Result<(), Failure>)>,
}

/// A commit in the making.
pub(super) struct Commit {
    pub ts: i64,
    /// The last row's.
    pub ordinal: u32,
    pub records: Vec<Record>,
    /// The documents that it changes, with the bytes of their logs.
    pub changed: HashMap<DocumentId, usize>,
}

impl Commit {
    /// Whether a document whose log will have so many bytes may be changed beside the others. One alone always may.
    fn admit(&self, id: &DocumentId, bytes: usize) -> Result<(), Failure> {
        let others = self.changed.iter().filter(|(other, _)| *other != id);
        let (count, all) = others.fold((0, bytes), |(count, all), (_, bytes)| (count + 1, all + bytes));
        if count > 0 && all > COMMIT_BYTES {
            return Err(Failure::too_large(
                "the documents of one commit would be too large to be pulled together: send this one again by itself",
                COMMIT_BYTES,
            ));
        }
        Ok(())
    }
}

/// What new changes do to a document's row.
pub(super) enum NewRow {
    /// The writer says what the fields are now.
    Sent { fields: BTreeMap<String, Value>, removed: Vec<String> },
    /// The row is to be read from the merged document.
    Merged,
}

/// A chunk's bytes as log rows: one, or its parts.
pub(super) type Pieces = Vec<(Arc<[u8]>, Option<Part>)>;

/// A chunk that is complete.
pub(super) struct Whole {
    bytes: Vec<u8>,
    pieces: Pieces,
    /// What its parts called it, if it came in parts.
    hash: Option<[u8; 32]>,
}

/// A change that the log lacks, verified, with the rows it is to be.
pub(super) struct NewChange {
    pub change: Change,
    pub bytes: Pieces,
    /// What its parts called it, if it came in parts.
    pub hash: Option<[u8; 32]>,
}

impl NewChange {
    fn len(&self) -> usize {
        self.bytes.iter().map(|(bytes, _)| bytes.len()).sum()
    }
}

impl Log {
    /// Appends a batch of documents' changes.
    pub fn push_changes(
        &mut self,
        collection: &str,
        args: PushChanges,
        now: i64,
    ) -> Result<Committed<PushAnswer>, Failure> {
        check_push(&args)?;
        let collection = self.name(collection);
        let scope: Option<Arc<str>> = args.scope.map(Into::into);
        let mut commit = self.begin(now);
        let mut results = Vec::with_capacity(args.documents.len());
        for document in args.documents {
            let id = document.id.clone();
            let result = self.push_document(&collection, scope.as_ref(), document, &mut commit);
            results.push((id, result));
        }
        Ok(self.end(&collection, commit, PushAnswer { results }))
    }

    pub(super) fn begin(&self, now: i64) -> Commit {
        Commit { ts: self.next_ts(now), ordinal: 0, records: Vec::new(), changed: HashMap::new() }
    }

    /// Ends a commit. One that wrote no row is none, and takes no time.
    pub(super) fn end<T>(&mut self, collection: &Arc<str>, commit: Commit, answer: T) -> Committed<T> {
        if commit.ordinal > 0 {
            self.last = commit.ts;
            self.collections.entry(collection.clone()).or_default().last = commit.ts;
        }
        Committed { answer, ts: self.last, records: commit.records }
    }

    fn push_document(
        &mut self,
        collection: &Arc<str>,
        scope: Option<&Arc<str>>,
        pushed: PushedDocument,
        commit: &mut Commit,
    ) -> Result<(), Failure> {
        check_id(&pushed.id)?;
        self.check_remembered(collection, &pushed.id)?;
        let id = DocumentId::new(pushed.id);
        let fields = match pushed.fields {
            None => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(_) => return Err(Failure::new("forbiddenField", "`fields` is not an object")),
        };
        let mut parts = self.receive(collection, &id, pushed.changes, commit.ts)?;
        let new_row = match fields {
            Some(fields) => NewRow::Sent { fields, removed: pushed.removed },
            None => NewRow::Merged,
        };
        self.append(collection, scope, &id, std::mem::take(&mut parts.whole), new_row, commit)?;
        parts.keep(self, collection, id, commit);
        Ok(())
    }

    /// Puts parts together. Changes nothing yet.
    fn receive(&self, collection: &str, id: &DocumentId, chunks: Vec<Chunk>, now: i64) -> Result<Received, Failure> {
        let known = self.collections.get(collection);
        let whole = known.and_then(|known| known.documents.get(id)).map(|document| &document.whole);
        let mut received = Received {
            waiting: known.and_then(|known| known.waiting.get(id)).cloned().unwrap_or_default(),
            now,
            ..Received::default()
        };
        for chunk in chunks {
            if chunk.bytes.len() > CHUNK_BYTES {
                return Err(Failure::too_large(
                    format!("a chunk in one piece has {} bytes; send it in parts", chunk.bytes.len()),
                    CHUNK_BYTES,
                ));
            }
            let Some(part) = chunk.part else {
                let bytes = chunk.bytes.to_vec();
                received.whole.push(Whole { bytes, pieces: vec![(chunk.bytes, None)], hash: None });
                continue;
            };
            let part =
                part.filter(|part| part.index < part.count).ok_or_else(|| misfit("its numbers make no sense"))?;
            if part.count as usize > CHANGE_BYTES / CHUNK_BYTES {
                return Err(Failure::too_large(format!("a change in {} parts", part.count), CHANGE_BYTES));
            }
            if !whole.is_some_and(|whole| whole.contains(&part.hash)) {
                received.add(part, chunk.bytes)?;
            }
        }
        if received.waiting.values().map(Waiting::bytes).sum::<usize>() > WAITING_BYTES {
            return Err(Failure::too_large("too many bytes wait for their missing parts", WAITING_BYTES));
        }
        Ok(received)
    }

    /// Appends the changes among `chunks` that the log lacks, and sets the row. Changes nothing if any of them is refused.
    pub(super) fn append(
        &mut self,
        collection: &Arc<str>,
        scope: Option<&Arc<str>>,
        id: &DocumentId,
        chunks: Vec<Whole>,
        new_row: NewRow,
        commit: &mut Commit,
    ) -> Result<(), Failure> {
        let mut changes = Vec::with_capacity(chunks.len());
        for Whole { bytes, pieces, hash } in chunks {
            changes.push(NewChange { change: inspect::change(&bytes)?, bytes: pieces, hash });
        }
        self.append_changes(collection, scope, id, changes, new_row, commit)
    }

    /// The same for changes that are verified by themselves.
    pub(super) fn append_changes(
        &mut self,
        collection: &Arc<str>,
        scope: Option<&Arc<str>>,
        id: &DocumentId,
        changes: Vec<NewChange>,
        new_row: NewRow,
        commit: &mut Commit,
    ) -> Result<(), Failure> {
        let existing = self.collections.get(collection).and_then(|known| known.documents.get(id));
        let nothing = History::default();
        let mut trial = Overlay::new(existing.map_or(&nothing, |existing| &existing.history));
        // With others' changes between them, the values after the first may be what those have replaced since.
        let is_chain = changes.windows(2).all(|pair| pair[1].change.deps() == [pair[0].change.hash()]);
        let mut new = Vec::new();
        for change in changes {
            if trial.admit(&change.change)? {
                new.push(change);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let bytes = existing.map_or(0, |existing| existing.bytes) + new.iter().map(NewChange::len).sum::<usize>();
        commit.admit(id, bytes)?;
        let fast = match &new_row {
            NewRow::Sent { .. } => is_chain && trial.continues(),
            NewRow::Merged => false,
        };
        // Tried before they are accepted: what does not fit would leave everyone with a document that cannot be loaded.
        let stored = self.collections.get(collection).zip(existing);
        let cached = self.merged.take(collection, id);
        let tried = Tried::new(stored, cached, new.iter().map(|new| new.change.clone()).collect())?;
        let (row, merged) = match new_row {
            NewRow::Sent { fields, removed } if fast => {
                let sent = sent_row(existing, fields, &removed);
                let merged = matches!(tried, Tried::Plain(_)) && row::split(tried.fields()?) == sent;
                (sent, merged)
            }
            _ => (row::split(tried.fields()?), true),
        };
        row::check(&row, id)?;
        if let Tried::Document(document) = tried {
            if bytes > DOCUMENT_BYTES {
                merge::check_size(&document)?;
            }
            self.merged.put(collection, id, *document, bytes);
        }
        commit.changed.insert(id.clone(), bytes);
        self.write(collection, scope, id, new, (row.0, row.1, merged), commit);
        Ok(())
    }

    fn write(
        &mut self,
        name: &Arc<str>,
        scope: Option<&Arc<str>>,
        id: &DocumentId,
        new: Vec<NewChange>,
        (fields, deleted, merged): (BTreeMap<String, Value>, bool, bool),
        commit: &mut Commit,
    ) {
        let collection = self.collections.entry(name.clone()).or_default();
        let document =
            collection.documents.entry(id.clone()).or_insert_with(|| Document::new(id.clone(), scope.cloned()));
        for NewChange { change, bytes, hash } in new {
            document.history.take(&change);
            document.whole.extend(hash);
            for (bytes, part) in bytes {
                commit.ordinal += ORDINAL_STEP;
                let position = Position { ts: commit.ts, ordinal: commit.ordinal };
                document.bytes += bytes.len();
                document.rows.push(position);
                if let Some(scope) = &document.scope {
                    let scope = collection.scopes.entry(scope.clone()).or_default();
                    scope.rows.insert(position);
                    scope.last = commit.ts;
                }
                collection
                    .rows
                    .insert(position, LogRow { document: id.clone(), bytes: bytes.clone(), part: part.clone() });
                commit.records.push(Record::Row(Row {
                    collection: name.clone(),
                    position,
                    document: id.clone(),
                    bytes,
                    part,
                    covers: Vec::new(),
                }));
            }
        }
        let before = (document.modified, id.clone());
        collection.modified.remove(&before);
        collection.tombstones.remove(&before);
        collection.modified.insert((commit.ts, id.clone()));
        if deleted {
            collection.tombstones.insert((commit.ts, id.clone()));
        }
        document.modified = commit.ts;
        document.fields = Arc::new(fields);
        document.deleted = deleted;
        document.merged = merged;
        if !merged {
            self.unchecked.insert((name.clone(), id.clone()));
        }
        if document.rows.len() > document.compact_at {
            self.compactable.insert((name.clone(), id.clone()));
        }
        commit.records.push(Record::Document(document.record(name)));
    }
}

fn sent_row(
    existing: Option<&Document>,
    fields: BTreeMap<String, Value>,
    removed: &[String],
) -> (BTreeMap<String, Value>, bool) {
    let mut row = existing.map(|existing| (*existing.fields).clone()).unwrap_or_default();
    if existing.is_some_and(|existing| existing.deleted) {
        row.insert("deleted".into(), Value::Boolean(true));
    }
    for name in removed {
        row.remove(name);
    }
    row.extend(fields);
    row::split(row)
}

/// The chunks of a push, put together as far as possible.
#[derive(Default)]
struct Received {
    whole: Vec<Whole>,
    /// Incomplete ones, with what waited already.
    waiting: HashMap<[u8; 32], Waiting>,
    /// Parts that are to wait now.
    new: Vec<(Part, Arc<[u8]>)>,
    /// Chunks that no longer wait.
    done: Vec<[u8; 32]>,
    /// Whether a part came that waits already.
    again: bool,
    now: i64,
}

impl Received {
    fn add(&mut self, part: Part, bytes: Arc<[u8]>) -> Result<(), Failure> {
        let waiting =
            self.waiting.entry(part.hash).or_insert_with(|| Waiting { count: part.count, ..Waiting::default() });
        if waiting.count != part.count {
            return Err(misfit("the others are of another count"));
        }
        waiting.since = self.now;
        match waiting.parts.get(&part.index) {
            Some(known) if *known == bytes => {
                self.again = true;
                return Ok(());
            }
            Some(_) => return Err(misfit("it came before, with other bytes")),
            None => waiting.parts.insert(part.index, bytes.clone()),
        };
        if waiting.parts.len() < waiting.count as usize {
            self.new.push((part, bytes));
            return Ok(());
        }
        let hash = part.hash;
        let parts = self.waiting.remove(&hash).map(|waiting| waiting.parts).unwrap_or_default();
        let whole = parts.values().flat_map(|part| part.iter().copied()).collect::<Vec<_>>();
        if sha256(&whole) != hash {
            return Err(misfit("together they are not the chunk they were announced as"));
        }
        // However its writer cut it.
        let pieces = cut(&whole);
        self.whole.push(Whole { bytes: whole, pieces, hash: Some(hash) });
        self.new.retain(|(part, _)| part.hash != hash);
        self.done.push(hash);
        Ok(())
    }

    fn keep(self, log: &mut Log, collection: &Arc<str>, document: DocumentId, commit: &mut Commit) {
        if self.new.is_empty() && self.done.is_empty() && !self.again {
            return;
        }
        let known = &mut log.collections.entry(collection.clone()).or_default().waiting;
        for hash in self.done {
            commit.records.push(Record::PartsGone { collection: collection.clone(), document: document.clone(), hash });
        }
        for (part, bytes) in self.new {
            commit.records.push(Record::Part {
                collection: collection.clone(),
                document: document.clone(),
                part,
                bytes,
                ts: self.now,
            });
        }
        match self.waiting.is_empty() {
            true => known.remove(&document),
            false => known.insert(document, self.waiting),
        };
    }
}

/// A chunk's bytes as log rows.
pub(super) fn cut(bytes: &[u8]) -> Pieces {
    if bytes.len() <= CHUNK_BYTES {
        return vec![(bytes.into(), None)];
    }
    let hash = sha256(bytes);
    let count = bytes.len().div_ceil(CHUNK_BYTES) as u32;
    let part = |index| Part { hash, index, count };
    bytes.chunks(CHUNK_BYTES).zip(0..).map(|(bytes, index)| (bytes.into(), Some(part(index)))).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn misfit(reason: &str) -> Failure {
    Failure::invalid_change(format!("a part does not fit the others: {reason}"))
}

fn check_push(args: &PushChanges) -> Result<(), Failure> {
    let too_large = |what: &str, count: usize, limit: usize| Failure {
        limit: Some(limit as u64),
        ..Failure::new("pushTooLarge", format!("{count} {what} in one push; at most {limit} are taken"))
    };
    let changes: usize = args.documents.iter().map(|document| document.changes.len()).sum();
    let bytes: usize =
        args.documents.iter().flat_map(|document| &document.changes).map(|chunk| chunk.bytes.len()).sum();
    if args.documents.len() > PUSH_DOCUMENTS {
        return Err(too_large("documents", args.documents.len(), PUSH_DOCUMENTS));
    }
    if changes > PUSH_CHANGES {
        return Err(too_large("changes", changes, PUSH_CHANGES));
    }
    if bytes > PUSH_BYTES {
        return Err(too_large("chunk bytes", bytes, PUSH_BYTES));
    }
    Ok(())
}

pub(super) fn check_id(id: &str) -> Result<(), Failure> {
    if id.is_empty() {
        return Err(Failure::invalid_change("a document's id is empty"));
    }
    if id.len() > DOCUMENT_ID_BYTES {
        return Err(Failure::too_large(format!("a document's id has {} bytes", id.len()), DOCUMENT_ID_BYTES));
    }
    Ok(())
}
