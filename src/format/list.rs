//! Lists, edited by their minimal difference.

use std::ops::Range;

use automerge::{ObjId, ObjType, Prop, hydrate, transaction::Transactable};
use similar::{
    DiffOp,
    algorithms::{Capture, Replace, myers},
};

use super::{
    FormatError, Value,
    edit::{entry, hydrated},
    read,
};
use crate::limits::NESTING;

/// Up to so many items of the one times items of the other, what differs is compared item by item; beyond, they are
/// paired in order. The comparison takes time in proportion, and this is about 0.1 s of it.
const COMPARED: usize = 4_000_000;

/// The fields by which an item of a list is recognised when others of its fields have changed.
const IDENTITY: [&str; 2] = ["id", "key"];

/// Makes a list hold `value` where the app saw `seen`, or where it saw nothing that it could use; whether that took a
/// write.
pub(super) fn edit<T: Transactable>(
    document: &mut T,
    id: &ObjId,
    seen: Option<&[Value]>,
    value: &[Value],
) -> Result<bool, FormatError> {
    let Value::List(held) = read::object(document, id, ObjType::List, NESTING) else {
        return Ok(false);
    };
    // What an app sees need not be item by item what the document holds: a set has another order and fewer items.
    let seen = seen.filter(|seen| stand_for(seen, &held));
    let mut written = false;
    // The document's list is new before this, and old from here on.
    let mut index = 0;
    for step in steps(seen.unwrap_or(&held), value) {
        match step {
            Step::Keep(count) => index += count,
            Step::Edit { old, new } => {
                let seen = seen.map(|seen| &seen[old]);
                written |=
                    entry(document, id, Prop::Seq(index), seen, &value[new]).map_err(|error| error.in_item(new))?;
                index += 1;
            }
            Step::Replace { old, new } => {
                written = true;
                let count = new.len();
                let removed = isize::try_from(old).unwrap_or(isize::MAX);
                let items: Vec<hydrate::Value> = value[new].iter().map(|item| hydrated(document, item)).collect();
                document.splice(id, index, removed, items).map_err(FormatError::of_document)?;
                index += count;
            }
        }
    }
    Ok(written)
}

/// Whether `seen` is what a type makes of exactly these items, in this order. A type may round a number, leave fields
/// out and add defaults.
fn stand_for(seen: &[Value], held: &[Value]) -> bool {
    seen.len() == held.len() && seen.iter().zip(held).all(|(seen, held)| stands_for(seen, held))
}

fn stands_for(seen: &Value, held: &Value) -> bool {
    match (seen, held) {
        (Value::Map(seen), Value::Map(held)) => {
            seen.iter().all(|(key, seen)| held.get(key).is_none_or(|held| stands_for(seen, held)))
        }
        (Value::List(seen), Value::List(held)) => stand_for(seen, held),
        (Value::Float(seen), Value::Float(held)) => seen == held || *seen as f32 == *held as f32 || seen.is_nan(),
        (seen, held) => seen == held || seen.as_whole().is_some_and(|seen| held.as_whole() == Some(seen)),
    }
}

/// What happens to a list's items, in order.
#[derive(Debug, PartialEq)]
enum Step {
    /// So many are as they were.
    Keep(usize),
    /// One has changed.
    Edit { old: usize, new: usize },
    /// So many give way to others.
    Replace { old: usize, new: Range<usize> },
}

fn steps(old: &[Value], new: &[Value]) -> Vec<Step> {
    let mut steps = Vec::new();
    for op in difference(old, new, Equal) {
        match op {
            DiffOp::Equal { len, .. } => steps.push(Step::Keep(len)),
            op => changed(&mut steps, old, new, op.old_range(), op.new_range()),
        }
    }
    steps
}

/// Items that differ on both sides are paired, so that what is in them merges: those that are recognised with each
/// other, others in order.
fn changed(steps: &mut Vec<Step>, old: &[Value], new: &[Value], olds: Range<usize>, news: Range<usize>) {
    if !new[news.clone()].iter().any(|item| identity(item).is_some()) {
        let pairs = olds.len().min(news.len());
        steps.extend(olds.clone().zip(news.clone()).map(|(old, new)| Step::Edit { old, new }));
        if olds.len() != news.len() {
            steps.push(Step::Replace { old: olds.len() - pairs, new: news.start + pairs..news.end });
        }
        return;
    }
    for op in difference(&old[olds.clone()], &new[news.clone()], Same) {
        match op {
            DiffOp::Equal { old_index, new_index, len } => steps.extend(
                (0..len).map(|i| Step::Edit { old: olds.start + old_index + i, new: news.start + new_index + i }),
            ),
            op => {
                let range = op.new_range();
                steps.push(Step::Replace {
                    old: op.old_range().len(),
                    new: news.start + range.start..news.start + range.end,
                });
            }
        }
    }
}

fn identity(item: &Value) -> Option<&Value> {
    IDENTITY.iter().find_map(|key| item.get(key)).filter(|identity| **identity != Value::Null)
}

/// Equal in all.
struct Equal<'a>(&'a Value);

impl PartialEq for Equal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

/// The same item, whatever has changed in it.
struct Same<'a>(&'a Value);

impl PartialEq for Same<'_> {
    fn eq(&self, other: &Self) -> bool {
        identity(self.0).is_some_and(|identity_of_this| identity(other.0) == Some(identity_of_this))
    }
}

fn difference<'a, E: PartialEq>(old: &'a [Value], new: &'a [Value], by: impl Fn(&'a Value) -> E) -> Vec<DiffOp> {
    let old: Vec<E> = old.iter().map(&by).collect();
    let new: Vec<E> = new.iter().map(&by).collect();
    let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(old, new)| old == new).count();
    let (olds, news) = (start..old.len() - end, start..new.len() - end);
    let mut ops = Vec::new();
    if start > 0 {
        ops.push(DiffOp::Equal { old_index: 0, new_index: 0, len: start });
    }
    if olds.len().saturating_mul(news.len()) <= COMPARED {
        let mut capture = Replace::new(Capture::new());
        match myers::diff(&mut capture, &old, olds.clone(), &new, news.clone()) {
            Ok(()) => ops.extend(capture.into_inner().into_ops()),
            Err(never) => match never {},
        }
    } else {
        ops.push(DiffOp::Replace {
            old_index: olds.start,
            old_len: olds.len(),
            new_index: news.start,
            new_len: news.len(),
        });
    }
    if end > 0 {
        ops.push(DiffOp::Equal { old_index: olds.end, new_index: news.end, len: end });
    }
    ops
}
