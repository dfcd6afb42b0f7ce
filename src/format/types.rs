use std::{
    fmt,
    ops::{AddAssign, Deref, DerefMut, SubAssign},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The serde names by which the serializer recognises the types of this file. No type of an app has such a name.
pub(super) const COUNTER: &str = "$bevy_convex_replicate::Counter";
pub(super) const TIMESTAMP: &str = "$bevy_convex_replicate::Timestamp";
pub(super) const SCALAR: &str = "$bevy_convex_replicate::Scalar";
pub(super) const WHOLE: &str = "$bevy_convex_replicate::Whole";
pub(super) const ITEM: &str = "$bevy_convex_replicate::Item";

/// A number whose concurrent increments add up: if two apps each add one, the result is two more.
///
/// Every edit is an increment by the difference to the value that the app had seen. In other formats it is a plain
/// number.
///
/// Its range is -2^53 to 2^53: JavaScript counts without loss in this range, and the sum of many concurrent edits
/// still fits in 64 bits. An edit to a number beyond this range is refused. `+=` and `-=` stop at the ends of `i64`.
///
/// ```
/// # use bevy_convex_replicate::Counter;
/// let mut score = Counter(3);
/// score += 2;
/// assert_eq!(score.to_string(), "5");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "bevy", derive(bevy::reflect::Reflect))]
#[serde(rename = "$bevy_convex_replicate::Counter")]
pub struct Counter(pub i64);

impl AddAssign<i64> for Counter {
    fn add_assign(&mut self, amount: i64) {
        self.0 = self.0.saturating_add(amount);
    }
}

impl SubAssign<i64> for Counter {
    fn sub_assign(&mut self, amount: i64) {
        self.0 = self.0.saturating_sub(amount);
    }
}

impl From<i64> for Counter {
    fn from(count: i64) -> Self {
        Counter(count)
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time in milliseconds since 1970. In JavaScript it is a `Date`; in other formats, a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "bevy", derive(bevy::reflect::Reflect))]
#[serde(rename = "$bevy_convex_replicate::Timestamp")]
pub struct Timestamp(pub i64);

impl From<i64> for Timestamp {
    fn from(milliseconds: i64) -> Self {
        Timestamp(milliseconds)
    }
}

/// A string that is replaced as a whole, such as an id or a link. A plain `String` merges letter by letter, which is
/// right for text that people type, but not for these.
///
/// `T` is any type that serde writes as a string. In other formats it is the plain `T`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "bevy", derive(bevy::reflect::Reflect))]
#[serde(rename = "$bevy_convex_replicate::Scalar")]
pub struct Scalar<T = String>(pub T);

impl<T> Deref for Scalar<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Scalar<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Scalar<T> {
    fn from(value: T) -> Self {
        Scalar(value)
    }
}

impl From<&str> for Scalar<String> {
    fn from(text: &str) -> Self {
        Scalar(text.to_owned())
    }
}

impl<T: fmt::Display> fmt::Display for Scalar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A register: a value of any type that is replaced as a whole. If two apps edit it at the same time, one of the two
/// values wins; the result is never a mix of both. A plain struct or array merges field by field, which is wrong for a
/// colour or a range.
///
/// Tuple structs (such as glam's vectors and quaternions) are registers without this wrapper. In other formats, and
/// in JavaScript, it is the plain `T`.
///
/// ```
/// # use bevy_convex_replicate::Whole;
/// let mut range = Whole([1, 10]);
/// range[1] = 20;
/// assert_eq!(*range, [1, 20]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "bevy", derive(bevy::reflect::Reflect))]
#[serde(rename = "$bevy_convex_replicate::Whole")]
pub struct Whole<T>(pub T);

impl<T> Deref for Whole<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Whole<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Whole<T> {
    fn from(value: T) -> Self {
        Whole(value)
    }
}

/// Raw bytes that are replaced as a whole: a `Uint8Array` in JavaScript. A plain `Vec<u8>` is a list of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "bevy", derive(bevy::reflect::Reflect))]
pub struct Bytes(pub Vec<u8>);

impl Deref for Bytes {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes(bytes)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> de::Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }

    // Formats without a type for bytes write a list of numbers.
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(Bytes(bytes))
    }
}
