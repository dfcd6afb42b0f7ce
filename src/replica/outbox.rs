//! The changes that a backend lacks: per collection a queue of documents, and per document the changes to send.
//!
//! The store has all of them. Changes made in this run are also kept here, so that an edit is sent without reading it
//! back.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use automerge::ChangeHash;

use super::event::{PushedDocument, Refusal, RefusalCode, UnsentDocument};
use crate::{DocumentId, chunk::inspect, format::Value, limits};

/// A document with more unsent changes than this keeps them only in the store, so that a long time offline costs no
/// memory.
const KEPT_CHANGES: usize = 256;

/// How long a document that was refused twice in a row waits after an edit before it is offered again, in milliseconds.
/// The time doubles with each further refusal, so that an app that edits the document in every frame does not send it
/// in every frame.
const REFUSED_AGAIN: i64 = 1_000;
/// The longest of these times.
const REFUSED_LONGEST: i64 = 32_000;

/// A backend's refusal of a document.
#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    /// The number of refusals in a row.
    times: u32,
    /// The time at which the document is offered again if it was edited since, in milliseconds since 1970.
    until: i64,
    /// Whether the document was edited since.
    edited: bool,
}

/// A change of this client.
#[derive(Clone, Debug)]
pub(super) struct QueuedChange {
    pub(super) hash: ChangeHash,
    /// The stored snapshots that the backend has after it accepted this change, because it has their other changes
    /// then.
    pub(super) snapshots: Vec<ChangeHash>,
    pub(super) bytes: Arc<[u8]>,
    /// The root fields that the change touches, with their values after it. `None` if they are not known.
    pub(super) fields: Option<FieldValues>,
}

/// Root fields and their values, `None` where they are gone.
pub(super) type FieldValues = Vec<(String, Option<Value>)>;

/// The changes of one document that a backend lacks.
#[derive(Debug)]
struct OutboxEntry {
    place: u64,
    changes: Changes,
    /// The backend refused the document. It is sent again only after an edit or a retry.
    refused: Option<Refused>,
    /// The last refusal before it was offered again, and how often in a row it was refused.
    former: Option<(Refusal, u32)>,
    /// Whether it was edited since it was last sent.
    fresh: bool,
    /// All of its changes were offered, because the backend lacked changes that it was believed to have.
    history_offered: bool,
    /// Whether it has changes that the backend may never have had. False if its changes are only offered again.
    edited: bool,
}

#[derive(Debug)]
enum Changes {
    /// The changes are in the store. With `history`, all changes of the document must be offered.
    Stored { history: bool },
    /// The changes are being read from the store. `later` has those made meanwhile.
    Reading { read: u64, later: Vec<QueuedChange> },
    /// All changes are here.
    Known(Vec<QueuedChange>),
}

/// The documents of one collection that have changes which a backend lacks.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: BTreeMap<u64, DocumentId>,
    documents: HashMap<DocumentId, OutboxEntry>,
    next_place: u64,
    /// Names the next read, so that the answer to a read that was given up is not taken for the answer to a later one.
    next_read: u64,
    in_flight: Vec<(DocumentId, Vec<ChangeHash>)>,
    /// The first document in flight.
    first_in_flight: Option<DocumentId>,
    /// The number of refused documents.
    refused: usize,
}

/// The next documents to send and to read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Documents to send now.
    pub(super) send: Vec<PushedDocument>,
    /// Documents to read from the store first, and whether all of their changes are wanted.
    pub(super) read: Vec<(DocumentId, bool)>,
    /// Names the read.
    pub(super) number: u64,
}

impl Outbox {
    /// The number of documents that wait, including refused ones.
    pub(super) fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether more than one change of the document waits. One change on its way and one that is ready to follow keep
    /// the backend busy, so more changes would only wait.
    pub(super) fn is_pressed(&self, id: &DocumentId) -> bool {
        self.documents.get(id).is_some_and(|entry| {
            entry.refused.is_none()
                && match &entry.changes {
                    Changes::Known(changes) => changes.len() > 1,
                    Changes::Stored { .. } | Changes::Reading { .. } => true,
                }
        })
    }

