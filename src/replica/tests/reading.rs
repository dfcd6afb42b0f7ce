//! Reading a log: its identity, and its incomplete chunks.

use super::*;

#[test]
fn another_log_is_pulled_from_the_start_and_offered_everything() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.handle(Event::Backend(FromBackend::Page(page(0, 9, &[]))));
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    peer.subscribed.clear();
    peer.handle(Event::Backend(FromBackend::Page(Page { epoch: "wiped".into(), ..page(9, 9, &[]) })));
    assert_eq!(peer.subscribed, [Checkpoint::default()]);
    assert_eq!(peer.pushes.last().unwrap().documents[0].id.as_str(), "a");
    assert_eq!(peer.pushes.len(), 2);
}

#[test]
fn a_log_that_gets_its_name_with_the_first_push_is_the_same_log() {
    let mut peer = Peer::new(1);
    peer.handle(Event::Connected);
    peer.handle(Event::Backend(FromBackend::Page(Page { epoch: String::new(), ..page(0, 0, &[]) })));
    peer.put("a", 0, &task("one"));
    peer.subscribed.clear();
    peer.accept();
    assert_eq!(peer.sent.len(), 1);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 9, &[("a", &peer.made()[0])]))));
    assert_eq!((peer.pushes.len(), &*peer.subscribed), (1, &[][..]), "nothing is offered or asked for again");
    peer.put("b", 0, &task("two"));
    peer.accept();
    assert_eq!((peer.pushes.len(), peer.sent.len()), (2, 2));
    assert_eq!(peer.checkpoint_at(), Some(at(9)));
}

#[test]
fn a_log_that_another_gives_its_name_is_the_same_log() {
    let mut peer = Peer::new(1);
    peer.handle(Event::Connected);
    peer.handle(Event::Backend(FromBackend::Page(Page { epoch: String::new(), ..page(0, 0, &[]) })));
    peer.put("a", 0, &task("one"));
    peer.subscribed.clear();
    peer.handle(Event::Backend(FromBackend::Page(page(0, 9, &[]))));
    assert!(peer.subscribed.is_empty());
    peer.accept();
    assert_eq!((peer.pushes.len(), peer.sent.len()), (1, 1));
}

#[test]
fn a_log_that_went_back_is_pulled_from_the_start_and_offered_everything() {
    let mut peer = Peer::connected(1);
    peer.put("a", 0, &task("one"));
    peer.accept();
    peer.handle(Event::Backend(FromBackend::Page(page(0, 9, &[]))));
    peer.subscribed.clear();
    let refusal = Refusal::new("checkpointUnknown", "ahead of the log");
    peer.handle(Event::Backend(FromBackend::PullRefused { collection: TASKS, refusal }));
    assert_eq!(peer.subscribed, [Checkpoint::default()]);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 0, &[]))));
    assert_eq!(peer.pushes.len(), 2);
}

#[test]
fn a_page_that_does_not_continue_what_was_taken_in_is_left_alone() {
    let (first, _) = pair();
    let mut peer = Peer::connected(3);
    peer.handle(Event::Backend(FromBackend::Page(page(7, 9, &[]))));
    assert_ne!(peer.checkpoint_at(), Some(at(9)));
    drop(first);
}

#[test]
fn the_checkpoint_waits_for_the_last_part_of_a_chunk() {
    let mut author = Peer::connected(1);
    author.put("a", 0, &task("in two parts"));
    author.put("b", 0, &task("whole"));
    author.accept();
    let made = author.made();
    let (left, right) = made[0].split_at(40);
    let part = |index| Some(Part { hash: chunk_hash(&made[0]).0, index, count: 2 });
    let row = |id: &str, ts, bytes: &[u8], part| PulledChunk {
        id: DocumentId::new(id),
        position: at(ts),
        bytes: bytes.to_vec(),
        part,
        author: None,
    };
    let mut peer = Peer::connected(2);
    let rows = vec![row("a", 4, left, part(0)), row("b", 5, &made[1], None)];
    peer.handle(Event::Backend(FromBackend::Page(Page { rows, ..page(0, 5, &[]) })));
    assert_eq!(peer.last().2, Some(task("whole")));
    assert_eq!(peer.checkpoint_at(), Some(at(0)));
    peer.handle(Event::Backend(FromBackend::Page(Page { rows: vec![row("a", 6, right, part(1))], ..page(5, 6, &[]) })));
    assert_eq!(peer.last().2, Some(task("in two parts")));
    assert_eq!(peer.checkpoint_at(), Some(at(6)));
}

