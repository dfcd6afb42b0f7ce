use std::time::Duration;

use super::wire::PageView;
use crate::{
    CollectionIndex,
    limits::{PAGE_BYTES, or_tiny},
    record::{Checkpoint, Page, Position, Refusal, RefusalCode},
};

/// A subscription whose result has more chunk bytes than this is replaced by one from a later checkpoint, because every
/// commit sends the whole result again.
const ADVANCE_BYTES: usize = 32 * 1024;
/// The same limit in rows. The official client copies and compares every row of every open result at each transition.
/// That costs far more than the row's bytes, while replacing a subscription costs about one more transition.
const ADVANCE_ROWS: usize = 12;
/// A subscription without news for this long is replaced, so that the result of a quiet collection is empty.
const QUIET: Duration = Duration::from_secs(1);
/// The limit of all open results together. The official Rust client takes at most 16 MiB in a frame, including base64,
/// and a reconnect sends all results in one frame.
pub(super) const OPEN_BYTES: usize = 8 * 1024 * 1024;

/// The least size that an open result counts as. It limits how many collections can be followed at once.
const OPEN_BYTES_MIN: usize = 4 * 1024;

/// Names a subscription of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// A subscription.
struct Open {
    key: Key,
    from: Position,
    /// The bytes of chunks that its result has or may have.
    reserved: usize,
    /// The number of rows in its last result; `None` before the first result.
    rows: Option<usize>,
}

/// The effects of a result.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// A page to hand on.
    pub(super) page: Option<Page>,
    /// A refusal to report once.
    pub(super) refusal: Option<Refusal>,
    /// Whether there is a page for which there is no room, so that the result must be read again when there is.
    pub(super) held: bool,
}

/// Follows the log of one collection. It decides from where to subscribe, which rows of a result are new, and when a
/// subscription is replaced by the next. It knows neither clock nor socket: time is a [`Duration`] since a moment that
/// the caller has chosen.
///
/// A result repeats the rows of the results before it. So this keeps the last position that it handed on, and hands on
/// only later rows. When a subscription is replaced, it is closed and the next one is opened from that position.
/// Nothing can be missed, in whichever order the deployment learns of the two. Rows that are committed meanwhile are
/// sent once, and not in both results.
pub(super) struct Follow {
    collection: CollectionIndex,
    /// The last position handed on.
    handed: Position,
    /// The epoch of the last page handed on, and whether that page said that there is more. `None` if this connection
    /// has handed on no page yet.
    last: Option<(String, bool)>,
    /// How far the log had been pruned when it gave the last page. The next query sends this back. A reader that began
    /// after the pruning may be at a page before the pruned position. Without this number, the backend would take it
    /// for a reader that was away and may have missed a delete, and would tell it to start over.
    pruned: Option<i64>,
    refused: Option<Refusal>,
    open: Option<Open>,
    /// Whether the subscription must be replaced.
    advance: bool,
    /// The time at which rows came last.
    news: Option<Duration>,
    keys: u64,
}

impl Follow {
    pub(super) fn new(collection: CollectionIndex, checkpoint: Checkpoint) -> Self {
        Self {
            collection,
            handed: checkpoint.position,
            last: None,
            pruned: checkpoint.pruned,
            refused: None,
            open: None,
            advance: false,
            news: None,
            keys: 0,
        }
    }

    /// Follows the log from another checkpoint. The caller must close the returned subscription, which was open so far.
    pub(super) fn restart(&mut self, checkpoint: Checkpoint) -> Option<Key> {
        let closed = self.key();
        self.disconnected();
        self.handed = checkpoint.position;
        self.pruned = checkpoint.pruned;
        closed
    }

    /// Notes that the subscription ended with its connection.
    pub(super) fn disconnected(&mut self) {
        self.open = None;
        self.last = None;
        self.refused = None;
        self.advance = false;
        self.news = None;
    }

    /// The open subscription.
    pub(super) fn key(&self) -> Option<Key> {
        self.open.as_ref().map(|open| open.key)
    }

