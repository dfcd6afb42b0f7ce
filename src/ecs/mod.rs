//! The world's side: capture (world to edits), apply (deltas to world), and which entity shows which document.
//!
//! # A frame
//!
//! ```text
//! PreUpdate  Apply    reports of the worker come in, and versions of documents that wait are moved into the world, within a time
//!                     budget. A document that was edited meanwhile is captured first, and waits for the version that includes the edit.
//! ..                  your systems
//! Last       Capture  components that changed since the last capture are cloned and sent to the worker
//! ```
//!
//! What would not live until then (a component that is removed, an entity that is despawned or that stops being a document)
//! is captured by an observer or a hook when it goes. Nothing is serialised on the main thread.

use bevy::{ecs::change_detection::Tick, prelude::*};

mod apply;
mod capture;
mod collections;
mod component;
mod conversion;
pub(crate) mod document;
pub(crate) mod hierarchy;
pub(crate) mod identity;
mod index;
mod link;
mod reference;
mod tuple;

pub(crate) use apply::{ApplyBudget, apply};
#[cfg(feature = "backend")]
pub(crate) use capture::report;
pub(crate) use capture::{capture, check_ticks, close_on_exit};
pub(crate) use collections::Collections;
pub(crate) use component::LocalParts;
pub use component::Replicated;
pub(crate) use conversion::Conversions;
pub use conversion::Convert;
pub use hierarchy::DocumentParent;
pub use index::DocumentIndex;
pub use link::{Link, Port};
pub use reference::{DocumentRef, Documents};
pub use tuple::DocumentComponents;
pub(crate) use tuple::{Typed, sealed::Tuple};

/// Where replication happens in a frame. Order your own systems around these.
#[derive(SystemSet, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReplicateSystems {
    /// In [`PreUpdate`]: changes from the store and from others come into the world, and messages are written.
    Apply,
    /// In [`Last`]: this frame's changes are sent to be saved and synchronised.
    Capture,
}

/// Moves the world's tick on: what is written from now on is newer than what was written so far. Gives the last tick before.
pub(crate) fn advance(world: &World) -> Tick {
    world.as_unsafe_world_cell_readonly().increment_change_tick()
}
