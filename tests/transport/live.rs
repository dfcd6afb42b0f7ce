//! Pushing, following and catching up with a running backend of either kind (see [`host`](crate::host)).

use bevy_convex_replicate::{
    CollectionIndex,
    replica::{FromBackend, Position, RefusalCode, ToBackend},
    transport::{Notice, Request},
};

use crate::{
    documents::{TASKS, bytes, document, ids, large_document},
    rig::{Rig, Server},
};

const START: Position = Position { ts: 0, ordinal: 0 };

#[tokio::test]
async fn a_pushed_change_reaches_a_follower_as_a_page() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    let mut bob = Rig::start(&server.url(), None);
    bob.subscribe(START);
    let empty = bob.page().await;
    assert_eq!((empty.from, empty.to, empty.has_more, empty.rows.len()), (START, START, false, 0));
    ada.connected().await;
    let mut at = START;
    for text in ["one", "two", "three"] {
        let document = document(text, text);
        let answer = ada.push(std::slice::from_ref(&document)).await;
        // A log may get its name with the first push.
        assert!(empty.epoch.is_empty() || answer.epoch == empty.epoch);
        let page = bob.page().await;
        assert_eq!((page.from, page.epoch.as_str()), (at, answer.epoch.as_str()));
        assert_eq!(ids(&page.rows), [text]);
        assert_eq!(page.rows[0].bytes, bytes(&document));
        at = page.to;
    }
}

#[tokio::test]
async fn a_client_that_pushes_and_follows_gets_the_answer_and_the_page() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    ada.subscribe(START);
    ada.page().await;
    ada.request_push(&[document("a", "x")]);
    let (mut answered, mut paged) = (false, false);
    ada.until("both", |notice| {
        match notice {
            Notice::Backend(FromBackend::Answered(answer)) => {
                answered = answer.results.iter().all(|(_, result)| result.is_ok())
            }
            Notice::Backend(FromBackend::Page(page)) => paged = ids(&page.rows) == ["a"],
            _ => {}
        }
        (answered && paged).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_commits_come_once_each_while_subscriptions_give_way_to_others() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    let mut bob = Rig::start(&server.url(), None);
    bob.subscribe(START);
    bob.page().await;
    ada.connected().await;
    let names: Vec<_> = (0..150).map(|index| format!("{index:03}")).collect();
    for name in &names {
        ada.push(&[document(name, "x")]).await;
    }
    let (rows, at) = bob.rows(START, names.len()).await;
    assert_eq!(ids(&rows), names);
    // The log is idle long enough that the subscription is replaced by an empty one, and still no change is missed.
    let mut eve = Rig::start(&server.url(), None);
    eve.subscribe(at);
    assert!(eve.page().await.rows.is_empty());
    ada.push(&[document("last", "x")]).await;
    assert_eq!(ids(&bob.rows(at, 1).await.0), ["last"]);
    assert_eq!(ids(&eve.rows(at, 1).await.0), ["last"]);
}

#[tokio::test]
async fn pages_wait_at_the_deployment_until_they_are_taken() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    ada.connected().await;
    // Each document nearly fills a page.
    for index in 0..20 {
        ada.push(&[
            large_document(&format!("{index:02}"), 250 * 1024),
            large_document(&format!("{index:02}+"), 250 * 1024),
        ])
        .await;
    }
    let mut bob = Rig::start(&server.url(), None);
    bob.subscribe(START);
    // The transport reads pages until there is no room for another one, whose answer would let this change through.
    ada.push(&[document("last", "x")]).await;
    let (rows, _) = bob.rows(START, 41).await;
    assert_eq!(rows.last().unwrap().id.as_str(), "last");
}

#[tokio::test]
async fn a_large_change_goes_up_and_comes_down_in_parts() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    let mut bob = Rig::start(&server.url(), None);
    bob.subscribe(START);
    bob.page().await;
    ada.connected().await;
    let documents = [document("small", "x"), large_document("large", 3 * 1024 * 1024), document("tiny", "y")];
    ada.push(&documents).await;
    let parts = bytes(&documents[1]).len().div_ceil(256 * 1024);
    let (rows, _) = bob.rows(START, parts + 2).await;
    let large: Vec<_> = rows.iter().filter(|row| row.id.as_str() == "large").collect();
    assert!(
        large.iter().enumerate().all(|(index, row)| row.part.as_ref().is_some_and(|part| part.index as usize == index))
    );
    let whole: Vec<u8> = large.iter().flat_map(|row| row.bytes.iter().copied()).collect();
    assert!(whole == bytes(&documents[1]), "the parts make the whole");
}

