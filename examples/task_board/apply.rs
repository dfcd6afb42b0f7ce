//! From the world to the view, and from actions to the world: the only place where the board meets the library's
//! collections.

use bevy::prelude::*;
use bevy_convex_replicate::prelude::*;

use crate::{
    Board,
    action::{self, Action, Edit},
    desk::Toast,
    model::{Card, Column},
    people::Presence,
    view::{Link, Problem, Remedy, SyncView},
};

/// Failures kept for the banners; with more than that, a person needs the first few and not the rest.
const PROBLEMS: usize = 20;

/// Documents that were deleted together, to be restored together.
#[derive(Default)]
pub struct Deleted {
    /// The name in the toast.
    what: String,
    columns: Vec<DocumentId>,
    cards: Vec<DocumentId>,
}

/// Brings the view up to date with the components that changed.
pub fn watch_documents(
    mut board: ResMut<Board>,
    columns: Query<(Entity, &DocumentId, &Column), Changed<Column>>,
    cards: Query<(Entity, &DocumentId, &Card), Changed<Card>>,
    mut gone_columns: RemovedComponents<Column>,
    mut gone_cards: RemovedComponents<Card>,
    (all_columns, all_cards): (Collection<Column>, Collection<Card>),
) {
    let board = &mut *board;
    for entity in gone_columns.read() {
        board.index.remove_column(entity);
    }
    for entity in gone_cards.read() {
        board.index.remove_card(entity);
    }
    for (entity, id, column) in &columns {
        board.index.put_column(entity, id, column);
    }
    for (entity, id, card) in &cards {
        board.index.put_card(entity, id, card);
    }
    board.index.update(&mut board.view);
    board.view.is_ready = all_columns.is_ready() && all_cards.is_ready();
}

/// Tells the view how synchronising goes.
pub fn watch_sync(mut board: ResMut<Board>, status: Res<SyncStatus>, mut failures: MessageReader<SyncFailed>) {
    let board = &mut *board;
    for SyncFailed(failure) in failures.read() {
        let problem = Problem {
            title: title(failure.kind).to_owned(),
            message: failure.to_string(),
            remedy: match failure.kind {
                FailureKind::Refused => Some(Remedy::Retry),
                FailureKind::DamagedStore => Some(Remedy::Rebuild),
                _ => None,
            },
        };
        let problems = &mut board.view.sync.problems;
        problems.retain(|other| *other != problem);
        problems.insert(0, problem);
        problems.truncate(PROBLEMS);
    }
    let old = &mut board.view.sync;
    let (link, received, total) = match &status.connection {
        Connection::Offline { .. } => (Link::Offline, 0, None),
        Connection::Connecting { .. } => (Link::Connecting, 0, None),
        Connection::CatchingUp { received, total } => (Link::CatchingUp, *received, *total),
        Connection::Live => (Link::Live, 0, None),
        // A state of a later version of the library.
        _ => (Link::Connecting, 0, None),
    };
    *old = SyncView {
        link,
        reason: status.reason(),
        is_local: matches!(status.connection, Connection::Offline { reason: None }) && !board.is_paused,
        is_paused: board.is_paused,
        unsent: status.unsent,
        unsaved: status.unsaved,
        lost: status.lost,
        is_kept: status.store_open && status.lost == 0,
        progress: status.progress(),
        received,
        total,
        place: board.place.clone(),
        problems: std::mem::take(&mut old.problems),
    };
}

/// A title of two or three words for a failure; its message has the details.
fn title(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Store => "Not saved.",
        FailureKind::Refused => "Not accepted.",
        FailureKind::Unreadable => "Not readable.",
        FailureKind::Unauthenticated => "Not signed in.",
        FailureKind::Deployment => "No such address.",
        FailureKind::Misfit => "Not a board's document.",
        FailureKind::Damaged => "Damaged.",
        FailureKind::DamagedStore => "The file is damaged.",
        FailureKind::SetAside => "A damaged file was set aside.",
        _ => "Something is wrong.",
    }
}

/// Carries out the actions of this frame, before it is captured.
pub fn carry_out(
    mut board: ResMut<Board>,
    mut presence: ResMut<Presence>,
    mut columns: Collection<Column>,
    mut cards: Collection<Card>,
    mut sync: SyncControl,
) {
    let board = &mut *board;
    for action in std::mem::take(&mut board.actions) {
        match &action {
            Action::Undo => {
                board.desk.toast = None;
                if let Some(deleted) = board.deleted.pop() {
                    let text = format!("Brought back {}", deleted.what);
                    board.desk.toast = Some(Toast { text, can_undo: false, until: None });
                    deleted.columns.iter().for_each(|id| columns.restore(id));
                    deleted.cards.iter().for_each(|id| cards.restore(id));
                }
            }
            Action::DismissToast => board.desk.toast = None,
            Action::DismissProblem(index) if *index < board.view.sync.problems.len() => {
                board.view.sync.problems.remove(*index);
            }
            Action::Retry => {
                sync.retry();
                board.view.sync.problems.retain(|problem| problem.remedy != Some(Remedy::Retry));
            }
            Action::Rebuild => {
                sync.rebuild_store();
                board.view.sync.problems.retain(|problem| problem.remedy != Some(Remedy::Rebuild));
            }
            Action::GoOffline(offline) => {
                board.is_paused = *offline;
                if *offline { sync.go_offline() } else { sync.go_online() }
            }
            Action::IAm { name, tint } => {
                presence.name.clone_from(name);
                presence.tint = *tint;
                presence.is_stale = true;
            }
            Action::Dark(dark) => board.desk.dark = *dark,
            _ => {}
        }
        let title = match &action {
            Action::DeleteCard { id } => board.view.card(id).map(|card| quoted(&card.title)),
            Action::DeleteColumn { id } => board.view.column(id.as_str()).map(|column| quoted(&column.title)),
            _ => None,
        };
        let mut deleted = Deleted::default();
        for edit in action::plan(&board.view, &action) {
            match edit {
                Edit::InsertColumn(id, column) => columns.insert_with_id(id, column),
                Edit::InsertCard(id, card) => cards.insert_with_id(id, card),
                Edit::Column(id, change) => columns.update(&id, |column| change.apply(column)),
                Edit::Card(id, change) => cards.update(&id, |card| change.apply(card)),
                Edit::DeleteColumn(id) => {
                    columns.delete(&id);
                    deleted.columns.push(id);
                }
                Edit::DeleteCard(id) => {
                    cards.delete(&id);
                    deleted.cards.push(id);
                }
            }
        }
        if let Some(title) = title {
            let with = match (deleted.columns.len(), deleted.cards.len()) {
                (0, _) | (_, 0) => String::new(),
                (_, 1) => " and its card".to_owned(),
                (_, count) => format!(" and its {count} cards"),
            };
            deleted.what = format!("{title}{with}");
            board.desk.toast = Some(Toast { text: format!("Deleted {}", deleted.what), can_undo: true, until: None });
            board.deleted.push(deleted);
        }
    }
}

/// A title in quotes, short enough for a toast.
fn quoted(title: &str) -> String {
    const LONGEST: usize = 40;
    let title = title.trim();
    match title.chars().count() {
        0 => "an untitled one".to_owned(),
        1..=LONGEST => format!("“{title}”"),
        _ => format!("“{}…”", title.chars().take(LONGEST - 1).collect::<String>().trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_titles_are_cut_for_a_toast() {
        assert_eq!(quoted(" Card "), "“Card”");
        assert_eq!(quoted(""), "an untitled one");
        assert!(quoted(&"ä".repeat(100)).chars().count() <= 42);
    }
}
