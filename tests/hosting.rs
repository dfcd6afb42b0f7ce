//! Apps that host the backend through which they synchronise.
#![cfg(all(feature = "bevy", feature = "backend"))]

mod whole;

use std::{
    collections::BTreeSet,
    net::TcpListener,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use bevy::prelude::*;
use bevy_convex_replicate::{Hosted, backend::BackendConfig, prelude::*};
use whole::{status, until};

#[derive(Component, Serialize, Deserialize, Clone)]
struct Task {
    text: String,
}

fn app(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    whole::app(|app| {
        app.add_plugins(configure(ReplicatePlugin::new("hosting").store(store))).replicate::<Task>("tasks");
    })
}

fn write(app: &mut App, text: &str) {
    app.world_mut().spawn((Task { text: text.into() }, DocumentId::random()));
}

fn texts(app: &mut App) -> BTreeSet<String> {
    let world = app.world_mut();
    world.query::<&Task>().iter(world).map(|task| task.text.clone()).collect()
}

fn failed(app: &App, kind: FailureKind) -> Option<String> {
    whole::failed(app, kind).map(ToString::to_string)
}

/// The URL at which an app hosts, once it does.
fn hosted_at(app: &App) -> Option<String> {
    Some(app.world().resource::<Hosted>().backend()?.address().to_string())
}

#[track_caller]
fn until_all_have(expected: &[&str], apps: &mut [&mut App]) {
    let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
    until(&format!("all have {expected:?}"), apps, |apps| {
        apps.iter_mut().all(|app| texts(app) == expected).then_some(())
    });
}

#[test]
fn an_app_hosts_a_backend_for_itself_and_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = app(&folder.path().join("host.sqlite3"), |plugin| plugin.host("127.0.0.1:0"));
    let address = until("it hosts", &mut [&mut host], |apps| hosted_at(apps[0]));
    let mut guest = app(&folder.path().join("guest.sqlite3"), |plugin| plugin.deployment(format!("http://{address}")));
    write(&mut host, "of the host");
    write(&mut guest, "of the guest");
    until_all_have(&["of the host", "of the guest"], &mut [&mut host, &mut guest]);
    assert_eq!(failed(&host, FailureKind::Host), None);
}

#[test]
fn an_app_whose_address_already_has_a_backend_connects_to_it_and_reports_this() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = app(&folder.path().join("first.sqlite3"), |plugin| plugin.host("127.0.0.1:0"));
    let address = until("it hosts", &mut [&mut first], |apps| hosted_at(apps[0]));
    let mut second = app(&folder.path().join("second.sqlite3"), |plugin| plugin.host(&address));
    write(&mut first, "of the first");
    write(&mut second, "of the second");
    until_all_have(&["of the first", "of the second"], &mut [&mut first, &mut second]);
    let reported = until("the failure is reported", &mut [&mut second], |apps| failed(apps[0], FailureKind::Host));
    assert!(reported.contains(&address) && reported.contains("in use"), "{reported}");
    assert!(hosted_at(&second).is_none());
}

#[test]
fn edits_are_kept_while_another_program_uses_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite3");
    // It accepts connections and never sends a message.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let mut alone = app(&store, |plugin| plugin.host(&address));
    write(&mut alone, "made alone");
    until("the failure is reported, and the edit is saved", &mut [&mut alone], |apps| {
        let status = status(apps[0]);
        (status.is_saved() && !status.is_sent() && failed(apps[0], FailureKind::Host).is_some()).then_some(())
    });
    drop(alone);
    drop(other);
    // Now the port is free.
    let mut host = app(&store, |plugin| plugin.host(&address));
    until("it is sent", &mut [&mut host], |apps| {
        let status = status(apps[0]);
        (status.is_live() && status.is_sent()).then_some(())
    });
    let mut guest = app(&folder.path().join("guest.sqlite3"), |plugin| plugin.deployment(format!("http://{address}")));
    until_all_have(&["made alone"], &mut [&mut host, &mut guest]);
}

