use super::*;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Card {
    title: String,
    note: Option<String>,
    #[serde(default)]
    votes: Counter,
}

#[test]
fn a_missing_key_is_read_as_none_or_the_default() {
    let card: Card = format::from_value(&map([("title", scalar("a")), ("unknown", Value::Null)])).unwrap();
    assert_eq!(card, Card { title: "a".into(), note: None, votes: Counter(0) });
    let error = format::from_value::<Card>(&map([])).unwrap_err();
    assert_eq!(error.to_string(), "missing field `title`");
}

#[test]
fn a_reading_error_names_its_place() {
    #[derive(Deserialize, Debug)]
    struct Board {
        #[allow(dead_code)]
        columns: Vec<Card>,
    }
    let good = map([("title", text("a"))]);
    let bad = map([("title", Value::Int(3))]);
    let board = map([("columns", Value::List(vec![good.clone(), good, bad]))]);
    let error = format::from_value::<Board>(&board).unwrap_err();
    assert_eq!(error.path, "columns[2].title");
    assert_eq!(error.to_string(), "columns[2].title: invalid type: integer `3`, expected a string");
}

#[test]
fn a_writing_error_names_its_place() {
    let board =
        BTreeMap::from([("columns", vec![BTreeMap::from([("size", 1u128)]), BTreeMap::from([("size", u128::MAX)])])]);
    assert_eq!(format::to_value(&board).unwrap_err().path, "columns[1].size");
}

#[test]
fn a_component_that_accepts_all_keys_does_not_get_the_reserved_ones() {
    let root = map([("id", scalar("a")), ("deleted", Value::Bool(false)), ("x", Value::Int(1))]);
    let component: BTreeMap<String, u8> = format::from_document(&root).unwrap();
    assert_eq!(component, BTreeMap::from([("x".into(), 1)]));
}

#[test]
fn a_document_of_another_form_is_refused() {
    for value in [Value::Null, Value::Int(1), text("a"), Value::List(vec![]), Value::Bytes(vec![1])] {
        assert!(format::from_value::<Card>(&value).is_err());
        assert!(format::from_document::<Card>(&value).is_err());
        assert!(format::from_value::<BTreeMap<String, u8>>(&value).is_err());
    }
    assert!(format::from_value::<String>(&Value::Bytes(b"text".to_vec())).is_err());
    assert!(format::from_value::<(u8, u8)>(&Value::List(vec![Value::Int(1)])).is_err());
    // A newer version of a tuple has more items, and an older version reads the items that it knows.
    assert_eq!(format::from_value::<(u8, u8)>(&Value::List((1..=3).map(Value::Int).collect())).unwrap(), (1, 2));
    // Bytes are accepted for a list of numbers, and a list of numbers for bytes.
    assert_eq!(format::from_value::<Vec<u8>>(&Value::Bytes(vec![1, 2])).unwrap(), [1, 2]);
    assert_eq!(format::from_value::<Bytes>(&Value::List(vec![Value::Int(1)])).unwrap(), Bytes(vec![1]));
}

#[test]
fn a_document_nested_too_deeply_is_truncated() {
    let mut document = AutoCommit::new();
    let mut inner = ROOT;
    for _ in 0..20_000 {
        inner = document.put_object(&inner, "a", ObjType::Map).unwrap();
    }
    let mut value = &format::read(&document);
    let mut depth = 0;
    while let Value::Map(fields) = value {
        value = &fields["a"];
        depth += 1;
    }
    assert_exactly(value, &Value::Null);
    assert_eq!(depth, NESTING);
}

#[test]
fn a_value_of_the_maximum_depth_is_accepted_and_a_deeper_one_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct Nested(Option<BTreeMap<String, Nested>>);
    let nested =
        |levels: usize| (0..levels).fold(Nested(None), |inner, _| Nested(Some(BTreeMap::from([("a".into(), inner)]))));
    let value = format::to_value(&nested(NESTING)).unwrap();
    let mut document = AutoCommit::new();
    format::edit(&mut document, &map([]), &value).unwrap();
    assert_exactly(&format::read(&document), &value);
    assert_exactly(&Value::from_json_text(&value.to_json_text()).unwrap(), &value);
    let error = format::to_value(&nested(NESTING + 1)).unwrap_err();
    assert_eq!(error.message, "nested deeper than 64 levels, which is the maximum");
    let error = format::edit(&mut document, &map([]), &map([("a", value)])).unwrap_err();
    assert_eq!(error.message, "nested deeper than 64 levels, which is the maximum");
}

#[test]
fn a_document_whose_field_deleted_is_true_is_a_tombstone() {
    assert!(map([("deleted", Value::Bool(true))]).is_deleted());
    assert!(!map([("deleted", Value::Bool(false))]).is_deleted());
    assert!(!map([("deleted", text("true"))]).is_deleted());
    assert!(!map([]).is_deleted());
}

#[test]
fn to_convex_gives_plain_values() {
    let value = map([
        ("text", text("a")),
        ("scalar", scalar("b")),
        ("int", Value::Int(1)),
        ("uint", Value::Uint(u64::MAX)),
        ("counter", Value::Counter(2)),
        ("time", Value::Timestamp(3)),
        ("bytes", Value::Bytes(vec![4])),
        ("list", Value::List(vec![Value::Null, Value::Bool(true), Value::Float(0.5)])),
    ]);
    let convex::Value::Object(fields) = value.to_convex() else { panic!("not an object") };
    assert_eq!(fields["text"], convex::Value::String("a".into()));
    assert_eq!(fields["scalar"], convex::Value::String("b".into()));
    assert_eq!(fields["int"], convex::Value::Float64(1.0));
    assert_eq!(fields["uint"], convex::Value::String(u64::MAX.to_string()));
    assert_eq!(fields["counter"], convex::Value::Float64(2.0));
    assert_eq!(fields["time"], convex::Value::Float64(3.0));
    assert_eq!(fields["bytes"], convex::Value::Bytes(vec![4]));
    assert_eq!(
        fields["list"],
        convex::Value::Array(vec![convex::Value::Null, convex::Value::Boolean(true), convex::Value::Float64(0.5)])
    );
}
