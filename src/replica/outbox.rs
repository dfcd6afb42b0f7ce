//! What a backend lacks: per collection a queue of documents, and per document its changes on their way out.
//!
//! The store is the truth; what was made in this run is also kept here, so that an edit is sent without reading it back.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use automerge::ChangeHash;

use super::event::{PushedDocument, Refusal, RefusalCode, UnsentDocument};
use crate::{DocumentId, chunk::inspect, format::Value, limits};

/// A document with more unsent changes than this keeps them in the store alone, so that a long time offline costs no memory.
const KEPT_CHANGES: usize = 256;

/// How long a document that was refused twice in a row stays where it is when it is edited, in milliseconds. Each time
/// after that takes twice as long, so that an app that edits it in every frame does not send it in every frame.
const REFUSED_AGAIN: i64 = 1_000;
/// The longest of these times.
const REFUSED_LONGEST: i64 = 32_000;

/// What a backend said of a document, and since when.
#[derive(Debug)]
struct Refused {
    refusal: Refusal,
    /// How often in a row.
    times: u32,
    /// When a document that was edited since is offered again, in milliseconds since 1970.
    until: i64,
    /// Whether it was edited since.
    edited: bool,
}

/// A change made here.
#[derive(Clone, Debug)]
pub(super) struct OutgoingChange {
    pub(super) hash: ChangeHash,
    /// The stored chunk that the backend has once it has this.
    pub(super) row: ChangeHash,
    pub(super) bytes: Arc<[u8]>,
    /// The root fields it touches with their values after it; `None`: not known.
    pub(super) fields: Option<Fields>,
}

/// Root fields and their values, `None` where they are gone.
pub(super) type Fields = Vec<(String, Option<Value>)>;

/// The changes of one document that a backend lacks.
#[derive(Debug)]
struct Outgoing {
    place: u64,
    changes: Changes,
    /// The backend refused it: it is not sent again until it is edited, or asked for.
    refused: Option<Refused>,
    /// What was said of it before it was offered again, and how often.
    former: Option<(Refusal, u32)>,
    /// Whether it was edited since it was last sent.
    fresh: bool,
    /// Everything was offered, because the backend lacked something that we thought it had.
    history_offered: bool,
    /// Whether it has changes that the backend may never have had, rather than all of them offered again.
    edited: bool,
}

#[derive(Debug)]
enum Changes {
    /// They are in the store; `history`: all of the document's changes are to be offered.
    Stored { history: bool },
    /// They are being read; these were made meanwhile.
    Reading { read: u64, later: Vec<OutgoingChange> },
    /// All of them.
    Known(Vec<OutgoingChange>),
}

/// The documents of one collection that a backend lacks something of.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: BTreeMap<u64, DocumentId>,
    documents: HashMap<DocumentId, Outgoing>,
    next_place: u64,
    /// Names the next read, so that an answer to one that was given up is not taken for it.
    next_read: u64,
    in_flight: Vec<(DocumentId, Vec<ChangeHash>)>,
    /// The first of those.
    first_in_flight: Option<DocumentId>,
    /// How many documents are refused.
    refused: usize,
}

/// What is to be done to send more.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Documents to send now.
    pub(super) send: Vec<PushedDocument>,
    /// Documents to read first, and whether all of their changes.
    pub(super) read: Vec<(DocumentId, bool)>,
    /// Names the read.
    pub(super) number: u64,
}

impl Outbox {
    /// How many documents wait, refused ones included.
    pub(super) fn len(&self) -> usize {
        self.documents.len()
    }

    /// Takes a change made here.
    pub(super) fn add(&mut self, id: &DocumentId, change: OutgoingChange) {
        let new = !self.documents.contains_key(id);
        let outgoing = self.entry(id);
        if new {
            outgoing.changes = Changes::Known(Vec::new());
        }
        match &mut outgoing.changes {
            Changes::Stored { .. } => {}
            Changes::Reading { later, .. } => later.push(change),
            Changes::Known(changes) if changes.len() < limits::or_tiny(KEPT_CHANGES, 2) => changes.push(change),
            Changes::Known(_) => outgoing.changes = Changes::Stored { history: false },
        }
        outgoing.edited = true;
        outgoing.fresh = true;
        if let Some(refused) = &mut outgoing.refused {
            refused.edited = true;
        }
    }

