//! Refuses Bevy's `Entity` in components. An `Entity` is a number that has a meaning only in one run of one app, but
//! serde sees it as an ordinary number.
//!
//! It is recognised by the name of its type, which is known wherever serde gets a value. So the types of an app need
//! no annotation.

use std::{any::type_name, cell::Cell, fmt};

use serde::{
    Serialize,
    de::{self, DeserializeOwned, DeserializeSeed, Visitor},
    forward_to_deserialize_any,
};

use super::FormatError;

/// The name of the type as [`type_name`] returns it.
const ENTITY: &str = "bevy_ecs::entity::Entity";

/// The advice for an app whose component contains an `Entity`.
pub(super) const ADVICE: &str = "an Entity is a number that has a meaning only in one run of one app; refer to the other document with \
                                 a DocumentRef, or leave the field out with `#[serde(skip)]`";

/// Refuses a `T` that is an `Entity`.
pub(super) fn refuse<T: Serialize + ?Sized>() -> Result<(), FormatError> {
    match is_entity(type_name::<T>()) {
        true => Err(FormatError::new(ADVICE)),
        false => Ok(()),
    }
}

fn is_entity(name: &str) -> bool {
    name.strip_suffix(ENTITY).is_some_and(|before| before.is_empty() || before.ends_with(['&', ':', ' ']))
}

/// Whether a type with this name is an `Entity` or has one among its parameters.
fn mentions_entity(name: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|next: char| next.is_alphanumeric() || next == '_' || next == ':');
    name.match_indices(ENTITY).any(|(at, _)| !goes_on(&name[at + ENTITY.len()..]))
}

/// The first field of a struct whose type is or contains an `Entity`, as far as the type's name shows it:
/// `Option<Entity>` does; an app's struct with an `Entity` field does not.
pub(super) fn field_of<T: DeserializeOwned>(fields: &'static [&'static str]) -> Option<&'static str> {
    fields.iter().copied().find(|field| {
        let probe = FieldTypeProbe { field, is_given: Cell::new(false), found: Cell::new(false) };
        // There is no value, so deserialization always fails.
        let _ = T::deserialize(&probe);
        probe.found.get()
    })
}

/// A map with one key, which records the type that is asked for as its value.
struct FieldTypeProbe {
    field: &'static str,
    is_given: Cell<bool>,
    found: Cell<bool>,
}

#[derive(Debug)]
struct NoValue;

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type was deserialized without a value, to learn its form")
    }
}

impl std::error::Error for NoValue {}

impl de::Error for NoValue {
    fn custom<T: fmt::Display>(_: T) -> Self {
        NoValue
    }
}

impl<'de> de::Deserializer<'de> for &FieldTypeProbe {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_map(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> de::MapAccess<'de> for &FieldTypeProbe {
    type Error = NoValue;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, NoValue> {
        if self.is_given.replace(true) {
            return Ok(None);
        }
        let key: de::value::BorrowedStrDeserializer<'_, NoValue> = de::value::BorrowedStrDeserializer::new(self.field);
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, _: S) -> Result<S::Value, NoValue> {
        self.found.set(mentions_entity(type_name::<S>()));
        Err(NoValue)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::format::{shape, to_value};

    /// Has the same path as Bevy's `Entity`. The real type implements serde's traits only with Bevy's feature
    /// `serialize`.
    mod bevy_ecs {
        pub mod entity {
            #[derive(serde::Serialize, serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
            pub struct Entity(pub u64);
            #[derive(serde::Serialize, serde::Deserialize)]
            pub struct EntityMap(pub u64);
        }
    }
    use bevy_ecs::entity::{Entity, EntityMap};

    #[cfg(feature = "bevy")]
    #[test]
    fn the_entity_of_bevy_is_recognised_by_its_type_name() {
        use bevy::prelude::Entity;
        assert!(is_entity(type_name::<Entity>()) && is_entity(type_name::<&Entity>()));
        assert!(!is_entity(type_name::<Option<Entity>>()) && mentions_entity(type_name::<Vec<Option<Entity>>>()));
        assert!(!mentions_entity(type_name::<bevy::ecs::entity::EntityHashMap<u8>>()));
    }

    #[derive(Serialize, Deserialize)]
    struct Hidden {
        hidden: Entity,
    }

    #[derive(Serialize, Deserialize)]
    enum Order {
        Follow(Entity),
        Pair(u8, Entity),
        Meet { at: Entity },
    }

    macro_rules! refused {
        ($($name:ident: $type:ty = $value:expr, $path:literal, $seen:literal;)*) => {$(
            {
                #[derive(Serialize, Deserialize)]
                struct $name {
                    before: u8,
                    field: $type,
                }
                let error = to_value(&$name { before: 1, field: $value }).unwrap_err();
                assert_eq!((error.path.as_str(), error.message.as_str()), ($path, ADVICE));
                let shape = shape::<$name>();
                assert_eq!(shape.is_err(), $seen, "{shape:?}");
                if let Err(error) = shape {
                    assert!(error.message.contains("`field`") && error.message.contains("DocumentRef"), "{error}");
                }
            }
        )*};
    }

    #[test]
    fn an_entity_is_refused_at_every_place_of_a_component() {
        refused! {
            Plain: Entity = Entity(1), "field", true;
            Maybe: Option<Entity> = Some(Entity(1)), "field", true;
            Several: Vec<Entity> = vec![Entity(1)], "field[0]", true;
            Pair: (u8, Entity) = (1, Entity(1)), "field[1]", true;
            Named: BTreeMap<String, Entity> = BTreeMap::from([("a".to_string(), Entity(1))]), "field.a", true;
            ByKey: BTreeMap<Entity, u8> = BTreeMap::from([(Entity(1), 1)]), "field", true;
            Inside: Hidden = Hidden { hidden: Entity(1) }, "field.hidden", false;
            Chosen: Order = Order::Follow(Entity(1)), "field.Follow", false;
            Both: Order = Order::Pair(1, Entity(1)), "field.Pair[1]", false;
            Met: Order = Order::Meet { at: Entity(1) }, "field.Meet.at", false;
        }
    }

    #[test]
    fn a_component_without_an_entity_is_accepted() {
        #[derive(Serialize, Deserialize)]
        struct Fine {
            #[serde(skip)]
            target: Option<Entity>,
            map: EntityMap,
            none: Option<u8>,
        }
        let fine = Fine { target: Some(Entity(1)), map: EntityMap(1), none: None };
        assert!(to_value(&fine).is_ok() && shape::<Fine>().is_ok() && fine.target.is_some());
    }
}
