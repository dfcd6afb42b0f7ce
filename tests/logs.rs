//! The log of an app contains all events and no token. This test has its own program because it captures the log of the
//! whole process.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_convex_replicate::{
    LOG_FILTER,
    backend::{Backend, BackendConfig},
    prelude::*,
};
use tracing_subscriber::{EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

/// Longer than any step takes on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Component, Serialize, Deserialize, Clone)]
struct Task {
    text: String,
}

/// The captured log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Resource, Default)]
struct Refused(usize);

fn count(mut refused: ResMut<Refused>, mut failures: MessageReader<SyncFailed>) {
    let failures = failures.read().filter(|SyncFailed(failure)| failure.kind == FailureKind::Unauthenticated);
    refused.0 += failures.count();
}

fn until(what: &str, app: &mut App, condition: impl Fn(&App) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition(app) {
        assert!(
            Instant::now() < deadline,
            "timed out waiting until {what}; {:?}",
            app.world().resource::<SyncStatus>()
        );
        app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_token_is_logged_when_it_is_accepted_refused_or_expires() {
    // Words that occur nowhere else.
    const TOKENS: [&str; 4] = ["first-aardvark", "second-badger", "third-capybara", "fourth-dromedary"];
    let (ours, all, unfiltered) = (Log::default(), Log::default(), Log::default());
    let (own, filtered, everything) = (ours.clone(), all.clone(), unfiltered.clone());
    let is_own = filter_fn(|event| event.target().starts_with("bevy_convex_replicate"));
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(move || own.clone()).with_filter(is_own))
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(move || filtered.clone())
                .with_filter(EnvFilter::new(format!("trace,{LOG_FILTER}"))),
        )
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(move || everything.clone())
                .with_filter(EnvFilter::new("trace")),
        )
        .init();

    let folder = tempfile::tempdir().unwrap();
    let config = BackendConfig::new().data(folder.path().join("backend")).token(TOKENS[0]);
    let backend = Backend::start(config).unwrap();
    let token = Arc::new(Mutex::new(TOKENS[0]));
    let given = token.clone();
    let plugin = ReplicatePlugin::new("logs")
        .store(folder.path().join("store.sqlite"))
        .deployment(backend.url())
        .auth(move |_| std::future::ready(Ok(Some(given.lock().unwrap().to_string()))));
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(plugin)
        .replicate::<Task>("tasks")
        .init_resource::<Refused>()
        .add_systems(Update, count);
    app.finish();
    app.cleanup();
    let insert = |app: &mut App| {
        app.world_mut().spawn((Task { text: "words".into() }, DocumentId::random()));
    };
    let has = |tasks: usize| {
        let backend = &backend;
        move |_: &App| backend.rows("tasks").len() == tasks
    };

    insert(&mut app);
    until("the token is accepted", &mut app, has(1));
    // The token expires, and the callback has the next one.
    *token.lock().unwrap() = TOKENS[1];
    backend.replace_token(TOKENS[1]).unwrap();
    insert(&mut app);
    until("it is refreshed", &mut app, has(2));
    // The token expires, and the callback has one that the backend refuses.
    *token.lock().unwrap() = TOKENS[2];
    backend.replace_token(TOKENS[3]).unwrap();
    insert(&mut app);
    until("the refusal is reported", &mut app, |app| app.world().resource::<Refused>().0 > 0);
    *token.lock().unwrap() = TOKENS[3];
    until("a token is accepted again", &mut app, has(3));
    drop(app);
    backend.stop();

    let (ours, all) = (ours.text(), all.text());
    assert!(all.len() >= ours.len() && ours.contains("TRACE") | ours.contains("DEBUG"), "{ours}");
    assert!(unfiltered.text().contains(TOKENS[0]), "the filter is not needed any more: no crate logs tokens");
    for (name, log) in [("this library", &ours), ("everything else", &all)] {
        for token in TOKENS {
            let line = log.lines().find(|line| line.contains(token));
            assert_eq!(line, None, "{name} logged a token");
        }
    }
}
