use bevy_convex_replicate::{
    DocumentId,
    store::{RemoteId, Store, Write},
};

use crate::author::{Author, commit, hashes, names, open, store};

fn unsent(store: &Store, remote: Option<RemoteId>) -> Vec<String> {
    let found = store.unsent("tasks", remote, usize::MAX).unwrap();
    assert_eq!(store.unsent_count("tasks", remote).unwrap(), found.len());
    names(&found).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_document_is_unsent_until_the_remote_has_all_of_its_changes() {
    let (folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    let (first, second) = (a.edit("title", 1), a.edit("done", 2));
    commit(&mut store, &first);
    commit(&mut store, &second);
    commit(&mut store, &a.receive(remote, "title", 3));
    assert_eq!(unsent(&store, Some(remote)), ["a"]);

    let document = store.unsent_chunks("tasks", &a.id, Some(remote)).unwrap();
    let found: Vec<_> = document.chunks.iter().map(|change| change.hash).collect();
    assert_eq!(found, [hashes(&first), hashes(&second)].concat());
    assert_eq!(document.chunks[0].bytes, first.chunks[0].bytes);
    assert_eq!(document.chunks[0].fields.as_deref(), Some(&["title".to_owned()][..]));
    assert_eq!(document.chunks[1].fields.as_deref(), Some(&["done".to_owned()][..]));
    assert_eq!(document.heads, a.document.get_heads());
    a.assert_stored(&store);

    store.commit(&[a.sent(remote, hashes(&first))]).unwrap();
    assert_eq!(unsent(&store, Some(remote)), ["a"]);
    drop(store);
    let mut store = open(&folder);
    assert_eq!(store.unsent_chunks("tasks", &a.id, Some(remote)).unwrap().chunks.len(), 1);
    store.commit(&[a.sent(remote, hashes(&second))]).unwrap();
    assert!(unsent(&store, Some(remote)).is_empty());
    assert!(store.unsent_chunks("tasks", &a.id, Some(remote)).unwrap().chunks.is_empty());
}

#[test]
fn changes_from_a_remote_are_not_sent_back_to_it() {
    let (_folder, mut store) = store();
    let remote = store.remote("https://a.example", "1").unwrap();
    let mut a = Author::new("tasks", "a");
    commit(&mut store, &a.receive(remote, "title", 1));
    assert!(unsent(&store, Some(remote)).is_empty());
    a.assert_stored(&store);
}

#[test]
fn switching_to_another_remote_and_back_offers_everything_each_time() {
    let (_folder, mut store) = store();
    let mut authors: Vec<Author> = ["a", "b", "c"].iter().map(|name| Author::new("tasks", name)).collect();
    let one = store.remote("https://a.example", "1").unwrap();
    commit(&mut store, &authors[0].edit("title", 1));
    commit(&mut store, &authors[1].receive(one, "title", 1));
    commit(&mut store, &authors[2].edit("title", 1));
    let send_all = |store: &mut Store, remote| {
        for id in store.unsent("tasks", Some(remote), usize::MAX).unwrap() {
            let document = store.unsent_chunks("tasks", &id, Some(remote)).unwrap();
            let changes = document.chunks.iter().map(|change| change.hash).collect();
            store.commit(&[Write::Sent { remote, collection: "tasks".into(), id, changes }]).unwrap();
        }
        assert!(unsent(store, Some(remote)).is_empty());
    };
    assert_eq!(unsent(&store, Some(one)), ["a", "c"]);
    send_all(&mut store, one);

    let two = store.remote("https://a.example", "2").unwrap();
    assert_eq!(unsent(&store, Some(two)), ["a", "b", "c"]);
    // The fields that another remote reported are not known for the chunks that it sent: those of b are unknown.
    let fields = |name| {
        let document = store.unsent_chunks("tasks", &DocumentId::new(name), Some(two)).unwrap();
        document.chunks[0].fields.clone()
    };
    assert_eq!(fields("a").as_deref(), Some(&["title".to_owned()][..]));
    assert_eq!(fields("b"), None);
    send_all(&mut store, two);

    assert_eq!(store.remote("https://a.example", "1").unwrap(), one);
    assert_eq!(unsent(&store, Some(one)), ["a", "b", "c"]);
    send_all(&mut store, one);
    assert_eq!(unsent(&store, Some(two)), ["a", "b", "c"]);
}

#[test]
fn everything_is_unsent_before_any_remote_is_known() {
    let (_folder, mut store) = store();
    let (mut a, mut b) = (Author::new("tasks", "a"), Author::new("tasks", "b"));
    commit(&mut store, &a.edit("title", 1));
    assert_eq!(unsent(&store, None), ["a"]);
    let remote = store.remote("https://a.example", "1").unwrap();
    commit(&mut store, &b.receive(remote, "title", 1));
    assert_eq!(unsent(&store, None), ["a", "b"]);
    assert_eq!(store.unsent_chunks("tasks", &b.id, None).unwrap().chunks.len(), 1);
}

#[test]
fn documents_with_the_oldest_unsent_change_come_first() {
    let (_folder, mut store) = store();
    let one = store.remote("https://a.example", "1").unwrap();
    let two = store.remote("https://a.example", "2").unwrap();
    let mut authors: Vec<Author> = ["d", "a", "c", "b", "e"].iter().map(|name| Author::new("tasks", name)).collect();
    // The holders are mixed, and each document has a second, newer change.
    for (index, author) in authors.iter_mut().enumerate() {
        let write = if index % 2 == 0 { author.edit("title", 1) } else { author.receive(one, "title", 1) };
        commit(&mut store, &write);
    }
    for author in authors.iter_mut().rev() {
        commit(&mut store, &author.edit("title", 2));
    }
    let all = ["d", "a", "c", "b", "e"];
    assert_eq!(unsent(&store, Some(two)), all);
    assert_eq!(unsent(&store, None), all);
    // For the first remote, the documents that it sent are ordered by their second change.
    assert_eq!(unsent(&store, Some(one)), ["d", "c", "e", "b", "a"]);
    for limit in 0..=all.len() {
        assert_eq!(names(&store.unsent("tasks", Some(two), limit).unwrap()), all[..limit]);
        assert_eq!(names(&store.unsent("tasks", Some(one), limit).unwrap()), ["d", "c", "e", "b", "a"][..limit]);
    }
    assert!(store.unsent("notes", Some(two), 10).unwrap().is_empty());
    assert_eq!(store.unsent_count("notes", Some(two)).unwrap(), 0);
}

#[test]
fn a_document_that_is_not_stored_has_no_unsent_changes() {
    let (_folder, store) = store();
    let document = store.unsent_chunks("tasks", &DocumentId::new("a"), None).unwrap();
    assert!(document.chunks.is_empty() && document.heads.is_empty());
}

#[test]
fn a_log_without_a_name_is_the_same_log_when_it_gets_one() {
    let (_folder, mut store) = store();
    let nameless = store.remote("https://a.example", "").unwrap();
    let elsewhere = store.remote("https://b.example", "").unwrap();
    let mut a = Author::new("tasks", "a");
    commit(&mut store, &a.receive(nameless, "title", 1));
    assert_eq!(store.remote("https://a.example", "1").unwrap(), nameless);
    assert!(unsent(&store, Some(nameless)).is_empty());
    assert_eq!(store.remote("https://b.example", "").unwrap(), elsewhere, "another deployment's has none still");
    // The deployment was wiped and written to again, so it has another log.
    let wiped = store.remote("https://a.example", "").unwrap();
    assert_ne!(wiped, nameless);
    assert_eq!(store.remote("https://a.example", "2").unwrap(), wiped);
    assert_eq!(unsent(&store, Some(wiped)), ["a"]);
    // The deployment was restored from a backup, so it has the first log again.
    store.remote("https://a.example", "").unwrap();
    assert_eq!(store.remote("https://a.example", "1").unwrap(), nameless);
    assert!(unsent(&store, Some(nameless)).is_empty());
}
