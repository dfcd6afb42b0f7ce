//! Complete apps of two versions, with real stores and a real backend: how an older version reads the documents of a
//! newer one, and which changes it makes to them.

use bevy::{ecs::system::RunSystemOnce, prelude::*};
use bevy_convex_replicate::{
    backend::{Backend, BackendConfig},
    ecs::Replicated,
    format::Value,
    prelude::*,
};

#[path = "whole/mod.rs"]
mod whole;

use whole::{failed, is_quiet, until, until_it};

#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Settings {
    theme: Theme,
    volume: u8,
    title: String,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum Theme {
    Light,
    Dark,
    Sepia,
}

/// An older version, which does not know sepia.
#[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct OlderSettings {
    theme: OlderTheme,
    volume: u8,
    title: String,
    /// Not stored in the document.
    #[serde(skip)]
    is_open: bool,
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum OlderTheme {
    Light,
    Dark,
}

fn id() -> DocumentId {
    DocumentId::new("settings")
}

fn settings() -> Settings {
    Settings { theme: Theme::Light, volume: 5, title: "Settings".into() }
}

fn older() -> OlderSettings {
    OlderSettings { theme: OlderTheme::Light, volume: 5, title: "Settings".into(), is_open: false }
}

struct Place {
    folder: tempfile::TempDir,
    backend: Backend,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), backend: Backend::start(BackendConfig::new()).unwrap() }
    }

    fn plugin(&self, name: &str) -> ReplicatePlugin {
        let store = self.folder.path().join(format!("{name}.sqlite"));
        ReplicatePlugin::new("versions").store(store).deployment(self.backend.url())
    }

    fn newer(&self, name: &str) -> App {
        whole::app(|app| {
            app.add_plugins(self.plugin(name)).replicate::<Settings>("settings");
        })
    }

    fn older(&self, name: &str) -> App {
        whole::app(|app| {
            app.add_plugins(self.plugin(name))
                .replicate::<OlderSettings>("settings")
                .keep_local::<OlderSettings>(|shown, arriving| arriving.is_open = shown.is_open);
        })
    }
}

fn ensure<T: Replicated>(app: &mut App, settings: T) {
    let ensure = move |mut collection: Collection<T>| collection.ensure(id(), settings.clone());
    app.world_mut().run_system_once(ensure).unwrap();
}

fn shown<T: Component + Clone>(app: &mut App) -> Option<T> {
    app.world_mut().query::<&T>().iter(app.world()).next().cloned()
}

fn edit<T: Component<Mutability = bevy::ecs::component::Mutable>>(app: &mut App, edit: impl FnOnce(&mut T)) {
    let mut query = app.world_mut().query::<&mut T>();
    edit(&mut query.single_mut(app.world_mut()).unwrap());
    app.update();
}

#[test]
fn an_older_app_that_ensures_its_defaults_and_edits_a_field_changes_only_that_field() {
    let place = Place::new();
    let mut owner = place.newer("owner");
    ensure(&mut owner, settings());
    until_it("the settings are shown", &mut owner, |app| shown::<Settings>(app).is_some());
    edit::<Settings>(&mut owner, |settings| {
        settings.theme = Theme::Sepia;
        settings.volume = 9;
    });
    until_it("the settings are sent", &mut owner, |app| is_quiet(app));

    // Before the older app has received the document.
    let mut old = place.older("old");
    ensure(&mut old, older());
    until("the older app reports the misfit", &mut [&mut owner, &mut old], |apps| {
        failed(apps[1], FailureKind::Misfit).is_some().then_some(())
    });
    until_it("the entity has the component Misfit", &mut old, |app| {
        app.world_mut().query::<&Misfit>().iter(app.world()).count() == 1
    });
    assert_eq!(shown::<OlderSettings>(&mut old), Some(older()));
    edit::<OlderSettings>(&mut old, |settings| settings.title.push('!'));
    until("the edit arrives", &mut [&mut owner, &mut old], |apps| {
        (shown::<Settings>(apps[0])?.title == "Settings!").then_some(())
    });
    let expected = Settings { theme: Theme::Sepia, volume: 9, title: "Settings!".into() };
    assert_eq!(shown::<Settings>(&mut owner), Some(expected.clone()));

    // The older app starts again, and has no value to show.
    until_it("all is saved and sent", &mut old, |app| is_quiet(app));
    drop(old);
    let mut old = place.older("old");
    until_it("the older app reports the misfit again", &mut old, |app| failed(app, FailureKind::Misfit).is_some());
    assert_eq!(shown::<OlderSettings>(&mut old), None);
    old.world_mut().spawn((older(), id()));
    until_it("the entity has the component Misfit", &mut old, |app| {
        app.world_mut().query::<&Misfit>().iter(app.world()).count() == 1
    });
    edit::<OlderSettings>(&mut old, |settings| settings.volume = 1);
    until("the edit arrives", &mut [&mut owner, &mut old], |apps| {
        (shown::<Settings>(apps[0])?.volume == 1).then_some(())
    });
    assert_eq!(shown::<Settings>(&mut owner), Some(Settings { volume: 1, ..expected }));

    // The document fits again.
    edit::<Settings>(&mut owner, |settings| settings.theme = Theme::Dark);
    until("the older app shows it", &mut [&mut owner, &mut old], |apps| {
        (shown::<OlderSettings>(apps[1])?.theme == OlderTheme::Dark).then_some(())
    });
    assert_eq!(old.world_mut().query::<&Misfit>().iter(old.world()).count(), 0);
}

