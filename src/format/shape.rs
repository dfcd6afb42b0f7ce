//! Determines the fields of a component type from the calls of its `Deserialize`.

use std::{any::type_name, fmt};

use serde::de::{self, DeserializeOwned, DeserializeSeed, Visitor};

use super::{FormatError, RESERVED, ROW_COLUMNS, entity, types};
use crate::limits::FIELD_NAME_BYTES;

/// The properties of a component type that are known before a value of it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The names of its fields in serde. `None` if only a value shows them (a map, an internally tagged enum, a
    /// flattened field).
    pub fields: Option<Vec<&'static str>>,
}

/// Determines the shape of `T` without a value of it.
///
/// # Errors
///
/// If `T` cannot be a document or a part of one: it has no named fields, or it has fields that are reserved or that
/// Convex does not store. The message says how to fix it.
pub fn shape<T: DeserializeOwned>() -> Result<Shape, FormatError> {
    let refused = |why: String| FormatError::new(format_args!("`{}` cannot be a document: {why}", type_name::<T>()));
    // `T`'s own code runs without a value and may panic. In that case the first value of `T` shows whether it fits.
    let asked = std::panic::catch_unwind(|| T::deserialize(ShapeProbe).map(|_| ())).unwrap_or(Err(Asked::Other));
    match asked {
        Err(Asked::Struct(fields)) => {
            for field in fields {
                check(field).map_err(refused)?;
            }
            if let Some(field) = entity::field_of::<T>(fields) {
                return Err(refused(format!("its field `{field}` holds an Entity: {}", entity::ADVICE)));
            }
            Ok(Shape { fields: Some(fields.to_vec()) })
        }
        Err(Asked::Refused(why)) => Err(refused(why)),
        // Only a value shows whether it fits.
        Ok(_) | Err(Asked::Anything | Asked::Other) => Ok(Shape { fields: None }),
    }
}

/// Whether a root field may have this name.
fn check(field: &str) -> Result<(), String> {
    if RESERVED.contains(&field) || ROW_COLUMNS.contains(&field) {
        return Err(format!(
            "its field `{field}` is reserved for the document or for its row; rename it, e.g. with `#[serde(rename = \"{field}_\")]`"
        ));
    }
    let printable = field.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if field.is_empty() || field.starts_with(['$', '_']) || !printable || field.len() > FIELD_NAME_BYTES {
        return Err(format!(
            "Convex does not store a field called `{field}` (names are printable ASCII, at most {FIELD_NAME_BYTES} bytes, and do \
             not start with `$` or `_`); rename it, e.g. with `#[serde(rename = \"..\")]`"
        ));
    }
    Ok(())
}

/// The request of a `Deserialize`. It is returned as the error that stops the deserialization.
#[derive(Debug)]
enum Asked {
    Struct(&'static [&'static str]),
    Anything,
    Refused(String),
    /// The type's own code failed.
    Other,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the type was deserialized without a value, to learn its form")
    }
}

impl std::error::Error for Asked {}

impl de::Error for Asked {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Asked::Other
    }
}

fn no_names<T>(what: &str) -> Result<T, Asked> {
    Err(Asked::Refused(format!("it is {what}; give it named fields, e.g. `struct Name {{ value: .. }}`")))
}

struct ShapeProbe;

macro_rules! refuse {
    ($($what:literal: $($method:ident)*;)*) => {
        $($(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
            no_names($what)
        })*)*
    };
}

impl<'de> de::Deserializer<'de> for ShapeProbe {
    type Error = Asked;

    refuse! {
        "a boolean": deserialize_bool;
        "a number": deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
            deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64;
        "a string": deserialize_char deserialize_str deserialize_string deserialize_identifier;
        "bytes": deserialize_bytes deserialize_byte_buf;
        "an option": deserialize_option;
        "nothing": deserialize_unit;
        "a list": deserialize_seq;
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Asked> {
        no_names("a struct without fields")
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Asked> {
        no_names("a tuple or an array")
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, _: V) -> Result<V::Value, Asked> {
        no_names("a tuple struct")
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Asked> {
        match name {
            types::COUNTER => no_names("a counter"),
            types::TIMESTAMP => no_names("a timestamp"),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked::Anything)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked::Anything)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked::Anything)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Asked> {
        let mut unknown = UnknownField { given: false, taken: false };
        let _ = visitor.visit_map(&mut unknown);
        if unknown.given && !unknown.taken {
            return Err(Asked::Refused(
                "it denies unknown fields, but a document also holds the fields of other components, of newer versions of the app and \
                 its own; remove `#[serde(deny_unknown_fields)]`"
                    .to_owned(),
            ));
        }
        Err(Asked::Struct(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Asked> {
        Err(Asked::Refused("it is an enum whose variant is not a field; use `#[serde(tag = \"kind\")]`".to_owned()))
    }
}

/// A map with one key that no component has. A struct that accepts unknown fields reads the key's value.
struct UnknownField {
    given: bool,
    taken: bool,
}

impl<'de> de::MapAccess<'de> for &mut UnknownField {
    type Error = Asked;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Asked> {
        if self.given {
            return Ok(None);
        }
        self.given = true;
        // No field has this name, because Convex would not store it.
        let key: de::value::BorrowedStrDeserializer<'_, Asked> = de::value::BorrowedStrDeserializer::new("$unknown");
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, _: S) -> Result<S::Value, Asked> {
        self.taken = true;
        Err(Asked::Other)
    }
}
