//! The people at the board.
//!
//! Presence has no part in the protocol. Each window keeps a [`Person`] document and writes the time into it every
//! [`BEAT`] while a person works there. A person without a beat for [`AWAY_AFTER`] is shown as away. A beat is an edit
//! like any other, so beats are far apart, and a window that is offline or not in use sends none.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bevy::{
    input::{keyboard::KeyboardInput, mouse::MouseButtonInput},
    prelude::*,
    window::CursorMoved,
};
use bevy_convex_replicate::prelude::*;

use crate::{
    Board,
    model::{Person, Tint},
    view::PersonView,
};

/// The time between two beats of a window.
const BEAT: Duration = Duration::from_secs(10);
/// Three beats may be late before a person counts as away.
pub const AWAY_AFTER: Duration = Duration::from_secs(35);
/// A window that was not used for this long sends no beats.
const IDLE_AFTER: Duration = Duration::from_secs(120);
/// A person who has been away for longer than this is not shown.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(14 * 86_400);

/// This window's person, and when others were last heard of.
#[derive(Resource)]
pub struct Presence {
    pub me: DocumentId,
    pub name: String,
    pub tint: Tint,
    last_beat: Option<Duration>,
    last_touched: Duration,
    heard: HashMap<DocumentId, Heard>,
    /// The name or the colour changed, so the others must be told now.
    pub is_stale: bool,
}

/// The time of a person's last beat on this window's clock, because the clocks of other devices may be wrong.
struct Heard {
    beat: Timestamp,
    /// Seconds since the window opened; before it opened where negative.
    at: f64,
}

impl Presence {
    pub fn new(me: DocumentId, name: String) -> Self {
        let tint = Tint::of(me.as_str());
        Self { me, name, tint, last_beat: None, last_touched: Duration::ZERO, heard: HashMap::new(), is_stale: true }
    }

    /// Takes in a beat, or the lack of a new one. Returns the time since the last one.
    fn hear(&mut self, id: &DocumentId, beat: Timestamp, is_live: bool, now: f64, clock: i64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of decades fit")]
        let by_clock = now - (clock.saturating_sub(beat.0)).max(0) as f64 / 1000.0;
        let at = match self.heard.get(id) {
            Some(heard) if heard.beat == beat => heard.at,
            // The beat came just now, so it was sent just now, even if the clocks disagree.
            Some(_) if is_live => now,
            // The beat may be old: the first one in this window, or one that came while the window was offline.
            _ => by_clock,
        };
        self.heard.insert(id.clone(), Heard { beat, at });
        Duration::from_secs_f64((now - at).max(0.0))
    }
}

fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Notes that a user is at this window.
pub fn touch(
    time: Res<Time<Real>>,
    mut presence: ResMut<Presence>,
    moves: MessageReader<CursorMoved>,
    clicks: MessageReader<MouseButtonInput>,
    keys: MessageReader<KeyboardInput>,
) {
    if !(moves.is_empty() && clicks.is_empty() && keys.is_empty()) {
        presence.last_touched = time.elapsed();
    }
}

/// Writes a beat now and then.
pub fn beat(
    time: Res<Time<Real>>,
    status: Res<SyncStatus>,
    mut presence: ResMut<Presence>,
    mut people: Collection<Person>,
) {
    let now = time.elapsed();
    let is_due = presence.is_stale || presence.last_beat.is_none_or(|last| now.saturating_sub(last) >= BEAT);
    let is_idle = now.saturating_sub(presence.last_touched) > IDLE_AFTER;
    if !is_due || is_idle || !status.is_live() || !people.is_ready() {
        return;
    }
    presence.last_beat = Some(now);
    presence.is_stale = false;
    let me = Person { name: presence.name.clone(), tint: presence.tint, last_seen: Timestamp(clock()) };
    let id = presence.me.clone();
    if people.entity(&id).is_some() {
        people.update(&id, move |person| *person = me);
    } else {
        people.insert_with_id(id, me);
    }
}

/// Keeps the faces on the board up to date: me, who is here, who was.
pub fn show(
    time: Res<Time<Real>>,
    status: Res<SyncStatus>,
    people: Query<(&DocumentId, &Person)>,
    mut presence: ResMut<Presence>,
    mut board: ResMut<Board>,
) {
    let (now, clock) = (time.elapsed_secs_f64(), clock());
    let presence = &mut *presence;
    let my_id = presence.me.clone();
    let mut shown: Vec<(Duration, PersonView)> = people
        .iter()
        .filter(|(id, _)| **id != my_id)
        .filter_map(|(id, person)| {
            let silent = presence.hear(id, person.last_seen, status.is_live(), now, clock);
            let away = (silent > AWAY_AFTER).then_some(silent);
            let view = PersonView { id: id.clone(), name: person.name.clone(), tint: person.tint, is_me: false, away };
            (silent < FORGOTTEN_AFTER).then_some((silent, view))
        })
        .collect();
    // People who are here are sorted by id, so that faces keep their places.
    shown.sort_by(|(a_silent, a), (b_silent, b)| match (a.away, b.away) {
        (None, None) => a.id.cmp(&b.id),
        _ => a_silent.cmp(b_silent),
    });
    let me = PersonView { id: my_id, name: presence.name.clone(), tint: presence.tint, is_me: true, away: None };
    board.view.people = std::iter::once(me).chain(shown.into_iter().map(|(_, view)| view)).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: i64 = 1_700_000_000_000;

    fn presence() -> Presence {
        Presence::new(DocumentId::new("me"), "Me".to_owned())
    }

    #[test]
    fn a_beat_that_comes_while_live_is_of_now_whatever_its_clock_says() {
        let (mut presence, id) = (presence(), DocumentId::new("them"));
        presence.hear(&id, Timestamp(CLOCK - 3_600_000), true, 5.0, CLOCK);
        let silent = presence.hear(&id, Timestamp(CLOCK - 3_590_000), true, 10.0, CLOCK);
        assert_eq!(silent, Duration::ZERO);
        let silent = presence.hear(&id, Timestamp(CLOCK - 3_590_000), true, 22.0, CLOCK);
        assert_eq!(silent, Duration::from_secs(12));
    }

    #[test]
    fn old_news_is_old() {
        let (mut presence, id) = (presence(), DocumentId::new("them"));
        let silent = presence.hear(&id, Timestamp(CLOCK - 60_000), true, 5.0, CLOCK);
        assert_eq!(silent, Duration::from_secs(60));
        let silent = presence.hear(&id, Timestamp(CLOCK - 40_000), false, 6.0, CLOCK);
        assert_eq!(silent, Duration::from_secs(40));
    }

    #[test]
    fn a_clock_ahead_of_ours_does_not_make_anybody_come_from_the_future() {
        let (mut presence, id) = (presence(), DocumentId::new("them"));
        let silent = presence.hear(&id, Timestamp(CLOCK + 90_000), true, 5.0, CLOCK);
        assert_eq!(silent, Duration::ZERO);
        let silent = presence.hear(&id, Timestamp(i64::MIN), true, 6.0, CLOCK);
        assert_eq!(silent, Duration::ZERO, "it changed while live");
    }
}