#[test]
fn skipped_fields_keep_their_value_when_a_version_arrives() {
    let place = Place::new();
    let (mut one, mut other) = (place.newer("one"), place.older("other"));
    ensure(&mut one, settings());
    until("both show the settings", &mut [&mut one, &mut other], |apps| shown::<OlderSettings>(apps[1]).map(drop));
    edit::<OlderSettings>(&mut other, |settings| settings.is_open = true);
    edit::<Settings>(&mut one, |settings| settings.volume = 7);
    until("the edit arrives", &mut [&mut one, &mut other], |apps| {
        (shown::<OlderSettings>(apps[1])?.volume == 7).then_some(())
    });
    assert!(shown::<OlderSettings>(&mut other).unwrap().is_open);
}

#[test]
fn documents_of_an_older_version_are_converted_when_read_and_both_versions_continue() {
    #[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Old {
        size: u32,
        name: String,
    }
    #[derive(Component, Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct New {
        width: u32,
        height: u32,
        name: String,
    }
    let place = Place::new();
    let mut old = whole::app(|app| {
        app.add_plugins(place.plugin("old")).replicate::<Old>("windows");
    });
    let mut new = whole::app(|app| {
        app.add_plugins(place.plugin("new")).replicate::<New>("windows").convert::<New>(|document| {
            if let Value::Map(fields) = document
                && let Some(size) = fields.get("size").cloned()
            {
                fields.entry("width".into()).or_insert_with(|| size.clone());
                fields.entry("height".into()).or_insert(size);
            }
        });
    });
    old.world_mut().spawn((Old { size: 3, name: "n".into() }, DocumentId::random()));
    until("the newer app shows it", &mut [&mut old, &mut new], |apps| {
        (shown::<New>(apps[1])? == New { width: 3, height: 3, name: "n".into() }).then_some(())
    });
    edit::<New>(&mut new, |new| new.width = 4);
    edit::<Old>(&mut old, |old| old.name.push('!'));
    until("each has the other's edit", &mut [&mut old, &mut new], |apps| {
        let new = shown::<New>(apps[1])?;
        (is_quiet(apps[0]) && is_quiet(apps[1]) && new == New { width: 4, height: 3, name: "n!".into() }).then_some(())
    });
    assert_eq!(shown::<Old>(&mut old), Some(Old { size: 3, name: "n!".into() }));
}

/// The moment at which a fresh device makes its defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Occasion {
    Startup,
    StoreRead,
    Live,
}

#[test]
fn a_fresh_device_that_spawns_its_defaults_at_any_time_changes_nothing() {
    let place = Place::new();
    let mut owner = place.newer("owner");
    owner.world_mut().spawn((settings(), id()));
    owner.update();
    let edited = Settings { theme: Theme::Dark, volume: 9, title: "My settings".into() };
    edit::<Settings>(&mut owner, |settings| *settings = edited.clone());
    until_it("the settings are sent", &mut owner, |app| is_quiet(app));

    for when in [Occasion::Startup, Occasion::StoreRead, Occasion::Live] {
        for round in 0..3 {
            let mut device = place.newer(&format!("{when:?}-{round}"));
            let spawn = |mut commands: Commands| {
                commands.spawn((settings(), id()));
            };
            // An app that checks whether the settings exist, and makes them if not.
            let is_missing = |all: Query<&Settings>| all.is_empty();
            match when {
                Occasion::Startup => device.add_systems(Startup, spawn),
                Occasion::StoreRead => {
                    device.add_systems(Update, spawn.run_if(collection_ready::<Settings>).run_if(is_missing))
                }
                Occasion::Live => device.add_systems(Update, spawn.run_if(sync_live).run_if(is_missing)),
            };
            until("the device shows the owner's settings", &mut [&mut owner, &mut device], |apps| {
                (is_quiet(apps[1]) && shown::<Settings>(apps[1])? == edited).then_some(())
            });
            assert_eq!(shown::<Settings>(&mut owner), Some(edited.clone()), "{when:?}");
        }
    }
}
