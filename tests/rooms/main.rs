//! The rooms of `src/` stand on each other as the table in ARCHITECTURE.md says, and in no other way.
//!
//! The test reads the paths in the sources that leave their room (`crate::..` and `super::..`), and compares them with
//! the table. It knows Rust's words and brackets and no more: comments, strings and items for tests are left out, `use`
//! trees are unfolded, re-exports of `lib.rs` are followed to the room they come from. `lib.rs` and `bin/` are the
//! front doors and may use every room.

mod architecture;
mod paths;
mod sources;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use architecture::Table;
use sources::{Arrow, Sources};

/// Rooms, and folders of rooms, whose files use each other without a circle. A room is added as soon as that is true of
/// it.
const NO_CIRCLE_BETWEEN_FILES: &[&str] = &["backend/log", "chunk", "collection", "ecs", "record", "sqlite", "wire"];

/// Arrows that are not in the table and still in the sources. A branch that removes one removes it here as well.
const NOT_YET_REMOVED: &[(&str, &str)] = &[];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn rooms_stand_on_each_other_as_architecture_says() {
    let text = std::fs::read_to_string(here().join("ARCHITECTURE.md")).unwrap();
    let table = Table::read(&text).unwrap();
    let sources = Sources::read(&here().join("src"));
    report(problems(&table, &sources, NOT_YET_REMOVED));
}

#[test]
fn files_within_a_room_stand_on_each_other_without_a_circle() {
    let sources = Sources::read(&here().join("src"));
    let mut problems = Vec::new();
    for room in NO_CIRCLE_BETWEEN_FILES {
        let arrows = sources.arrows_between_files(room);
        assert!(sources.count_files(room) > 1, "src/{room} has no files: is it gone?");
        problems.extend(circle(&arrows).map(|circle| format!("a circle between the files of {room}: {circle}")));
    }
    report(problems);
}

/// Everything in which the sources and the table differ.
fn problems(table: &Table, sources: &Sources, not_yet_removed: &[(&str, &str)]) -> Vec<String> {
    let mut problems = sources.problems.clone();
    let rooms = sources.rooms();
    for room in &rooms {
        if !table.rows.contains_key(room) {
            problems.push(format!("ARCHITECTURE.md: the table has no row for the room `{room}`"));
        }
    }
    let mut used = BTreeSet::new();
    for Arrow { place, from, to } in sources.arrows_between_rooms() {
        if !rooms.contains(&to) {
            problems.push(format!("{place}: {from} -> {to}, which is no room"));
        } else if !table.allows(&from, &to) && !not_yet_removed.contains(&(&*from, &*to)) {
            problems.push(format!("{place}: {from} -> {to} is not in the table of ARCHITECTURE.md"));
        }
        used.insert((from, to));
    }
    for (from, to) in not_yet_removed {
        if !used.contains(&((*from).to_owned(), (*to).to_owned())) {
            problems.push(format!("{from} -> {to} is gone: take it out of NOT_YET_REMOVED"));
        }
    }
    for (room, row) in &table.rows {
        if !rooms.contains(room) {
            problems.push(format!("ARCHITECTURE.md: `{room}` is no room of src/"));
        }
        for to in row.rooms() {
            if table.stands_on_everything(to) {
                problems.push(format!("ARCHITECTURE.md: `{room}` stands on `{to}`, which stands on everything"));
            }
            if !used.contains(&(room.clone(), to.clone())) {
                problems.push(format!("ARCHITECTURE.md: `{room}` does not use `{to}` any more"));
            }
        }
    }
    let arrows = table.rows.iter().flat_map(|(room, row)| {
        row.rooms().map(|to| Arrow { place: String::new(), from: room.clone(), to: to.clone() })
    });
    problems.extend(circle(&arrows.collect::<Vec<_>>()).map(|circle| format!("ARCHITECTURE.md: a circle: {circle}")));
    problems
}

/// A way along the arrows that ends where it began, if there is one: `a -> b (where) -> a (where)`.
fn circle(arrows: &[Arrow]) -> Option<String> {
    let mut from: BTreeMap<&str, Vec<&Arrow>> = BTreeMap::new();
    for arrow in arrows {
        from.entry(&arrow.from).or_default().push(arrow);
    }
    let mut done = BTreeSet::new();
    from.keys().find_map(|start| walk(start, &from, &mut Vec::new(), &mut done))
}

