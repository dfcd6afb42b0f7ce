//! Makes hostile bytes from valid ones.

use proptest::prelude::*;

/// One mutation of bytes. Places are fractions of the length, so that shrinking does not move them.
#[derive(Clone, Debug)]
pub enum Mutation {
    Set {
        place: u16,
        byte: u8,
    },
    Flip {
        place: u16,
        bit: u8,
    },
    Insert {
        place: u16,
        bytes: Vec<u8>,
    },
    Remove {
        place: u16,
        length: u8,
    },
    Repeat {
        place: u16,
        length: u8,
        times: u8,
    },
    Truncate {
        place: u16,
    },
    /// A number of up to ten bytes that encodes a huge value.
    Number {
        place: u16,
        value: u64,
    },
}

pub fn mutations(most: usize) -> impl Strategy<Value = Vec<Mutation>> {
    let place = any::<u16>();
    let mutation = prop_oneof![
        4 => (place, any::<u8>()).prop_map(|(place, byte)| Mutation::Set { place, byte }),
        4 => (place, 0..8_u8).prop_map(|(place, bit)| Mutation::Flip { place, bit }),
        2 => (place, prop::collection::vec(any::<u8>(), 1..6)).prop_map(|(place, bytes)| Mutation::Insert { place, bytes }),
        2 => (place, 1..6_u8).prop_map(|(place, length)| Mutation::Remove { place, length }),
        1 => (place, 1..20_u8, 1..40_u8).prop_map(|(place, length, times)| Mutation::Repeat { place, length, times }),
        1 => place.prop_map(|place| Mutation::Truncate { place }),
        3 => (place, prop_oneof![
            Just(u64::MAX), Just(i64::MAX as u64), Just(u64::from(u32::MAX)), Just(1 << 31), Just((1 << 31) - 8), any::<u64>(), 0..300_u64
        ]).prop_map(|(place, value)| Mutation::Number { place, value }),
    ];
    prop::collection::vec(mutation, 1..=most)
}

fn at(place: u16, length: usize) -> usize {
    usize::from(place) * length / 65_536
}

pub fn apply(bytes: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for mutation in mutations {
        let length = bytes.len();
        if length == 0 {
            return bytes;
        }
        match mutation {
            Mutation::Set { place, byte } => bytes[at(*place, length)] = *byte,
            Mutation::Flip { place, bit } => bytes[at(*place, length)] ^= 1 << bit,
            Mutation::Insert { place, bytes: new } => {
                let at = at(*place, length);
                bytes.splice(at..at, new.iter().copied());
            }
            Mutation::Remove { place, length: gone } => {
                let at = at(*place, length);
                bytes.drain(at..(at + usize::from(*gone)).min(length));
            }
            Mutation::Repeat { place, length: some, times } => {
                let at = at(*place, length);
                let piece = bytes[at..(at + usize::from(*some)).min(length)].repeat(usize::from(*times));
                bytes.splice(at..at, piece);
            }
            Mutation::Truncate { place } => bytes.truncate(at(*place, length)),
            Mutation::Number { place, value } => {
                let at = at(*place, length);
                let number = leb(*value);
                let end = (at + number.len()).min(length);
                bytes.splice(at..end, number);
            }
        }
    }
    bytes
}

/// An unsigned number in Automerge's encoding.
pub fn leb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}
