//! Edits belong to the user who made them: signing in and out, another account on the same machine, and edits that the
//! deployment refuses. Real stores, sockets and backends.
#![cfg(all(feature = "bevy", feature = "backend"))]

mod whole;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
};

use bevy::{
    ecs::{entity_disabling::Disabled, system::RunSystemOnce},
    prelude::*,
};
use bevy_convex_replicate::{
    Failure, FailureKind, Hosted, RefusalCode, Token,
    backend::{Authorize, Backend, BackendConfig, ReadRequest, UserTokens, WriteRequest},
    limits,
    prelude::*,
};
use whole::{failures, is_quiet, reported, status, until, until_it};

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Note {
    text: String,
}

/// A document that two users can make too large together.
#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Album {
    title: String,
    pictures: BTreeMap<String, Bytes>,
}

/// A document of which only Ada may change the text.
#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Page {
    text: String,
    likes: i64,
}

struct AdasText;

impl Authorize for AdasText {
    fn read(&self, request: &ReadRequest<'_>) -> bool {
        request.user.is_some()
    }

    fn write(&self, request: &WriteRequest<'_>) -> bool {
        let is_ada = request.user.is_some_and(|user| user.as_str() == "replicate|ada");
        is_ada || !request.changed.iter().any(|field| field == "text")
    }
}

fn app(store: &Path, configure: impl FnOnce(ReplicatePlugin) -> ReplicatePlugin) -> App {
    whole::app(|app| {
        app.add_plugins(configure(ReplicatePlugin::new("users").store(store)));
        app.replicate::<Note>("notes").replicate::<Album>("albums").replicate::<Page>("pages");
    })
}

/// Runs `work` with [`SyncControl`] and a frame.
fn control(app: &mut App, work: impl FnOnce(&mut SyncControl) + Send + Sync + 'static) {
    let mut work = Some(work);
    app.world_mut().run_system_once(move |mut sync: SyncControl| work.take().unwrap()(&mut sync)).unwrap();
    app.update();
}

fn write(app: &mut App, id: &str) {
    app.world_mut().spawn((Note { text: id.into() }, DocumentId::new(id)));
    app.update();
}

fn notes(app: &mut App) -> BTreeSet<String> {
    let world = app.world_mut();
    world.query_filtered::<&DocumentId, With<Note>>().iter(world).map(ToString::to_string).collect()
}

fn set<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn until_notes<const N: usize>(app: &mut App, ids: [&str; N]) {
    until_it("it shows the notes", app, |app| notes(app) == set(ids));
}

#[track_caller]
fn until_saved(app: &mut App) {
    until_it("it is saved", app, |app| status(app).is_saved() && status(app).store_open);
}

fn messages<M: Message + Clone>(app: &App) -> Vec<M> {
    app.world().resource::<Messages<M>>().iter_current_update_messages().cloned().collect()
}

#[test]
fn edits_of_a_user_wait_for_that_user_and_are_never_sent_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut watch = app(&folder.path().join("watch.sqlite3"), |plugin| plugin.deployment(backend.url()));
    let store = folder.path().join("app.sqlite3");
    let mut app = app(&store, |plugin| plugin.deployment(backend.url()).user("alice").token("a").offline());
    write(&mut app, "alice's");
    until_saved(&mut app);
    // The edit of this frame is alice's too.
    app.world_mut().spawn((Note { text: String::new() }, DocumentId::new("alice's last")));
    control(&mut app, |sync| sync.sign_out());
    assert_eq!(notes(&mut app), set([]), "her documents have left the world");
    assert_eq!(messages::<UserChanged>(&app), [UserChanged::new(None)]);
    assert_eq!(status(&app).user, None);

    control(&mut app, |sync| {
        sync.sign_in("bob", "b");
        sync.go_online();
    });
    control(&mut app, |sync| sync.go_online());
    write(&mut app, "bob's");
    until("bob's note arrives", &mut [&mut app, &mut watch], |apps| {
        (is_quiet(apps[0]) && notes(apps[1]) == set(["bob's"])).then_some(())
    });
    assert_eq!(notes(&mut app), set(["bob's"]));
    assert_eq!(backend.stats().documents, 1, "nothing of alice was sent in bob's session");

    control(&mut app, |sync| sync.sign_in("alice", "a"));
    until("alice's notes arrive", &mut [&mut app, &mut watch], |apps| {
        let all = set(["alice's", "alice's last", "bob's"]);
        (is_quiet(apps[0]) && notes(apps[0]) == all && notes(apps[1]) == all).then_some(())
    });
    assert_eq!(status(&app).user.as_deref(), Some("alice"));
    assert_eq!(failures(&app), []);
}

