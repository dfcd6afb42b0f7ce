//! Registers: values that an edit replaces as a whole instead of editing the difference.

use std::collections::BTreeMap;

use automerge::{ObjType, ScalarValue};

use super::{Merge, Value, edit::Aliases};

/// Whether an edit replaces the value at a place as a whole instead of editing the difference.
pub(super) fn is_register(value: &Value, seen: Option<&Value>, held: &Result<ScalarValue, ObjType>) -> bool {
    match value.merge() {
        Some(Merge::Whole) => true,
        Some(Merge::Variant { name, merges }) => {
            let is_same =
                matches!(seen.and_then(Value::merge), Some(Merge::Variant { name: seen, .. }) if seen == name);
            !(is_same && *merges && matches!(held, Err(ObjType::Map)))
        }
        _ => false,
    }
}

/// Whether a document holds a kind of value that no type could have read as `seen`.
pub(super) fn is_other_form(held: &Result<ScalarValue, ObjType>, seen: &Value) -> bool {
    match (held, seen.plain()) {
        (Err(ObjType::Text), Value::Text(_) | Value::Scalar(_)) => false,
        (Err(ObjType::List), Value::List(_) | Value::Bytes(_)) => false,
        (Err(ObjType::Map | ObjType::Table), Value::Map(_)) => false,
        // A unit variant is a string; a variant with content is a map.
        (Err(ObjType::Map), Value::Scalar(_)) | (Ok(ScalarValue::Str(_)), Value::Map(_)) => false,
        (Err(_), Value::Null) => false,
        (Err(_), _) => true,
        (Ok(ScalarValue::Null), _) | (Ok(ScalarValue::Bytes(_)), Value::List(_)) => false,
        (Ok(ScalarValue::Str(_)), seen) => !matches!(seen, Value::Text(_) | Value::Scalar(_) | Value::Null),
        (Ok(_), seen) => matches!(seen, Value::Text(_) | Value::Scalar(_) | Value::List(_) | Value::Map(_)),
    }
}

/// The new value of a register. It takes the parts that the app changed from `value`, and all other parts from the
/// document, including those that the app's type does not know.
pub(super) fn carried(held: Option<&Value>, seen: Option<&Value>, value: &Value, aliases: &Aliases) -> Value {
    let (Some(held), Some(seen)) = (held, seen) else { return value.clone() };
    if seen.is_same(value) {
        return held.clone();
    }
    if let (Some(Merge::Variant { name: before, .. }), Some(Merge::Variant { name, .. })) =
        (seen.merge(), value.merge())
        && before != name
    {
        return value.clone();
    }
    match (held.plain(), seen.plain(), value.plain()) {
        (Value::Map(held), Value::Map(seen), Value::Map(value)) => {
            let is_alias = |other: &String| {
                let renamed = value.keys().filter(|key| !held.contains_key(*key));
                let removed = seen.keys().filter(|key| !value.contains_key(*key));
                renamed.chain(removed).any(|key| aliases.contains(&(key.clone(), other.clone())))
            };
            let unknown = held.iter().filter(|(key, _)| !seen.contains_key(*key) && !is_alias(key));
            let known =
                value.iter().map(|(key, value)| (key.clone(), carried(held.get(key), seen.get(key), value, aliases)));
            let mut fields: BTreeMap<_, _> = unknown.map(|(key, held)| (key.clone(), held.clone())).collect();
            fields.extend(known);
            Value::Map(fields)
        }
        (Value::List(held), Value::List(seen), Value::List(value))
            if held.len() >= seen.len() && seen.len() == value.len() =>
        {
            let known = value
                .iter()
                .enumerate()
                .map(|(index, value)| carried(held.get(index), seen.get(index), value, aliases));
            Value::List(known.chain(held[seen.len()..].iter().cloned()).collect())
        }
        _ => value.clone(),
    }
}
