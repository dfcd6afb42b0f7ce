//! Presence between whole apps, over the embedded backend.
#![cfg(all(feature = "bevy", feature = "backend"))]

mod whole;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    UserId,
    backend::{Authorize, Backend, BackendConfig, ReadRequest, UserTokens, WriteRequest},
    prelude::*,
};
use whole::{failures, is_quiet, until};

#[derive(Component, Serialize, Deserialize, Clone)]
struct Card {
    title: String,
}

#[derive(Component, Serialize, Deserialize, Clone, PartialEq, Debug)]
struct Cursor {
    name: String,
    x: i64,
}

fn at(name: &str, x: i64) -> Cursor {
    Cursor { name: name.into(), x }
}

fn app_with(store: &Path, url: &str, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    whole::app(|app| {
        app.add_plugins(configure(ReplicatePlugin::new("presence").store(store).deployment(url)))
            .replicate::<Card>("cards")
            .replicate_presence::<Cursor>("cards");
    })
}

fn app(folder: &Path, name: &str, url: &str) -> App {
    app_with(&folder.join(format!("{name}.sqlite3")), url, |plugin| plugin)
}

fn show(app: &mut App, cursor: Cursor) {
    app.world_mut().resource_mut::<Presence<Cursor>>().set(cursor);
}

fn enter(app: &mut App, scope: Option<&str>) {
    app.world_mut().resource_mut::<Presence<Cursor>>().enter(scope);
}

/// The others, as an app sees them.
fn others(app: &mut App) -> BTreeMap<String, i64> {
    let world = app.world_mut();
    let mut peers = world.query_filtered::<&Cursor, With<PeerId>>();
    peers.iter(world).map(|cursor| (cursor.name.clone(), cursor.x)).collect()
}

fn those(others: &[(&str, i64)]) -> BTreeMap<String, i64> {
    others.iter().map(|(name, x)| ((*name).to_owned(), *x)).collect()
}

fn sees(app: &mut App, expected: &[(&str, i64)]) -> bool {
    others(app) == those(expected)
}

/// The entities of peers.
fn entities(app: &mut App) -> BTreeSet<Entity> {
    let world = app.world_mut();
    world.query_filtered::<Entity, With<PeerId>>().iter(world).collect()
}

#[track_caller]
fn until_each_sees(what: &str, apps: &mut [&mut App], expected: &[&[(&str, i64)]]) {
    until(what, apps, |apps| apps.iter_mut().zip(expected).all(|(app, expected)| sees(app, expected)).then_some(()));
}

#[test]
fn a_peer_appears_changes_in_place_and_goes_when_its_app_ends() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(|name| app(folder.path(), name, backend.url()));
    show(&mut one, at("one", 1));
    show(&mut two, at("two", 2));
    // An app that shows nothing sees the others.
    until_each_sees(
        "all see the others",
        &mut [&mut one, &mut two, &mut three],
        &[&[("two", 2)], &[("one", 1)], &[("one", 1), ("two", 2)]],
    );
    let before = entities(&mut three);
    for x in 0..50 {
        show(&mut one, at("one", x));
        one.update();
    }
    until_each_sees(
        "the newest value is shown",
        &mut [&mut one, &mut two, &mut three],
        &[&[("two", 2)], &[("one", 49)], &[("one", 49), ("two", 2)]],
    );
    assert_eq!(entities(&mut three), before);
    two.world_mut().resource_mut::<Presence<Cursor>>().clear();
    until_each_sees("it shows nothing", &mut [&mut one, &mut two, &mut three], &[&[], &[("one", 49)], &[("one", 49)]]);
    drop(one);
    until_each_sees("it is gone", &mut [&mut two, &mut three], &[&[], &[]]);
    for app in [&two, &three] {
        assert!(failures(app).is_empty(), "{:?}", failures(app));
    }
}

#[test]
fn presence_is_in_no_log_no_table_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let backend = Backend::start(BackendConfig::new().data(&data)).unwrap();
    let mut one = app(folder.path(), "one", backend.url());
    let mut two = app(folder.path(), "two", backend.url());
    until("both are quiet", &mut [&mut one, &mut two], |apps| apps.iter().all(|app| is_quiet(app)).then_some(()));
    let files = || {
        let mut files: Vec<PathBuf> = [folder.path(), &data]
            .into_iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let stats = backend.stats();
    let mut x = 0;
    // A store writes down how far it has read the log soon after it is quiet. Presence that reached a file would change
    // it in every round.
    let after = loop {
        let before = files();
        for _ in 0..30 {
            x += 1;
            show(&mut one, at("secret of one", x));
            until("it is seen", &mut [&mut one, &mut two], |apps| sees(apps[1], &[("secret of one", x)]).then_some(()));
        }
        let after = files();
        if after == before {
            break after;
        }
        assert!(x < 300, "files change in every round");
    };
    assert_eq!(backend.stats(), stats);
    assert!(backend.rows("cards").is_empty());
    assert!(after.iter().all(|(bytes, _)| !bytes.windows(6).any(|part| part == b"secret")));
}