    /// The bytes of chunks that its result has or may have.
    pub(super) fn reserved(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.reserved)
    }

    /// Whether a subscription must be opened as soon as there is room.
    pub(super) fn wants_to_open(&self) -> bool {
        self.open.is_none() || self.advance
    }

    /// Opens a subscription from the last position handed on. The caller must close the returned old subscription.
    pub(super) fn open(&mut self) -> (Key, Position, Option<Key>) {
        self.keys += 1;
        self.advance = false;
        let key = Key(self.keys);
        let old = self.open.replace(Open { key, from: self.handed, reserved: PAGE_BYTES, rows: None });
        (key, self.handed, old.map(|old| old.key))
    }

    /// The pruned commit that the next query names.
    pub(super) fn pruned(&self) -> Option<i64> {
        self.pruned
    }

    /// The time at which [`Follow::tick`] is due.
    pub(super) fn quiet_at(&self) -> Option<Duration> {
        let has_rows = self.open.as_ref()?.rows.is_some_and(|rows| rows > 0);
        (has_rows && !self.advance).then_some(self.news? + QUIET)
    }

    /// Handles the passing of time.
    pub(super) fn tick(&mut self, now: Duration) {
        if self.quiet_at().is_some_and(|quiet| quiet <= now) {
            self.advance = true;
        }
    }

    /// Whether the deployment requires another token for this collection.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.refused.as_ref().is_some_and(|refusal| refusal.code == RefusalCode::Unauthenticated)
    }

    /// Handles a subscription's result, which may be the same as before. `room` tells whether a page can be handed on
    /// now.
    pub(super) fn answer(
        &mut self,
        key: Key,
        result: Result<PageView<'_>, Refusal>,
        room: bool,
        now: Duration,
    ) -> Outcome {
        let Some(from) = self.open.as_ref().filter(|open| open.key == key).map(|open| open.from) else {
            return Outcome::default();
        };
        let outcome = result.and_then(|page| self.page(from, &page, room, now));
        outcome.unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn page(&mut self, from: Position, page: &PageView<'_>, room: bool, now: Duration) -> Result<Outcome, Refusal> {
        let same_story = self.refused.is_none()
            && self.last.as_ref().is_some_and(|(epoch, more)| epoch == page.epoch && (!more || page.has_more));
        let same_rows =
            page.checkpoint <= self.handed && self.open.as_ref().is_some_and(|open| open.rows == Some(page.rows()));
        if same_story && same_rows && !page.has_more {
            return Ok(Outcome::default());
        }
        let rows = page.rows_after(from, self.handed)?;
        let is_news = !rows.is_empty();
        let tells = is_news || !same_story;
        if tells && !room {
            return Ok(Outcome { held: true, ..Outcome::default() });
        }
        let mut outcome = Outcome::default();
        self.refused = None;
        self.pruned = page.pruned;
        if tells {
            let to = self.handed.max(page.checkpoint);
            outcome.page = Some(Page {
                collection: self.collection,
                from: std::mem::replace(&mut self.handed, to),
                rows,
                to,
                has_more: page.has_more,
                epoch: page.epoch.to_owned(),
                pruned: page.pruned,
            });
            self.last = Some((page.epoch.to_owned(), page.has_more));
        }
        if is_news || self.news.is_none() {
            self.news = Some(now);
        }
        let bytes = page.bytes();
        self.settle(bytes.max(OPEN_BYTES_MIN), page.rows());
        // A full page will not change again.
        self.advance = page.has_more || bytes >= ADVANCE_BYTES || page.rows() >= or_tiny(ADVANCE_ROWS, 2);
        Ok(outcome)
    }

    /// Keeps the subscription open, because the deployment answers again once it no longer refuses.
    fn refuse(&mut self, refusal: Refusal) -> Outcome {
        self.settle(OPEN_BYTES_MIN, 0);
        self.advance = false;
        let is_new = self.refused.as_ref() != Some(&refusal);
        self.refused = Some(refusal.clone());
        Outcome { refusal: is_new.then_some(refusal), ..Outcome::default() }
    }

    /// Notes the size of the subscription's result.
    fn settle(&mut self, reserved: usize, rows: usize) {
        if let Some(open) = &mut self.open {
            open.reserved = reserved;
            open.rows = Some(rows);
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
