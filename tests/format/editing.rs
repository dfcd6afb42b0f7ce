use super::*;

fn document_of(value: &Value) -> AutoCommit {
    let mut document = AutoCommit::new();
    format::edit(&mut document, &map([]), value).unwrap();
    document.commit();
    document
}

/// Two replicas of one document make one edit each, concurrently. Returns the merged content.
#[track_caller]
fn at_once(base: &Value, left: &Value, right: &Value) -> Value {
    let mut one = document_of(base);
    let mut other = one.fork().with_actor(ActorId::random());
    format::edit(&mut one, base, left).unwrap();
    format::edit(&mut other, base, right).unwrap();
    one.merge(&mut other).unwrap();
    other.merge(&mut one).unwrap();
    let merged = format::read(&one);
    assert_exactly(&format::read(&other), &merged);
    merged
}

#[test]
fn edits_of_different_fields_both_survive() {
    let base = map([("a", Value::Int(1)), ("b", map([("c", Value::Int(1)), ("d", Value::Int(1))]))]);
    let left = map([("a", Value::Int(2)), ("b", map([("c", Value::Int(2)), ("d", Value::Int(1))]))]);
    let right = map([("a", Value::Int(1)), ("b", map([("c", Value::Int(1)), ("d", Value::Int(2))]))]);
    assert_exactly(
        &at_once(&base, &left, &right),
        &map([("a", Value::Int(2)), ("b", map([("c", Value::Int(2)), ("d", Value::Int(2))]))]),
    );
}

#[test]
fn texts_merge_and_scalars_are_replaced() {
    let both = |kind: fn(&str) -> Value| {
        let of = |text| map([("t", kind(text))]);
        at_once(&of("buy milk"), &of("please buy milk"), &of("buy milk!"))
    };
    assert_exactly(&both(text), &map([("t", text("please buy milk!"))]));
    let replaced = both(scalar);
    assert!(["please buy milk", "buy milk!"].contains(&replaced.get("t").unwrap().as_str().unwrap()));
}

#[test]
fn counters_add_up() {
    let of = |count| map([("n", Value::Counter(count)), ("list", Value::List(vec![Value::Counter(count)]))]);
    assert_exactly(&at_once(&of(5), &of(7), &of(4)), &of(6));
}

#[test]
fn maps_in_lists_merge_field_by_field() {
    let card =
        |id: &str, title: &str, done| map([("id", scalar(id)), ("title", text(title)), ("done", Value::Bool(done))]);
    let list = |items: &[Value]| map([("cards", Value::List(items.to_vec()))]);
    let base = list(&[card("1", "milk", false), card("2", "tea", false)]);
    // One removes the first card and renames the second; the other ticks the second and adds a third.
    let left = list(&[card("2", "black tea", false)]);
    let right = list(&[card("1", "milk", false), card("2", "tea", true), card("3", "jam", false)]);
    assert_exactly(&at_once(&base, &left, &right), &list(&[card("2", "black tea", true), card("3", "jam", false)]));
}

#[test]
fn concurrent_insertions_into_a_list_all_survive() {
    let list = |items: &[&str]| map([("l", Value::List(items.iter().map(|item| scalar(item)).collect()))]);
    let merged = at_once(&list(&["a", "b", "c"]), &list(&["a", "x", "b", "c"]), &list(&["a", "b", "y"]));
    assert_exactly(&merged, &list(&["a", "x", "b", "y"]));
}

#[test]
fn a_field_that_the_app_does_not_know_survives() {
    let mut document = document_of(&map([
        ("title", text("a")),
        ("new", map([("x", Value::Int(1))])),
        ("at", map([("x", Value::Int(1)), ("z", Value::Int(3))])),
        ("list", Value::List(vec![map([("x", Value::Int(1)), ("y", Value::Int(2))])])),
    ]));
    let at = |x| map([("x", Value::Int(x))]);
    let seen = map([("title", text("a")), ("at", at(1)), ("list", Value::List(vec![at(1)])), ("gone", Value::Null)]);
    let value = map([("title", text("ab")), ("at", at(2)), ("list", Value::List(vec![at(0), at(2)]))]);
    let edited = format::edit(&mut document, &seen, &value).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(edited, Edited { set: names(&["at", "list", "title"]), removed: names(&[]) });
    assert_exactly(
        &format::read(&document),
        &map([
            ("title", text("ab")),
            ("new", map([("x", Value::Int(1))])),
            ("at", map([("x", Value::Int(2)), ("z", Value::Int(3))])),
            ("list", Value::List(vec![map([("x", Value::Int(0)), ("y", Value::Int(2))]), at(2)])),
        ]),
    );
}

