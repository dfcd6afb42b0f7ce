//! Law 4: equal defaults are made once, and a default never replaces an edit.

use super::*;

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Settings {
    theme: Scalar,
    title: String,
    volume: u8,
    visits: Counter,
    tags: Vec<Scalar>,
    keys: BTreeMap<String, Scalar>,
    window: [u16; 2],
}

fn defaults() -> Settings {
    Settings {
        theme: scalar("light"),
        title: "Settings".into(),
        volume: 5,
        visits: Counter(1),
        tags: vec![scalar("default")],
        keys: BTreeMap::from([("jump".into(), scalar("space"))]),
        window: [800, 600],
    }
}

#[test]
fn two_apps_that_make_the_same_document_make_it_once() {
    let (mut one, mut other, mut log) = (App::new(1, "settings"), App::new(2, "settings"), Log::default());
    one.spawn(defaults());
    other.spawn(defaults());
    meet(&mut one, &mut other, &mut log);
    assert_eq!((one.shown(), other.shown()), (&defaults(), &defaults()));
    assert_eq!(one.conflicts("theme").len(), 1);
}

#[test]
fn edits_of_another_app_win_over_defaults_made_later_by_any_version() {
    let (mut owner, mut log) = (App::new(1, "settings"), Log::default());
    owner.spawn(defaults());
    let edited = Settings {
        theme: scalar("dark"),
        title: "My settings".into(),
        volume: 9,
        visits: Counter(3),
        tags: vec![scalar("default"), scalar("mine")],
        keys: BTreeMap::from([("jump".into(), scalar("w"))]),
        window: [1024, 600],
    };
    owner.edit(|settings| *settings = edited.clone());
    for (number, fresh) in [
        (2, defaults()),
        (3, Settings { theme: scalar("sepia"), volume: 7, window: [1, 1], ..defaults() }),
        (4, Settings { keys: BTreeMap::from([("jump".into(), scalar("x"))]), ..defaults() }),
    ] {
        let mut device = App::new(number, "settings");
        device.ensure(fresh);
        meet(&mut owner, &mut device, &mut log);
        assert_eq!((owner.shown(), device.shown()), (&edited, &edited), "device {number}");
    }
}

#[test]
fn ensure_makes_a_document_only_if_it_does_not_exist() {
    let (mut one, mut log) = (App::new(1, "settings"), Log::default());
    one.ensure(defaults());
    one.edit(|settings| settings.volume = 1);
    one.push(&mut log);
    let mut other = App::new(2, "settings");
    other.pull(&log);
    let stored = other.stored;
    other.ensure(Settings { volume: 9, ..defaults() });
    meet(&mut one, &mut other, &mut log);
    assert_eq!(other.shown().volume, 1);
    assert_eq!(other.stored, stored, "nothing was written");
}

#[test]
fn two_different_documents_with_one_name_keep_the_content_of_both() {
    let (mut one, mut other, mut log) = (App::new(1, "settings"), App::new(2, "settings"), Log::default());
    one.spawn(Settings { tags: vec![scalar("a")], visits: Counter(2), ..defaults() });
    other.spawn(Settings { tags: vec![scalar("b")], visits: Counter(3), ..defaults() });
    meet(&mut one, &mut other, &mut log);
    assert_eq!(one.shown(), other.shown());
    let mut tags = one.shown().tags.clone();
    tags.sort();
    assert_eq!(tags, [scalar("a"), scalar("b")]);
    assert_eq!(one.shown().visits, Counter(5));
    assert_eq!(one.shown().title, "Settings");
}

#[test]
fn fields_that_equal_their_default_are_written_when_the_document_is_made() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    #[serde(default)]
    struct Place {
        x: f32,
        scale: Counter,
    }
    let (mut one, mut other, mut log) = pair(Place::default());
    assert!(one.value().get("x").is_some() && one.value().get("scale").is_some());
    one.edit(|place| place.scale += 1);
    other.edit(|place| place.scale += 1);
    meet(&mut one, &mut other, &mut log);
    assert_eq!(one.shown().scale, Counter(2));
}

#[test]
fn an_edit_does_not_write_the_defaults_of_other_fields() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Old {
        name: Scalar,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    #[serde(default)]
    struct New {
        name: Scalar,
        volume: u8,
        tags: Vec<u8>,
    }
    let (mut old, mut new, mut log) = versions::<Old, New>(Old { name: scalar("a") });
    new.edit(|new| new.name = scalar("b"));
    meet(&mut old, &mut new, &mut log);
    assert_eq!((old.value().get("volume"), old.value().get("tags")), (None, None));
}

