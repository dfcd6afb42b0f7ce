//! A version of a document that waits to be applied.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use bevy::platform::cell::SyncCell;

use crate::{
    record::{EditSeq, Generation, Origin},
    worker::MisfitParts,
};

/// A version without the newest local edit waits this many frames for a newer version, so that the edit does not blink.
const FRAMES_TO_WAIT: u32 = 8;

/// A version that the worker has reported and the world does not show yet.
pub(crate) struct Pending {
    pub(super) generation: Generation,
    /// The last local edit that the version includes.
    pub(super) seen: EditSeq,
    content: SyncCell<Option<Box<dyn Any + Send>>>,
    pub(super) misfit: Option<Box<MisfitParts>>,
    pub(super) origin: Origin,
    /// Since when, and for how many frames, it has waited for a newer version.
    waiting: Option<(Instant, u32)>,
    /// Whether it is in the queue of apply.
    pub(super) queued: bool,
}

impl Pending {
    /// A version as the worker reports it, to be queued. Content `None` is a deletion.
    pub(super) fn new(
        generation: Generation,
        seen: EditSeq,
        content: Option<Box<dyn Any + Send>>,
        misfit: Option<Box<MisfitParts>>,
        origin: Origin,
    ) -> Self {
        Self { generation, seen, content: SyncCell::new(content), misfit, origin, waiting: None, queued: true }
    }

    /// Takes the place of an older version that still waits, with its place in the queue and its origin.
    pub(super) fn replaces(&mut self, older: Pending) {
        self.origin = both(older.origin, self.origin);
        self.waiting = older.waiting;
        self.queued = older.queued;
    }

    /// Whether it waits for a version that includes the newest edits.
    pub(super) fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Counts a frame of waiting for a version that includes the newest edits. Returns whether it still waits: for some
    /// frames and for at least `wait`, because an app without a display runs thousands of frames while the worker
    /// works. After that the version is shown anyway, so that an app that edits a document in every frame still shows
    /// the edits of others.
    pub(super) fn wait(&mut self, wait: Duration) -> bool {
        let (since, frames) = self.waiting.get_or_insert_with(|| (Instant::now(), 0));
        *frames += 1;
        *frames <= FRAMES_TO_WAIT || since.elapsed() < wait
    }

    /// The content, which is taken once.
    pub(super) fn take_content(&mut self) -> Option<Box<dyn Any + Send>> {
        self.content.get().take()
    }
}

/// The origin of a change that consists of two.
fn both(first: Origin, second: Origin) -> Origin {
    match (first, second) {
        (Origin::Remote, _) | (_, Origin::Remote) => Origin::Remote,
        (Origin::Stored, _) | (_, Origin::Stored) => Origin::Stored,
        _ => Origin::Local,
    }
}
