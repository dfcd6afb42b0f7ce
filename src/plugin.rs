//! [`ReplicatePlugin`], and registering collections.

mod config;
#[cfg(feature = "backend")]
mod host;
mod register;

use std::{path::PathBuf, time::Duration};

use bevy::prelude::*;

use crate::{
    ecs::{self, ApplyBudget, Collections, DocumentIndex, Link, ReplicateSystems},
    message::{SyncFailed, SyncStatus},
    transport::AuthToken,
};

#[cfg(feature = "backend")]
pub use host::{EmbeddedBackend, Hosted};
pub use register::ReplicateAppExt;

/// How long applying may take in a frame unless set: an eighth of a frame at 60 per second.
const APPLY_BUDGET: Duration = Duration::from_millis(2);

/// Makes the app's collections durable, and synchronises them.
///
/// ```no_run
/// use bevy::prelude::*;
/// use bevy_convex_replicate::prelude::*;
///
/// #[derive(Component, Serialize, Deserialize, Clone)]
/// struct Task { text: String }
///
/// App::new()
///     .add_plugins(MinimalPlugins)
///     .add_plugins(ReplicatePlugin::new("my-app").deployment("https://happy-otter-123.convex.cloud"))
///     .replicate::<Task>("tasks")
///     .run();
/// ```
///
/// Without a deployment everything is kept on this machine only. Everything starts when the app runs, so the order in which plugins and
/// collections are added does not matter.
pub struct ReplicatePlugin {
    app: String,
    profile: String,
    deployment: Option<String>,
    auth: Option<AuthToken>,
    store: Option<PathBuf>,
    offline: bool,
    rebuild: bool,
    apply_budget: Duration,
    #[cfg(feature = "backend")]
    host: Option<config::Host>,
}

/// What is to be started, until it is.
#[derive(Resource)]
struct Starting(config::Config);

impl Plugin for ReplicatePlugin {
    fn build(&self, app: &mut App) {
        prepare(app);
        #[cfg(feature = "backend")]
        if let Some(host) = &self.host {
            host::host(app, &host.listen, self.host_folder(), host.token.as_deref());
        }
        app.insert_resource(ApplyBudget::of(self.apply_budget))
            .insert_resource(Starting(self.config()))
            .add_systems(PreUpdate, (start, ecs::apply).chain().in_set(ReplicateSystems::Apply))
            .add_systems(Last, (ecs::capture, ecs::close_on_exit).chain().in_set(ReplicateSystems::Capture))
            .add_observer(ecs::check_ticks);
    }

    fn finish(&self, app: &mut App) {
        start(app.world_mut());
    }
}

/// What registering a collection and the plugin both need, whichever comes first.
fn prepare(app: &mut App) {
    app.init_resource::<Collections>()
        .init_resource::<DocumentIndex>()
        .init_resource::<SyncStatus>()
        .add_message::<SyncFailed>();
}

/// Starts what was configured, when all collections are known. An app without a runner (a test) comes here with its first update.
fn start(world: &mut World) {
    let Some(Starting(config)) = world.remove_resource() else { return };
    let configs = world.resource_mut::<Collections>().seal();
    ecs::hierarchy::check(world);
    if !world.contains_resource::<Link>() {
        let link = config.connect(world, configs);
        world.insert_resource(link);
    }
}
