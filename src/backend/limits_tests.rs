//! Tests that the TypeScript functions and this crate have the same limits.

use std::collections::BTreeMap;

use super::*;
use crate::limits::*;

/// The path of the TypeScript limits, from the root of the package.
const FIGURES: &str = "convex/src/component/limits.ts";

/// The limits that both backends have, with their values in this crate.
fn twins() -> BTreeMap<&'static str, i64> {
    let whole = |number: usize| i64::try_from(number).expect("a bound fits in 64 bits");
    BTreeMap::from([
        ("CHUNK_BYTES", whole(CHUNK_BYTES)),
        ("CHANGE_BYTES", whole(CHANGE_BYTES)),
        ("CHANGE_PARTS", whole(CHANGE_BYTES / CHUNK_BYTES)),
        ("CHANGE_OPERATIONS", CHANGE_OPERATIONS as i64),
        ("OPERATION_NUMBER", OPERATION_NUMBER as i64),
        ("WAITING_BYTES", whole(WAITING_BYTES)),
        ("PUSH_BYTES", whole(PUSH_BYTES)),
        ("PUSH_DOCUMENTS", whole(PUSH_DOCUMENTS)),
        ("PUSH_CHANGES", whole(PUSH_CHANGES)),
        ("PAGE_BYTES", whole(PAGE_BYTES)),
        ("PAGE_ROWS", whole(PAGE_ROWS)),
        ("PAGE_ROWS_MAX", whole(PAGE_ROWS_MAX)),
        ("DOCUMENT_PAGE", whole(DOCUMENT_PAGE)),
        ("DOCUMENT_PAGE_MAX", whole(DOCUMENT_PAGE_MAX)),
        ("DOCUMENT_PAGE_BYTES", whole(DOCUMENT_PAGE_BYTES)),
        ("DOCUMENT_ID_BYTES", whole(DOCUMENT_ID_BYTES)),
        ("SCOPE_BYTES", whole(SCOPE_BYTES)),
        ("ROW_NESTING", whole(ROW_NESTING)),
        ("ROW_BYTES", whole(ROW_BYTES)),
        ("LIST_ELEMENTS", whole(LIST_ELEMENTS)),
        ("OBJECT_FIELDS", whole(OBJECT_FIELDS)),
        ("ROW_FIELDS", whole(ROW_FIELDS)),
        ("FIELD_NAME_BYTES", whole(FIELD_NAME_BYTES)),
        ("LEFT_OUT", whole(LEFT_OUT)),
        ("LEFT_OUT_LETTERS", whole(LEFT_OUT_LETTERS)),
        ("DOCUMENT_BYTES", whole(DOCUMENT_BYTES)),
        ("COMMIT_BYTES", whole(COMMIT_BYTES)),
        ("PRESENCE_BYTES", whole(PRESENCE_BYTES)),
        ("PRESENCE_PEERS", whole(PRESENCE_PEERS)),
        ("PRESENCE_RATE", PRESENCE_RATE as i64),
        ("PRESENCE_BURST", PRESENCE_BURST.as_millis() as i64),
        ("PRESENCE_REFRESHES", i64::from(PRESENCE_REFRESHES)),
        ("PRESENCE_SESSION_BYTES_MIN", whole(PRESENCE_SESSION_BYTES_MIN)),
        ("PRESENCE_SESSION_BYTES", whole(PRESENCE_SESSION_BYTES)),
        ("RETENTION", RETENTION.as_millis() as i64),
        ("ORDINAL_STEP", i64::from(ORDINAL_STEP)),
        // The type of `Position::ordinal`.
        ("ORDINAL_MAX", i64::from(u32::MAX)),
    ])
}

