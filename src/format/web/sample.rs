//! Values for the elements of a tuple that are not looked at: zero, empty, `None`.

use serde::de::{self, DeserializeSeed, Visitor};

use super::End;
use crate::limits::NESTING;

/// Deserializes to the simplest value of a type.
#[derive(Clone, Copy, Default)]
pub(super) struct Sample {
    depth: usize,
}

impl Sample {
    /// Fails for a type that contains itself in every value.
    fn inside(self) -> Result<Self, End> {
        if self.depth >= NESTING { Err(End) } else { Ok(Sample { depth: self.depth + 1 }) }
    }
}

macro_rules! values {
    ($($visit:ident($value:expr): $($method:ident)*;)*) => {
        $($(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
            visitor.$visit($value)
        })*)*
    };
}

impl<'de> de::Deserializer<'de> for Sample {
    type Error = End;

    values! {
        visit_bool(false): deserialize_bool;
        visit_u8(0): deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
            deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128;
        visit_f32(0.0): deserialize_f32 deserialize_f64;
        visit_char('a'): deserialize_char;
        visit_borrowed_str("a"): deserialize_str deserialize_string deserialize_identifier;
        visit_borrowed_bytes(&[]): deserialize_bytes deserialize_byte_buf;
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
        Err(End)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, End> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, End> {
        visitor.visit_newtype_struct(self.inside()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        self.deserialize_tuple(0, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, End> {
        visitor.visit_seq(Parts { sample: self.inside()?, names: &[], left: length })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, End> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        visitor.visit_map(Parts { sample: self.inside()?, names: &[], left: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        visitor.visit_map(Parts { sample: self.inside()?, names, left: names.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        visitor.visit_enum(First { sample: self.inside()?, name: variants.first().ok_or(End)? })
    }
}

/// The elements of a list, or the fields of a struct.
struct Parts {
    sample: Sample,
    names: &'static [&'static str],
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Parts {
    type Error = End;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, End> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(self.sample).map(Some)
    }
}

impl<'de> de::MapAccess<'de> for Parts {
    type Error = End;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, End> {
        let Some(name) = self.names.len().checked_sub(self.left).and_then(|at| self.names.get(at)) else {
            return Ok(None);
        };
        self.left -= 1;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, End> {
        seed.deserialize(self.sample)
    }
}

/// The first variant of an enum.
struct First {
    sample: Sample,
    name: &'static str,
}

impl<'de> de::EnumAccess<'de> for First {
    type Error = End;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), End> {
        Ok((seed.deserialize(de::value::BorrowedStrDeserializer::<End>::new(self.name))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for First {
    type Error = End;

    fn unit_variant(self) -> Result<(), End> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, End> {
        seed.deserialize(self.sample)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, End> {
        de::Deserializer::deserialize_tuple(self.sample, length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, End> {
        de::Deserializer::deserialize_struct(self.sample, self.name, fields, visitor)
    }
}
