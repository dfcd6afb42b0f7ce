//! Runs the cases in `tests/conformance` against the HTTP API of the embedded backend. `convex/` runs the same files
//! against the functions for Convex.
#![cfg(feature = "backend")]

#[path = "conformance/case.rs"]
mod case;
#[path = "host/http.rs"]
mod http;
#[path = "conformance/pattern.rs"]
mod pattern;
#[path = "conformance/wire.rs"]
mod wire;

use std::{collections::BTreeMap, fs, path::PathBuf};

use bevy_convex_replicate::backend::{
    Authorize, Backend, BackendConfig, Everyone, OwnRows, ReadRequest, UserTokens, WriteRequest,
};
use serde_json::json;

use self::case::{Case, CaseFile, Kind, run};

/// The files, each with its smallest number of cases: a lost or emptied file then fails the test.
const FILES: [(&str, usize); 8] = [
    ("arguments.json", 20),
    ("http.json", 16),
    ("original.json", 35),
    ("presence.json", 6),
    ("pull.json", 16),
    ("push.json", 87),
    ("rights.json", 17),
    ("sync.json", 5),
];

/// The page that the cases let make requests.
const PAGE: &str = "http://page.example";

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "conformance"].iter().collect()
}

fn files() -> Vec<(String, CaseFile)> {
    let mut names: Vec<_> = fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"))
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    let read = |name: String| {
        let text = fs::read_to_string(folder().join(&name)).expect("the file can be read");
        let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, file)
    };
    names.into_iter().map(read).collect()
}

/// The rules of the collections `homes` and `owned`, which are those of `convex/tests/app`. Other collections are
/// public.
struct Rules {
    owned: OwnRows,
}

impl Authorize for Rules {
    fn read(&self, request: &ReadRequest<'_>) -> bool {
        match request.collection {
            "homes" => request.user.is_some_and(|user| request.scope == Some(user.as_str())),
            "owned" => self.owned.read(request),
            _ => Everyone.read(request),
        }
    }

    fn write(&self, request: &WriteRequest<'_>) -> bool {
        match request.collection {
            "homes" => !request.changed.iter().any(|field| field == "score"),
            "owned" => self.owned.write(request),
            _ => Everyone.write(request),
        }
    }
}

/// Runs a case on an empty backend.
fn run_alone(case: &Case, file: &CaseFile) -> Result<(), String> {
    let users = case.users();
    let folder = tempfile::tempdir().expect("a folder");
    let mut tokens = BTreeMap::new();
    let mut config = BackendConfig::new().allow_origin(PAGE).authorize(Rules { owned: OwnRows::by("owner") });
    if !users.is_empty() {
        let made = UserTokens::open(folder.path()).expect("a file of tokens");
        tokens = users.iter().map(|user| (*user, made.create(user, None).expect("a token").1)).collect();
        config = config.data(folder.path());
    }
    let backend = Backend::start(config).expect("a backend starts");
    let address = backend.address();
    run(case, &file.values, address, |kind, path, args, user| match kind {
        Kind::Rows => http::Outcome::Returned(
            backend.rows(path).into_iter().map(|(_, row)| serde_json::Value::from(row)).collect(),
        ),
        kind => {
            let token = user.and_then(|user| tokens.get(user)).map(String::as_str);
            http::call(address, kind.as_str(), path, args, token)
        }
    })
}

#[test]
fn the_embedded_backend_answers_every_case_as_specified() {
    let files = files();
    for (name, least) in FILES {
        let held = files.iter().find(|(found, _)| found == name).map_or(0, |(_, file)| file.cases.len());
        assert!(held >= least, "{name} holds {held} cases; it had {least}");
    }
    let mut ran = 0;
    let mut failed = Vec::new();
    for (name, file) in &files {
        for case in &file.cases {
            assert!(!case.steps.is_empty(), "{name}: {} has no steps", case.name);
            ran += 1;
            if let Err(problem) = run_alone(case, file) {
                failed.push(format!("{name}: {}\n    {problem}", case.name));
            }
        }
    }
    println!("{ran} cases, {} failed", failed.len());
    assert_eq!(ran, files.iter().map(|(_, file)| file.cases.len()).sum::<usize>());
    assert!(failed.is_empty(), "{} of {ran} cases failed\n{}", failed.len(), failed.join("\n"));
}

/// Runs a file of one case with these steps.
fn attempt(steps: serde_json::Value) -> Result<(), String> {
    let file = json!({ "about": "", "cases": [{ "name": "", "steps": steps }] });
    let file: CaseFile = serde_json::from_value(file).expect("a case file");
    run_alone(&file.cases[0], &file)
}

#[test]
fn a_deviation_fails_with_the_expected_and_the_actual_value() {
    let stream = |outcome: serde_json::Value| {
        let mut step = json!({ "call": "query", "path": "notes:changeStream", "args": {} });
        step.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
        attempt(json!([step]))
    };
    stream(json!({ "returns": { "timestamp": 0, "count": 0 } })).unwrap();
    stream(json!({ "returns": { "timestamp": { "$bind": "x" }, "count": { "$bind": "x" } } })).unwrap();
    let cases = [
        (json!({ "returns": { "timestamp": 0, "count": 1 } }), "$.count is 0.0, not 1"),
        (json!({ "returns": { "timestamp": 0 } }), "$ has the field count"),
        (json!({ "returns": { "$partial": { "more": 0 } } }), "$ lacks the field more"),
        (json!({ "returns": { "$any": "string" } }), "$ is a object, not a string"),
        (json!({ "returns": { "$document": {} } }), "$ is not bytes"),
        (json!({ "returns": [] }), "$ is not a list"),
        (json!({ "fails": { "message": ["x"] } }), "did not fail"),
        (json!({ "fails": { "data": {} } }), "did not fail"),
    ];
    for (outcome, words) in cases {
        let problem = stream(outcome.clone()).expect_err("it does not match");
        assert!(problem.contains(words), "{outcome}: {problem}");
    }
    let unknown =
        json!({ "call": "query", "path": "notes:nothing", "args": {}, "fails": { "message": ["elephants"] } });
    assert!(attempt(json!([unknown])).expect_err("other words").contains("elephants"));
}
