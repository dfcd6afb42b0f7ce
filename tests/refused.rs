//! An edit that cannot be kept, sent or read back is refused at once, with its document, and the next valid edit is
//! sent without further action. A failure of one document affects only that document.
#![cfg(all(feature = "bevy", feature = "backend"))]

mod whole;

use std::{collections::BTreeMap, path::Path};

use bevy::prelude::*;
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    limits,
    prelude::*,
    worker::{Failure, FailureKind},
};
use serde::{Deserializer, Serializer, de, ser};
use whole::{failures, is_quiet, status, until, until_it};

/// A note of an app without faults. [`Moody`] reads its documents too.
#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Note {
    text: String,
}

/// A note whose own code fails for some texts.
#[derive(Component, Clone, Debug, PartialEq)]
struct Moody {
    text: String,
}

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.text {
            "write panics" => panic!("planted"),
            "write fails" => return Err(ser::Error::custom("planted")),
            _ => {}
        }
        Note { text: self.text.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Note { text } = Note::deserialize(deserializer)?;
        match &*text {
            "read panics" => panic!("planted"),
            "read fails" => Err(de::Error::custom("planted")),
            _ => Ok(Self { text }),
        }
    }
}

fn app(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin, build: impl FnOnce(&mut App)) -> App {
    whole::app(|app| {
        app.add_plugins(configure(ReplicatePlugin::new("refused").store(store)));
        build(app);
    })
}

fn moody(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    app(store, configure, |app| {
        app.replicate::<Moody>("notes");
    })
}

fn plain(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    app(store, configure, |app| {
        app.replicate::<Note>("notes");
    })
}

fn edit<T: Component<Mutability = bevy::ecs::component::Mutable>>(app: &mut App, id: &str, edit: impl FnOnce(&mut T)) {
    let world = app.world_mut();
    let mut all = world.query::<(&DocumentId, &mut T)>();
    let (_, mut value) = all.iter_mut(world).find(|(found, _)| found.as_str() == id).expect("it is shown");
    edit(&mut value);
    app.update();
}

fn shown<T: Component, V>(app: &mut App, value: impl Fn(&T) -> V) -> BTreeMap<String, V> {
    let world = app.world_mut();
    world.query::<(&DocumentId, &T)>().iter(world).map(|(id, found)| (id.to_string(), value(found))).collect()
}

fn texts(app: &mut App) -> BTreeMap<String, String> {
    shown(app, |note: &Moody| note.text.clone())
}

fn notes(app: &mut App) -> BTreeMap<String, String> {
    shown(app, |note: &Note| note.text.clone())
}

fn all<const N: usize>(texts: [(&str, &str); N]) -> BTreeMap<String, String> {
    texts.map(|(id, text)| (id.to_owned(), text.to_owned())).into()
}

/// Runs an app until it has received this many failures, and returns the last one.
#[track_caller]
fn failure_number(app: &mut App, number: usize) -> Failure {
    until_it("the failures", app, |app| failures(app).len() >= number);
    assert_eq!(failures(app).len(), number, "{:?}", failures(app));
    failures(app).last().unwrap().clone()
}

#[test]
fn an_edit_that_its_type_cannot_write_or_read_back_is_refused_and_the_next_valid_edit_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let store = folder.path().join("one");
    let mut one = moody(&store, |plugin| plugin.deployment(backend.url()));
    let mut two = plain(&folder.path().join("two"), |plugin| plugin.deployment(backend.url()));
    for id in ["a", "b"] {
        one.world_mut().spawn((Moody { text: "start".into() }, DocumentId::new(id)));
    }
    let start = all([("a", "start"), ("b", "start")]);
    until("both apps have the notes", &mut [&mut one, &mut two], |apps| (notes(apps[1]) == start).then_some(()));

    for (number, bad) in ["write panics", "write fails", "read panics", "read fails"].into_iter().enumerate() {
        edit::<Moody>(&mut one, "a", |note| note.text = bad.into());
        let failure = failure_number(&mut one, number + 1);
        assert_eq!(failure.kind, FailureKind::Unwritable);
        assert_eq!(failure.document, Some(DocumentId::new("a")));
        assert!(failure.message.contains("planted"), "{failure}");
        edit::<Moody>(&mut one, "b", |note| note.text = format!("after {bad}"));
        let (good, other) = (format!("good after {bad}"), format!("after {bad}"));
        edit::<Moody>(&mut one, "a", |note| note.text = good.clone());
        let expected = all([("a", &*good), ("b", &*other)]);
        until("the valid edits arrive", &mut [&mut one, &mut two], |apps| {
            (notes(apps[1]) == expected && is_quiet(apps[0])).then_some(())
        });
        assert_eq!(texts(&mut one), expected);
    }
    drop(one);
    let mut one = moody(&store, |plugin| plugin.deployment(backend.url()));
    until_it("it starts again", &mut one, |app| is_quiet(app));
    assert_eq!(texts(&mut one), notes(&mut two));
    assert!(failures(&one).is_empty());
}

