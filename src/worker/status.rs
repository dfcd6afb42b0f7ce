//! The status: the saved edits, the connection, and the progress of catching up.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Connection, Status};
use crate::{
    CollectionIndex,
    replica::{EditNumber, WriteId},
    status::Reason,
};

/// Keeps the [`Status`].
pub(super) struct StatusTracker {
    status: Status,
    told: Option<Status>,
    collections: usize,
    /// The edits after the saved ones, in the order in which they were sent: the write that each waits for, or `None`
    /// while its document is being read.
    unsaved: VecDeque<Option<WriteId>>,
    written: WriteId,
    /// Collections whose stored documents were all reported.
    filled: HashSet<CollectionIndex>,
    /// Collections whose whole content at the deployment, at the time of the connection, was reported.
    caught_up: HashSet<CollectionIndex>,
    /// The number of documents at the deployment.
    counts: HashMap<CollectionIndex, u64>,
    /// The number of documents here.
    documents: u64,
}

impl StatusTracker {
    pub(super) fn new(collections: usize) -> Self {
        let status = Status {
            connection: Connection::Offline { reason: None },
            saved: 0,
            lost: 0,
            unsent: 0,
            store_open: false,
        };
        Self {
            status,
            told: None,
            collections,
            unsaved: VecDeque::new(),
            written: 0,
            filled: HashSet::new(),
            caught_up: HashSet::new(),
            counts: HashMap::new(),
            documents: 0,
        }
    }

    /// The status, if it has changed since this was last called.
    pub(super) fn news(&mut self) -> Option<Status> {
        if self.told.as_ref() == Some(&self.status) {
            return None;
        }
        self.told = Some(self.status.clone());
        self.told.clone()
    }

    // About the store:

    pub(super) fn opened(&mut self) {
        self.status.store_open = true;
    }

    pub(super) fn filled(&mut self, collection: CollectionIndex) {
        self.filled.insert(collection);
    }

    /// Whether the store has reported all its documents: only then are edits taken in.
    pub(super) fn is_filled(&self) -> bool {
        self.status.store_open && self.filled.len() == self.collections
    }

    /// Notes that an edit was sent. Returns its number.
    pub(super) fn edit(&mut self) -> EditNumber {
        self.unsaved.push_back(None);
        self.status.saved + self.unsaved.len() as u64
    }

    /// Notes that an edit was taken in and is durable with this write.
    pub(super) fn edited(&mut self, edit: EditNumber, write: WriteId) {
        let index = edit.checked_sub(self.status.saved + 1).and_then(|index| usize::try_from(index).ok());
        if let Some(waiting) = index.and_then(|index| self.unsaved.get_mut(index)) {
            *waiting = Some(write);
        }
        self.written(self.written);
    }

    /// Notes that everything up to this write is on the disk.
    pub(super) fn written(&mut self, write: WriteId) {
        self.written = self.written.max(write);
        while self.unsaved.front().is_some_and(|write| write.is_some_and(|write| write <= self.written)) {
            self.unsaved.pop_front();
            self.status.saved += 1;
        }
    }

    /// Notes that the store will never accept this write. This is called before the write is reported as carried out.
    pub(super) fn lost(&mut self, write: WriteId) {
        self.status.lost += self.unsaved.iter().filter(|waiting| **waiting == Some(write)).count() as u64;
    }

    /// The number of edits that are not on the disk, or come after one that is not.
    pub(super) fn unsaved(&self) -> usize {
        self.unsaved.len()
    }

    // About the deployment:

    /// Notes the replica's present numbers.
    pub(super) fn has(&mut self, unsent: usize, documents: usize) {
        self.status.unsent = unsent;
        self.documents = documents as u64;
    }

    pub(super) fn connecting(&mut self, attempt: u32, reason: Option<Reason>) {
        self.status.connection = Connection::Connecting { attempt, reason };
    }

    pub(super) fn connected(&mut self) {
        self.caught_up.clear();
        self.status.connection = self.progress();
    }

