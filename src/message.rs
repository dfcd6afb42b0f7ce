//! Messages, events and status for the app: documents that changed, collections that are complete, failures, and the
//! connection.

mod refused;

use std::{fmt, marker::PhantomData, time::SystemTime};

use bevy::{ecs::component::Component, prelude::*};

use crate::{
    CollectionIndex, DocumentId,
    failure::Failure,
    format::FormatError,
    record::Origin,
    status::{Connection, Reason, Status},
};

pub use refused::{Refused, RefusedDocuments, UserChanged, UserWiped};

/// A document's `T` changed in this world: a message. Observers use [`DocumentEvent`].
///
/// Changes from elsewhere are announced when they are applied, in
/// [`ReplicateSystems::Apply`](crate::ecs::ReplicateSystems::Apply). A component that this app inserts is announced
/// when it is captured, in [`ReplicateSystems::Capture`](crate::ecs::ReplicateSystems::Capture) at the end of the
/// frame, so systems of the next frame read it. An edit by this app is announced when the worker has compared it with
/// the value that the entity had shown, in one of the next frames. A component that was touched and not changed is not
/// announced.
#[derive(Message)]
#[non_exhaustive]
pub struct DocumentChanged<T: Component> {
    /// Its collection. If `T` is in several, compare it with
    /// [`Documents::collection_of`](crate::collection::Documents::collection_of) of a component that is in one alone.
    pub collection: CollectionIndex,
    /// The document.
    pub id: DocumentId,
    /// The entity that shows it; `None` if no entity shows it any more. The entity may be gone when this is read.
    pub entity: Option<Entity>,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// Where the change comes from.
    pub origin: Origin,
    of: PhantomData<fn() -> T>,
}

impl<T: Component> DocumentChanged<T> {
    /// A message, for an app's tests of systems that read it.
    ///
    /// ```
    /// # use bevy::prelude::*;
    /// # use bevy_convex_replicate::{CollectionIndex, prelude::*};
    /// # #[derive(Component, Serialize, Deserialize, Clone)]
    /// # struct Task { text: String }
    /// # let mut world = World::new();
    /// # world.init_resource::<Messages<DocumentChanged<Task>>>();
    /// let entity = world.spawn_empty().id();
    /// world.write_message(DocumentChanged::<Task>::new(
    ///     CollectionIndex(0),
    ///     "a".into(),
    ///     Some(entity),
    ///     ChangeKind::Updated,
    ///     Origin::Remote,
    /// ));
    /// ```
    pub fn new(
        collection: CollectionIndex,
        id: DocumentId,
        entity: Option<Entity>,
        kind: ChangeKind,
        origin: Origin,
    ) -> Self {
        Self { collection, id, entity, kind, origin, of: PhantomData }
    }
}

/// A document's `T` changed: the same as [`DocumentChanged`], as an event for observers, of one entity or of all.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// # #[derive(Component, Serialize, Deserialize, Clone)]
/// # struct Task { text: String }
/// # let mut app = App::new();
/// app.add_observer(|event: On<DocumentEvent<Task>>, tasks: Query<&Task>| {
///     if let Ok(task) = tasks.get(event.entity)
///         && event.change.origin == Origin::Remote
///     {
///         println!("somebody else changed {}", task.text);
///     }
/// });
/// ```
///
/// It is triggered once for each message with an entity. It is also triggered when a document is deleted, before the
/// entity is despawned, although that message names no entity. A change of a document that no entity shows triggers
/// nothing. An entity that the app despawns in the frame in which it was made is gone when observers run.
#[derive(EntityEvent)]
#[non_exhaustive]
pub struct DocumentEvent<T: Component> {
    /// The entity that shows the document.
    pub entity: Entity,
    /// The change, as in the message.
    pub change: DocumentChanged<T>,
}

impl<T: Component> DocumentEvent<T> {
    /// An event for `entity`. An app's tests of observers trigger it.
    pub fn new(entity: Entity, change: DocumentChanged<T>) -> Self {
        Self { entity, change }
    }
}

impl<T: Component> Clone for DocumentEvent<T> {
    fn clone(&self) -> Self {
        Self { entity: self.entity, change: self.change.clone() }
    }
}

impl<T: Component> fmt::Debug for DocumentEvent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentEvent").field("entity", &self.entity).field("change", &self.change).finish()
    }
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

/// The kind of a change of a document's component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The document has the component now, and did not have it before.
    Inserted,
    /// The component has another value.
    Updated,
    /// The document was deleted; or the component was removed from it, and `entity` still shows the document.
    Removed,
}

