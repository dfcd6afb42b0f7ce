//! Serializers of values that contain other values: lists, maps, structs and variants with content.

use std::{any::type_name, collections::BTreeMap};

use serde::{Serialize, ser};

use super::ValueSerializer;
use crate::format::{FormatError, Merge, Value, entity, key::KeySerializer};

pub(super) struct ListSerializer<'a> {
    pub(super) inside: ValueSerializer<'a>,
    pub(super) items: Vec<Value>,
    pub(super) merge: Option<Merge>,
}

impl ListSerializer<'_> {
    fn finish(self) -> Value {
        let items = Value::List(self.items);
        match self.merge {
            Some(merge) => Value::As(merge, Box::new(items)),
            None => items,
        }
    }

    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        entity::refuse::<T>().map_err(|error| error.in_item(self.items.len()))?;
        let item = item.serialize(self.inside).map_err(|error| error.in_item(self.items.len()))?;
        self.items.push(item);
        Ok(())
    }
}

impl ser::SerializeSeq for ListSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for ListSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for ListSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.item(item)
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish())
    }
}

pub(super) struct MapSerializer<'a> {
    pub(super) inside: ValueSerializer<'a>,
    pub(super) fields: BTreeMap<String, Value>,
    pub(super) key: Option<String>,
    pub(super) tag: Option<Tag>,
    /// How a struct merges, if not field by field.
    pub(super) merge: Option<Merge>,
    /// The flag of the containing value before this value.
    pub(super) outer: bool,
}

/// The tag of a variant that is written as a map.
pub(super) struct Tag {
    key: String,
    name: String,
    /// The fields that were written after the tag.
    content: Vec<String>,
}

/// serde writes the tag of an internally tagged enum as a bare `str`. No field of a struct has this type.
fn is_internal_tag<T: ?Sized>() -> bool {
    type_name::<T>() == type_name::<str>()
}

/// serde writes the tag of an adjacently tagged enum as this type.
fn is_adjacent_tag<T: ?Sized>() -> bool {
    type_name::<T>().ends_with("::AdjacentlyTaggedEnumVariant")
}

impl MapSerializer<'_> {
    fn field<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), FormatError> {
        entity::refuse::<T>().map_err(|error| error.in_field(&key))?;
        let merges = self.inside.merges.get();
        let value = match value.serialize(self.inside) {
            // This is the name of the variant, which is replaced as a whole: a merge of two names letter by letter
            // would be neither name.
            Ok(Value::Text(tag)) if is_internal_tag::<T>() => {
                self.inside.merges.set(merges);
                Value::Scalar(tag)
            }
            Ok(value) => value,
            Err(error) => return Err(error.in_field(&key)),
        };
        match (&mut self.tag, &value) {
            (Some(tag), _) => tag.content.push(key.clone()),
            (None, Value::Scalar(name)) if is_internal_tag::<T>() || is_adjacent_tag::<T>() => {
                self.tag = Some(Tag { key: key.clone(), name: name.clone(), content: Vec::new() });
            }
            _ => {}
        }
        self.fields.insert(key, value);
        Ok(())
    }

    /// Ends a struct, or a variant that is written as a struct.
    fn finish_struct(self) -> Value {
        let merges = self.inside.take_merges(self.outer);
        let fields = Value::Map(self.fields);
        match self.tag {
            None => match self.merge {
                Some(merge) => Value::As(merge, Box::new(fields)),
                None => fields,
            },
            // A document cannot be replaced as a whole.
            Some(tag) if self.inside.depth == 1 => tag.tagged(fields),
            Some(tag) => Value::As(Merge::Variant { name: tag.name, merges }, Box::new(fields)),
        }
    }

    /// Ends a map of entries, or a struct with a flattened part.
    fn finish_map(self) -> Value {
        self.inside.merges.set(true);
        let fields = Value::Map(self.fields);
        match self.tag {
            None => Value::As(Merge::Entries, Box::new(fields)),
            Some(tag) => tag.tagged(fields),
        }
    }
}

impl Tag {
    fn tagged(self, fields: Value) -> Value {
        Value::As(Merge::Tagged { tag: self.key, name: self.name, content: self.content }, Box::new(fields))
    }
}

impl ser::SerializeMap for MapSerializer<'_> {
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
        Ok(self.finish_map())
    }
}

impl ser::SerializeStruct for MapSerializer<'_> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), FormatError> {
        self.field(key.to_owned(), value)
    }

    fn skip_field(&mut self, _: &'static str) -> Result<(), FormatError> {
        self.inside.merges.set(true);
        self.merge.get_or_insert(Merge::Partial);
        Ok(())
    }

    fn end(self) -> Result<Value, FormatError> {
        Ok(self.finish_struct())
    }
}

/// The content of an externally tagged variant.
pub(super) struct VariantSerializer<S> {
    pub(super) variant: &'static str,
    pub(super) content: S,
    /// The flag of the containing value before this value.
    pub(super) outer: bool,
}

impl ser::SerializeTupleVariant for VariantSerializer<ListSerializer<'_>> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), FormatError> {
        self.content.item(item).map_err(|error| error.in_field(self.variant))
    }

    fn end(self) -> Result<Value, FormatError> {
        let merges = self.content.inside.take_merges(self.outer);
        Ok(of_variant(self.variant, self.content.finish(), merges))
    }
}

impl ser::SerializeStructVariant for VariantSerializer<MapSerializer<'_>> {
    type Ok = Value;
    type Error = FormatError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), FormatError> {
        self.content.field(key.to_owned(), value).map_err(|error| error.in_field(self.variant))
    }

    fn end(self) -> Result<Value, FormatError> {
        let merges = self.content.inside.take_merges(self.outer);
        Ok(of_variant(self.variant, Value::Map(self.content.fields), merges))
    }
}

/// A variant with content: a map from its name to the content.
pub(super) fn of_variant(variant: &str, value: Value, merges: bool) -> Value {
    let merge = Merge::Variant { name: variant.to_owned(), merges };
    Value::As(merge, Box::new(Value::Map(BTreeMap::from([(variant.to_owned(), value)]))))
}
