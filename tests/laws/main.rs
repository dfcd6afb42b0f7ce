//! Checks the laws of merging with random types in several versions, random documents and random concurrent edits.
//!
//! A case is a function of its seed. `LAWS_CASES` is the number of cases (the default takes some seconds) and
//! `LAWS_SEED` the first seed: `LAWS_SEED=1234 LAWS_CASES=1` runs one case again. A failing case is shrunk before it is
//! reported. `LAWS_FAILURES` is the number of failures after which the run ends. `LAWS_START` selects one way in which
//! documents begin (0 to 2: shared, equal in all apps, different in each app).
//!
//! Some laws do not hold in some cases by design, and are not checked there. `oracle.rs` names each case: if two apps
//! make a tuple, or a struct that omits fields, at one place, one of the two wins; an item of a `Vec` that is moved may
//! lose concurrent edits inside it; a field that two versions begin under its two names stays two fields.

#[path = "../meaning/app.rs"]
mod app;
mod oracle;
mod shape;
mod value;
mod version;

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use app::{App, Log, Version};
use bevy_convex_replicate::{DocumentId, format::Value};
use oracle::written;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use shape::{Fresh, Shape, Struct};
use value::{Typed, Val, with_unknown};
use version::encode;

/// How the apps make the document.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    /// One app makes it, and the others receive it.
    Shared,
    /// Every app makes the same document under one name.
    Same,
    /// Every app makes a different document under one name.
    Different,
}

#[derive(Clone, Debug)]
struct Edit {
    app: usize,
    /// The id of the root field.
    field: usize,
    seed: u64,
    /// Identifies the edit, so that it makes the same letters when other edits are left out.
    number: usize,
}

#[derive(Clone, Debug, Default)]
struct Round {
    edits: Vec<Edit>,
    /// This app has received the others' changes before it edits, but does not show them yet.
    late: Option<usize>,
    order: u64,
}

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    versions: Vec<Struct>,
    /// The version of each app.
    apps: Vec<usize>,
    actors: Vec<u8>,
    start: Start,
    rounds: Vec<Round>,
}

impl Case {
    fn new(seed: u64) -> Self {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let mut versions = vec![shape::structure(rng, 3, false, 4)];
        while versions.len() < 3 && rng.random_bool(0.5) {
            let next = shape::next_version(rng, &versions[versions.len() - 1], 2);
            versions.push(next);
        }
        let start = match rng.random_range(0..10) {
            0..6 => Start::Shared,
            6..8 => Start::Same,
            _ => Start::Different,
        };
        let count = rng.random_range(2..4);
        let apps: Vec<usize> = (0..count)
            .map(|_| if start == Start::Different { 0 } else { rng.random_range(0..versions.len()) })
            .collect();
        let mut apps = apps;
        if start != Start::Different {
            // Usually the oldest app makes the document, so that its names stay.
            apps[0] = if rng.random_bool(0.8) { 0 } else { apps[0] };
        }
        let mut actors: Vec<u8> = (1..=count as u8).collect();
        actors.shuffle(rng);
        let mut number = 0;
        let ids: Vec<usize> = versions.iter().flat_map(|version| version.fields.iter().map(|field| field.id)).collect();
        let rounds = (0..rng.random_range(1..3)).map(|_| {
            let mut edits: Vec<Edit> = Vec::new();
            for _ in 0..rng.random_range(0..6) {
                number += 1;
                let field = ids[rng.random_range(0..ids.len())];
                let mut edit = Edit { app: rng.random_range(0..count), field, seed: rng.random(), number };
                if let Some(last) = edits.last()
                    && rng.random_bool(0.5)
                {
                    // Another app edits the same place.
                    let app = (last.app + 1) % count;
                    edit = Edit { app, field: last.field, seed: last.seed, number };
                }
                edits.push(edit);
            }
            let late = rng.random_bool(0.2).then(|| rng.random_range(0..count));
            Round { edits, late, order: rng.random() }
        });
        let rounds = rounds.collect();
        Case { seed, versions, apps, actors, start, rounds }
    }

