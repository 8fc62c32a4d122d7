//! What is received, against a naive map of bytes: whatever comes in whatever order, with whatever overlaps, the
//! byte that came first stays, and exactly the bytes without a gap before them can be read.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use tcp_stack::{Adoption, Config, Connection, Flags, Instant, Options, Segment, Seq};

use super::pattern;

/// Sequence number of the first byte: both wraps are near.
const STARTS: [u32; 3] = [u32::MAX - 900, (1 << 31) - 900, 5_000];

pub fn run(data: &[u8]) {
    // Input that ends early has done its work.
    let _ = steps(&mut Unstructured::new(data));
}

struct Model {
    connection: Connection<Bytes>,
    now: Instant,
    start: Seq,
    /// By offset from the start; `consumed <= next <= bytes.len()`.
    bytes: Vec<Option<u8>>,
    next: usize,
    consumed: usize,
    /// Right edge of the window ever promised.
    edge: usize,
}

fn steps(input: &mut Unstructured<'_>) -> Result<()> {
    let now = Instant::from_secs(1);
    let start = Seq(*input.choose(&STARTS)?);
    let limit = input.int_in_range(1..=4_000)?;
    let config = Config {
        recv_limit: limit,
        out_of_order_ranges: input.int_in_range(1..=8)?,
        challenges_per_second: 1_000_000,
        ..Config::default()
    };
    let promised = input.int_in_range(0..=limit)?;
    let adoption = Adoption {
        snd_nxt: Seq(1),
        rcv_nxt: start,
        snd_wnd: 1_000,
        snd_scale: 0,
        // Without scaling, the edge that the peer computes is the edge.
        rcv_scale: 0,
        mss: 1_000,
        sack: true,
        timestamps: None,
        rcv_adv: start + promised as u32,
        rtt_hint: None,
    };
    let connection = Connection::adopt(now, config, adoption);
    let mut model =
        Model { connection, now, start, bytes: vec![None; 1 << 16], next: 0, consumed: 0, edge: promised };
    while !input.is_empty() && model.next < 50_000 {
        match input.int_in_range(0..=9)? {
            0 | 1 => model.consume(input.int_in_range(0..=3_000)?),
            2 => model.connection.set_recv_limit(input.int_in_range(0..=4_000)?),
            _ => {
                let ahead = input.int_in_range(-400..=1_200)?;
                let len = input.int_in_range(0..=600)?;
                model.segment(ahead, len, input.int_in_range(0..=2)?);
            }
        }
        model.settle();
    }
    Ok(())
}

impl Model {
    /// `voice` makes different bytes for the same place.
    fn segment(&mut self, ahead: i64, len: usize, voice: u64) {
        let from = self.next as i64 + ahead;
        let payload: Vec<u8> = (from..from + len as i64).map(|at| pattern(voice, at as u32)).collect();
        let dropped = self.connection.stats().out_of_order_dropped;
        let segment = Segment {
            src_port: 1,
            dst_port: 2,
            seq: self.start + from as u32,
            ack: Some(Seq(1)),
            flags: Flags::default(),
            window: 1_000,
            options: Options::default(),
            payload: &payload,
        };
        self.connection.handle_segment(self.now, &segment);
        if self.connection.stats().out_of_order_dropped != dropped {
            assert!(from > self.next as i64, "bytes in order were refused");
            return;
        }
        for (at, &byte) in (from..).zip(&payload) {
            if at >= self.next as i64 && at < self.edge as i64 {
                self.bytes[at as usize].get_or_insert(byte);
            }
        }
        while self.bytes[self.next].is_some() {
            self.next += 1;
        }
    }

    fn consume(&mut self, most: usize) {
        let len = most.min(self.next - self.consumed);
        self.connection.consume(len);
        self.consumed += len;
    }

    fn settle(&mut self) {
        let expected: Vec<u8> = self.bytes[self.consumed..self.next].iter().flatten().copied().collect();
        assert!(self.connection.recv() == expected, "other bytes are readable than have arrived");
        while let Some(transmit) = self.connection.poll_transmit(self.now) {
            let ack = transmit.ack.expect("every segment acknowledges").since(self.start) as usize;
            assert_eq!(ack, self.next, "acknowledged what has not arrived, or not what has");
            self.edge = self.edge.max(ack + usize::from(transmit.window));
            for (left, right) in transmit.options.sack.iter().flatten() {
                // What came twice (RFC 2883) may lie before the stream that was adopted.
                let block = left.since_or_zero(self.start) as usize..right.since_or_zero(self.start) as usize;
                assert!(
                    self.bytes[block].iter().all(Option::is_some),
                    "bytes are reported that have not arrived"
                );
            }
        }
        self.connection.check_invariants().unwrap();
    }
}
