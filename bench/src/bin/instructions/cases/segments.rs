//! Segments of a leg, in and out.

use bytes::Bytes;
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Connection, Duration, Instant, Options, PlainSegment, Prediction,
    Segment, Seq, Timestamps,
};
use wireglass_core::packet::{Checksums, MAX_HEADERS, Repeated, RunHeaders, Sum, Template};

use super::packets::{PAYLOAD, PORTS, frame_ipv4, headers};
use crate::counted;

/// Segments that come at once, as a port delivers them under load.
const BURST: usize = 8;
const BURSTS: usize = 64;
/// What a record with its header is.
const BLOCK: usize = 16 * 1024;

fn connection(now: Instant) -> Connection<Bytes> {
    let adoption = Adoption {
        snd_nxt: Seq(1),
        rcv_nxt: Seq(1),
        snd_wnd: 4 << 20,
        snd_scale: 7,
        rcv_scale: 7,
        // Options not counted, of which timestamps take 12 bytes.
        mss: PAYLOAD as u16 + 12,
        sack: true,
        timestamps: Some(AdoptedTimestamps { last_sent: 1, at: now, ts_recent: 1 }),
        rcv_adv: Seq(1 + (1 << 20)),
        rtt_hint: Some(Duration::from_millis(1)),
    };
    Connection::adopt(now, Config::default(), adoption)
}

pub(super) fn segment_in() -> usize {
    let mut now = Instant::from_millis(1000);
    let mut connection = connection(now);
    let mut taken = 0;
    let mut acknowledged = 0;
    let first = frame_ipv4(1);
    let repeated = Repeated::new(&first, &headers(&first)).expect("no options of IP");
    for burst in 0..BURSTS {
        now += Duration::from_micros(100);
        let frames: Vec<_> =
            (0..BURST).map(|n| frame_ipv4(1 + ((burst * BURST + n) * PAYLOAD) as u32)).collect();
        counted(|| {
            for frame in &frames {
                let headers = repeated.next(frame).expect("another of the same connection");
                let segment = PlainSegment::read(headers.segment(frame)).expect("nothing but timestamps");
                assert_eq!(connection.handle_plain(now, &segment), Prediction::Right);
            }
            let bytes = connection.recv().len();
            connection.consume(bytes);
            taken += bytes;
            while connection.poll_transmit(now).is_some() {
                acknowledged += 1;
            }
        });
    }
    assert_eq!(
        (taken, acknowledged),
        (BURSTS * BURST * PAYLOAD, BURSTS),
        "all of it, and an ACK for each burst"
    );
    BURSTS * BURST
}

pub(super) fn segment_out() -> usize {
    sent(|_| Checksums::Offloaded { cut: false })
}

pub(super) fn segment_out_summed() -> usize {
    sent(Checksums::Made)
}

/// Sends bursts, each of them acknowledged before the next, and counts the sending.
fn sent(checksums: fn(Sum) -> Checksums) -> usize {
    let frame = frame_ipv4(1);
    let mut template = Template::of(&frame, &headers(&frame));
    let block = Bytes::from(vec![0x5a; BLOCK]);
    let mut now = Instant::from_millis(1000);
    let mut connection = connection(now);
    let is_summed = matches!(checksums(Sum::default()), Checksums::Made(_));
    let (mut segments, mut bytes) = (0, 0);
    let mut head = [0; MAX_HEADERS];
    for _ in 0..BURSTS {
        connection.send(block.clone()).expect("all before it is acknowledged");
        // More than once only while the congestion window is younger than a block.
        while connection.queued() > 0 {
            counted(|| {
                while let Some(run) = connection.poll_transmit_run(now, BLOCK) {
                    let ahead = template.header_len();
                    let head = &mut head[..ahead + run.header_len()];
                    let mut headers: Option<RunHeaders> = None;
                    for segment in run.segments() {
                        let mut sum = Sum::default();
                        if is_summed {
                            segment.slices().for_each(|slice| sum.add(slice));
                        }
                        if let Some(headers) = &mut headers {
                            let next = headers.next(&mut template, segment.seq, sum, segment.psh);
                            head.copy_from_slice(next);
                        } else {
                            run.emit_header(PORTS.0, PORTS.1, &mut head[ahead..]);
                            template.seal(head, segment.payload_len(), 1, checksums(sum));
                            headers = run.is_run().then(|| RunHeaders::of(&template, head, checksums(sum)));
                        }
                        segments += 1;
                        bytes += segment.payload_len();
                    }
                }
            });
            now += Duration::from_micros(500);
            connection.handle_segment(now, &acknowledgment(1 + bytes as u32, now));
        }
    }
    assert_eq!(bytes, BURSTS * BLOCK, "each byte once");
    segments
}

fn acknowledgment(ack: u32, now: Instant) -> Segment<'static> {
    let timestamps = Some(Timestamps { val: 2, ecr: now.total_millis() as u32 - 999 });
    Segment {
        src_port: PORTS.1,
        dst_port: PORTS.0,
        seq: Seq(1),
        ack: Some(Seq(ack)),
        flags: Default::default(),
        window: u16::MAX,
        options: Options { timestamps, ..Options::default() },
        payload: &[],
    }
}