    /// Adds a change of this client.
    pub(super) fn add(&mut self, id: &DocumentId, change: QueuedChange) {
        let new = !self.documents.contains_key(id);
        let entry = self.entry(id);
        if new {
            entry.changes = Changes::Known(Vec::new());
        }
        match &mut entry.changes {
            Changes::Stored { .. } => {}
            Changes::Reading { later, .. } => later.push(change),
            Changes::Known(changes) if changes.len() < limits::or_tiny(KEPT_CHANGES, 2) => changes.push(change),
            Changes::Known(_) => entry.changes = Changes::Stored { history: false },
        }
        entry.edited = true;
        entry.fresh = true;
        if let Some(refused) = &mut entry.refused {
            refused.edited = true;
        }
    }

    /// Offers documents again that were edited since they were refused and whose wait is over. Returns the time at
    /// which the next wait ends.
    pub(super) fn offer_edited(&mut self, now: i64) -> Option<i64> {
        if self.refused == 0 {
            return None;
        }
        let mut next: Option<i64> = None;
        for entry in self.documents.values_mut() {
            let Some(refused) = entry.refused.take_if(|refused| refused.edited && refused.until <= now) else {
                let until = entry.refused.as_ref().filter(|refused| refused.edited).map(|refused| refused.until);
                next = next.into_iter().chain(until).min();
                continue;
            };
            self.refused -= 1;
            entry.former = Some((refused.refusal, refused.times));
            entry.history_offered = false;
        }
        next
    }

    /// Follows another backend, or the same one again from the beginning. `unsent` are the documents with changes that
    /// the backend lacks, according to the store; the store may not have the newest edits yet. With `again`, the
    /// backend may have had all changes except those queued here.
    pub(super) fn reset(&mut self, unsent: Vec<DocumentId>, again: bool) {
        let edited = |id: &DocumentId| self.documents.get(id).is_some_and(|entry| entry.edited);
        let newest: Vec<_> = self.queue.values().map(|id| (id.clone(), edited(id))).collect();
        *self = Self { next_place: self.next_place, next_read: self.next_read, ..Self::default() };
        for id in unsent {
            self.entry(&id).edited = !again;
        }
        for (id, edited) in newest {
            self.entry(&id).edited |= edited;
        }
    }

    /// Whether the document has changes that the backend lacks.
    pub(super) fn has(&self, id: &DocumentId) -> bool {
        self.documents.contains_key(id)
    }

    /// Whether the backend has refused the document, and it waits for an edit or a retry.
    pub(super) fn is_refused(&self, id: &DocumentId) -> bool {
        self.documents.get(id).is_some_and(|entry| entry.refused.is_some())
    }

    /// Notes that the backend has these changes, although it has not answered their push. Returns the stored snapshots
    /// of which the backend has everything now.
    pub(super) fn held(&mut self, id: &DocumentId, held: &HashSet<ChangeHash>) -> Vec<ChangeHash> {
        let Some(entry) = self.documents.get_mut(id) else { return Vec::new() };
        let changes = match &mut entry.changes {
            // They are read from the store, which is told as well.
            Changes::Stored { .. } => return Vec::new(),
            Changes::Reading { later, .. } => later,
            Changes::Known(changes) => changes,
        };
        let before = changes.len();
        let snapshots = take_out(changes, held);
        if changes.len() < before {
            // The values were those after the last change.
            changes.iter_mut().for_each(|change| change.fields = None);
        }
        if matches!(&entry.changes, Changes::Known(changes) if changes.is_empty()) {
            self.remove(id);
        }
        snapshots
    }

    /// Offers a refused document again.
    pub(super) fn retry_one(&mut self, id: &DocumentId) {
        let Some(entry) = self.documents.get_mut(id) else { return };
        entry.former = None;
        if entry.refused.take().is_some() {
            self.refused -= 1;
            entry.history_offered = false;
        }
    }

