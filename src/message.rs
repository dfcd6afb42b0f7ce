//! What an app reads: which documents changed, when a collection is complete, what went wrong and how the connection is.

use std::{fmt, marker::PhantomData, time::SystemTime};

use bevy::{ecs::component::Component, prelude::*};

use crate::{
    CollectionIndex, DocumentId,
    failure::Failure,
    format::FormatError,
    record::Origin,
    status::{Connection, Reason, Status},
};

/// A document's `T` changed in this world.
///
/// Changes from elsewhere are told when they are applied, in
/// [`ReplicateSystems::Apply`](crate::ecs::ReplicateSystems::Apply). A component that this app inserts is told when it
/// is captured, in [`ReplicateSystems::Capture`](crate::ecs::ReplicateSystems::Capture) at the end of the frame, so
/// that systems of the next frame read it. An edit of this app is told when the worker has compared it with what the
/// entity had shown, in one of the next frames: a component that was touched and not changed is not told.
#[derive(Message)]
pub struct DocumentChanged<T: Component> {
    /// Its collection: where `T` is in several,
    /// [`Documents::collection_of`](crate::collection::Documents::collection_of) another component tells which it is.
    pub collection: CollectionIndex,
    /// The document.
    pub id: DocumentId,
    /// The entity that shows it; `None` when it shows it no longer. An entity may be gone by the time this is read.
    pub entity: Option<Entity>,
    /// What happened.
    pub kind: ChangeKind,
    /// Who did it.
    pub origin: Origin,
    pub(crate) of: PhantomData<fn() -> T>,
}

impl<T: Component> Clone for DocumentChanged<T> {
    fn clone(&self) -> Self {
        Self {
            collection: self.collection,
            id: self.id.clone(),
            entity: self.entity,
            kind: self.kind,
            origin: self.origin,
            of: PhantomData,
        }
    }
}

impl<T: Component> fmt::Debug for DocumentChanged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentChanged")
            .field("collection", &self.collection)
            .field("id", &self.id)
            .field("entity", &self.entity)
            .field("kind", &self.kind)
            .field("origin", &self.origin)
            .finish()
    }
}

/// What happened to a document's component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is there now and was not before.
    Inserted,
    /// It has another value.
    Updated,
    /// The document is deleted; or the component was removed from it, and `entity` goes on showing the document.
    Removed,
}

/// Is on an entity whose document does not fit its components, for instance because a newer version of the app has
/// changed their types.
///
/// The components that do not fit stay as they were; the others go on. Edits write what differs from what the entity
/// shows, and leave alone what the document holds in another form. The flag goes when a version arrives that fits, from
/// here or elsewhere, or when the app starts with types that do.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What does not fit, with the place.
    pub problems: Vec<FormatError>,
    /// Since when it has been so in this run.
    pub since: SystemTime,
}

/// Everything the store has of `T`'s collection is in the world. Comes once, also when the store is empty. What others
/// have made is not in it yet: [`DeploymentRead`] tells of that.
#[derive(Message)]
pub struct CollectionReady<T: Component> {
    pub(crate) of: PhantomData<fn() -> T>,
}

impl<T: Component> Clone for CollectionReady<T> {
    fn clone(&self) -> Self {
        Self { of: PhantomData }
    }
}

impl<T: Component> fmt::Debug for CollectionReady<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectionReady")
    }
}

/// Everything that the deployment had of `T`'s collection when the connection was made is in the world: the time to
/// make what is missing. Comes again after each reconnect, when the collection has caught up. As a run condition, and
/// for when it does not come: [`deployment_read`](crate::ecs::deployment_read).
#[derive(Message)]
pub struct DeploymentRead<T: Component> {
    pub(crate) of: PhantomData<fn() -> T>,
}

impl<T: Component> Clone for DeploymentRead<T> {
    fn clone(&self) -> Self {
        Self { of: PhantomData }
    }
}

impl<T: Component> fmt::Debug for DeploymentRead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeploymentRead")
    }
}

/// Something did not work, with what it concerns and what to do. Everything else goes on.
#[derive(Message, Clone, Debug, PartialEq, Eq, Deref)]
pub struct SyncFailed(pub Failure);

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How saving and synchronising are going. Its [`Display`](fmt::Display) is a line to show a person.
#[derive(Resource, Clone, Debug, PartialEq)]
pub struct SyncStatus {
    /// The connection.
    pub connection: Connection,
    /// Edits that are not durable on this machine yet, or come after one that is not: all but the last `unsaved` are.
    pub unsaved: u64,
    /// Edits that the store refuses for good, which [`SyncFailed`] told of: they are in this world, and sent, and not on this machine's disk.
    pub lost: u64,
    /// Documents with changes that the deployment does not have.
    pub unsent: usize,
    /// Whether the store is open. Until then edits are kept in memory.
    pub store_open: bool,
    /// Everything that the deployment had when the connection was made is in the world, of all collections:
    /// [`deployment_read`](crate::ecs::deployment_read) is true of each. A collection that the deployment does not let
    /// this app read keeps it false.
    pub deployment_read: bool,
    /// The last failure of any kind. It stays until [`SyncStatus::dismiss`].
    pub last_error: Option<Failure>,
}