fn walk<'a>(
    at: &'a str,
    from: &BTreeMap<&'a str, Vec<&'a Arrow>>,
    way: &mut Vec<&'a Arrow>,
    done: &mut BTreeSet<&'a str>,
) -> Option<String> {
    if let Some(begin) = way.iter().position(|arrow| arrow.from == at) {
        let steps = way[begin..].iter().map(|arrow| match arrow.place.as_str() {
            "" => format!(" -> {}", arrow.to),
            place => format!(" -> {} ({place})", arrow.to),
        });
        return Some(at.to_owned() + &steps.collect::<String>());
    }
    if !done.contains(at) {
        for arrow in from.get(at).into_iter().flatten() {
            way.push(arrow);
            if let Some(circle) = walk(&arrow.to, from, way, done) {
                return Some(circle);
            }
            way.pop();
        }
        done.insert(at);
    }
    None
}

/// The check can fail.
mod fails {
    use super::*;

    /// The output of the check for these files and this table.
    fn said(files: &[(&str, &str)], table: &str) -> Vec<String> {
        let table = Table::read(&format!("| room | stands on |\n| --- | --- |\n{table}")).unwrap();
        problems(&table, &Sources::of(files), &[])
    }

    const TWO_ROOMS: &str = "| above | below |\n| below | nothing |\n";

    #[test]
    fn not_on_what_the_table_says() {
        let files = [("above.rs", "use crate::below::Thing;"), ("below.rs", "pub struct Thing;")];
        assert_eq!(said(&files, TWO_ROOMS), [""; 0]);
    }

    #[test]
    fn on_a_forbidden_arrow_with_its_line() {
        let files = [("above.rs", "use crate::below::Thing;"), ("below/deep.rs", "\n\nfn f() { crate::above::g() }")];
        assert_eq!(
            said(&files, TWO_ROOMS),
            ["src/below/deep.rs:3: below -> above is not in the table of ARCHITECTURE.md"]
        );
    }

    #[test]
    fn on_a_path_that_leaves_its_room_upwards() {
        let files = [
            ("above.rs", "use super::below::Thing;"),
            ("below/deep/deeper.rs", "use super::super::{other, super::above::Thing};\nuse super::near;"),
        ];
        assert_eq!(
            said(&files, TWO_ROOMS),
            ["src/below/deep/deeper.rs:1: below -> above is not in the table of ARCHITECTURE.md"]
        );
        let files =
            [("above.rs", "use super::below::Thing;"), ("below.rs", "mod inner {\n    use super::super::above;\n}")];
        assert_eq!(said(&files, TWO_ROOMS), ["src/below.rs:2: below -> above is not in the table of ARCHITECTURE.md"]);
    }

