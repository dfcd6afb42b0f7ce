//! Conversion between serde values and Automerge documents.
//!
//! [`to_value`] and [`from_value`] convert a component to a [`Value`] and back. [`read`] returns the content of a
//! document as a `Value`; a document that is isolated at a version is read at that version. [`edit`] makes the smallest
//! change that turns the value an app had seen into the value it has now. This module keeps no state: an edit is a
//! function of the seen value, the new value and the document.
//!
//! # How types map to documents
//!
//! Automerge's JavaScript library reads and writes the same documents.
//!
//! | Rust | document | JavaScript | concurrent edits |
//! | --- | --- | --- | --- |
//! | `String` | text | `string` | merge letter by letter |
//! | [`Scalar`], unit variants, tags, `char`, formatted values (`collect_str`) | scalar string | `ImmutableString` | one wins |
//! | integers, floats, `bool` | number, boolean | `number`, `boolean` | one wins |
//! | [`Counter`] | counter | `Counter` | add up |
//! | [`Timestamp`] | timestamp | `Date` | one wins |
//! | [`Bytes`], `serde_bytes` | bytes | `Uint8Array` | one wins |
//! | `None`, `()` | null | `null` | one wins |
//! | structs, maps | map | object | merge key by key |
//! | [`KeyedList`] | map of items | object | items added, moved and edited by both |
//! | `Vec` | list | array | insertions and deletions merge, and kept items merge inside |
//! | arrays, tuples | list of fixed length | array | merge item by item, in place |
//! | tuple structs, [`Whole`] | the inner value | the inner value | one wins |
//! | enums | as serde writes them | as serde writes them | one variant wins, with its content; texts, lists, maps and counters in it merge |
//!
//! Reading accepts more than writing produces: any kind of number that fits without loss, either kind of string, bytes
//! for a list of numbers, and a missing key for `None` or serde's default. An edit does not write a value that is equal
//! to the one in the document, even if the document holds it in another form. A counter or a timestamp keeps its kind
//! when a type writes it as a plain number.
//!
//! - An edit of a list recognises items by their field `id` or `key`, and items without such a field by their index.
//! - An unsorted set (`HashSet`) changes its order each time it is read, and an edit would write that order. Use a
//!   `BTreeSet`.
//! - A document that is an enum, and a flattened enum, cannot be replaced as a whole. Fields that several variants
//!   share must therefore have the same type.
//!
//! A document does not record which of these types wrote it. [`to_value`] therefore notes in the value how it merges
//! ([`Merge`]). Two apps may both be the first to make a text, list, map or counter; each such container is made by its
//! own change (`place.rs`). docs/format.md states the laws of merging that this module keeps.

mod deserialize;
mod edit;
mod entity;
mod error;
mod first;
mod guarded;
mod json;
mod keepable;
mod key;
mod keyed;
mod list;
mod path;
mod place;
pub mod position;
mod read;
mod register;
mod serialize;
mod shape;
mod text;
mod types;
mod value;
#[cfg(feature = "bevy")]
mod web;

pub use deserialize::{from_document, from_value};
pub use edit::Edited;
#[cfg(feature = "internals")]
pub use edit::create;
#[cfg(any(test, feature = "internals"))]
pub use edit::edit;
pub(crate) use edit::{Aliases, LeftOut, Options, Outcome, deleted_parts, edit_with, empty_value, is_struct, leaves};
pub use error::FormatError;
pub(crate) use first::{FirstChange, read_first, write_first};
pub(crate) use guarded::guarded_type;
pub(crate) use keepable::check as check_keepable;
pub use keyed::{ItemKey, KeyedList};
pub(crate) use list::edited_items;
pub(crate) use place::{PlaceChange, first_changes, is_place_change, prepare};
#[cfg(feature = "internals")]
pub use read::conflicts;
pub use read::read;
#[cfg(feature = "backend")]
pub(crate) use read::read_levels;
pub use serialize::to_value;
pub use shape::{Shape, shape};
pub use types::{Bytes, Counter, Scalar, Timestamp, Whole};
#[cfg(feature = "backend")]
pub(crate) use value::plain_integer;
pub use value::{Merge, Value};
#[cfg(feature = "bevy")]
pub(crate) use web::check_web_compatible;

/// The root field that holds the document's id. The replica writes it.
pub const ID: &str = "id";
/// The root field that makes a document a tombstone if it is true. The replica writes it.
pub const DELETED: &str = "deleted";
/// The root fields that the replica owns.
pub const RESERVED: [&str; 2] = [ID, DELETED];
/// Columns that a document's row in the backend's table has in addition to the document's fields. A component cannot
/// have a field with one of these names.
pub const ROW_COLUMNS: [&str; 3] = ["version", "timestamp", NOT_IN_ROW];
/// The column that lists the values of the document that are not in the row, because the table cannot hold them.
pub const NOT_IN_ROW: &str = "notInRow";
