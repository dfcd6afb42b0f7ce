//! A random number of writers, compactions and restarts, with a reader that must always have every change.

use proptest::prelude::*;

use super::{super::row::TableRow, *};

#[derive(Clone, Debug)]
enum Step {
    /// A replica edits and pushes.
    Edit(u8, i64),
    /// A replica takes in the changes of the log.
    Merge(u8),
    /// A replica writes a document of its own.
    Other(u8),
    Publish,
    /// Compacts, except for this many rows.
    Compact(u8),
    Restart,
    /// The reader pulls the new rows.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u8, any::<i64>()).prop_map(|(replica, value)| Step::Edit(replica, value)),
        2 => (0..3u8).prop_map(Step::Merge),
        2 => any::<u8>().prop_map(Step::Other),
        3 => Just(Step::Publish),
        2 => (0..4u8).prop_map(Step::Compact),
        1 => Just(Step::Restart),
        3 => Just(Step::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn readers_get_every_change_in_order_whatever_happens(
        steps in prop::collection::vec(step(), 1..60),
        limits in prop::collection::vec(1..5u8, 1..4),
        times in prop::collection::vec(0..1_000i64, 1..8),
    ) {
        let mut log = Log::new("epoch");
        let mut replicas: Vec<_> = (1..4).map(Replica::new).collect();
        let (mut others, mut records) = (BTreeSet::new(), Vec::new());
        let mut reader: BTreeMap<DocumentId, Automerge> = BTreeMap::new();
        let (mut at, mut clock) = (Position::default(), times.iter().cycle());
        for step in steps.into_iter().chain([Step::Publish, Step::Read]) {
            let now = *clock.next().unwrap();
            match step {
                Step::Edit(replica, value) => {
                    let args = replicas[usize::from(replica)].edit(value);
                    let committed = log.push_changes("c", Rights::ALL, args, now).unwrap();
                    prop_assert!(committed.answer[0].1.is_ok(), "{:?}", committed.answer);
                    records.extend(committed.records);
                }
                Step::Merge(replica) => {
                    log.publish();
                    replicas[usize::from(replica)].merge(&log);
                }
                Step::Other(number) => {
                    let id = format!("o{number}");
                    if others.insert(id.clone()) {
                        let mut replica = Replica::new(9);
                        replica.edit(i64::from(number));
                        let changes = replica.document.get_changes(&[]);
                        let args = push(&id, changes.iter().map(|change| change.raw_bytes().to_vec()));
                        records.extend(log.push_changes("c", Rights::ALL, args, now).unwrap().records);
                    }
                }
                Step::Publish => log.publish(),
                Step::Compact(tail) => {
                    records.extend(log.compact(&"c".into(), &DocumentId::new("d"), usize::from(tail)).unwrap());
                }
                Step::Restart => {
                    log = restored("epoch", &records);
                }
                Step::Read => {
                    for delta in pull(&log, at, &limits) {
                        prop_assert!(delta.position > at, "in order");
                        at = delta.position;
                        // Every change comes after its dependencies.
                        let document = reader.entry(delta.document).or_default();
                        document.load_incremental(&delta.bytes).unwrap();
                        prop_assert!(document.get_missing_deps(&[]).is_empty());
                    }
                }
            }
            prop_assert_eq!(log.size(), counted(&log));
        }
        // The reader, a new reader and the table agree with the log.
        let mut fresh: BTreeMap<DocumentId, Automerge> = BTreeMap::new();
        for delta in pull(&log, Position::default(), &limits) {
            fresh.entry(delta.document).or_default().load_incremental(&delta.bytes).unwrap();
        }
        let rows = log.rows("c");
        prop_assert_eq!(rows.len(), fresh.len());
        for (id, row) in rows {
            prop_assert_eq!(fresh[&id].get_heads(), reader[&id].get_heads());
            let TableRow { fields, .. } = TableRow::new(merge::fields(&fresh[&id]).unwrap(), &id);
            let convex::Value::Object(mut row) = row else { panic!("a row is an object") };
            prop_assert_eq!(row.remove("version"), Some(convex::Value::Float64(fresh[&id].get_changes(&[]).len() as f64)));
            row.remove("id");
            row.remove("timestamp");
            prop_assert_eq!(row, fields);
        }
        for replica in &mut replicas {
            let heads = replica.document.get_heads();
            let has_all = fresh.get(&DocumentId::new("d")).is_some_and(|document| {
                heads.iter().all(|head| document.get_change_by_hash(head).is_some())
            });
            prop_assert!(heads.is_empty() || has_all);
        }
    }

    #[test]
    fn time_only_goes_forward(times in prop::collection::vec(any::<i32>(), 1..20)) {
        let mut log = Log::new("epoch");
        let mut replica = Replica::new(1);
        let mut last = 0;
        for (value, now) in times.into_iter().enumerate() {
            let committed = log.push_changes("c", Rights::ALL, replica.edit(value as i64), i64::from(now)).unwrap();
            prop_assert!(committed.ts > last);
            last = committed.ts;
        }
    }
}
