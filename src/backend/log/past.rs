//! Whole documents, now or as of an earlier commit. Convex reads at earlier times too, for as long as it keeps them
//! (`/api/query_at_ts`, which the official client's `consistentQuery` calls).

use std::collections::BTreeSet;

use super::{
    document::{Document, micros},
    merge,
    pull::rows,
    state::{Collection, Log, StreamState},
};
use crate::{
    DocumentId,
    limits::{DOCUMENT_PAGE, DOCUMENT_PAGE_BYTES, DOCUMENT_PAGE_MAX},
    record::Position,
    wire::{DocumentPage, WholeDocument},
};

/// The log does not know any more what it had at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) struct TooOld;

/// A document as of a commit.
struct AsOf<'a> {
    /// The commit that changed it last.
    modified: i64,
    document: &'a Document,
    /// Its rows, without those of later commits.
    rows: &'a [Position],
    bytes: usize,
    version: usize,
}

impl<'a> AsOf<'a> {
    fn newest(document: &'a Document) -> Self {
        Self {
            modified: document.modified,
            document,
            rows: &document.rows,
            bytes: document.bytes,
            version: document.history.len(),
        }
    }

    /// `None` if there was no such document then. The rows after that time are single changes and parts of changes,
    /// because [`Log::check_past`] refuses a time before the place of a newer snapshot.
    fn at(collection: &Collection, document: &'a Document, ts: i64) -> Option<Self> {
        let end = document.rows.partition_point(|position| position.ts <= ts);
        let (then, later) = document.rows.split_at(end);
        let later = later.iter().filter_map(|position| collection.rows.get(position));
        let (changes, bytes) = later.fold((0, 0), |(changes, bytes), row| {
            let begins = row.part.as_ref().is_none_or(|part| part.index == 0);
            (changes + usize::from(begins), bytes + row.bytes.len())
        });
        Some(Self {
            modified: then.last()?.ts,
            document,
            rows: then,
            bytes: document.bytes.saturating_sub(bytes),
            version: document.history.len().saturating_sub(changes),
        })
    }
}

impl Log {
    /// Checks that the log still knows what it had at a time.
    pub fn check_past(&self, ts: i64) -> Result<(), TooOld> {
        if ts < self.past_from { Err(TooOld) } else { Ok(()) }
    }

    /// Whole documents last changed at or after `checkpoint` (in microseconds), oldest first. `limit` counts the
    /// documents after the checkpoint's own microsecond. A page never ends within a microsecond. If there is more, the
    /// next page begins after the last microsecond of this one. So each page gets further than the one before, even if
    /// the documents are large.
    pub fn pull_changes(&self, collection: &str, checkpoint: f64, limit: Option<f64>) -> DocumentPage {
        let Some(collection) = self.collections.get(collection) else {
            return empty(checkpoint);
        };
        let first = DocumentId::new("");
        let documents = collection
            .modified
            .range((nanoseconds(checkpoint), first)..)
            .take_while(|(ts, _)| *ts <= self.published)
            .filter_map(|(_, id)| collection.documents.get(id))
            .map(AsOf::newest);
        page(collection, documents, checkpoint, limit)
    }

    /// [`pull_changes`](Self::pull_changes) as of a commit that [`check_past`](Self::check_past) accepts.
    pub fn pull_changes_at(&self, collection: &str, checkpoint: f64, limit: Option<f64>, ts: i64) -> DocumentPage {
        let Some(collection) = self.collections.get(collection) else {
            return empty(checkpoint);
        };
        let from = nanoseconds(checkpoint);
        let found = collection.documents.values().filter_map(|document| AsOf::at(collection, document, ts));
        let order: BTreeSet<_> = found
            .filter(|document| document.modified >= from)
            .map(|document| (document.modified, document.document.id.clone()))
            .collect();
        let documents = order
            .iter()
            .filter_map(|(_, id)| collection.documents.get(id))
            .filter_map(|document| AsOf::at(collection, document, ts));
        page(collection, documents, checkpoint, limit)
    }

    /// The newest change and the number of documents, as of the newest published commit.
    pub fn change_stream(&self, collection: &str) -> StreamState {
        self.collections.get(collection).map(|collection| collection.stream).unwrap_or_default()
    }

    /// [`change_stream`](Self::change_stream) as of a commit that [`check_past`](Self::check_past) accepts.
    pub fn change_stream_at(&self, collection: &str, ts: i64) -> StreamState {
        let Some(collection) = self.collections.get(collection) else {
            return StreamState::default();
        };
        let documents = collection.documents.values().filter_map(|document| AsOf::at(collection, document, ts));
        documents.fold(StreamState::default(), |state, document| StreamState {
            timestamp: state.timestamp.max(document.modified),
            count: state.count + 1,
        })
    }
}

/// The first nanosecond of a microsecond.
fn nanoseconds(microseconds: f64) -> i64 {
    // A float to integer cast saturates, and turns NaN into 0.
    (microseconds.ceil() as i64).saturating_mul(1_000)
}

fn empty(checkpoint: f64) -> DocumentPage {
    DocumentPage { documents: Vec::new(), checkpoint, has_more: false }
}

/// A page of documents, which come in the order of their last changes.
fn page<'a>(
    collection: &Collection,
    documents: impl Iterator<Item = AsOf<'a>>,
    checkpoint: f64,
    limit: Option<f64>,
) -> DocumentPage {
    let limit = rows(limit, DOCUMENT_PAGE, DOCUMENT_PAGE_MAX);
    let mut page = empty(checkpoint);
    let (mut counted, mut bytes) = (0, 0);
    // The number of documents before those of the present microsecond. A page has all or none of the documents of a
    // microsecond.
    let mut before = 0;
    for document in documents {
        let timestamp = micros(document.modified);
        let begins = page.documents.last().is_none_or(|last| last.timestamp != timestamp);
        if begins {
            before = page.documents.len();
        }
        let full = bytes + document.bytes > DOCUMENT_PAGE_BYTES;
        if before > 0 && (full || (begins && counted >= limit)) {
            page.has_more = true;
            page.documents.truncate(before);
            break;
        }
        let whole = WholeDocument {
            id: document.document.id.clone(),
            bytes: merge::bytes_of(collection, document.rows),
            version: document.version,
            timestamp,
        };
        counted += usize::from(timestamp > checkpoint);
        bytes += document.bytes;
        page.documents.push(whole);
    }
    if let Some(last) = page.documents.last() {
        page.checkpoint = last.timestamp + if page.has_more { 1.0 } else { 0.0 };
    }
    page
}
