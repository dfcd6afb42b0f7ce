//! A component, as serde writes it, into a [`Value`].

use std::{any::type_name, collections::BTreeMap, fmt::Display};

use serde::{Serialize, ser};

use super::{FormatError, Value, entity, key::KeySerializer, types};
use crate::limits::NESTING;

/// What a document holds for `value`: strings become texts, unit variants scalar strings, structs maps and so on.
///
/// # Errors
///
/// If it cannot be a document: keys that are not strings, numbers that do not fit, too deep nesting.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, FormatError> {
    value.serialize(ValueSerializer { depth: 0 })
}

/// Writes one value at some depth.
#[derive(Clone, Copy)]
struct ValueSerializer {
    /// How many lists and maps it is in.
    depth: usize,
}

impl ValueSerializer {
    /// For what is inside a list or map here.
    fn inside(self) -> Result<Self, FormatError> {
        if self.depth >= NESTING {
            return Err(FormatError::new(format_args!(
                "nested deeper than {NESTING} levels, which Convex does not store"
            )));
        }
        Ok(ValueSerializer { depth: self.depth + 1 })
    }

    fn list(self, length: Option<usize>) -> Result<ListSerializer, FormatError> {
        // The length is a hint: it is not believed beyond the ordinary.
        Ok(ListSerializer { inside: self.inside()?, items: Vec::with_capacity(length.unwrap_or(0).min(1024)) })
    }

    fn map(self) -> Result<MapSerializer, FormatError> {
        Ok(MapSerializer { inside: self.inside()?, fields: BTreeMap::new(), key: None })
    }
}

fn whole(number: i128) -> Result<Value, FormatError> {
    if let Ok(number) = i64::try_from(number) {
        Ok(Value::Int(number))
    } else if let Ok(number) = u64::try_from(number) {
        Ok(Value::Uint(number))
    } else {
        Err(FormatError::new(format_args!("{number} does not fit in 64 bits; use a string")))
    }
}

impl ser::Serializer for ValueSerializer {
    type Ok = Value;
    type Error = FormatError;
    type SerializeSeq = ListSerializer;
    type SerializeTuple = ListSerializer;
    type SerializeTupleStruct = ListSerializer;
    type SerializeTupleVariant = Variant<ListSerializer>;
    type SerializeMap = MapSerializer;
    type SerializeStruct = MapSerializer;
    type SerializeStructVariant = Variant<MapSerializer>;

    fn serialize_bool(self, yes: bool) -> Result<Value, FormatError> {
        Ok(Value::Bool(yes))
    }

    fn serialize_i8(self, number: i8) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_i16(self, number: i16) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_i32(self, number: i32) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_i64(self, number: i64) -> Result<Value, FormatError> {
        Ok(Value::Int(number))
    }

    fn serialize_i128(self, number: i128) -> Result<Value, FormatError> {
        whole(number)
    }

    fn serialize_u8(self, number: u8) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_u16(self, number: u16) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_u32(self, number: u32) -> Result<Value, FormatError> {
        Ok(Value::Int(number.into()))
    }

    fn serialize_u64(self, number: u64) -> Result<Value, FormatError> {
        whole(number.into())
    }

    fn serialize_u128(self, number: u128) -> Result<Value, FormatError> {
        match i128::try_from(number) {
            Ok(number) => whole(number),
            Err(_) => Err(FormatError::new(format_args!("{number} does not fit in 64 bits; use a string"))),
        }
    }

    fn serialize_f32(self, number: f32) -> Result<Value, FormatError> {
        Ok(Value::Float(number.into()))
    }

    fn serialize_f64(self, number: f64) -> Result<Value, FormatError> {
        Ok(Value::Float(number))
    }

