//! Failures that the world reports to the app.

use bevy::prelude::*;

use super::link::Link;
use crate::{
    DocumentId,
    failure::{Failure, FailureKind},
    message::{SyncFailed, SyncStatus},
};

/// Failures that wait to be reported. Hooks and commands add to it, and apply and capture report them.
#[derive(Resource, Default)]
pub(crate) struct Failures(Vec<Failure>);

impl Failures {
    /// Adds a failure.
    pub(crate) fn add(
        &mut self,
        kind: FailureKind,
        collection: Option<&str>,
        document: Option<&DocumentId>,
        message: impl Into<String>,
    ) {
        self.push(Failure {
            kind,
            collection: collection.map(str::to_string),
            document: document.cloned(),
            message: message.into(),
        });
    }

    /// Adds a failure.
    pub(crate) fn push(&mut self, failure: Failure) {
        self.0.push(failure);
    }
}

/// Reports the failures that wait.
pub(super) fn report_all(world: &mut World) {
    let failures = &world.resource::<Failures>().0;
    if failures.is_empty() {
        return;
    }
    let failures = std::mem::take(&mut world.resource_mut::<Failures>().0);
    for failure in failures {
        report(world, failure);
    }
    // The app reads the messages in its next frame.
    if let Some(mut link) = world.get_resource_mut::<Link>() {
        link.wake();
    }
}

/// Reports a failure to the app: in the log, as a message, and in the status.
pub(crate) fn report(world: &mut World, failure: Failure) {
    tracing::warn!(target: "bevy_convex_replicate::ecs", %failure);
    world.resource_mut::<SyncStatus>().last_error = Some(failure.clone());
    world.write_message(SyncFailed(failure));
}
