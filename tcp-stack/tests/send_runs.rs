//! Segments that are sent and acknowledged as a run go as they would one by one.
#![allow(clippy::panic, reason = "tests fail by panic and say why")]

use bytes::Bytes;
use proptest::prelude::*;
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Connection, Duration, Flags, Instant, Options, Segment, Seq,
    Timestamps,
};

const THEIRS: Seq = Seq(u32::MAX - 2_000);
const OURS: Seq = Seq(u32::MAX - 30_000);
const SCALE: u8 = 7;

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Transmit,
    /// Time goes by, in microseconds, and what is due is done.
    Wait(u64),
    /// An ACK of so many thousandths of what is in flight; then blocks that are held, by first byte beyond that and length; the window.
    Acknowledge(u32, Vec<(u32, u32)>, u16),
    /// Likewise, of so many whole segments.
    AcknowledgeSegments(u32),
    /// Payload comes, so many bytes beyond what came before.
    Payload(i32),
    /// A router says that segments are too big.
    TooBig(u16),
    /// What is queued is filled up to whole segments, and nothing follows.
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let blocks = prop::collection::vec((0u32..80_000, 1u32..12_000), 0..3);
    prop_oneof![
        8 => (1usize..70_000).prop_map(Step::Send),
        8 => Just(Step::Transmit),
        4 => (0u64..3_000).prop_map(Step::Wait),
        1 => (0u64..900_000).prop_map(Step::Wait),
        6 => (0u32..=1_000, blocks, prop_oneof![4 => Just(2_000u16), 1 => 0u16..600])
            .prop_map(|(part, blocks, window)| Step::Acknowledge(part, blocks, window)),
        6 => (1u32..30).prop_map(Step::AcknowledgeSegments),
        1 => prop_oneof![3 => Just(0), 1 => -900..900].prop_map(Step::Payload),
        1 => (500u16..1_500).prop_map(Step::TooBig),
        1 => prop_oneof![3 => Just(Step::Transmit), 1 => Just(Step::Close)],
    ]
}

/// Which of the peer's and our own options there are.
#[derive(Clone, Copy, Debug)]
struct Kind {
    timestamps: bool,
    sack: bool,
    pacing: bool,
    flight_segments: u32,
}

fn kind() -> impl Strategy<Value = Kind> {
    let most = prop_oneof![3 => Just(65_536u32), 1 => 1u32..100];
    (any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.3), most).prop_map(
        |(timestamps, sack, pacing, flight_segments)| Kind { timestamps, sack, pacing, flight_segments },
    )
}

fn connection(now: Instant, kind: Kind) -> Connection<Bytes> {
    let timestamps = kind.timestamps.then_some(AdoptedTimestamps { last_sent: 1, at: now, ts_recent: 100 });
    let adoption = Adoption {
        snd_nxt: OURS,
        rcv_nxt: THEIRS,
        snd_wnd: 2_000 << SCALE,
        snd_scale: SCALE,
        rcv_scale: 5,
        mss: 1_460,
        sack: kind.sack,
        timestamps,
        rcv_adv: THEIRS + 20_000,
        rtt_hint: Some(Duration::from_millis(5)),
    };
    let config = Config {
        pacing: kind.pacing,
        flight_segments: kind.flight_segments,
        initial_window: 30,
        ..Config::default()
    };
    Connection::adopt(now, config, adoption)
}

/// Everything that it wants to send: header, as text and as bytes, and payload.
fn transmit(connection: &mut Connection<Bytes>, now: Instant, most: Option<usize>) -> Vec<(String, Vec<u8>)> {
    let mut sent = Vec::new();
    loop {
        let run = match most {
            Some(most) => connection.poll_transmit_run(now, most),
            None => connection.poll_transmit(now),
        };
        let Some(run) = run else { return sent };
        for segment in run.segments().map(|segment| run.alone(&segment)) {
            let mut header = vec![0; segment.header_len()];
            segment.emit_header(1, 2, &mut header);
            header.resize(header.len() + segment.payload_len(), 0);
            segment.copy_payload(&mut header[segment.header_len()..]);
            sent.push((format!("{segment:?}"), header));
        }
    }
}

/// The peer, as far as it has to remember what it has said.
struct Peer {
    acked: Seq,
    nxt: Seq,
}

