//! The table never holds up the log: what a row cannot hold is left out of it, and everyone has the document.

use std::collections::BTreeMap;

use bevy::prelude::*;
use bevy_convex_replicate::{limits, prelude::*};
use convex::Value;

use crate::apps::{Place, settle, task, until};

/// What no row holds whole.
#[derive(Component, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
struct Model {
    title: String,
    names: BTreeMap<String, u32>,
    points: Vec<u8>,
    many: BTreeMap<String, bool>,
    owner: u64,
    change: f64,
    level: Level,
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
        level: (0..50).fold(Level::default(), |inner, _| Level { inner: Some(inner.into()) }),
    }
}

fn app(place: &Place, name: &str) -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(ReplicatePlugin::new("promises").store(place.store(name)).deployment(place.url()))
        .replicate::<Model>("tasks");
    app.finish();
    app.cleanup();
    app
}

fn models(app: &mut App) -> Vec<Model> {
    let world = app.world_mut();
    world.query::<&Model>().iter(world).cloned().collect()
}

/// Runs the apps until both show this, and what was made is sent.
fn both_show(one: &mut App, two: &mut App, expected: &Model) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        one.update();
        two.update();
        let is_sent = one.world().resource::<SyncStatus>().is_sent();
        if is_sent && [&mut *one, &mut *two].into_iter().all(|app| models(app) == [expected.clone()]) {
            return;
        }
        if std::time::Instant::now() > deadline {
            let titles = [models(one), models(two)]
                .map(|models| models.into_iter().map(|model| model.title).collect::<Vec<_>>());
            let states = [
                (titles[0].clone(), one.world().resource::<SyncStatus>()),
                (titles[1].clone(), two.world().resource::<SyncStatus>()),
            ];
            panic!("in vain: {states:?}, of {:?}", expected.title);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[test]
fn what_no_row_can_hold_reaches_everyone_and_is_named_in_the_row() {
    let place = Place::new();
    let (mut one, mut two) = (app(&place, "one"), app(&place, "two"));
    let entity = one.world_mut().spawn(model()).id();
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
    assert_eq!(row["names"], Value::Object([("plain".to_owned(), Value::Float64(6.0))].into()));
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
        "names[\"_me\"]",
        "names[\"Élise\"]",
        "names[\"👍\"]",
        "points",
    ];
    assert_eq!(*named, places.map(Value::from));
}

#[test]
fn a_row_over_its_size_lacks_the_largest_field() {
    let place = Place::new();
    let (mut one, mut two) = (place.device("one"), place.device("two"));
    let good = one.insert(task("good"));
    let huge = one.insert(task(&"x".repeat(limits::ROW_BYTES + 1)));
    until("everything arrives", [&mut one, &mut two], |[one, two]| one.is_quiet() && two.tasks() == one.tasks());
    let row = |id: &DocumentId| place.rows().into_iter().find(|(found, _)| found == id).unwrap().1;
    assert_eq!(row(&huge)["notInRow"], Value::Array(vec!["text".into()]));
    assert!(!row(&huge).contains_key("text"));
    one.edit(&huge, |task| task.text.truncate(3));
    one.edit(&good, |task| task.text.push('!'));
    let table = settle(&place, [&mut one, &mut two]);
    assert_eq!((&*table[&huge].text, &*table[&good].text), ("xxx", "good!"));
    assert!(!row(&huge).contains_key("notInRow"));
}