    /// Offers those documents again that were edited since they were refused, when it is time. Gives the time of the
    /// next of them.
    pub(super) fn offer_edited(&mut self, now: i64) -> Option<i64> {
        if self.refused == 0 {
            return None;
        }
        let mut next: Option<i64> = None;
        for outgoing in self.documents.values_mut() {
            let Some(refused) = outgoing.refused.take_if(|refused| refused.edited && refused.until <= now) else {
                let until = outgoing.refused.as_ref().filter(|refused| refused.edited).map(|refused| refused.until);
                next = next.into_iter().chain(until).min();
                continue;
            };
            self.refused -= 1;
            outgoing.former = Some((refused.refusal, refused.times));
            outgoing.history_offered = false;
        }
        next
    }

    /// Another backend is asked from now on, or the same one forgot: these documents have changes that it lacks, by the store, which may
    /// not know the newest yet. `again`: it may have had all of them but those that were here before.
    pub(super) fn reset(&mut self, unsent: Vec<DocumentId>, again: bool) {
        let edited = |id: &DocumentId| self.documents.get(id).is_some_and(|outgoing| outgoing.edited);
        let newest: Vec<_> = self.queue.values().map(|id| (id.clone(), edited(id))).collect();
        *self = Self { next_place: self.next_place, next_read: self.next_read, ..Self::default() };
        for id in unsent {
            self.entry(&id).edited = !again;
        }
        for (id, edited) in newest {
            self.entry(&id).edited |= edited;
        }
    }

    /// The backend will never take this document. Returns whether it has changes that the backend may never have had.
    pub(super) fn forget(&mut self, id: &DocumentId) -> bool {
        self.take_in_flight(id);
        let edited = self.documents.get(id).is_some_and(|outgoing| outgoing.edited);
        self.remove(id);
        edited
    }