    fn shape(&self, app: usize) -> Shape {
        Shape::Struct(Arc::new(self.versions[self.apps[app]].clone()))
    }

    /// The value that an app makes. A field has the same value in all versions that have it.
    fn first(&self, version: usize, variation: u64) -> Typed {
        let version = &self.versions[version];
        let items = version.fields.iter().map(|field| {
            let rng = &mut SmallRng::seed_from_u64(self.seed ^ (field.id as u64 + 1) << 32 ^ variation << 48);
            let fresh = &mut Fresh::of_edit(100 * (variation as usize + 1));
            match &field.default {
                Some(default) if field.skip || rng.random_bool(0.3) => default.clone(),
                _ => shape::generate(&field.shape, rng, fresh),
            }
        });
        let val = Val::List(items.collect());
        Typed { shape: Shape::Struct(Arc::new(version.clone())), val }
    }

    fn run(&self) -> Result<(), Violation> {
        let run = || Run::new(self).go();
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(result) => result,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                Err(Violation { law: "panic".into(), what: text.unwrap_or_default(), story: String::new() })
            }
        }
    }

    /// Cases with slightly less content.
    fn smaller(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let mut add = |change: &dyn Fn(&mut Case)| {
            let mut case = self.clone();
            change(&mut case);
            cases.push(case);
        };
        for round in 0..self.rounds.len() {
            add(&|case| drop(case.rounds.remove(round)));
            for edit in 0..self.rounds[round].edits.len() {
                add(&|case| {
                    case.rounds[round].edits.remove(edit);
                });
            }
            if self.rounds[round].late.is_some() {
                add(&|case| case.rounds[round].late = None);
            }
        }
        let ids: std::collections::BTreeSet<usize> =
            self.versions.iter().flat_map(|version| version.fields.iter().map(|field| field.id)).collect();
        for id in ids {
            add(&|case| {
                for version in &mut case.versions {
                    let fields = version.fields.iter().filter(|field| field.id != id).cloned();
                    *version = Struct::new(fields.collect());
                }
                for round in &mut case.rounds {
                    round.edits.retain(|edit| edit.field != id);
                }
            });
        }
        if self.apps.len() > 2 {
            let last = self.apps.len() - 1;
            if self
                .rounds
                .iter()
                .all(|round| round.late != Some(last) && round.edits.iter().all(|edit| edit.app != last))
            {
                add(&|case| {
                    case.apps.pop();
                    case.actors.pop();
                });
            }
        }
        cases
    }
}

/// A law that was broken.
#[derive(Debug)]
struct Violation {
    law: String,
    what: String,
    story: String,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?}", self.seed, self.start)?;
        for (index, version) in self.versions.iter().enumerate() {
            writeln!(f, "  version {index}: {version}")?;
        }
        writeln!(f, "  apps have versions {:?}, actors {:?}", self.apps, self.actors)
    }
}

struct Run<'a> {
    case: &'a Case,
    apps: Vec<App<Shape>>,
    log: Log,
    story: String,
    /// An app that makes the document after others have edited theirs.
    postponed: Option<usize>,
}

impl<'a> Run<'a> {
    fn new(case: &'a Case) -> Self {
        let name = match case.start {
            // A name in the form that `DocumentId::random` makes.
            Start::Shared => "018bcfe5-6800-7000-8000-000000000001",
            _ => "settings",
        };
        let id = DocumentId::new(name);
        let apps =
            (0..case.apps.len()).map(|app| App::of_version(case.actors[app], case.shape(app), id.clone())).collect();
        Run { case, apps, log: Log::default(), story: String::new(), postponed: None }
    }

    fn fail(&mut self, law: &str, what: impl fmt::Display) -> Violation {
        Violation { law: law.into(), what: what.to_string(), story: std::mem::take(&mut self.story) }
    }

    fn record(&mut self, what: fmt::Arguments) {
        let _ = writeln!(self.story, "  {what}");
    }

