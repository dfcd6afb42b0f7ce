//! Stores and logs that an older version wrote can be opened, and their documents keep their meaning.

use bevy::{ecs::system::RunSystemOnce, prelude::*};
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    prelude::*,
};

#[path = "whole/mod.rs"]
mod whole;

use whole::{failures, is_quiet, until, until_it};

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Thing {
    name: String,
    position: [f32; 3],
    pair: (i32, Scalar),
    shape: Shape,
    tagged: Tagged,
    steps: Vec<Step>,
    votes: Counter,
    note: Option<String>,
    place: Vec3,
    wide: u64,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Vec3(f32, f32, f32);

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Shape {
    Unit,
    Circle { radius: u8 },
    Line(u8),
    Pair(u8, u8),
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "kind")]
enum Tagged {
    Off,
    On { level: u8 },
    Auto { low: u8, high: u8 },
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Step {
    id: Scalar,
    text: String,
}

fn step(id: &str) -> Step {
    Step { id: id.into(), text: id.into() }
}

/// A copy of the files in a new folder, because an open store is written to.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("backend")).unwrap();
    for file in ["store.sqlite", "other.sqlite", "backend/log.sqlite"] {
        let from = std::path::Path::new("tests/fixtures/format-2").join(file);
        std::fs::copy(from, folder.path().join(file)).unwrap();
    }
    folder
}

fn app(plugin: ReplicatePlugin) -> App {
    whole::app(|app| {
        app.add_plugins(plugin).replicate::<Thing>("things");
    })
}

fn thing(app: &mut App, id: &str) -> Option<Thing> {
    let mut query = app.world_mut().query::<(&Thing, &DocumentId)>();
    query.iter(app.world()).find(|(_, found)| found.as_str() == id).map(|(thing, _)| thing.clone())
}

fn edit(app: &mut App, id: &str, edit: impl FnOnce(&mut Thing)) {
    let world = app.world_mut();
    let mut query = world.query::<(&mut Thing, &DocumentId)>();
    let (mut thing, _) = query.iter_mut(world).find(|(_, found)| found.as_str() == id).expect("it is shown");
    edit(&mut thing);
    app.update();
}

fn plain() -> Thing {
    Thing {
        name: "plain".into(),
        position: [1.0, 2.0, 3.0],
        pair: (4, "four".into()),
        shape: Shape::Circle { radius: 5 },
        tagged: Tagged::On { level: 6 },
        steps: ["a", "b", "c"].map(step).to_vec(),
        votes: Counter(7),
        note: Some("unsent".into()),
        place: Vec3(1.0, 2.0, 3.0),
        wide: u64::MAX,
    }
}

#[test]
fn a_store_and_a_log_of_format_2_open_and_synchronise() {
    let folder = copied();
    let backend = Backend::start(BackendConfig::new().data(folder.path().join("backend"))).unwrap();
    let plugin = |name: &str| {
        ReplicatePlugin::new("sample").store(folder.path().join(format!("{name}.sqlite"))).deployment(backend.url())
    };
    let (mut one, mut other, mut fresh) = (app(plugin("store")), app(plugin("other")), app(plugin("fresh")));
    until("all three have all three documents", &mut [&mut one, &mut other, &mut fresh], |apps| {
        let have = |app: &mut App| ["plain", "merged", "moved"].iter().all(|id| thing(app, id).is_some());
        apps.iter_mut().all(|app| have(app) && is_quiet(app)).then_some(())
    });
    for app in [&mut one, &mut other, &mut fresh] {
        assert_eq!(thing(app, "plain"), Some(plain()));
        assert_eq!(failures(app), []);
    }
    let merged = thing(&mut one, "merged").unwrap();
    assert!(merged.name.ends_with("12") || merged.name.ends_with("21"), "{}", merged.name);
    assert_eq!(merged.votes, Counter(8));
    assert!([Shape::Line(1), Shape::Pair(1, 2)].contains(&merged.shape), "{:?}", merged.shape);
    assert_eq!(thing(&mut other, "merged"), Some(merged.clone()));
    assert_eq!(thing(&mut fresh, "merged"), Some(merged.clone()));
    // An item that two apps moved at the same time is in the list once.
    let moved = thing(&mut one, "moved").unwrap();
    let mut ids: Vec<_> = moved.steps.iter().map(|step| step.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(thing(&mut fresh, "moved"), Some(moved));

    edit(&mut one, "merged", |thing| {
        thing.position[2] = 9.5;
        thing.shape = Shape::Unit;
        thing.place = Vec3(0.0, 0.0, 1.0);
        thing.tagged = Tagged::Auto { low: 1, high: 2 };
    });
    edit(&mut fresh, "moved", |thing| thing.steps.push(step("d")));
    let expected = Thing {
        position: [merged.position[0], merged.position[1], 9.5],
        shape: Shape::Unit,
        place: Vec3(0.0, 0.0, 1.0),
        tagged: Tagged::Auto { low: 1, high: 2 },
        ..merged
    };
    until("all apps have both edits", &mut [&mut one, &mut other, &mut fresh], |apps| {
        let has = |app: &mut App| {
            let moved = thing(app, "moved").is_some_and(|thing| thing.steps.len() == 4);
            moved && thing(app, "merged").as_ref() == Some(&expected)
        };
        apps.iter_mut().all(|app| has(app)).then_some(())
    });
}

#[test]
fn a_store_of_format_2_opens_without_a_connection() {
    let folder = copied();
    let mut one = app(ReplicatePlugin::new("sample").store(folder.path().join("store.sqlite")));
    until_it("the documents are shown", &mut one, |app| thing(app, "moved").is_some() && thing(app, "plain").is_some());
    assert_eq!(thing(&mut one, "plain"), Some(plain()));
    assert_eq!(failures(&one), []);
}

#[test]
fn a_users_store_of_format_3_opens_with_its_refused_documents_and_they_can_be_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let users = "store.sqlite.users/%41lice.sqlite3";
    std::fs::create_dir(folder.path().join("store.sqlite.users")).unwrap();
    std::fs::copy(std::path::Path::new("tests/fixtures/format-3").join(users), folder.path().join(users)).unwrap();
    let store = folder.path().join("store.sqlite");
    let plugin = ReplicatePlugin::new("sample").store(store).deployment("http://127.0.0.1:39871");
    let mut one = app(plugin.user("Alice").offline());
    until_it("both are shown as refused", &mut one, |app| {
        whole::status(app).refused == 2 && thing(app, "new").is_some()
    });
    assert_eq!(thing(&mut one, "plain").unwrap().note.as_deref(), Some("refused"));
    let marks: Vec<String> = {
        let world = one.world_mut();
        world.query::<&Refused>().iter(world).map(|mark| format!("{}: {}", mark.code, mark.reason)).collect()
    };
    assert_eq!(marks, ["notAuthorized: not yours"; 2]);
    one.world_mut()
        .run_system_once(|mut things: Collection<Thing>| {
            things.discard(&DocumentId::new("plain"));
            things.discard(&DocumentId::new("new"));
        })
        .unwrap();
    until_it("they are discarded", &mut one, |app| whole::status(app).refused == 0 && thing(app, "new").is_none());
    until_it("it is as it was sent", &mut one, |app| thing(app, "plain") == Some(Thing { note: None, ..plain() }));
    assert_eq!(failures(&one), []);
}