    fn entry(&mut self, id: &DocumentId) -> &mut Outgoing {
        self.documents.entry(id.clone()).or_insert_with(|| {
            let place = self.next_place;
            self.next_place += 1;
            self.queue.insert(place, id.clone());
            let changes = Changes::Stored { history: false };
            Outgoing {
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
            let Some(outgoing) = self.documents.get_mut(id) else { continue };
            if outgoing.refused.is_some() {
                continue;
            }
            match &mut outgoing.changes {
                Changes::Reading { .. } => {}
                Changes::Stored { history } => {
                    if batch.read.len() < limits::or_tiny(limits::PUSH_DOCUMENTS, 2) {
                        batch.read.push((id.clone(), *history));
                        outgoing.changes = Changes::Reading { read: batch.number, later: Vec::new() };
                    }
                }
                Changes::Known(changes) => {
                    let room = Room {
                        bytes: limits::or_tiny(limits::PUSH_BYTES, 1_000) - bytes,
                        changes: limits::or_tiny(limits::PUSH_CHANGES, 3) - count,
                    };
                    let taken = room.fitting(changes, batch.send.is_empty());
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

    /// The batch is on its way.
    pub(super) fn sent(&mut self, documents: &[PushedDocument]) {
        self.first_in_flight = documents.first().map(|document| document.id.clone());
        for document in documents {
            if let Some(outgoing) = self.documents.get_mut(&document.id) {
                outgoing.fresh = false;
            }
        }
        self.in_flight = documents
            .iter()
            .map(|document| (document.id.clone(), document.changes.iter().map(|(hash, _)| *hash).collect()))
            .collect();
    }

    /// It ended without an answer: its documents are offered again.
    pub(super) fn dropped(&mut self) {
        self.in_flight.clear();
    }

    /// Takes what the store has of a document, as an answer to that read. One that was given up, for another backend or in another
    /// connection, may lack what the document needs now.
    pub(super) fn read(&mut self, document: UnsentDocument, number: u64) {
        let Some(outgoing) = self.documents.get_mut(&document.id) else { return };
        let Changes::Reading { read, later } = &mut outgoing.changes else { return };
        if *read != number {
            return;
        }
        let later = std::mem::take(later);
        let mut seen: HashSet<ChangeHash> = HashSet::new();
        let bytes: usize = document.changes.iter().map(|change| change.bytes.len()).sum();
        // What takes several pushes is merged by the backend: until the last of them, the values are not the log's.
        let one_push = bytes <= limits::or_tiny(limits::PUSH_BYTES, 1_000)
            && document.changes.len() <= limits::or_tiny(limits::PUSH_CHANGES, 3);
        let mut fields = document.fields.filter(|_| one_push).map(|fields| fields.into_iter().collect::<Fields>());
        let last = document.changes.len().saturating_sub(1);
        let stored = document.changes.into_iter().enumerate().map(|(index, change)| OutgoingChange {
            hash: change.hash,
            row: change.row,
            bytes: change.bytes,
            fields: if index == last { fields.take() } else { fields.as_ref().map(|_| Vec::new()) },
        });
        let changes: Vec<_> = stored.chain(later).filter(|change| seen.insert(change.hash)).collect();
        outgoing.changes = Changes::Known(changes);
        if matches!(&outgoing.changes, Changes::Known(changes) if changes.is_empty()) {
            self.remove(&document.id);
        }
    }

    /// The backend has what it was sent of a document. Gives the stored chunks that it has with that.
    pub(super) fn accepted(&mut self, id: &DocumentId) -> Vec<ChangeHash> {
        let Some(sent) = self.take_in_flight(id) else { return Vec::new() };
        let Some(outgoing) = self.documents.get_mut(id) else { return sent };
        outgoing.former = None;
        let Changes::Known(changes) = &mut outgoing.changes else { return sent };
        let sent: HashSet<ChangeHash> = sent.into_iter().collect();
        let mut rows = Vec::with_capacity(sent.len());
        changes.retain(|change| {
            let is_sent = sent.contains(&change.hash);
            rows.extend(is_sent.then_some(change.row));
            !is_sent
        });
        if changes.is_empty() {
            self.remove(id);
        }
        rows
    }

    /// The backend refused a document. Returns whether to tell the app: not if everything is offered to it first, or if it may have been too large
    /// only together with those before it. It comes closer to the front with each push, and there is no doubt of the first.
    pub(super) fn refused(&mut self, id: &DocumentId, refusal: &Refusal, now: i64) -> bool {
        self.take_in_flight(id);
        let Some(outgoing) = self.documents.get_mut(id) else { return true };
        if refusal.code == RefusalCode::MissingDependencies && !outgoing.history_offered {
            outgoing.history_offered = true;
            outgoing.changes = Changes::Stored { history: true };
            return false;
        }
        if refusal.code == RefusalCode::TooLarge && self.first_in_flight.as_ref() != Some(id) {
            return false;
        }
        // What was said before is not said again, until it was taken or asked for.
        let (is_news, times) = match outgoing.former.take() {
            Some((former, times)) => (former != *refusal, times + 1),
            None => (true, 1),
        };
        let wait = match times {
            1 => 0,
            // The shift is bounded, and so is what it gives.
            _ => (REFUSED_AGAIN << (times - 2).min(8)).min(REFUSED_LONGEST),
        };
        outgoing.refused = Some(Refused { refusal: refusal.clone(), times, until: now + wait, edited: outgoing.fresh });
        self.refused += 1;
        is_news
    }

    /// Refused documents are offered again, and what could not be read is read again.
    pub(super) fn retry(&mut self) {
        for outgoing in self.documents.values_mut() {
            if matches!(outgoing.changes, Changes::Reading { .. }) {
                outgoing.changes = Changes::Stored { history: outgoing.history_offered };
            }
            outgoing.former = None;
            if outgoing.refused.take().is_some() {
                self.refused -= 1;
                outgoing.history_offered = false;
            }
        }
    }

    fn take_in_flight(&mut self, id: &DocumentId) -> Option<Vec<ChangeHash>> {
        let index = self.in_flight.iter().position(|(sent, _)| sent == id)?;
        Some(self.in_flight.swap_remove(index).1)
    }

    fn remove(&mut self, id: &DocumentId) {
        if let Some(outgoing) = self.documents.remove(id) {
            self.queue.remove(&outgoing.place);
            self.refused -= usize::from(outgoing.refused.is_some());
        }
    }
}

/// What a push still has room for.
struct Room {
    bytes: usize,
    changes: usize,
}

impl Room {
    /// The first changes of a document that fit. What would fit a push of its own is not divided.
    fn fitting<'a>(&self, changes: &'a [OutgoingChange], first: bool) -> &'a [OutgoingChange] {
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
            // One change may be larger than a push: the transport sends it in parts, alone.
            (true, false) => &changes[..fitting.max(1)],
            (false, false) => &[],
        }
    }
}

fn pushed(id: &DocumentId, changes: &[OutgoingChange]) -> PushedDocument {
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

/// Whether each change was made on exactly the one before it. If one was made on others' changes, too, the values after those before it may be
/// what the others have replaced, or are what they had not been merged with.
fn is_chain(changes: &[OutgoingChange]) -> bool {
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
