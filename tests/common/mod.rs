//! A Bevy app whose worker is played by the test, which so controls every interleaving.
#![allow(dead_code)]

use std::any::Any;

use bevy::{ecs::component::Component, prelude::*};
use bevy_convex_replicate::{
    CollectionIndex, DocumentIndex, DocumentKey,
    ecs::{Link, Replicated},
    format::{Value, from_document},
    prelude::*,
    replica::{Edit, EditKind},
    worker::{Command, Failure, Report},
};
use crossbeam_channel::{Receiver, Sender};

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
pub struct Task {
    pub text: String,
    pub done: bool,
}

pub fn task(text: &str) -> Task {
    Task { text: text.into(), done: false }
}

pub fn id(name: &str) -> DocumentId {
    DocumentId::new(name)
}

/// A command that the world sent, for comparing.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    Put { id: String, generation: u64, capture: u64, value: Value, mask: u32 },
    Delete { id: String, generation: u64, capture: u64 },
    Restore { id: String, generation: u64, capture: u64 },
    Applied(String, u64),
    Kept(String, u32),
    Show(String),
    Online(bool),
    Retry,
    RetryOne(String),
    Discard(String),
    RebuildStore,
}

impl Sent {
    pub fn is_edit(&self) -> bool {
        matches!(self, Sent::Put { .. } | Sent::Delete { .. } | Sent::Restore { .. })
    }
}

/// A message that an app read about a document: its name, the kind and origin of the change, and whether an entity
/// shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub id: String,
    pub kind: ChangeKind,
    pub origin: Origin,
    pub shown: bool,
}

pub fn told(id: &str, kind: ChangeKind, origin: Origin) -> Told {
    Told { id: id.into(), kind, origin, shown: kind != ChangeKind::Removed }
}

#[derive(Resource)]
struct Log<T> {
    changes: Vec<Told>,
    ready: usize,
    of: std::marker::PhantomData<fn() -> T>,
}

#[derive(Resource, Default)]
struct Failures(Vec<Failure>);

pub struct World1 {
    pub app: App,
    commands: Receiver<Command>,
    reports: Sender<Report>,
}

/// An app with the collection `tasks`.
pub fn tasks() -> World1 {
    world(|app| {
        app.replicate::<Task>("tasks");
    })
}

/// An app that `build` registers collections with.
pub fn world(build: impl FnOnce(&mut App)) -> World1 {
    let (link, commands, reports) = Link::channels();
    let mut app = App::new();
    app.add_plugins(MinimalPlugins)
        .add_plugins(ReplicatePlugin::new("test"))
        .insert_resource(link)
        .init_resource::<Failures>();
    app.add_systems(
        Last,
        (|mut failed: MessageReader<SyncFailed>, mut log: ResMut<Failures>| {
            log.0.extend(failed.read().map(|failed| failed.0.clone()));
        })
        .after(ReplicateSystems::Capture),
    );
    build(&mut app);
    World1 { app, commands, reports }
}

impl World1 {
    /// Records the messages that the app reads about `T`.
    pub fn log<T: Replicated>(&mut self) -> &mut Self {
        self.app.insert_resource(Log::<T> { changes: Vec::new(), ready: 0, of: std::marker::PhantomData });
        self.app.add_systems(
            Last,
            (|mut changed: MessageReader<DocumentChanged<T>>,
              mut ready: MessageReader<CollectionReady<T>>,
              mut log: ResMut<Log<T>>| {
                log.ready += ready.read().count();
                log.changes.extend(changed.read().map(|change| Told {
                    id: change.id.to_string(),
                    kind: change.kind,
                    origin: change.origin,
                    shown: change.entity.is_some(),
                }));
            })
            .after(ReplicateSystems::Capture),
        );
        self
    }

