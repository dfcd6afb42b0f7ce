//! What an edit may not write, though its type reads it back: what could not be kept when it is merged with what others
//! write.

use super::{FormatError, Value};
use crate::limits::COUNTER;

/// Refuses what an edit from `view` to `value` would change to something that cannot be kept. What it leaves as it was
/// is not looked at: others may have written it.
///
/// # Errors
///
/// If it counts too far, with the place.
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
            Err(FormatError::new(format_args!("a counter counts from -{COUNTER} to {COUNTER}, and {count} is beyond")))
        }
        _ => Ok(()),
    }
}