/// Marks an entity whose document does not fit its components, for instance because a newer version of the app has
/// changed their types.
///
/// The components that do not fit keep their values; the others follow the document. Edits write the difference from
/// the values that the entity shows, and do not touch fields that the document holds in another form. The mark is
/// removed when a version arrives that fits, when the app's own edit makes the document fit, or when the app starts
/// with types that fit.
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[reflect(opaque, Component, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Misfit {
    /// The fields that do not fit, with their paths.
    pub problems: Vec<FormatError>,
    /// The time since which it has not fitted in this run.
    pub since: SystemTime,
}

impl Misfit {
    /// A mark with these problems, for an app's tests.
    pub fn new(problems: Vec<FormatError>, since: SystemTime) -> Self {
        Self { problems, since }
    }
}

/// Everything the store has of `T`'s collection is in the world: a message that is written once, also if the store is
/// empty. It does not include documents that only the deployment has; [`DeploymentRead`] does.
#[derive(Message)]
pub struct CollectionReady<T: Component> {
    of: PhantomData<fn() -> T>,
}

impl<T: Component> CollectionReady<T> {
    /// A message, for an app's tests of systems that read it.
    #[expect(clippy::new_without_default, reason = "a message is no value that has a default")]
    pub fn new() -> Self {
        Self { of: PhantomData }
    }
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

/// Everything that the deployment had of `T`'s collection when the connection was made is in the world: a message. Now
/// an app can make the documents that are missing. It is written again after each reconnect, when the collection has
/// caught up. [`deployment_read`](crate::ecs::deployment_read) is the run condition, and says when this message does
/// not come.
#[derive(Message)]
pub struct DeploymentRead<T: Component> {
    of: PhantomData<fn() -> T>,
}

impl<T: Component> DeploymentRead<T> {
    /// A message, for an app's tests of systems that read it.
    #[expect(clippy::new_without_default, reason = "a message is no value that has a default")]
    pub fn new() -> Self {
        Self { of: PhantomData }
    }
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

/// Something failed: a message that says which collection and document it concerns and what to do. Everything else
/// continues.
#[derive(Message, Clone, Debug, PartialEq, Eq, Deref)]
pub struct SyncFailed(pub Failure);

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of saving and synchronising. Its [`Display`](fmt::Display) is a line for the user.
#[derive(Resource, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SyncStatus {
    /// The connection.
    pub connection: Connection,
    /// The number of newest edits that are not durable on this machine yet. All edits before them are durable.
    pub unsaved: u64,
    /// The number of edits that the store refuses permanently; [`SyncFailed`] reported each. They are in this world and
    /// sent to the deployment, but not on this machine's disk.
    pub lost: u64,
    /// The number of documents with changes that the deployment does not have.
    pub unsent: usize,
    /// Whether the store is open. Until then, edits are kept in memory.
    pub store_open: bool,
    /// Whether everything that the deployment had when the connection was made is in the world, for all collections:
    /// [`deployment_read`](crate::ecs::deployment_read) is true of each. It stays false if the deployment does not let
    /// this app read a collection.
    pub deployment_read: bool,
    /// The user whose documents are shown and who is signed in; `None` if nobody is, or the app has no users.
    pub user: Option<String>,
    /// How many documents have edits that the deployment refuses: [`RefusedDocuments`] has them. They count as unsent,
    /// too.
    pub refused: usize,
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
            user: None,
            refused: 0,
            last_error: None,
        }
    }
}

impl SyncStatus {
    /// Whether the app is connected, and everything that the deployment had is in the world. Collections that the
    /// deployment does not let this app read do not count: see [`deployment_read`](Self::deployment_read).
    pub fn is_live(&self) -> bool {
        matches!(self.connection, Connection::Live)
    }

    /// Whether the app is neither connected nor connecting.
    pub fn is_offline(&self) -> bool {
        matches!(self.connection, Connection::Offline { .. })
    }

    /// Whether all edits of this app are durable on this machine.
    pub fn is_saved(&self) -> bool {
        self.unsaved == 0 && self.lost == 0
    }

    /// Whether the deployment has all edits of this app.
    pub fn is_sent(&self) -> bool {
        self.unsent == 0
    }

    /// The progress of catching up, from 0 to 1; `None` if the app is not catching up, or the total is unknown.
    pub fn progress(&self) -> Option<f32> {
        match self.connection {
            Connection::CatchingUp { received, total: Some(total) } if total > 0 => {
                Some((received as f64 / total as f64).min(1.0) as f32)
            }
            _ => None,
        }
    }

    /// Why there is no connection, in words; `None` if there is one, or the app has no deployment.
    pub fn reason(&self) -> Option<String> {
        match &self.connection {
            Connection::Offline { reason } | Connection::Connecting { reason, .. } => {
                reason.as_ref().map(|reason| match reason {
                    Reason::Asked => "switched off".to_string(),
                    Reason::Unreachable(why) => format!("no answer: {why}"),
                    Reason::Lost(why) => format!("the connection was lost: {why}"),
                    Reason::Unauthenticated(why) => format!("not signed in: {why}"),
                    Reason::OtherUser { user, token_of } => other_user(user, token_of),
                    Reason::BadUrl(why) => format!("the deployment URL is invalid: {why}"),
                    Reason::Store(why) => why.clone(),
                })
            }
            _ => None,
        }
    }

    /// Clears the last error, after it was shown to the user.
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

    /// The worker has stopped: nothing is saved or sent any more.
    pub(crate) fn stop(&mut self, why: &Failure) {
        self.connection = Connection::Offline { reason: Some(Reason::Store(why.message.clone())) };
        self.store_open = false;
        self.deployment_read = false;
    }
}

/// A token of another user, in words.
fn other_user(user: &str, token_of: &str) -> String {
    match user {
        "" => format!("the token is {token_of}'s, and nobody is signed in"),
        user => format!("the token is {token_of}'s, and {user} is signed in"),
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
        match self.refused {
            0 => {}
            1 => f.write_str("; 1 document is refused")?,
            refused => write!(f, "; {refused} documents are refused")?,
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
