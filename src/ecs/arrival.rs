//! The part of the store and of the deployment that the world shows.
//!
//! The worker reports when it has reported all versions. They are in the world when apply has worked through its queue
//! up to that report, and has also applied the versions before it that waited for newer ones.

use bevy::{
    ecs::{system::SystemParam, world::DeferredWorld},
    prelude::*,
};
use std::{any::TypeId, marker::PhantomData};

use super::{coding::Replicated, collections::Collections, entry::Slot, index::DocumentIndex};
use crate::{CollectionIndex, message::SyncStatus, status::Connection};

/// The collections that the world shows in full.
#[derive(Resource, Default)]
pub(crate) struct Progress {
    /// The collections of which every stored document was applied.
    ready: Vec<CollectionIndex>,
    /// The collections of which every document of the deployment was applied.
    read: Vec<CollectionIndex>,
}

impl Progress {
    /// Whether everything the store has of the collection was applied.
    pub(crate) fn is_ready(&self, collection: CollectionIndex) -> bool {
        self.ready.contains(&collection)
    }

    pub(super) fn set_ready(&mut self, collection: CollectionIndex) {
        if !self.is_ready(collection) {
            self.ready.push(collection);
        }
    }

    /// Whether everything the deployment had of the collection was applied.
    fn is_read(&self, collection: CollectionIndex) -> bool {
        self.read.contains(&collection)
    }

    /// Sets whether the collection was read, and returns the number of collections that were.
    pub(super) fn set_read(&mut self, collection: CollectionIndex, read: bool) -> usize {
        self.read.retain(|known| *known != collection);
        self.read.extend(read.then_some(collection));
        self.read.len()
    }

    /// No collection is read any more.
    pub(super) fn forget_read(&mut self) {
        self.read.clear();
    }
}

/// News that is true when all versions that were reported before it are in the world.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Everything the deployment had of a collection is shown.
    Read(CollectionIndex),
    /// Everything it had of all collections that this app may read is shown.
    Live,
}

impl Arrived {
    /// Whether it concerns the documents of this collection.
    pub(super) fn is_of(self, collection: CollectionIndex) -> bool {
        match self {
            Arrived::Read(read) => read == collection,
            Arrived::Live => true,
        }
    }

    /// Announces that it is true now.
    fn announce(self, world: &mut World) {
        match self {
            Arrived::Live => world.resource_mut::<SyncStatus>().connection = Connection::Live,
            Arrived::Read(collection) => {
                let all = world.resource::<Collections>().len();
                let is_all = world.resource_mut::<Progress>().set_read(collection, true) == all;
                world.resource_mut::<SyncStatus>().deployment_read = is_all;
                if let Some(registered) = world.resource::<Collections>().get(collection) {
                    let form = registered.form.clone();
                    form.deployment_read(&mut DeferredWorld::from(&mut *world));
                }
            }
        }
    }
}

/// News whose turn came while versions before it waited for newer ones, with the documents of those versions.
#[derive(Default)]
pub(super) struct Held(Vec<(Arrived, Vec<Slot>)>);

impl Held {
    /// Announces `arrived` when these documents' versions are applied, or now if there are none.
    pub(super) fn announce_after(&mut self, world: &mut World, arrived: Arrived, slots: Vec<Slot>) {
        if slots.is_empty() {
            arrived.announce(world);
        } else {
            self.0.push((arrived, slots));
        }
    }

    /// Announces the news that waits for no version any more.
    pub(super) fn announce_due(&mut self, world: &mut World) {
        let mut due = Vec::new();
        let index = world.resource::<DocumentIndex>();
        self.0.retain_mut(|(arrived, slots)| {
            slots.retain(|slot| index.entry(*slot).waits());
            if slots.is_empty() {
                due.push(*arrived);
            }
            !slots.is_empty()
        });
        due.into_iter().for_each(|arrived| arrived.announce(world));
    }

