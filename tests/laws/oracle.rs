//! The results of a merge that the laws allow.

use std::collections::{BTreeMap, BTreeSet};

use bevy_convex_replicate::format::Value;

use crate::{
    shape::{Content, Field, Shape, Struct, first_name, is_blank},
    value::{Typed, Val},
};

/// Checks that `merged` keeps the laws. The apps edited `base` concurrently and ended with `finals`. `base` is `None`
/// if the document was empty or all apps had the same default value. Returns a description of the violation.
pub fn merge(shape: &Shape, base: Option<&Val>, finals: &[&Val], merged: &Val) -> Result<(), String> {
    let changed: Vec<&Val> = finals.iter().copied().filter(|val| Some(*val) != base).collect();
    let wrong = |law: &str| Err(format!(": {law}\n    base   {base:?}\n    finals {finals:?}\n    merged {merged:?}"));
    match changed.as_slice() {
        [] if base.is_none_or(|base| base == merged) => return Ok(()),
        [] => return wrong("no app changed it"),
        // Equal changes by all apps count as one change.
        [first, rest @ ..] if rest.iter().all(|val| val == first) && !counts(shape) => {
            if first == &merged {
                return Ok(());
            }
            if rest.is_empty() {
                return wrong("the change of one app is lost or altered");
            }
        }
        _ => {}
    }
    let whole = || match changed.contains(&merged) {
        true => Ok(()),
        false => wrong("it is none of the values that were set"),
    };
    match (shape, merged) {
        (Shape::Counter, Val::Int(count)) => {
            let of = |val: &Val| if let Val::Int(count) = val { *count } else { 0 };
            let start = base.map_or(0, of);
            let sum: i64 = start + finals.iter().map(|val| of(val) - start).sum::<i64>();
            // Two apps that make a counter with the same count make one counter.
            let counts: BTreeSet<i64> = finals.iter().map(|val| of(val)).collect();
            match sum == *count || base.is_none() && counts.iter().sum::<i64>() == *count {
                true => Ok(()),
                false => wrong(&format!("the sum of both increments is {sum}")),
            }
        }
        (Shape::Text, Val::Text(_)) => {
            let letters = |val: &Val| -> Vec<String> {
                if let Val::Text(text) = val { text.chars().map(String::from).collect() } else { Vec::new() }
            };
            additions(base.map(letters), finals.iter().map(|val| letters(val)).collect(), letters(merged), 0)
                .or_else(|what| wrong(&what))
        }
        (Shape::List(inner), Val::List(items)) => {
            let name: fn(&Val) -> Option<String> = match &**inner {
                Shape::Int => |val| Some(format!("{val:?}")),
                Shape::Struct(of) if of.fields.first().is_some_and(|field| field.name == "id") => |val| match val {
                    Val::List(fields) => fields.first().map(|id| format!("{id:?}")),
                    _ => None,
                },
                _ => |_| None,
            };
            let names = |val: &Val| -> Option<Vec<String>> {
                if let Val::List(items) = val { items.iter().map(name).collect() } else { None }
            };
            let Some(all) = finals.iter().map(|val| names(val)).collect::<Option<Vec<_>>>() else { return Ok(()) };
            let (before, mut after) = (base.and_then(names), names(merged).unwrap_or_default());
            // Moving an item of a `Vec` makes a new item in the document, so concurrent edits of the moved item may be
            // lost.
            let places = |val: &Val, of: &[String]| -> Vec<String> {
                names(val).unwrap_or_default().into_iter().filter(|name| of.contains(name)).collect()
            };
            let is_moved = |val: &&Val| {
                base.is_some_and(|base| {
                    let (before, after) = (names(base).unwrap_or_default(), names(val).unwrap_or_default());
                    places(base, &after) != places(val, &before)
                })
            };
            let is_any_moved = finals.iter().any(is_moved);
            if is_any_moved && let Some(before) = &before {
                // So the item may survive its removal by another app.
                after.retain(|item| !before.contains(item) || all.iter().all(|all| all.contains(item)));
            }
            let in_place =
                if matches!(&**inner, Shape::Int) { replaced_by_several(before.as_deref(), &all) } else { 0 };
            additions(base.map(|_| before.unwrap_or_default()), all, after, in_place).or_else(|what| wrong(&what))?;
            if matches!(&**inner, Shape::Int) || is_any_moved {
                return Ok(());
            }
            let find = |val: &'_ Val, wanted: &Option<String>| {
                if let Val::List(items) = val { items.iter().find(|item| name(item) == *wanted).cloned() } else { None }
            };
            for item in items {
                let wanted = name(item);
                let base = base.and_then(|base| find(base, &wanted));
                let finals: Vec<Val> = finals.iter().filter_map(|val| find(val, &wanted)).collect();
                merge(inner, base.as_ref(), &finals.iter().collect::<Vec<_>>(), item)
                    .map_err(|what| format!("[{}]{what}", wanted.unwrap_or_default()))?;
            }
            Ok(())
        }
        (Shape::Map(inner), Val::Map(_)) => {
            let entries = |val: &Val| if let Val::Map(entries) = val { entries.clone() } else { BTreeMap::new() };
            let all: Vec<_> = finals.iter().map(|val| entries(val)).collect();
            keyed(inner, base.map(entries), all, entries(merged))
        }
        (Shape::Keyed(inner), Val::Keyed(_)) => {
            let entries = |val: &Val| match val {
                Val::Keyed(list) => list.iter().map(|(key, item)| (key.to_string(), item.val.clone())).collect(),
                _ => BTreeMap::new(),
            };
            let all: Vec<_> = finals.iter().map(|val| entries(val)).collect();
            keyed(inner, base.map(entries), all, entries(merged))
        }
        (Shape::Option(inner), Val::Option(held)) => {
            fn inside(val: &Val) -> Option<&Val> {
                if let Val::Option(Some(held)) = val { Some(held) } else { None }
            }
            let somes: Vec<&Val> = finals.iter().filter_map(|val| inside(val)).collect();
            match held {
                // An app that set it to none wins.
                None if finals.iter().any(|val| inside(val).is_none() && Some(*val) != base) => Ok(()),
                None => wrong("no app set it to none"),
                Some(held) => merge(inner, base.and_then(inside), &somes, held),
            }
        }
        // If two apps make a tuple at the same time, one of the two wins.
        (Shape::Tuple(_), _) if base.is_none_or(is_blank) && finals.contains(&merged) => Ok(()),
        (Shape::Tuple(shapes), Val::List(items)) => shapes.iter().enumerate().try_for_each(|(index, shape)| {
            let (base, finals, merged) = (base.map(|base| at(base, index)), all_at(finals, index), &items[index]);
            // The same is true of two values put into an empty place of it.
            let is_put = base == Some(&Val::Option(None)) && finals.contains(&merged);
            merge(shape, base, &finals, merged)
                .or_else(|what| if is_put { Ok(()) } else { Err(format!(".{index}{what}")) })
        }),
        (Shape::Newtype(inner), _) => merge(inner, base, finals, merged),
        // The same is true of a struct from which one app omits fields: without those fields it may contain only
        // scalars and is then written as a struct of scalars.
        (Shape::Struct(inner), _) if base.is_none() && leaves_out(inner) && finals.contains(&merged) => Ok(()),
        (Shape::Struct(inner), Val::List(_)) => fields(inner, base, finals, merged, &[]),
        (Shape::Enum(inner), Val::Variant(variant, items)) => {
            if changed.contains(&merged) {
                return Ok(());
            }
            let of = |val: &&Val| matches!(val, Val::Variant(index, _) if index == variant);
            let was = base.filter(|base| of(base));
            let alike: Vec<&Val> = finals.iter().copied().filter(of).collect();
            if alike.is_empty() {
                return wrong("no app switched to this variant");
            }
            let content = |val: &Val| if let Val::Variant(_, items) = val { items.clone() } else { Vec::new() };
            let base_items = was.map(content);
            let all: Vec<Val> = alike.iter().map(|val| Val::List(content(val))).collect();
            let merged = Val::List(items.clone());
            let base = base_items.map(Val::List);
            let shape = match &inner.variants[*variant].content {
                Content::Unit => return Ok(()),
                Content::Newtype(shape) => Shape::Tuple([shape.clone()].into()),
                Content::Tuple(shapes) => Shape::Tuple(shapes.clone()),
                Content::Struct(inner) => Shape::Struct(inner.clone()),
            };
            merge(&shape, base.as_ref(), &all.iter().collect::<Vec<_>>(), &merged)
                .map_err(|what| format!("({}){what}", inner.variants[*variant].name))
        }
        _ => whole(),
    }
}