    pub(super) fn disconnected(&mut self, reason: Reason) {
        self.status.connection = Connection::Offline { reason: Some(reason) };
    }

    /// Notes that the transport is about to begin.
    pub(super) fn starting(&mut self) {
        self.status.connection = Connection::Offline { reason: None };
    }

    /// Notes that a collection's log is taken in and reported completely, or that it cannot be read.
    pub(super) fn caught_up(&mut self, collection: CollectionIndex) {
        self.caught_up.insert(collection);
    }

    /// Notes that a collection is read anew.
    pub(super) fn behind(&mut self, collection: CollectionIndex) {
        self.caught_up.remove(&collection);
        self.advance();
    }

    pub(super) fn counted(&mut self, collection: CollectionIndex, documents: u64) {
        self.counts.insert(collection, documents);
        self.advance();
    }

    /// Updates the progress of catching up, if connected.
    pub(super) fn advance(&mut self) {
        if matches!(self.status.connection, Connection::CatchingUp { .. } | Connection::Live) {
            self.status.connection = self.progress();
        }
    }

    fn progress(&self) -> Connection {
        if self.caught_up.len() == self.collections {
            return Connection::Live;
        }
        let total: Option<u64> = (self.counts.len() == self.collections).then(|| self.counts.values().sum());
        // There may be more documents here: those made offline are not sent yet.
        let received = total.map_or(self.documents, |total| total.min(self.documents));
        Connection::CatchingUp { received, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: CollectionIndex = CollectionIndex(0);
    const SECOND: CollectionIndex = CollectionIndex(1);

    #[test]
    fn an_edit_is_saved_with_its_write_and_those_before_it() {
        let mut tracker = StatusTracker::new(1);
        let edits = [(); 3].map(|()| tracker.edit());
        tracker.edited(edits[0], 3);
        tracker.edited(edits[1], 5);
        tracker.edited(edits[2], 0);
        tracker.written(4);
        assert_eq!((tracker.status.saved, tracker.unsaved()), (1, 2));
        tracker.written(5);
        assert_eq!((tracker.status.saved, tracker.unsaved()), (3, 0));
        let last = tracker.edit();
        tracker.edited(last, 0);
        assert_eq!(tracker.status.saved, 4);
    }

    #[test]
    fn an_edit_that_waits_for_its_document_does_not_count_as_saved_when_a_later_one_is() {
        let mut tracker = StatusTracker::new(1);
        let (waits, later) = (tracker.edit(), tracker.edit());
        tracker.edited(later, 1);
        tracker.written(1);
        assert_eq!((tracker.status.saved, tracker.unsaved()), (0, 2));
        tracker.edited(waits, 2);
        assert_eq!((tracker.status.saved, tracker.unsaved()), (0, 2));
        tracker.written(2);
        assert_eq!((tracker.status.saved, tracker.unsaved()), (2, 0));
    }

    #[test]
    fn the_connection_is_live_when_every_collection_has_caught_up() {
        let mut tracker = StatusTracker::new(2);
        tracker.has(0, 7);
        tracker.connected();
        tracker.counted(FIRST, 10);
        assert_eq!(tracker.status.connection, Connection::CatchingUp { received: 7, total: None });
        tracker.counted(SECOND, 5);
        assert_eq!(tracker.status.connection, Connection::CatchingUp { received: 7, total: Some(15) });
        tracker.has(0, 700);
        tracker.advance();
        assert_eq!(tracker.status.connection, Connection::CatchingUp { received: 15, total: Some(15) });
        tracker.caught_up(FIRST);
        tracker.caught_up(SECOND);
        tracker.advance();
        assert_eq!(tracker.status.connection, Connection::Live);
        tracker.behind(SECOND);
        assert!(matches!(tracker.status.connection, Connection::CatchingUp { .. }));
    }

    #[test]
    fn an_unchanged_status_is_not_reported_again() {
        let mut tracker = StatusTracker::new(1);
        assert!(tracker.news().is_some());
        assert!(tracker.news().is_none());
        tracker.opened();
        assert!(tracker.news().is_some_and(|status| status.store_open));
    }
}
