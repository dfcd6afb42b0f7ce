use std::collections::BTreeMap;

use crate::limits::SAFE_INTEGER;

/// Milliseconds before and after 1970 that a JavaScript `Date` can be at.
const DATE_MILLISECONDS: u64 = 8_640_000_000_000_000;

/// What a document, or a part of it, holds: the types of Automerge, without their history.
///
/// Two values are equal if a document would show the same: numbers of every kind compare by what they count (`Int(3)`,
/// `Float(3.0)` and `Counter(3)` are equal, and NaN equals NaN, so that it is not an endless edit), and a text equals a
/// scalar string of the same letters.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number over [`i64::MAX`].
    Uint(u64),
    /// A number.
    Float(f64),
    /// A string that merges letter by letter.
    Text(String),
    /// A string that is replaced whole.
    Scalar(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// A number that sums concurrent increments.
    Counter(i64),
    /// A list.
    List(Vec<Value>),
    /// A map, or a struct.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// The field `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// The fields, if this is a map.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Value::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// The letters, if this is a string of either kind.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this document is a tombstone: its root field `deleted` is true.
    pub fn is_deleted(&self) -> bool {
        matches!(self.get(super::DELETED), Some(Value::Bool(true)))
    }

    /// As a plain Convex value: strings of both kinds are strings, numbers and counters float64, timestamps float64
    /// milliseconds.
    ///
    /// An integer beyond 2^53 - 1, which a float64 would round, is a string of its decimal digits: it is most often an
    /// id, and the JSON form of Protocol Buffers and the APIs of the web write 64-bit ids so. A timestamp that no
    /// JavaScript `Date` has is NaN.
    pub fn to_convex(&self) -> convex::Value {
        match self {
            Value::Null => convex::Value::Null,
            Value::Bool(yes) => convex::Value::Boolean(*yes),
            Value::Int(number) | Value::Counter(number) => plain_integer(i128::from(*number)),
            Value::Uint(number) => plain_integer(i128::from(*number)),
            Value::Timestamp(number) if number.unsigned_abs() > DATE_MILLISECONDS => convex::Value::Float64(f64::NAN),
            Value::Timestamp(number) => convex::Value::Float64(*number as f64),
            Value::Float(number) => convex::Value::Float64(*number),
            Value::Text(text) | Value::Scalar(text) => convex::Value::String(text.clone()),
            Value::Bytes(bytes) => convex::Value::Bytes(bytes.clone()),
            Value::List(items) => convex::Value::Array(items.iter().map(Value::to_convex).collect()),
            Value::Map(fields) => {
                convex::Value::Object(fields.iter().map(|(key, value)| (key.clone(), value.to_convex())).collect())
            }
        }
    }

    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Value::Int(number) | Value::Timestamp(number) | Value::Counter(number) => {
                Some(Number::Whole(i128::from(*number)))
            }
            Value::Uint(number) => Some(Number::Whole(i128::from(*number))),
            Value::Float(number) => Some(Number::of_float(*number)),
            _ => None,
        }
    }

    /// What a number counts, if it is whole and fits.
    pub(super) fn as_whole(&self) -> Option<i64> {
        match self.as_number()? {
            Number::Whole(number) => i64::try_from(number).ok(),
            Number::Other(_) => None,
        }
    }
}

/// An integer as a plain Convex value: a float64, or a string of its digits where that would round it.
pub(crate) fn plain_integer(number: i128) -> convex::Value {
    match (-SAFE_INTEGER..=SAFE_INTEGER).contains(&number) {
        true => convex::Value::Float64(number as f64),
        false => convex::Value::String(number.to_string()),
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a) | Value::Scalar(a), Value::Text(b) | Value::Scalar(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            _ => match (self.as_number(), other.as_number()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }
}

// Equality is reflexive: NaN equals NaN.
impl Eq for Value {}

/// A number by what it counts, whatever it was written as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i128),
    /// A fraction, a number beyond every integer type, an infinity or NaN.
    Other(f64),
}

impl Number {
    pub(super) fn of_float(number: f64) -> Self {
        // 2^64: whole floats below convert to i128 without loss, and no integer of a document is above.
        const BEYOND: f64 = 18_446_744_073_709_551_616.0;
        if number.trunc() == number && number.abs() <= BEYOND {
            Number::Whole(number as i128)
        } else {
            Number::Other(number)
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => a == b,
            (Number::Other(a), Number::Other(b)) => a == b || (a.is_nan() && b.is_nan()),
            _ => false,
        }
    }
}
