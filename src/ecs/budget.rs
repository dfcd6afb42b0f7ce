//! The time that apply may take, and the time that a version waits.

use std::time::Duration;

use bevy::prelude::*;

/// A version without the newest local edit waits at least this long for a newer version.
const TIME_TO_WAIT: Duration = Duration::from_millis(100);

/// The time that apply may take in a frame, and the time that a version waits for a newer one.
#[derive(Resource, Clone, Copy)]
pub(crate) struct ApplyBudget {
    pub frame: Duration,
    pub wait: Duration,
}

impl ApplyBudget {
    /// A budget of `frame` for each frame.
    pub(crate) fn of(frame: Duration) -> Self {
        Self { frame, wait: TIME_TO_WAIT }
    }

    /// How long a version waits for one with the newest local edits, if the worker makes such edits only after
    /// `interval`. Where versions wait for no time, nothing depends on the clock.
    pub(super) fn wait_for(&self, interval: Duration) -> Duration {
        if self.wait.is_zero() { Duration::ZERO } else { self.wait.saturating_add(interval) }
    }
}
