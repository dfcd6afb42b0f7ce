//! Refuses values that their type can read back, but that could not be kept when they are merged with concurrent edits.

use super::{FormatError, Value};
use crate::limits::COUNTER;

/// Refuses an edit from `view` to `value` if a changed part cannot be kept. Unchanged parts are not checked, because
/// other apps may have written them.
///
/// # Errors
///
/// If a counter is out of range. The error contains its place.
pub(crate) fn check(view: &Value, value: &Value) -> Result<(), FormatError> {
    match (view.plain(), value.plain()) {
        (view, value) if view == value => Ok(()),
        (Value::Map(seen), Value::Map(fields)) => fields.iter().try_for_each(|(key, value)| {
            check(seen.get(key).unwrap_or(&Value::Null), value).map_err(|error| error.in_field(key))
        }),
        (Value::List(seen), Value::List(items)) => items.iter().enumerate().try_for_each(|(index, value)| {
            check(seen.get(index).unwrap_or(&Value::Null), value).map_err(|error| error.in_item(index))
        }),
        (_, Value::Map(fields)) => {
            fields.iter().try_for_each(|(key, value)| check(&Value::Null, value).map_err(|error| error.in_field(key)))
        }
        (_, Value::List(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| check(&Value::Null, value).map_err(|error| error.in_item(index))),
        (_, Value::Counter(count)) if count.unsigned_abs() > COUNTER => {
            Err(FormatError::new(format_args!("a counter ranges from -{COUNTER} to {COUNTER}, and {count} is outside")))
        }
        _ => Ok(()),
    }
}