#[test]
fn a_damaged_change_is_reported_and_the_others_go_on() {
    let (first, _) = pair();
    let good = first.chunks[&DocumentId::new("a")][0].0.to_vec();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let mut peer = Peer::connected(2);
    peer.handle(Event::Backend(FromBackend::Page(page(0, 1, &[("b", &bad), ("a", &good)]))));
    assert_eq!(peer.failures, [FailureKind::Damaged]);
    assert_eq!(peer.last().2, Some(task("start")));
}

#[test]
fn a_page_that_waits_when_the_connection_ends_is_asked_for_again() {
    let mut first = Peer::connected(1);
    first.put("a", 0, &task("start"));
    let made = first.made();
    let mut second = Peer::new(2);
    second.handle(Event::Connected);
    second.replica.handle(Event::Backend(FromBackend::Page(page(0, 1, &[("a", &made[0])]))), 0);
    // The store has not yet answered the question about this log.
    second.replica.handle(Event::Disconnected, 0);
    let effects: Vec<Effect> = std::iter::from_fn(|| second.replica.poll()).collect();
    let again = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Backend(ToBackend::Subscribe { checkpoint, .. }) if checkpoint.position == at(0)));
    assert!(again, "{effects:?}");
}

#[test]
fn pages_of_logs_that_keep_changing_their_names_do_not_pile_up() {
    let (first, second) = pair();
    let made = first.chunks[&DocumentId::new("a")][0].0.to_vec();
    let mut peer = Peer::connected(3);
    let id = DocumentId::new("a");
    let value = second.delivered[0].value.clone().unwrap();
    let heads = vec![automerge::ChangeHash([1; 32])];
    peer.handle(Event::Opened { collection: TASKS, documents: vec![StoredDocument { id, heads, value }] });
    for epoch in ["wiped", "epoch"].repeat(50) {
        // All pages have news of a document that the store reads slowly, while the store's other answers come.
        let news = Page { epoch: epoch.into(), ..page(0, 9, &[("a", &made)]) };
        peer.replica.handle(Event::Backend(FromBackend::Page(news)), 0);
        while let Some(effect) = peer.replica.poll() {
            if !matches!(effect, Effect::Store(StoreRequest::Load(_)))
                && let Some(answer) = peer.carry_out(effect)
            {
                peer.replica.handle(answer, 0);
            }
        }
        let held = match &peer.replica.remote.stage {
            remote::Stage::Identifying { held } => held.len(),
            _ => 0,
        };
        let waiting = (held, peer.replica.pages.len());
        assert!(waiting.0 < 2 && waiting.1 < 2, "{waiting:?}");
    }
    assert_eq!(peer.replica.pages.len(), 1, "the newest waits");
}

#[test]
fn a_document_with_a_change_that_the_store_refused_stays_in_memory() {
    for is_lost in [true, false] {
        let mut peer = Peer::connected(1);
        peer.put("a", 0, &task("one"));
        if is_lost {
            peer.handle(Event::Lost(DocumentKey { collection: TASKS, id: DocumentId::new("a") }));
        }
        peer.chunks.clear();
        for number in 0..600 {
            peer.put(&format!("{number}"), 0, &task("another"));
        }
        peer.put("a", 0, &task("one, two"));
        let (bytes, _) = &peer.chunks[&DocumentId::new("a")][0];
        let change = automerge::Change::from_bytes(bytes.to_vec()).unwrap();
        assert_eq!(!change.deps().is_empty(), is_lost, "another one is let go, and read again");
    }
}

#[test]
fn the_backend_counts_as_read_when_its_last_page_is_taken_in_and_not_while_documents_are_loaded() {
    let (first, mut second) = pair();
    let _ = first;
    assert_eq!(second.reads_told, 2, "the empty log, and the document");
    let mut more = page(1, 2, &[]);
    more.has_more = true;
    second.handle(Event::Backend(FromBackend::Page(more)));
    assert_eq!(second.reads_told, 2, "there is more");
    second.handle(Event::Backend(FromBackend::Page(page(2, 3, &[]))));
    assert_eq!(second.reads_told, 3);
    // The name of another log is looked up first, and so is the name of the same log after the connection ended.
    second.handle(Event::Disconnected);
    second.handle(Event::Connected);
    second.handle(Event::Backend(FromBackend::Page(page(3, 3, &[]))));
    assert_eq!(second.reads_told, 4);
}