#[test]
fn signing_out_and_in_again_at_once_shows_the_same_documents_and_loses_no_edit() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("app.sqlite3");
    let mut app = app(&store, |plugin| plugin.user("alice"));
    for round in 0..5 {
        write(&mut app, &format!("note {round}"));
        control(&mut app, |sync| sync.sign_out());
        control(&mut app, |sync| sync.sign_in("alice", "a"));
        // The store may still be closing.
        write(&mut app, &format!("early {round}"));
    }
    until_it("all notes are shown", &mut app, |app| notes(app).len() == 10);
    assert_eq!(failures(&app), []);
    drop(app);
    let mut again = self::app(&store, |plugin| plugin.user("alice"));
    until_it("all notes are kept", &mut again, |app| notes(app).len() == 10);
}

#[test]
fn edits_made_while_nobody_is_signed_in_stay_with_nobody_unless_a_user_adopts_them() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let store = folder.path().join("app.sqlite3");
    let mut app = app(&store, |plugin| plugin.deployment(backend.url()).signed_out());
    write(&mut app, "nobody's");
    control(&mut app, |sync| sync.sign_in("alice", "a"));
    until_it("alice is connected", &mut app, is_quiet_mut);
    assert_eq!((notes(&mut app), backend.stats().documents), (set([]), 0));
    control(&mut app, |sync| sync.sign_out());
    until_notes(&mut app, ["nobody's"]);

    control(&mut app, |sync| sync.sign_in_and_adopt("bob", "b"));
    until_it("bob has it", &mut app, |app| is_quiet(app) && notes(app) == set(["nobody's"]));
    assert_eq!(backend.stats().documents, 1);
    control(&mut app, |sync| sync.sign_out());
    until_saved(&mut app);
    assert_eq!(notes(&mut app), set([]), "it is bob's now");
    assert_eq!(failures(&app), []);
}

fn is_quiet_mut(app: &mut App) -> bool {
    is_quiet(app)
}

#[test]
fn wiping_a_user_asks_about_unsent_edits_and_says_how_many_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let store = folder.path().join("app.sqlite3");
    let mut app = app(&store, |plugin| plugin.deployment(backend.url()).user("alice").token("a"));
    write(&mut app, "sent");
    until_it("it is sent", &mut app, |app| is_quiet(app) && backend.stats().documents == 1);
    control(&mut app, |sync| sync.go_offline());
    until_it("it is offline", &mut app, |app| status(app).is_offline());
    write(&mut app, "unsent");
    control(&mut app, |sync| sync.sign_out());

    control(&mut app, |sync| sync.wipe("alice", false));
    let refused = until("the answer", &mut [&mut app], |apps| messages::<UserWiped>(apps[0]).pop());
    assert_eq!(refused.user, "alice");
    let failure = refused.result.expect_err("there is an edit that was not sent");
    assert!(failure.message.contains("(1 of them)"), "{failure}");
    control(&mut app, |sync| sync.sign_in("alice", "a"));
    until_notes(&mut app, ["sent", "unsent"]);

    // She is signed in: this signs her out.
    control(&mut app, |sync| sync.wipe("alice", true));
    // The first answer may still be among the messages.
    let wiped = until("the answer", &mut [&mut app], |apps| {
        messages::<UserWiped>(apps[0]).into_iter().find(|wiped| wiped.result.is_ok())
    });
    assert_eq!(wiped, UserWiped::new("alice", Ok(1)));
    assert_eq!((status(&app).user.clone(), notes(&mut app)), (None, set([])));
    let left = std::fs::read_dir(folder.path().join("app.sqlite3.users")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["alice.sqlite3.lock"]);
    control(&mut app, |sync| sync.sign_in("alice", "a"));
    control(&mut app, |sync| sync.go_online());
    until_notes(&mut app, ["sent"]);
}

