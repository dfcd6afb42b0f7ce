//! Edits of lists: the minimal difference between two lists.

use std::{collections::HashSet, ops::Range};

use automerge::{ObjId, ObjType, Prop, hydrate, transaction::Transactable};
use similar::{
    DiffOp,
    algorithms::{Capture, Replace, myers},
};

use super::{
    FormatError, Value,
    edit::{Edit, hydrated},
    read,
    register::carried,
};
use crate::limits::NESTING;

/// The largest product of the lengths of two differing sections that is compared item by item. Items of larger sections
/// are paired in order. The time of the comparison grows with this product; it is about 0.1 s at this limit.
const MAX_COMPARISONS: usize = 4_000_000;

/// The fields that identify an item of a list when its other fields have changed.
const IDENTITY: [&str; 2] = ["id", "key"];

/// Applies the change from `seen` to `value` to a list and returns whether it wrote something. Without `seen`, the
/// change is made from the items that the list holds.
pub(super) fn edit<T: Transactable>(
    edit: &mut Edit<T>,
    id: &ObjId,
    seen: Option<&[Value]>,
    value: &[Value],
) -> Result<bool, FormatError> {
    let Value::List(held) = read::object(edit.document, id, ObjType::List, NESTING) else {
        return Ok(false);
    };
    let plan = Plan::new(&held, seen, value);
    let mut written = false;
    for EditedItem { held: index, seen, value: new } in &plan.edited {
        let refused = edit.refused.len();
        let result = edit.entry(id, Prop::Seq(*index), seen.map(|(_, seen)| seen), &value[*new]);
        edit.refused_in(refused, |error| error.in_item(*new));
        written |= result.map_err(|error| error.in_item(*new))?;
    }
    // The original index of each item that is in the list now. Items are removed from the end, so that the indices of
    // the others stay valid.
    let mut places: Vec<Option<usize>> = (0..held.len()).map(Some).collect();
    let mut end = held.len();
    while let Some(last) = (0..end).rev().find(|index| plan.removed.contains(index)) {
        let first = (0..last).rev().take_while(|index| plan.removed.contains(index)).last().unwrap_or(last);
        splice(edit, id, first, last + 1 - first, Vec::new())?;
        places.drain(first..=last);
        (end, written) = (first, true);
    }
    for insertion in &plan.inserted {
        let after = insertion.after.and_then(|held| places.iter().position(|place| *place == Some(held)));
        let index = match (insertion.after, after) {
            (None, _) => 0,
            (Some(_), Some(index)) => index + 1,
            (Some(_), None) => places.len(),
        };
        // Items of one insertion, and insertions after the same item, are in order.
        let index = index + places[index..].iter().take_while(|place| place.is_none()).count();
        let items = insertion.items.iter().map(|(new, origin)| match origin {
            Some((held_at, (_, seen))) => {
                carried(Some(&held[*held_at]), Some(seen), &value[*new], edit.options.aliases)
            }
            None => value[*new].clone(),
        });
        let items: Vec<hydrate::Value> = items.map(|item| hydrated(edit.document, &item)).collect();
        places.splice(index..index, items.iter().map(|_| None));
        splice(edit, id, index, 0, items)?;
        written = true;
    }
    Ok(written)
}

fn splice<T: Transactable>(
    edit: &mut Edit<T>,
    id: &ObjId,
    index: usize,
    removed: usize,
    items: Vec<hydrate::Value>,
) -> Result<(), FormatError> {
    let removed = isize::try_from(removed).unwrap_or(isize::MAX);
    edit.document.splice(id, index, removed, items).map_err(FormatError::of_document)
}

/// Refuses a value in which a list has two items with the same id, because reading returns only one of them.
pub(super) fn unique(value: &Value) -> Result<(), FormatError> {
    let items = match value.plain() {
        Value::List(items) => items,
        Value::Map(fields) => {
            return fields.iter().try_for_each(|(key, value)| unique(value).map_err(|error| error.in_field(key)));
        }
        _ => return Ok(()),
    };
    let mut ids = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        unique(item).map_err(|error| error.in_item(index))?;
        let Some(id) = id_of(item) else { continue };
        if ids.contains(&id) {
            let message = format!(
                "two items of the list have the id {id}, but an item may be in a list only once. If the field does not \
                 identify the item, rename it, e.g. with `#[serde(rename = \"ref\")]`"
            );
            return Err(FormatError::new(message).in_item(index));
        }
        ids.insert(id);
    }
    Ok(())
}

