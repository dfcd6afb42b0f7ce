use std::collections::BTreeMap;

use crate::limits::SAFE_INTEGER;

/// The largest number of milliseconds before or after 1970 that a JavaScript `Date` can represent.
const DATE_MILLISECONDS: u64 = 8_640_000_000_000_000;

/// The content of a document or of a part of it: the types of Automerge, without their history.
///
/// Two values are equal if a document shows them alike. Numbers of every kind compare by their numeric value:
/// `Int(3)`, `Float(3.0)` and `Counter(3)` are equal. NaN equals NaN, because it would otherwise be a new edit each
/// time. A text equals a scalar string of the same letters.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "internals"), non_exhaustive)]
pub enum Value {
    /// Null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number greater than [`i64::MAX`].
    Uint(u64),
    /// A floating-point number.
    Float(f64),
    /// A string that merges letter by letter.
    Text(String),
    /// A string that is replaced as a whole.
    Scalar(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// A number whose concurrent increments add up.
    Counter(i64),
    /// A list.
    List(Vec<Value>),
    /// A map or a struct.
    Map(BTreeMap<String, Value>),
    /// A value that a type has written, and how concurrent edits of it merge. [`to_value`](super::to_value) makes
    /// these; a document holds only the inner value. It equals the inner value.
    As(Merge, Box<Value>),
}

/// How concurrent edits of a value merge, where the value alone does not show it. In a document, all lists look alike
/// and all maps look alike, whatever type wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "internals"), non_exhaustive)]
pub enum Merge {
    /// A map of entries, which can be added and removed. Other maps are structs, whose fields are fixed.
    Entries,
    /// A struct that omits some fields. Other apps may write more of them.
    Partial,
    /// An item of a [`KeyedList`](super::KeyedList).
    Item,
    /// A list of fixed length: an array or a tuple. Its items are set at their index.
    Fixed,
    /// A register: it is replaced as a whole, and one of two concurrent values wins.
    Whole,
    /// A variant of an enum. A switch to another variant replaces the whole value.
    Variant {
        /// The name of the variant.
        name: String,
        /// Whether edits inside the variant merge, because it contains texts, lists, maps or counters. Otherwise it is
        /// a register.
        merges: bool,
    },
    /// A map with a tag whose other fields do not all belong to the variant: a document, or a struct with a flattened
    /// enum.
    Tagged {
        /// The field that holds the tag.
        tag: String,
        /// The name of the variant.
        name: String,
        /// The fields that were written after the tag: those of the variant, and possibly others.
        content: Vec<String>,
    },
}

impl Value {
    /// The field `key`, if this is a map that has this field.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// The value without the note of how it merges.
    pub fn plain(&self) -> &Value {
        match self {
            Value::As(_, value) => value.plain(),
            value => value,
        }
    }

    /// The value without the notes of how any part of it merges, as a document holds it.
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

    /// How concurrent edits of the value merge, if the value notes it.
    pub fn merge(&self) -> Option<&Merge> {
        match self {
            Value::As(merge, _) => Some(merge),
            _ => None,
        }
    }

    /// The fields, if this is a map; otherwise the value itself.
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

    /// The text, if this is a string of either kind.
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

    /// The value as a plain Convex value: strings of both kinds become strings, numbers and counters become float64,
    /// timestamps become float64 milliseconds.
    ///
    /// An integer beyond 2^53 - 1, which a float64 would round, becomes a string of its decimal digits. Such an
    /// integer is usually an id, and the JSON form of Protocol Buffers and many web APIs write 64-bit ids in this way.
    /// A timestamp that no JavaScript `Date` can represent becomes NaN.
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

    /// Whether both are equal and whole numbers are distinguished from floats.
    pub(crate) fn is_same(&self, other: &Value) -> bool {
        match (self.plain(), other.plain()) {
            (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b)),
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((key, a), (other, b))| key == other && a.is_same(b))
            }
            (a, b) => a == b && !a.is_other_number(b),
        }
    }

    /// Whether two equal numbers are distinguished by some types: a whole number and a float, or 0.0 and -0.0.
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

    /// The numeric value of a number, if it is whole and fits.
    pub(super) fn as_whole(&self) -> Option<i64> {
        match self.as_number()? {
            Number::Whole(number) => i64::try_from(number).ok(),
            Number::Other(_) => None,
        }
    }
}

/// An integer as a plain Convex value: a float64, or a string of its digits if a float64 would round it.
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

/// The numeric value of a number, independent of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i128),
    /// A fraction, a number outside the range of all integer types, an infinity or NaN.
    Other(f64),
}

impl Number {
    pub(super) fn of_float(number: f64) -> Self {
        // 2^64. Smaller whole floats convert to i128 without loss, and no integer of a document is larger.
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
