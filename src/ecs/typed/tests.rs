//! How a collection's types decode and encode documents.

use bevy::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Player {
    name: String,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Position {
    x: f32,
    y: f32,
}

type Both = (Option<Player>, Option<Position>);

fn players() -> Typed<(Player, Position)> {
    Typed::new(vec![Some(vec!["name"]), Some(vec!["x", "y"])])
}

fn document(fields: &[(&str, Value)]) -> Value {
    Value::Map(fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
}

fn decoded(document: &Value) -> (Both, Vec<FormatError>) {
    let Decoded { content, problems, .. } = players().decode(document);
    (content.downcast::<Version<Both>>().unwrap().parts, problems)
}

fn name(text: &str) -> (&'static str, Value) {
    ("name", Value::Text(text.into()))
}

#[test]
fn a_document_is_all_of_its_components() {
    let (parts, problems) = decoded(&document(&[name("Ada"), ("x", Value::Int(1)), ("y", Value::Float(2.5))]));
    assert_eq!(parts, (Some(Player { name: "Ada".into() }), Some(Position { x: 1.0, y: 2.5 })));
    assert_eq!(problems, []);
}

#[test]
fn a_missing_component_is_no_problem() {
    let (parts, problems) = decoded(&document(&[name("Ada"), ("score", Value::Int(1))]));
    assert_eq!(parts, (Some(Player { name: "Ada".into() }), None));
    assert_eq!(problems, []);
}

#[test]
fn a_component_that_does_not_fit_is_a_problem_and_the_other_is_not() {
    let (parts, problems) = decoded(&document(&[name("Ada"), ("x", Value::Int(1))]));
    assert_eq!(parts, (Some(Player { name: "Ada".into() }), None));
    assert_eq!(problems.len(), 1, "{problems:?}");
    let (parts, problems) =
        decoded(&document(&[("name", Value::Bool(true)), ("x", Value::Int(1)), ("y", Value::Int(2))]));
    assert_eq!(parts, (None, Some(Position { x: 1.0, y: 2.0 })));
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn a_document_without_the_fields_of_its_only_component_does_not_fit() {
    let alone = Typed::<(Player,)>::new(vec![Some(vec!["name"])]);
    assert_eq!(alone.decode(&document(&[])).problems.len(), 1);
    assert_eq!(alone.decode(&document(&[name("Ada")])).problems, []);
}

#[test]
fn a_view_is_what_the_components_asked_for_would_write() {
    let whole = document(&[name("Ada"), ("x", Value::Int(1)), ("y", Value::Int(2)), ("unknown", Value::Null)]);
    assert_eq!(players().view(&whole, 0b01).value, document(&[name("Ada")]));
    assert_eq!(
        players().view(&whole, 0b11).value,
        document(&[name("Ada"), ("x", Value::Int(1)), ("y", Value::Int(2))])
    );
    let misfit = document(&[("name", Value::Bool(true)), ("x", Value::Int(1)), ("y", Value::Int(2))]);
    let view = players().view(&misfit, 0b11);
    assert_eq!(view.value, document(&[("x", Value::Int(1)), ("y", Value::Int(2))]));
    assert_eq!(view.misfits, 0b01);
}

#[test]
fn an_encoded_edit_names_its_components() {
    let parts = (None, Some(Position { x: 1.0, y: 2.0 }));
    let taken = Captured::<(Player, Position)> { parts, fields: players().fields };
    assert_eq!(taken.encode().unwrap(), (document(&[("x", Value::Int(1)), ("y", Value::Int(2))]), 0b10));
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Rest {
    #[serde(flatten)]
    rest: BTreeMap<String, i64>,
}

#[test]
fn a_component_that_takes_all_fields_takes_none_of_another_one() {
    let typed = Typed::<(Position, Rest)>::new(vec![Some(vec!["x", "y"]), None]);
    let held = document(&[("x", Value::Int(1)), ("y", Value::Int(2)), ("score", Value::Int(3))]);
    let content = typed.decode(&held).content.downcast::<Version<(Option<Position>, Option<Rest>)>>().unwrap();
    let rest = Rest { rest: BTreeMap::from([("score".to_string(), 3)]) };
    assert_eq!(content.parts, (Some(Position { x: 1.0, y: 2.0 }), Some(rest.clone())));
    // Its view is its own fields, so an edit of it leaves the others alone.
    assert_eq!(typed.view(&held, 0b10).value, document(&[("score", Value::Int(3))]));
    // A component cannot write a field of another component.
    let clash = Rest { rest: BTreeMap::from([("x".to_string(), 4)]) };
    for position in [Some(Position { x: 1.0, y: 2.0 }), None] {
        let parts = (position, Some(clash.clone()));
        let captured = Captured::<(Position, Rest)> { parts, fields: typed.fields.clone() };
        assert_eq!(captured.encode().unwrap_err().path, "x");
    }
    let captured = Captured::<(Position, Rest)> { parts: (None, Some(rest)), fields: typed.fields.clone() };
    assert_eq!(captured.encode().unwrap(), (document(&[("score", Value::Int(3))]), 0b10));
}

#[test]
fn a_version_names_the_components_it_lacks() {
    let lacks = |held: &Value| {
        let content = players().decode(held).content;
        players().lacks(&*content)
    };
    assert_eq!(lacks(&document(&[name("Ada"), ("x", Value::Int(1)), ("y", Value::Int(2))])), 0);
    assert_eq!(lacks(&document(&[name("Ada")])), 0b10);
    assert_eq!(
        lacks(&document(&[name("Ada"), ("x", Value::Bool(true))])),
        0,
        "a component that does not fit is not lacking"
    );
    assert_eq!(lacks(&document(&[])), 0b11);
    let alone = Typed::<(Player,)>::new(vec![Some(vec!["name"])]);
    assert_eq!(alone.lacks(&*alone.decode(&document(&[])).content), 0, "the only component is never lacking");
}
