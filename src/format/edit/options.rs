//! Options and results of an edit that depend on the app's types.

use std::collections::{BTreeMap, BTreeSet};

use super::Edited;
use crate::format::{FormatError, Value};

/// What an app's types require of an edit beyond what the values contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options<'a> {
    /// How to remove a text, list, map, counter or struct that a struct no longer writes.
    pub left_out: LeftOut<'a>,
    /// Whether the document does not fit the app's types, so that `view` is only the value that the entity shows. Parts
    /// that the document holds in another form are then not written.
    pub misfit: bool,
    /// Other names under which versions of the app write fields.
    pub aliases: &'a Aliases,
}

/// How an edit removes the fields that a struct no longer writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LeftOut<'a> {
    /// The fields are deleted.
    Removed,
    /// Containers are emptied and stay, so that concurrent additions to them survive. The parts in `except` are
    /// deleted, because the type that wrote the edit distinguishes an empty part from a missing one.
    Emptied { except: &'a BTreeSet<FieldPath> },
}

/// The names of the fields on the way to a part of a document, without the indices of list items.
pub(crate) type FieldPath = Vec<String>;

/// Pairs of the name that a type writes for a field and another name that it reads (`#[serde(alias = "..")]`).
pub(crate) type Aliases = BTreeSet<(String, String)>;

static NO_ALIASES: Aliases = Aliases::new();

impl Default for Options<'_> {
    fn default() -> Self {
        Self { left_out: LeftOut::Removed, misfit: false, aliases: &NO_ALIASES }
    }
}

/// The result of an edit.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub edited: Edited,
    /// Parts that were emptied instead of deleted.
    pub emptied: BTreeMap<FieldPath, Emptied>,
    /// Parts that were not written, because the document holds them in another form.
    pub refused: Vec<FormatError>,
}

/// What an emptied part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// A text, list, map of entries or counter.
    Container,
    /// A struct, whose scalar fields were deleted and whose containers were emptied.
    Struct,
}

impl Outcome {
    /// The emptied parts that have to be deleted instead, because the type reads the document as `read` and not as the
    /// value that was put. These are the parts that the type still shows; if there are none, all structs; if there are
    /// none, all parts.
    pub(crate) fn not_left_out(&self, read: &Value) -> Vec<FieldPath> {
        let choose = |choice: &dyn Fn(&FieldPath, Emptied) -> bool| -> Vec<FieldPath> {
            self.emptied.iter().filter(|(path, kind)| choice(path, **kind)).map(|(path, _)| path.clone()).collect()
        };
        let shown = choose(&|path, _| holds(read, path));
        let structs = if shown.is_empty() { choose(&|_, kind| kind == Emptied::Struct) } else { shown };
        if structs.is_empty() { choose(&|_, _| true) } else { structs }
    }
}

/// Whether a value has the field at `path` in at least one item of each list on the path.
fn holds(value: &Value, path: &[String]) -> bool {
    match (value.plain(), path) {
        (_, []) => true,
        (Value::List(items), path) => items.iter().any(|item| holds(item, path)),
        (value, [name, rest @ ..]) => value.get(name).is_some_and(|field| holds(field, rest)),
    }
}
