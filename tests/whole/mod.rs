//! Complete apps without a window: a real worker, a real store, and the failures that the app received.
#![allow(dead_code)]

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_convex_replicate::{Failure, prelude::*};

/// Longer than any step takes on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// All failures that [`SyncFailed`] reported.
#[derive(Resource, Default)]
struct Failures(Vec<Failure>);

/// An app to which `build` adds plugins and collections.
pub fn app(build: impl FnOnce(&mut App)) -> App {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins).init_resource::<Failures>().add_systems(
        Update,
        |mut failed: MessageReader<SyncFailed>, mut failures: ResMut<Failures>| {
            failures.0.extend(failed.read().map(|failed| failed.0.clone()));
        },
    );
    build(&mut app);
    app.finish();
    app.cleanup();
    app
}

pub fn status(app: &App) -> &SyncStatus {
    app.world().resource::<SyncStatus>()
}

/// Whether the app is connected and has nothing to save, send or apply.
pub fn is_quiet(app: &App) -> bool {
    let status = status(app);
    status.is_live() && status.is_saved() && status.is_sent()
}

pub fn failures(app: &App) -> &[Failure] {
    &app.world().resource::<Failures>().0
}

/// The first failure of a kind.
pub fn failed(app: &App, kind: FailureKind) -> Option<&Failure> {
    failures(app).iter().find(|failure| failure.kind == kind)
}

/// Runs an app until it has received a failure of this kind.
#[track_caller]
pub fn reported(app: &mut App, kind: FailureKind) -> Failure {
    until("a failure", &mut [app], |apps| failed(apps[0], kind).cloned())
}

/// Runs all apps until `look` returns a value.
#[track_caller]
pub fn until<T>(what: &str, apps: &mut [&mut App], mut look: impl FnMut(&mut [&mut App]) -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        for app in apps.iter_mut() {
            app.update();
        }
        if let Some(found) = look(apps) {
            return found;
        }
        if Instant::now() > deadline {
            let states: Vec<_> = apps.iter().map(|app| (status(app), failures(app))).collect();
            panic!("timed out waiting until {what}; {states:#?}");
        }
        std::thread::yield_now();
    }
}

/// Runs an app until `condition` is true.
#[track_caller]
pub fn until_it(what: &str, app: &mut App, mut condition: impl FnMut(&mut App) -> bool) {
    until(what, &mut [app], |apps| condition(apps[0]).then_some(()));
}
