//! Options and results of an edit that depend on the app's types.

use std::collections::BTreeSet;

use super::Edited;
use crate::format::FormatError;

/// The requirements of an app's types for an edit, beyond the values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    /// How to remove a text, list, map, counter or struct that a struct no longer writes.
    pub left_out: LeftOut<'a>,
    /// Whether the document does not fit the app's types, so that `view` is only the value that the entity shows. Parts
    /// that the document holds in another form are then not written.
    pub misfit: bool,
    /// Whether a struct that the app did not show is written as a new one, even if the document has it.
    pub fresh: bool,
    /// Other names under which versions of the app write fields.
    pub aliases: &'a Aliases,
}

/// How an edit removes the fields that a struct no longer writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LeftOut<'a> {
    /// The fields are deleted.
    Removed,
    /// Containers, and structs with everything in them, are emptied and stay, so that concurrent edits inside them
    /// survive. The parts in `except` are deleted, because the type that wrote the edit distinguishes an empty part
    /// from a missing one.
    Emptied { except: &'a BTreeSet<FieldPath> },
}

/// The names of the fields on the way to a part of a document, without the indices of list items.
pub(crate) type FieldPath = Vec<String>;

/// Pairs of the name that a type writes for a field and another name that it reads (`#[serde(alias = "..")]`).
pub(crate) type Aliases = BTreeSet<(String, String)>;

static NO_ALIASES: Aliases = Aliases::new();

impl Default for Options<'_> {
    fn default() -> Self {
        Self { left_out: LeftOut::Removed, misfit: false, fresh: false, aliases: &NO_ALIASES }
    }
}

/// The result of an edit.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub edited: Edited,
    /// Whether parts were emptied instead of deleted.
    pub emptied: bool,
    /// Whether a struct was filled that the document has and the app did not show.
    pub filled: bool,
    /// Parts that were not written, because the document holds them in another form.
    pub refused: Vec<FormatError>,
}
