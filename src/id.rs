//! The names of documents and collections.

use std::{fmt, sync::Arc};

#[cfg(feature = "bevy")]
use bevy::{
    ecs::reflect::ReflectComponent,
    reflect::{ReflectDeserialize, ReflectSerialize},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::limits::DOCUMENT_ID_BYTES;

/// The name of a document within its collection: any text of 1 to 128 bytes of UTF-8. New ones are UUIDs of version 7,
/// which sort by the time they were made.
///
/// In a Bevy app it is also the component that makes an entity a document. Spawned beside a component of a collection,
/// it makes a new document there. Removing it, or despawning the entity, hides the document from this world without
/// deleting it. It cannot be changed in place. A clone of an entity does not get it, so the clone is no document.
///
/// As a field of a component it names another document. serde writes it as a string, which is replaced whole when two
/// apps change it. serde neither writes nor reads a name that no document can have: an empty one, or one that is too
/// long. A Bevy app that needs the other document's entity uses `DocumentRef` instead.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "bevy", derive(bevy::reflect::Reflect))]
#[cfg_attr(feature = "bevy", reflect(opaque, Component, Clone, Debug, PartialEq, Hash, Serialize, Deserialize))]
pub struct DocumentId(Arc<str>);

impl DocumentId {
    /// The document called `id`.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// A new name, which no other document has.
    pub fn random() -> Self {
        Self::new(uuid::Uuid::now_v7().hyphenated().to_string())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns why no document can have this name; `None` if one can.
    pub(crate) fn fault(&self) -> Option<String> {
        fault(&self.0)
    }
}

fn fault(name: &str) -> Option<String> {
    (name.is_empty() || name.len() > DOCUMENT_ID_BYTES)
        .then(|| format!("a document's name has 1 to {DOCUMENT_ID_BYTES} bytes, but this one has {}", name.len()))
}

impl Serialize for DocumentId {
    /// A string that is replaced whole, as [`Scalar`](crate::Scalar) is.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.fault() {
            Some(fault) => Err(ser::Error::custom(fault)),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for DocumentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(IdVisitor)
    }
}

struct IdVisitor;

impl de::Visitor<'_> for IdVisitor {
    type Value = DocumentId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a document")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<DocumentId, E> {
        match fault(name) {
            Some(fault) => Err(E::custom(fault)),
            None => Ok(DocumentId::new(name)),
        }
    }
}

impl Default for DocumentId {
    fn default() -> Self {
        Self::random()
    }
}

impl From<&str> for DocumentId {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for DocumentId {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentId({})", self.0)
    }
}

/// The place of a collection in the order in which the app registered them, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionIndex(pub u16);

/// A document of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// The collection it belongs to.
    pub collection: CollectionIndex,
    /// Its name there.
    pub id: DocumentId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Value, from_value, to_value};

    #[test]
    fn a_name_is_a_string_that_is_replaced_whole() {
        let id = DocumentId::new("a name");
        assert_eq!(to_value(&id).unwrap(), Value::Scalar("a name".into()));
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"a name\"");
        for held in [Value::Scalar("a name".into()), Value::Text("a name".into())] {
            assert_eq!(from_value::<DocumentId>(&held).unwrap(), id);
        }
        assert_eq!(serde_json::from_str::<DocumentId>("\"a name\"").unwrap(), id);
    }

    #[test]
    fn a_name_that_no_document_can_have_is_neither_written_nor_read() {
        for name in ["".to_string(), "x".repeat(DOCUMENT_ID_BYTES + 1)] {
            let error = to_value(&DocumentId::new(name.as_str())).unwrap_err();
            assert!(error.to_string().contains("bytes"), "{error}");
            let error = from_value::<DocumentId>(&Value::Scalar(name)).unwrap_err();
            assert!(error.to_string().contains("bytes"), "{error}");
        }
        assert!(from_value::<DocumentId>(&Value::Int(3)).is_err());
        let longest = DocumentId::new("x".repeat(DOCUMENT_ID_BYTES));
        assert_eq!(from_value::<DocumentId>(&to_value(&longest).unwrap()).unwrap(), longest);
    }

    #[test]
    fn names_are_keys_of_maps() {
        let votes = std::collections::BTreeMap::from([(DocumentId::new("a"), 1), (DocumentId::new("b"), 2)]);
        let held = to_value(&votes).unwrap();
        assert_eq!(from_value::<std::collections::BTreeMap<DocumentId, i32>>(&held).unwrap(), votes);
    }
}