/// The id of an item as text.
fn id_of(item: &Value) -> Option<String> {
    let id = item.get("id")?.plain();
    id.as_str().map(|id| format!("{id:?}")).or_else(|| id.as_whole().map(|id| id.to_string()))
}

/// The items of a list with their indices, without repeated ids. An item has two places after two apps moved it at the
/// same time; the first place counts. Returns `None` if no id is repeated.
pub(super) fn without_doubles(items: &[Value]) -> Option<Vec<(usize, &Value)>> {
    let mut ids = HashSet::new();
    let chosen: Vec<_> =
        items.iter().enumerate().filter(|(_, item)| id_of(item).is_none_or(|id| ids.insert(id))).collect();
    (chosen.len() < items.len()).then_some(chosen)
}

/// The steps of an edit of a list.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan<'a> {
    /// Items that are changed at their place.
    pub(super) edited: Vec<EditedItem<'a>>,
    /// Indices of the held items that are removed.
    removed: HashSet<usize>,
    inserted: Vec<Insertion<'a>>,
}

/// An item that is changed: its index in the document's list, the item that the app had seen with its index, and the
/// index of its new value.
#[derive(Debug, PartialEq)]
pub(crate) struct EditedItem<'a> {
    pub(crate) held: usize,
    pub(crate) seen: Option<(usize, &'a Value)>,
    pub(crate) value: usize,
}

/// The items of a list that an edit from `seen` to `value` changes, at their place or while it moves them.
pub(crate) fn edited_items<'a>(held: &'a [Value], seen: &'a [Value], value: &'a [Value]) -> Vec<EditedItem<'a>> {
    let has_content = |item: &Value| matches!(item, Value::Map(_) | Value::List(_));
    if !held.iter().any(has_content) {
        return Vec::new();
    }
    let plan = Plan::new(held, Some(seen), value);
    let moved = plan.inserted.iter().flat_map(|insertion| &insertion.items);
    let moved = moved.filter_map(|(value, origin)| {
        let (held, seen) = (*origin)?;
        Some(EditedItem { held, seen: Some(seen), value: *value })
    });
    let moved: Vec<EditedItem> = moved.collect();
    plan.edited.into_iter().chain(moved).collect()
}

/// New items that are next to each other.
#[derive(Debug, Default, PartialEq)]
struct Insertion<'a> {
    /// The index of the held item before them; `None` for the start of the list.
    after: Option<usize>,
    /// The index of each new item and, if the item was moved, its origin.
    items: Vec<(usize, Option<Origin<'a>>)>,
}

/// The former place of an item that was moved: its index in the document's list, and the item that the app had seen
/// with its index.
type Origin<'a> = (usize, (usize, &'a Value));

impl<'a> Plan<'a> {
    pub(super) fn new(held: &'a [Value], seen: Option<&'a [Value]>, value: &'a [Value]) -> Self {
        let mut plan = Self::default();
        let (old, indices) = match seen {
            Some(seen) => (seen, HeldIndices::new(held, seen)),
            None => (held, HeldIndices::same(held.len())),
        };
        let mut steps = steps(old, value);
        let moved = moved(&mut steps, old, value);
        plan.removed.extend(indices.doubles.iter().copied().filter(|_| !steps.iter().all(Step::keeps)));
        let mut index = 0;
        let mut after = None;
        for step in steps {
            match step {
                Step::Keep(count) => {
                    index += count;
                    after = indices.before(index).or(after);
                }
                Step::Edit { old: at, new } => {
                    index = at + 1;
                    match indices.held[at] {
                        Some(held) => {
                            let seen = seen.map(|seen| (at, &seen[at]));
                            plan.edited.push(EditedItem { held, seen, value: new });
                            after = Some(held);
                        }
                        // The document does not hold the item that the app shows, so the app's item is inserted.
                        None => plan.insert(after, new, None),
                    }
                }
                Step::Replace { old: count, new } => {
                    plan.removed.extend((index..index + count).filter_map(|at| indices.held[at]));
                    index += count;
                    for new in new {
                        let origin = moved.iter().find(|(_, to)| *to == new);
                        let origin = origin.and_then(|(from, _)| Some((indices.held[*from]?, (*from, &old[*from]))));
                        plan.insert(after, new, origin);
                    }
                }
            }
        }
        plan
    }

