//! Which store this window uses: which device it is.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use bevy_convex_replicate::prelude::*;
use directories::ProjectDirs;

/// Windows on one machine that get a profile without being told one.
const PROFILES: usize = 32;

/// A profile, in use by this process until it is dropped.
pub struct Profile {
    pub name: String,
    pub store: PathBuf,
    /// Where an embedded backend would keep the board: the same for all profiles.
    pub backend: PathBuf,
    /// This window's [`Person`](crate::model::Person).
    pub person: DocumentId,
    /// Locked while the profile is in use.
    _lock: Option<File>,
    /// A folder to delete in the end.
    temporary: Option<PathBuf>,
}

impl Profile {
    /// The profile of that name, or the first that no other window is using.
    pub fn open(name: Option<&str>) -> Result<Self, String> {
        let folder = ProjectDirs::from("", "", "bevy-task-board")
            .map_or_else(|| PathBuf::from("bevy-task-board"), |folders| folders.data_dir().to_path_buf());
        Self::open_in(&folder, name)
    }

    fn open_in(folder: &Path, name: Option<&str>) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("cannot use the folder {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(cannot)?;
        let names = match name {
            Some(name) if is_name(name) => vec![name.to_owned()],
            Some(name) => {
                return Err(format!(
                    "a profile's name has 1 to 64 letters, digits, `-` and `_`, which {name:?} has not"
                ));
            }
            None => {
                (1..=PROFILES).map(|i| if i == 1 { "default".to_owned() } else { format!("default-{i}") }).collect()
            }
        };
        for candidate in &names {
            let lock = File::create(folder.join(format!("{candidate}.window"))).map_err(cannot)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
            }
            return Ok(Self {
                name: candidate.clone(),
                store: folder.join(format!("{candidate}.sqlite")),
                backend: folder.join("backend"),
                person: person(&folder.join(format!("{candidate}.person"))).map_err(cannot)?,
                _lock: Some(lock),
                temporary: None,
            });
        }
        Err(match name {
            Some(name) => format!("another window is using the profile {name:?}; close it, or choose another name"),
            None => format!("{PROFILES} windows are open already; close one, or name a --profile"),
        })
    }

    /// A temporary profile that no other window has.
    pub fn temporary() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("bevy-task-board-{}", DocumentId::random()));
        fs::create_dir_all(&folder).map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
        Ok(Self {
            name: "temporary".to_owned(),
            store: folder.join("board.sqlite"),
            backend: folder.join("backend"),
            person: DocumentId::random(),
            _lock: None,
            temporary: Some(folder),
        })
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if let Some(folder) = &self.temporary {
            // A folder that stays behind in the place for temporary things is no loss.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// The id kept in a file: the same person in the same profile, each time.
fn person(path: &Path) -> io::Result<DocumentId> {
    match fs::read_to_string(path) {
        Ok(id) if is_name(id.trim()) => return Ok(DocumentId::new(id.trim())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = DocumentId::random();
    fs::write(path, id.as_str())?;
    Ok(id)
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The name of the person at this machine.
pub fn user_name() -> String {
    let name = ["USER", "USERNAME", "LOGNAME"].into_iter().find_map(|key| std::env::var(key).ok());
    let name = name.filter(|name| !name.trim().is_empty() && name != "root").unwrap_or_else(|| "Somebody".to_owned());
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_window_gets_a_profile_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Profile::open_in(folder.path(), None).expect("the first");
        let second = Profile::open_in(folder.path(), None).expect("the second");
        assert_eq!((first.name.as_str(), second.name.as_str()), ("default", "default-2"));
        assert_ne!(first.store, second.store);
        assert_eq!(first.backend, second.backend);
        assert_ne!(first.person, second.person);
        let me = first.person.clone();
        drop(first);
        let again = Profile::open_in(folder.path(), None).expect("it is free again");
        assert_eq!((again.name.as_str(), &again.person), ("default", &me));
    }

    #[test]
    fn a_profile_in_use_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let _first = Profile::open_in(folder.path(), Some("work")).expect("the first");
        let error = Profile::open_in(folder.path(), Some("work")).err().expect("it is in use");
        assert!(error.contains("work"), "{error}");
        assert!(Profile::open_in(folder.path(), Some("../work")).is_err());
    }

    #[test]
    fn a_temporary_profile_leaves_nothing_behind() {
        let profile = Profile::temporary().expect("a folder");
        let folder = profile.store.parent().expect("it is in one").to_owned();
        assert!(folder.is_dir());
        drop(profile);
        assert!(!folder.exists());
    }
}