#[tokio::test]
async fn a_refused_document_leaves_the_others_alone() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    ada.connected().await;
    let mut broken = document("broken", "x");
    broken.changes[0].1 = b"no change at all".as_slice().into();
    ada.request_push(&[document("a", "x"), broken, document("b", "x")]);
    let results = ada
        .until("an answer", |notice| match notice {
            Notice::Backend(FromBackend::Answered(answer)) => Some(answer.results),
            _ => None,
        })
        .await;
    assert_eq!(results[0].1, Ok(()));
    assert_eq!(results[1].1.as_ref().unwrap_err().code, RefusalCode::InvalidChange);
    assert_eq!(results[2].1, Ok(()));
}

#[tokio::test]
async fn a_checkpoint_that_the_log_does_not_know_is_refused_and_the_start_is_not() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    ada.subscribe(Position { ts: i64::MAX, ordinal: 0 });
    let refusal = ada
        .until("a refusal", |notice| match notice {
            Notice::Backend(FromBackend::PullRefused { collection: TASKS, refusal }) => Some(refusal),
            _ => None,
        })
        .await;
    assert_eq!(refusal.code, RefusalCode::CheckpointUnknown);
    ada.subscribe(START);
    assert!(ada.page().await.rows.is_empty());
}

#[tokio::test]
async fn subscribing_again_starts_from_there() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    ada.connected().await;
    ada.push(&[document("a", "x")]).await;
    for _ in 0..3 {
        ada.subscribe(START);
        assert_eq!(ids(&ada.rows(START, 1).await.0), ["a"]);
    }
}

#[tokio::test]
async fn the_number_of_documents_is_told() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::start(&server.url(), None);
    ada.connected().await;
    ada.push(&(0..5).map(|index| document(&index.to_string(), "x")).collect::<Vec<_>>()).await;
    let mut bob = Rig::start(&server.url(), None);
    let count = |notice| match notice {
        Notice::Count { collection: TASKS, documents } => Some(documents),
        _ => None,
    };
    assert_eq!(bob.until("a count", count).await, 5);
}

#[tokio::test]
async fn more_collections_than_may_be_open_at_once_are_all_read() {
    let names: Vec<_> = (0..40).map(|index| format!("c{index}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let server = Server::of_choice(&names);
    let mut ada = Rig::with_collections(&server.url(), None, &names);
    for index in 0..40 {
        ada.transport.request(Request::Backend(ToBackend::Subscribe {
            collection: CollectionIndex(index),
            checkpoint: START.into(),
        }));
    }
    let mut read = std::collections::BTreeSet::new();
    ada.until("a page of each", |notice| {
        if let Notice::Backend(FromBackend::Page(page)) = notice {
            read.insert(page.collection);
        }
        (read.len() == 40).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_collection_whose_name_cannot_be_a_modules_is_refused_and_the_rest_goes_on() {
    let server = Server::of_choice(&["tasks"]);
    let mut ada = Rig::with_collections(&server.url(), None, &["no module!", "tasks"]);
    let tasks = CollectionIndex(1);
    for collection in [TASKS, tasks] {
        ada.transport.request(Request::Backend(ToBackend::Subscribe { collection, checkpoint: START.into() }));
    }
    let (mut refused, mut read) = (None, false);
    ada.until("both", |notice| {
        match notice {
            Notice::Backend(FromBackend::PullRefused { collection: TASKS, refusal }) => refused = Some(refusal.code),
            Notice::Backend(FromBackend::Page(page)) => read = page.collection == tasks,
            _ => {}
        }
        (refused.is_some() && read).then_some(())
    })
    .await;
    assert_eq!(refused, Some(RefusalCode::BadName));
    ada.request_push(&[document("a", "x")]);
    let refused = |notice| match notice {
        Notice::Backend(FromBackend::PushRefused { collection: TASKS, refusal, .. }) => Some(refusal.code),
        _ => None,
    };
    assert_eq!(ada.until("a refusal", refused).await, RefusalCode::BadName);
}

/// More than `convex/host` serves in a reasonable time, because it reads each row for each query.
mod embedded {
    use super::*;

    #[tokio::test]
    async fn a_backlog_of_thousands_of_rows_arrives_in_pages() {
        let server = Server::start();
        let mut ada = Rig::start(&server.url(), None);
        ada.connected().await;
        let names: Vec<_> = (0..2_500).map(|index| format!("{index:04}")).collect();
        for names in names.chunks(100) {
            let documents: Vec<_> = names.iter().map(|name| document(name, "x")).collect();
            ada.push(&documents).await;
        }
        let mut bob = Rig::start(&server.url(), None);
        bob.subscribe(START);
        let (mut rows, mut at, mut pages) = (Vec::new(), START, 0);
        loop {
            let page = bob.page().await;
            assert_eq!(page.from, at);
            at = page.to;
            rows.extend(page.rows);
            pages += 1;
            if !page.has_more {
                break;
            }
        }
        assert!(pages >= 3);
        let mut got = ids(&rows);
        got.sort_unstable();
        assert_eq!(got, names);
        ada.push(&[document("news", "x")]).await;
        assert_eq!(ids(&bob.rows(at, 1).await.0), ["news"]);
    }
}