#[test]
fn a_document_on_which_its_type_panics_is_reported_and_kept_and_the_others_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let store = folder.path().join("one");
    let everything = all([("bad", "read panics"), ("good", "fits"), ("late", "read fails")]);
    let mut writer = plain(&store, |plugin| plugin);
    for (id, text) in &everything {
        writer.world_mut().spawn((Note { text: text.clone() }, DocumentId::new(id.as_str())));
    }
    writer.update();
    until_it("they are saved", &mut writer, |app| status(app).is_saved());
    drop(writer);
    // The document is read from the store twice, and from the deployment.
    for start in 0..3 {
        let store = if start < 2 { store.clone() } else { folder.path().join("two") };
        let mut reader = moody(&store, |plugin| plugin.deployment(backend.url()));
        until_it("everything is sent", &mut reader, |app| is_quiet(app) && failures(app).len() == 2);
        assert_eq!(texts(&mut reader), all([("good", "fits")]));
        assert!(status(&reader).deployment_read);
        let mut misfits: Vec<_> =
            failures(&reader).iter().map(|failure| (failure.kind, failure.document.clone())).collect();
        misfits.sort_by_key(|(_, id)| id.as_ref().map(ToString::to_string));
        let misfit = |id: &str| (FailureKind::Misfit, Some(DocumentId::new(id)));
        assert_eq!(misfits, [misfit("bad"), misfit("late")]);
        edit::<Moody>(&mut reader, "good", |note| note.text = format!("edited {start}"));
        until_it("the others are edited", &mut reader, |app| is_quiet(app));
        edit::<Moody>(&mut reader, "good", |note| note.text = "fits".into());
        until_it("and again", &mut reader, |app| is_quiet(app));
    }
    let mut writer = plain(&store, |plugin| plugin.deployment(backend.url()));
    until_it("nothing is lost", &mut writer, |app| is_quiet(app) && notes(app) == everything);
}

#[test]
fn a_counter_beyond_its_range_is_refused_with_its_place() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Score {
        points: BTreeMap<String, Counter>,
        rounds: u32,
    }
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let open = |app: &mut App| {
        app.replicate::<Score>("scores");
    };
    let mut one = app(&folder.path().join("one"), |plugin| plugin.deployment(backend.url()), open);
    let points = BTreeMap::from([("ada".to_owned(), Counter(0))]);
    one.world_mut().spawn((Score { points, rounds: 0 }, DocumentId::new("a")));
    until_it("it is sent", &mut one, |app| is_quiet(app) && backend.stats().documents == 1);
    let made = backend.stats().changes;
    edit::<Score>(&mut one, "a", |score| {
        let ada = score.points.get_mut("ada").unwrap();
        *ada += i64::MAX;
        *ada += 1;
    });
    let failure = failure_number(&mut one, 1);
    assert_eq!(failure.kind, FailureKind::Unwritable);
    assert!(failure.message.contains("points.ada: a counter ranges from"), "{failure}");
    edit::<Score>(&mut one, "a", |score| {
        *score.points.get_mut("ada").unwrap() = Counter(limits::COUNTER as i64);
        score.rounds = 1;
    });
    until_it("the valid edit is sent", &mut one, |app| is_quiet(app) && backend.stats().changes == made + 1);
    assert_eq!(failures(&one).len(), 1);
}

#[test]
fn an_edit_of_a_reserved_field_is_refused_for_every_kind_of_type() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    #[serde(tag = "kind")]
    enum Shape {
        Round { radius: f32 },
        Named { id: String },
    }
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Open {
        name: String,
        #[serde(flatten)]
        rest: BTreeMap<String, bool>,
    }
    let folder = tempfile::tempdir().unwrap();
    let mut one = app(
        &folder.path().join("one"),
        |plugin| plugin,
        |app| {
            app.replicate::<Shape>("shapes").replicate::<Open>("open");
        },
    );
    one.world_mut().spawn((Shape::Round { radius: 1.0 }, DocumentId::new("shape")));
    one.world_mut().spawn((Open { name: "a".into(), rest: BTreeMap::new() }, DocumentId::new("open")));
    one.update();
    until_it("they are saved", &mut one, |app| status(app).is_saved());
    edit::<Shape>(&mut one, "shape", |shape| *shape = Shape::Named { id: "mine".into() });
    let failure = failure_number(&mut one, 1);
    assert_eq!(failure.document, Some(DocumentId::new("shape")));
    assert!(failure.message.contains("id: this field belongs to the document"), "{failure}");
    edit::<Open>(&mut one, "open", |open| {
        open.rest.insert("deleted".into(), true);
    });
    let failure = failure_number(&mut one, 2);
    assert_eq!(failure.document, Some(DocumentId::new("open")));
    assert!(failure.message.contains("deleted: this field belongs to the document"), "{failure}");
}