#[test]
fn peers_see_each_other_only_in_the_same_scope() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(|name| app(folder.path(), name, backend.url()));
    for (app, name) in [(&mut one, "one"), (&mut two, "two"), (&mut three, "three")] {
        show(app, at(name, 0));
    }
    enter(&mut one, Some("red"));
    enter(&mut two, Some("red"));
    enter(&mut three, Some("blue"));
    let mut apps = [&mut one, &mut two, &mut three];
    until_each_sees("the two meet", &mut apps, &[&[("two", 0)], &[("one", 0)], &[]]);
    enter(apps[1], Some("blue"));
    until_each_sees("one of them moved", &mut apps, &[&[], &[("three", 0)], &[("two", 0)]]);
    enter(apps[1], None);
    until_each_sees("it is in no scope", &mut apps, &[&[], &[], &[]]);
    enter(apps[0], None);
    until_each_sees("so is the other", &mut apps, &[&[("two", 0)], &[("one", 0)], &[]]);
}

/// Users read the scope `shared`, and the scope that has their name.
struct Scopes;

impl Authorize for Scopes {
    fn read(&self, request: &ReadRequest<'_>) -> bool {
        request.user.is_some_and(|user| request.scope.is_none_or(|scope| scope == "shared" || scope == user.subject()))
    }

    fn write(&self, _: &WriteRequest<'_>) -> bool {
        true
    }
}

#[test]
fn the_rule_decides_who_sees_and_shows_and_the_backend_says_who_a_peer_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let users = UserTokens::open(&data).unwrap();
    let backend = Backend::start(BackendConfig::new().data(&data).authorize(Scopes)).unwrap();
    let guest = |name: &str| {
        let token = users.create(name, None).unwrap().1;
        app_with(&folder.path().join(format!("{name}.sqlite3")), backend.url(), |plugin| plugin.token(token))
    };
    let (mut ada, mut eve) = (guest("ada"), guest("eve"));
    // The name in the value is only a claim.
    show(&mut ada, at("ada", 1));
    show(&mut eve, at("ada", 2));
    enter(&mut ada, Some("ada"));
    enter(&mut eve, Some("ada"));
    let refusal = until("eve is refused", &mut [&mut ada, &mut eve], |apps| {
        whole::failed(apps[1], FailureKind::Presence).cloned()
    });
    assert_eq!(refusal.collection.as_deref(), Some("cards"));
    assert!(refusal.to_string().contains("notAuthorized"), "{refusal}");
    assert!(sees(&mut ada, &[]) && sees(&mut eve, &[]));
    enter(&mut ada, Some("shared"));
    enter(&mut eve, Some("shared"));
    let shown = until("they see each other", &mut [&mut ada, &mut eve], |apps| {
        let user = |app: &mut App| {
            let world = app.world_mut();
            let mut users = world.query::<(&PeerUser, &Cursor)>();
            users.iter(world).next().map(|(user, cursor)| (user.0.clone(), cursor.x))
        };
        Some((user(apps[0])?, user(apps[1])?))
    });
    let named = |name| UserId::new(UserId::OWN_ISSUER, name);
    assert_eq!(shown, ((named("eve"), 2), (named("ada"), 1)));
}

/// A wire that can be cut without a sign of it on either side.
struct Wire {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    fn to(address: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), is_cut: Arc::default() };
        let is_cut = wire.is_cut.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(address)) else { return };
                for (from, to) in [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())] {
                    let (from, to, is_cut) = (from.unwrap(), to.unwrap(), is_cut.clone());
                    std::thread::spawn(move || carry(from, to, &is_cut));
                }
            }
        });
        wire
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }
}

/// Carries bytes, and after the cut takes them and carries none, so that neither end hears of it.
fn carry(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    use std::io::{Read, Write};
    let mut bytes = [0; 4_096];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 && !is_cut.load(Ordering::Relaxed) {
            let _ = to.shutdown(std::net::Shutdown::Both);
        }
        if count == 0 || (!is_cut.load(Ordering::Relaxed) && to.write_all(&bytes[..count]).is_err()) {
            return;
        }
    }
}

