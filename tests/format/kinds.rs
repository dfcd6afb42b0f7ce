use super::*;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(rename_all = "camelCase")]
struct Card {
    title: String,
    is_done: bool,
    owner: Scalar<String>,
    votes: Counter,
    created: Timestamp,
    picture: Bytes,
    #[serde(with = "serde_bytes")]
    raw: Vec<u8>,
    numbers: Vec<u8>,
    note: Option<String>,
    size: (i32, f32),
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    labels: Vec<String>,
}

#[test]
fn a_struct_becomes_a_map() {
    comes_back(
        Card {
            title: "Buy milk".into(),
            is_done: true,
            owner: "user".into(),
            votes: Counter(3),
            created: Timestamp(5),
            picture: Bytes(vec![1]),
            raw: vec![2],
            numbers: vec![3],
            note: None,
            size: (-1, 0.5),
            labels: vec![],
        },
        map([
            ("title", text("Buy milk")),
            ("isDone", Value::Bool(true)),
            ("owner", scalar("user")),
            ("votes", Value::Counter(3)),
            ("created", Value::Timestamp(5)),
            ("picture", Value::Bytes(vec![1])),
            ("raw", Value::Bytes(vec![2])),
            ("numbers", Value::List(vec![Value::Int(3)])),
            ("note", Value::Null),
            ("size", Value::List(vec![Value::Int(-1), Value::Float(0.5)])),
        ]),
    );
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum External {
    Unit,
    New(String),
    Tuple(u8, String),
    Struct { x: u8 },
}

#[test]
fn an_externally_tagged_enum_becomes_a_scalar_or_a_map_with_one_key() {
    comes_back(External::Unit, scalar("Unit"));
    comes_back(External::New("a".into()), map([("New", text("a"))]));
    comes_back(External::Tuple(1, "a".into()), map([("Tuple", Value::List(vec![Value::Int(1), text("a")]))]));
    comes_back(External::Struct { x: 1 }, map([("Struct", map([("x", Value::Int(1))]))]));
    assert_eq!(format::from_value::<External>(&text("Unit")).unwrap(), External::Unit);
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "kind")]
enum Internal {
    Unit,
    New(Point),
    Map(BTreeMap<String, u8>),
    Struct { x: u8, name: String, votes: Counter },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Point {
    x: f64,
}

#[test]
fn the_tag_of_an_enum_becomes_a_scalar_string() {
    comes_back(Internal::Unit, map([("kind", scalar("Unit"))]));
    comes_back(Internal::New(Point { x: 2.0 }), map([("kind", scalar("New")), ("x", Value::Float(2.0))]));
    comes_back(Internal::Map(BTreeMap::from([("a".into(), 1)])), map([("kind", scalar("Map")), ("a", Value::Int(1))]));
    comes_back(
        Internal::Struct { x: 1, name: "a".into(), votes: Counter(2) },
        map([("kind", scalar("Struct")), ("x", Value::Int(1)), ("name", text("a")), ("votes", Value::Counter(2))]),
    );
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    New(String),
    Tuple(u8, u8),
    Struct { x: u8 },
}

#[test]
fn an_adjacently_tagged_enum_becomes_a_map_with_two_keys() {
    comes_back(Adjacent::Unit, map([("t", scalar("Unit"))]));
    comes_back(Adjacent::New("a".into()), map([("t", scalar("New")), ("c", text("a"))]));
    comes_back(
        Adjacent::Tuple(1, 2),
        map([("t", scalar("Tuple")), ("c", Value::List(vec![Value::Int(1), Value::Int(2)]))]),
    );
    comes_back(Adjacent::Struct { x: 1 }, map([("t", scalar("Struct")), ("c", map([("x", Value::Int(1))]))]));
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Untagged {
    Small { number: u8 },
    Float { number: f64 },
    List(Vec<Option<bool>>),
    // Before the string variant, because serde reads bytes that happen to be UTF-8 as a string.
    Bytes(Bytes),
    Scalar(Scalar<String>),
}

#[test]
fn an_untagged_enum_becomes_its_content() {
    comes_back(Untagged::Small { number: 1 }, map([("number", Value::Int(1))]));
    comes_back(Untagged::Float { number: 0.5 }, map([("number", Value::Float(0.5))]));
    comes_back(Untagged::Scalar("a".into()), scalar("a"));
    comes_back(Untagged::List(vec![None, Some(true)]), Value::List(vec![Value::Null, Value::Bool(true)]));
    comes_back(Untagged::Bytes(Bytes(vec![1])), Value::Bytes(vec![1]));
    // Also if the float is a whole number.
    comes_back(Untagged::Float { number: 7.0 }, map([("number", Value::Float(7.0))]));
    let counted = map([("number", Value::Counter(300))]);
    assert_eq!(format::from_value::<Untagged>(&counted).unwrap(), Untagged::Float { number: 300.0 });
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Flattened {
    a: u8,
    #[serde(flatten)]
    internal: Internal,
    #[serde(flatten)]
    rest: BTreeMap<String, Value2>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Value2 {
    Number(f64),
    Text(String),
}

#[test]
fn flattened_fields_become_fields_of_the_outer_map() {
    comes_back(
        Flattened {
            a: 1,
            internal: Internal::New(Point { x: 3.0 }),
            rest: BTreeMap::from([
                ("kind".into(), Value2::Text("New".into())),
                ("x".into(), Value2::Number(3.0)),
                ("more".into(), Value2::Text("b".into())),
            ]),
        },
        map([("a", Value::Int(1)), ("kind", text("New")), ("x", Value::Float(3.0)), ("more", text("b"))]),
    );
}

#[test]
fn letters_and_formatted_values_become_scalar_strings() {
    comes_back('x', scalar("x"));
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
    let value = format::to_value(&address).unwrap();
    assert_eq!(value, text("127.0.0.1:80"));
    assert_eq!(format::from_value::<std::net::SocketAddr>(&value).unwrap(), address);
}

#[test]
fn scalar_applies_to_the_wrapped_value() {
    comes_back(Scalar(Some("a".to_owned())), scalar("a"));
    comes_back(Scalar(None::<String>), Value::Null);
    comes_back(Some(Counter(1)), Value::Counter(1));
}

#[test]
fn keys_are_written_as_text() {
    comes_back(BTreeMap::from([(1u8, 2)]), map([("1", Value::Int(2))]));
    comes_back(BTreeMap::from([(-1i64, 2)]), map([("-1", Value::Int(2))]));
    comes_back(BTreeMap::from([(true, 2)]), map([("true", Value::Int(2))]));
    comes_back(BTreeMap::from([('a', 2)]), map([("a", Value::Int(2))]));
    comes_back(BTreeMap::from([(Scalar("a".to_owned()), 2)]), map([("a", Value::Int(2))]));
    #[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Debug)]
    enum Suit {
        Hearts,
    }
    comes_back(BTreeMap::from([(Suit::Hearts, 2)]), map([("Hearts", Value::Int(2))]));
}

#[test]
fn a_key_without_a_text_form_is_refused() {
    let error = format::to_value(&BTreeMap::from([((1, 2), 3)])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a tuple cannot be the key of a map; use a string, a whole number, a boolean or an enum without content"
    );
    let error = format::from_value::<HashMap<u8, u8>>(&map([("300", Value::Int(1))])).unwrap_err();
    assert_eq!(error.to_string(), "invalid type: string \"300\", expected u8");
}

#[test]
fn types_of_the_format_are_plain_in_other_formats() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct All(Counter, Timestamp, Scalar, Bytes);
    let all = All(Counter(1), Timestamp(2), "a".into(), Bytes(vec![3]));
    let json = serde_json::to_string(&all).unwrap();
    assert_eq!(json, r#"[1,2,"a",[3]]"#);
    assert_eq!(serde_json::from_str::<All>(&json).unwrap(), all);
}