#[test]
fn an_edit_that_is_nested_too_deeply_is_refused_and_the_next_edit_is_kept() {
    #[derive(Component, Serialize, Deserialize, Clone, Default)]
    struct Nest {
        inner: Option<Box<Nest>>,
        depth: u32,
    }
    let deep =
        |levels: u32| (0..levels).fold(Nest::default(), |inner, depth| Nest { inner: Some(inner.into()), depth });
    let folder = tempfile::tempdir().unwrap();
    let open = |app: &mut App| {
        app.replicate::<Nest>("nests");
    };
    let store = folder.path().join("one");
    let mut one = app(&store, |plugin| plugin, open);
    one.world_mut().spawn((deep(3), DocumentId::new("a")));
    one.update();
    until_it("it is saved", &mut one, |app| status(app).is_saved());
    edit::<Nest>(&mut one, "a", |nest| *nest = deep(100));
    assert_eq!(failure_number(&mut one, 1).kind, FailureKind::Unwritable);
    edit::<Nest>(&mut one, "a", |nest| *nest = deep(20));
    until_it("it is saved", &mut one, |app| status(app).is_saved());
    drop(one);
    let mut again = app(&store, |plugin| plugin, open);
    until_it("it is there", &mut again, |app| shown(app, |nest: &Nest| nest.depth) == [("a".to_owned(), 19)].into());
}

#[test]
fn an_edit_that_is_too_large_is_refused_and_later_edits_are_sent_without_a_retry() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Picture {
        name: String,
        data: Bytes,
        tags: BTreeMap<String, bool>,
    }
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let open = |app: &mut App| {
        app.replicate::<Picture>("pictures");
    };
    let mut one = app(&folder.path().join("one"), |plugin| plugin.deployment(backend.url()), open);
    one.world_mut()
        .spawn((Picture { name: "a".into(), data: Bytes::default(), tags: BTreeMap::new() }, DocumentId::new("a")));
    until_it("it is sent", &mut one, |app| is_quiet(app) && backend.stats().documents == 1);
    let made = backend.stats().changes;
    edit::<Picture>(&mut one, "a", |picture| picture.data = Bytes(vec![7; limits::CHANGE_BYTES + 1]));
    let failure = failure_number(&mut one, 1);
    assert_eq!(failure.kind, FailureKind::Unwritable);
    assert!(failure.message.contains("make it in several edits"), "{failure}");
    edit::<Picture>(&mut one, "a", |picture| picture.data = Bytes(vec![7; 1_000]));
    until_it("the smaller one is sent", &mut one, |app| is_quiet(app) && backend.stats().changes == made + 1);
    // A deployment may refuse this edit because of the tag's name. The next valid edit is sent although no one asks for
    // it.
    edit::<Picture>(&mut one, "a", |picture| {
        picture.tags.insert("👍".into(), true);
    });
    until_it("it is sent or refused", &mut one, |app| {
        (is_quiet(app) && backend.stats().changes == made + 2) || failures(app).len() > 1
    });
    let taken = backend.stats().changes;
    edit::<Picture>(&mut one, "a", |picture| {
        picture.name = "b".into();
        picture.tags.clear();
    });
    until_it("the valid edit is sent", &mut one, |app| is_quiet(app) && backend.stats().changes == taken + 1);
}

