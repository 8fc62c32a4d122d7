//! Initial sequence numbers for connections that begin here (RFC 6528).

use core::fmt;
use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher24;

use crate::{Instant, Seq};

/// Makes initial sequence numbers: ISN = M + F(both ends, key), where M is a clock of 4 microseconds (RFC 6528 3).
///
/// For [`crate::Open`]. Adopted connections have theirs from the ends.
#[derive(Clone)]
pub struct IsnGenerator {
    key: [u8; 16],
}

impl IsnGenerator {
    /// With a secret key, drawn anew at every start from a source that cannot be guessed.
    pub fn new(key: [u8; 16]) -> Self {
        IsnGenerator { key }
    }

    /// The number for a connection between these ends that begins now. Another connection of the same two ends gets a
    /// later one, as long as the clock has not come round (4.8 hours); one of other ends gets one that says nothing about it.
    pub fn generate(&self, now: Instant, local: SocketAddr, remote: SocketAddr) -> Seq {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        for end in [local, remote] {
            match end.ip() {
                IpAddr::V4(address) => hasher.write(&address.octets()),
                IpAddr::V6(address) => hasher.write(&address.octets()),
            }
            hasher.write_u16(end.port());
        }
        Seq(hasher.finish() as u32) + (now.total_micros() / 4) as u32
    }
}

impl fmt::Debug for IsnGenerator {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsnGenerator").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;

    fn end(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn the_same_ends_get_later_numbers_with_time() {
        let isns = IsnGenerator::new([7; 16]);
        let now = Instant::from_secs(5);
        let first = isns.generate(now, end(443), end(1000));
        assert_eq!(isns.generate(now, end(443), end(1000)), first);
        assert_eq!(isns.generate(now + Duration::from_micros(4), end(443), end(1000)), first + 1);
        assert_eq!(isns.generate(now + Duration::from_secs(1), end(443), end(1000)), first + 250_000);
        // The clock itself comes round without a jump.
        let late = Instant::from_micros(4 * i64::from(u32::MAX));
        let step = isns.generate(late + Duration::from_micros(4), end(443), end(1000));
        assert_eq!(step, isns.generate(late, end(443), end(1000)) + 1);
    }

    /// Each bit of each number is set as often as not, whatever differs: the key, the direction, either port or address.
    #[test]
    #[cfg_attr(miri, ignore = "counts thousands of hashes, minutes when interpreted")]
    fn other_ends_and_other_keys_get_numbers_that_say_nothing() {
        let now = Instant::from_secs(5);
        let of_port = |port: u16| IsnGenerator::new([7; 16]).generate(now, end(443), end(port));
        let of_key =
            |key: u16| IsnGenerator::new([key as u8; 16]).generate(now, end(443), end(1000 + key / 256));
        let of_address = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let address = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, high.into(), low.into()], 1000));
            IsnGenerator::new([7; 16]).generate(now, end(443), address)
        };
        let kinds: [&dyn Fn(u16) -> Seq; 3] = [&of_port, &of_key, &of_address];
        for (kind, isn) in kinds.into_iter().enumerate() {
            let numbers: Vec<u32> = (0..4096).map(|n| isn(n).0 ^ isn(n + 1).0).collect();
            for bit in 0..32 {
                let set = numbers.iter().filter(|&&number| number >> bit & 1 == 1).count();
                assert!((1900..2200).contains(&set), "kind {kind}: bit {bit} differs {set} times of 4096");
            }
        }
        let isns = IsnGenerator::new([7; 16]);
        assert_ne!(isns.generate(now, end(1), end(2)), isns.generate(now, end(2), end(1)));
        assert!(!format!("{isns:?}").contains('7'));
    }
}