#[test]
fn a_field_that_the_app_no_longer_writes_is_removed() {
    let mut document = document_of(&map([("a", Value::Int(1)), ("b", Value::Int(2))]));
    let edited =
        format::edit(&mut document, &map([("a", Value::Int(1)), ("b", Value::Int(2))]), &map([("b", Value::Int(2))]))
            .unwrap();
    assert!(edited.set.is_empty());
    assert_eq!(edited.removed.into_iter().collect::<Vec<_>>(), ["a"]);
    assert_exactly(&format::read(&document), &map([("b", Value::Int(2))]));
}

#[test]
fn an_edit_does_not_change_the_reserved_fields() {
    let mut document = AutoCommit::new();
    document.put(ROOT, "id", "card-1").unwrap();
    document.put(ROOT, "deleted", true).unwrap();
    let seen = map([("id", scalar("card-1")), ("deleted", Value::Bool(true))]);
    assert!(format::edit(&mut document, &seen, &map([])).unwrap().is_empty());
    let other = map([("id", scalar("card-2")), ("deleted", Value::Bool(false))]);
    assert!(format::edit(&mut document, &seen, &other).unwrap().is_empty());
    assert_exactly(&format::read(&document), &seen);
}

#[test]
fn an_equal_value_in_another_form_is_not_written() {
    let mut document = AutoCommit::new();
    document.put(ROOT, "text", "a").unwrap();
    document.put(ROOT, "number", 3).unwrap();
    document.put(ROOT, "float", 3.0).unwrap();
    document.put(ROOT, "time", ScalarValue::Timestamp(3)).unwrap();
    document.put(ROOT, "count", ScalarValue::counter(3)).unwrap();
    document.commit();
    let heads = document.get_heads();
    let value = map([
        ("text", text("a")),
        ("number", Value::Float(3.0)),
        ("float", Value::Int(3)),
        ("time", Value::Int(3)),
        ("count", Value::Int(3)),
        ("missing", Value::Null),
    ]);
    assert!(format::edit(&mut document, &value, &value).unwrap().is_empty());
    assert_eq!(document.get_heads(), heads);
}

#[test]
fn a_scalar_string_becomes_a_text_when_it_is_edited_as_a_text() {
    let mut document = AutoCommit::new();
    document.put(ROOT, "t", "a").unwrap();
    let edited = format::edit(&mut document, &map([("t", text("a"))]), &map([("t", text("ab"))])).unwrap();
    assert!(edited.set.contains("t"));
    assert_exactly(&format::read(&document), &map([("t", text("ab"))]));
    // And in the other direction.
    format::edit(&mut document, &map([("t", scalar("ab"))]), &map([("t", scalar("b"))])).unwrap();
    assert_exactly(&format::read(&document), &map([("t", scalar("b"))]));
}

#[test]
fn a_counter_and_a_timestamp_keep_their_kind_when_edited_as_plain_numbers() {
    let mut document = AutoCommit::new();
    document.put(ROOT, "time", ScalarValue::Timestamp(3)).unwrap();
    document.put(ROOT, "count", ScalarValue::counter(3)).unwrap();
    let of = |number| map([("time", Value::Float(number)), ("count", Value::Int(number as i64))]);
    format::edit(&mut document, &of(3.0), &of(5.0)).unwrap();
    assert_exactly(&format::read(&document), &map([("count", Value::Counter(5)), ("time", Value::Timestamp(5))]));
    // A fraction fits neither kind.
    format::edit(&mut document, &of(5.0), &map([("time", Value::Float(0.5)), ("count", Value::Int(5))])).unwrap();
    assert_exactly(&format::read(&document), &map([("count", Value::Counter(5)), ("time", Value::Float(0.5))]));
}

#[test]
fn a_counter_is_written_anew_if_it_is_missing_or_the_difference_overflows() {
    let mut document = AutoCommit::new();
    document.put(ROOT, "n", -2).unwrap();
    format::edit(&mut document, &map([("n", Value::Counter(-2))]), &map([("n", Value::Counter(-3))])).unwrap();
    assert_exactly(&format::read(&document), &map([("n", Value::Counter(-3))]));
    let most = map([("n", Value::Counter(i64::MAX))]);
    format::edit(&mut document, &map([("n", Value::Counter(-3))]), &most).unwrap();
    assert_exactly(&format::read(&document), &most);
}

