//! A commit: all additions of one mutation to the log, at one timestamp.

use std::{collections::HashMap, sync::Arc};

use super::{
    record::{Committed, Record},
    state::Log,
};
use crate::{DocumentId, limits::COMMIT_BYTES, record::Refusal};

/// A commit that is being made.
pub(super) struct Commit {
    pub ts: i64,
    /// The ordinal of the last row.
    pub ordinal: u32,
    pub records: Vec<Record>,
    /// The documents that the commit changes, with the bytes of their logs.
    pub changed: HashMap<DocumentId, usize>,
}

impl Commit {
    /// Whether the commit may also change this document, whose log will then have `bytes` bytes. A commit may always
    /// change a single document.
    pub(super) fn admit(&self, id: &DocumentId, bytes: usize) -> Result<(), Refusal> {
        let others = self.changed.iter().filter(|(other, _)| *other != id);
        let (count, all) = others.fold((0, bytes), |(count, all), (_, bytes)| (count + 1, all + bytes));
        if count > 0 && all > COMMIT_BYTES {
            return Err(Refusal::too_large(
                "the documents of one commit would be too large to be pulled together: send this one again by itself",
                COMMIT_BYTES,
            ));
        }
        Ok(())
    }
}

impl Log {
    /// Begins a commit.
    pub(super) fn begin(&self, now: i64) -> Commit {
        Commit { ts: self.next_ts(now), ordinal: 0, records: Vec::new(), changed: HashMap::new() }
    }

    /// Ends a commit. A commit without rows uses no timestamp.
    pub(super) fn end<T>(&mut self, collection: &Arc<str>, commit: Commit, answer: T) -> Committed<T> {
        if commit.ordinal > 0 {
            self.last = commit.ts;
            self.collections.entry(collection.clone()).or_default().last = commit.ts;
        }
        Committed { answer, ts: self.last, records: commit.records }
    }
}