    #[test]
    fn on_one_branch_of_a_tree_over_many_lines() {
        let tree = r"use crate::{
            below::{
                self,
                deep::{One, Two as Three},
            },
            above::{Thing},
        };";
        let files = [("above.rs", "use crate::below;"), ("below/mod.rs", tree)];
        assert_eq!(
            said(&files, TWO_ROOMS),
            ["src/below/mod.rs:6: below -> above is not in the table of ARCHITECTURE.md"]
        );
    }

    #[test]
    fn on_an_alias() {
        let files = [("above.rs", "use crate::below;"), ("below.rs", "use crate::above as harmless;")];
        assert_eq!(said(&files, TWO_ROOMS), ["src/below.rs:1: below -> above is not in the table of ARCHITECTURE.md"]);
    }

    #[test]
    fn on_a_name_for_the_whole_crate_behind_which_arrows_could_hide() {
        for hidden in
            ["use crate as c;", "use crate::*;", "use crate::{self as c};", "use super as c;", "use super::*;"]
        {
            let files = [("above.rs", "use crate::below;"), ("below.rs", hidden)];
            assert_eq!(said(&files, TWO_ROOMS), ["src/below.rs:1: names the whole crate: name the room"], "{hidden}");
        }
    }

    #[test]
    fn on_a_reexport_and_on_a_name_that_the_root_reexports() {
        let root = "mod above;\nmod below;\npub use above::{Thing, Other as Renamed};\n";
        for hidden in ["pub use crate::Thing;", "fn f() -> crate::Renamed {}", "pub(crate) use super::Thing as T;"] {
            let files = [("lib.rs", root), ("above.rs", "use crate::below;"), ("below.rs", hidden)];
            assert_eq!(
                said(&files, TWO_ROOMS),
                ["src/below.rs:1: below -> above is not in the table of ARCHITECTURE.md"],
                "{hidden}"
            );
        }
    }

    #[test]
    fn on_macros_attributes_and_inline_modules() {
        for hidden in [
            "macro_rules! m { () => { $crate::above::f() } }",
            "#[component(on_add = crate::above::f)] struct S;",
            "mod inner { fn f() { crate::above::g() } }",
            "#[cfg(any(test, feature = \"x\"))] use crate::above;",
            "#[cfg(not(test))] use crate::above;",
            "fn f() { let a = 'a'; let b = '\\''; g::<'_>(b\"\\\"\", r#\"\"\"#); crate::above::g() }",
            "#[cfg(test)] mod tests {} use crate::above;",
            "#[cfg(test)] mod tests; use crate::above;",
        ] {
            let files = [("above.rs", "use crate::below;"), ("below.rs", hidden)];
            assert_eq!(
                said(&files, TWO_ROOMS),
                ["src/below.rs:1: below -> above is not in the table of ARCHITECTURE.md"],
                "{hidden}"
            );
        }
    }

    #[test]
    fn not_on_comments_strings_and_tests() {
        let below = r###"//! crate::above
            /* crate::above /* crate::above */ crate::above */
            const A: &str = "crate::above \" crate::above";
            const B: &str = r#"crate::above " crate::above"#;
            pub(in crate::below) struct S;
            pub(crate) struct T;
            #[cfg(test)]
            #[path = "of_below.rs"]
            mod tests;
            #[cfg(all(test, feature = "x"))]
            mod more { use crate::above; }
            #[cfg(test)]
            use crate::{above, above::Other};
            #[cfg(test)]
            fn f<A, B>() { crate::above::g() }
            struct U { #[cfg(test)] above: crate::above::Thing, below: crate::below::Thing }
        "###;
        let files = [
            ("above.rs", "use crate::below;"),
            ("below/mod.rs", below),
            ("below/of_below.rs", "use crate::above;"),
            ("below/near.rs", "#[cfg(test)] mod tests;"),
            ("below/near/tests.rs", "use crate::above;"),
            ("below/near/tests/deep.rs", "use crate::above;"),
            ("lib.rs", "use crate::above; use crate::below;"),
            ("bin/program.rs", "use crate::above;"),
        ];
        assert_eq!(said(&files, TWO_ROOMS), [""; 0]);
    }

    #[test]
    fn on_a_circle_in_the_table() {
        let files = [("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "use crate::a;")];
        assert_eq!(
            said(&files, "| a | b |\n| `b` | `c` |\n| c | a |\n"),
            ["ARCHITECTURE.md: a circle: a -> b -> c -> a"]
        );
    }

    #[test]
    fn on_a_row_too_few_a_row_too_many_and_an_arrow_too_many() {
        let files = [("a.rs", "use crate::b;"), ("b.rs", ""), ("new/mod.rs", "")];
        assert_eq!(
            said(&files, "| a | b |\n| b | nothing |\n| gone | a |\n"),
            [
                "ARCHITECTURE.md: the table has no row for the room `new`",
                "ARCHITECTURE.md: `gone` is no room of src/",
                "ARCHITECTURE.md: `gone` does not use `a` any more",
            ]
        );
    }

    #[test]
    fn on_any_arrow_to_the_room_that_stands_on_everything() {
        let files = [("all.rs", "use crate::{a, b};"), ("a.rs", "use crate::all;"), ("b.rs", "use crate::a;")];
        let said = said(&files, "| a | all |\n| b | a |\n| all | everything |\n");
        assert_eq!(said, ["ARCHITECTURE.md: `a` stands on `all`, which stands on everything"]);
    }

    #[test]
    fn on_a_table_that_cannot_be_read() {
        for text in
            ["", "| room | stands on |\n| --- | --- |\n| a | b |\n| a | c |\n", "| room | stands on |\n| --- | --- |\n"]
        {
            assert!(Table::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn on_a_circle_between_files_also_through_the_door_of_the_room() {
        let of = |files: &[(&str, &str)]| circle(&Sources::of(files).arrows_between_files("room"));
        let door = ("room/mod.rs", "mod a;\nmod b;\npub use a::A;\npub(crate) use b::B;");
        assert_eq!(of(&[door, ("room/a.rs", "use super::B;"), ("room/b.rs", "")]), None);
        assert_eq!(
            of(&[door, ("room/a.rs", "use super::B;"), ("room/b.rs", "use crate::room::A;")]).unwrap(),
            "room/a.rs -> room/b.rs (src/room/a.rs:1) -> room/a.rs (src/room/b.rs:1)"
        );
        assert_eq!(
            of(&[("room/mod.rs", "mod a;\nstruct Own;\nfn f() { a::g() }"), ("room/a.rs", "\nuse super::Own;")])
                .unwrap(),
            "room/a.rs -> room/mod.rs (src/room/a.rs:2) -> room/a.rs (src/room/mod.rs:3)"
        );
    }
}
