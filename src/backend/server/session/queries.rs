//! The open queries of a connection, and their new results.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use convex::Value;
use convex_sync_types::{LogLinesMessage, QueryId, QuerySetModification, StateModification};
use serde_json::Value as Json;

use super::unauthenticated;
use crate::{
    backend::{
        access::Rights,
        function::{self, Answer, CallError, Query},
        limits::QUERIES,
        log::Log,
        presence::{Area, Presence},
        writer::Shared,
    },
    limits::{DOCUMENT_PAGE_BYTES, or_tiny},
};

/// The queries of a connection. A clone is another handle to the same queries. The task that watches the log asks it
/// [whether there is news](Self::are_due), and wakes the session only if there is.
#[derive(Clone, Default)]
pub(in crate::backend) struct Queries(Arc<Mutex<BTreeMap<QueryId, OpenQuery>>>);

struct OpenQuery {
    call: Result<(String, Query), CallError>,
    /// The newest commit when the query was last run. `None` if it was never run.
    ran_at: Option<i64>,
    /// The area whose peers it lists.
    area: Option<Listed>,
    /// The page is full. Later commits come after it, on other pages.
    is_full: bool,
    /// Identifies the result that was sent last.
    sent: Option<u64>,
}

/// The area of a query that lists peers. Such a query depends on no commit.
struct Listed {
    area: Area,
    /// The area's version when the query was last run.
    version: u64,
    /// The number of the look in which it was last run.
    look: u64,
}

impl OpenQuery {
    /// Whether the query of an area has to be run in the look with this number. Within a look it runs once, however
    /// often the area changes.
    fn is_due_in(&self, look: u64, presence: &Presence) -> bool {
        self.area.as_ref().is_some_and(|listed| {
            self.ran_at.is_none() || (listed.look < look && presence.version(&listed.area) != listed.version)
        })
    }

    /// Whether a commit, or that it was never run, makes the query due.
    fn is_due(&self, log: &Log) -> bool {
        if self.area.is_some() {
            return self.ran_at.is_none();
        }
        match (&self.call, self.ran_at) {
            (_, None) => true,
            (Ok(_), Some(_)) if self.is_full => false,
            (Ok((collection, query)), Some(ran_at)) => log.touched(collection, query.scope()) > ran_at,
            (Err(_), Some(_)) => false,
        }
    }
}

impl Queries {
    // The queries are whole whenever the lock is free, so a poisoned lock can be used. A panic while it is held ends
    // the connection.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<QueryId, OpenQuery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any of them has a new result by a commit, or may have one. A change of an area does not count: the driver
    /// [looks](super::Input::Look) at areas in its own time.
    pub fn are_due(&self, log: &Shared) -> bool {
        match self.0.try_lock() {
            Ok(queries) => {
                let log = log.read();
                queries.values().any(|query| query.is_due(&log))
            }
            // The queries are being run, perhaps on an older state of the log.
            Err(_) => true,
        }
    }

    /// Adds and removes queries. Fails if there are too many.
    pub(super) fn modify(
        &self,
        modifications: Vec<QuerySetModification>,
        removed: &mut BTreeSet<QueryId>,
    ) -> Result<(), String> {
        let mut queries = self.lock();
        for modification in modifications {
            match modification {
                QuerySetModification::Add(query) => {
                    if queries.len() >= QUERIES {
                        return Err(format!("More than {QUERIES} queries are open in one connection"));
                    }
                    let call = function::query(&query.udf_path, query.args.get());
                    let area = call.as_ref().ok().and_then(|(collection, query)| query.area(collection));
                    let area = area.map(|area| Listed { area, version: 0, look: 0 });
                    removed.remove(&query.query_id);
                    let open = OpenQuery { call, ran_at: None, area, is_full: false, sent: None };
                    queries.insert(query.query_id, open);
                }
                QuerySetModification::Remove { query_id } => {
                    queries.remove(&query_id);
                    removed.insert(query_id);
                }
            }
        }
        Ok(())
    }

    /// The areas of queries that list peers.
    pub fn areas(&self) -> BTreeSet<Area> {
        self.lock().values().filter_map(|query| Some(query.area.as_ref()?.area.clone())).collect()
    }

    /// Runs all queries again, because the identity of the client may have changed.
    pub(super) fn run_again(&self) {
        for query in self.lock().values_mut() {
            (query.ran_at, query.is_full) = (None, false);
        }
    }

    /// Runs the queries that are due. Returns the results that the client does not have, with their commit. Large
    /// results are left for the next call. `rights` is `None` if the client may not call functions. `look` is the number
    /// of the present look at areas.
    pub(super) fn run(
        &self,
        log: &Shared,
        rights: Option<Rights<'_>>,
        hasher: &RandomState,
        look: u64,
    ) -> (i64, Vec<StateModification<Json>>) {
        let mut results = Vec::new();
        // The queries are locked before the log, as everywhere.
        let mut queries = self.lock();
        let presence = log.presence();
        let most = or_tiny(DOCUMENT_PAGE_BYTES, 200);
        let mut bytes = 0;
        let published = {
            let log = log.read();
            let published = log.published();
            for (id, open) in queries.iter_mut().filter(|(_, open)| open.area.is_none()) {
                if !open.is_due(&log) || bytes > most {
                    continue;
                }
                open.ran_at = Some(published);
                let result = match (&open.call, rights) {
                    (Err(error), _) => Err(error.clone()),
                    (Ok(_), None) => Err(unauthenticated()),
                    (Ok((collection, query)), Some(rights)) => {
                        query.run(collection, rights, &log, presence).map_err(CallError::Refused)
                    }
                };
                bytes += result.as_ref().map_or(0, Answer::bytes);
                open.is_full = matches!(&result, Ok(Answer::Deltas(page, _)) if page.has_more);
                results.push((*id, result));
            }
            published
        };
        // Areas change many times a second, so the application's rule is not asked about them while the log is locked.
        for (id, open) in queries.iter_mut() {
            if !open.is_due_in(look, presence) || bytes > most {
                continue;
            }
            open.ran_at = Some(published);
            let Some(listed) = &mut open.area else { continue };
            // A change between this and the list makes the query due again.
            (listed.version, listed.look) = (presence.version(&listed.area), look);
            let result = match rights {
                None => Err(unauthenticated()),
                Some(rights) => function::list_presence(&listed.area, rights, presence).map_err(CallError::Refused),
            };
            bytes += result.as_ref().map_or(0, Answer::bytes);
            results.push((*id, result));
        }
        let mut modifications = Vec::new();
        for (id, result) in results {
            let modification = modification(id, result);
            let sent = Some(match &modification {
                StateModification::QueryUpdated { value, .. } => hasher.hash_one(value),
                StateModification::QueryFailed { error_message, error_data, .. } => {
                    hasher.hash_one((error_message, error_data))
                }
                StateModification::QueryRemoved { .. } => 0,
            });
            if let Some(query) = queries.get_mut(&id)
                && std::mem::replace(&mut query.sent, sent) != sent
            {
                modifications.push(modification);
            }
        }
        (published, modifications)
    }
}

fn modification(query_id: QueryId, result: Result<Answer, CallError>) -> StateModification<Json> {
    let log_lines = LogLinesMessage(Vec::new());
    match result {
        Ok(answer) => {
            StateModification::QueryUpdated { query_id, value: Value::from(answer).into(), log_lines, journal: None }
        }
        Err(error) => {
            let (error_message, error_data) = error.into_parts();
            let error_data = error_data.map(Json::from);
            StateModification::QueryFailed { query_id, error_message, log_lines, journal: None, error_data }
        }
    }
}
