//! Follows the frames of a WebSocket by their headers, to know how large a message will be before it is buffered.
//!
//! The WebSocket library reserves the memory of a whole frame when it has read its header. Its bound for a frame cannot
//! be changed after the handshake, when the client has not shown a token yet.

/// The most bytes of a frame's header: two, eight of the length, four of the mask.
const HEADER: usize = 14;

/// The place in the frames of a client at which the bytes read so far end.
#[derive(Default)]
pub(super) struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header so far.
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    payload: u64,
    /// Bytes of the message so far, and those that its last frame announces.
    message: u64,
    /// The message ends with this frame.
    is_last: bool,
}

impl Frames {
    /// Follows further bytes. Returns the size of the message that is not complete yet, as far as it is announced.
    pub fn pass(&mut self, mut bytes: &[u8]) -> u64 {
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload > 0 {
                let skipped = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                self.payload -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.have] = *first;
            self.have += 1;
            bytes = rest;
            if let Some(length) = self.length() {
                self.begin(length);
            }
        }
        if self.is_last && self.payload == 0 { 0 } else { self.message }
    }

    /// The length of the payload, once the header is complete.
    fn length(&self) -> Option<u64> {
        let second = *self.header[..self.have].get(1)?;
        let digits = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.have < 2 + digits + mask {
            return None;
        }
        let long = self.header[2..2 + digits].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        Some(if digits == 0 { u64::from(second & 0x7f) } else { long })
    }

    fn begin(&mut self, length: u64) {
        self.have = 0;
        self.payload = length;
        let kind = self.header[0] & 0x0f;
        // Control frames, such as pings, may come between the frames of a message.
        if kind >= 8 {
            return;
        }
        // A frame of kind 0 continues a message.
        let before = if kind == 0 { self.message } else { 0 };
        self.message = before.saturating_add(length);
        self.is_last = self.header[0] & 0x80 != 0;
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };

    use super::*;

    fn frame(kind: OpCode, is_last: bool, length: usize) -> Vec<u8> {
        masked(Frame::message(vec![7; length], kind, is_last))
    }

    fn masked(mut frame: Frame) -> Vec<u8> {
        frame.header_mut().mask = Some([1, 2, 3, 4]);
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_message_is_known_by_its_first_bytes_and_forgotten_when_it_is_complete() {
        for length in [1, 125, 126, 65_535, 65_536, 200_000] {
            let bytes = frame(OpCode::Data(Data::Text), true, length);
            for step in [1, 3, bytes.len()] {
                let mut frames = Frames::default();
                let header = bytes.len() - length;
                let (begin, rest) = bytes.split_at(header);
                let announced = begin.chunks(step).map(|bytes| frames.pass(bytes)).last();
                assert_eq!(announced, Some(length as u64), "in steps of {step}");
                let all = rest.chunks(step).map(|bytes| frames.pass(bytes)).last();
                assert_eq!(all, Some(0), "in steps of {step}");
            }
        }
    }

    #[test]
    fn fragments_add_up_whatever_comes_between_them() {
        let mut frames = Frames::default();
        assert_eq!(frames.pass(&frame(OpCode::Data(Data::Binary), false, 1_000)), 1_000);
        assert_eq!(frames.pass(&masked(Frame::ping(vec![7; 10]))), 1_000);
        assert_eq!(frames.pass(&frame(OpCode::Data(Data::Continue), false, 500)), 1_500);
        assert_eq!(frames.pass(&frame(OpCode::Data(Data::Continue), true, 1)), 0);
        assert_eq!(frames.pass(&frame(OpCode::Data(Data::Text), true, 5)), 0);
        assert_eq!(frames.pass(&[0x81, 0xff, 0xff]), 0, "the length is not complete");
        assert_eq!(frames.pass(&[0xff; 11]), u64::MAX);
    }
}
