//! The store's thread: all writes that wait become one transaction.

mod batch;
#[cfg(test)]
mod tests;
mod work;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::mpsc::UnboundedSender;

pub(super) use work::DiskWork;

use crate::{
    CollectionIndex, DocumentId,
    failure::{Failure, FailureKind},
    replica::{Event, StoreRequest, WriteId},
    store::{Store, StoreError},
};

/// How often a store that cannot be opened or written is tried again: the other process may end, or the disk may get
/// room.
const RETRY: Duration = Duration::from_secs(1);
/// How often a store that cannot be written is tried when the app ends, before the waiting writes are given up with an
/// error.
const LAST_TRIES: u32 = 5;
/// How long writes that a backend would give again may wait for more of them: the disk need not be synchronised for
/// each change that comes in, because that delays edits.
const PATIENCE: Duration = Duration::from_millis(100);
/// After this long without a request, documents with many changes are compacted.
const IDLE: Duration = Duration::from_secs(5);
/// How often documents are compacted while requests keep coming.
pub(super) const COMPACT_EVERY: Duration = Duration::from_secs(10);
/// Documents compacted then: edits wait meanwhile.
const COMPACT_WHILE_BUSY: usize = 4;
/// Documents compacted before looking for work again.
const COMPACT_AT_ONCE: usize = 16;

/// An answer of the store's thread.
pub(super) enum DiskAnswer {
    /// The store is open; its documents follow.
    Open,
    /// All documents of a collection were reported.
    Filled(CollectionIndex),
    Event(Event),
    /// Something did not work; everything else goes on.
    Failed(Failure),
    /// The store cannot be opened or written. This is tried again until it works.
    Stuck(Failure),
    /// The store works again.
    Recovered,
    /// The store will never take this write of a document. [`Event::Written`] counts it as carried out.
    Lost {
        write: WriteId,
        collection: String,
        id: DocumentId,
    },
}

/// The failure that reports an error of the store to the app.
fn failure(error: &StoreError) -> Failure {
    let kind = if error.is_damage() { FailureKind::DamagedStore } else { FailureKind::Store };
    let (collection, document) = error.place().unzip();
    Failure {
        kind,
        collection: collection.map(str::to_owned),
        document: document.flatten().cloned(),
        message: error.message(),
    }
}

/// The thread's side.
pub(super) struct Disk {
    pub(super) path: PathBuf,
    pub(super) collections: Vec<String>,
    /// The deployment's URL, if there is one.
    pub(super) deployment: Option<String>,
    pub(super) requests: Receiver<StoreRequest>,
    pub(super) answers: UnboundedSender<DiskAnswer>,
    /// Closed when the app ends.
    pub(super) open_while: Receiver<()>,
    /// True when a damaged store must be set aside.
    pub(super) rebuild: Arc<AtomicBool>,
    /// [`COMPACT_EVERY`], or less in a test.
    pub(super) compact_every: Duration,
}

impl Disk {
    /// Runs until the requests end and all of them are carried out.
    pub(super) fn run(self) {
        let Some(store) = self.open() else { return };
        let (names, deployment) = (self.collections.clone(), self.deployment.clone());
        let mut work = DiskWork::new(store, names, deployment, self.answers.clone(), self.rebuild.clone());
        work.fill();
        let mut compacted = Instant::now();
        loop {
            // The store of an app that is never idle would grow for ever.
            if compacted.elapsed() >= self.compact_every {
                work.compact(COMPACT_WHILE_BUSY);
                compacted = Instant::now();
            }
            match self.requests.recv_timeout(if work.is_owing() { RETRY } else { IDLE }) {
                Ok(first) => work.take(first),
                Err(RecvTimeoutError::Timeout) if work.is_owing() => {}
                Err(RecvTimeoutError::Timeout) => {
                    work.compact(COMPACT_AT_ONCE);
                    work.reclaim();
                    compacted = Instant::now();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.collect(&mut work);
            self.carry_out(&mut work);
        }
    }

    /// Takes the requests that wait, and waits for more while none of them is urgent.
    fn collect(&self, work: &mut DiskWork) {
        let deadline = Instant::now() + PATIENCE;
        while work.has_room() {
            let next = match self.requests.try_recv() {
                Err(_) if work.can_wait() => self.requests.recv_deadline(deadline).ok(),
                next => next.ok(),
            };
            match next {
                Some(next) => work.take(next),
                None => return,
            }
        }
    }

    /// Carries out the requests, however long that takes: an edit is never given up while the app runs.
    fn carry_out(&self, work: &mut DiskWork) {
        let mut tries = 0;
        while !work.carry_out() {
            if let Err(RecvTimeoutError::Disconnected) = self.open_while.recv_timeout(RETRY) {
                tries += 1;
                if tries > LAST_TRIES {
                    return work.give_up();
                }
                std::thread::sleep(RETRY);
            }
        }
    }

    fn open(&self) -> Option<Store> {
        let mut told = None;
        if Store::wants_rebuild(&self.path) {
            self.set_aside();
        }
        loop {
            match Store::open(&self.path) {
                Ok(store) => {
                    if told.is_some() {
                        self.tell(DiskAnswer::Recovered);
                    }
                    return Some(store);
                }
                Err(error) if error.is_damage() && self.rebuild.swap(false, Ordering::AcqRel) => {
                    if self.set_aside() {
                        continue;
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    if told.as_ref() != Some(&message) {
                        self.tell(DiskAnswer::Stuck(failure(&error)));
                        told = Some(message);
                    }
                }
            }
            if let Err(RecvTimeoutError::Disconnected) = self.open_while.recv_timeout(RETRY) {
                return None;
            }
        }
    }

    fn set_aside(&self) -> bool {
        let done = Store::set_aside(&self.path);
        match &done {
            Ok(set_aside) => {
                tracing::warn!(target: "bevy_convex_replicate::store", %set_aside, "a damaged store was set aside");
                for lost in &set_aside.lost {
                    tracing::warn!(target: "bevy_convex_replicate::store", %lost, "not readable");
                }
                let message = set_aside.to_string();
                self.tell(DiskAnswer::Failed(Failure {
                    kind: FailureKind::SetAside,
                    collection: None,
                    document: None,
                    message,
                }));
            }
            Err(error) => self.tell(DiskAnswer::Failed(failure(error))),
        }
        done.is_ok()
    }

    fn tell(&self, answer: DiskAnswer) {
        // The worker listens until this thread has ended.
        let _ = self.answers.send(answer);
    }
}

/// Sends requests to the store's thread.
#[derive(Clone)]
pub(super) struct DiskHandle(pub(super) Sender<StoreRequest>);

impl DiskHandle {
    pub(super) fn request(&self, request: StoreRequest) {
        // The thread takes requests until this handle is dropped.
        let _ = self.0.send(request);
    }
}