#[test]
fn a_token_of_another_user_is_a_failure_and_nothing_is_sent_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new().token("secret")).unwrap();
    let account = Arc::new(Mutex::new("bob"));
    let callback = account.clone();
    let mut app = app(&folder.path().join("app.sqlite3"), |plugin| {
        plugin.deployment(backend.url()).user("alice").auth_as(move |_| {
            let user = *callback.lock().unwrap();
            async move { Ok(Some(Token::of(user, "secret"))) }
        })
    });
    write(&mut app, "alice's");
    let failure = reported(&mut app, FailureKind::OtherUser);
    assert!(failure.message.contains("a token of bob, and alice is signed in"), "{failure}");
    until_it("the status says so", &mut app, |app| {
        status(app).reason().is_some_and(|reason| reason.contains("the token is bob's, and alice is signed in"))
    });
    assert_eq!((backend.stats().documents, status(&app).unsent), (0, 1));
    *account.lock().unwrap() = "alice";
    until_it("it is sent", &mut app, |app| is_quiet(app) && backend.stats().documents == 1);
}

#[test]
fn edits_of_a_user_without_a_token_wait_and_the_app_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // The deployment would take them from anybody.
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let token = Arc::new(Mutex::new(None));
    let callback = token.clone();
    let mut app = app(&folder.path().join("app.sqlite3"), |plugin| {
        plugin.deployment(backend.url()).user("alice").auth(move |_| {
            let token = callback.lock().unwrap().clone();
            async move { Ok(token) }
        })
    });
    write(&mut app, "alice's");
    let failure = reported(&mut app, FailureKind::Unauthenticated);
    assert!(failure.message.contains("there is no token of alice"), "{failure}");
    until_it("the status says so", &mut app, |app| {
        status(app).reason().is_some_and(|reason| reason.contains("there is no token of alice"))
    });
    assert_eq!((backend.stats().documents, status(&app).unsent), (0, 1));
    *token.lock().unwrap() = Some("a".to_owned());
    until_it("it is sent", &mut app, |app| is_quiet(app) && backend.stats().documents == 1);
}

#[test]
fn disabled_documents_and_copies_that_observers_make_leave_with_their_user() {
    let folder = tempfile::tempdir().unwrap();
    let mut app = app(&folder.path().join("app.sqlite3"), |plugin| plugin.user("alice"));
    app.add_observer(|remove: On<Remove, Note>, notes: Query<&Note>, mut commands: Commands| {
        if let Ok(note) = notes.get(remove.entity)
            && note.text != "copy"
        {
            commands.spawn((Note { text: "copy".into() }, DocumentId::new(format!("copy of {}", note.text))));
        }
    });
    write(&mut app, "shown");
    write(&mut app, "disabled");
    let world = app.world_mut();
    let mut documents = world.query::<(Entity, &DocumentId)>();
    let entity = documents.iter(world).find_map(|(entity, id)| (id.as_str() == "disabled").then_some(entity)).unwrap();
    world.entity_mut(entity).insert(Disabled);
    app.update();
    until_saved(&mut app);
    control(&mut app, |sync| sync.sign_in("bob", "b"));
    assert!(app.world().get_entity(entity).is_err(), "it has left the world");
    until_saved(&mut app);
    (0..5).for_each(|_| app.update());
    assert_eq!(notes(&mut app), set([]));
    control(&mut app, |sync| sync.sign_out());
    control(&mut app, |sync| sync.sign_in("bob", "b"));
    until_saved(&mut app);
    (0..5).for_each(|_| app.update());
    assert_eq!(notes(&mut app), set([]), "bob's store has nothing of alice");
    control(&mut app, |sync| sync.sign_in("alice", "a"));
    until_notes(&mut app, ["disabled", "shown"]);
}

#[test]
fn an_app_stays_offline_across_users_also_if_it_was_asked_a_moment_ago() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let mut app = app(&folder.path().join("app.sqlite3"), |plugin| plugin.deployment(backend.url()).signed_out());
    let is_asked = |app: &App| status(app).reason().is_some_and(|reason| reason == "switched off");
    // Nobody's session has no connection that could be switched off.
    control(&mut app, |sync| sync.go_offline());
    control(&mut app, |sync| sync.sign_in("alice", "a"));
    until_it("alice is offline", &mut app, |app| is_asked(app));
    control(&mut app, |sync| sync.go_online());
    until_it("alice is online", &mut app, |app| status(app).is_live());
    control(&mut app, |sync| {
        sync.go_offline();
        sync.sign_in("alice", "another");
    });
    until_it("alice is offline again", &mut app, |app| is_asked(app));
    control(&mut app, |sync| sync.go_online());
    until_it("alice is online again", &mut app, |app| status(app).is_live());
    control(&mut app, |sync| {
        sync.sign_in("bob", "b");
        sync.go_offline();
    });
    until_it("bob is offline", &mut app, |app| is_asked(app));
}

