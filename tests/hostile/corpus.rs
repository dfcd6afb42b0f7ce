//! Small files that every run tries: made from valid messages, or found in earlier runs.

use std::{fs, path::PathBuf};

fn folder(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../hostile/corpus").join(kind)
}

/// All files of a kind: name and bytes.
pub fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder(kind))
        .unwrap_or_else(|error| panic!("the corpus {kind:?} is missing: {error}"))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus {kind:?} is empty");
    files
}

/// Stores a case that was found. The next run tries it.
pub fn keep(kind: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder(kind)).unwrap();
    fs::write(folder(kind).join(name), bytes).unwrap();
}