    fn go(mut self) -> Result<(), Violation> {
        let mut base = None;
        let makers: Vec<usize> = match self.case.start {
            Start::Shared => vec![0],
            Start::Different => (0..self.apps.len()).collect(),
            Start::Same => (0..self.apps.len()).filter(|app| self.case.apps[*app] == self.case.apps[0]).collect(),
        };
        let mut makers = makers;
        if self.case.start == Start::Same && makers.len() > 1 && self.case.seed.is_multiple_of(2) {
            self.postponed = makers.pop();
        }
        for app in makers {
            let variation = if self.case.start == Start::Different { app as u64 } else { 0 };
            let first = self.case.first(self.case.apps[app], variation);
            self.record(format_args!("app {app} makes {:?}", first.val));
            self.apps[app].set(first.clone());
            self.checked(app, &first, true)?;
            if self.case.start != Start::Different {
                base = Some(self.apps[app].value());
            }
        }
        if self.case.start == Start::Shared {
            self.sync(0);
        }
        for round in &self.case.rounds {
            self.round(round, base)?;
            base = Some(self.apps[0].value());
        }
        Ok(())
    }

    /// Checks that the document contains the value that was put.
    fn checked(&mut self, app: usize, put: &Typed, is_tip: bool) -> Result<(), Violation> {
        let document = self.apps[app].value();
        if let Some(failure) = self.apps[app].failures.pop() {
            return Err(self.fail("7: an edit was refused", failure));
        }
        if !is_tip {
            return Ok(());
        }
        match put.shape.read(&document) {
            Ok(read) if written(&read) == written(put) => Ok(()),
            Ok(read) => {
                let what = format!("app {app} put {:?}\n    and reads {:?}\n    of {document:?}", put.val, read.val);
                Err(self.fail("7: the value read differs from the value put", what))
            }
            Err(error) => {
                let what = format!("app {app} put {:?}: {error}\n    of {document:?}", put.val);
                Err(self.fail("7: the value put cannot be read", what))
            }
        }
    }

    fn round(&mut self, round: &Round, base: Option<Value>) -> Result<(), Violation> {
        let mut edits: Vec<&Edit> = round.edits.iter().collect();
        if let Some(late) = round.late {
            // All other apps edit first, so that this app can be late.
            edits.sort_by_key(|edit| edit.app == late);
        }
        let mut is_late = false;
        for edit in edits {
            if round.late == Some(edit.app) && !is_late {
                is_late = true;
                (0..self.apps.len()).filter(|app| *app != edit.app).for_each(|app| self.apps[app].push(&mut self.log));
                self.apps[edit.app].pull(&self.log);
            }
            self.edit(edit, is_late)?;
        }
        let postponed = self.postponed.take();
        if let Some(app) = postponed {
            if round.order.is_multiple_of(2) {
                (0..self.apps.len()).for_each(|app| self.apps[app].push(&mut self.log));
                self.apps[app].pull(&self.log);
            }
            let first = self.case.first(self.case.apps[app], 0);
            self.record(format_args!("app {app} makes {:?}", first.val));
            self.apps[app].set(first);
        }
        let documents: Vec<Option<Value>> = (0..self.apps.len())
            .map(|app| (!(is_late && round.late == Some(app))).then(|| self.apps[app].value()))
            .collect();
        let mut documents = documents;
        if let Some(app) = postponed {
            // The state that this app made.
            documents[app] = base.clone();
        }
        let shown: Vec<Option<Typed>> = self.apps.iter().map(|app| app.shown.clone()).collect();
        self.sync(round.order);
        // An edit that an app makes and takes back writes changes, although its values do not show them.
        let mut known = std::collections::BTreeSet::new();
        let is_making = base.is_none();
        let again = round.edits.iter().filter(|edit| is_making || !known.insert((edit.app, edit.field)));
        let again: Vec<usize> = again.map(|edit| edit.field).collect();
        self.merged(base, documents, shown, &again)
    }

