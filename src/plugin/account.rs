//! Signing in and out: the worker of one user ends, and the worker of the next begins when it has ended.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bevy::prelude::*;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};

use super::config::Config;
use crate::{
    ecs::{self, AccountRequest, AccountRequests, Collections, Failures, Link, Outbox, Port},
    failure::{Failure, FailureKind},
    message::UserWiped,
    store::{Store, user_path},
    worker::{AuthToken, Command, Report, Worker, WorkerConfig},
};

/// The session of this app, and those that end.
#[derive(Resource)]
pub(super) struct Account {
    config: Config,
    user: Option<String>,
    /// Whether the session of a user connects: as the app asked last.
    online: bool,
    auth: CurrentAuth,
    /// The work that must end before the next session may begin: closing the last user's store, and what follows it.
    closing: Closing,
    told: (Sender<Told>, Receiver<Told>),
}

/// What the app is told of the work after a session.
enum Told {
    Wiped(UserWiped),
    Failed(Failure),
}

fn failure(message: String) -> Failure {
    Failure { kind: FailureKind::Store, collection: None, document: None, message }
}

/// The token callback of the session, which the app may replace.
#[derive(Clone, Default)]
pub(super) struct CurrentAuth(Arc<Mutex<Option<AuthToken>>>);

impl CurrentAuth {
    pub(super) fn new(auth: Option<AuthToken>) -> Self {
        Self(Arc::new(Mutex::new(auth)))
    }

    fn replace(&self, auth: Option<AuthToken>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = auth;
    }

    /// Asks the callback that is in use by then. `None` if there is none now and nobody is signed in, because only the
    /// session of a user can get another one.
    pub(super) fn callback(&self, has_user: bool) -> Option<AuthToken> {
        let current = self.0.clone();
        let get = move || current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if get().is_none() && !has_user {
            return None;
        }
        Some(Arc::new(move |refresh| match get() {
            Some(auth) => auth(refresh),
            None => Box::pin(std::future::ready(Ok(None))),
        }))
    }
}

impl Account {
    pub(super) fn new(config: Config, auth: CurrentAuth) -> Self {
        let user = config.user().map(str::to_owned);
        Self { online: config.online(), config, user, auth, closing: Closing::done(), told: unbounded() }
    }

    /// The file with the edits of a user, or of nobody; or why there is no place for it.
    fn place(&self, user: Option<&str>) -> Result<PathBuf, String> {
        let store = self.config.store()?;
        Ok(user.map_or_else(|| store.clone(), |user| user_path(&store, user)))
    }
}

/// Carries out the app's requests at the end of the frame.
pub(super) fn switch(world: &mut World) {
    let requests = std::mem::take(&mut world.resource_mut::<AccountRequests>().0);
    let mut is_asked = false;
    for request in requests {
        if let AccountRequest::Online(online) = request {
            if let Some(mut account) = world.get_resource_mut::<Account>() {
                account.online = online;
                // The command went to the session before, or came before that session was told to connect anew.
                if is_asked {
                    world.resource_mut::<Outbox>().push(Command::Online(online));
                }
            }
            continue;
        }
        is_asked = true;
        if !world.contains_resource::<Account>() {
            let message = "this app has its own link to a worker, so users cannot sign in or out here";
            world.resource_mut::<Failures>().add(FailureKind::Registration, None, None, message);
            continue;
        }
        match request {
            AccountRequest::SignIn { user, auth, adopt } => sign_in(world, user, auth, adopt),
            AccountRequest::SignOut => change(world, None, None, Vec::new()),
            AccountRequest::Wipe { user, lose_unsent } => wipe(world, user, lose_unsent),
            // Handled above.
            AccountRequest::Online(_) => {}
        }
    }
    if let Some(account) = world.get_resource::<Account>() {
        for told in account.told.1.clone().try_iter() {
            match told {
                Told::Wiped(wiped) => drop(world.write_message(wiped)),
                Told::Failed(failure) => world.resource_mut::<Failures>().push(failure),
            }
        }
    }
}

fn sign_in(world: &mut World, user: String, auth: Option<AuthToken>, adopt: bool) {
    let account = world.resource::<Account>();
    if account.user.as_ref() == Some(&user) && !adopt {
        account.auth.replace(auth);
        if account.online {
            let mut outbox = world.resource_mut::<Outbox>();
            outbox.push(Command::Online(false));
            outbox.push(Command::Online(true));
        }
        return;
    }
    let mut then: Vec<Then> = Vec::new();
    if adopt && let (Ok(from), Ok(to)) = (account.place(None), account.place(Some(&user))) {
        let told = account.told.0.clone();
        then.push(Box::new(move || {
            if let Err(error) = Store::adopt(&from, &to) {
                let message =
                    format!("edits that were made while nobody was signed in were not adopted, and are kept: {error}");
                // The app may have ended.
                let _ = told.send(Told::Failed(failure(message)));
            }
        }));
    }
    change(world, Some(user), auth, then);
}

