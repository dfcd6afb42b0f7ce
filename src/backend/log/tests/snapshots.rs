//! Tests of what readers see, and of snapshots in place of changes.

use super::*;

#[test]
fn nothing_is_shown_before_it_is_published() {
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    log.push_changes("c", Rights::ALL, replica.edit(1), 5_000).unwrap();
    assert!(pull(&log, Position::default(), &[10]).is_empty());
    assert_eq!(log.change_stream("c"), StreamState::default());
    assert!(log.pull_changes("c", 0.0, None).documents.is_empty());
    log.publish();
    assert_eq!(pull(&log, Position::default(), &[10]).len(), 1);
    assert_eq!(log.change_stream("c"), StreamState { timestamp: 5_000, count: 1 });
    assert_eq!(log.pull_changes("c", 0.0, None).documents.len(), 1);
}

#[test]
fn a_snapshot_stands_for_the_changes_it_replaced() {
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    let mut records = Vec::new();
    let mut pushes = Vec::new();
    for value in 0..10 {
        let args = replica.edit(value);
        pushes.push(args.clone());
        records.extend(log.push_changes("c", Rights::ALL, args, 0).unwrap().records);
    }
    log.publish();
    let before: Vec<_> = pull(&log, Position::default(), &[4]).into_iter().map(|delta| delta.position).collect();
    records.extend(log.compact(&"c".into(), &DocumentId::new("d"), 3).unwrap());
    for log in [&mut log, &mut restored("epoch", &records)] {
        let after: Vec<_> = pull(log, Position::default(), &[4]).into_iter().map(|delta| delta.position).collect();
        assert_eq!(after, before[6..], "at the place of the last change it covers");
        assert_eq!(pull(log, before[2], &[4]).len(), 4, "a reader in the middle is given the snapshot");
        assert_eq!(pull(log, before[7], &[4]).len(), 2, "one after it is not sent old news");
        // The log still knows the replaced changes.
        for args in &pushes {
            let repeated = log.push_changes("c", Rights::ALL, args.clone(), 0).unwrap();
            assert!(repeated.answer[0].1.is_ok() && repeated.records.is_empty());
        }
        let mut impostor = Replica::new(1);
        let refused = log.push_changes("c", Rights::ALL, impostor.edit(99), 0).unwrap();
        assert_eq!(refused.answer[0].1.as_ref().unwrap_err().code, RefusalCode::ReusedSequence);
        assert_eq!(pull(log, Position::default(), &[4]).len(), 4);
    }
}

#[test]
fn a_snapshot_over_one_row_is_kept_in_parts_that_no_reader_gets_half_of() {
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    let mut records = Vec::new();
    for seed in 1..9 {
        records.extend(log.push_changes("c", Rights::ALL, noise(&mut replica, seed), 0).unwrap().records);
    }
    log.publish();
    let before: Vec<_> = pull(&log, Position::default(), &[4]).into_iter().map(|delta| delta.position).collect();
    records.extend(log.compact(&"c".into(), &DocumentId::new("d"), 2).unwrap());
    let rows = |log: &Log| pull(log, Position::default(), &[1]);
    let parts = rows(&log).len() - 2;
    assert!((3..6).contains(&parts), "{parts} parts");
    for mut log in [log, restored("epoch", &records)] {
        let after = rows(&log);
        assert_eq!(after.len(), parts + 2);
        assert_eq!(after[parts - 1].position, before[5], "the last part has the place of the last change");
        for (index, delta) in after[..parts].iter().enumerate() {
            let part = delta.part.as_ref().unwrap();
            assert_eq!((part.index as usize, part.count as usize), (index, parts));
        }
        assert_eq!(assembled(&after).get_heads(), replica.document.get_heads());
        for (index, position) in before.iter().enumerate() {
            let wanted = if index < 5 { parts + 2 } else { 7 - index };
            assert_eq!(pull(&log, *position, &[1]).len(), wanted, "a reader at change {index}");
        }
        // The document gets more changes, and then another snapshot in place of this one.
        let mut more = Vec::new();
        for seed in 10..16 {
            let mut replica = Replica { document: replica.document.fork(), pushed: replica.pushed.clone() };
            more.extend(log.push_changes("c", Rights::ALL, noise(&mut replica, seed), 0).unwrap().records);
        }
        log.publish();
        let all = rows(&log);
        let heads = assembled(&all).get_heads();
        assert_eq!(heads.len(), 6);
        more.extend(log.compact(&"c".into(), &DocumentId::new("d"), 0).unwrap());
        let fewer = rows(&log);
        assert!(fewer.len() < all.len(), "{} rows were {}", fewer.len(), all.len());
        assert_eq!(assembled(&fewer).get_heads(), heads);
        assert!(pull(&log, all[all.len() - 1].position, &[1]).is_empty(), "nobody up to date is sent anything");
        let everything: Vec<_> = records.iter().chain(&more).cloned().collect();
        let again = restored("epoch", &everything);
        assert_eq!(rows(&again).len(), fewer.len());
        assert_eq!(again.changes(), log.changes());
    }
}

#[test]
fn the_longer_a_document_is_the_more_changes_wait_for_its_next_snapshot() {
    use super::super::compact::rows_worth_compacting;
    // Making a snapshot takes time in proportion to the history. With one snapshot for each change the time would grow
    // with the square of the history.
    let (mut history, mut made) = (0, 0);
    let bytes_per_change = 4;
    while history < 1_000_000 {
        history += rows_worth_compacting(history * bytes_per_change);
        made += history;
    }
    assert!(made < 100 * history, "{made} changes were gone through for {history}");
}

#[test]
fn a_snapshot_has_the_author_that_all_its_changes_have_and_otherwise_none() {
    let [ada, eve] = ["ada", "eve"].map(|name| crate::record::UserId::new("replicate", name));
    let mut log = Log::new("epoch");
    let mut replica = Replica::new(1);
    let mut write = |log: &mut Log, user: &crate::record::UserId| {
        for value in 0..8 {
            let rights = Rights { user: Some(user), ..Rights::ALL };
            log.push_changes("c", rights, replica.edit(value), 0).unwrap();
        }
        log.publish();
        log.compact(&"c".into(), &DocumentId::new("d"), 2).unwrap();
        let document = &log.collections["c"].documents[&DocumentId::new("d")];
        assert!(document.snapshot.is_some());
        log.collections["c"].rows.get(&document.rows[0]).unwrap().author.clone()
    };
    assert_eq!(write(&mut log, &ada), Some(ada.clone()));
    assert_eq!(write(&mut log, &eve), None);
    assert_eq!(write(&mut log, &eve), None, "a snapshot of several users' changes stays nobody's");
}