    fn edit(&mut self, edit: &Edit, is_late: bool) -> Result<(), Violation> {
        let app = edit.app;
        let Some(before) = self.apps[app].shown.clone() else { return Ok(()) };
        let Shape::Struct(root) = &before.shape else { return Ok(()) };
        let Some(index) = root.fields.iter().position(|field| field.id == edit.field && !field.skip) else {
            return Ok(());
        };
        let rng = &mut SmallRng::seed_from_u64(edit.seed);
        let was = self.apps[app].value();
        if rng.random_bool(0.2) {
            let stored = self.apps[app].stored;
            self.apps[app].set(before.clone());
            if self.apps[app].stored != stored {
                let what = format!(
                    "app {app} puts {:?}, which it shows\n    {was:?}\n    becomes {:?}",
                    before.val,
                    self.apps[app].value()
                );
                return Err(self.fail("2: putting the shown value again writes something", what));
            }
            self.apps[app].failures.clear();
        }
        let mut after = before.clone();
        if let Val::List(items) = &mut after.val {
            items[index] =
                shape::mutate(&root.fields[index].shape, &items[index], rng, &mut Fresh::of_edit(edit.number));
        }
        let late = if is_late { ", late" } else { "" };
        self.record(format_args!("app {app}{late}: {:?}\n      becomes {:?}", before.val, after.val));
        let fits = before.shape.read(&was).is_ok_and(|read| written(&read) == written(&before));
        self.apps[app].set(after.clone());
        let now = self.apps[app].value();
        let known = oracle::two_names(&was);
        let begun = oracle::two_names(&now).into_iter().find(|name| {
            // An older app does not know the other name.
            !known.contains(name) && root.to_string().contains(&format!("#[alias = {name}]"))
        });
        if begun.is_some() && !is_late {
            let what = format!("app {app}: {was:?}\n    became {now:?}");
            return Err(self.fail("3: a renamed field is written under both names", what));
        }
        if !is_late {
            let document = oracle::difference(&was, &now);
            let app_difference = oracle::difference(&encode(&before).into_plain(), &encode(&after).into_plain());
            if let Some(path) = oracle::uncalled_for(&document, &app_difference) {
                let what = format!(
                    "{}: app {app} changed {app_difference:?}\n    {was:?}\n    became {now:?}",
                    path.join(".")
                );
                return Err(self.fail("2: an edit writes a part that it did not change", what));
            }
        }
        let (seen, put) = (encode(&before).into_plain(), encode(&after).into_plain());
        if !is_late && let Some(field) = oracle::lost_of_item(&was, &seen, &put, &now) {
            let what = format!("{field}: app {app} edits {was:?}\n    which becomes {now:?}");
            return Err(self.fail("6: an item loses a field that the app does not know", what));
        }
        let is_reported = !self.apps[app].failures.is_empty();
        if !fits
            && !is_late
            && !is_reported
            && let Some(path) = oracle::ignored(&was, &seen, &put, &now)
        {
            let what = format!("{path}: app {app} edits {was:?}\n    which stays {now:?}");
            return Err(self.fail("7: an edit of a document that does not fit is lost", what));
        }
        if !fits {
            self.apps[app].failures.clear();
            return Ok(());
        }
        self.checked(app, &after, !is_late)
    }

    /// Exchanges all changes between all apps.
    fn sync(&mut self, order: u64) {
        let rng = &mut SmallRng::seed_from_u64(order);
        let mut turns: Vec<usize> = (0..self.apps.len()).collect();
        for turn in 0..3 {
            turns.shuffle(rng);
            for app in turns.clone() {
                if turn == 0 || rng.random() {
                    self.apps[app].push(&mut self.log);
                    self.apps[app].pull(&self.log);
                }
                if rng.random_bool(0.3) {
                    self.apps[app].apply();
                }
            }
        }
        (0..self.apps.len()).for_each(|app| self.apps[app].push(&mut self.log));
        for app in &mut self.apps {
            app.pull(&self.log);
            app.apply();
        }
    }

