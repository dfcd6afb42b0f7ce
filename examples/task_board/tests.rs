//! Boards without a window: real apps with real stores, and the backend that one of them hosts.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    Failure,
    backend::{Backend, BackendConfig},
    prelude::*,
};
use tempfile::TempDir;

use crate::{
    Board,
    action::Action,
    apply,
    host::{self, Host},
    model::{Card, Column},
    people::Presence,
    view::{Link, Remedy},
};

/// Longer than anything here takes on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A board in which everything is real except the window.
fn board(store: &Path, address: &'static str, data: Option<PathBuf>) -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(ReplicatePlugin::new("task-board-test").store(store).deployment(format!("http://{address}")))
        .replicate::<Column>("columns")
        .replicate::<Card>("cards")
        .insert_resource(Presence::new(DocumentId::random(), "Ada".to_owned()))
        .init_resource::<Board>()
        .add_systems(Update, (apply::watch_documents, apply::watch_sync).chain())
        .add_systems(Last, apply::carry_out.before(ReplicateSystems::Capture));
    if let Some(data) = data {
        app.insert_resource(Host::new(address, data)).add_systems(Update, host::host.before(apply::watch_sync));
    }
    app.finish();
    app.cleanup();
    app
}

/// An address of this machine at which no server listens.
fn free_address() -> &'static str {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").to_string().leak()
}

fn look(app: &App) -> &Board {
    app.world().resource::<Board>()
}

fn act(app: &mut App, action: Action) {
    app.world_mut().resource_mut::<Board>().actions.push(action);
    app.update();
}

/// The cards' titles, by column.
fn titles(app: &App) -> Vec<(String, Vec<String>)> {
    let columns = look(app).view.columns.iter();
    columns.map(|column| (column.title.clone(), column.cards.iter().map(|card| card.title.clone()).collect())).collect()
}

fn has_card(app: &App, title: &str) -> bool {
    titles(app).iter().any(|(_, cards)| cards.iter().any(|card| card == title))
}

#[track_caller]
fn until(what: &str, apps: &mut [&mut App], mut condition: impl FnMut(&[&mut App]) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        for app in apps.iter_mut() {
            app.update();
        }
        if condition(apps) {
            return;
        }
        if Instant::now() > deadline {
            let states: Vec<_> = apps.iter().map(|app| (titles(app), &look(app).view.sync)).collect();
            panic!("in vain: {what}; {states:#?}");
        }
        std::thread::yield_now();
    }
}

/// A board of its own, started and with two cards in its first column.
fn started() -> (TempDir, App) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut app = board(&folder.path().join("board.sqlite3"), free_address(), None);
    until("the store is read", &mut [&mut app], |apps| look(apps[0]).view.is_ready);
    act(&mut app, Action::StartBoard);
    for title in ["one", "two"] {
        app.update();
        act(&mut app, Action::AddCard { column: DocumentId::new("todo"), title: title.to_owned(), index: None });
    }
    until("two cards", &mut [&mut app], |apps| has_card(apps[0], "two"));
    (folder, app)
}

#[test]
fn a_deleted_column_comes_back_with_its_cards() {
    let (_folder, mut app) = started();
    let before = titles(&app);
    act(&mut app, Action::DeleteColumn { id: DocumentId::new("todo") });
    let toast = look(&app).desk.toast.as_ref().expect("it is said");
    assert!(toast.can_undo);
    assert_eq!(toast.text, "Deleted “To do” and its 2 cards");
    until("it is gone", &mut [&mut app], |apps| titles(apps[0]).len() == 2);
    act(&mut app, Action::Undo);
    until("it is back", &mut [&mut app], |apps| titles(apps[0]) == before);
    assert_eq!(look(&app).desk.toast.as_ref().map(|toast| &*toast.text), Some("Brought back “To do” and its 2 cards"));
    act(&mut app, Action::Undo);
    app.update();
    assert_eq!(titles(&app), before, "there is nothing else to undo");
}