#[test]
fn a_host_with_a_token_serves_only_clients_with_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let mut host =
        app(&folder.path().join("host.sqlite3"), |plugin| plugin.host_with_token("127.0.0.1:0", "open sesame"));
    let address = until("it hosts", &mut [&mut host], |apps| hosted_at(apps[0]));
    let url = format!("http://{address}");
    let mut guest = app(&folder.path().join("guest.sqlite3"), |plugin| plugin.deployment(&url).token("open sesame"));
    let mut stranger =
        app(&folder.path().join("stranger.sqlite3"), |plugin| plugin.deployment(&url).token("open barley"));
    write(&mut host, "for friends");
    until_all_have(&["for friends"], &mut [&mut host, &mut guest]);
    let reported = until("the refusal of the stranger is reported", &mut [&mut stranger, &mut host], |apps| {
        failed(apps[0], FailureKind::Unauthenticated)
    });
    assert!(!reported.contains("open"), "the token is repeated: {reported}");
    assert_eq!(texts(&mut stranger), BTreeSet::new());
}

#[test]
fn a_public_address_is_not_hosted_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let mut open = app(&folder.path().join("store.sqlite3"), |plugin| plugin.host("0.0.0.0:0"));
    let reported = until("the failure is reported", &mut [&mut open], |apps| failed(apps[0], FailureKind::Host));
    assert!(reported.contains("without a token"), "{reported}");
    assert!(hosted_at(&open).is_none());
}

#[test]
fn an_app_without_documents_can_host() {
    let folder = tempfile::tempdir().unwrap();
    let config = BackendConfig::new().listen("127.0.0.1:0").data(folder.path().join("data"));
    let mut server = whole::app(|app| {
        app.add_plugins(EmbeddedBackend::new(config));
    });
    let address = until("it hosts", &mut [&mut server], |apps| hosted_at(apps[0]));
    let connect = |name: &str| app(&folder.path().join(name), |plugin| plugin.deployment(format!("http://{address}")));
    let (mut one, mut other) = (connect("one.sqlite3"), connect("other.sqlite3"));
    write(&mut one, "by way of the server");
    until_all_have(&["by way of the server"], &mut [&mut one, &mut other]);
}

#[test]
fn an_app_that_only_hosts_receives_the_failure_to_host() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let config = BackendConfig::new().listen(&address).data(folder.path());
    let mut app = whole::app(|app| {
        app.add_plugins(EmbeddedBackend::new(config));
    });
    let why = until("a failure", &mut [&mut app], |apps| failed(apps[0], FailureKind::Host));
    assert!(why.contains(&address), "{why}");
    assert!(status(&app).last_error.is_some());
}

#[test]
fn an_app_that_would_host_two_backends_panics() {
    let folder = tempfile::tempdir().unwrap();
    let by_plugin = |app: &mut App| {
        let plugin = ReplicatePlugin::new("hosting").store(folder.path().join("host.sqlite3")).host("127.0.0.1:0");
        app.add_plugins(plugin).replicate::<Task>("tasks");
    };
    let by_backend = |app: &mut App| {
        let config = BackendConfig::new().listen("127.0.0.1:0").data(folder.path().join("data"));
        app.add_plugins(EmbeddedBackend::new(config));
    };
    for backend_first in [false, true] {
        let mut app = App::new();
        app.add_plugins(MinimalPlugins);
        let add = |app: &mut App, is_backend: bool| if is_backend { by_backend(app) } else { by_plugin(app) };
        add(&mut app, backend_first);
        let panic = catch_unwind(AssertUnwindSafe(|| add(&mut app, !backend_first))).expect_err("it panics");
        let message = panic.downcast::<String>().expect("the message is formatted");
        assert!(
            message.contains("hosts a backend at 127.0.0.1:0 already") && message.contains("not both"),
            "{message}"
        );
    }
}
