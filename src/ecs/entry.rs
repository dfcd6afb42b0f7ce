//! The state of one document in the world.

use bevy::prelude::*;

use super::{compared::Compared, pending::Pending};
use crate::{
    DocumentKey,
    record::{EditSeq, Generation},
};

/// A place in [`DocumentIndex`](super::index::DocumentIndex). It is never reused: a document that is gone is remembered
/// as deleted or hidden.
pub(crate) type Slot = u32;

/// The state of a document in the world.
pub(crate) struct Entry {
    pub key: DocumentKey,
    pub presence: Presence,
    /// The generation that is shown, or was passed over on purpose.
    pub generation: Generation,
    /// The number of its edits that were sent.
    pub captures: EditSeq,
    /// The entity that showed it when the app hid it. If that entity gets the identity back, its value is an edit.
    pub former: Option<Entity>,
    /// Components that the document has, as far as this world knows: bit `i` for the collection's `i`th.
    pub has: u32,
    /// A version that waits to be applied.
    pub pending: Option<Pending>,
    /// The worker's findings about the edits that were sent.
    pub compared: Compared,
}

/// Whether and how a document is in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// No entity shows it. Its next version makes one.
    Absent,
    /// The app took it out of this world: no version brings it back until it is shown again.
    Hidden,
    /// The document is deleted, here or elsewhere.
    Deleted,
    /// The app has taken a deletion back, and the version without the deletion has not come yet.
    Restoring,
    /// An entity shows it.
    Shown(Shown),
}

/// An entity that shows a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub entity: Entity,
    pub state: State,
    /// Components that the app removed from the entity: bit `i` for the collection's `i`th. Versions do not bring them
    /// back.
    pub withheld: u32,
}

/// How the entity's value relates to the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The app made the entity, and nothing of it was captured yet.
    New {
        /// The document was deleted before. Capturing the entity takes the deletion back.
        was_deleted: bool,
    },
    /// The app made the entity for a hidden document. The stored version, which is on its way, will replace the value.
    Default,
    /// The entity shows a version of the document, or an edit of it.
    Current,
}

impl Entry {
    pub(super) fn new(key: DocumentKey) -> Self {
        Self {
            key,
            presence: Presence::Absent,
            generation: 0,
            captures: 0,
            former: None,
            has: 0,
            pending: None,
            compared: Compared::default(),
        }
    }

    /// The entity that shows it.
    pub(crate) fn entity(&self) -> Option<Entity> {
        self.shown().map(|shown| shown.entity)
    }

    fn shown(&self) -> Option<&Shown> {
        match &self.presence {
            Presence::Shown(shown) => Some(shown),
            _ => None,
        }
    }

    /// The entity that shows it, to be changed.
    pub(super) fn shown_mut(&mut self) -> Option<&mut Shown> {
        match &mut self.presence {
            Presence::Shown(shown) => Some(shown),
            _ => None,
        }
    }

    /// Whether there is or was a document of this name.
    pub(super) fn is_known(&self) -> bool {
        self.entity().is_some() || self.generation > 0 || self.captures > 0 || self.pending.is_some()
    }

    /// Whether the newest version known here is a deletion.
    pub(crate) fn is_deleted(&self) -> bool {
        match &self.presence {
            Presence::Deleted | Presence::Restoring => true,
            Presence::Shown(shown) => shown.state == State::New { was_deleted: true },
            Presence::Absent | Presence::Hidden => false,
        }
    }

    /// Whether its entity was made by the app and never captured.
    pub(super) fn is_new(&self) -> bool {
        self.shown().is_some_and(|shown| matches!(shown.state, State::New { .. }))
    }

    /// Whether its entity holds a default that the stored version will replace.
    pub(super) fn is_default(&self) -> bool {
        self.shown().is_some_and(|shown| shown.state == State::Default)
    }

    /// Whether a version waits for one that includes the newest edits.
    pub(super) fn waits(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::waits)
    }
}