#[test]
fn a_user_who_had_no_token_at_the_start_is_signed_in_with_the_first_one() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new().token("secret")).unwrap();
    let mut app = app(&folder.path().join("app.sqlite3"), |plugin| plugin.deployment(backend.url()).user("alice"));
    write(&mut app, "alice's");
    until_it("it is not let in", &mut app, |app| {
        status(app).reason().is_some_and(|reason| reason.contains("not signed in"))
    });
    control(&mut app, |sync| sync.sign_in("alice", "secret"));
    until_it("it is sent", &mut app, |app| is_quiet(app) && backend.stats().documents == 1);
}

/// A picture that cannot be compressed.
fn picture(seed: u64) -> Bytes {
    let mut state = seed;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    Bytes(random.take(limits::DOCUMENT_BYTES * 5 / 8).collect())
}

fn edit_album(app: &mut App, edit: impl FnOnce(&mut Album)) {
    let world = app.world_mut();
    edit(&mut world.query::<&mut Album>().single_mut(world).unwrap());
    app.update();
}

fn pictures(app: &mut App) -> BTreeSet<String> {
    let world = app.world_mut();
    world.query::<&Album>().iter(world).flat_map(|album| album.pictures.keys().cloned().collect::<Vec<_>>()).collect()
}

fn collection(app: &mut App, work: impl FnOnce(&mut Collection<Album>) + Send + Sync + 'static) {
    let mut work = Some(work);
    app.world_mut().run_system_once(move |mut albums: Collection<Album>| work.take().unwrap()(&mut albums)).unwrap();
    app.update();
}

#[test]
fn a_refused_document_is_shown_as_refused_after_a_restart_too_until_it_is_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new()).unwrap();
    let of = |user: &'static str| {
        let (store, url) = (folder.path().join(user), backend.url().to_owned());
        move |online: bool| {
            app(&store, |plugin| {
                let plugin = plugin.deployment(&url).user(user).token(user);
                if online { plugin } else { plugin.offline() }
            })
        }
    };
    let (open_alice, open_bob) = (of("alice"), of("bob"));
    let (mut alice, mut bob) = (open_alice(true), open_bob(true));
    let id = DocumentId::new("album");
    alice.world_mut().spawn((Album { title: "ours".into(), pictures: BTreeMap::new() }, id.clone()));
    until("both have the album", &mut [&mut alice, &mut bob], |apps| {
        let has = |app: &mut App| is_quiet(app) && app.world_mut().query::<&Album>().iter(app.world()).count() == 1;
        apps.iter_mut().all(|app| has(app)).then_some(())
    });
    // Each picture fits, and both together do not.
    control(&mut bob, |sync| sync.go_offline());
    until_it("bob is offline", &mut bob, |app| status(app).is_offline());
    edit_album(&mut bob, |album| drop(album.pictures.insert("bob's".into(), picture(2))));
    edit_album(&mut alice, |album| drop(album.pictures.insert("alice's".into(), picture(1))));
    until_it("alice's is sent", &mut alice, is_quiet_mut);
    control(&mut bob, |sync| sync.go_online());
    let failure = reported(&mut bob, FailureKind::Refused);
    assert_eq!(failure.document, Some(id.clone()));
    write(&mut bob, "other");
    until("another document is not held up", &mut [&mut alice, &mut bob], |apps| {
        (notes(apps[0]) == set(["other"]) && status(apps[1]).unsent == 1).then_some(())
    });
    let mark = |app: &mut App| {
        let world = app.world_mut();
        world.query::<(&DocumentId, &Refused)>().iter(world).map(|(id, mark)| (id.clone(), mark.clone())).next()
    };
    let (marked, refused) = until("the mark", &mut [&mut bob], |apps| mark(apps[0]));
    assert_eq!((&marked, refused.code.as_str()), (&id, "tooLarge"));
    assert_eq!((status(&bob).refused, status(&bob).unsent), (1, 1));
    assert!(status(&bob).to_string().contains("1 document is refused"), "{}", status(&bob));
    until_saved(&mut bob);
    until_it("bob has both pictures", &mut bob, |app| pictures(app) == set(["alice's", "bob's"]));
    drop(bob);

    let mut bob = open_bob(false);
    let again = until("the mark is there without a connection", &mut [&mut bob], |apps| mark(apps[0]));
    assert_eq!(again, (id.clone(), refused));
    assert_eq!(pictures(&mut bob), set(["alice's", "bob's"]));
    let discarded = id.clone();
    collection(&mut bob, move |albums| albums.discard(&discarded));
    until_it("bob has what the backend has", &mut bob, |app| pictures(app) == set(["alice's"]));
    until_it("it is refused no longer", &mut bob, |app| mark(app).is_none() && status(app).refused == 0);
    assert!(bob.world().resource::<RefusedDocuments>().is_empty());
    until_it("nothing of it is left to send", &mut bob, |app| status(app).unsent == 0);
    until_saved(&mut bob);
    drop(bob);

    let mut bob = open_bob(true);
    edit_when_shown(&mut bob);
    until("a later edit is accepted", &mut [&mut alice, &mut bob], |apps| {
        let world = apps[0].world_mut();
        let title = world.query::<&Album>().single(world).unwrap().title.clone();
        (title == "edited" && is_quiet(apps[1])).then_some(())
    });
    assert_eq!((pictures(&mut alice), pictures(&mut bob)), (set(["alice's"]), set(["alice's"])));
    let refusals: Vec<&Failure> = failures(&bob).iter().collect();
    assert!(refusals.is_empty(), "{refusals:?}");
}

