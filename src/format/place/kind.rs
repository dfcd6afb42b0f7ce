//! The kinds of containers, and which values are written as containers.

use crate::format::{Merge, Value};

/// The kind of a container.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Text,
    List,
    Map,
    Counter,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::List => "list",
            Kind::Map => "map",
            Kind::Counter => "counter",
        }
    }

    /// The kind of container that a value is written as. `None` for registers and for structs of scalars.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match (value.merge(), value.plain()) {
            (Some(Merge::Whole | Merge::Variant { .. } | Merge::Fixed), _) => None,
            (_, Value::Text(_)) => Some(Kind::Text),
            (_, Value::List(_)) => Some(Kind::List),
            (_, Value::Counter(_)) => Some(Kind::Counter),
            (_, Value::Map(_)) if merges(value) => Some(Kind::Map),
            _ => None,
        }
    }

    /// The kind of container for a place whose default value the app shows, and which is made before the value is
    /// changed.
    pub(super) fn of_shown(seen: Option<&Value>, value: &Value) -> Option<Self> {
        match (value.merge(), seen.and_then(Value::as_list), value.as_list()) {
            (Some(Merge::Fixed), Some(seen), Some(items)) if seen.len() == items.len() => Some(Kind::List),
            (Some(Merge::Fixed), ..) if merges(value) => Some(Kind::List),
            _ => Kind::of(value),
        }
    }
}

/// Whether concurrent edits inside a value merge: it is or contains a text, list, counter or map of entries.
pub(super) fn merges(value: &Value) -> bool {
    match (value.merge(), value.plain()) {
        (Some(Merge::Whole), _) => false,
        (Some(Merge::Variant { merges, .. }), _) => *merges,
        (Some(Merge::Entries | Merge::Partial), _) => true,
        (Some(Merge::Fixed), Value::List(items)) => items.iter().any(merges),
        (_, Value::Text(_) | Value::List(_) | Value::Counter(_)) => true,
        (_, Value::Map(fields)) => fields.values().any(merges),
        _ => false,
    }
}

/// The empty containers of a tuple or an array, each at its place. Two apps that make the tuple at the same time share
/// them. All other parts are null until they are set.
pub(super) fn emptied(value: &Value) -> Value {
    match (value.merge(), value.plain()) {
        _ if !merges(value) => Value::Null,
        (Some(Merge::Variant { .. }), _) => Value::Null,
        (Some(Merge::Fixed), Value::List(items)) => Value::List(items.iter().map(emptied).collect()),
        (Some(Merge::Entries), _) => Value::Map(Default::default()),
        (_, Value::Map(fields)) => {
            Value::Map(fields.iter().map(|(key, value)| (key.clone(), emptied(value))).collect())
        }
        (_, Value::List(_)) => Value::List(Vec::new()),
        (_, Value::Counter(_)) => Value::Counter(0),
        _ => Value::Text(String::new()),
    }
}