#[test]
fn deletions_are_undone_last_first_also_after_they_were_saved() {
    let (_folder, mut app) = started();
    let cards: Vec<DocumentId> = look(&app).view.columns[0].cards.iter().map(|card| card.id.clone()).collect();
    for id in cards {
        act(&mut app, Action::DeleteCard { id });
    }
    until("both are gone, and saved", &mut [&mut app], |apps| {
        !has_card(apps[0], "one") && !has_card(apps[0], "two") && look(apps[0]).view.sync.unsaved == 0
    });
    act(&mut app, Action::Undo);
    until("the last is back", &mut [&mut app], |apps| has_card(apps[0], "two"));
    assert!(!has_card(&app, "one"));
    act(&mut app, Action::Undo);
    until("the first too", &mut [&mut app], |apps| has_card(apps[0], "one"));
}

#[test]
fn failures_become_banners_and_go_when_they_are_dealt_with() {
    let (_folder, mut app) = started();
    let failure = |kind, message: &str| {
        let mut failure = Failure::new(kind, message);
        failure.collection = Some("cards".to_owned());
        SyncFailed(failure)
    };
    for message in ["too large", "too large", "too deep"] {
        app.world_mut().write_message(failure(FailureKind::Refused, message));
    }
    app.world_mut().write_message(failure(FailureKind::Unreadable, "not for you"));
    app.update();
    let problems = &look(&app).view.sync.problems;
    let told: Vec<(&str, &str)> = problems.iter().map(|told| (&*told.title, &*told.message)).collect();
    let expected = [
        ("Not readable.", "cards: not for you"),
        ("Not accepted.", "cards: too deep"),
        ("Not accepted.", "cards: too large"),
    ];
    assert_eq!(told, expected, "the newest first, and each once");
    assert_eq!(problems[1].remedy, Some(Remedy::Retry));
    act(&mut app, Action::Retry);
    assert_eq!(look(&app).view.sync.problems.len(), 1, "what was tried again may fail again");
    act(&mut app, Action::DismissProblem(0));
    assert_eq!(look(&app).view.sync.problems, []);
}

#[test]
fn the_switch_keeps_a_board_offline_until_it_is_switched_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Backend::start(BackendConfig::new()).expect("it listens");
    let address: &'static str = backend.address().to_string().leak();
    let mut here = board(&folder.path().join("here.sqlite3"), address, None);
    let mut there = board(&folder.path().join("there.sqlite3"), address, None);
    until("both are live", &mut [&mut here, &mut there], |apps| {
        apps.iter().all(|app| look(app).view.sync.link == Link::Live)
    });
    act(&mut here, Action::GoOffline(true));
    until("it is offline", &mut [&mut here], |apps| look(apps[0]).view.sync.link == Link::Offline);
    act(&mut here, Action::StartBoard);
    until("it is saved and waits", &mut [&mut here, &mut there], |apps| {
        let sync = &look(apps[0]).view.sync;
        sync.unsaved == 0 && sync.unsent == 3 && sync.is_paused && !sync.is_local
    });
    assert_eq!(titles(&there), []);
    act(&mut here, Action::GoOffline(false));
    until("all three arrive", &mut [&mut here, &mut there], |apps| {
        titles(apps[1]).len() == 3 && look(apps[0]).view.sync.unsent == 0
    });
}

#[test]
fn the_first_window_hosts_the_next_joins_and_takes_over_when_the_first_closes() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address();
    let window = |name: &str| board(&folder.path().join(name), address, Some(folder.path().join("backend")));
    let place = |app: &App| look(app).place.clone();
    let mut first = window("first.sqlite3");
    until("the first hosts", &mut [&mut first], |apps| place(apps[0]) == format!("{address}, hosted here"));
    let mut second = window("second.sqlite3");
    act(&mut first, Action::StartBoard);
    until("the second joins", &mut [&mut first, &mut second], |apps| titles(apps[1]).len() == 3);
    assert_eq!(place(&second), format!("{address}, hosted by another window"));
    act(
        &mut second,
        Action::AddCard { column: DocumentId::new("todo"), title: "by the second".to_owned(), index: None },
    );
    until("the first has it", &mut [&mut first, &mut second], |apps| has_card(apps[0], "by the second"));
    drop(first);
    until("the second takes over", &mut [&mut second], |apps| place(apps[0]) == format!("{address}, hosted here"));
    // The third window serves the board of the first one.
    let mut third = window("third.sqlite3");
    until("a third has all of it", &mut [&mut second, &mut third], |apps| has_card(apps[1], "by the second"));
    assert_eq!(look(&second).view.sync.problems, []);
}
