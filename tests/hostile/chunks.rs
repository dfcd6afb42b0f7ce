//! Automerge chunks: valid ones, and ones that look valid.

use automerge::{
    ActorId, AutoCommit, ObjType, ROOT, ScalarValue,
    marks::{ExpandMark, Mark},
    transaction::Transactable,
};
use sha2::{Digest, Sha256};

use crate::mutate::leb;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
pub const DOCUMENT: u8 = 0;
pub const CHANGE: u8 = 1;
pub const COMPRESSED: u8 = 2;

/// A chunk with this content and a correct length and checksum.
pub fn seal(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut sealed = vec![kind];
    sealed.extend(leb(data.len() as u64));
    sealed.extend_from_slice(data);
    let checksum = Sha256::digest(&sealed);
    let mut chunk = MAGIC.to_vec();
    chunk.extend_from_slice(&checksum[..4]);
    chunk.extend(sealed);
    chunk
}

/// Whether [`open`] can read the chunk.
pub fn is_chunk(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC) && bytes.iter().skip(9).any(|byte| byte & 0x80 == 0)
}

/// The kind and the content of a chunk.
pub fn open(chunk: &[u8]) -> (u8, &[u8]) {
    let mut start = 9;
    while chunk[start] & 0x80 != 0 {
        start += 1;
    }
    (chunk[8], &chunk[start + 1..])
}

pub fn actor(number: u8) -> ActorId {
    ActorId::from([number; 16])
}

/// A document with a value of every kind, one change for each.
pub fn everything() -> AutoCommit {
    let mut document = AutoCommit::new().with_actor(actor(1));
    document.put(ROOT, "count", ScalarValue::counter(3)).unwrap();
    document.put(ROOT, "done", false).unwrap();
    document.put(ROOT, "ratio", 0.5).unwrap();
    document.put(ROOT, "when", ScalarValue::Timestamp(1_700_000_000_000)).unwrap();
    document.put(ROOT, "raw", vec![1_u8, 2, 3]).unwrap();
    let text = document.put_object(ROOT, "text", ObjType::Text).unwrap();
    document.splice_text(&text, 0, 0, "hello, world").unwrap();
    document.commit();
    let list = document.put_object(ROOT, "list", ObjType::List).unwrap();
    for index in 0..5_usize {
        document.insert(&list, index, index as i64).unwrap();
    }
    let map = document.insert_object(&list, 2, ObjType::Map).unwrap();
    document.put(&map, "inner", "deep").unwrap();
    document.commit();
    document.increment(ROOT, "count", 4).unwrap();
    document.splice_text(&text, 3, 2, "LO").unwrap();
    document.delete(&list, 1).unwrap();
    document.delete(ROOT, "done").unwrap();
    document.commit();
    document.mark(&text, Mark::new("bold".into(), true, 1, 4), ExpandMark::Both).unwrap();
    document.put(&map, "inner", ScalarValue::Null).unwrap();
    document.commit();
    document
}

/// A document without hostile content, with a counter that can still be incremented once.
pub fn counter(count: i64) -> AutoCommit {
    let mut document = AutoCommit::new().with_actor(actor(2));
    document.put(ROOT, "count", ScalarValue::counter(count)).unwrap();
    document.commit();
    document
}

/// The raw changes of a document, in order.
pub fn changes(document: &mut AutoCommit) -> Vec<Vec<u8>> {
    document.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect()
}

/// A change with this many operations in a few dozen bytes: all of them set the same key.
pub fn bomb(operations: u64) -> Vec<u8> {
    let mut document = AutoCommit::new().with_actor(actor(3));
    document.put(ROOT, "key", 0).unwrap();
    document.commit();
    let change = changes(&mut document).remove(0);
    let (_, data) = open(&change);
    // The header: no dependencies, actor, numbers, message, other actors.
    let header = 1 + 1 + 16 + 1 + 1 + time_length(&data[20..]) + 1 + 1;
    let mut bomb = data[..header].to_vec();
    let run = |value: &[u8]| [signed(operations as i64), value.to_vec()].concat();
    let columns = [
        (0x15_u64, run(&[1, b'k'])), // the key
        (0x34, leb(operations)),     // no insertions
        (0x42, run(&[1])),           // to set
        (0x56, run(&[0])),           // null
        (0x70, run(&[0])),           // without predecessors
    ];
    bomb.extend(leb(columns.len() as u64));
    for (specification, bytes) in &columns {
        bomb.extend(leb(*specification));
        bomb.extend(leb(bytes.len() as u64));
    }
    columns.iter().for_each(|(_, bytes)| bomb.extend_from_slice(bytes));
    seal(CHANGE, &bomb)
}

fn time_length(bytes: &[u8]) -> usize {
    1 + bytes.iter().take_while(|byte| **byte & 0x80 != 0).count()
}

/// A signed number in Automerge's encoding.
pub fn signed(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}
