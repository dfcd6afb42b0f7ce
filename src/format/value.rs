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
    /// What a type has written, and how concurrent edits of it merge. [`to_value`](super::to_value) makes these; a
    /// document holds the value inside. It equals the value inside.
    As(Merge, Box<Value>),
}

/// How concurrent edits of a value merge, where its form alone does not say. Lists and maps of a document look alike,
/// whatever type they were written from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// A map of entries that come and go. Other maps are structs, whose fields stay.
    Entries,
    /// A struct that leaves out fields: other apps may write more of it.
    Partial,
    /// An item of a [`KeyedList`](super::KeyedList).
    Item,
    /// A list of fixed length: an array or a tuple. Its items are set in place.
    Fixed,
    /// A register: it is replaced as one, and one of two concurrent values wins.
    Whole,
    /// A variant of an enum, which is switched as one.
    Variant {
        /// Its name.
        name: String,
        /// Whether edits within the variant merge, because it holds texts, lists, maps or counters. Otherwise it is a
        /// register.
        merges: bool,
    },
    /// A map that holds a tag, and whose other fields may not all belong to the variant: a document, or a struct with a
    /// flattened enum.
    Tagged {
        /// The field that holds the tag.
        tag: String,
        /// The variant's name.
        name: String,
        /// The fields that were written after the tag: the variant's, and maybe others.
        content: Vec<String>,
    },
}

impl Value {
    /// The field `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// The value, without how it merges.
    pub fn plain(&self) -> &Value {
        match self {
            Value::As(_, value) => value.plain(),
            value => value,
        }
    }

    /// The value, without how any part of it merges: as a document holds it.
    pub fn into_plain(self) -> Value {
        match self {
            Value::As(_, value) => value.into_plain(),
            Value::List(items) => Value::List(items.into_iter().map(Value::into_plain).collect()),
            Value::Map(fields) => {
                Value::Map(fields.into_iter().map(|(key, value)| (key, value.into_plain())).collect())
            }
            value => value,
        }
    }

    /// How concurrent edits of it merge, where that is known.
    pub fn merge(&self) -> Option<&Merge> {
        match self {
            Value::As(merge, _) => Some(merge),
            _ => None,
        }
    }

    /// The fields, if this is a map.
    pub fn into_map(self) -> Result<BTreeMap<String, Value>, Value> {
        match self {
            Value::As(_, value) => value.into_map(),
            Value::Map(fields) => Ok(fields),
            other => Err(other),
        }
    }

    /// The items, if this is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self.plain() {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The fields, if this is a map.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self.plain() {
            Value::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// The letters, if this is a string of either kind.
    pub fn as_str(&self) -> Option<&str> {
        match self.plain() {
            Value::Text(text) | Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this document is a tombstone: its root field `deleted` is true.
    pub fn is_deleted(&self) -> bool {
        matches!(self.get(super::DELETED).map(Value::plain), Some(Value::Bool(true)))
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
            Value::As(_, value) => value.to_convex(),
        }
    }

    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Value::Int(number) | Value::Timestamp(number) | Value::Counter(number) => {
                Some(Number::Whole(i128::from(*number)))
            }
            Value::Uint(number) => Some(Number::Whole(i128::from(*number))),
            Value::Float(number) => Some(Number::of_float(*number)),
            Value::As(_, value) => value.as_number(),
            _ => None,
        }
    }

    /// Whether both are equal, also in which numbers are whole and which are floats.
    pub(super) fn is_same(&self, other: &Value) -> bool {
        match (self.plain(), other.plain()) {
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b)),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((key, a), (other, b))| key == other && a.is_same(b))
            }
            (a, b) => a == b && !a.is_other_number(b),
        }
    }

    /// Whether two numbers that count the same are told apart by some types: a whole number and a float, or the two
    /// zeros of floats.
    pub(super) fn is_other_number(&self, other: &Value) -> bool {
        match (self.plain(), other.plain()) {
            (Value::Float(a), Value::Float(b)) => {
                *a == 0.0 && *b == 0.0 && a.is_sign_negative() != b.is_sign_negative()
            }
            (a, b) => {
                let is_float = |value: &Value| matches!(value, Value::Float(_));
                a.as_number().is_some() && b.as_number().is_some() && is_float(a) != is_float(b)
            }
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
        match (self.plain(), other.plain()) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a) | Value::Scalar(a), Value::Text(b) | Value::Scalar(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            (this, other) => match (this.as_number(), other.as_number()) {
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
