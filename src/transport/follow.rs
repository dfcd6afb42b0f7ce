use std::time::Duration;

use super::wire::PageView;
use crate::{
    CollectionIndex,
    limits::{PAGE_BYTES, or_tiny},
    record::{Checkpoint, Page, Position, Refusal, RefusalCode},
};

/// A subscription whose result has grown past this many chunk bytes is replaced by one from a later checkpoint: every commit sends the
/// whole result again.
const ADVANCE_BYTES: usize = 32 * 1024;
/// The same, in rows: the official client copies and compares every row of every open result at each transition, which costs far more than
/// its bytes, while replacing a subscription costs about one more transition.
const ADVANCE_ROWS: usize = 12;
/// After this long without news a subscription is replaced, so that what rests is empty.
const QUIET: Duration = Duration::from_secs(1);
/// All open results together: the official Rust client takes at most 16 MiB in a frame, base64 and all, and a reconnect sends them in one.
pub(super) const OPEN_BYTES: usize = 8 * 1024 * 1024;

/// What an open result counts for at least: so many collections may be followed at once.
const OPEN_BYTES_MIN: usize = 4 * 1024;

/// Names a subscription of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// A subscription.
struct Open {
    key: Key,
    from: Position,
    /// What its result has or may have, in chunk bytes.
    reserved: usize,
    /// Rows of its last result; `None`: it has none yet.
    rows: Option<usize>,
}

/// What a result leads to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// To be handed on.
    pub(super) page: Option<Page>,
    /// To be told, once.
    pub(super) refusal: Option<Refusal>,
    /// There is a page, but no room for it: ask again when there is.
    pub(super) held: bool,
}

/// Follows the log of one collection: which subscription to open from where, what of a result is new, and when a
/// subscription gives way to the next. Knows neither clock nor socket: time is a
/// [`Duration`] since a moment that the caller has chosen.
///
/// Results repeat what came before. What was handed on is one position, and only rows after it are handed on. A subscription that gives
/// way is closed as the next is opened, which begins where it ended: nothing can be missed, whichever of the two the deployment hears of
/// first, and what is committed meanwhile is sent once instead of by both.
pub(super) struct Follow {
    collection: CollectionIndex,
    /// The last position handed on.
    handed: Position,
    /// Of the last page handed on: its epoch, and whether it said that there is more. `None`: none yet in this connection.
    last: Option<(String, bool)>,
    /// How far the log had been pruned when it gave out the last page. Told to it with the next question: a page on the way from the start
    /// may end before that, where one who was away might have missed a delete and is told to start over.
    pruned: Option<i64>,
    refused: Option<Refusal>,
    open: Option<Open>,
    /// Whether it has to give way.
    advance: bool,
    /// When rows came last.
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

    /// Follows from another checkpoint on. The subscription open so far is to be closed.
    pub(super) fn restart(&mut self, checkpoint: Checkpoint) -> Option<Key> {
        let closed = self.key();
        self.disconnected();
        self.handed = checkpoint.position;
        self.pruned = checkpoint.pruned;
        closed
    }

    /// The subscription is gone with its connection.
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

    /// What its result has or may have, in chunk bytes.
    pub(super) fn reserved(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.reserved)
    }

    /// Whether a subscription is to be opened as soon as there is room.
    pub(super) fn wants_to_open(&self) -> bool {
        self.open.is_none() || self.advance
    }

    /// Opens a subscription from the last position handed on. The one open so far is to be closed.
    pub(super) fn open(&mut self) -> (Key, Position, Option<Key>) {
        self.keys += 1;
        self.advance = false;
        let key = Key(self.keys);
        let old = self.open.replace(Open { key, from: self.handed, reserved: PAGE_BYTES, rows: None });
        (key, self.handed, old.map(|old| old.key))
    }

    /// What the next question is to say of pruning.
    pub(super) fn pruned(&self) -> Option<i64> {
        self.pruned
    }

    /// When [`Follow::tick`] is due.
    pub(super) fn quiet_at(&self) -> Option<Duration> {
        let has_rows = self.open.as_ref()?.rows.is_some_and(|rows| rows > 0);
        (has_rows && !self.advance).then_some(self.news? + QUIET)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Duration) {
        if self.quiet_at().is_some_and(|quiet| quiet <= now) {
            self.advance = true;
        }
    }

    /// Whether the deployment wants another token for this collection.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.refused.as_ref().is_some_and(|refusal| refusal.code == RefusalCode::Unauthenticated)
    }

    /// A subscription has a result, which may be the one it had before. `room`: whether a page can be handed on now.
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
        let deltas = page.rows_after(from, self.handed)?;
        let is_news = !deltas.is_empty();
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
                deltas,
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

    /// The subscription stays open: it answers again once it is no longer refused.
    fn refuse(&mut self, refusal: Refusal) -> Outcome {
        self.settle(OPEN_BYTES_MIN, 0);
        self.advance = false;
        let is_new = self.refused.as_ref() != Some(&refusal);
        self.refused = Some(refusal.clone());
        Outcome { refusal: is_new.then_some(refusal), ..Outcome::default() }
    }

    /// Notes what the subscription has.
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