/// Whether equal changes by two apps have more effect than one change.
fn counts(shape: &Shape) -> bool {
    match shape {
        Shape::Counter => true,
        Shape::Option(inner) | Shape::Map(inner) | Shape::Newtype(inner) | Shape::Keyed(inner) | Shape::List(inner) => {
            counts(inner)
        }
        Shape::Tuple(shapes) | Shape::TupleStruct(shapes) => shapes.iter().any(counts),
        Shape::Struct(inner) => inner.fields.iter().any(|field| counts(&field.shape)),
        Shape::Enum(inner) => inner.variants.iter().any(|variant| match &variant.content {
            Content::Unit => false,
            Content::Newtype(shape) => counts(shape),
            Content::Tuple(shapes) => shapes.iter().any(counts),
            Content::Struct(inner) => inner.fields.iter().any(|field| counts(&field.shape)),
        }),
        _ => false,
    }
}

fn at(val: &Val, index: usize) -> &Val {
    match val {
        Val::List(items) => items.get(index).unwrap_or(val),
        other => other,
    }
}

fn all_at<'a>(vals: &[&'a Val], index: usize) -> Vec<&'a Val> {
    vals.iter().map(|val| at(val, index)).collect()
}

fn leaves_out(shape: &Struct) -> bool {
    shape.fields.iter().any(|field| field.skip_if || field.added)
}