    fn insert(&mut self, after: Option<usize>, new: usize, origin: Option<Origin<'a>>) {
        match self.inserted.last_mut() {
            Some(insertion) if insertion.after == after => insertion.items.push((new, origin)),
            _ => self.inserted.push(Insertion { after, items: vec![(new, origin)] }),
        }
    }
}

/// The index in the document's list of each item that the app sees. The two differ if the type is a set, which has
/// another order and fewer items, or if the type shows some items as other values.
struct HeldIndices {
    held: Vec<Option<usize>>,
    /// Held items that are not shown: copies of items, which have the same id, and items that a set has once.
    doubles: Vec<usize>,
}

impl HeldIndices {
    fn same(count: usize) -> Self {
        Self { held: (0..count).map(Some).collect(), doubles: Vec::new() }
    }

    fn new(held: &[Value], seen: &[Value]) -> Self {
        let chosen = without_doubles(held).filter(|_| without_doubles(seen).is_none());
        let Some(chosen) = chosen else { return Self::matched(&held.iter().collect::<Vec<_>>(), seen) };
        // The copies of an item may have other content than its first place, which the type reads.
        let (places, items): (Vec<usize>, Vec<&Value>) = chosen.into_iter().unzip();
        let Self { held: indices, doubles } = Self::matched(&items, seen);
        let copies = (0..held.len()).filter(|at| places.binary_search(at).is_err());
        Self {
            held: indices.into_iter().map(|at| Some(places[at?])).collect(),
            doubles: doubles.into_iter().map(|at| places[at]).chain(copies).collect(),
        }
    }

    fn matched(held: &[&Value], seen: &[Value]) -> Self {
        let in_order = seen.len() == held.len() && seen.iter().zip(held).all(|(seen, held)| stands_for(seen, held));
        if in_order || held.len().saturating_mul(seen.len()) > MAX_COMPARISONS {
            let count = held.len();
            return Self { held: (0..seen.len()).map(|at| (at < count).then_some(at)).collect(), doubles: Vec::new() };
        }
        let mut taken = vec![false; held.len()];
        let mut indices: Vec<Option<usize>> = vec![None; seen.len()];
        let mut next = 0;
        for (index, seen) in indices.iter_mut().zip(seen) {
            // The items are nearly always in order.
            let found = (next..held.len()).chain(0..next).find(|at| !taken[*at] && stands_for(seen, held[*at]));
            if let Some(at) = found {
                (taken[at], next) = (true, at + 1);
                *index = Some(at);
            }
        }
        let missing = indices.iter().filter(|index| index.is_none()).count();
        let doubles: Vec<usize> =
            (0..held.len()).filter(|at| !taken[*at] && seen.iter().any(|seen| stands_for(seen, held[*at]))).collect();
        if missing > 0 && seen.len() == held.len() && doubles.is_empty() {
            // The type shows some items as other values.
            return Self::same(held.len());
        }
        Self { held: indices, doubles }
    }

    /// The index of the last held item among those that the app sees before `index`.
    fn before(&self, index: usize) -> Option<usize> {
        self.held[..index].iter().rev().find_map(|place| *place)
    }
}

/// Whether a type may read `held` as `seen`. A type may round numbers, omit fields and add defaults.
fn stands_for(seen: &Value, held: &Value) -> bool {
    match (seen.plain(), held.plain()) {
        (Value::Map(seen), Value::Map(held)) => {
            seen.iter().all(|(key, seen)| held.get(key).is_none_or(|held| stands_for(seen, held)))
        }
        (Value::List(seen), Value::List(held)) => {
            seen.len() == held.len() && seen.iter().zip(held).all(|(seen, held)| stands_for(seen, held))
        }
        (Value::Float(seen), Value::Float(held)) => seen == held || *seen as f32 == *held as f32 || seen.is_nan(),
        (seen, held) => seen == held || seen.as_whole().is_some_and(|seen| held.as_whole() == Some(seen)),
    }
}

