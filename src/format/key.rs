//! Keys of maps. A document stores them as strings; an app may use any type that can be parsed from its text.

use std::fmt::Display;

use serde::{
    Serialize,
    de::{self, IntoDeserializer},
    forward_to_deserialize_any,
    ser::{self, Impossible},
};

use super::FormatError;

/// Writes a key as `serde_json` does: strings, letters, whole numbers, booleans and unit variants.
pub(super) struct KeySerializer;

fn refused<T>(what: &str) -> Result<T, FormatError> {
    Err(FormatError::new(format_args!(
        "{what} cannot be the key of a map; use a string, a whole number, a boolean or an enum without content"
    )))
}

macro_rules! as_text {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method(self, key: $type) -> Result<String, FormatError> {
            Ok(key.to_string())
        })*
    };
}

impl ser::Serializer for KeySerializer {
    type Ok = String;
    type Error = FormatError;
    type SerializeSeq = Impossible<String, FormatError>;
    type SerializeTuple = Impossible<String, FormatError>;
    type SerializeTupleStruct = Impossible<String, FormatError>;
    type SerializeTupleVariant = Impossible<String, FormatError>;
    type SerializeMap = Impossible<String, FormatError>;
    type SerializeStruct = Impossible<String, FormatError>;
    type SerializeStructVariant = Impossible<String, FormatError>;

    as_text! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char,
        serialize_str: &str,
    }

    fn collect_str<T: Display + ?Sized>(self, key: &T) -> Result<String, FormatError> {
        Ok(key.to_string())
    }

    fn serialize_f32(self, _: f32) -> Result<String, FormatError> {
        refused("a fraction")
    }

    fn serialize_f64(self, _: f64) -> Result<String, FormatError> {
        refused("a fraction")
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<String, FormatError> {
        refused("bytes")
    }

    fn serialize_none(self) -> Result<String, FormatError> {
        refused("nothing")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, key: &T) -> Result<String, FormatError> {
        key.serialize(self)
    }

    fn serialize_unit(self) -> Result<String, FormatError> {
        refused("nothing")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<String, FormatError> {
        refused("nothing")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<String, FormatError> {
        Ok(variant.to_owned())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, key: &T) -> Result<String, FormatError> {
        key.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, FormatError> {
        refused("an enum with content")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, FormatError> {
        refused("a list")
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, FormatError> {
        refused("a tuple")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, FormatError> {
        refused("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, FormatError> {
        refused("an enum with content")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, FormatError> {
        refused("a map")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, FormatError> {
        refused("a struct")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, FormatError> {
        refused("an enum with content")
    }
}

/// Reads a key as the type that the app asks for.
pub(super) struct KeyDeserializer<'de>(pub &'de str);

macro_rules! parsed {
    ($($method:ident => $visit:ident,)*) => {
        $(fn $method<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                // The visitor's error names the expected type.
                Err(_) => visitor.visit_borrowed_str(self.0),
            }
        })*
    };
}

impl<'de> de::Deserializer<'de> for KeyDeserializer<'de> {
    type Error = FormatError;

    parsed! {
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_i128 => visit_i128,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128,
    }

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormatError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FormatError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormatError> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
