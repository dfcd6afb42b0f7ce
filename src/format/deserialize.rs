//! Converts a [`Value`] to a component through serde.

use std::{collections::btree_map, slice};

use serde::{
    de::{
        self, DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, Unexpected, Visitor,
        value::U8Deserializer,
    },
    forward_to_deserialize_any,
};

use super::{FormatError, RESERVED, Value, key::KeyDeserializer, list, value::Number};

/// Reads a `T` from `value`.
///
/// Reading accepts any kind of number that fits without loss, both kinds of string for a string or a unit variant,
/// and a missing key for `None` or serde's default.
///
/// # Errors
///
/// If `value` does not fit `T`. The error contains the place.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, FormatError> {
    T::deserialize(ValueDeserializer::of(value))
}

/// Reads the component `T` from a document. As [`from_value`], but a `T` that accepts all keys (a map, or a flattened
/// map) does not get the reserved ones.
///
/// # Errors
///
/// If the document does not fit `T`. The error contains the place.
pub fn from_document<T: DeserializeOwned>(root: &Value) -> Result<T, FormatError> {
    let root = root.plain();
    T::deserialize(RootDeserializer(root)).or_else(|error| without_doubles(root, error))
}

/// The largest number of fields with two names that a document may have. More do not arise by accident between two
/// versions of an app.
const DOUBLES: usize = 16;

/// Reads a document that has a field under two names, which versions of an app cause that write the field under
/// different names (`#[serde(alias = "..")]`). The value under the name that the type writes is used.
fn without_doubles<T: DeserializeOwned>(root: &Value, mut error: FormatError) -> Result<T, FormatError> {
    let mut root = std::borrow::Cow::Borrowed(root);
    for _ in 0..DOUBLES {
        let Some(field) = error.doubled else { return Err(error) };
        let Some(Value::Map(fields)) = super::path::find(&root, &error.path) else { return Err(error) };
        let others: Vec<String> = fields.keys().filter(|key| *key != field).cloned().collect();
        let before = error.clone();
        for other in others {
            let mut without = root.clone().into_owned();
            if let Some(Value::Map(fields)) = super::path::find_mut(&mut without, &before.path) {
                fields.remove(&other);
            }
            match T::deserialize(RootDeserializer(&without)) {
                Ok(value) => return Ok(value),
                Err(next) if next == before => {}
                Err(next) => {
                    // `other` was the second name. The next error has another cause.
                    (root, error) = (std::borrow::Cow::Owned(without), next);
                    break;
                }
            }
        }
        if error == before {
            return Err(error);
        }
    }
    Err(error)
}

/// Reads the root map without its reserved keys, regardless of the requested type.
struct RootDeserializer<'de>(&'de Value);

impl<'de> de::Deserializer<'de> for RootDeserializer<'de> {
    type Error = FormatError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        match self.0 {
            Value::Map(fields) => visitor.visit_map(MapFields { fields: fields.iter(), value: None, root: true }),
            other => ValueDeserializer::of(other).deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, FormatError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

#[derive(Clone, Copy)]
struct ValueDeserializer<'de>(&'de Value);

impl<'de> ValueDeserializer<'de> {
    /// Reads a value of a document, or a value that a type has written.
    fn of(value: &'de Value) -> Self {
        Self(value.plain())
    }

    fn unexpected(self) -> Unexpected<'de> {
        match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(yes) => Unexpected::Bool(*yes),
            Value::Int(number) | Value::Counter(number) | Value::Timestamp(number) => Unexpected::Signed(*number),
            Value::Uint(number) => Unexpected::Unsigned(*number),
            Value::Float(number) => Unexpected::Float(*number),
            Value::Text(text) | Value::Scalar(text) => Unexpected::Str(text),
            Value::Bytes(bytes) => Unexpected::Bytes(bytes),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
            Value::As(_, value) => ValueDeserializer::of(value).unexpected(),
        }
    }

    fn whole<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        let number = match self.0.as_number() {
            Some(Number::Whole(number)) => number,
            _ => return Err(FormatError::invalid_type(self.unexpected(), &visitor)),
        };
        if let Ok(number) = i64::try_from(number) {
            visitor.visit_i64(number)
        } else if let Ok(number) = u64::try_from(number) {
            visitor.visit_u64(number)
        } else {
            Err(FormatError::invalid_value(self.unexpected(), &visitor))
        }
    }

    fn fraction<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        let whole = match self.0 {
            Value::Float(number) => return visitor.visit_f64(*number),
            Value::Int(number) | Value::Counter(number) | Value::Timestamp(number) => i128::from(*number),
            Value::Uint(number) => i128::from(*number),
            _ => return Err(FormatError::invalid_type(self.unexpected(), &visitor)),
        };
        if (whole as f64) as i128 == whole {
            visitor.visit_f64(whole as f64)
        } else {
            Err(FormatError::custom(format_args!(
                "{whole} does not fit in a float without loss; use a whole number in the component"
            )))
        }
    }

    /// Reads a list, and skips items whose id is repeated.
    fn items<V: Visitor<'de>>(self, items: &'de [Value], visitor: V) -> Result<V::Value, FormatError> {
        match list::without_doubles(items) {
            None => self.list(items, visitor),
            Some(items) => visitor.visit_seq(&mut SelectedItems { items: items.into_iter() }),
        }
    }

    fn list<V: Visitor<'de>>(self, items: &'de [Value], visitor: V) -> Result<V::Value, FormatError> {
        let mut access = ListItems { items: items.iter(), index: 0 };
        let list = visitor.visit_seq(&mut access)?;
        match access.items.len() {
            0 => Ok(list),
            _ => Err(FormatError::custom(format_args!("invalid length {}, expected {}", items.len(), access.index))),
        }
    }
}