/// A step of the difference between two lists, in order.
#[derive(Debug, PartialEq)]
enum Step {
    /// This many items are unchanged.
    Keep(usize),
    /// One item is changed.
    Edit { old: usize, new: usize },
    /// This many items are replaced by others.
    Replace { old: usize, new: Range<usize> },
}

impl Step {
    fn keeps(&self) -> bool {
        matches!(self, Step::Keep(_))
    }
}

fn steps(old: &[Value], new: &[Value]) -> Vec<Step> {
    let mut steps = Vec::new();
    for op in difference(old, new, EqualValue) {
        match op {
            DiffOp::Equal { len, .. } => steps.push(Step::Keep(len)),
            op => steps.push(Step::Replace { old: op.old_range().len(), new: op.new_range() }),
        }
    }
    steps
}

/// Finds items that were moved, as (old index, new index), and pairs the other changed items so that their content
/// merges: items with an identity by their identity, other items in order.
fn moved(steps: &mut Vec<Step>, old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    let mut moved = Vec::new();
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let mut at = 0;
    for step in steps.iter() {
        match step {
            Step::Keep(count) => at += count,
            Step::Edit { .. } => at += 1,
            Step::Replace { old, new } => {
                gone.extend(at..at + old);
                come.extend(new.clone());
                at += old;
            }
        }
    }
    // Scalars have no content that could be lost, but a type may show a scalar as another value.
    if gone.len().saturating_mul(come.len()) <= MAX_COMPARISONS {
        for to in come {
            let by_value = gone.iter().position(|from| old[*from] == new[to]);
            let found =
                by_value.or_else(|| gone.iter().position(|from| SameIdentity(&old[*from]) == SameIdentity(&new[to])));
            if let Some(found) = found {
                moved.push((gone.remove(found), to));
            }
        }
    }
    let mut paired = Vec::new();
    at = 0;
    for step in steps.drain(..) {
        match step {
            Step::Replace { old: count, new: news } => {
                pair(&mut paired, &mut moved, old, new, at..at + count, news);
                at += count;
            }
            Step::Keep(count) => {
                at += count;
                paired.push(Step::Keep(count));
            }
            step => paired.push(step),
        }
    }
    *steps = paired;
    moved
}

/// Divides a section in which both lists differ into edited and replaced items.
fn pair(
    steps: &mut Vec<Step>,
    moved: &mut Vec<(usize, usize)>,
    old: &[Value],
    new: &[Value],
    olds: Range<usize>,
    news: Range<usize>,
) {
    let is_moved = |moved: &[(usize, usize)], old: usize, new: usize| {
        moved.iter().any(|(from, to)| (*from == old) != (*to == new))
    };
    if !new[news.clone()].iter().any(|item| identity(item).is_some()) {
        let pairs = olds.len().min(news.len());
        for (old, new) in olds.clone().zip(news.clone()) {
            match is_moved(moved, old, new) {
                true => steps.push(Step::Replace { old: 1, new: new..new + 1 }),
                false => {
                    moved.retain(|(from, to)| (*from, *to) != (old, new));
                    steps.push(Step::Edit { old, new });
                }
            }
        }
        if olds.len() != news.len() {
            steps.push(Step::Replace { old: olds.len() - pairs, new: news.start + pairs..news.end });
        }
        return;
    }
    for op in difference(&old[olds.clone()], &new[news.clone()], SameIdentity) {
        match op {
            DiffOp::Equal { old_index, new_index, len } => steps.extend((0..len).map(|i| {
                let (old, new) = (olds.start + old_index + i, news.start + new_index + i);
                moved.retain(|(from, to)| *from != old && *to != new);
                Step::Edit { old, new }
            })),
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

/// Compares items by value.
struct EqualValue<'a>(&'a Value);

impl PartialEq for EqualValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(other.0)
    }
}

/// Compares items by identity.
struct SameIdentity<'a>(&'a Value);

impl PartialEq for SameIdentity<'_> {
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
    if olds.len().saturating_mul(news.len()) <= MAX_COMPARISONS {
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
