//! A table row never stops the log: a value that the row cannot hold is left out of the row, and every app has the
//! document.

use std::collections::BTreeMap;

use bevy::prelude::*;
use bevy_convex_replicate::{format::Bytes, limits, prelude::*};
use convex::Value;

use crate::apps::Place;

/// A value that no row can hold completely.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct Model {
    title: String,
    names: BTreeMap<String, u32>,
    points: Vec<u8>,
    many: BTreeMap<String, bool>,
    owner: u64,
    change: f64,
    level: Level,
    picture: Bytes,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct Level {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inner: Option<Box<Level>>,
}

fn model() -> Model {
    Model {
        title: "first".into(),
        names: ["👍", "Zoë", "_me", "$it", "", "plain"]
            .into_iter()
            .zip(1..)
            .map(|(name, n)| (name.into(), n))
            .collect(),
        points: vec![1; limits::LIST_ELEMENTS + 1],
        many: (0..=limits::OBJECT_FIELDS).map(|index| (format!("f{index}"), true)).collect(),
        owner: u64::MAX,
        change: -0.0,
        picture: Bytes(vec![7; limits::ROW_BYTES]),
        level: (0..50).fold(Level::default(), |inner, _| Level { inner: Some(inner.into()) }),
    }
}

#[derive(Resource, Default)]
struct Failures(Vec<String>);

fn app(place: &Place, name: &str) -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(ReplicatePlugin::new("promises").store(place.store(name)).deployment(place.url()))
        .replicate::<Model>("tasks")
        .init_resource::<Failures>()
        .add_systems(Update, |mut all: ResMut<Failures>, mut failures: MessageReader<SyncFailed>| {
            all.0.extend(failures.read().map(|SyncFailed(failure)| failure.to_string()));
        });
    app.finish();
    app.cleanup();
    app
}

fn models(app: &mut App) -> Vec<Model> {
    let world = app.world_mut();
    world.query::<&Model>().iter(world).cloned().collect()
}

/// Runs the apps until both show the task and everything is sent.
fn both_show(one: &mut App, two: &mut App, expected: &Model) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        one.update();
        two.update();
        let is_sent = one.world().resource::<SyncStatus>().is_sent();
        if is_sent && [&mut *one, &mut *two].into_iter().all(|app| models(app) == [expected.clone()]) {
            return;
        }
        let failures = [&*one, &*two].map(|app| &app.world().resource::<Failures>().0);
        assert_eq!(failures, [&Vec::<String>::new(), &Vec::new()]);
        assert!(std::time::Instant::now() < deadline, "timed out waiting for {:?}", expected.title);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn a_value_that_no_row_can_hold_reaches_every_app_and_is_named_in_the_row() {
    let place = Place::new();
    let (mut one, mut two) = (app(&place, "one"), app(&place, "two"));
    let entity = one.world_mut().spawn((model(), DocumentId::random())).id();
    both_show(&mut one, &mut two, &model());
    let mut expected = model();
    for title in ["second", "third"] {
        expected.title = title.into();
        expected.names.insert("Élise".into(), 7);
        *one.world_mut().get_mut::<Model>(entity).unwrap() = expected.clone();
        both_show(&mut one, &mut two, &expected);
    }
    let (_, row) = place.rows().remove(0);
    assert_eq!(row["title"], Value::from("third"));
    let names = [("_me".to_owned(), Value::Float64(3.0)), ("plain".to_owned(), Value::Float64(6.0))];
    assert_eq!(row["names"], Value::Object(names.into()));
    assert_eq!(row["owner"], Value::from("18446744073709551615"));
    assert!(!row.contains_key("points") && !row.contains_key("many"));
    let Value::Array(named) = &row["notInRow"] else { panic!("it is a list: {row:?}") };
    let deep = format!("level{}", ".inner".repeat(15));
    let places = [
        &*deep,
        "many",
        "names[\"\"]",
        "names[\"$it\"]",
        "names[\"Zoë\"]",
        "names[\"Élise\"]",
        "names[\"👍\"]",
        "picture",
        "points",
    ];
    assert_eq!(*named, places.map(Value::from));

    // A value that fits again is in the row again, whatever fields the edit sends.
    expected = Model { title: "fourth".into(), owner: 5, ..Model::default() };
    *one.world_mut().get_mut::<Model>(entity).unwrap() = expected.clone();
    both_show(&mut one, &mut two, &expected);
    let (_, row) = place.rows().remove(0);
    assert!(!row.contains_key("notInRow"), "{row:?}");
    assert_eq!((&row["owner"], &row["points"]), (&Value::Float64(5.0), &Value::Array(Vec::new())));
}
