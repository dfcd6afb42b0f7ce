//! Reads the content of a document without its history.

use std::collections::BTreeMap;

use automerge::{ObjId, ObjType, ROOT, ReadDoc, ScalarValue, ScalarValueRef, ValueRef};

use super::Value;
use crate::limits::NESTING;

/// The whole document as a map. A document that is isolated at a version is read at that version.
///
/// This function accepts every document. Scalars of a kind that this version of Automerge does not know are omitted
/// from maps and become `Null` in lists. Values nested deeper than [`NESTING`] levels become `Null`.
pub fn read<R: ReadDoc>(document: &R) -> Value {
    read_levels(document, NESTING)
}

/// As [`read`], with another limit of nesting.
pub(crate) fn read_levels<R: ReadDoc>(document: &R, levels: usize) -> Value {
    map(document, &ROOT, levels - 1)
}

/// All concurrently set values of a root field. The last one is the value that [`read`] shows. Two or more values are a
/// conflict.
#[cfg(feature = "internals")]
pub fn conflicts<R: ReadDoc>(document: &R, field: &str) -> Vec<Value> {
    let values = document.get_all(ROOT, field).unwrap_or_default();
    values
        .into_iter()
        .filter_map(|(value, id)| match value {
            automerge::Value::Object(kind) => Some(object(document, &id, kind, NESTING - 1)),
            automerge::Value::Scalar(value) => scalar(&value),
        })
        .collect()
}

pub(super) fn object<R: ReadDoc>(document: &R, id: &ObjId, kind: ObjType, depth: usize) -> Value {
    if kind == ObjType::Text {
        // The object exists, because the document has just returned its id.
        return Value::Text(document.text(id).unwrap_or_default());
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Value::Null;
    };
    match kind {
        ObjType::List => list(document, id, depth),
        _ => map(document, id, depth),
    }
}

fn map<R: ReadDoc>(document: &R, id: &ObjId, depth: usize) -> Value {
    let mut fields = BTreeMap::new();
    for item in document.map_range(id, ..) {
        let value = match item.value {
            ValueRef::Object(kind) => object(document, &item.id(), kind, depth),
            ValueRef::Scalar(value) => match scalar_ref(value) {
                Some(value) => value,
                None => continue,
            },
        };
        fields.insert(item.key.into_owned(), value);
    }
    Value::Map(fields)
}

fn list<R: ReadDoc>(document: &R, id: &ObjId, depth: usize) -> Value {
    let items = document.list_range(id, ..).map(|item| match item.value {
        ValueRef::Object(kind) => object(document, &item.id(), kind, depth),
        ValueRef::Scalar(value) => scalar_ref(value).unwrap_or(Value::Null),
    });
    Value::List(items.collect())
}

fn scalar_ref(value: ScalarValueRef<'_>) -> Option<Value> {
    Some(match value {
        ScalarValueRef::Bytes(bytes) => Value::Bytes(bytes.into_owned()),
        ScalarValueRef::Str(text) => Value::Scalar(text.into_owned()),
        ScalarValueRef::Int(number) => Value::Int(number),
        ScalarValueRef::Uint(number) => unsigned(number),
        ScalarValueRef::F64(number) => Value::Float(number),
        ScalarValueRef::Counter(number) => Value::Counter(number),
        ScalarValueRef::Timestamp(number) => Value::Timestamp(number),
        ScalarValueRef::Boolean(yes) => Value::Bool(yes),
        ScalarValueRef::Null => Value::Null,
        ScalarValueRef::Unknown { .. } => return None,
    })
}

pub(super) fn scalar(value: &ScalarValue) -> Option<Value> {
    Some(match value {
        ScalarValue::Bytes(bytes) => Value::Bytes(bytes.clone()),
        ScalarValue::Str(text) => Value::Scalar(text.to_string()),
        ScalarValue::Int(number) => Value::Int(*number),
        ScalarValue::Uint(number) => unsigned(*number),
        ScalarValue::F64(number) => Value::Float(*number),
        ScalarValue::Counter(counter) => Value::Counter(counter.into()),
        ScalarValue::Timestamp(number) => Value::Timestamp(*number),
        ScalarValue::Boolean(yes) => Value::Bool(*yes),
        ScalarValue::Null => Value::Null,
        ScalarValue::Unknown { .. } => return None,
    })
}

fn unsigned(number: u64) -> Value {
    i64::try_from(number).map_or(Value::Uint(number), Value::Int)
}

/// The scalar for `value`; `None` if `value` is an object.
pub(super) fn to_scalar(value: &Value) -> Option<ScalarValue> {
    Some(match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(yes) => ScalarValue::Boolean(*yes),
        Value::Int(number) => ScalarValue::Int(*number),
        Value::Uint(number) => ScalarValue::Uint(*number),
        Value::Float(number) => ScalarValue::F64(*number),
        Value::Scalar(text) => ScalarValue::Str(text.as_str().into()),
        Value::Bytes(bytes) => ScalarValue::Bytes(bytes.clone()),
        Value::Timestamp(number) => ScalarValue::Timestamp(*number),
        Value::Counter(number) => ScalarValue::counter(*number),
        Value::As(_, value) => return to_scalar(value),
        Value::Text(_) | Value::List(_) | Value::Map(_) => return None,
    })
}