    /// A letter is replaced whole: two merged into one text would not be one letter.
    fn serialize_char(self, letter: char) -> Result<Value, FormatError> {
        Ok(Value::Scalar(letter.to_string()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, FormatError> {
        Ok(Value::Text(text.to_owned()))
    }

    /// What is formatted, such as a date or an address, is not typed letter by letter.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<Value, FormatError> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, FormatError> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Value, FormatError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, FormatError> {
        entity::refuse::<T>()?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, FormatError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, FormatError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, FormatError> {
        Ok(Value::Scalar(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Value, FormatError> {
        entity::refuse::<T>()?;
        let value = value.serialize(self)?;
        Ok(match (name, value) {
            (types::COUNTER, Value::Int(number)) => Value::Counter(number),
            (types::TIMESTAMP, Value::Int(number)) => Value::Timestamp(number),
            (types::SCALAR, Value::Text(text)) => Value::Scalar(text),
            (_, value) => value,
        })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, FormatError> {
        entity::refuse::<T>().map_err(|error| error.in_field(variant))?;
        let value = value.serialize(self.inside()?).map_err(|error| error.in_field(variant))?;
        Ok(of_variant(variant, value))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListSerializer, FormatError> {
        self.list(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<ListSerializer, FormatError> {
        self.list(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<ListSerializer, FormatError> {
        self.list(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Variant<ListSerializer>, FormatError> {
        Ok(Variant { variant, content: self.inside()?.list(Some(length))? })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<MapSerializer, FormatError> {
        self.map()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<MapSerializer, FormatError> {
        self.map()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Variant<MapSerializer>, FormatError> {
        Ok(Variant { variant, content: self.inside()?.map()? })
    }
}

fn of_variant(variant: &str, value: Value) -> Value {
    Value::Map(BTreeMap::from([(variant.to_owned(), value)]))
}

struct ListSerializer {
    inside: ValueSerializer,
    items: Vec<Value>,
}

impl ListSerializer {
    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        entity::refuse::<T>().map_err(|error| error.in_item(self.items.len()))?;
        let item = item.serialize(self.inside).map_err(|error| error.in_item(self.items.len()))?;
        self.items.push(item);
        Ok(())
    }
}

impl ser::SerializeSeq for ListSerializer {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(Value::List(self.items))
    }
}

impl ser::SerializeTuple for ListSerializer {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(Value::List(self.items))
    }
}

impl ser::SerializeTupleStruct for ListSerializer {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(Value::List(self.items))
    }
}

struct MapSerializer {
    inside: ValueSerializer,
    fields: BTreeMap<String, Value>,
    key: Option<String>,
}

impl MapSerializer {
    fn field<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), FormatError> {
        entity::refuse::<T>().map_err(|error| error.in_field(&key))?;
        let value = match value.serialize(self.inside) {
            // The tag of an internally tagged enum is written as a bare `str`, which no field of a struct can be. It is
            // the variant's name and as such replaced whole: a merge of two names letter by letter would be none.
            Ok(Value::Text(tag)) if type_name::<T>() == type_name::<str>() => Value::Scalar(tag),
            Ok(value) => value,
            Err(error) => return Err(error.in_field(&key)),
        };
        self.fields.insert(key, value);
        Ok(())
    }
}

impl ser::SerializeMap for MapSerializer {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), FormatError> {
        entity::refuse::<T>()?;
        self.key = Some(key.serialize(KeySerializer)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), FormatError> {
        let key = self.key.take().ok_or_else(|| FormatError::new("a map's value was written before its key"))?;
        self.field(key, value)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(Value::Map(self.fields))
    }
}

impl ser::SerializeStruct for MapSerializer {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), FormatError> {
        self.field(key.to_owned(), value)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(Value::Map(self.fields))
    }
}

/// The content of an externally tagged variant.
struct Variant<S> {
    variant: &'static str,
    content: S,
}

impl ser::SerializeTupleVariant for Variant<ListSerializer> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.content.item(item).map_err(|error| error.in_field(self.variant))
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(of_variant(self.variant, Value::List(self.content.items)))
    }
}

impl ser::SerializeStructVariant for Variant<MapSerializer> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), FormatError> {
        self.content.field(key.to_owned(), value).map_err(|error| error.in_field(self.variant))
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(of_variant(self.variant, Value::Map(self.content.fields)))
    }
}
