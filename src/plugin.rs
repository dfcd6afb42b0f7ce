//! [`ReplicatePlugin`], and registering collections.

mod account;
mod config;
#[cfg(feature = "backend")]
mod host;
mod register;

use std::{path::PathBuf, time::Duration};

use bevy::prelude::*;

use crate::{
    DocumentId,
    ecs::{
        self, AccountRequests, ApplyBudget, Claims, Collections, DocumentIndex, Failures, Link, Outbox, Progress,
        ReplicateSystems, Session, Ticks,
    },
    message::{Misfit, Refused, RefusedDocuments, SyncFailed, SyncStatus, UserChanged, UserWiped},
    transport::AuthToken,
    worker::Waker,
};

#[cfg(feature = "backend")]
pub use host::{EmbeddedBackend, Hosted};
pub use register::ReplicateAppExt;

/// The default of how long apply may take in a frame: an eighth of a frame at 60 frames a second.
const APPLY_BUDGET: Duration = Duration::from_millis(2);

/// Saves the app's collections and synchronises them.
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
/// Without a deployment, documents are kept on this machine only. The worker starts when the app runs, so plugins and
/// collections can be added in any order.
pub struct ReplicatePlugin {
    app: String,
    profile: String,
    deployment: Option<String>,
    auth: Option<AuthToken>,
    user: Option<String>,
    signed_out: bool,
    store: Option<PathBuf>,
    offline: bool,
    rebuild: bool,
    apply_budget: Duration,
    waker: Option<Waker>,
    #[cfg(feature = "backend")]
    host: Option<config::Host>,
}

/// The configuration, until the worker is started.
#[derive(Resource)]
struct Starting(config::Config);

impl Plugin for ReplicatePlugin {
    fn build(&self, app: &mut App) {
        prepare(app);
        #[cfg(feature = "backend")]
        if let Some(host) = &self.host {
            host::host(app, &host.listen, self.host_folder(), host.token.as_deref(), self.waker.clone());
        }
        app.insert_resource(ApplyBudget::of(self.apply_budget))
            .insert_resource(Starting(self.config()))
            .add_systems(PreStartup, start)
            .add_systems(PreUpdate, ecs::apply.in_set(ReplicateSystems::Apply))
            .add_systems(
                Last,
                (ecs::capture, account::switch, ecs::close_on_exit).chain().in_set(ReplicateSystems::Capture),
            )
            .add_observer(ecs::check_ticks);
    }

    fn finish(&self, app: &mut App) {
        start(app.world_mut());
    }
}

/// Adds the resources that the plugin and the registration of collections need, whichever comes first.
fn prepare(app: &mut App) {
    app.init_resource::<Collections>()
        .init_resource::<DocumentIndex>()
        .init_resource::<Claims>()
        .init_resource::<Ticks>()
        .init_resource::<Outbox>()
        .init_resource::<Failures>()
        .init_resource::<Progress>()
        .init_resource::<SyncStatus>()
        .init_resource::<RefusedDocuments>()
        .init_resource::<AccountRequests>()
        .init_resource::<Session>()
        .register_type::<DocumentId>()
        .register_type::<Misfit>()
        .register_type::<Refused>()
        .add_message::<UserChanged>()
        .add_message::<UserWiped>()
        .add_message::<SyncFailed>();
}

/// Starts the worker, once, when all collections are known. [`Plugin::finish`] calls it. In an app without a runner (a
/// test), where nothing calls that, it is a system of the first frame's [`PreStartup`].
fn start(world: &mut World) {
    let Some(Starting(config)) = world.remove_resource() else { return };
    let configs = world.resource_mut::<Collections>().seal();
    if let Some(fault) = ecs::hierarchy::fault(world) {
        panic!("{fault}");
    }
    if !world.contains_resource::<Link>() {
        let link = config.connect(world, configs);
        world.insert_resource(link);
    }
}
