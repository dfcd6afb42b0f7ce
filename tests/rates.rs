//! Components that change faster than a worker edits: captures that wait become one edit, and a collection's rate makes
//! them wait.

#[path = "whole/mod.rs"]
mod whole;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::Instant,
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    Value,
    backend::{Backend, BackendConfig},
    prelude::*,
    store::Store,
};
use serde::Serializer;
use tempfile::TempDir;
use whole::{failures, is_quiet, status, until, until_it};

/// How often the apps of these tests change a component.
const FRAMES: i64 = 60;

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
struct Piece {
    x: i64,
    text: String,
    moves: Counter,
}

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
struct Colour {
    hue: i64,
}

/// Keeps a worker busy: serialising a shut gate takes until it is opened.
#[derive(Component, Deserialize, Clone, Default)]
struct Gate {
    #[serde(skip)]
    lock: Lock,
    passes: i64,
}

#[derive(Clone, Default)]
struct Lock(Arc<(Mutex<bool>, Condvar)>);

impl Lock {
    fn set(&self, is_shut: bool) {
        *self.0.0.lock().unwrap() = is_shut;
        self.0.1.notify_all();
    }
}

impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Plain {
            passes: i64,
        }
        let (is_shut, opened) = &*self.lock.0;
        drop(opened.wait_while(is_shut.lock().unwrap(), |is_shut| *is_shut).unwrap());
        Plain { passes: self.passes }.serialize(serializer)
    }
}

fn id(name: &str) -> DocumentId {
    DocumentId::new(name)
}

/// An app with a piece and a gate, and a store in this file.
struct Side {
    app: App,
    store: PathBuf,
    piece: Entity,
    gate: Entity,
}

impl Side {
    fn start(folder: &Path, name: &str, url: Option<&str>, rate: Option<f64>) -> Self {
        let store = folder.join(name);
        let mut plugin = ReplicatePlugin::new("rates").store(&store);
        if let Some(url) = url {
            plugin = plugin.deployment(url);
        }
        let mut app = whole::app(|app| {
            app.add_plugins(plugin).replicate_components::<(Piece, Colour)>("pieces").replicate::<Gate>("gates");
            if let Some(rate) = rate {
                app.rate("pieces", rate);
            }
        });
        let piece = app.world_mut().spawn((Piece::default(), Colour::default(), id("piece"))).id();
        let gate = app.world_mut().spawn((Gate::default(), DocumentId::random())).id();
        until_it("the documents are saved", &mut app, |app| status(app).is_saved());
        Self { app, store, piece, gate }
    }

    /// Runs frames while the worker is busy.
    fn while_busy(&mut self, mut frame: impl FnMut(&mut World, i64)) {
        let mut gate = self.app.world_mut().get_mut::<Gate>(self.gate).unwrap();
        gate.passes += 1;
        let lock = gate.lock.clone();
        lock.set(true);
        self.app.update();
        for at in 1..=FRAMES {
            frame(self.app.world_mut(), at);
            self.app.update();
        }
        assert!(!status(&self.app).is_saved(), "the worker is busy");
        lock.set(false);
    }

    fn piece(&self) -> Piece {
        self.app.world().get::<Piece>(self.piece).unwrap().clone()
    }

    fn is_saved(&mut self) {
        until_it("everything is saved", &mut self.app, |app| status(app).is_saved());
        assert_eq!(failures(&self.app), []);
    }

    /// Ends the app. Returns the number of the piece's changes in the store, and its value.
    fn end(self) -> (usize, Value) {
        drop(self.app);
        let store = Store::open(&self.store).unwrap();
        let changes = store.chunks("pieces", &id("piece")).unwrap().len();
        (changes, store.document("pieces", &id("piece")).unwrap().unwrap().value)
    }
}

