use std::path::PathBuf;

use directories::BaseDirs;

use super::StoreError;
use crate::limits::STORE_NAME_BYTES;

/// The default path of the store of an app's profile: `<app>/<profile>.sqlite3` in the platform's folder for programs'
/// local data (`~/.local/share`, `~/Library/Application Support`, `%LOCALAPPDATA%`).
///
/// Names are 1 to 64 bytes of letters, digits, `-`, `_`, `.` and spaces, and neither begin nor end
/// with `.` or a space.
pub fn default_path(app: &str, profile: &str) -> Result<PathBuf, StoreError> {
    check("an app", app)?;
    check("a profile", profile)?;
    let folders = BaseDirs::new().ok_or(StoreError::NoHome)?;
    Ok(folders.data_local_dir().join(app).join(format!("{profile}.sqlite3")))
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
        "con" | "prn" | "aux" | "nul" => true,
        _ => stem
            .strip_prefix("com")
            .or_else(|| stem.strip_prefix("lpt"))
            .is_some_and(|rest| rest.chars().count() == 1 && rest.chars().all(char::is_numeric)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_its_own_file_in_the_folder_of_its_app() {
        let path = default_path("my-app", "Zoë 2").unwrap();
        assert!(path.ends_with("my-app/Zoë 2.sqlite3"), "{}", path.display());
        assert!(path.is_absolute());
    }

    #[test]
    fn a_name_that_is_not_one_component_of_a_path_is_refused() {
        let long = "x".repeat(STORE_NAME_BYTES + 1);
        for name in ["", "..", "a/b", "a\\b", "c:", "a\0b", ".hidden", "dot.", " x", "NUL", "con.txt", "Com1", &long] {
            for result in [default_path(name, "default"), default_path("app", name)] {
                let error = result.expect_err(name);
                assert!(matches!(&error, StoreError::Name { name: named, .. } if named == name), "{error}");
            }
        }
        for name in ["a", "com.example.board", "computer", "null", "x1"] {
            default_path(name, name).unwrap();
        }
    }
}