/// Checks the fields of a struct, except those that are skipped.
pub fn fields(
    shape: &Struct,
    base: Option<&Val>,
    finals: &[&Val],
    merged: &Val,
    without: &[usize],
) -> Result<(), String> {
    let is_looked_at = |field: &Field| !field.skip && !without.contains(&field.id);
    for (index, field) in shape.fields.iter().enumerate().filter(|(_, field)| is_looked_at(field)) {
        let (base, finals, merged) = (base.map(|base| at(base, index)), all_at(finals, index), at(merged, index));
        // Apps of two versions may have begun the field under its two names.
        let is_unnamed = base.is_none_or(|base| Some(base) == field.default.as_ref());
        if field.alias.is_some() && is_unnamed {
            continue;
        }
        // An omitted field is not visible to an app, so an app that changes a part of it writes all of it.
        let base = base.filter(|base| !field.skip_if || Some(*base) != field.default.as_ref());
        let result = merge(&field.shape, base, &finals, merged);
        // An app that shows the default of a field may have written it. If its version does not know the field, it has
        // not.
        let written: Vec<&Val> = finals.into_iter().filter(|val| Some(*val) != field.default.as_ref()).collect();
        let result = match base {
            None if written.is_empty() => Ok(()),
            None => result.or_else(|_| merge(&field.shape, base, &written, merged)),
            Some(_) => result,
        };
        result.map_err(|what| format!(".{}{what}", field.name))?;
    }
    Ok(())
}

/// The number of list items that may be lost because several apps replace the same scalar: replacing a scalar is an
/// edit of that item, and one of the edits wins.
fn replaced_by_several(base: Option<&[String]>, finals: &[Vec<String>]) -> usize {
    let base = base.unwrap_or_default();
    let adds = |all: &&Vec<String>| all.iter().any(|item| !base.contains(item));
    let adding: Vec<&Vec<String>> = finals.iter().filter(adds).collect();
    let replacing = |item: &String| adding.iter().filter(|all| !all.contains(item)).count();
    base.iter().map(|item| replacing(item).saturating_sub(1)).sum()
}

/// Checks that `merged` has every added item and no removed item, each once. At most `may_lack` additions may be
/// missing.
fn additions(
    base: Option<Vec<String>>,
    finals: Vec<Vec<String>>,
    merged: Vec<String>,
    may_lack: usize,
) -> Result<(), String> {
    let base: BTreeSet<String> = base.unwrap_or_default().into_iter().collect();
    let finals: Vec<BTreeSet<String>> = finals.into_iter().map(|all| all.into_iter().collect()).collect();
    let added: BTreeSet<&String> = finals.iter().flatten().filter(|item| !base.contains(*item)).collect();
    let kept = base.iter().filter(|item| finals.iter().all(|all| all.contains(*item)));
    let expected: BTreeSet<&String> = added.iter().copied().chain(kept).collect();
    let mut seen = BTreeSet::new();
    // Each app adds its own letters, also where others add the same ones: defaults have letters in common.
    let may_double = |item: &String| !base.contains(item) && finals.iter().filter(|all| all.contains(item)).count() > 1;
    if let Some(double) = merged.iter().find(|item| !seen.insert(*item) && !may_double(item)) {
        return Err(format!("{double} is there twice"));
    }
    let missing: BTreeSet<&String> = expected.difference(&seen).copied().collect();
    match seen.is_subset(&expected) && missing.is_subset(&added) && missing.len() <= may_lack {
        true => Ok(()),
        false => Err(format!("it should hold {expected:?}")),
    }
}