#[test]
fn a_value_in_another_form_is_replaced_as_a_whole() {
    let shapes = [
        Value::Null,
        Value::Int(1),
        text("a"),
        scalar("b"),
        Value::Counter(2),
        Value::List(vec![Value::Int(1)]),
        map([("x", Value::Int(1))]),
    ];
    for held in &shapes {
        for seen in &shapes {
            for value in &shapes {
                let mut document = document_of(&map([("f", held.clone())]));
                let edited =
                    format::edit(&mut document, &map([("f", seen.clone())]), &map([("f", value.clone())])).unwrap();
                if seen == value {
                    assert!(edited.is_empty());
                } else if !matches!((held, value), (Value::Counter(_), Value::Int(_) | Value::Counter(_))) {
                    assert_eq!(format::read(&document).get("f"), Some(value), "{held:?} seen as {seen:?}");
                }
            }
        }
    }
}

#[test]
fn a_list_that_an_app_shows_in_another_order_is_edited_item_by_item() {
    let list = |items: &[&str]| map([("l", Value::List(items.iter().map(|item| scalar(item)).collect()))]);
    let mut document = document_of(&list(&["b", "a", "b"]));
    // A sorted set has two items, sorted.
    format::edit(&mut document, &list(&["a", "b"]), &list(&["b"])).unwrap();
    assert_exactly(&format::read(&document), &list(&["b"]));
}

#[test]
fn only_the_changed_part_of_a_list_is_edited() {
    let list = |items: std::ops::Range<i64>| map([("l", Value::List(items.map(Value::Int).collect()))]);
    let mut document = document_of(&list(0..1000));
    let size = |document: &mut AutoCommit| {
        document.commit();
        let change = document.get_last_local_change().unwrap();
        change.len()
    };
    assert_eq!(size(&mut document), 1001);
    format::edit(&mut document, &list(0..1000), &list(1..1001)).unwrap();
    assert_eq!(size(&mut document), 2);
}

#[test]
fn replacing_a_very_long_list_or_text_does_not_take_quadratic_time() {
    let of = |from: i64| {
        let items = (from..from + 5_000).map(Value::Int).collect();
        let letters = (from..from + 20_000).map(|n| char::from(b'a' + (n * n % 25) as u8)).collect();
        map([("l", Value::List(items)), ("t", Value::Text(letters))])
    };
    let mut document = document_of(&of(0));
    format::edit(&mut document, &of(0), &of(100_003)).unwrap();
    assert_eq!(format::read(&document), of(100_003));
}

#[test]
fn letters_of_any_width_are_edited_at_their_place() {
    let of = |t: &str| map([("t", text(t))]);
    for (from, to) in [("🥛🥛", "🥛é🥛"), ("e\u{301}x", "ex"), ("👩‍👩‍👧", "👩‍👧"), ("", "🥛"), ("🥛", "")]
    {
        let mut document = document_of(&of(from));
        format::edit(&mut document, &of(from), &of(to)).unwrap();
        assert_exactly(&format::read(&document), &of(to));
    }
}

#[test]
fn an_enum_that_two_apps_switch_concurrently_is_one_variant_for_both() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    enum Shape {
        Circle { radius: u8 },
        Square { side: u8 },
        Line(u8),
    }
    let of = |shape: &Shape| map([("shape", format::to_value(shape).unwrap())]);
    let shown =
        |document: &AutoCommit| format::from_value::<Shape>(format::read(document).get("shape").unwrap()).unwrap();
    let base = of(&Shape::Circle { radius: 1 });
    let mut one = document_of(&base);
    let mut other = one.fork().with_actor(ActorId::random());
    format::edit(&mut one, &base, &of(&Shape::Line(2))).unwrap();
    format::edit(&mut other, &base, &of(&Shape::Square { side: 2 })).unwrap();
    one.merge(&mut other).unwrap();
    other.merge(&mut one).unwrap();
    assert!([Shape::Line(2), Shape::Square { side: 2 }].contains(&shown(&one)));
    assert_eq!(shown(&other), shown(&one));
    // The next switch is kept, regardless of the content that was left.
    let seen = of(&shown(&one));
    format::edit(&mut one, &seen, &of(&Shape::Circle { radius: 3 })).unwrap();
    assert_exactly(&format::read(&one), &of(&Shape::Circle { radius: 3 }));
}