    /// Drops a document that the backend will never accept. Returns whether it has changes that the backend may never
    /// have had.
    pub(super) fn forget(&mut self, id: &DocumentId) -> bool {
        self.take_in_flight(id);
        let edited = self.documents.get(id).is_some_and(|entry| entry.edited);
        self.remove(id);
        edited
    }

    fn entry(&mut self, id: &DocumentId) -> &mut OutboxEntry {
        self.documents.entry(id.clone()).or_insert_with(|| {
            let place = self.next_place;
            self.next_place += 1;
            self.queue.insert(place, id.clone());
            let changes = Changes::Stored { history: false };
            OutboxEntry {
                place,
                changes,
                refused: None,
                former: None,
                fresh: false,
                history_offered: false,
                edited: false,
            }
        })
    }

    /// The next batch.
    pub(super) fn next_batch(&mut self) -> Batch {
        let mut batch = Batch { number: self.next_read, ..Batch::default() };
        self.next_read += 1;
        let mut bytes = 0;
        let mut count = 0;
        for id in self.queue.values() {
            let Some(entry) = self.documents.get_mut(id) else { continue };
            if entry.refused.is_some() {
                continue;
            }
            match &mut entry.changes {
                Changes::Reading { .. } => {}
                Changes::Stored { history } => {
                    if batch.read.len() < limits::or_tiny(limits::PUSH_DOCUMENTS, 2) {
                        batch.read.push((id.clone(), *history));
                        entry.changes = Changes::Reading { read: batch.number, later: Vec::new() };
                    }
                }
                Changes::Known(changes) => {
                    let left = PushBudget {
                        bytes: limits::or_tiny(limits::PUSH_BYTES, 1_000) - bytes,
                        changes: limits::or_tiny(limits::PUSH_CHANGES, 3) - count,
                    };
                    let taken = left.fitting(changes, batch.send.is_empty());
                    if !taken.is_empty() {
                        bytes += taken.iter().map(|change| change.bytes.len()).sum::<usize>();
                        count += taken.len();
                        batch.send.push(pushed(id, taken));
                    }
                }
            }
            let full = bytes >= limits::or_tiny(limits::PUSH_BYTES, 1_000)
                || count >= limits::or_tiny(limits::PUSH_CHANGES, 3);
            if full
                || batch.send.len() >= limits::or_tiny(limits::PUSH_DOCUMENTS, 2)
                || batch.read.len() >= limits::or_tiny(limits::PUSH_DOCUMENTS, 2)
            {
                break;
            }
        }
        batch
    }

    /// Notes that the batch is in flight.
    pub(super) fn sent(&mut self, documents: &[PushedDocument]) {
        self.first_in_flight = documents.first().map(|document| document.id.clone());
        for document in documents {
            if let Some(entry) = self.documents.get_mut(&document.id) {
                entry.fresh = false;
            }
        }
        self.in_flight = documents
            .iter()
            .map(|document| (document.id.clone(), document.changes.iter().map(|(hash, _)| *hash).collect()))
            .collect();
    }

    /// Notes that the batch in flight ended without an answer. Its documents are offered again.
    pub(super) fn dropped(&mut self) {
        self.in_flight.clear();
    }

