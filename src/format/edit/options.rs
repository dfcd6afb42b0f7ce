//! Options and results of an edit that depend on the app's types.

use std::collections::{BTreeMap, BTreeSet};

use super::Edited;
use crate::format::{FormatError, Merge, Value};

/// The requirements of an app's types for an edit, beyond the values.
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

/// The form of an emptied part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// A text, list, map of entries or counter, or another field of a struct that was emptied.
    Field,
    /// A struct.
    Struct,
}

/// The number of fields of emptied structs that are tried on their own. Each trial takes an edit and a read of the
/// whole document.
const MAX_TRIALS: usize = 8;

/// Which parts of an edit are deleted where the type distinguishes an empty part from a missing one: found by trying.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// The parts that the next attempt deletes.
    pub except: BTreeSet<FieldPath>,
    /// Parts that have to be deleted.
    certain: BTreeSet<FieldPath>,
    /// Fields of emptied structs that are still to try, each on its own.
    fields: Option<Vec<FieldPath>>,
}

impl Trials {
    /// Chooses the parts that the next attempt deletes, because after the last one the type reads the document as
    /// `read` and not as the value that was put. Each attempt deletes other parts than all before it, and the last one
    /// deletes all.
    pub(crate) fn next(&mut self, outcome: &Outcome, read: &Value) {
        let structs: Vec<&FieldPath> =
            outcome.emptied.iter().filter(|(_, kind)| **kind == Emptied::Struct).map(|(path, _)| path).collect();
        let is_inside =
            |path: &FieldPath| structs.iter().any(|outer| path.len() > outer.len() && path.starts_with(outer));
        let emptied = outcome.emptied.iter().filter(|(_, kind)| **kind == Emptied::Field).map(|(path, _)| path);
        let (inside, outside): (Vec<&FieldPath>, Vec<&FieldPath>) = emptied.partition(|path| is_inside(path));
        // The type shows an empty part that it should leave out.
        let shown: Vec<FieldPath> = outside.into_iter().filter(|path| holds(read, path)).cloned().collect();
        if !shown.is_empty() {
            self.certain.extend(shown);
            self.except = self.certain.clone();
            return;
        }
        // A struct is left out as a whole, so which of its fields keeps the type from doing so is not seen.
        let fields = self.fields.get_or_insert_with(|| inside.into_iter().take(MAX_TRIALS).cloned().collect());
        if let Some(field) = fields.pop() {
            self.except = self.certain.clone();
            self.except.insert(field);
            return;
        }
        let all = if structs.is_empty() {
            outcome.emptied.keys().cloned().collect()
        } else {
            structs.into_iter().cloned().collect::<Vec<_>>()
        };
        self.certain.extend(all);
        self.except = self.certain.clone();
    }
}

/// The value of a field in a struct that was emptied. `None` if the value does not tell: variants have no empty one.
pub(super) fn empty_value(seen: &Value) -> Option<Value> {
    let noted = |merge: &Merge, value| Value::As(merge.clone(), Box::new(value));
    let each = |items: &[Value]| items.iter().map(empty_value).collect::<Option<Vec<_>>>().map(Value::List);
    Some(match seen {
        Value::Null => Value::Null,
        Value::Bool(_) => Value::Bool(false),
        Value::Int(_) | Value::Uint(_) => Value::Int(0),
        Value::Float(_) => Value::Float(0.0),
        Value::Text(_) => Value::Text(String::new()),
        Value::Scalar(_) => Value::Scalar(String::new()),
        Value::Bytes(_) => Value::Bytes(Vec::new()),
        Value::Timestamp(_) => Value::Timestamp(0),
        Value::Counter(_) => Value::Counter(0),
        Value::List(_) => Value::List(Vec::new()),
        Value::As(Merge::Entries, _) => noted(&Merge::Entries, Value::Map(BTreeMap::new())),
        // Arrays, tuples and vectors keep their length.
        Value::As(merge @ (Merge::Fixed | Merge::Whole), value) => match value.plain() {
            Value::List(items) => noted(merge, each(items)?),
            value => noted(merge, empty_value(value)?),
        },
        Value::Map(_) | Value::As(..) => return None,
    })
}

/// Whether a value has the field at `path` in at least one item of each list on the path.
fn holds(value: &Value, path: &[String]) -> bool {
    match (value.plain(), path) {
        (_, []) => true,
        (Value::List(items), path) => items.iter().any(|item| holds(item, path)),
        (value, [name, rest @ ..]) => value.get(name).is_some_and(|field| holds(field, rest)),
    }
}