/// The limits that only Convex's functions have, each with the reason.
const ALONE: [(&str, &str); 20] = [
    ("DOCUMENT_CHANGES", "a Convex mutation writes at most 16,000 documents; the embedded backend has no such bound"),
    ("DOCUMENT_PAGE_ROWS", "a Convex query reads a limited number of rows; the embedded backend has them in memory"),
    (
        "DOCUMENT_OPERATIONS",
        "a Convex function runs for a second; the embedded backend keeps merged documents in memory",
    ),
    ("DELETION_OPERATIONS", "room beyond DOCUMENT_OPERATIONS"),
    ("LOG_ROWS", "a merge on Convex reads within limits. `LOG_BYTES` of the embedded backend bounds another thing"),
    ("LOG_BYTES", "as LOG_ROWS"),
    ("PUSH_READ_BYTES", "a Convex transaction reads at most 16 MiB"),
    ("MERGE_BYTES", "the embedded backend merges within each push where it has to"),
    ("COMMIT_ROWS", "a Convex query reads a limited number of rows"),
    ("COUNT_SHARDS", "the embedded backend has one writer, so that nobody contends for a counter"),
    ("COMPACT_FROM_ROWS", "the embedded backend compacts by another rule: COMPACT_ROWS and COMPACT_BYTES_PER_ROW"),
    ("COMPACT_AFTER", "the embedded backend leaves the newest rows instead: COMPACT_TAIL"),
    ("SCHEDULED_LATE", "the embedded backend schedules no functions"),
    (
        "COMPACT_ROWS",
        "what one Convex transaction deletes. `COMPACT_ROWS` of the embedded backend says when to compact",
    ),
    ("COMPACT_BYTES", "what one Convex transaction reads"),
    ("PRUNE_DOCUMENTS", "one Convex transaction prunes fewer documents than one transaction of SQLite"),
    ("PRUNE_READ_BYTES", "what one Convex transaction reads"),
    ("PRESENCE_RATE_USUAL", "each value costs money on Convex; the embedded backend takes the largest rate"),
    ("PRESENCE_TTL", "refreshing costs money on Convex. The embedded backend's is PRESENCE_TTL_MS, and is shorter"),
    ("PRUNE_ROWS", "what one Convex transaction deletes"),
];

/// The constants that a TypeScript file exports.
fn exported(source: &str) -> BTreeMap<&str, i64> {
    let mut figures = BTreeMap::new();
    for line in source.lines().filter(|line| line.starts_with("export")) {
        let declaration = line.strip_prefix("export const ").and_then(|rest| rest.strip_suffix(';'));
        let (name, expression) = declaration.and_then(|rest| rest.split_once(" = ")).expect(line);
        let value = Expression { rest: expression, figures: &figures }.whole();
        assert!(figures.insert(name, value).is_none(), "{name} is there twice");
    }
    figures
}

/// Arithmetic as the file uses it: numbers, names that came before, `+ - * / **` and parentheses.
struct Expression<'a> {
    rest: &'a str,
    figures: &'a BTreeMap<&'a str, i64>,
}

impl<'a> Expression<'a> {
    fn whole(mut self) -> i64 {
        let value = self.sum();
        assert_eq!(self.rest, "", "the test cannot read this expression");
        value
    }

    /// Takes an operator, if it is next.
    fn takes(&mut self, operator: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(operator);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }

    fn sum(&mut self) -> i64 {
        let mut value = self.product();
        loop {
            if self.takes("+") {
                value += self.product();
            } else if self.takes("-") {
                value -= self.product();
            } else {
                return value;
            }
        }
    }

    fn product(&mut self) -> i64 {
        let mut value = self.power();
        loop {
            if self.takes("*") {
                value *= self.power();
            } else if self.takes("/") {
                let divisor = self.power();
                assert_eq!(value % divisor, 0, "a bound is a whole number");
                value /= divisor;
            } else {
                return value;
            }
        }
    }

    fn power(&mut self) -> i64 {
        let base = self.term();
        match self.takes("**") {
            true => base.pow(u32::try_from(self.power()).expect("a small exponent")),
            false => base,
        }
    }

    fn term(&mut self) -> i64 {
        if self.takes("(") {
            let value = self.sum();
            assert!(self.takes(")"), "a parenthesis is not closed before {:?}", self.rest);
            return value;
        }
        let end = self.rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match self.figures.get(word) {
            Some(value) => *value,
            None => {
                word.replace('_', "").parse().unwrap_or_else(|_| panic!("{word:?} is neither a number nor a figure"))
            }
        }
    }
}

#[test]
fn expressions_are_read_as_typescript_reads_them() {
    let source = "/** A comment. */\nexport const A = 1_280 * 1024;\nexport const B = 2 ** 32 - 1;\n\
                  export const C = 2 * (A + 3) / 2;\nexport const D = 7 - 2 - 1;\nexport const E = A;\n";
    let expected = [("A", 1_310_720), ("B", 4_294_967_295), ("C", 1_310_723), ("D", 4), ("E", 1_310_720)];
    assert_eq!(exported(source), BTreeMap::from(expected));
}

#[test]
fn the_two_backends_have_the_same_figures() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FIGURES);
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let figures = exported(&source);
    let twins = twins();
    for (name, figure) in &figures {
        match (twins.get(name), ALONE.iter().any(|(alone, _)| alone == name)) {
            (Some(twin), false) => assert_eq!(figure, twin, "{name}"),
            (None, true) => {}
            (None, false) => {
                panic!("{name} has no twin in Rust: compare it in `twins`, or say in `ALONE` why it has none")
            }
            (Some(_), true) => panic!("{name} is both compared and excused"),
        }
    }
    for name in twins.keys().chain(ALONE.iter().map(|(name, _)| name)) {
        assert!(figures.contains_key(name), "{FIGURES} has no {name} any more");
    }
}