fn keyed(
    shape: &Shape,
    base: Option<BTreeMap<String, Val>>,
    finals: Vec<BTreeMap<String, Val>>,
    merged: BTreeMap<String, Val>,
) -> Result<(), String> {
    let base = base.unwrap_or_default();
    let keys: BTreeSet<&String> =
        base.keys().chain(finals.iter().flat_map(BTreeMap::keys)).chain(merged.keys()).collect();
    for key in keys {
        let was = base.get(key);
        let finals: Vec<Option<&Val>> = finals.iter().map(|entries| entries.get(key)).collect();
        let there: Vec<&Val> = finals.iter().flatten().copied().collect();
        let is_removed = was.is_some() && there.len() < finals.len();
        let is_changed = there.iter().any(|val| Some(*val) != was);
        let wrong = |law| {
            Err(format!("[{key}]: {law}\n    base {was:?}\n    finals {finals:?}\n    merged {:?}", merged.get(key)))
        };
        match merged.get(key) {
            Some(_) if there.is_empty() => return wrong("no app has it"),
            Some(_) if is_removed && !is_changed => return wrong("it was removed"),
            Some(val) => merge_entry(shape, was, &there, val).map_err(|what| format!("[{key}]{what}"))?,
            None if is_removed => {}
            None => return wrong("it is lost"),
        }
    }
    Ok(())
}

/// Checks an entry that all apps added, or that some apps changed.
fn merge_entry(shape: &Shape, base: Option<&Val>, finals: &[&Val], merged: &Val) -> Result<(), String> {
    merge(shape, base, finals, merged)
}

/// The paths at which two documents differ, with names that are the same in all versions. Items with ids are compared
/// with the items with the same ids, and their order is compared separately. Other lists are reported as a whole if
/// their lengths differ.
pub fn difference(a: &Value, b: &Value) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    differ(&mut found, &mut Vec::new(), Some(a), Some(b));
    found
}

fn differ(found: &mut BTreeSet<Vec<String>>, path: &mut Vec<String>, a: Option<&Value>, b: Option<&Value>) {
    match (a, b) {
        (Some(Value::Map(a)), Some(Value::Map(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                path.push(first_name(key).to_owned());
                differ(found, path, a.get(key), b.get(key));
                path.pop();
            }
        }
        (Some(Value::List(a)), Some(Value::List(b))) if let (Some(a), Some(b)) = (by_id(a), by_id(b)) => {
            let ids: BTreeSet<&String> = a.iter().chain(&b).map(|(id, _)| id).collect();
            let find = |items: &[(String, Value)], id| {
                items.iter().find(|(other, _)| other == id).map(|(_, item)| item.clone())
            };
            for id in ids {
                path.push(id.clone());
                differ(found, path, find(&a, id).as_ref(), find(&b, id).as_ref());
                path.pop();
            }
            let common = |items: &[(String, Value)], others: &[(String, Value)]| -> Vec<String> {
                let is_common = |id: &&String| others.iter().any(|(other, _)| other == *id);
                items.iter().map(|(id, _)| id).filter(is_common).cloned().collect()
            };
            if common(&a, &b) != common(&b, &a) {
                path.push("order".into());
                found.insert(path.clone());
                path.pop();
            }
        }
        (Some(Value::List(a)), Some(Value::List(b))) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                path.push(index.to_string());
                differ(found, path, Some(a), Some(b));
                path.pop();
            }
        }
        // Equal values in different forms count as a difference: an edit must not write a part that it did not change.
        (a, b) if format!("{a:?}") == format!("{b:?}") => {}
        _ => drop(found.insert(path.clone())),
    }
}

/// The items of a list by id, if all have one. If items have the same id, the first counts, as for the types: two apps
/// that move the same item at once leave it in two places.
fn by_id(items: &[Value]) -> Option<Vec<(String, Value)>> {
    let mut ids = BTreeSet::new();
    let with_ids: Option<Vec<(String, Value)>> =
        items.iter().map(|item| Some((format!("{:?}", item.get("id")?), item.clone()))).collect();
    Some(with_ids?.into_iter().filter(|(id, _)| ids.insert(id.clone())).collect())
}

