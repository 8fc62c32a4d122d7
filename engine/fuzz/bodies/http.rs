//! An HTTP reader between two sides.

use wireglass::inspect::HttpInspector;
use wireglass::side::Side;

/// What one reader may hold at most.
const MOST: usize = 1 << 20;

/// A byte whose lowest bit is the side, two of length, and so many bytes of that side; again and again.
pub fn read(alpn: &[u8], first: &[u8], data: &[u8]) {
    let mut reader = HttpInspector::new(Some(alpn));
    reader.bytes(Side::Client, first);
    let mut rest = data;
    while let [side, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (piece, after) = after.split_at(len);
        rest = after;
        reader.bytes(if side & 1 == 0 { Side::Client } else { Side::Server }, piece);
        while reader.poll_transaction().is_some() {}
        assert!(reader.memory() <= MOST, "{} bytes held", reader.memory());
    }
    reader.finish();
    while reader.poll_transaction().is_some() {}
}