fn int(value: &Value, field: &str) -> i64 {
    match value.get(field) {
        Some(Value::Int(number) | Value::Counter(number)) => *number,
        other => panic!("{field} is {other:?}"),
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn move_piece(world: &mut World, piece: Entity, to: i64) {
    let mut piece = world.get_mut::<Piece>(piece).unwrap();
    piece.x = to;
    piece.moves += 1;
}

/// The changes that a new document consists of: one for each app-independent part of it.
fn first_changes() -> usize {
    let folder = folder();
    Side::start(folder.path(), "first", None, None).end().0
}

#[test]
fn captures_that_wait_for_the_worker_become_one_change() {
    let folder = folder();
    let mut side = Side::start(folder.path(), "one", None, None);
    let piece = side.piece;
    side.while_busy(|world, at| move_piece(world, piece, at));
    side.is_saved();
    let (changes, value) = side.end();
    assert_eq!((int(&value, "x"), int(&value, "moves")), (FRAMES, FRAMES));
    assert_eq!(changes, first_changes() + 1);
}

#[test]
fn letters_that_are_typed_and_removed_before_the_worker_looks_leave_no_trace() {
    let folder = folder();
    let mut side = Side::start(folder.path(), "one", None, None);
    let piece = side.piece;
    side.while_busy(|world, at| {
        let mut piece = world.get_mut::<Piece>(piece).unwrap();
        match at < FRAMES {
            true => piece.text.push('a'),
            false => piece.text.clear(),
        }
    });
    side.is_saved();
    assert_eq!(side.end().0, first_changes());
}

#[test]
fn components_that_change_in_turns_while_the_worker_is_busy_are_edited_once_each() {
    let folder = folder();
    let mut side = Side::start(folder.path(), "one", None, None);
    let piece = side.piece;
    side.while_busy(|world, at| match at % 2 {
        0 => move_piece(world, piece, at),
        _ => world.get_mut::<Colour>(piece).unwrap().hue = at,
    });
    side.is_saved();
    let (changes, value) = side.end();
    assert_eq!((int(&value, "x"), int(&value, "hue")), (FRAMES, FRAMES - 1));
    assert_eq!(changes, first_changes() + 2);
}

#[test]
fn a_delete_stays_behind_the_captures_before_it_and_before_those_after_it() {
    let folder = folder();
    let mut side = Side::start(folder.path(), "one", None, None);
    let piece = side.piece;
    side.while_busy(|world, at| match at {
        1..30 => move_piece(world, piece, at),
        30 => drop(world.commands().entity(piece).delete_document()),
        31 => world.run_system_cached(|mut pieces: Collection<Piece>| pieces.restore(&id("piece"))).unwrap(),
        _ => {}
    });
    until_it("the piece is back", &mut side.app, |app| {
        app.world_mut().query::<&Piece>().iter(app.world()).any(|piece| piece.x == 29)
    });
    side.is_saved();
    let (_, value) = side.end();
    assert_eq!((int(&value, "x"), int(&value, "moves")), (29, 29));
}

#[test]
fn additions_of_captures_that_wait_add_up_with_those_of_others() {
    let folder = folder();
    let backend =
        Backend::start(BackendConfig::new().listen("127.0.0.1:0").data(folder.path().join("backend"))).unwrap();
    let mut one = Side::start(folder.path(), "one", Some(backend.url()), None);
    let mut two = Side::start(folder.path(), "two", Some(backend.url()), None);
    until("both are quiet", &mut [&mut one.app, &mut two.app], |apps| {
        apps.iter().all(|app| is_quiet(app)).then_some(())
    });
    let (piece, other) = (one.piece, two.piece);
    one.while_busy(|world, at| {
        move_piece(world, piece, at);
        move_piece(two.app.world_mut(), other, 0);
        two.app.update();
    });
    until("both have all", &mut [&mut one.app, &mut two.app], |apps| {
        let moves = |app: &mut App| app.world_mut().query::<&Piece>().single(app.world()).unwrap().moves.0;
        apps.iter_mut().all(|app| moves(app) == 2 * FRAMES && is_quiet(app)).then_some(())
    });
    assert_eq!(one.piece(), two.piece());
}

#[test]
fn a_change_that_waits_for_its_time_is_saved_when_the_app_ends() {
    let folder = folder();
    // The next edit is due in ten seconds.
    let mut side = Side::start(folder.path(), "one", None, Some(0.1));
    let piece = side.piece;
    for at in 1..=FRAMES {
        move_piece(side.app.world_mut(), piece, at);
        side.app.update();
    }
    assert!(!status(&side.app).is_saved(), "the last changes wait");
    let (changes, value) = side.end();
    assert_eq!((int(&value, "x"), int(&value, "moves")), (FRAMES, FRAMES));
    assert_eq!(changes, first_changes() + 1);
}

#[test]
fn a_document_is_edited_at_its_rate_and_its_last_value_is_sent() {
    const RATE: f64 = 20.0;
    let folder = folder();
    let backend =
        Backend::start(BackendConfig::new().listen("127.0.0.1:0").data(folder.path().join("backend"))).unwrap();
    let mut one = Side::start(folder.path(), "one", Some(backend.url()), Some(RATE));
    let mut two = Side::start(folder.path(), "two", Some(backend.url()), Some(RATE));
    until("both are quiet", &mut [&mut one.app, &mut two.app], |apps| {
        apps.iter().all(|app| is_quiet(app)).then_some(())
    });
    let begun = Instant::now();
    let (mut at, piece) = (0, one.piece);
    until("the other app has seen several moves", &mut [&mut one.app, &mut two.app], |apps| {
        at += 1;
        move_piece(apps[0].world_mut(), piece, at);
        let seen = apps[1].world_mut().query::<&Piece>().single(apps[1].world()).unwrap().x;
        (seen > 0 && begun.elapsed().as_secs_f64() > 10.0 / RATE).then_some(())
    });
    until("the other app shows the last value", &mut [&mut one.app, &mut two.app], |apps| {
        let shown = apps[1].world_mut().query::<&Piece>().single(apps[1].world()).unwrap().x;
        (shown == at && apps.iter().all(|app| is_quiet(app))).then_some(())
    });
    let most = begun.elapsed().as_secs_f64() * RATE + 1.0;
    let (changes, _) = one.end();
    let edits = changes - first_changes();
    assert!(edits >= 2 && edits as f64 <= most, "{edits} edits of at most {most}");
}

#[test]
fn a_version_from_elsewhere_does_not_take_back_a_change_that_waits_for_its_time() {
    let folder = folder();
    let backend =
        Backend::start(BackendConfig::new().listen("127.0.0.1:0").data(folder.path().join("backend"))).unwrap();
    let mut one = Side::start(folder.path(), "one", Some(backend.url()), Some(0.5));
    let mut two = Side::start(folder.path(), "two", Some(backend.url()), None);
    until("both are quiet", &mut [&mut one.app, &mut two.app], |apps| {
        apps.iter().all(|app| is_quiet(app)).then_some(())
    });
    let (piece, other) = (one.piece, two.piece);
    // The first change is an edit at once. The second one waits for two seconds.
    for x in 1..3 {
        one.app.world_mut().get_mut::<Piece>(piece).unwrap().x = x;
        one.app.update();
    }
    two.app.world_mut().get_mut::<Colour>(other).unwrap().hue = 7;
    until("the other app's change is shown", &mut [&mut one.app, &mut two.app], |apps| {
        let shown = apps[0].world();
        assert_eq!(shown.get::<Piece>(piece).unwrap().x, 2);
        (shown.get::<Colour>(piece).unwrap().hue == 7).then_some(())
    });
    until("both show the same", &mut [&mut one.app, &mut two.app], |apps| {
        (apps[1].world().get::<Piece>(other).unwrap().x == 2).then_some(())
    });
    assert_eq!(failures(&one.app), []);
}

#[test]
#[should_panic(expected = "choose one from 0.1 to 1000")]
fn a_rate_that_is_no_rate_is_refused() {
    App::new().replicate::<Colour>("colours").rate("colours", 0.0);
}

#[test]
#[should_panic(expected = "there is no collection \"colors\"")]
fn a_rate_of_an_unknown_collection_is_refused() {
    App::new().replicate::<Colour>("colours").rate("colors", 10.0);
}
