//! The header parser, against one that reads the same fields by hand; and a handshake with whatever was read.

use bytes::Bytes;
use tcp_stack::{Config, Connection, Instant, Open, Options, Segment, Seq, Timestamps};

pub fn run(data: &[u8]) {
    let Ok(segment) = Segment::parse(data) else {
        let header_len = data.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        assert!(data.len() < 20 || header_len < 20 || data.len() < header_len, "refused without a reason");
        return;
    };
    let header_len = usize::from(data[12] >> 4) * 4;
    let word = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
    assert_eq!(segment.seq.0, word(4));
    assert_eq!(segment.ack.map(|ack| ack.0), (data[13] & 0x10 != 0).then(|| word(8)));
    assert_eq!(u32::from(segment.window), word(14) >> 16);
    assert_eq!(segment.payload, &data[header_len..]);
    let by_hand = options_by_hand(&data[20..header_len]);
    let parsed = segment.options;
    assert_eq!(
        (parsed.mss, parsed.window_scale, parsed.sack_permitted, parsed.timestamps),
        (by_hand.mss, by_hand.window_scale, by_hand.sack_permitted, by_hand.timestamps)
    );
    handshake(&segment);
}

/// RFC 9293 3.1: kinds 0 and 1 are a byte, all others have a length. A known kind with a wrong length is skipped.
fn options_by_hand(mut field: &[u8]) -> Options {
    let mut options = Options::default();
    loop {
        match *field {
            [1, ref rest @ ..] => field = rest,
            [kind, len, ..] if kind >= 2 && len >= 2 && usize::from(len) <= field.len() => {
                let word = |at: usize| u32::from_be_bytes(field[at..at + 4].try_into().unwrap());
                match (kind, len) {
                    (2, 4) => options.mss = Some(u16::from_be_bytes([field[2], field[3]])),
                    (3, 3) => options.window_scale = Some(field[2]),
                    (4, 2) => options.sack_permitted = true,
                    (8, 10) => options.timestamps = Some(Timestamps { val: word(2), ecr: word(6) }),
                    _ => {}
                }
                field = &field[usize::from(len)..];
            }
            _ => return options,
        }
    }
}

/// What a listener answers can be read again, and says nothing that the peer has not offered.
fn handshake(segment: &Segment<'_>) {
    let now = Instant::from_secs(1);
    let open = Open { isn: Seq(u32::MAX), mss: 1460, window_scale: Some(7), sack: true, timestamps: Some(7) };
    let mut connection = Connection::<Bytes>::listen(now, Config::default(), open);
    connection.handle_segment(now, segment);
    while let Some(transmit) = connection.poll_transmit(now) {
        let mut header = vec![0; transmit.header_len()];
        transmit.emit_header(1, 2, &mut header);
        let again = Segment::parse(&header).expect("our own header");
        assert_eq!((again.seq, again.ack, again.flags), (transmit.seq, transmit.ack, transmit.flags));
        assert_eq!((again.window, again.options), (transmit.window, transmit.options));
        if again.flags.syn {
            assert_eq!(again.ack, Some(segment.seq + 1));
            assert!(segment.options.window_scale.is_some() || again.options.window_scale.is_none());
            assert!(segment.options.sack_permitted || !again.options.sack_permitted);
            assert!(segment.options.timestamps.is_some() || again.options.timestamps.is_none());
        }
    }
    connection.check_invariants().unwrap();
}