#[test]
fn concurrently_set_values_stay_readable_as_a_conflict() {
    let base = map([("a", Value::Int(0)), ("b", Value::Int(0))]);
    let mut one = document_of(&base);
    let mut other = one.fork().with_actor(ActorId::random());
    format::edit(&mut one, &base, &map([("a", Value::Int(1)), ("b", Value::Int(0))])).unwrap();
    format::edit(&mut other, &base, &map([("a", map([("x", text("y"))])), ("b", Value::Int(0))])).unwrap();
    one.merge(&mut other).unwrap();
    let conflict = format::conflicts(&one, "a");
    assert_eq!(conflict.len(), 2);
    assert!(conflict.contains(&Value::Int(1)) && conflict.contains(&map([("x", text("y"))])));
    assert_eq!(conflict.last(), format::read(&one).get("a"));
    assert_eq!(format::conflicts(&one, "b"), [Value::Int(0)]);
    assert_eq!(format::conflicts(&one, "c"), []);
}

#[test]
fn a_value_that_is_not_a_map_is_refused_as_a_document() {
    assert!(format::edit(&mut AutoCommit::new(), &map([]), &Value::Int(1)).is_err());
    assert!(format::edit(&mut AutoCommit::new(), &Value::Null, &map([])).is_err());
}

#[test]
fn a_refused_edit_writes_nothing() {
    let mut document = document_of(&map([("a", Value::Int(1))]));
    let heads = document.get_heads();
    let deep = (0..NESTING).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    let value = map([("a", Value::Int(2)), ("b", Value::Int(2)), ("c", deep)]);
    let error = format::edit(&mut document, &map([]), &value).unwrap_err();
    assert_eq!(error.path, "c");
    assert_eq!(document.pending_ops(), 0);
    assert_eq!(document.get_heads(), heads);
}

#[test]
fn a_scalar_of_a_later_automerge_survives() {
    let later = || ScalarValue::Unknown { type_code: 12, bytes: vec![1, 2] };
    let mut document = AutoCommit::new();
    document.put(ROOT, "f", later()).unwrap();
    let list = document.put_object(ROOT, "l", ObjType::List).unwrap();
    document.insert(&list, 0, later()).unwrap();
    document.insert(&list, 1, 1).unwrap();
    let seen = map([("l", Value::List(vec![Value::Null, Value::Int(1)]))]);
    assert_exactly(&format::read(&document), &seen);
    let value = map([("l", Value::List(vec![Value::Null, Value::Int(2)]))]);
    format::edit(&mut document, &seen, &value).unwrap();
    let document = AutoCommit::load(&document.save()).unwrap();
    assert_exactly(&format::read(&document), &value);
    assert_eq!(document.get(ROOT, "f").unwrap().unwrap().0, later().into());
    assert_eq!(document.get(&list, 0).unwrap().unwrap().0, later().into());
}

#[test]
fn a_tree_made_at_an_earlier_version_is_complete() {
    let base = map([("l", Value::List(vec![Value::Int(1)]))]);
    let mut document = document_of(&base);
    let heads = document.get_heads();
    for n in 0..50 {
        let object = document.put_object(ROOT, std::format!("k{n}"), ObjType::Map).unwrap();
        document.put(&object, "x", n).unwrap();
        document.commit();
    }
    document.isolate(&heads);
    let tree = map([("t", text("deep")), ("c", Value::List(vec![map([("d", text("er"))]), Value::Counter(3)]))]);
    let value = map([("l", Value::List(vec![tree.clone(), Value::Int(1), text("a")])), ("m", tree.clone())]);
    format::edit(&mut document, &base, &value).unwrap();
    assert_exactly(&format::read(&document), &value);
    document.integrate();
    let merged = format::read(&document);
    assert_eq!(merged.get("m"), Some(&tree));
    assert_eq!(merged.get("l"), value.get("l"));
    assert_eq!(merged.get("k49"), Some(&map([("x", Value::Int(49))])));
    assert_exactly(&format::read(&AutoCommit::load(&document.save()).unwrap()), &merged);
}
