//! Presence in the world: [`Presence`] is what this app shows, and each other peer is an entity.

use std::{any::Any, collections::BTreeMap, marker::PhantomData, sync::Arc};

use bevy::{
    platform::{cell::SyncCell, collections::HashMap},
    prelude::*,
};

use super::{Replicated, collections::Collections, link::Link};
use crate::{
    CollectionIndex,
    format::FormatError,
    limits::PRESENCE_RATE,
    record::{PeerId, UserId},
    worker::{Command, EncodePresence, PeerChange, PeerNews, PresenceCodec, Present},
};

/// What this app shows to others while it is connected: a cursor, a selection, a name, a player's position. It is not
/// stored, and has no history.
///
/// [`replicate_presence`](crate::plugin::ReplicateAppExt::replicate_presence) registers it for a collection. Every other
/// app that shows something there is an entity with its `T`, its [`PeerId`], and a [`PeerUser`] if the backend has
/// verified who it is. The entity's `T` changes in place, and the entity goes when the other app leaves: at once when it
/// ends, and within seconds when its connection is lost.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// #[derive(Component, Serialize, Deserialize, Clone)]
/// struct Card { title: String }
///
/// #[derive(Component, Serialize, Deserialize, Clone)]
/// struct Cursor { name: String, at: Vec2 }
/// # #[derive(Serialize, Deserialize, Clone)] struct Vec2 { x: f32, y: f32 }
///
/// fn show(mut presence: ResMut<Presence<Cursor>>) {
///     presence.set(Cursor { name: "Ada".into(), at: Vec2 { x: 3.0, y: 4.0 } });
/// }
///
/// fn draw(others: Query<(&Cursor, &PeerId)>) {
///     for (cursor, peer) in &others {
///         println!("{} ({peer}) is at {}, {}", cursor.name, cursor.at.x, cursor.at.y);
///     }
/// }
///
/// # let mut app = App::new();
/// app.replicate::<Card>("cards").replicate_presence::<Cursor>("cards").add_systems(Update, (show, draw));
/// ```
///
/// The value may be set in every frame. The worker sends the newest one, up to 30 times a second on the embedded
/// backend and as often as the functions allow on Convex (4 times a second unless configured), and skips the others. It
/// is at most 4 KiB as JSON.
#[derive(Resource)]
pub struct Presence<T: Replicated> {
    value: Option<T>,
    scope: Option<String>,
    rate: f64,
    /// The worker has not been told of this.
    is_new: bool,
}

impl<T: Replicated> Default for Presence<T> {
    fn default() -> Self {
        // The others are seen even if this app shows nothing.
        Self { value: None, scope: None, rate: PRESENCE_RATE, is_new: true }
    }
}

impl<T: Replicated> Presence<T> {
    /// Shows this value from now on.
    pub fn set(&mut self, value: T) {
        self.value = Some(value);
        self.is_new = true;
    }

    /// Shows nothing. This app still sees the others.
    pub fn clear(&mut self) {
        self.is_new |= self.value.take().is_some();
    }

    /// The value that this app shows.
    pub fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Enters a scope, or with `None` the place without a scope, in which everyone is before. Apps see each other only
    /// in the same one, and only if the backend's rule lets them read that scope of the collection. The entities of the
    /// others go, and those in the new scope come.
    pub fn enter(&mut self, scope: Option<&str>) {
        if self.scope.as_deref() != scope {
            self.scope = scope.map(str::to_owned);
            self.is_new = true;
        }
    }

    /// The scope that this app is in.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Sends at most this many values a second: from 1 to 30, which is the default. Fewer cost less.
    pub fn set_rate(&mut self, hz: f64) {
        // Not a number is no wish.
        let hz = if hz.is_nan() { PRESENCE_RATE } else { hz };
        self.is_new |= self.rate != hz;
        self.rate = hz;
    }
}

/// The user of a peer, whom the backend has verified. It is on entities beside [`PeerId`]. A peer without it is
/// somebody without a name: whatever name its value has is its own claim.
#[derive(Component, Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerUser(pub UserId);

/// The entities of the other peers of a `T`.
#[derive(Resource)]
struct Peers<T>(HashMap<PeerId, Entity>, PhantomData<fn() -> T>);

impl<T> Default for Peers<T> {
    fn default() -> Self {
        Self(HashMap::default(), PhantomData)
    }
}

/// The presence type of a collection, without its type.
#[derive(Clone, Copy)]
struct Form {
    codec: fn() -> Arc<dyn PresenceCodec>,
    apply: fn(&mut World, PeerNews),
    name: &'static str,
}

/// The presence types of collections, by the collections' names.
#[derive(Resource, Default)]
struct Forms(BTreeMap<String, Form>);

/// Reads a `T`.
struct Json<T>(PhantomData<fn() -> T>);

impl<T: Replicated> PresenceCodec for Json<T> {
    fn decode(&self, json: &str) -> Result<Box<dyn Any + Send>, FormatError> {
        serde_json::from_str::<T>(json).map(|value| Box::new(value) as Box<dyn Any + Send>).map_err(problem)
    }
}

/// A `T` on its way to the worker. The worker's thread needs no more than `Send`.
struct Taken<T>(SyncCell<T>);