impl Peer {
    fn segment<'a>(&self, now: Instant, kind: Kind, window: u16, payload: &'a [u8]) -> Segment<'a> {
        let clock = Timestamps { val: now.total_millis() as u32 - 900, ecr: 2 };
        let options = Options { timestamps: kind.timestamps.then_some(clock), ..Options::default() };
        let flags = Flags::default();
        Segment {
            src_port: 1,
            dst_port: 2,
            seq: self.nxt,
            ack: Some(self.acked),
            flags,
            window,
            options,
            payload,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_run_goes_as_its_segments_one_by_one(
        steps in prop::collection::vec(step(), 1..100),
        kind in kind(),
        most in prop_oneof![Just(usize::MAX), 1_000usize..60_000],
    ) {
        let mut now = Instant::from_millis(1_000);
        let [mut ours, mut plain] = [(); 2].map(|()| connection(now, kind));
        let mut peer = Peer { acked: OURS, nxt: THEIRS };
        let mut queued = 0usize;
        for step in &steps {
            let in_flight = plain.info(now).in_flight;
            let mut handle = |segment: &Segment<'_>| {
                ours.handle_segment(now, segment);
                plain.handle_segment(now, segment);
            };
            match step {
                Step::Send(len) => {
                    let bytes: Bytes = (queued..queued + len).map(|at| at as u8).collect();
                    prop_assert_eq!(ours.send(bytes.clone()), plain.send(bytes));
                    queued += len;
                }
                Step::Transmit => {}
                Step::Wait(micros) => {
                    now += Duration::from_micros(*micros);
                    ours.handle_timeout(now);
                    plain.handle_timeout(now);
                }
                Step::Acknowledge(part, blocks, window) => {
                    peer.acked += (u64::from(in_flight) * u64::from(*part) / 1_000) as u32;
                    let mut segment = peer.segment(now, kind, *window, &[]);
                    if kind.sack {
                        for (slot, (from, len)) in segment.options.sack.iter_mut().zip(blocks) {
                            // On the border of segments more often than not.
                            let from = from / 1_448 * 1_448 + from % 2;
                            *slot = Some((peer.acked + from, peer.acked + from + len / 1_448 * 1_448 + 1));
                        }
                    }
                    handle(&segment);
                }
                Step::AcknowledgeSegments(count) => {
                    let size = if kind.timestamps { 1_448 } else { 1_460 };
                    peer.acked += (count * size).min(in_flight);
                    handle(&peer.segment(now, kind, 2_000, &[]));
                }
                Step::Payload(away) => {
                    let segment = peer.segment(now, kind, 2_000, &[7; 700]);
                    handle(&Segment { seq: Seq(peer.nxt.0.wrapping_add_signed(*away)), ..segment });
                    peer.nxt += if *away == 0 { 700 } else { 0 };
                }
                Step::TooBig(size) => {
                    let told = [&mut ours, &mut plain].map(|c| c.handle_packet_too_big(now, peer.acked, *size));
                    prop_assert_eq!(told[0], told[1]);
                }
                Step::Close => {
                    let size = if kind.timestamps { 1_448 } else { 1_460 };
                    let bytes: Bytes = vec![0; (size - queued % size) + 2 * size].into();
                    queued += bytes.len();
                    prop_assert_eq!(ours.send(bytes.clone()), plain.send(bytes));
                    [&mut ours, &mut plain].into_iter().for_each(Connection::close);
                }
            }
            if !matches!(step, Step::Send(_)) {
                prop_assert_eq!(transmit(&mut ours, now, Some(most)), transmit(&mut plain, now, None));
            }
            plain.split_runs();
            let (a, b) = (ours.info(now), plain.info(now));
            prop_assert_eq!(format!("{a:?}"), format!("{b:?}"), "after {:?}", step);
            prop_assert_eq!(ours.poll_timeout(), plain.poll_timeout(), "after {:?}", step);
            prop_assert_eq!(ours.send_wanted(), plain.send_wanted());
            for connection in [&ours, &plain] {
                prop_assert!(connection.check_invariants().is_ok(), "{:?}", connection.check_invariants());
            }
        }
    }
}

const PLAIN: Kind = Kind { timestamps: true, sack: true, pacing: false, flight_segments: 65_536 };

/// What is queued before a burst leaves in as few runs as there may be, with PSH where the queue ends.
#[test]
fn what_is_queued_leaves_as_runs() {
    let now = Instant::from_millis(1_000);
    for (rest, expected) in
        [(100, vec![(20 * 1_448, 20, false), (100, 1, true)]), (0, vec![(20 * 1_448, 20, true)])]
    {
        let mut connection = connection(now, PLAIN);
        connection.send(Bytes::from(vec![1; 20 * 1_448 + rest])).expect("there is room");
        let mut runs = Vec::new();
        while let Some(run) = connection.poll_transmit_run(now, usize::MAX) {
            runs.push((run.payload_len(), run.segments().count(), run.flags.psh));
            let last = run.segments().last().map(|segment| segment.psh);
            assert_eq!(last, Some(run.flags.psh));
        }
        assert_eq!(runs, expected);
    }
}

/// The answer has come between the timer and the probe: what is sent later is none.
#[test]
fn a_probe_whose_answer_is_here_is_not_sent() {
    let mut now = Instant::from_millis(1_000);
    let mut connection = connection(now, PLAIN);
    let send = |connection: &mut Connection<Bytes>, now| {
        connection.send(Bytes::from(vec![1; 100])).expect("there is room");
        assert_eq!(transmit(connection, now, None).len(), 1);
    };
    send(&mut connection, now);
    now = connection.poll_timeout().expect("a probe");
    connection.handle_timeout(now);
    let peer = Peer { acked: OURS + 100, nxt: THEIRS };
    connection.handle_segment(now, &peer.segment(now, PLAIN, 2_000, &[]));
    assert!(transmit(&mut connection, now, None).is_empty());
    send(&mut connection, now);
    assert_eq!(connection.stats().tail_probes, 0);
}
