//! The keys of items.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::format::position::DIGITS;

/// The length of a random key. 16 letters are 95 bits, so keys do not collide in practice.
const KEY_LETTERS: usize = 16;

/// The key that identifies an item in a [`KeyedList`](super::KeyedList). It does not change when the item is moved or
/// edited.
///
/// The list makes random keys. An app may choose its own keys
/// ([`KeyedList::insert_with_key`](super::KeyedList::insert_with_key)). They should be printable ASCII and start with a
/// letter or a digit, because Convex stores no other field names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "bevy", derive(bevy::reflect::Reflect))]
#[cfg_attr(feature = "bevy", reflect(opaque, Clone, PartialEq, Hash))]
pub struct ItemKey(Arc<str>);

impl ItemKey {
    /// A new random key.
    pub fn random() -> Self {
        let mut random = rand::rng();
        let letters = (0..KEY_LETTERS).map(|_| char::from(DIGITS[random.random_range(0..DIGITS.len())]));
        Self(letters.collect::<String>().into())
    }

    /// Whether a key has the form of the keys that [`ItemKey::random`] makes: letters and digits of the same length,
    /// with at least one capital and one digit, which a key that an app chose rarely has.
    pub(in crate::format) fn is_random(key: &str) -> bool {
        let has = |is: fn(&u8) -> bool| key.bytes().any(|letter| is(&letter));
        key.len() == KEY_LETTERS
            && key.bytes().all(|letter| DIGITS.contains(&letter))
            && has(u8::is_ascii_uppercase)
            && has(u8::is_ascii_digit)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ItemKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ItemKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ItemKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ItemKey {
    fn from(key: &str) -> Self {
        Self(key.into())
    }
}

impl From<String> for ItemKey {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Written as a string that is replaced as a whole.
impl Serialize for ItemKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ItemKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}