/// A path at which the document differs although the app's values do not differ at, above or below it.
pub fn uncalled_for(document: &BTreeSet<Vec<String>>, app: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    // A switch of the variant removes the content of the former variant, even if the app does not know that variant.
    let is_variant = |name: &String| name.starts_with(char::is_uppercase);
    let is_switched = |path: &Vec<String>, other: &Vec<String>| {
        let is_tag = |(last, parent): (&String, &[String])| last == "tag" && path.starts_with(parent);
        // An externally tagged variant is a field with the name of the variant.
        let differ = path.iter().zip(other).find(|(one, other)| one != other);
        other.split_last().is_some_and(is_tag)
            || differ.is_some_and(|(one, other)| is_variant(one) && is_variant(other))
    };
    let is_called_for = |path: &Vec<String>| {
        app.iter().any(|other| path.starts_with(other) || other.starts_with(path) || is_switched(path, other))
    };
    document.iter().find(|path| !is_called_for(path)).cloned()
}

/// A field of an item with an id. The app neither showed nor wrote the field, and its edit changed the field of the
/// item, which may have another index now. `put` is the value that the app wrote.
pub fn lost_of_item(was: &Value, seen: &Value, put: &Value, now: &Value) -> Option<String> {
    match (was, seen, put, now) {
        (Value::Map(was), Value::Map(seen), Value::Map(put), Value::Map(now)) => {
            let of = |fields: &BTreeMap<String, Value>, key: &str| {
                let found = fields.iter().find(|(other, _)| first_name(other) == first_name(key));
                found.map(|(_, value)| value.clone())
            };
            was.iter().find_map(|(key, was)| lost_of_item(was, &of(seen, key)?, &of(put, key)?, now.get(key)?))
        }
        (Value::List(was), Value::List(seen), Value::List(put), Value::List(now)) => {
            let find = |items: &[Value], id: &Value| -> Option<Value> {
                let mut found = items.iter().filter(|item| item.get("id") == Some(id));
                found.next().filter(|_| found.next().is_none()).cloned()
            };
            was.iter().find_map(|item| {
                let id = item.get("id")?;
                let (item, seen, now) = (find(was, id)?, find(seen, id)?, find(now, id)?);
                let put = find(put, id)?;
                // A field that the type leaves out while it is empty may be empty in the document. The app knows it if
                // the edit fills it.
                let known = seen.as_map()?.keys().chain(put.as_map()?.keys());
                let known: BTreeSet<&str> = known.map(|key| first_name(key)).collect();
                let mut unknown = item.as_map()?.iter().filter(|(key, _)| !known.contains(first_name(key)));
                unknown.find(|(key, value)| now.get(key) != Some(*value)).map(|(key, _)| format!("{id:?}.{key}"))
            })
        }
        _ => None,
    }
}

/// A scalar that the app showed as the document held it and changed, but that the document still holds unchanged.
pub fn ignored(was: &Value, before: &Value, after: &Value, now: &Value) -> Option<String> {
    match (was, before, after, now) {
        (Value::Map(was), Value::Map(before), Value::Map(after), Value::Map(now)) => {
            after.iter().find_map(|(key, after)| {
                let (was, before, now) = (was.get(key)?, before.get(key)?, now.get(key)?);
                ignored(was, before, after, now).map(|path| format!("{key}.{path}"))
            })
        }
        (Value::Map(_) | Value::List(_), ..) | (_, _, Value::Map(_) | Value::List(_), _) => None,
        _ => (was == before && before != after && now == was).then(String::new),
    }
}

/// Whether a value has a field under a later version's name.
pub fn is_renamed(value: &Value) -> bool {
    match value {
        Value::Map(fields) => fields.iter().any(|(key, value)| first_name(key) != key || is_renamed(value)),
        Value::List(items) => items.iter().any(is_renamed),
        _ => false,
    }
}

/// The fields that a value has under two names.
pub fn two_names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Map(fields) => {
            let second =
                fields.keys().filter(|key| first_name(key) != key.as_str() && fields.contains_key(first_name(key)));
            second.map(|key| first_name(key).to_owned()).chain(fields.values().flat_map(two_names)).collect()
        }
        Value::List(items) => items.iter().flat_map(two_names).collect(),
        _ => BTreeSet::new(),
    }
}

/// The part of a value that is compared: fields that are not written are ignored.
pub fn written(typed: &Typed) -> Val {
    fn plain(shape: &Shape, val: &Val) -> Val {
        match (shape, val) {
            (Shape::Struct(inner), Val::List(items)) => Val::List(
                inner
                    .fields
                    .iter()
                    .zip(items)
                    .map(|(field, item)| if field.skip { Val::Option(None) } else { plain(&field.shape, item) })
                    .collect(),
            ),
            _ => val.clone(),
        }
    }
    plain(&typed.shape, &typed.val)
}