impl<T: Replicated> EncodePresence for Taken<T> {
    fn encode(&self) -> Result<String, FormatError> {
        serde_json::to_string(self.0.read()).map_err(problem)
    }
}

fn problem(error: serde_json::Error) -> FormatError {
    FormatError::new(error)
}

/// Registers the presence of a collection. The error says what to do.
pub(crate) fn register<T: Replicated>(app: &mut App, collection: &str) -> Result<(), String> {
    let form = Form { codec: || Arc::new(Json::<T>(PhantomData)), apply: apply::<T>, name: std::any::type_name::<T>() };
    if app.world().contains_resource::<Presence<T>>() {
        return Err(format!(
            "{} is the presence of another collection; make a type of its own for this one",
            form.name
        ));
    }
    let mut forms = app.world_mut().get_resource_or_init::<Forms>();
    if let Some(other) = forms.0.insert(collection.to_owned(), form) {
        return Err(format!("{} is its presence already; put both into one type", other.name));
    }
    let name: Arc<str> = collection.into();
    app.init_resource::<Presence<T>>().init_resource::<Peers<T>>();
    app.add_systems(
        Last,
        (move |world: &mut World, told: Local<Told>| show::<T>(world, &name, told))
            .before(super::capture)
            .in_set(super::ReplicateSystems::Capture),
    );
    Ok(())
}

/// The codecs of the registered presence types. Panics if one is for a collection that is not registered.
pub(crate) fn codecs(world: &World) -> BTreeMap<CollectionIndex, Arc<dyn PresenceCodec>> {
    let Some(forms) = world.get_resource::<Forms>() else { return BTreeMap::new() };
    let collections = world.resource::<Collections>();
    let codec = |(name, form): (&String, &Form)| match collections.index_of(name) {
        Some(collection) => (collection, (form.codec)()),
        None => panic!(
            "the presence {} is for the collection \"{name}\", which is not registered; call replicate with that name",
            form.name
        ),
    };
    forms.0.iter().map(codec).collect()
}

/// The number of the link that was told last. Another link has another worker, which knows nothing.
#[derive(Default)]
struct Told(Option<u64>);

/// Tells the worker what this app shows, if that has changed.
fn show<T: Replicated>(world: &mut World, collection: &str, mut told: Local<Told>) {
    let Some(number) = world.get_resource::<Link>().map(Link::number) else { return };
    let is_told = told.0.replace(number) == Some(number);
    if !is_told {
        // The last worker reports no more of its peers.
        for (_, entity) in std::mem::take(&mut world.resource_mut::<Peers<T>>().0) {
            if let Ok(entity) = world.get_entity_mut(entity) {
                entity.despawn();
            }
        }
    }
    let Some(index) = world.resource::<Collections>().index_of(collection) else { return };
    let presence = world.resource::<Presence<T>>();
    if is_told && !presence.is_new {
        return;
    }
    let value = presence.value.clone();
    let present = Present {
        collection: index,
        scope: presence.scope.clone(),
        value: value.map(|value| Box::new(Taken(SyncCell::new(value))) as Box<dyn EncodePresence>),
        rate: presence.rate,
    };
    world.resource_mut::<Presence<T>>().bypass_change_detection().is_new = false;
    world.resource_mut::<Link>().send(Command::Present(present));
}

/// Takes in what the worker reports of peers.
pub(super) fn take_in(world: &mut World, news: PeerNews) {
    let name = world.resource::<Collections>().get(news.collection).map(|registered| registered.name.clone());
    let form = name.and_then(|name| world.get_resource::<Forms>()?.0.get(&name).copied());
    if let Some(form) = form {
        (form.apply)(world, news);
    }
}

fn apply<T: Replicated>(world: &mut World, news: PeerNews) {
    for (peer, change) in news.take() {
        let shown = world.resource::<Peers<T>>().0.get(&peer).copied();
        // The app may have despawned the entity.
        let shown = shown.filter(|entity| world.get_entity(*entity).is_ok());
        match change {
            PeerChange::Gone => {
                world.resource_mut::<Peers<T>>().0.remove(&peer);
                if let Some(entity) = shown {
                    world.despawn(entity);
                }
            }
            PeerChange::Shown { user, value } => {
                let Ok(value) = value.downcast::<T>() else { continue };
                match shown {
                    Some(entity) => change_in_place(world, entity, *value, user),
                    None => {
                        // All at once: an observer of any part may despawn the entity.
                        let entity = match user {
                            Some(user) => world.spawn((*value, peer.clone(), PeerUser(user))).id(),
                            None => world.spawn((*value, peer.clone())).id(),
                        };
                        world.resource_mut::<Peers<T>>().0.insert(peer, entity);
                    }
                }
            }
        }
    }
}

fn change_in_place<T: Replicated>(world: &mut World, entity: Entity, value: T, user: Option<UserId>) {
    // An observer may despawn the entity at each step.
    if let Ok(mut peer) = world.get_entity_mut(entity) {
        match peer.get_mut::<T>() {
            Some(mut shown) => *shown = value,
            None => drop(peer.insert(value)),
        }
    }
    let Ok(mut peer) = world.get_entity_mut(entity) else { return };
    if peer.get::<PeerUser>().map(|user| &user.0) != user.as_ref() {
        match user {
            Some(user) => peer.insert(PeerUser(user)),
            None => peer.remove::<PeerUser>(),
        };
    }
}
