//! What `Connection::info` says of connections whose state of affairs is known.

use tcp_stack::{
    Adoption, Config, Connection, Duration, Flags, Info, Instant, Limit, Options, Repair, Segment, Seq, State,
};

const MSS: u32 = 1000;
const OURS: Seq = Seq(5_000);
const THEIRS: Seq = Seq(900_000);

fn at(ms: i64) -> Instant {
    Instant::from_millis(ms)
}

/// Adopted at 0 ms, by a peer with this window, and with this much queued.
fn connection(snd_wnd: u32, queued: usize) -> Connection {
    let adoption = Adoption {
        snd_nxt: OURS,
        rcv_nxt: THEIRS,
        snd_wnd,
        snd_scale: 7,
        rcv_scale: 3,
        mss: MSS as u16,
        sack: false,
        timestamps: None,
        rcv_adv: THEIRS + 10_000,
        rtt_hint: None,
    };
    let mut connection = Connection::adopt(at(0), Config::default(), adoption);
    connection.send(vec![7; queued].into()).expect("room in the queue");
    drain(&mut connection, 0);
    connection
}

/// Sends what may be sent; how many segments that was.
fn drain(connection: &mut Connection, ms: i64) -> usize {
    std::iter::from_fn(|| connection.poll_transmit(at(ms)).map(|_| ())).count()
}

fn hear(connection: &mut Connection, ms: i64, seq: Seq, ack: Seq, window: u16, payload: &[u8]) {
    let segment = Segment {
        src_port: 1,
        dst_port: 2,
        seq,
        ack: Some(ack),
        flags: Flags::default(),
        window,
        options: Options::default(),
        payload,
    };
    connection.handle_segment(at(ms), &segment);
}

fn limits(info: &Info) -> [u64; 3] {
    info.limited.map(|time| time.total_millis())
}

#[test]
fn nothing_to_send_is_the_applications_limit() {
    let mut connection = connection(100_000, 500);
    hear(&mut connection, 30, THEIRS, OURS + 500, 1_000, b"");
    drain(&mut connection, 30);
    let info = connection.info(at(50));
    assert_eq!((info.state, info.limit, limits(&info)), (State::Established, Limit::Application, [50, 0, 0]));
    assert_eq!((info.in_flight, info.unsent, info.send_queue, info.bytes_acked), (0, 0, 0, 500));
    assert_eq!((info.mss, info.snd_scale, info.rcv_scale), (MSS, 7, 3));
    assert_eq!((info.snd_wnd, info.rcv_wnd), (1_000 << 7, Config::default().initial_recv_limit as u32));
    let rtt = Duration::from_millis(30);
    assert_eq!((info.rtt, info.min_rtt), (Some((rtt, rtt / 2)), Some(rtt)));
    assert_eq!((info.since_sent.total_millis(), info.since_heard.total_millis()), (50, 20));
    assert_eq!((info.timer.map(|(name, _)| name), info.retries, info.backoff), (None, 0, 0));
}

#[test]
fn a_full_window_is_the_receivers_limit() {
    let mut connection = connection(3_000, 8_000);
    let info = connection.info(at(10));
    assert_eq!(
        (info.limit, info.in_flight, info.unsent, info.send_queue),
        (Limit::Receiver, 3_000, 5_000, 8_000)
    );
    assert_eq!(info.bytes_acked, 0);
    assert_eq!(info.timer.map(|(name, wait)| (name, wait.total_millis())), Some(("retransmit", 990)));
    // All is acknowledged and the window closes: what is left waits to probe it.
    hear(&mut connection, 40, THEIRS, OURS + 3_000, 0, b"");
    drain(&mut connection, 40);
    let info = connection.info(at(140));
    assert_eq!((info.limit, info.snd_wnd, info.in_flight, info.unsent), (Limit::Receiver, 0, 0, 5_000));
    assert_eq!((info.bytes_acked, limits(&info)), (3_000, [0, 0, 140]));
    assert_eq!(info.timer.map(|(name, _)| name), Some("persist"));
}

#[test]
fn a_full_congestion_window_is_told_from_a_loss() {
    let mut connection = connection(100_000, 50_000);
    let info = connection.info(at(10));
    assert_eq!((info.limit, info.cwnd, info.in_flight), (Limit::Congestion, 10 * MSS, 10 * MSS));
    assert_eq!((info.ssthresh, info.repair), (None, Repair::Open));
    for ms in 11..15 {
        hear(&mut connection, ms, THEIRS, OURS, 1_000, b"");
        drain(&mut connection, ms);
    }
    // The first copy of that window size is an update; the third repetition after it begins the repair.
    let info = connection.info(at(20));
    assert_eq!((info.repair, info.stats.retransmits), (Repair::Recovery, 1));
    assert!(info.ssthresh.is_some());
    connection.handle_timeout(at(2_000));
    drain(&mut connection, 2_000);
    let info = connection.info(at(2_001));
    assert_eq!((info.repair, info.retries, info.backoff), (Repair::Loss, 1, 1));
    assert_eq!((info.cwnd, info.in_flight), (MSS, 12 * MSS));
    assert_eq!(info.lost, 11 * MSS, "one segment was sent again, the others wait for their turn");
    assert_eq!((info.limit, limits(&info)), (Limit::Congestion, [0, 2_001, 0]));
}

#[test]
fn the_receiving_side_shows_what_waits_and_what_is_missing() {
    let mut connection = connection(100_000, 0);
    hear(&mut connection, 5, THEIRS, OURS, 1_000, &[1; 400]);
    hear(&mut connection, 7, THEIRS + 900, OURS, 1_000, &[1; 100]);
    hear(&mut connection, 9, THEIRS + 400, OURS, 1_000, b"");
    let info = connection.info(at(10));
    assert_eq!((info.recv_queue, info.held_ahead, info.rcv_wnd), (400, 600, 9_600));
    assert_eq!((info.since_received.total_millis(), info.since_heard.total_millis()), (3, 1));
    connection.consume(400);
    assert_eq!(connection.info(at(10)).recv_queue, 0);
}