    /// Takes a document's stored changes, as the answer to the read `number`. The answer to a read that was given up,
    /// for another backend or in an earlier connection, is ignored: it may lack newer changes.
    pub(super) fn read(&mut self, document: UnsentDocument, number: u64) {
        let Some(entry) = self.documents.get_mut(&document.id) else { return };
        let Changes::Reading { read, later } = &mut entry.changes else { return };
        if *read != number {
            return;
        }
        let later = std::mem::take(later);
        let bytes: usize = document.changes.iter().map(|change| change.bytes.len()).sum();
        // If the changes take several pushes, the backend merges them itself: the values are the log's only after the
        // last push.
        let one_push = bytes <= limits::or_tiny(limits::PUSH_BYTES, 1_000)
            && document.changes.len() <= limits::or_tiny(limits::PUSH_CHANGES, 3);
        let fields = document.fields.filter(|_| one_push).map(|fields| fields.into_iter().collect::<FieldValues>());
        let mut changes: Vec<QueuedChange> = Vec::with_capacity(document.changes.len() + later.len());
        let mut places: HashMap<ChangeHash, usize> = HashMap::new();
        // Several chunks may have the same change, which is sent once. So a snapshot ends at the furthest place of its
        // changes, and not always at its last change.
        let mut furthest = 0;
        for change in document.changes {
            let place = *places.entry(change.hash).or_insert_with(|| {
                let fields = fields.as_ref().map(|_| Vec::new());
                changes.push(QueuedChange { hash: change.hash, snapshots: Vec::new(), bytes: change.bytes, fields });
                changes.len() - 1
            });
            furthest = furthest.max(place);
            if change.chunk != change.hash {
                changes[furthest].snapshots.push(change.chunk);
                furthest = 0;
            }
        }
        if let (Some(last), Some(fields)) = (changes.last_mut(), fields) {
            last.fields = Some(fields);
        }
        changes.extend(later.into_iter().filter(|change| !places.contains_key(&change.hash)));
        let is_empty = changes.is_empty();
        entry.changes = Changes::Known(changes);
        if is_empty {
            self.remove(&document.id);
        }
    }

    /// Notes that the backend accepted the changes in flight of a document. Returns the stored chunks that the backend
    /// has now.
    pub(super) fn accepted(&mut self, id: &DocumentId) -> Vec<ChangeHash> {
        let Some(sent) = self.take_in_flight(id) else { return Vec::new() };
        let Some(entry) = self.documents.get_mut(id) else { return sent };
        entry.former = None;
        let Changes::Known(changes) = &mut entry.changes else { return sent };
        let mut chunks = sent.clone();
        chunks.append(&mut take_out(changes, &sent.into_iter().collect()));
        if changes.is_empty() {
            self.remove(id);
        }
        chunks
    }

    /// Notes that the backend refused a document. Returns whether to report this to the app. It is not reported if all
    /// changes are offered next, or if the document may have been too large only together with the documents before it.
    /// The first document of a push is certainly too large itself, and each push brings the others closer to the front.
    pub(super) fn refused(&mut self, id: &DocumentId, refusal: &Refusal, now: i64) -> bool {
        if self.take_in_flight(id).is_none() {
            // The changes were discarded. What was edited since is not refused.
            return false;
        }
        // Nothing is left to send: the changes came back in the log before this answer.
        let Some(entry) = self.documents.get_mut(id) else { return false };
        if refusal.code == RefusalCode::MissingDependencies && !entry.history_offered {
            entry.history_offered = true;
            entry.changes = Changes::Stored { history: true };
            return false;
        }
        if refusal.code == RefusalCode::TooLarge && self.first_in_flight.as_ref() != Some(id) {
            return false;
        }
        // The same refusal is not reported again until the document was accepted or the app asked for a retry.
        let (is_news, times) = match entry.former.take() {
            Some((former, times)) => (former != *refusal, times + 1),
            None => (true, 1),
        };
        let wait = match times {
            1 => 0,
            // The shift is bounded, so this does not overflow.
            _ => (REFUSED_AGAIN << (times - 2).min(8)).min(REFUSED_LONGEST),
        };
        entry.refused = Some(Refused { refusal: refusal.clone(), times, until: now + wait, edited: entry.fresh });
        self.refused += 1;
        is_news
    }

    /// Offers refused documents again, and repeats reads that failed.
    pub(super) fn retry(&mut self) {
        for entry in self.documents.values_mut() {
            if matches!(entry.changes, Changes::Reading { .. }) {
                entry.changes = Changes::Stored { history: entry.history_offered };
            }
            entry.former = None;
            if entry.refused.take().is_some() {
                self.refused -= 1;
                entry.history_offered = false;
            }
        }
    }

