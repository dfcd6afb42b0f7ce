//! Damaged logs of the backend.

use bevy_convex_replicate::backend::{Backend, BackendConfig, BackendError};

use crate::{
    harm::{Files, beside, each},
    support::*,
};

/// A directory with a log: its files and its rows.
async fn filled() -> (Files, Vec<(bevy_convex_replicate::DocumentId, convex::Value)>) {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::start(BackendConfig::new().data(directory.path())).unwrap();
    let mut connection = client(&backend).await;
    let mut writers: Vec<_> = (0..30).map(|number| Writer::new(&format!("task-{number:02}"))).collect();
    for round in 0..4 {
        let documents = writers.iter_mut().map(|writer| writer.put("round", round).document(None)).collect();
        accepted(&push(&mut connection, "tasks", documents).await);
    }
    // The state after a kill.
    let path = directory.path().join("log.sqlite");
    let files = Files::read(&path);
    assert!(files.log.as_ref().is_some_and(|log| !log.is_empty()));
    (files, backend.rows("tasks"))
}

#[tokio::test]
async fn a_damaged_log_is_refused_or_serves_nothing_untrue() {
    let (whole, rows) = filled().await;
    let closed = {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.sqlite");
        whole.write(&path);
        Backend::start(BackendConfig::new().data(directory.path())).unwrap().stop();
        Files::read(&path)
    };
    assert!(closed.log.is_none());
    for (name, whole) in [("backend's log after a kill", &whole), ("backend's log", &closed)] {
        let (mut refused, mut served) = (0, 0);
        each(name, whole, |harm, damaged, _| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log.sqlite");
            damaged.write(&path);
            match Backend::start(BackendConfig::new().data(directory.path())) {
                Err(error) => {
                    refused += 1;
                    assert!(
                        matches!(error, BackendError::Damaged { .. } | BackendError::Newer { .. }),
                        "{harm}: {error:?}"
                    );
                    assert!(error.to_string().contains(path.to_str().unwrap()), "{harm}: {error}");
                    assert!(damaged.are_at(&path), "{harm}: the files were changed by {error}");
                }
                Ok(backend) => {
                    served += 1;
                    for (id, row) in backend.rows("tasks") {
                        let known = rows.iter().find(|(known, _)| *known == id);
                        // Rows lost with the journal are missing, but every remaining row was stored before.
                        let number = |row: &convex::Value| number(field(row, "round"));
                        assert!(known.is_some_and(|(_, known)| number(&row) <= number(known)), "{harm}: {id}: {row:?}");
                    }
                    backend.stop();
                }
            }
        });
        println!("{name}: refused={refused} served={served}");
    }
}

#[test]
fn a_journal_without_its_log_is_not_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    for suffix in ["-wal", "-journal"] {
        let journal = beside(&path, suffix);
        std::fs::write(&journal, "changes").unwrap();
        let error = Backend::start(BackendConfig::new().data(directory.path())).err().unwrap();
        assert!(matches!(error, BackendError::Damaged { .. }), "{error}");
        assert_eq!(std::fs::read(&journal).unwrap(), b"changes");
        assert!(!path.exists());
        std::fs::remove_file(&journal).unwrap();
    }
}

#[test]
fn a_folder_instead_of_the_log_and_a_file_instead_of_the_directory_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.sqlite");
    std::fs::create_dir(&path).unwrap();
    let error = Backend::start(BackendConfig::new().data(directory.path())).err().unwrap();
    assert!(matches!(error, BackendError::Database { .. }), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    let file = directory.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let error = Backend::start(BackendConfig::new().data(&file)).err().unwrap();
    assert!(matches!(error, BackendError::Disk { .. }), "{error:?}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}