fn edit_when_shown(app: &mut App) {
    until_it("the album is shown", app, |app| !pictures(app).is_empty());
    edit_album(app, |album| album.title = "edited".into());
}

fn page(app: &mut App) -> Option<(Page, Option<Refused>)> {
    let world = app.world_mut();
    let found = world.query::<(&Page, Option<&Refused>)>().iter(world).next();
    found.map(|(page, refused)| (page.clone(), refused.cloned()))
}

fn edit_page(app: &mut App, edit: impl FnOnce(&mut Page)) {
    let world = app.world_mut();
    edit(&mut world.query::<&mut Page>().single_mut(world).unwrap());
    app.update();
}

#[test]
fn an_edit_that_a_rule_refuses_is_kept_until_it_is_discarded_and_the_next_edit_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = UserTokens::open(folder.path()).unwrap();
    let [adas, eves] = ["ada", "eve"].map(|name| tokens.create(name, None).unwrap().1);
    let mut server = whole::app(|app| {
        app.add_plugins(EmbeddedBackend::new(BackendConfig::new().data(folder.path()).authorize(AdasText)));
    });
    let url = until("the backend runs", &mut [&mut server], |apps| {
        apps[0].world().resource::<Hosted>().backend().map(|backend| backend.url().to_owned())
    });
    let open = |user: &'static str, token: &str| {
        app(&folder.path().join(format!("{user}.sqlite3")), |plugin| plugin.deployment(&url).user(user).token(token))
    };
    let (mut ada, mut eve) = (open("ada", &adas), open("eve", &eves));
    let id = DocumentId::new("page");
    ada.world_mut().spawn((Page { text: "ada's".into(), likes: 0 }, id.clone()));
    until("eve reads the page", &mut [&mut server, &mut ada, &mut eve], |apps| page(apps[2]));

    edit_page(&mut eve, |page| page.text = "eve's".into());
    let refused = until("it is shown as refused", &mut [&mut server, &mut ada, &mut eve], |apps| page(apps[2])?.1);
    assert_eq!(refused.code, RefusalCode::NotAuthorized);
    assert_eq!(reported(&mut eve, FailureKind::Refused).document, Some(id.clone()));
    assert_eq!((status(&eve).refused, status(&eve).unsent), (1, 1));
    assert_eq!(page(&mut eve).unwrap().0.text, "eve's", "it is kept");
    // Somebody else goes on.
    edit_page(&mut ada, |page| page.likes = 1);
    until("ada's edit is shown beside it", &mut [&mut server, &mut ada, &mut eve], |apps| {
        (page(apps[2])?.0 == Page { text: "eve's".into(), likes: 1 }).then_some(())
    });
    assert_eq!(page(&mut ada).unwrap().0.text, "ada's", "it did not go out");

    eve.world_mut().run_system_once(move |mut pages: Collection<Page>| pages.discard(&id)).unwrap();
    until("she has what the backend has", &mut [&mut server, &mut ada, &mut eve], |apps| {
        (page(apps[2])? == (Page { text: "ada's".into(), likes: 1 }, None)).then_some(())
    });
    until_it("nothing of it is left to send", &mut eve, |app| is_quiet(app) && status(app).refused == 0);
    edit_page(&mut eve, |page| page.likes = 2);
    until("her next edit arrives", &mut [&mut server, &mut ada, &mut eve], |apps| {
        (page(apps[1])?.0.likes == 2 && is_quiet(apps[2])).then_some(())
    });
    assert_eq!(failures(&ada), []);
}
