//! Local-first, collaborative collections for Bevy.
//!
//! Add [`ReplicatePlugin`](plugin::ReplicatePlugin), name your collections, and edit components as always: entities become documents that are durable at once,
//! merge without conflicts, and synchronise through Convex or the embedded backend whenever there is a network.
//!
//! # Quick start
//!
//! ```no_run
//! use bevy::prelude::*;
//! use bevy_convex_replicate::prelude::*;
//!
//! #[derive(Component, Serialize, Deserialize, Clone)]
//! struct Task {
//!     text: String,
//!     done: bool,
//! }
//!
//! App::new()
//!     .add_plugins(MinimalPlugins)
//!     // The first instance hosts the backend; others join with `.deployment("http://127.0.0.1:3210")`.
//!     .add_plugins(ReplicatePlugin::new("my-app").host("127.0.0.1:3210"))
//!     .replicate::<Task>("tasks")
//!     .add_systems(Update, (complete_all, announce))
//!     .run();
//!
//! // Editing a component is editing the document. Nothing else to call.
//! fn complete_all(mut tasks: Query<&mut Task>) {
//!     for mut task in &mut tasks {
//!         if !task.done {
//!             task.done = true;
//!         }
//!     }
//! }
//!
//! // What changed this frame, and who changed it.
//! fn announce(mut changes: MessageReader<DocumentChanged<Task>>) {
//!     for change in changes.read() {
//!         println!("{:?} {} by {:?}", change.kind, change.id, change.origin);
//!     }
//! }
//! ```
//!
//! # Documents
//!
//! A component is a document by its serde form alone. Spawn one with a name and it is one; delete it explicitly:
//!
//! ```
//! # use bevy::prelude::*;
//! # use bevy_convex_replicate::prelude::*;
//! # #[derive(Component, Serialize, Deserialize, Clone)]
//! # struct Task { text: String }
//! fn keep(mut commands: Commands, old: Query<Entity, With<Task>>) {
//!     commands.spawn((Task { text: "write it down".into() }, DocumentId::random()));
//!     for entity in &old {
//!         // Despawning would only hide it: leaving a level must not wipe it.
//!         commands.entity(entity).delete_document();
//!     }
//! }
//! ```
//!
//! [`Collection<T>`](collection::Collection) gives the calls that web users know: `insert`, `update`, `delete`, `get`. A
//! document may hold several components: [`replicate_bundle`](plugin::ReplicateAppExt::replicate_bundle).
//!
//! A [`DocumentRef<T>`](collection::DocumentRef) is a field that names another document, where an `Entity` would mean
//! something in one app alone. [`replicate_hierarchy`](plugin::ReplicateAppExt::replicate_hierarchy) keeps bevy's
//! `ChildOf` in step with the documents.
//!
//! Strings merge letter by letter. [`Counter`](format::Counter) adds up what several people count, [`Scalar`](format::Scalar) keeps a string that is
//! replaced whole, and [`Timestamp`](format::Timestamp) and [`Bytes`](format::Bytes) are what their names say. All documents can be read and written by Automerge's
//! JavaScript library.
//!
//! # What happens when
//!
//! [`ReplicateSystems`](ecs::ReplicateSystems) orders it: what arrived is applied in `PreUpdate`, within a time budget,
//! and what you changed is captured in `Last`. Neither does any disk, network or CRDT work.
//! [`DocumentChanged`](message::DocumentChanged), [`CollectionReady`](message::CollectionReady),
//! [`DeploymentRead`](message::DeploymentRead) and [`SyncFailed`](message::SyncFailed) are messages;
//! [`collection_ready`](ecs::collection_ready), [`deployment_read`](ecs::deployment_read) and
//! [`sync_live`](ecs::sync_live) are run conditions; [`SyncStatus`](message::SyncStatus) tells whether we are offline,
//! catching up or live, and what waits.
//!
//! # A map of the rooms
//!
//! | room | what is there |
//! | --- | --- |
//! | [`plugin`], [`collection`], [`message`] | what a Bevy app uses |
//! | [`ecs`] | the world's side: capture, apply, which entity is which document |
//! | [`mod@format`] | serde values as Automerge documents |
//! | [`replica`] | documents, merging, what is unsent, checkpoints; without clock, disk or socket |
//! | [`store`] | SQLite |
//! | [`transport`] | the official Convex client |
//! | [`worker`] | the thread that drives them; the front door without Bevy |
//! | [`backend`] | the embedded Convex-compatible backend |
//!
//! With `default-features = false` there is no Bevy in the build.
#![forbid(unsafe_code)]

#[cfg(feature = "backend")]
pub mod backend;
mod chunk;
#[cfg(feature = "bevy")]
pub mod collection;
#[cfg(feature = "bevy")]
pub mod ecs;
mod failure;
pub mod format;
mod id;
pub mod limits;
#[cfg(feature = "bevy")]
pub mod message;
#[cfg(feature = "bevy")]
pub mod plugin;
mod record;
pub mod replica;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod sqlite;
mod status;
pub mod store;
pub mod transport;
pub mod worker;

pub use id::{CollectionIndex, DocumentId, DocumentKey};

/// What an app imports: `use bevy_convex_replicate::prelude::*;`.
pub mod prelude {
    #[cfg(all(feature = "bevy", feature = "backend"))]
    pub use crate::plugin::EmbeddedBackend;
    pub use crate::{
        DocumentId,
        format::{Bytes, Counter, ItemKey, KeyedList, Scalar, Timestamp, Whole},
    };
    #[cfg(feature = "bevy")]
    pub use crate::{
        collection::{
            Collection, DocumentCommandsExt, DocumentEntityCommandsExt, DocumentParent, DocumentRef, Documents,
            SyncControl,
        },
        ecs::{DocumentIndex, ReplicateSystems, collection_ready, deployment_read, sync_live},
        message::{ChangeKind, CollectionReady, DeploymentRead, DocumentChanged, Misfit, SyncFailed, SyncStatus},
        plugin::{ReplicateAppExt, ReplicatePlugin},
        replica::Origin,
        worker::{Connection, FailureKind},
    };
    #[doc(no_inline)]
    pub use serde::{Deserialize, Serialize};
}

/// The README's guide compiles.
#[cfg(all(doctest, feature = "bevy", feature = "backend"))]
#[doc = include_str!("../README.md")]
struct Readme;