    pub(super) fn has(&self, arrived: Arrived) -> bool {
        self.0.iter().any(|(held, _)| *held == arrived)
    }

    /// `arrived` is no longer true.
    pub(super) fn forget(&mut self, arrived: Arrived) {
        self.0.retain(|(held, _)| *held != arrived);
    }
}

/// The part of the documents with a `T` that is in the world: a system parameter that reads no component.
///
/// As run conditions: [`collection_ready`] and [`deployment_read`].
#[derive(SystemParam)]
pub struct Arrival<'w, T: Replicated> {
    progress: Option<Res<'w, Progress>>,
    collections: Option<Res<'w, Collections>>,
    of: PhantomData<fn() -> T>,
}

impl<T: Replicated> Arrival<'_, T> {
    /// Whether everything the store has of `T`'s collection is in the world.
    pub fn is_ready(&self) -> bool {
        self.all(Progress::is_ready)
    }

    /// Whether everything that the deployment had of `T`'s collection when the connection was made is in the world, see
    /// [`deployment_read`].
    pub fn is_read(&self) -> bool {
        self.all(Progress::is_read)
    }

    /// Whether `T` is in a collection, and `is_so` is true of all its collections.
    fn all(&self, is_so: impl Fn(&Progress, CollectionIndex) -> bool) -> bool {
        let (Some(progress), Some(collections)) = (&self.progress, &self.collections) else { return false };
        let memberships = collections.memberships(TypeId::of::<T>());
        !memberships.is_empty() && memberships.iter().all(|membership| is_so(progress, membership.collection))
    }
}

/// A run condition: everything the store has of `T`'s collection is in the world. It stays true.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// # #[derive(Component, Serialize, Deserialize, Clone)]
/// # struct Task { text: String }
/// # fn show_the_board() {}
/// # let mut app = App::new();
/// app.add_systems(Update, show_the_board.run_if(collection_ready::<Task>));
/// ```
pub fn collection_ready<T: Replicated>(arrival: Arrival<T>) -> bool {
    arrival.is_ready()
}

/// A run condition: the world shows everything that the deployment had of `T`'s collection when the connection was
/// made. Then an app can make the documents that are missing, such as default settings.
///
/// It is false while there is no connection, and after a connection was lost until the collection has caught up again.
/// It stays false for a collection that the deployment does not let this app read. In an app without a deployment it is
/// true as soon as the store was read, so an app can rely on it with and without a deployment. A document that does not
/// fit its component counts as shown, and so does a document that this world hides.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// # #[derive(Component, Serialize, Deserialize, Clone, Default)]
/// # struct Settings { volume: f32 }
/// # let mut app = App::new();
/// app.add_systems(Update, make_settings.run_if(deployment_read::<Settings>));
///
/// fn make_settings(mut settings: Collection<Settings>) {
///     if settings.is_empty() {
///         settings.insert_with_id(DocumentId::new("settings"), Settings::default());
///     }
/// }
/// ```
pub fn deployment_read<T: Replicated>(arrival: Arrival<T>) -> bool {
    arrival.is_read()
}

/// A run condition: connected, and everything the deployment had is in the world
/// ([`SyncStatus::is_live`](crate::message::SyncStatus::is_live)).
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// # fn show_the_lobby() {}
/// # fn show_a_banner() {}
/// # let mut app = App::new();
/// app.add_systems(Update, (show_the_lobby.run_if(sync_live), show_a_banner.run_if(sync_offline)));
/// ```
pub fn sync_live(status: Option<Res<SyncStatus>>) -> bool {
    status.is_some_and(|status| status.is_live())
}

/// A run condition: neither connected nor connecting
/// ([`SyncStatus::is_offline`](crate::message::SyncStatus::is_offline)). It is false while the app tries to connect.
pub fn sync_offline(status: Option<Res<SyncStatus>>) -> bool {
    status.is_some_and(|status| status.is_offline())
}
