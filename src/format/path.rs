//! Finds the part of a value that a [`FormatError::path`](super::FormatError::path), such as `columns[2].title`, names.

use super::Value;

/// The steps of a path. A key that contains a dot or a bracket is split into several steps, and the path then finds
/// nothing.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty())
}

/// The value at a path.
pub(super) fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path).try_fold(value.plain(), |value, step| match value {
        Value::Map(fields) => fields.get(step).map(Value::plain),
        Value::List(items) => items.get(step.parse::<usize>().ok()?).map(Value::plain),
        _ => None,
    })
}

/// The value at a path, mutable.
pub(super) fn find_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    steps(path).try_fold(value, |value, step| match value {
        Value::Map(fields) => fields.get_mut(step),
        Value::List(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })
}