macro_rules! as_whole {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
            self.whole(visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for ValueDeserializer<'de> {
    type Error = FormatError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(yes) => visitor.visit_bool(*yes),
            Value::Int(number) | Value::Counter(number) | Value::Timestamp(number) => visitor.visit_i64(*number),
            Value::Uint(number) => visitor.visit_u64(*number),
            // A float stays a float even if it is whole, because an untagged enum may have a variant for each.
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) | Value::Scalar(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::List(items) => self.items(items, visitor),
            Value::Map(fields) => visitor.visit_map(MapFields { fields: fields.iter(), value: None, root: false }),
            Value::As(_, value) => ValueDeserializer::of(value).deserialize_any(visitor),
        }
    }

    as_whole! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        self.fraction(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        self.fraction(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        match self.0 {
            // A string would accept bytes that happen to be UTF-8.
            Value::Bytes(_) => Err(FormatError::invalid_type(self.unexpected(), &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Bytes are accepted for a list of small numbers.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        match self.0 {
            Value::Bytes(bytes) => visitor.visit_seq(de::value::SeqDeserializer::<_, FormatError>::new(
                bytes.iter().map(|byte| IntoDeserializer::<FormatError>::into_deserializer(*byte)).map(Byte),
            )),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Reads as many items as the type has. A newer version of the type may have written more.
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, FormatError> {
        match self.0 {
            Value::List(items) => self.list(items.get(..length).unwrap_or(items), visitor),
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, FormatError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, FormatError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormatError> {
        match self.0 {
            Value::Text(variant) | Value::Scalar(variant) => visitor.visit_enum(VariantOf { variant, content: None }),
            Value::Map(fields) => {
                // Two apps that switched to different variants at the same time leave both in the map. All apps choose
                // the same one.
                let known = variants.iter().find_map(|variant| fields.get_key_value(*variant));
                match known.or_else(|| fields.iter().next()) {
                    Some((variant, content)) => visitor.visit_enum(VariantOf { variant, content: Some(content) }),
                    None => Err(FormatError::custom("an empty map, expected an enum's variant")),
                }
            }
            _ => Err(FormatError::invalid_type(self.unexpected(), &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool char bytes byte_buf unit unit_struct map struct identifier
    }
}

struct Byte(U8Deserializer<FormatError>);

impl<'de> IntoDeserializer<'de, FormatError> for Byte {
    type Deserializer = U8Deserializer<FormatError>;

    fn into_deserializer(self) -> Self::Deserializer {
        self.0
    }
}

struct ListItems<'de> {
    items: slice::Iter<'de, Value>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for ListItems<'de> {
    type Error = FormatError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, FormatError> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(ValueDeserializer::of(item)).map(Some).map_err(|error| error.in_item(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The selected items of a list, with the index of each.
struct SelectedItems<'de> {
    items: std::vec::IntoIter<(usize, &'de Value)>,
}

impl<'de> de::SeqAccess<'de> for SelectedItems<'de> {
    type Error = FormatError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, FormatError> {
        let Some((index, item)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(ValueDeserializer::of(item)).map(Some).map_err(|error| error.in_item(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct MapFields<'de> {
    fields: btree_map::Iter<'de, String, Value>,
    value: Option<(&'de str, &'de Value)>,
    /// Whether these are the root fields, of which the replica owns some.
    root: bool,
}

impl<'de> de::MapAccess<'de> for MapFields<'de> {
    type Error = FormatError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, FormatError> {
        for (key, value) in self.fields.by_ref() {
            if self.root && RESERVED.contains(&key.as_str()) {
                continue;
            }
            self.value = Some((key, value));
            return seed.deserialize(KeyDeserializer(key)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, FormatError> {
        let (key, value) =
            self.value.take().ok_or_else(|| FormatError::custom("a map's value was read before its key"))?;
        seed.deserialize(ValueDeserializer::of(value)).map_err(|error| error.in_field(key))
    }
}

/// An externally tagged enum: a string for a variant without content, or a map from the variant's name to its content.
struct VariantOf<'de> {
    variant: &'de str,
    content: Option<&'de Value>,
}

impl<'de> de::EnumAccess<'de> for VariantOf<'de> {
    type Error = FormatError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), FormatError> {
        Ok((seed.deserialize(KeyDeserializer(self.variant))?, self))
    }
}

impl<'de> VariantOf<'de> {
    fn content(&self) -> Result<ValueDeserializer<'de>, FormatError> {
        self.content.map(ValueDeserializer::of).ok_or_else(|| {
            FormatError::custom(format_args!("the document has no content for the variant `{}`", self.variant))
        })
    }
}

impl<'de> de::VariantAccess<'de> for VariantOf<'de> {
    type Error = FormatError;

    fn unit_variant(self) -> Result<(), FormatError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, FormatError> {
        seed.deserialize(self.content()?).map_err(|error| error.in_field(self.variant))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, FormatError> {
        de::Deserializer::deserialize_tuple(self.content()?, length, visitor)
            .map_err(|error| error.in_field(self.variant))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, FormatError> {
        de::Deserializer::deserialize_any(self.content()?, visitor).map_err(|error| error.in_field(self.variant))
    }
}
