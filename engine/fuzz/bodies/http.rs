//! An HTTP reader between two sides: bounded, sound in the borders that it tells, and the same in whatever pieces its bytes come.

use super::borders::Sound;
use wireglass_core::content::HttpInspector;
use wireglass_core::end::End;

/// What one reader may hold at most.
const MOST: usize = 1 << 20;

/// A byte whose lowest bit is the side, two of length, and so many bytes of that side; again and again.
pub fn read(alpn: &[u8], first: &[u8], data: &[u8]) {
    assert_eq!(read_in_steps(alpn, first, data, usize::MAX), read_in_steps(alpn, first, data, 7));
}

/// All that it tells, in text: transactions, anomalies, borders.
fn read_in_steps(alpn: &[u8], first: &[u8], data: &[u8], step: usize) -> [String; 3] {
    let mut said = [String::new(), String::new(), String::new()];
    let mut reader = HttpInspector::new(Some(alpn));
    let mut borders = Sound::new(alpn == b"h2");
    borders.give(End::Client, first);
    reader.bytes_with(End::Client, first, &mut borders);
    let mut rest = data;
    while let [side, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (piece, after) = after.split_at(len);
        rest = after;
        for piece in piece.chunks(step) {
            let from = if side & 1 == 0 { End::Client } else { End::Server };
            borders.give(from, piece);
            reader.bytes_with(from, piece, &mut borders);
            tell(&mut reader, &mut said);
            assert!(reader.memory() <= MOST, "{} bytes held", reader.memory());
        }
    }
    let off = reader.off_reason();
    for side in End::BOTH {
        assert_eq!(borders.is_off(side), off.is_some());
    }
    borders.end();
    reader.finish_with(&mut borders);
    tell(&mut reader, &mut said);
    let unread = [End::Client, End::Server].map(|side| reader.unread(side));
    said[1].push_str(&format!("{off:?} {unread:?}"));
    said[2] = format!("{:?}", borders.told);
    said
}

fn tell(reader: &mut HttpInspector, [events, anomalies, _]: &mut [String; 3]) {
    while let Some(event) = reader.poll_transaction() {
        events.push_str(&format!("{event:?}"));
    }
    while let Some(anomaly) = reader.poll_anomaly() {
        anomalies.push_str(&format!("{anomaly:?}"));
    }
}