#[test]
fn a_peer_whose_connection_is_lost_goes_within_seconds_and_comes_back_as_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let wire = Wire::to(backend.address());
    let mut one = app(folder.path(), "one", &format!("http://{}", wire.address));
    let mut two = app(folder.path(), "two", backend.url());
    show(&mut one, at("one", 1));
    show(&mut two, at("two", 2));
    until_each_sees("both are there", &mut [&mut one, &mut two], &[&[("two", 2)], &[("one", 1)]]);
    let peer = |app: &mut App| {
        let world = app.world_mut();
        world.query::<&PeerId>().iter(world).next().cloned()
    };
    let before = peer(&mut two).unwrap();
    wire.cut();
    // The backend hears nothing, and nobody tells it: the socket stays open.
    until_each_sees("it is gone", &mut [&mut one, &mut two], &[&[("two", 2)], &[]]);
    assert_eq!(backend.stats().connections, 2);
    wire.is_cut.store(false, Ordering::Relaxed);
    // Bytes of the old connection are lost, so the app has to connect again.
    one.world_mut().run_system_cached(|mut sync: SyncControl| sync.go_offline()).unwrap();
    until_each_sees("without a connection nobody is seen", &mut [&mut one], &[&[]]);
    one.world_mut().run_system_cached(|mut sync: SyncControl| sync.go_online()).unwrap();
    until_each_sees("both are there again", &mut [&mut one, &mut two], &[&[("two", 2)], &[("one", 1)]]);
    assert_eq!(peer(&mut two).unwrap(), before);
}

#[test]
fn an_app_that_looks_seldom_gets_only_the_newest_value_of_each_peer() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut one = app(folder.path(), "one", backend.url());
    let mut slow = app(folder.path(), "slow", backend.url());
    let mut other = app(folder.path(), "other", backend.url());
    #[derive(Resource, Default)]
    struct Seen(Vec<i64>);
    slow.init_resource::<Seen>().add_systems(
        Update,
        |peers: Query<&Cursor, Changed<Cursor>>, mut seen: ResMut<Seen>| {
            seen.0.extend(peers.iter().map(|cursor| cursor.x));
        },
    );
    show(&mut one, at("one", 0));
    until_each_sees("it is seen", &mut [&mut one, &mut slow], &[&[], &[("one", 0)]]);
    for x in 1..=20 {
        show(&mut one, at("one", x));
        // The slow app runs no frame meanwhile.
        until_each_sees("another app sees each value", &mut [&mut one, &mut other], &[&[], &[("one", x)]]);
    }
    until("the slow app sees the newest", &mut [&mut slow], |apps| sees(apps[0], &[("one", 20)]).then_some(()));
    let seen = &slow.world().resource::<Seen>().0;
    assert!(seen.len() <= 4, "it was given {seen:?}");
}

#[test]
fn a_value_that_is_too_large_is_refused_with_the_bound_and_the_last_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut one = app(folder.path(), "one", backend.url());
    let mut two = app(folder.path(), "two", backend.url());
    show(&mut one, at("one", 1));
    until_each_sees("it is seen", &mut [&mut one, &mut two], &[&[], &[("one", 1)]]);
    show(&mut one, at(&"x".repeat(5_000), 2));
    let refusal = until("it is refused", &mut [&mut one, &mut two], |apps| {
        whole::failed(apps[0], FailureKind::Presence).cloned()
    });
    assert!(refusal.to_string().contains("tooLarge"), "{refusal}");
    assert!(sees(&mut two, &[("one", 1)]));
    show(&mut one, at("one", 3));
    until_each_sees("a smaller one is shown", &mut [&mut one, &mut two], &[&[], &[("one", 3)]]);
}

#[test]
fn a_presence_that_is_registered_wrongly_says_what_to_do() {
    let panics = |build: fn(&mut App)| {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, ReplicatePlugin::new("presence").store("/nowhere/presence.sqlite3")));
        let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            build(&mut app);
            app.finish();
        }));
        *built.unwrap_err().downcast::<String>().unwrap()
    };
    #[derive(Component, Serialize, Deserialize, Clone)]
    struct Other {
        x: i64,
    }
    let twice = panics(|app| {
        app.replicate::<Card>("cards").replicate_presence::<Cursor>("cards").replicate_presence::<Other>("cards");
    });
    assert!(twice.contains("put both into one type"), "{twice}");
    let unknown = panics(|app| _ = app.replicate_presence::<Cursor>("cards"));
    assert!(unknown.contains("call replicate with that name"), "{unknown}");
}
