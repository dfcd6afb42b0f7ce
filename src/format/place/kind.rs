//! Containers that several apps may add to.

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

    /// The container that several apps may add to, which a value is written as. A register is none, and neither is a
    /// struct of scalars.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match (value.merge(), value.plain()) {
            (Some(Merge::Whole | Merge::Variant { .. } | Merge::Fixed), _) => None,
            (_, Value::Text(_)) => Some(Kind::Text),
            (_, Value::List(_)) => Some(Kind::List),
            (_, Value::Counter(_)) => Some(Kind::Counter),
            (_, Value::Map(_)) if adds(value) => Some(Kind::Map),
            _ => None,
        }
    }

    /// The container with which what an app shows by default is made before it is changed.
    pub(super) fn of_shown(seen: Option<&Value>, value: &Value) -> Option<Self> {
        match (value.merge(), seen.and_then(Value::as_list), value.as_list()) {
            (Some(Merge::Fixed), Some(seen), Some(items)) if seen.len() == items.len() => Some(Kind::List),
            (Some(Merge::Fixed), ..) if adds(value) => Some(Kind::List),
            _ => Kind::of(value),
        }
    }
}

/// Whether a value holds something that several people can add to.
pub(super) fn adds(value: &Value) -> bool {
    match (value.merge(), value.plain()) {
        (Some(Merge::Whole), _) => false,
        (Some(Merge::Variant { merges, .. }), _) => *merges,
        (Some(Merge::Entries | Merge::Partial), _) => true,
        (Some(Merge::Fixed), Value::List(items)) => items.iter().any(adds),
        (_, Value::Text(_) | Value::List(_) | Value::Counter(_)) => true,
        (_, Value::Map(fields)) => fields.values().any(adds),
        _ => false,
    }
}

/// The containers in a tuple or an array, empty and in their places: what two apps that make it at once have in common. All else in it is null until it
/// is set.
pub(super) fn emptied(value: &Value) -> Value {
    match (value.merge(), value.plain()) {
        _ if !adds(value) => Value::Null,
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