impl Default for SyncStatus {
    fn default() -> Self {
        Self {
            connection: Connection::Offline { reason: None },
            unsaved: 0,
            lost: 0,
            unsent: 0,
            store_open: false,
            deployment_read: false,
            last_error: None,
        }
    }
}

impl SyncStatus {
    /// Connected, and everything that the deployment had is in the world, but for collections that it does not let this
    /// app read: see [`deployment_read`](Self::deployment_read).
    pub fn is_live(&self) -> bool {
        matches!(self.connection, Connection::Live)
    }

    /// Neither connected nor about to be.
    pub fn is_offline(&self) -> bool {
        matches!(self.connection, Connection::Offline { .. })
    }

    /// Whether everything done here is durable on this machine.
    pub fn is_saved(&self) -> bool {
        self.unsaved == 0 && self.lost == 0
    }

    /// Whether the deployment has everything done here.
    pub fn is_sent(&self) -> bool {
        self.unsent == 0
    }

    /// How far catching up is, from 0 to 1; `None` when it is not catching up or nobody knows how much there is.
    pub fn progress(&self) -> Option<f32> {
        match self.connection {
            Connection::CatchingUp { received, total: Some(total) } if total > 0 => {
                Some((received as f64 / total as f64).min(1.0) as f32)
            }
            _ => None,
        }
    }

    /// Why there is no connection, in words; `None` if there is one or none was asked for.
    pub fn reason(&self) -> Option<String> {
        match &self.connection {
            Connection::Offline { reason } | Connection::Connecting { reason, .. } => {
                reason.as_ref().map(|reason| match reason {
                    Reason::Asked => "switched off".to_string(),
                    Reason::Unreachable(why) => format!("nobody answers: {why}"),
                    Reason::Lost(why) => format!("the connection was lost: {why}"),
                    Reason::Unauthenticated(why) => format!("not signed in: {why}"),
                    Reason::BadUrl(why) => format!("not an address of a deployment: {why}"),
                    Reason::Store(why) => why.clone(),
                })
            }
            _ => None,
        }
    }

    /// Forgets the last error, once it was shown.
    pub fn dismiss(&mut self) {
        self.last_error = None;
    }

    pub(crate) fn differs(&self, status: &Status) -> bool {
        (&self.connection, self.lost, self.unsent, self.store_open)
            != (&status.connection, status.lost, status.unsent, status.store_open)
    }

    pub(crate) fn take(&mut self, status: &Status) {
        self.connection = status.connection.clone();
        self.lost = status.lost;
        self.unsent = status.unsent;
        self.store_open = status.store_open;
    }

    /// Nothing is saved or sent any more.
    pub(crate) fn stop(&mut self, why: &Failure) {
        self.connection = Connection::Offline { reason: Some(Reason::Store(why.message.clone())) };
        self.store_open = false;
        self.deployment_read = false;
    }
}

impl fmt::Display for SyncStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.connection {
            Connection::Offline { .. } => f.write_str("Offline")?,
            Connection::Connecting { attempt: 0 | 1, .. } => f.write_str("Connecting")?,
            Connection::Connecting { attempt, .. } => write!(f, "Connecting (attempt {attempt})")?,
            Connection::CatchingUp { received, total: Some(total) } => write!(f, "Catching up, {received} of {total}")?,
            Connection::CatchingUp { received, total: None } => write!(f, "Catching up, {received} received")?,
            Connection::Live => f.write_str("Live")?,
        }
        if let Some(reason) = self.reason() {
            write!(f, ", {reason}")?;
        }
        match self.unsent {
            0 => {}
            1 => f.write_str("; 1 document waits to be sent")?,
            unsent => write!(f, "; {unsent} documents wait to be sent")?,
        }
        match self.unsaved {
            0 => {}
            1 => f.write_str("; 1 edit is being saved")?,
            unsaved => write!(f, "; {unsaved} edits are being saved")?,
        }
        match self.lost {
            0 => Ok(()),
            1 => f.write_str("; 1 edit cannot be saved"),
            lost => write!(f, "; {lost} edits cannot be saved"),
        }
    }
}
