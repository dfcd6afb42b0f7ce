//! The client without Bevy: the front door for other engines and for tools.
//!
//! A [`Worker`] owns a thread that saves documents on this machine, merges the edits of others and synchronises with a
//! deployment. A front end sends it [`Command`]s and takes its [`Report`]s. Neither call blocks, so both can be made in
//! every frame. Bevy's plugin is such a front end.
//!
//! - [`WorkerConfig`] has the store's file, the deployment and the collections. [`default_path`] is where the plugin
//!   keeps that file.
//! - A [`Codec`] says how the front end's types read a document; an [`Encode`] turns one of its values into a document.
//!   [`from_document`] and [`to_value`] do that for types with serde's traits, and [`shape`] says which fields such a
//!   type has.
//! - [`Command::Edit`] names the document and the generation of the version that the front end shows, so that an edit
//!   never reverts a remote change that is not shown yet. [`Report::Delta`] has a version to show and its generation.
//! - [`Command::Applied`] says which generations are shown, so that the worker can forget older ones.
//!
//! # Example
//!
//! ```
//! use bevy_convex_replicate::{
//!     CollectionIndex, DocumentId, DocumentKey, FormatError, Value,
//!     client::{
//!         Codec, CollectionConfig, Command, Decoded, Edit, EditKind, Encode, Report, Schema, View, Worker,
//!         WorkerConfig, from_document, to_value,
//!     },
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Clone)]
//! struct Note {
//!     text: String,
//! }
//!
//! /// Reads a document as a `Note`, and returns the part of it that a `Note` has.
//! struct Notes;
//!
//! impl Schema for Notes {
//!     fn view(&self, document: &Value, _components: u32) -> View {
//!         match from_document::<Note>(document).and_then(|note| to_value(&note)) {
//!             Ok(value) => View { value, misfits: 0 },
//!             Err(_) => View { value: Value::Map(Default::default()), misfits: 1 },
//!         }
//!     }
//! }
//!
//! impl Codec for Notes {
//!     fn decode(&self, document: &Value) -> Decoded {
//!         match from_document::<Note>(document) {
//!             Ok(note) => Decoded { content: Box::new(Some(note)), problems: Vec::new(), misfits: 0 },
//!             Err(problem) => Decoded { content: Box::new(None::<Note>), problems: vec![problem], misfits: 1 },
//!         }
//!     }
//! }
//!
//! impl Encode for Note {
//!     fn encode(&self) -> Result<(Value, u32), FormatError> {
//!         // The first and only component type of this collection.
//!         Ok((to_value(self)?, 1))
//!     }
//! }
//!
//! # let folder = tempfile::tempdir()?;
//! # let store = folder.path().join("notes.sqlite3");
//! let config = WorkerConfig::new(store).collection(CollectionConfig::new("notes", Notes));
//! let worker = Worker::start(config);
//!
//! // A new document: the front end showed no version of it, which is generation 0. This is its first edit.
//! let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::random() };
//! let note: Box<dyn Encode> = Box::new(Note { text: "Buy milk".into() });
//! worker.send(Command::Edit(Edit { document, generation: 0, seq: 1, kind: EditKind::put(note) }));
//!
//! // A front end does this once in each frame.
//! loop {
//!     match worker.try_recv() {
//!         Some(Report::Status(status)) if status.saved == 1 => break,
//!         Some(Report::Delta { document, content: Some(note), .. }) => {
//!             if let Ok(Some(note)) = note.downcast::<Option<Note>>().map(|note| *note) {
//!                 println!("{}: {}", document.id, note.text);
//!             }
//!         }
//!         Some(Report::Failed(failure) | Report::Stopped(failure)) => return Err(failure.into()),
//!         _ => std::thread::yield_now(),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The order of the collections in [`WorkerConfig`] gives each its [`CollectionIndex`](crate::CollectionIndex).
//! Dropping the worker waits until every edit that was sent is on the disk.

pub use crate::{
    format::{Shape, from_document, from_value, shape, to_value},
    record::{Edit, EditKind, EditSeq, Generation, Kept, Put, RefusedWrite, Schema, View},
    status::Status,
    store::{Owner, StoreError, default_path, user_path},
    transport::{AuthToken, Token},
    worker::{Codec, CollectionConfig, Command, Decoded, Encode, MisfitParts, Report, Waker, Worker, WorkerConfig},
};
