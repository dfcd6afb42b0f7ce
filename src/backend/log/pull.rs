//! The function `pullDeltas`.

use std::ops::Bound;

use super::{rows::LogRow, state::Log};
use crate::{
    limits::{PAGE_BYTES, PAGE_ROWS, PAGE_ROWS_MAX},
    record::{Position, Refusal, RefusalCode},
    wire::{LogChunk, LogPage, PullDeltas},
};

impl Log {
    /// The published rows after a checkpoint.
    pub fn pull_deltas(&self, collection: &str, args: &PullDeltas) -> Result<LogPage, Refusal> {
        self.pull_deltas_until(collection, args, self.published)
    }

    /// [`pull_deltas`](Self::pull_deltas) as of a commit that [`check_past`](Self::check_past) accepts.
    pub fn pull_deltas_until(&self, collection: &str, args: &PullDeltas, ts: i64) -> Result<LogPage, Refusal> {
        let unknown = || {
            Refusal::new(
                RefusalCode::CheckpointUnknown,
                "this log never gave out that checkpoint: start from the beginning and offer everything again",
            )
        };
        let checkpoint = args.checkpoint.ok_or_else(unknown)?;
        let limit = rows(args.limit, PAGE_ROWS, PAGE_ROWS_MAX);
        let Some(collection) = self.collections.get(collection) else {
            return match checkpoint == Position::default() {
                true => Ok(LogPage { rows: Vec::new(), checkpoint, has_more: false, pruned: None }),
                false => Err(unknown()),
            };
        };
        let end = Position { ts, ordinal: u32::MAX };
        let newest = collection.rows.range(..=end).next_back().map_or(Position::default(), |(position, _)| *position);
        let gone = collection.pruned.newest();
        let pruned = gone.map(|gone| gone.ts);
        // The newest row may have been pruned. A checkpoint at its place is still valid.
        if checkpoint > newest && pruned.is_none_or(|pruned| checkpoint.ts > pruned) {
            return Err(unknown());
        }
        // The reader may have missed a delete before the newest pruned position, even later in the same commit. The
        // exception is a reader that began after the pruning and has not read that far yet. Such a reader names this
        // pruning, because its last page named it.
        if checkpoint.ts > 0 && args.pruned != pruned && gone.is_some_and(|gone| checkpoint < gone) {
            return Err(Refusal::new(
                RefusalCode::CheckpointUnknown,
                "documents deleted since that checkpoint are gone from this log: start from the beginning and offer everything again",
            ));
        }
        let range = (Bound::Excluded(checkpoint), Bound::Included(end));
        let page = LogPage { rows: Vec::new(), checkpoint, has_more: false, pruned };
        let mut page = Filling { page, limit, bytes: 0 };
        if checkpoint < end {
            match &args.scope {
                None => {
                    for (position, row) in collection.rows.range(range) {
                        if !page.take(*position, row) {
                            break;
                        }
                    }
                }
                Some(scope) => {
                    let positions = collection.scopes.get(scope.as_str()).map(|scope| scope.rows.range(range));
                    for position in positions.into_iter().flatten() {
                        let Some(row) = collection.rows.get(position) else {
                            continue;
                        };
                        if !page.take(*position, row) {
                            break;
                        }
                    }
                }
            }
        }
        Ok(page.page)
    }
}

/// The limit that was asked for, clamped to between 1 and `most`.
pub(super) fn rows(asked: Option<f64>, usual: usize, most: usize) -> usize {
    // A float to integer cast saturates, and turns NaN into 0.
    asked.map_or(usual, |asked| (asked as usize).clamp(1, most))
}

struct Filling {
    page: LogPage,
    limit: usize,
    bytes: usize,
}

impl Filling {
    /// Adds a row. Returns false if the page is full.
    fn take(&mut self, position: Position, row: &LogRow) -> bool {
        let bytes = self.bytes + row.bytes.len();
        let any = !self.page.rows.is_empty();
        if any && (self.page.rows.len() >= self.limit || bytes > PAGE_BYTES) {
            self.page.has_more = true;
            return false;
        }
        self.bytes = bytes;
        self.page.checkpoint = position;
        self.page.rows.push(LogChunk {
            position,
            document: row.document.clone(),
            bytes: row.bytes.clone(),
            part: row.part.clone(),
            author: row.author.clone(),
        });
        true
    }
}
