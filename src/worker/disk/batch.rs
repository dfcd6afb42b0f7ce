//! Writes that become one transaction, and writes that the store will never take.

use std::collections::BTreeSet;

use tokio::sync::mpsc::UnboundedSender;

use super::{DiskAnswer, failure};
use crate::{
    DocumentId,
    record::{DocumentWrite, Write},
    replica::WriteId,
    store::{Store, StoreError},
};

/// Ends the report of an edit that the store refused for good.
const NOT_KEPT: &str = ". From now on, edits of this document are sent but not saved on this disk: see \"Edits cannot be saved\" in docs/store.md";

pub(super) struct Batch {
    answers: UnboundedSender<DiskAnswer>,
    /// In order, and their names.
    writes: Vec<Write>,
    names: Vec<WriteId>,
    /// The last write that was taken up, and the last that was reported as carried out.
    last: WriteId,
    written: WriteId,
    /// Documents with a change that the store refused for good, with their collections. Later changes depend on that
    /// change, so they are not written either.
    rejected: BTreeSet<(String, DocumentId)>,
}

impl Batch {
    pub(super) fn new(answers: UnboundedSender<DiskAnswer>) -> Self {
        Self { answers, writes: Vec::new(), names: Vec::new(), last: 0, written: 0, rejected: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn clear(&mut self) {
        self.writes.clear();
        self.names.clear();
    }

    /// Takes up a write.
    pub(super) fn take(&mut self, name: WriteId, write: Write) {
        self.last = name;
        self.add(name, write);
    }

    /// Adds a write, unless it depends on a rejected one.
    fn add(&mut self, name: WriteId, write: Write) {
        if !self.rejected.is_empty() {
            let (collection, document) = write.place();
            match document {
                Some(id) => {
                    let document = (collection.to_owned(), id.clone());
                    if let Write::Forget { .. } | Write::Discard { .. } = write {
                        self.rejected.remove(&document);
                    } else if self.rejected.contains(&document) {
                        return self.lose(name, document);
                    }
                }
                // The checkpoint stays where it is, so that the next run pulls the missing changes again.
                None if self.rejected.iter().any(|(of, _)| of == collection) => return,
                None => {}
            }
        }
        self.writes.push(write);
        self.names.push(name);
    }

    /// Commits all writes. Returns the last write's name if it was not reported before. On an error the store refuses
    /// them for now, and the rest waits.
    pub(super) fn commit(&mut self, store: &mut Store) -> Result<Option<WriteId>, StoreError> {
        // A write that the store can never take must not hold up the others. Halving the batch finds it.
        let mut size = self.writes.len();
        while !self.writes.is_empty() {
            match store.commit(&self.writes[..size]) {
                Ok(()) => {
                    self.writes.drain(..size);
                    self.names.drain(..size);
                    size = self.writes.len();
                }
                Err(StoreError::Rejected { .. }) if size > 1 => size /= 2,
                Err(error @ StoreError::Rejected { .. }) => {
                    self.reject_first(&error);
                    size = self.writes.len();
                }
                Err(error) => return Err(error),
            }
        }
        let is_news = self.written < self.last;
        self.written = self.last;
        Ok(is_news.then_some(self.last))
    }

    /// The store will never take the first of the writes.
    fn reject_first(&mut self, error: &StoreError) {
        let mut failure = failure(error);
        let names = std::mem::take(&mut self.names);
        let mut writes = names.into_iter().zip(std::mem::take(&mut self.writes));
        if let Some((name, Write::Document(DocumentWrite { collection, id, .. }))) = writes.next() {
            failure.message.push_str(NOT_KEPT);
            self.rejected.insert((collection.clone(), id.clone()));
            self.lose(name, (collection, id));
        }
        self.tell(DiskAnswer::Failed(failure));
        for (name, write) in writes {
            self.add(name, write);
        }
    }

    fn lose(&self, write: WriteId, (collection, id): (String, DocumentId)) {
        self.tell(DiskAnswer::Lost { write, collection, id });
    }

    fn tell(&self, answer: DiskAnswer) {
        // The worker listens until this thread has ended.
        let _ = self.answers.send(answer);
    }
}