    fn merged(
        &mut self,
        base: Option<Value>,
        documents: Vec<Option<Value>>,
        shown: Vec<Option<Typed>>,
        again: &[usize],
    ) -> Result<(), Violation> {
        let merged = self.apps[0].value();
        let heads = self.apps[0].heads();
        if let Some(app) = (1..self.apps.len()).find(|app| self.apps[*app].heads() != heads) {
            return Err(self.fail("converges", format!("app {app} has other changes than app 0")));
        }
        let is_renamed = documents.iter().flatten().chain(&base).chain([&merged]).any(oracle::is_renamed);
        // The apps that made the document must have one version; otherwise it has the defaults of several versions.
        let versions = if base.is_none() { 1 } else { self.case.versions.len() };
        for version in 0..versions {
            let root = self.case.versions[version].clone();
            let shape = Shape::Struct(Arc::new(root.clone()));
            // An old version sees no change from one unknown variant to another, but the document has changed.
            let judged = |document: &Value| with_unknown(|| shape.read(document));
            let base = match &base {
                Some(base) => match judged(base) {
                    Ok(base) => Some(base),
                    Err(_) => continue,
                },
                None => None,
            };
            let finals: Option<Vec<Typed>> = (0..self.apps.len())
                .map(|app| match &documents[app] {
                    // An app that has not made the document.
                    Some(Value::Map(fields)) if fields.is_empty() => base.clone(),
                    Some(document) => judged(document).ok(),
                    None => shown[app].clone().filter(|_| self.case.apps[app] == version).map(|mut shown| {
                        if let Some(base) = &base {
                            shown.val = shown.val.with_unknown_of(&base.val);
                        }
                        shown
                    }),
                })
                .collect();
            let read = shape.read(&merged);
            let Some(finals) = finals else { continue };
            match judged(&merged) {
                // Fields that two versions began under two names stay two fields.
                Ok(_) if is_renamed && root.to_string().contains("#[alias") => {}
                Ok(read) => {
                    let finals: Vec<&Val> = finals.iter().map(|typed| &typed.val).collect();
                    let result = oracle::fields(&root, base.as_ref().map(|base| &base.val), &finals, &read.val, again);
                    if let Err(what) = result {
                        let what = format!("version {version}: {what}\n    of {merged:?}");
                        return Err(self.fail("3-6: a merge", what));
                    }
                }
                Err(error) => {
                    let what = format!("version {version} could read both: {error}\n    of {merged:?}");
                    return Err(self.fail("1: a merge cannot be read", what));
                }
            }
            for app in (0..self.apps.len()).filter(|app| self.case.apps[*app] == version) {
                let shown = self.apps[app].shown.as_ref().map(written);
                if let Ok(read) = &read
                    && shown.as_ref() != Some(&written(read))
                {
                    let what = format!("app {app} shows {shown:?}\n    and not {:?}", read.val);
                    return Err(self.fail("converges: an app shows something else", what));
                }
            }
        }
        Ok(())
    }
}

/// The smallest case found that breaks the same law.
fn shrunk(mut case: Case, mut violation: Violation) -> (Case, Violation) {
    'again: for _ in 0..40 {
        for smaller in case.smaller() {
            if let Err(other) = smaller.run()
                && other.law == violation.law
            {
                (case, violation) = (smaller, other);
                continue 'again;
            }
        }
        break;
    }
    (case, violation)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn the_laws_of_merging_hold_for_random_types_and_edits() {
    let (first, cases) = (setting("LAWS_SEED", 0), setting("LAWS_CASES", 3_000));
    let most = setting("LAWS_FAILURES", 1);
    let starts = setting("LAWS_START", 3);
    let mut found: BTreeMap<String, Vec<(Case, Violation)>> = BTreeMap::new();
    let mut count = 0;
    for seed in first..first + cases {
        let case = Case::new(seed);
        if starts < 3 && case.start as u64 != starts {
            continue;
        }
        if let Err(violation) = case.run() {
            count += 1;
            let (case, violation) = shrunk(case, violation);
            found.entry(violation.law.clone()).or_default().push((case, violation));
            if count >= most {
                break;
            }
        }
    }
    let mut text = String::new();
    for (law, failures) in &found {
        let _ = writeln!(text, "\n=== {law}: {} cases", failures.len());
        for (case, violation) in failures {
            let _ = writeln!(text, "{case}{}  {law}: {}", violation.story, violation.what);
        }
    }
    assert!(found.is_empty(), "{count} cases do not keep the laws{text}");
}
