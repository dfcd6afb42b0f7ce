//! Whether the world shows what the deployment had.
//!
//! The worker tells that all versions were reported. They are in the world only when the queue of
//! [`apply`](super::apply) has come to the place where it was told, and when those of them that waited for a newer
//! version are applied as well.

use bevy::{
    ecs::{system::SystemParam, world::DeferredWorld},
    prelude::*,
};
use std::{any::TypeId, marker::PhantomData};

use super::{
    collections::Collections,
    component::Replicated,
    index::{DocumentIndex, Slot},
};
use crate::{CollectionIndex, message::SyncStatus, status::Connection};

/// What is true as soon as all versions reported before it are in the world.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    /// All that the deployment had of a collection is shown.
    Read(CollectionIndex),
    /// All that it had, of all collections that it gives us.
    Live,
}

impl Arrived {
    /// Whether it speaks of the documents of this collection.
    pub(super) fn is_of(self, collection: CollectionIndex) -> bool {
        match self {
            Arrived::Read(read) => read == collection,
            Arrived::Live => true,
        }
    }

    /// It is true now.
    pub(super) fn tell(self, world: &mut World) {
        match self {
            Arrived::Live => world.resource_mut::<SyncStatus>().connection = Connection::Live,
            Arrived::Read(collection) => {
                let all = world.resource::<Collections>().len();
                let is_all = world.resource_mut::<DocumentIndex>().set_read(collection, true) == all;
                world.resource_mut::<SyncStatus>().deployment_read = is_all;
                if let Some(registered) = world.resource::<Collections>().get(collection) {
                    let form = registered.form.clone();
                    form.deployment_read(&mut DeferredWorld::from(&mut *world));
                }
            }
        }
    }
}

/// News that came to its turn while versions before it waited for newer ones, and those.
#[derive(Default)]
pub(super) struct Held(Vec<(Arrived, Vec<Slot>)>);

impl Held {
    /// Tells `arrived` when these versions are applied: now, if there are none.
    pub(super) fn tell_after(&mut self, world: &mut World, arrived: Arrived, slots: Vec<Slot>) {
        if slots.is_empty() {
            arrived.tell(world);
        } else {
            self.0.push((arrived, slots));
        }
    }

    /// Tells what no version waits for any more.
    pub(super) fn tell_due(&mut self, world: &mut World) {
        let mut due = Vec::new();
        let index = world.resource::<DocumentIndex>();
        self.0.retain_mut(|(arrived, slots)| {
            slots.retain(|slot| index.entry(*slot).waits());
            if slots.is_empty() {
                due.push(*arrived);
            }
            !slots.is_empty()
        });
        due.into_iter().for_each(|arrived| arrived.tell(world));
    }

    pub(super) fn has(&self, arrived: Arrived) -> bool {
        self.0.iter().any(|(held, _)| *held == arrived)
    }

    /// It is no longer so.
    pub(super) fn forget(&mut self, arrived: Arrived) {
        self.0.retain(|(held, _)| *held != arrived);
    }
}

/// How much of the documents with a `T` is in the world: a system parameter that reads no component.
///
/// As run conditions: [`collection_ready`] and [`deployment_read`].
#[derive(SystemParam)]
pub struct Arrival<'w, T: Replicated> {
    index: Option<Res<'w, DocumentIndex>>,
    collections: Option<Res<'w, Collections>>,
    of: PhantomData<fn() -> T>,
}

impl<T: Replicated> Arrival<'_, T> {
    /// Whether everything the store has of `T`'s collection is in the world.
    pub fn is_ready(&self) -> bool {
        self.all(DocumentIndex::is_ready)
    }

    /// Whether everything that the deployment had of `T`'s collection when the connection was made is in the world, see
    /// [`deployment_read`].
    pub fn is_read(&self) -> bool {
        self.all(DocumentIndex::is_read)
    }

    /// Whether something is so of all collections that `T` is in, and there is one.
    fn all(&self, is_so: impl Fn(&DocumentIndex, CollectionIndex) -> bool) -> bool {
        let (Some(index), Some(collections)) = (&self.index, &self.collections) else { return false };
        let memberships = collections.memberships(TypeId::of::<T>());
        !memberships.is_empty() && memberships.iter().all(|membership| is_so(index, membership.collection))
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
/// made. This is the time to make what is missing, such as default settings.
///
/// It is false while there is no connection, and after a connection was lost until the collection has caught up again.
/// It stays false for a collection that the deployment does not let this app read. An app without a deployment has
/// nothing to read there: it is true as soon as the store was read, so that an app can rely on it with and without a
/// deployment. A document that does not fit its component counts as shown, and so does one that this world hides.
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

/// A run condition: [`SyncStatus::is_live`](crate::message::SyncStatus::is_live).
pub fn sync_live(status: Option<Res<SyncStatus>>) -> bool {
    status.is_some_and(|status| status.is_live())
}
