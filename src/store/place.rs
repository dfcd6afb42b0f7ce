//! Where stores are: a file for each profile of an app, and for each user of a profile.
//!
//! Profiles and users have any text as their name, so a file is named by a text of letters that every file system keeps
//! apart. Lower-case ASCII letters, digits, `-` and `_` stand for themselves, and each other byte is `%` with two
//! digits. So no two names differ only in the case of letters, and none has a separator. The device names of Windows
//! get one such byte, and a long name ends with its hash.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use directories::BaseDirs;
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::{
    limits::{STORE_FILE_BYTES, STORE_NAME_BYTES},
    sqlite::beside,
};

/// The ending of a store's file.
const ENDING: &str = ".sqlite3";

/// The default path of the store of an app's profile: `<app>/<profile>.sqlite3` in the platform's folder for programs'
/// local data (`~/.local/share`, `~/Library/Application Support`, `%LOCALAPPDATA%`).
///
/// The app's name has 1 to 64 bytes of letters, digits, `-`, `_`, `.` and spaces, and neither begins
/// nor ends with `.` or a space. A profile has any text as its name. Lower-case ASCII letters, digits, `-` and `_` stand
/// for themselves in the file's name, and other letters are encoded. A file that an earlier version made for the
/// profile, with its name as it is, is used as long as it or its lock file exists.
pub fn default_path(app: &str, profile: &str) -> Result<PathBuf, StoreError> {
    check("an app", app)?;
    let folders = BaseDirs::new().ok_or(StoreError::NoHome)?;
    Ok(profile_path(&folders.data_local_dir().join(app), profile))
}

/// Where the edits of a user of the profile with this store are kept: `<user>.sqlite3` in a folder beside the store,
/// which has the store's whole name and then `.users`. A user has any text as a name, encoded as
/// [`default_path`] does with a profile's.
pub fn user_path(store: &Path, user: &str) -> PathBuf {
    beside(store, ".users").join(encoded(user, false) + ENDING)
}

/// The store of a profile in the folder of its app.
fn profile_path(folder: &Path, profile: &str) -> PathBuf {
    let name = encoded(profile, false) + ENDING;
    if check("a profile", profile).is_err() {
        return folder.join(name);
    }
    let older = format!("{profile}{ENDING}");
    // A file system may take another profile's file for this one: its list of files shows the difference.
    // The lock of a store stays when a user adopts its edits. Without that store, its profile keeps its name, because
    // its users' stores are named after it.
    let store = |name: OsString| match name.to_str().and_then(|name| name.strip_suffix(".lock")) {
        Some(store) => OsString::from(store),
        None => name,
    };
    let names: Vec<OsString> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(store(entry.ok()?.file_name()))).collect();
    let alike = |found: &OsString| found.to_str().is_some_and(|found| found.to_lowercase() == older.to_lowercase());
    let is_listed = |name: &str| names.iter().any(|found| found.to_str() == Some(name));
    match is_listed(&older) || (folder.join(&older).exists() && !names.iter().any(alike)) {
        true => folder.join(older),
        // The file of an earlier version for a profile whose name differs only in the case of letters.
        false if !is_listed(&name) && names.iter().any(alike) => folder.join(encoded(profile, true) + ENDING),
        false => folder.join(name),
    }
}

/// A name of a file that stands for `name` alone, on every file system. `hashed`: with the hash, which is otherwise
/// only at the end of long names.
fn encoded(name: &str, hashed: bool) -> String {
    let mut text = String::new();
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' if at > 0 || !is_device(name) => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
    if text.is_empty() {
        // No other name has a `%` without digits.
        text.push('%');
    }
    if hashed || text.len() > STORE_FILE_BYTES {
        let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        text.truncate(STORE_FILE_BYTES - hash.len() - 1);
        text = format!("{text}~{hash}");
    }
    text
}