    pub fn changes<T: Component>(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.app.world_mut().resource_mut::<Log<T>>().changes)
    }

    pub fn ready<T: Component>(&self) -> usize {
        self.app.world().resource::<Log<T>>().ready
    }

    pub fn failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.app.world_mut().resource_mut::<Failures>().0)
    }

    /// Runs a frame.
    pub fn frame(&mut self) -> &mut Self {
        self.app.update();
        self
    }

    /// Runs a frame, and returns the commands that were sent in it.
    pub fn sent_by_frame(&mut self) -> Vec<Sent> {
        self.frame();
        self.sent()
    }

    /// The commands that were sent since the last call.
    pub fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for command in self.commands.try_iter() {
            match command {
                Command::Edit(Edit { document, generation, seq: capture, kind }) => {
                    let id = document.id.to_string();
                    sent.push(match kind {
                        EditKind::Put { value, .. } => {
                            let (value, mask) = value.encode().unwrap();
                            Sent::Put { id, generation, capture, value, mask }
                        }
                        EditKind::Delete => Sent::Delete { id, generation, capture },
                        EditKind::Restore => Sent::Restore { id, generation, capture },
                    });
                }
                Command::Applied(applied) => {
                    sent.extend(
                        applied.into_iter().map(|(key, generation)| Sent::Applied(key.id.to_string(), generation)),
                    );
                }
                Command::Kept(kept) => sent.push(Sent::Kept(kept.document.id.to_string(), kept.components)),
                Command::Show(key) => sent.push(Sent::Show(key.id.to_string())),
                Command::Online(online) => sent.push(Sent::Online(online)),
                Command::Present(_) => {}
                Command::Retry => sent.push(Sent::Retry),
                Command::RetryOne(key) => sent.push(Sent::RetryOne(key.id.to_string())),
                Command::Discard(key) => sent.push(Sent::Discard(key.id.to_string())),
                Command::RebuildStore => sent.push(Sent::RebuildStore),
            }
        }
        sent
    }

    /// The edits sent in a frame.
    pub fn edits_by_frame(&mut self) -> Vec<Sent> {
        self.sent_by_frame().into_iter().filter(Sent::is_edit).collect()
    }

    /// Reports a version of a document in collection 0. `content` is a tuple of options.
    pub fn deliver_content(
        &mut self,
        id: &str,
        generation: u64,
        seen: u64,
        content: Option<Box<dyn Any + Send>>,
        origin: Origin,
    ) {
        let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::new(id) };
        self.report(Report::Delta { document, generation, seen, content, misfit: None, origin });
    }

    /// Reports a version of a task from elsewhere.
    pub fn deliver(&mut self, id: &str, generation: u64, seen: u64, task: Option<Task>) {
        self.deliver_content(id, generation, seen, task.map(|task| Box::new((Some(task),)) as Box<_>), Origin::Remote);
    }

    /// Reports the root fields that an edit of a document in collection 0 changed.
    pub fn compared(&mut self, id: &str, capture: u64, fields: &[&str]) {
        let document = DocumentKey { collection: CollectionIndex(0), id: DocumentId::new(id) };
        let fields = fields.iter().map(|field| field.to_string()).collect();
        self.report(Report::Compared { document, seq: capture, fields });
    }

    pub fn report(&mut self, report: Report) {
        self.reports.send(report).unwrap();
    }

    /// A task that came from elsewhere, applied and acknowledged.
    pub fn shown(&mut self, id: &str, task: Task) -> Entity {
        self.deliver(id, 1, 0, Some(task));
        self.frame();
        self.sent();
        self.entity(id).expect("it was applied")
    }

    pub fn entity(&self, id: &str) -> Option<Entity> {
        self.app.world().resource::<DocumentIndex>().entity(CollectionIndex(0), &DocumentId::new(id))
    }

    pub fn get(&self, id: &str) -> Option<Task> {
        self.get_as(id)
    }

    pub fn get_as<T: Component + Clone>(&self, id: &str) -> Option<T> {
        self.app.world().get::<T>(self.entity(id)?).cloned()
    }

    pub fn edit(&mut self, id: &str, change: impl FnOnce(&mut Task)) {
        let entity = self.entity(id).expect("it is shown");
        change(&mut self.app.world_mut().get_mut::<Task>(entity).unwrap());
    }

    pub fn queue(&mut self, command: impl FnOnce(&mut Commands)) {
        command(&mut self.app.world_mut().commands());
        self.app.world_mut().flush();
    }

    /// Runs a system once.
    pub fn run<M>(&mut self, system: impl IntoSystem<(), (), M>) {
        use bevy::ecs::system::RunSystemOnce;
        self.app.world_mut().run_system_once(system).unwrap();
    }
}

/// An edit of a task.
pub fn put(id: &str, generation: u64, capture: u64, task: &Task) -> Sent {
    let value = bevy_convex_replicate::format::to_value(task).unwrap();
    Sent::Put { id: id.into(), generation, capture, value, mask: 1 }
}

/// The texts of the tasks put, in order.
pub fn texts(sent: &[Sent]) -> Vec<String> {
    sent.iter()
        .filter_map(|sent| match sent {
            Sent::Put { value, .. } => Some(from_document::<Task>(value).unwrap().text),
            _ => None,
        })
        .collect()
}