    fn take_in_flight(&mut self, id: &DocumentId) -> Option<Vec<ChangeHash>> {
        let index = self.in_flight.iter().position(|(sent, _)| sent == id)?;
        Some(self.in_flight.swap_remove(index).1)
    }

    fn remove(&mut self, id: &DocumentId) {
        if let Some(entry) = self.documents.remove(id) {
            self.queue.remove(&entry.place);
            self.refused -= usize::from(entry.refused.is_some());
        }
    }
}

/// The size and the number of changes that still fit in a push.
struct PushBudget {
    bytes: usize,
    changes: usize,
}

impl PushBudget {
    /// The first changes of a document that fit. Changes that would fit in a push of their own are not divided.
    fn fitting<'a>(&self, changes: &'a [QueuedChange], first: bool) -> &'a [QueuedChange] {
        let mut bytes = 0;
        let fitting = changes
            .iter()
            .take(self.changes)
            .take_while(|change| {
                bytes += change.bytes.len();
                bytes <= self.bytes
            })
            .count();
        match (first, fitting == changes.len()) {
            (_, true) => changes,
            // A single change may be larger than a push. The transport sends it alone, in parts.
            (true, false) => &changes[..fitting.max(1)],
            (false, false) => &[],
        }
    }
}

/// Takes out changes that the backend has. Returns the stored snapshots of which it has everything now.
///
/// A snapshot's changes are all at or before the place of the change that names it. If that change goes and others before
/// it stay, the nearest of these names the snapshot from then on.
fn take_out(changes: &mut Vec<QueuedChange>, held: &HashSet<ChangeHash>) -> Vec<ChangeHash> {
    let mut snapshots = Vec::new();
    let mut left: Vec<QueuedChange> = Vec::with_capacity(changes.len());
    for mut change in std::mem::take(changes) {
        if !held.contains(&change.hash) {
            left.push(change);
            continue;
        }
        match left.last_mut() {
            Some(before) => before.snapshots.append(&mut change.snapshots),
            None => snapshots.append(&mut change.snapshots),
        }
    }
    *changes = left;
    snapshots
}

fn pushed(id: &DocumentId, changes: &[QueuedChange]) -> PushedDocument {
    let mut document = PushedDocument {
        id: id.clone(),
        changes: changes.iter().map(|change| (change.hash, change.bytes.clone())).collect(),
        fields: None,
        removed: Vec::new(),
    };
    if !is_chain(changes) {
        return document;
    }
    let mut latest = BTreeMap::new();
    for change in changes {
        let Some(fields) = &change.fields else { return document };
        latest.extend(fields.iter().map(|(name, value)| (name, value)));
    }
    if latest
        .values()
        .any(|value| value.as_ref().is_some_and(|value| plain_bytes(value) > limits::REPEATED_FIELD_BYTES))
    {
        return document;
    }
    let mut set = BTreeMap::new();
    for (name, value) in latest {
        match value {
            Some(value) => drop(set.insert(name.clone(), value.clone())),
            None => document.removed.push(name.clone()),
        }
    }
    document.fields = Some(set);
    document
}

/// Whether each change depends on exactly the one before it. If a change also depends on other clients' changes, these
/// may have replaced or merged with the values noted before it.
fn is_chain(changes: &[QueuedChange]) -> bool {
    changes.windows(2).all(|pair| inspect::change(&pair[1].bytes).is_ok_and(|change| change.deps() == [pair[0].hash]))
}

/// About how many bytes a value takes on the wire.
fn plain_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Scalar(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(|item| 1 + plain_bytes(item)).sum(),
        Value::Map(map) => map.iter().map(|(key, item)| key.len() + 4 + plain_bytes(item)).sum(),
        _ => 8,
    }
}
