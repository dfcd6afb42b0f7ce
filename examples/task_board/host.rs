//! Hosting the board for the windows of this machine.
//!
//! Every window that was not given a deployment looks for the board at one [address](ADDRESS). The one that gets to
//! listen there hosts it with the embedded backend; when it closes, another takes over. ([`ReplicatePlugin::host`] is
//! the shorter way, for an app whose first window stays.)

use std::{path::PathBuf, time::Duration};

use bevy::{platform::cell::SyncCell, prelude::*};
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig, BackendError},
    prelude::*,
};

use crate::{
    Board,
    view::{Link, Problem},
};

/// Where the board of this machine is hosted.
pub const ADDRESS: &str = "127.0.0.1:3210";
/// How long a window waits before it tries to take over from a window that closed.
pub const TAKE_OVER_AFTER: Duration = Duration::from_secs(2);

/// The backend, once it is this window that runs it.
#[derive(Resource)]
pub struct Host {
    address: &'static str,
    data: PathBuf,
    starting: Option<SyncCell<std::sync::mpsc::Receiver<Result<Backend, BackendError>>>>,
    running: Option<Backend>,
    tried: Option<Duration>,
    has_failed: bool,
}

impl Host {
    /// Keeps the hosted data in this folder, which all windows of the machine share.
    pub fn new(address: &'static str, data: PathBuf) -> Self {
        Self { address, data, starting: None, running: None, tried: None, has_failed: false }
    }

    /// Starts a backend on a thread of its own, because it reads its data first.
    fn start(&mut self) -> std::io::Result<()> {
        let config = BackendConfig::new().listen(self.address).data(&self.data);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("host".to_owned()).spawn(move || {
            // A window that closed meanwhile hosts nothing.
            let _ = sender.send(Backend::start(config));
        })?;
        self.starting = Some(SyncCell::new(receiver));
        Ok(())
    }
}

/// Hosts the board if no other window does.
pub fn host(time: Res<Time<Real>>, status: Res<SyncStatus>, mut host: ResMut<Host>, mut board: ResMut<Board>) {
    let now = time.elapsed();
    let host = &mut *host;
    if let Some(starting) = &mut host.starting
        && let Ok(started) = starting.get().try_recv()
    {
        host.starting = None;
        match started {
            Ok(backend) => host.running = Some(backend),
            // Another window was first, or is still closing: this one joins it.
            Err(BackendError::AddressInUse { .. } | BackendError::InUse { .. }) => {}
            Err(error) => {
                host.has_failed = true;
                let message = format!("This window cannot host the board: {error}");
                board.view.sync.problems.insert(0, Problem { title: "Not shared.".to_owned(), message, remedy: None });
            }
        }
    }
    let role = if host.running.is_some() { "hosted here" } else { "hosted by another window" };
    board.place = match board.view.sync.link {
        Link::Live | Link::CatchingUp => format!("{}, {role}", host.address),
        Link::Offline | Link::Connecting => host.address.to_owned(),
    };
    let is_alone = !matches!(status.connection, Connection::Live | Connection::CatchingUp { .. });
    if host.running.is_some() || host.starting.is_some() || host.has_failed || !is_alone || board.is_paused {
        return;
    }
    if host.tried.is_none_or(|tried| now.saturating_sub(tried) >= TAKE_OVER_AFTER) {
        host.tried = Some(now);
        if let Err(error) = host.start() {
            warn!("cannot start a thread to host the board: {error}");
        }
    }
}