#[test]
fn a_type_that_panics_when_it_is_registered_can_still_be_used() {
    /// A type that fails if it is deserialized without a value.
    #[derive(Component, Serialize, Clone)]
    struct Hasty {
        text: String,
    }
    impl<'de> Deserialize<'de> for Hasty {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let note = Note::deserialize(deserializer).expect("there is a value");
            Ok(Self { text: note.text })
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let open = |app: &mut App| {
        app.replicate::<Hasty>("notes");
    };
    let store = folder.path().join("one");
    let mut one = app(&store, |plugin| plugin, open);
    one.world_mut().spawn((Hasty { text: "kept".into() }, DocumentId::new("a")));
    one.update();
    until_it("it is saved", &mut one, |app| status(app).is_saved());
    assert!(failures(&one).is_empty());
    drop(one);
    let mut again = app(&store, |plugin| plugin, open);
    until_it("it is there", &mut again, |app| shown(app, |note: &Hasty| note.text.clone()) == all([("a", "kept")]));
}

#[test]
fn a_number_that_no_document_can_hold_is_refused_with_its_place() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Big {
        numbers: Vec<u128>,
    }
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Forgetful {
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
    }
    let folder = tempfile::tempdir().unwrap();
    let open = |app: &mut App| {
        app.replicate::<Big>("numbers").replicate::<Forgetful>("names");
    };
    let mut one = app(&folder.path().join("one"), |plugin| plugin, open);
    one.world_mut().spawn((Big { numbers: vec![1, 2] }, DocumentId::new("a")));
    one.world_mut().spawn((Forgetful { name: "a".into() }, DocumentId::new("b")));
    one.update();
    until_it("they are saved", &mut one, |app| status(app).is_saved());
    edit::<Big>(&mut one, "a", |big| big.numbers.push(u128::MAX));
    let failure = failure_number(&mut one, 1);
    assert!(failure.message.contains("numbers[2]"), "{failure}");
    // The type omits the field while it is empty, and cannot read a document without the field.
    edit::<Forgetful>(&mut one, "b", |forgetful| forgetful.name.clear());
    let failure = failure_number(&mut one, 2);
    assert_eq!(failure.document, Some(DocumentId::new("b")));
    assert!(
        failure.message.contains("cannot read its own serialized form") && failure.message.contains("name"),
        "{failure}"
    );
    edit::<Forgetful>(&mut one, "b", |forgetful| forgetful.name = "c".into());
    until_it("it is saved", &mut one, |app| status(app).is_saved());
    assert_eq!(failures(&one).len(), 2);
}

#[test]
fn an_edit_after_repeated_refusals_is_sent_without_further_action() {
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Tagged {
        tags: BTreeMap<String, u32>,
    }
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let open = |app: &mut App| {
        app.replicate::<Tagged>("tagged");
    };
    let mut one = app(&folder.path().join("one"), |plugin| plugin.deployment(backend.url()), open);
    one.world_mut().spawn((Tagged { tags: BTreeMap::new() }, DocumentId::new("a")));
    until_it("it is sent", &mut one, |app| is_quiet(app) && backend.stats().documents == 1);
    // The app makes this edit in every frame; a deployment that refuses the name would refuse it more than once.
    for count in 0..200 {
        edit::<Tagged>(&mut one, "a", |tagged| {
            tagged.tags.insert("_mine".into(), count);
        });
        until_it("it is saved", &mut one, |app| status(app).is_saved());
    }
    assert!(failures(&one).len() <= 1, "{:?}", failures(&one));
    edit::<Tagged>(&mut one, "a", |tagged| tagged.tags = BTreeMap::from([("mine".into(), 1)]));
    until_it("the valid edit is sent", &mut one, |app| is_quiet(app));
    let row = backend.rows("tagged").remove(0).1;
    let convex::Value::Object(row) = row else { panic!("a row is an object: {row:?}") };
    assert_eq!(row["tags"], convex::Value::Object(BTreeMap::from([("mine".into(), 1.0.into())])));
}

#[test]
fn touching_a_component_is_not_a_change() {
    #[derive(Resource, Default)]
    struct Changes(Vec<(ChangeKind, Origin)>);
    let folder = tempfile::tempdir().unwrap();
    let mut one = app(
        &folder.path().join("one"),
        |plugin| plugin,
        |app| {
            app.replicate::<Note>("notes").init_resource::<Changes>().add_systems(
                Update,
                |mut changes: MessageReader<DocumentChanged<Note>>, mut seen: ResMut<Changes>| {
                    seen.0.extend(changes.read().map(|change| (change.kind, change.origin)));
                },
            );
        },
    );
    one.world_mut().spawn((Note { text: "one".into() }, DocumentId::new("a")));
    one.update();
    for _ in 0..20 {
        edit::<Note>(&mut one, "a", |note| note.text = note.text.clone());
    }
    until_it("all is saved", &mut one, |app| status(app).is_saved());
    edit::<Note>(&mut one, "a", |note| note.text = "two".into());
    until_it("the change is reported", &mut one, |app| {
        app.world().resource::<Changes>().0.last() == Some(&(ChangeKind::Updated, Origin::Local))
    });
    let seen = &one.world().resource::<Changes>().0;
    assert_eq!(seen[..], [(ChangeKind::Inserted, Origin::Local), (ChangeKind::Updated, Origin::Local)]);
}