fn wipe(world: &mut World, user: String, lose_unsent: bool) {
    let account = world.resource::<Account>();
    let (told, is_current) = (account.told.0.clone(), account.user.as_ref() == Some(&user));
    let path = account.place(Some(&user));
    let then: Then = Box::new(move || {
        let result = match path {
            Ok(path) => Store::wipe(&path, lose_unsent).map_err(|error| error.to_string()),
            Err(why) => Err(format!("there is no place for this app's store, so nothing was deleted: {why}")),
        };
        let result = result.map_err(failure);
        // The app may have ended.
        let _ = told.send(Told::Wiped(UserWiped::new(user, result)));
    });
    match is_current {
        true => change(world, None, None, vec![then]),
        false => {
            let mut account = world.resource_mut::<Account>();
            account.closing = after(account.closing.clone(), None, vec![then]);
        }
    }
}

/// Something to do when a session has ended.
type Then = Box<dyn FnOnce() + Send>;

/// Ends the session, and begins that of `user` or nobody.
fn change(world: &mut World, user: Option<String>, auth: Option<AuthToken>, then: Vec<Then>) {
    let link = ecs::end_session(world);
    let collections = world.resource_mut::<Collections>().seal();
    let mut account = world.resource_mut::<Account>();
    let closing = after(account.closing.clone(), link, then);
    account.closing = closing.clone();
    account.auth = CurrentAuth::new(auth);
    account.user.clone_from(&user);
    let (config, auth, online) = (account.config.clone(), account.auth.clone(), account.online);
    let link = match config.worker(world, user.clone(), &auth, online, collections) {
        Ok(worker) => Link::new(Next {
            state: State::Waiting { closing, worker: Box::new(worker), commands: Vec::new() },
            rebuild: config.rebuild(),
        }),
        Err(link) => link,
    };
    ecs::begin_session(world, link, user);
}

/// Drops the link to a worker and does `then`, after what comes before, on a thread of its own: the worker waits until
/// its edits are on the disk.
fn after(before: Closing, link: Option<Link>, then: Vec<Then>) -> Closing {
    let (done, closing) = bounded(0);
    let spawned = std::thread::Builder::new().name("replicate-close".into()).spawn(move || {
        before.wait();
        drop(link);
        then.into_iter().for_each(|then| then());
        drop(done);
    });
    if let Err(error) = spawned {
        // The link was dropped with the closure, so this frame has waited, and the edits are on the disk.
        tracing::error!(target: "bevy_convex_replicate::worker", %error, "the operating system cannot start a thread, so nothing was adopted or deleted");
    }
    Closing(closing)
}

/// Ends when earlier sessions have closed their stores.
#[derive(Clone)]
struct Closing(Receiver<()>);

impl Closing {
    fn done() -> Self {
        Self(bounded(0).1)
    }

    fn is_done(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    fn wait(&self) {
        // Nothing is ever sent, so this ends when the sender is gone.
        let _ = self.0.recv();
    }
}

/// The next session's worker. It starts when the sessions before have closed their stores.
struct Next {
    state: State,
    rebuild: bool,
}

enum State {
    Waiting { closing: Closing, worker: Box<WorkerConfig>, commands: Vec<Command> },
    Running(Worker),
    Starting,
}

impl Next {
    fn start(&mut self) {
        let State::Waiting { worker, commands, .. } = std::mem::replace(&mut self.state, State::Starting) else {
            return;
        };
        let worker = Worker::start(*worker);
        if self.rebuild {
            worker.rebuild_if_damaged();
        }
        commands.into_iter().for_each(|command| worker.send(command));
        self.state = State::Running(worker);
    }

    fn poll(&mut self) -> Option<&Worker> {
        if matches!(&self.state, State::Waiting { closing, .. } if closing.is_done()) {
            self.start();
        }
        match &self.state {
            State::Running(worker) => Some(worker),
            State::Waiting { .. } | State::Starting => None,
        }
    }
}

impl Port for Next {
    fn send(&mut self, command: Command) {
        if let Some(worker) = self.poll() {
            worker.send(command);
        } else if let State::Waiting { commands, .. } = &mut self.state {
            commands.push(command);
        }
    }

    fn try_recv(&mut self) -> Option<Report> {
        self.poll()?.try_recv()
    }

    fn wake(&self) {
        if let State::Running(worker) = &self.state {
            worker.wake_front_end();
        }
    }
}

impl Drop for Next {
    /// Edits that wait for their store are saved as well.
    fn drop(&mut self) {
        if let State::Waiting { closing, commands, .. } = &self.state {
            closing.wait();
            if !commands.is_empty() {
                self.start();
            }
        }
    }
}

impl Drop for Account {
    /// The program may end when the app is dropped.
    fn drop(&mut self) {
        self.closing.wait();
    }
}
