//! Types that are described at run time, and their versions.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bevy_convex_replicate::format::{self, KeyedList};
use rand::{Rng, seq::IndexedRandom};

use crate::value::{Typed, Val, as_shape};

/// The types that serde's derive supports.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Bool,
    Int,
    Float,
    Char,
    Text,
    Scalar,
    Counter,
    Timestamp,
    Bytes,
    Option(Arc<Shape>),
    List(Arc<Shape>),
    Map(Arc<Shape>),
    /// A tuple or an array.
    Tuple(Arc<[Shape]>),
    TupleStruct(Arc<[Shape]>),
    Newtype(Arc<Shape>),
    Struct(Arc<Struct>),
    Enum(Arc<Enum>),
    Keyed(Arc<Shape>),
    Whole(Arc<Shape>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Struct {
    pub fields: Vec<Field>,
    /// The representations of serde's derive.
    pub names: &'static [&'static str],
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Identifies the field in all versions.
    pub id: usize,
    pub name: &'static str,
    pub alias: Option<&'static str>,
    pub shape: Shape,
    /// `#[serde(default = "..")]`.
    pub default: Option<Val>,
    /// `#[serde(skip_serializing_if = "..")]`: not written if it equals the default.
    pub skip_if: bool,
    /// `#[serde(skip)]`
    pub skip: bool,
    /// A later version of the type has it, and an earlier one has not.
    pub added: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Repr {
    External,
    Internal,
    Adjacent,
    Untagged,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Enum {
    pub repr: Repr,
    pub variants: Vec<Variant>,
    pub names: &'static [&'static str],
    /// Whether the last variant, a unit, has `#[serde(other)]`.
    pub other: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub name: &'static str,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Unit,
    Newtype(Shape),
    Tuple(Arc<[Shape]>),
    Struct(Arc<Struct>),
}

pub const TAG: &str = "tag";
pub const CONTENT: &str = "content";

/// Names of fields, and the names that a later version gives them.
const FIELDS: [[&str; 2]; 12] = [
    ["a", "a_new"],
    ["b", "b_new"],
    ["c", "c_new"],
    ["d", "d_new"],
    ["e", "e_new"],
    ["f", "f_new"],
    ["g", "g_new"],
    ["h", "h_new"],
    ["i", "i_new"],
    ["j", "j_new"],
    ["k", "k_new"],
    ["l", "l_new"],
];
const VARIANTS: [&str; 5] = ["One", "Two", "Three", "Four", "Five"];

/// The name of a field in the first version.
pub fn first_name(name: &str) -> &str {
    name.strip_suffix("_new").unwrap_or(name)
}

/// serde needs names with the lifetime `'static`. There are few different lists of them.
fn leaked(names: Vec<&'static str>) -> &'static [&'static str] {
    use std::sync::Mutex;
    static KNOWN: Mutex<BTreeMap<Vec<&'static str>, &'static [&'static str]>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    known.entry(names.clone()).or_insert_with(|| names.leak())
}

impl Struct {
    pub fn new(fields: Vec<Field>) -> Self {
        let written = fields.iter().filter(|field| !field.skip);
        let names = written.flat_map(|field| std::iter::once(field.name).chain(field.alias)).collect();
        Self { names: leaked(names), fields }
    }

    pub fn find(&self, key: &str) -> Option<usize> {
        self.fields.iter().position(|field| !field.skip && (field.name == key || field.alias == Some(key)))
    }
}

impl Enum {
    pub fn new(repr: Repr, variants: Vec<Variant>, other: bool) -> Self {
        let names = leaked(variants.iter().map(|variant| variant.name).collect());
        Self { repr, variants, names, other }
    }
}

/// The source of letters and numbers. Each is unique in a case, so that it can be found again.
pub struct Fresh {
    next: u32,
}

impl Fresh {
    /// The source for one edit. `0` is for the initial document.
    pub fn of_edit(edit: usize) -> Self {
        Self { next: edit as u32 * 64 }
    }

    pub fn letter(&mut self) -> char {
        self.next += 1;
        char::from_u32(0x4e00 + self.next).unwrap_or('?')
    }

    pub fn number(&mut self) -> i64 {
        self.next += 1;
        i64::from(self.next)
    }

    pub fn word(&mut self) -> String {
        self.next += 1;
        format!("w{}", self.next)
    }
}

/// A random shape. `inside` is the number of further levels. `plain` means that serde buffers the value, which excludes
/// bytes.
pub fn shape(rng: &mut impl Rng, inside: usize, plain: bool) -> Shape {
    let leaf = inside == 0 || rng.random_bool(0.35);
    if leaf {
        return match rng.random_range(0..11) {
            0 => Shape::Bool,
            1 => Shape::Int,
            2 => Shape::Float,
            3 => Shape::Char,
            4 | 5 => Shape::Text,
            6 => Shape::Scalar,
            7 | 8 => Shape::Counter,
            9 => Shape::Timestamp,
            _ if plain => Shape::Text,
            _ => Shape::Bytes,
        };
    }
    let deeper = inside - 1;
    match rng.random_range(0..15) {
        0 | 1 => match shape(rng, deeper, plain) {
            // serde cannot distinguish nested options.
            inner if is_nullable(&inner) => inner,
            inner => Shape::Option(Arc::new(inner)),
        },
        2 => Shape::List(Arc::new(Shape::Int)),
        3 => Shape::List(Arc::new(item(rng, deeper, plain))),
        4 => Shape::List(Arc::new(shape(rng, deeper, plain))),
        5 | 6 => Shape::Map(Arc::new(shape(rng, deeper, plain))),
        7 => {
            let of = shape(rng, deeper, plain);
            Shape::Tuple(vec![of; rng.random_range(1..4)].into())
        }
        8 => Shape::TupleStruct((0..rng.random_range(2..4)).map(|_| shape(rng, 0, plain)).collect()),
        9 => Shape::Newtype(Arc::new(shape(rng, deeper, plain))),
        10 | 11 => Shape::Struct(Arc::new(structure(rng, deeper, plain, 3))),
        12 => Shape::Whole(Arc::new(match shape(rng, deeper.min(1), plain) {
            // A counter merges by adding up.
            Shape::Counter | Shape::Option(_) | Shape::Newtype(_) => Shape::Text,
            inner => inner,
        })),
        13 => Shape::Enum(Arc::new(enumeration(rng, deeper, plain))),
        _ => Shape::Keyed(Arc::new(shape(rng, deeper, plain))),
    }
}

/// A struct with an `id`, for the items of a list.
fn item(rng: &mut impl Rng, inside: usize, plain: bool) -> Shape {
    let mut fields = structure(rng, inside, plain, 2).fields;
    fields.insert(0, field(11, "id", Shape::Scalar));
    Shape::Struct(Arc::new(Struct::new(fields)))
}

pub fn field(id: usize, name: &'static str, shape: Shape) -> Field {
    Field { id, name, alias: None, shape, default: None, skip_if: false, skip: false, added: false }
}

/// A struct with up to `most` fields.
pub fn structure(rng: &mut impl Rng, inside: usize, plain: bool, most: usize) -> Struct {
    let fields = (0..rng.random_range(1..=most)).map(|id| {
        let mut field = field(id, FIELDS[id][0], shape(rng, inside, plain));
        field.skip = rng.random_bool(0.05);
        if field.skip || rng.random_bool(0.4) {
            field.default = Some(default(rng, &field.shape));
            // An omitted field is not visible, so its default must be empty, as with `Vec::is_empty` and
            // `Option::is_none`.
            field.skip_if = field.default.as_ref().is_some_and(is_blank) && rng.random_bool(0.5);
        }
        field
    });
    Struct::new(fields.collect())
}

/// A default value, which is usually empty.
fn default(rng: &mut impl Rng, shape: &Shape) -> Val {
    if rng.random_bool(0.3) { generate(shape, rng, &mut Fresh::of_edit(0)) } else { empty(shape) }
}

/// Whether a value is empty.
pub fn is_blank(val: &Val) -> bool {
    match val {
        Val::Bool(yes) => !yes,
        Val::Int(number) => *number == 0,
        Val::Float(number) => *number == 0.0,
        Val::Text(text) => text.is_empty() || text == "-",
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::Option(held) => held.is_none(),
        Val::List(items) => items.iter().all(is_blank),
        Val::Map(entries) => entries.is_empty(),
        Val::Variant(..) | Val::Unknown(_) => false,
        Val::Keyed(list) => list.is_empty(),
    }
}

/// Whether a value may be written as null.
fn is_nullable(shape: &Shape) -> bool {
    match shape {
        Shape::Option(_) => true,
        Shape::Newtype(inner) | Shape::Whole(inner) => is_nullable(inner),
        _ => false,
    }
}

/// `Default::default()`
pub fn empty(shape: &Shape) -> Val {
    match shape {
        Shape::Bool => Val::Bool(false),
        Shape::Int => Val::Int(0),
        Shape::Float => Val::Float(0.0),
        Shape::Char => Val::Text("-".into()),
        Shape::Text | Shape::Scalar => Val::Text(String::new()),
        Shape::Counter | Shape::Timestamp => Val::Int(0),
        Shape::Bytes => Val::Bytes(Vec::new()),
        Shape::Option(_) => Val::Option(None),
        Shape::List(_) => Val::List(Vec::new()),
        Shape::Map(_) => Val::Map(BTreeMap::new()),
        Shape::Keyed(_) => Val::Keyed(KeyedList::new()),
        Shape::Tuple(items) | Shape::TupleStruct(items) => Val::List(items.iter().map(empty).collect()),
        Shape::Newtype(inner) | Shape::Whole(inner) => empty(inner),
        Shape::Struct(inner) => Val::List(inner.fields.iter().map(of_field).collect()),
        Shape::Enum(inner) => Val::Variant(0, content(&inner.variants[0].content, &mut |shape| empty(shape))),
    }
}

fn of_field(field: &Field) -> Val {
    field.default.clone().unwrap_or_else(|| empty(&field.shape))
}

fn content(content: &Content, make: &mut dyn FnMut(&Shape) -> Val) -> Vec<Val> {
    match content {
        Content::Unit => Vec::new(),
        Content::Newtype(inner) => vec![make(inner)],
        Content::Tuple(items) => items.iter().map(make).collect(),
        Content::Struct(inner) => {
            inner.fields.iter().map(|field| if field.skip { of_field(field) } else { make(&field.shape) }).collect()
        }
    }
}

fn enumeration(rng: &mut impl Rng, inside: usize, plain: bool) -> Enum {
    let repr = *[Repr::External, Repr::Internal, Repr::Adjacent, Repr::Untagged].choose(rng).unwrap_or(&Repr::External);
    let buffered = plain || repr != Repr::External;
    if repr == Repr::Untagged {
        let of = |name, shape| Variant { name, content: Content::Newtype(shape) };
        let variants = vec![
            of("Whole", Shape::Int),
            of("Words", Shape::Text),
            of("Fraction", Shape::Float),
            of("Yes", Shape::Bool),
            Variant { name: "Parts", content: Content::Struct(Arc::new(structure(rng, inside, true, 2))) },
        ];
        return Enum::new(repr, variants, false);
    }
    let mut variants: Vec<Variant> = (0..rng.random_range(2..4))
        .map(|index| {
            let content = match rng.random_range(0..5) {
                0 => Content::Unit,
                1 if repr == Repr::Internal => Content::Unit,
                2 if repr == Repr::Internal => {
                    Content::Newtype(Shape::Struct(Arc::new(structure(rng, inside, buffered, 2))))
                }
                1 => Content::Tuple((0..2).map(|_| shape(rng, inside, buffered)).collect()),
                2 => match shape(rng, inside, buffered) {
                    // A missing content would be read as `None`.
                    Shape::Option(inner) => Content::Newtype((*inner).clone()),
                    inner => Content::Newtype(inner),
                },
                _ => Content::Struct(Arc::new(structure(rng, inside, buffered, 2))),
            };
            Variant { name: VARIANTS[index], content }
        })
        .collect();
    let other = rng.random_bool(0.2);
    if other {
        variants.push(Variant { name: "Other", content: Content::Unit });
    }
    Enum::new(repr, variants, other)
}

/// A later version of a struct, with fields added or renamed, defaults changed and variants added.
pub fn next_version(rng: &mut impl Rng, old: &Struct, depth: usize) -> Struct {
    let mut fields: Vec<Field> = old
        .fields
        .iter()
        .map(|field| {
            let shape = next_shape(rng, &field.shape, depth);
            let default = field.default.as_ref().map(|default| carried(&field.shape, default, &shape));
            Field { shape, default, ..field.clone() }
        })
        .collect();
    if rng.random_bool(0.7) {
        let id = fields.iter().filter(|field| field.name != "id").map(|field| field.id + 1).max().unwrap_or(0);
        let new = shape(rng, depth.min(2), true);
        let new = if rng.random_bool(0.3) && !is_nullable(&new) {
            field(id, FIELDS[id][0], Shape::Option(Arc::new(new)))
        } else {
            let default = default(rng, &new);
            let skip_if = is_blank(&default) && rng.random_bool(0.4);
            Field { default: Some(default), skip_if, ..field(id, FIELDS[id][0], new) }
        };
        fields.push(Field { added: true, ..new });
    }
    if let Some(field) = fields.choose_mut_at(rng)
        && rng.random_bool(0.2)
        && !field.skip
        && field.alias.is_none()
        && field.name != "id"
    {
        field.alias = Some(field.name);
        field.name = FIELDS[field.id][1];
    }
    Struct::new(fields)
}

/// The value of a later version that corresponds to a value of an earlier one.
fn carried(old: &Shape, val: &Val, new: &Shape) -> Val {
    let document = format::to_value(&Typed { shape: old.clone(), val: val.clone() });
    let read = document.and_then(|document| as_shape(new, || format::from_value::<Typed>(&document)));
    read.map_or_else(|_| empty(new), |typed| typed.val)
}

trait ChooseMut<T> {
    fn choose_mut_at(&mut self, rng: &mut impl Rng) -> Option<&mut T>;
}

impl<T> ChooseMut<T> for Vec<T> {
    fn choose_mut_at(&mut self, rng: &mut impl Rng) -> Option<&mut T> {
        let at = rng.random_range(0..self.len().max(1));
        self.get_mut(at)
    }
}

fn next_shape(rng: &mut impl Rng, old: &Shape, depth: usize) -> Shape {
    let next = |rng: &mut _, old: &Arc<Shape>| Arc::new(next_shape(rng, old, depth.saturating_sub(1)));
    match old {
        Shape::Option(inner) => Shape::Option(next(rng, inner)),
        Shape::List(inner) => Shape::List(next(rng, inner)),
        Shape::Map(inner) => Shape::Map(next(rng, inner)),
        Shape::Keyed(inner) => Shape::Keyed(next(rng, inner)),
        Shape::Struct(inner) if rng.random_bool(0.5) => {
            Shape::Struct(Arc::new(next_version(rng, inner, depth.saturating_sub(1))))
        }
        Shape::Enum(inner) if inner.repr != Repr::Untagged && rng.random_bool(0.6) => {
            let mut variants = inner.variants.clone();
            let at = variants.len() - usize::from(inner.other);
            let content = match rng.random_range(0..3) {
                0 => Content::Unit,
                _ => Content::Struct(Arc::new(structure(rng, depth.min(1), true, 2))),
            };
            variants.insert(at, Variant { name: VARIANTS[at.min(4)], content });
            Shape::Enum(Arc::new(Enum::new(inner.repr, variants, inner.other)))
        }
        other => other.clone(),
    }
}

/// A random value.
pub fn generate(shape: &Shape, rng: &mut impl Rng, fresh: &mut Fresh) -> Val {
    match shape {
        Shape::Bool => Val::Bool(rng.random()),
        Shape::Int | Shape::Counter | Shape::Timestamp => Val::Int(fresh.number()),
        Shape::Float => Val::Float(fresh.number() as f64 + if rng.random() { 0.0 } else { 0.5 }),
        Shape::Char => Val::Text(fresh.letter().into()),
        Shape::Text => Val::Text((0..rng.random_range(0..4)).map(|_| fresh.letter()).collect()),
        Shape::Scalar => Val::Text(fresh.word()),
        Shape::Bytes => Val::Bytes((0..rng.random_range(0..3)).map(|_| fresh.number() as u8).collect()),
        Shape::Option(inner) => Val::Option(rng.random_bool(0.5).then(|| generate(inner, rng, fresh).into())),
        Shape::List(inner) => Val::List((0..rng.random_range(0..4)).map(|_| generate(inner, rng, fresh)).collect()),
        Shape::Map(inner) => {
            let keys: Vec<String> = (0..3).filter(|_| rng.random_bool(0.4)).map(key).collect();
            Val::Map(keys.into_iter().map(|key| (key, generate(inner, rng, fresh))).collect())
        }
        Shape::Keyed(inner) => {
            let mut list = KeyedList::new();
            for _ in 0..rng.random_range(0..4) {
                let val = generate(inner, rng, fresh);
                list.insert_with_key(list.len(), fresh.word().into(), Typed { shape: (**inner).clone(), val });
            }
            Val::Keyed(list)
        }
        Shape::Tuple(items) | Shape::TupleStruct(items) => {
            Val::List(items.iter().map(|item| generate(item, rng, fresh)).collect())
        }
        Shape::Newtype(inner) | Shape::Whole(inner) => generate(inner, rng, fresh),
        Shape::Struct(inner) => {
            let of = |field: &Field| {
                if field.skip || field.default.is_some() && rng.random_bool(0.3) {
                    of_field(field)
                } else {
                    generate(&field.shape, rng, fresh)
                }
            };
            Val::List(inner.fields.iter().map(of).collect())
        }
        Shape::Enum(inner) => {
            // No app makes the variant that stands for unknown variants.
            let variants = inner.variants.len() - usize::from(inner.other);
            let variant = rng.random_range(0..variants);
            Val::Variant(variant, content(&inner.variants[variant].content, &mut |shape| generate(shape, rng, fresh)))
        }
    }
}

fn key(number: usize) -> String {
    format!("key{number}")
}

/// One edit by a user.
pub fn mutate(shape: &Shape, val: &Val, rng: &mut impl Rng, fresh: &mut Fresh) -> Val {
    let mut val = val.clone();
    match (shape, &mut val) {
        (Shape::Bool, Val::Bool(yes)) => *yes = !*yes,
        (Shape::Counter, Val::Int(count)) => *count += rng.random_range(1..9),
        (Shape::Text, Val::Text(text)) => {
            let mut letters: Vec<char> = text.chars().collect();
            match rng.random_range(0..8) {
                0 => letters.clear(),
                1 | 2 if !letters.is_empty() => drop(letters.remove(rng.random_range(0..letters.len()))),
                _ => {
                    let at = rng.random_range(0..=letters.len());
                    (0..rng.random_range(1..3)).for_each(|_| letters.insert(at, fresh.letter()));
                }
            }
            *text = letters.into_iter().collect();
        }
        (Shape::Option(inner), Val::Option(held)) => {
            *held = match held {
                Some(_) if rng.random_bool(0.25) => None,
                Some(held) => Some(mutate(inner, held, rng, fresh).into()),
                None => Some(generate(inner, rng, fresh).into()),
            };
        }
        (Shape::List(inner), Val::List(items)) => {
            let has_id = matches!(&**inner, Shape::Struct(of) if of.fields.iter().any(|field| field.name == "id"));
            let len = items.len();
            match rng.random_range(0..8) {
                0 if len > 0 => items.clear(),
                1 | 2 if len > 0 => drop(items.remove(rng.random_range(0..len))),
                3 if len > 1 && has_id => {
                    let item = items.remove(rng.random_range(0..len));
                    items.insert(rng.random_range(0..len), item);
                }
                4 | 5 if len > 0 && has_id => {
                    let at = rng.random_range(0..len);
                    items[at] = mutate(inner, &items[at], rng, fresh);
                }
                _ => items.insert(rng.random_range(0..=len), generate(inner, rng, fresh)),
            }
        }
        (Shape::Map(inner), Val::Map(entries)) => {
            let key = key(rng.random_range(0..3));
            match entries.get(&key) {
                Some(_) if rng.random_bool(0.3) => drop(entries.remove(&key)),
                Some(held) => drop(entries.insert(key, mutate(inner, held, rng, fresh))),
                None => drop(entries.insert(key, generate(inner, rng, fresh))),
            }
        }
        (Shape::Keyed(inner), Val::Keyed(list)) => {
            let len = list.len();
            let at = rng.random_range(0..len.max(1));
            let key = list.get_index(at).map(|(key, _)| key.clone());
            match (rng.random_range(0..6), key) {
                (0, Some(key)) => drop(list.remove(&key)),
                (1 | 2, Some(key)) if len > 1 => {
                    list.move_to(&key, (at + rng.random_range(1..len)) % len);
                }
                (3 | 4, Some(_)) => list[at].val = mutate(inner, &list[at].val, rng, fresh),
                _ => {
                    let val = generate(inner, rng, fresh);
                    let item = Typed { shape: (**inner).clone(), val };
                    list.insert_with_key(rng.random_range(0..=len), fresh.word().into(), item);
                }
            }
        }
        (Shape::Tuple(shapes) | Shape::TupleStruct(shapes), Val::List(items)) => {
            let at = rng.random_range(0..items.len());
            items[at] = mutate(&shapes[at], &items[at], rng, fresh);
        }
        (Shape::Newtype(inner) | Shape::Whole(inner), val) => *val = mutate(inner, val, rng, fresh),
        (Shape::Struct(inner), Val::List(items)) => mutate_fields(inner, items, rng, fresh),
        (Shape::Enum(inner), Val::Variant(variant, content)) => {
            let of = &inner.variants[*variant].content;
            if rng.random_bool(0.4) || matches!(of, Content::Unit) {
                val = generate(shape, rng, fresh);
            } else {
                match of {
                    Content::Newtype(shape) => content[0] = mutate(shape, &content[0], rng, fresh),
                    Content::Tuple(shapes) => {
                        let at = rng.random_range(0..content.len());
                        content[at] = mutate(&shapes[at], &content[at], rng, fresh);
                    }
                    Content::Struct(shape) => mutate_fields(shape, content, rng, fresh),
                    Content::Unit => {}
                }
            }
        }
        (shape, val) => *val = generate(shape, rng, fresh),
    }
    val
}

fn mutate_fields(shape: &Struct, items: &mut [Val], rng: &mut impl Rng, fresh: &mut Fresh) {
    let open: Vec<usize> =
        (0..items.len()).filter(|index| !shape.fields[*index].skip && shape.fields[*index].name != "id").collect();
    if let Some(index) = open.choose(rng) {
        items[*index] = mutate(&shape.fields[*index].shape, &items[*index], rng, fresh);
    }
}

/// The type as Rust spells it.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |items: &[Shape]| items.iter().map(Shape::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Shape::Option(inner) => write!(f, "Option<{inner}>"),
            Shape::List(inner) => write!(f, "Vec<{inner}>"),
            Shape::Map(inner) => write!(f, "BTreeMap<String, {inner}>"),
            Shape::Keyed(inner) => write!(f, "KeyedList<{inner}>"),
            Shape::Whole(inner) => write!(f, "Whole<{inner}>"),
            Shape::Tuple(items) => write!(f, "({},)", all(items)),
            Shape::TupleStruct(items) => write!(f, "struct({})", all(items)),
            Shape::Newtype(inner) => write!(f, "struct({inner})"),
            Shape::Struct(inner) => write!(f, "{inner}"),
            Shape::Enum(inner) => {
                write!(f, "{:?} enum {{", inner.repr)?;
                for variant in &inner.variants {
                    let name = variant.name;
                    match &variant.content {
                        Content::Unit => write!(f, " {name},")?,
                        Content::Newtype(inner) => write!(f, " {name}({inner}),")?,
                        Content::Tuple(items) => write!(f, " {name}({}),", all(items))?,
                        Content::Struct(inner) => write!(f, " {name} {inner},")?,
                    }
                }
                write!(f, " }}{}", if inner.other { " with other" } else { "" })
            }
            leaf => write!(f, "{leaf:?}"),
        }
    }
}

impl fmt::Display for Struct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for field in &self.fields {
            write!(f, " ")?;
            if field.skip {
                write!(f, "#[skip] ")?;
            }
            if let Some(default) = &field.default {
                write!(f, "#[default = {default:?}{}] ", if field.skip_if { ", skip_if" } else { "" })?;
            }
            if let Some(alias) = field.alias {
                write!(f, "#[alias = {alias}] ")?;
            }
            write!(f, "{}: {},", field.name, field.shape)?;
        }
        f.write_str(" }")
    }
}
