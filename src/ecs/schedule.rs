//! The system sets of replication in a frame.

use bevy::prelude::*;

/// The system sets of replication in a frame. Order your own systems relative to these sets.
#[derive(SystemSet, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplicateSystems {
    /// In [`PreUpdate`]: versions from the store and from other apps enter the world, and messages are written.
    Apply,
    /// In [`Last`]: this frame's edits are sent to the worker, which saves and synchronises them.
    Capture,
}
