//! The form of the list in a document: a map from keys to positions and values.

use std::{collections::HashMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de,
    ser::{SerializeMap, SerializeStruct},
};

use super::{Item, ItemKey, KeyedList};
use crate::format::types;

impl<T: Serialize> Serialize for KeyedList<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for item in &self.items {
            map.serialize_entry(item.key.as_str(), item)?;
        }
        map.end()
    }
}

impl<T: Serialize> Serialize for Item<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_struct(types::ITEM, 2)?;
        match &self.position {
            Some(position) => item.serialize_field("position", &WrittenPosition(position))?,
            None => item.skip_field("position")?,
        }
        item.serialize_field("value", &self.value)?;
        item.end()
    }
}

/// Writes a position as a string that is replaced as a whole.
struct WrittenPosition<'a>(&'a str);

impl Serialize for WrittenPosition<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// An item as the document holds it.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct ReadItem<T> {
    #[serde(default)]
    position: Option<Box<str>>,
    #[serde(default, deserialize_with = "present")]
    value: Option<T>,
}

/// Distinguishes a value that is null from a missing value.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for KeyedList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for ListVisitor<T> {
    type Value = KeyedList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of items with their positions")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<KeyedList<T>, A::Error> {
        let mut items: HashMap<ItemKey, Item<T>> = HashMap::new();
        while let Some(key) = map.next_key::<ItemKey>()? {
            let entry: ReadItem<T> = map.next_value()?;
            if let Some(value) = entry.value {
                items.insert(key.clone(), Item { key, position: entry.position, value });
            }
        }
        let mut items: Vec<Item<T>> = items.into_values().collect();
        items.sort_unstable_by(|a, b| (a.position(), &a.key).cmp(&(b.position(), &b.key)));
        let mut list = KeyedList { items, places: HashMap::new() };
        list.count_from(0);
        Ok(list)
    }
}