/// Names must be one component of a path on every platform.
fn check(of: &'static str, name: &str) -> Result<(), StoreError> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > STORE_NAME_BYTES {
        "it is too long"
    } else if !name.chars().all(allowed) {
        "use only letters, digits, '-', '_', '.' and spaces"
    } else if name.starts_with(['.', ' ']) || name.ends_with(['.', ' ']) {
        "it begins or ends with a dot or a space"
    } else if is_device(name) {
        "Windows keeps this name for a device"
    } else {
        return Ok(());
    };
    Err(StoreError::Name { of, name: name.to_owned(), problem })
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" => true,
        _ => stem
            .strip_prefix("com")
            .or_else(|| stem.strip_prefix("lpt"))
            .is_some_and(|rest| rest.chars().count() == 1 && rest.chars().all(char::is_numeric)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names that file systems take for others, or refuse.
    fn names() -> Vec<String> {
        let texts = [
            "",
            " ",
            ".",
            "..",
            "a",
            "A",
            "alice",
            "Alice",
            "ALICE",
            "alice.",
            "alice ",
            "a/b",
            "a\\b",
            "c:",
            "a\0b",
            ".hidden",
            "NUL",
            "nul",
            "con.txt",
            "Com1",
            "com¹",
            "lpt9",
            "~",
            "%",
            "%41",
            "🦦",
            "Zoë",
            "Zoe\u{308}",
            "ß",
            "ſ",
            "straße",
            "STRASSE",
            "İ",
            "i̇",
            "ﬁ",
            "fi",
            "a%2fb",
            "default.users",
            "-",
            "--help",
            "*?\"<>|",
            "\n",
        ];
        let long = ["x".repeat(10_000), "x".repeat(10_001), "🦦".repeat(500), "X".repeat(STORE_FILE_BYTES)];
        texts.into_iter().map(str::to_owned).chain(long).collect()
    }

    #[test]
    fn every_text_names_a_file_of_its_own_on_every_file_system() {
        let mut seen = BTreeSet::new();
        for name in names() {
            for hashed in [false, true] {
                let file = encoded(&name, hashed);
                assert!(file.len() <= STORE_FILE_BYTES, "{name:?}: {file}");
                assert!(!file.is_empty() && !is_device(&file), "{name:?}: {file}");
                assert!(
                    file.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'%' | b'~')),
                    "{name:?}: {file}"
                );
                // A long name has the hash in any case.
                assert!(seen.insert(file.clone()) || (hashed && encoded(&name, false) == file), "{name:?}: {file}");
            }
        }
    }

    #[test]
    fn the_store_of_every_profile_and_user_opens() {
        let folder = tempfile::tempdir().unwrap();
        for name in names() {
            for path in [profile_path(folder.path(), &name), user_path(&folder.path().join("p.sqlite3"), &name)] {
                super::super::Store::open(&path).unwrap_or_else(|error| panic!("{name:?}: {error}"));
            }
        }
        let files = |folder: &Path| {
            let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.ends_with(ENDING)).count()
        };
        assert_eq!(files(folder.path()), names().len());
        assert_eq!(files(&folder.path().join("p.sqlite3.users")), names().len());
    }

    #[test]
    fn two_stores_in_one_folder_share_no_user() {
        let users: BTreeSet<_> =
            ["a", "a.db", "a.sqlite3", "a.sqlite3.users"].map(|store| user_path(Path::new(store), "u")).into();
        assert_eq!(users.len(), 4);
    }

    #[test]
    fn a_file_of_an_earlier_version_is_used_by_its_profile_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["Zoë 2", "Alice", "com.example"] {
            let older = folder.path().join(format!("{name}.sqlite3"));
            assert_ne!(profile_path(folder.path(), name), older);
            fs::write(&older, "").unwrap();
            assert_eq!(profile_path(folder.path(), name), older);
        }
        // On a file system that ignores case, `alice.sqlite3` would be Alice's file.
        let alice = profile_path(folder.path(), "alice");
        assert!(alice.file_name().unwrap().to_str().unwrap().starts_with("alice~"), "{}", alice.display());
        assert_eq!(profile_path(folder.path(), "bob"), folder.path().join("bob.sqlite3"));
    }

    #[test]
    fn a_profile_keeps_its_name_when_a_user_adopts_the_store_of_an_earlier_version() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["Zoë 2", "Alice"] {
            let older = folder.path().join(format!("{name}.sqlite3"));
            drop(super::super::Store::open(&older).unwrap());
            super::super::Store::adopt(&older, &user_path(&older, "zoë")).unwrap();
            assert!(!older.exists());
            assert_eq!(profile_path(folder.path(), name), older);
        }
        let alice = profile_path(folder.path(), "alice");
        assert!(alice.file_name().unwrap().to_str().unwrap().starts_with("alice~"), "{}", alice.display());
    }

    #[test]
    fn a_profile_has_its_own_file_in_the_folder_of_its_app() {
        let path = default_path("my-app", "default").unwrap();
        assert!(path.ends_with("my-app/default.sqlite3"), "{}", path.display());
        assert!(path.is_absolute());
        assert!(user_path(&path, "alice").ends_with("my-app/default.sqlite3.users/alice.sqlite3"));
    }

    #[test]
    fn an_apps_name_that_is_not_one_component_of_a_path_is_refused() {
        let long = "x".repeat(STORE_NAME_BYTES + 1);
        for name in ["", "..", "a/b", "a\\b", "c:", "a\0b", ".hidden", "dot.", " x", "NUL", "con.txt", "Com1", &long] {
            let error = default_path(name, "default").expect_err(name);
            assert!(matches!(&error, StoreError::Name { name: named, .. } if named == name), "{error}");
        }
        for name in ["a", "com.example.board", "computer", "null", "x1"] {
            default_path(name, name).unwrap();
        }
    }
}
