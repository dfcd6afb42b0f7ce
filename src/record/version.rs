//! Versions of a document for the world, and the values that an app's types read from a document.

use crate::{format::Value, id::DocumentKey};

/// Counts the versions of a document that the world was given: the first is 1. 0: the world has none.
pub type Generation = u64;

/// Counts the edits of a document that the world has sent: the first is 1.
pub type EditSeq = u64;

/// The types of a collection's documents in an app.
pub trait Schema: Send + Sync + 'static {
    /// The part of `document` that the app's types hold, as they would write it. An edit is compared with this view, so
    /// that keys the app does not know survive. `mask` has bit `i` set for each of the collection's component types
    /// that the edit speaks of. A part that does not fit its type is left out, and named in the view.
    fn view(&self, document: &Value, mask: u32) -> View;
}

/// The value that an app's types read from a document.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The document as they would write it.
    pub value: Value,
    /// The component types with something in the document that does not fit, bit `i` for each.
    pub misfits: u32,
}

impl From<Value> for View {
    fn from(value: Value) -> Self {
        Self { value, misfits: 0 }
    }
}

/// A version that the world shows only in part: some component types do not fit it, and the entity goes on to show the
/// values of an earlier version for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The document.
    pub document: DocumentKey,
    /// The version.
    pub generation: Generation,
    /// The version that it showed before.
    pub from: Generation,
    /// The component types that do not fit, bit `i` for each.
    pub components: u32,
}

/// The author of a change of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// This app, in this run.
    Local,
    /// Another app, through a backend.
    Remote,
    /// The document was in the store.
    Stored,
}