#[test]
fn a_struct_keeps_its_default_when_the_first_edit_adds_a_container_inside() {
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    struct Old {
        name: Scalar,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct New {
        name: Scalar,
        #[serde(default = "full")]
        tank: Tank,
    }
    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
    struct Tank {
        #[serde(default)]
        level: u8,
        #[serde(default)]
        used: Option<Counter>,
    }
    fn full() -> Tank {
        Tank { level: 100, used: None }
    }
    let (mut old, mut new, mut log) = versions::<Old, New>(Old { name: scalar("a") });
    let mut other = App::<New>::new(3, "thing");
    meet(&mut new, &mut other, &mut log);
    new.edit(|new| new.tank.used = Some(Counter(1)));
    other.edit(|new| new.tank.used = Some(Counter(1)));
    meet(&mut new, &mut other, &mut log);
    meet(&mut old, &mut new, &mut log);
    for app in [&new, &other] {
        assert_eq!(app.shown().tank, Tank { level: 100, used: Some(Counter(2)) });
    }
}

/// A struct that two versions of a type leave out while it has its default. None of its parts has a default alone.
mod left_out {
    use super::*;

    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    pub struct Sheet<T: Default + PartialEq> {
        #[serde(default, skip_serializing_if = "is_default")]
        pub frame: T,
        pub rows: Vec<Row<T>>,
    }

    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    pub struct Row<T: Default + PartialEq> {
        #[serde(default, skip_serializing_if = "is_default")]
        pub frame: T,
    }

    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    pub struct Old {
        pub lines: Vec<Scalar>,
        pub at: At,
        pub side: Side,
    }

    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    pub struct New {
        pub lines: Vec<Scalar>,
        pub at: At,
        pub side: Side,
        pub note: Option<String>,
    }

    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    pub struct At(pub f32, pub f32);

    #[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
    pub enum Side {
        #[default]
        Left,
        Right,
    }

    fn is_default<T: Default + PartialEq>(value: &T) -> bool {
        *value == T::default()
    }

    impl<T: Default + PartialEq> Sheet<T> {
        pub fn each(&mut self, edit: impl Fn(&mut T)) {
            edit(&mut self.frame);
            self.rows.iter_mut().for_each(|row| edit(&mut row.frame));
        }
    }
}

/// Two versions of an app fill a struct that was left out, each another part of it. Returns what the newer one shows,
/// for both orders of the apps' actors.
fn filled_at_once(old_edit: impl Fn(&mut left_out::Old), new_edit: impl Fn(&mut left_out::New)) -> [left_out::New; 4] {
    use left_out::*;
    let shown = [(2, 3), (3, 2)].map(|(first, second)| {
        let (mut maker, mut log) = (App::<Sheet<Old>>::new(1, "sheet"), Log::default());
        maker.spawn(Sheet { rows: vec![Row::default()], ..Sheet::default() });
        maker.push(&mut log);
        let (mut old, mut new) = (App::<Sheet<Old>>::new(first, "sheet"), App::<Sheet<New>>::new(second, "sheet"));
        meet(&mut old, &mut new, &mut log);
        assert_eq!(new.value().get("frame"), None, "the struct is left out");
        old.edit(|sheet| sheet.each(&old_edit));
        new.edit(|sheet| sheet.each(&new_edit));
        meet(&mut old, &mut new, &mut log);
        let Sheet { frame, rows } = new.shown().clone();
        let seen_by_old = &old.shown().frame;
        assert_eq!((&seen_by_old.at, &seen_by_old.side), (&frame.at, &frame.side), "both apps show the same");
        [frame, rows[0].frame.clone()]
    });
    let [[a, b], [c, d]] = shown;
    [a, b, c, d]
}

#[test]
fn the_default_of_a_struct_that_was_left_out_does_not_replace_another_versions_edit() {
    use left_out::*;
    let expected = New { at: At(1.0, 2.0), note: Some("new".into()), ..New::default() };
    let shown = filled_at_once(|old| old.at = At(1.0, 2.0), |new| new.note = Some("new".into()));
    assert_eq!(shown, [(); 4].map(|()| expected.clone()));
}

#[test]
fn an_edit_wins_over_the_default_of_a_struct_if_only_the_other_app_can_find_the_default() {
    use left_out::*;
    // The older app writes all of the struct: it can neither empty the enum nor leave it out.
    let expected = New { side: Side::Right, note: Some("new".into()), ..New::default() };
    let shown = filled_at_once(|old| old.side = Side::Right, |new| new.note = Some("new".into()));
    assert_eq!(shown, [(); 4].map(|()| expected.clone()));
}
