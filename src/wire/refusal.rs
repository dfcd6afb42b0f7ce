//! Refusals: as the data of a `ConvexError`, and as results of documents.

use std::collections::BTreeMap;

use convex::Value;

use super::value;
use crate::record::Refusal;

/// The data of the `ConvexError` that a refused call fails with.
pub(crate) fn error_data(refusal: &Refusal) -> Value {
    let mut data = fields(refusal);
    data.extend(refusal.document.as_deref().map(|document| ("document".to_owned(), Value::from(document))));
    Value::Object(data)
}

/// The fields that error data and a result of `pushChanges` share.
pub(super) fn fields(refusal: &Refusal) -> BTreeMap<String, Value> {
    let mut fields =
        value::fields([("code", refusal.code.as_str().into()), ("message", refusal.message.as_str().into())]);
    fields.extend(refusal.limit.map(|limit| ("limit".to_owned(), Value::Float64(limit as f64))));
    fields
}

/// The refusal in the data of a `ConvexError`. `None` if the data has no code; then it is not a refusal of the wire.
///
/// `message` is the error's own text. It is used because an app's function may throw a code alone.
pub(super) fn decode(data: &Value, message: &str) -> Option<Refusal> {
    let Value::Object(data) = data else { return None };
    let Some(Value::String(code)) = data.get("code") else { return None };
    let message = match data.get("message") {
        Some(Value::String(message)) => message,
        _ => message,
    };
    Some(Refusal::new(code.as_str(), message))
}