#[test]
fn a_page_of_a_former_connection_does_not_count_as_all_that_there_is() {
    let (mut first, second) = pair();
    let state = RemoteState {
        remote: Some(RemoteId(1)),
        checkpoints: vec![at(1).into()],
        unsent: vec![Vec::new()],
        ..RemoteState::default()
    };
    first.put("a", 0, &task("start and more"));
    let others = first.made();
    // A run on the store of the second, in which nothing is loaded yet.
    let mut peer = Peer::new(3);
    peer.chunks = second.chunks.clone();
    let id = DocumentId::new("a");
    let stored = StoredDocument {
        id,
        heads: vec![change_hash(&peer.chunks[&DocumentId::new("a")][0].0).unwrap()],
        value: Value::Map(BTreeMap::new()),
    };
    peer.handle(Event::Opened { collection: TASKS, documents: vec![stored] });
    peer.handle(Event::Remote { epoch: Some("epoch".into()), state });
    peer.handle(Event::Connected);
    peer.loads_wait = true;
    peer.handle(Event::Backend(FromBackend::Page(page(1, 2, &[("a", &others[0])]))));
    assert_eq!(peer.reads_told, 0, "the document is being loaded");
    peer.handle(Event::Disconnected);
    peer.handle(Event::Connected);
    peer.loads_wait = false;
    for event in std::mem::take(&mut peer.reads) {
        peer.handle(event);
    }
    assert_eq!(peer.last().2, Some(task("start and more")));
    assert_eq!(peer.reads_told, 0, "the new connection has told nothing yet");
    peer.handle(Event::Backend(FromBackend::Page(page(2, 2, &[]))));
    assert_eq!(peer.reads_told, 1);
}

#[test]
fn an_edit_is_reported_with_the_fields_it_changed() {
    let (mut peer, _) = pair();
    peer.compared.clear();
    peer.put("a", 0, &Task { done: true, ..task("start") });
    peer.put("a", 0, &Task { done: true, ..task("start") });
    peer.edit("a", 0, EditKind::put((Value::Null, 1)));
    assert_eq!(peer.compared, [vec!["done".to_owned()], vec![], vec![]]);
    assert_eq!(peer.failures, [FailureKind::Unwritable]);
}

#[test]
fn a_document_of_a_hundred_levels_is_shown_as_far_as_it_goes_and_edited_beside_it() {
    use automerge::{ObjType, ROOT, transaction::Transactable};
    let mut document = AutoCommit::new();
    for (name, value) in [("id", "deep"), ("text", "deep")] {
        let text = document.put_object(ROOT, name, ObjType::Text).unwrap();
        document.splice_text(&text, 0, 0, value).unwrap();
    }
    document.put(ROOT, "done", false).unwrap();
    document.put(ROOT, "votes", automerge::ScalarValue::counter(0)).unwrap();
    let mut place = ROOT;
    for _ in 0..100 {
        place = document.put_object(&place, "in", ObjType::Map).unwrap();
    }
    document.put(&place, "end", true).unwrap();
    document.commit();
    let change = document.get_last_local_change().unwrap().raw_bytes().to_vec();
    let (good, _) = pair();
    let mut peer = Peer::connected(3);
    let others = good.chunks[&DocumentId::new("a")][0].0.to_vec();
    peer.handle(Event::Backend(FromBackend::Page(page(0, 1, &[("deep", &change), ("a", &others)]))));
    assert_eq!(peer.delivered.len(), 2);
    assert!(peer.failures.is_empty());
    peer.apply("deep", 1);
    peer.put("deep", 1, &Task { done: true, ..task("deep") });
    peer.accept();
    // The document still has the levels that no type here reads.
    let all: Vec<u8> = peer.chunks[&DocumentId::new("deep")].iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
    let stored = AutoCommit::load(&all).unwrap();
    let mut place = ROOT;
    for _ in 0..100 {
        place = stored.get(&place, "in").unwrap().unwrap().1;
    }
    assert!(stored.get(&place, "end").unwrap().is_some());
    assert_eq!(stored.get(ROOT, "done").unwrap().unwrap().0.as_bool(), Some(true));
}
