//! A secret of tickets that engines share, and how it is kept where others can read: [sealed](super::fleet_key) with a key that only the engines have.

use std::fmt;

use zeroize::Zeroizing;

use super::fleet_key::{self, FleetKey, OVERHEAD, SecretRefused, VERSION};
use super::tickets::ROTATION;

/// Secret and rotation.
const PLAIN_LEN: usize = 32 + 8;
/// Bytes of a sealed secret.
const SEALED_LEN: usize = OVERHEAD + PLAIN_LEN;

/// A secret that engines share, and its time: from both, each makes the same keys.
#[derive(Clone)]
pub struct TicketSecret {
    secret: Zeroizing<[u8; 32]>,
    rotation: u64,
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSecret").field("rotation", &self.rotation).finish_non_exhaustive()
    }
}

impl TicketSecret {
    /// From random bytes, at `now` in seconds since the Unix epoch.
    pub fn new(random: [u8; 32], now: u64) -> Self {
        Self::of_rotation(random, now / ROTATION)
    }

    pub(super) fn of_rotation(secret: [u8; 32], rotation: u64) -> Self {
        Self { secret: Zeroizing::new(secret), rotation }
    }

    /// Its time: six hours each, since the Unix epoch.
    pub fn rotation(&self) -> u64 {
        self.rotation
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Seals it for a fleet. None: the library has no random bytes.
    pub fn seal(&self, key: &FleetKey, fleet: &str) -> Option<Vec<u8>> {
        let plain = Zeroizing::new([&self.secret[..], &self.rotation.to_be_bytes()].concat());
        key.seal(plain, &associated(fleet))
    }

    /// Opens what an engine of this fleet has sealed with one of these keys: while a key is being replaced, there are two.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn open(sealed: &[u8], keys: &[FleetKey], fleet: &str) -> Result<Self, SecretRefused> {
        if sealed.first() == Some(&VERSION) && sealed.len() != SEALED_LEN {
            return Err(SecretRefused::Malformed);
        }
        let plain = fleet_key::open(sealed, keys, &associated(fleet))?;
        let (secret, rotation) = plain.split_first_chunk::<32>().ok_or(SecretRefused::Malformed)?;
        let rotation = rotation.try_into().map_err(|_| SecretRefused::Malformed)?;
        Ok(Self::of_rotation(*secret, u64::from_be_bytes(rotation)))
    }
}

fn associated(fleet: &str) -> Vec<u8> {
    [b"wireglass fleet ticket secret ", &[VERSION][..], fleet.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::Provider;

    fn key(secret: u8) -> FleetKey {
        FleetKey::new(&[secret; 32], Provider::default()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_the_fleet_and_nobody_else() {
        let secret = TicketSecret::new([7; 32], 123_456_789);
        let sealed = secret.seal(&key(1), "edge").unwrap();
        assert!(!sealed.windows(4).any(|part| part == [7; 4]));
        assert_ne!(sealed, secret.seal(&key(1), "edge").unwrap(), "another nonce");
        let opened = TicketSecret::open(&sealed, &[key(2), key(1)], "edge").unwrap();
        assert_eq!((opened.bytes(), opened.rotation()), (&[7; 32], 123_456_789 / ROTATION));
        let refused = |sealed: &[u8], keys: &[FleetKey], fleet| {
            TicketSecret::open(sealed, keys, fleet).map(drop).unwrap_err()
        };
        assert_eq!(refused(&sealed, &[key(2)], "edge"), SecretRefused::UnknownKey);
        assert_eq!(refused(&sealed, &[], "edge"), SecretRefused::UnknownKey);
        assert_eq!(refused(&sealed, &[key(1)], "core"), SecretRefused::Forged);
        assert_eq!(refused(&[], &[key(1)], "edge"), SecretRefused::Malformed);
        let mut longer = sealed.clone();
        longer.push(0);
        assert_eq!(refused(&longer, &[key(1)], "edge"), SecretRefused::Malformed);
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            let expected = match at {
                0 => SecretRefused::Version,
                1..9 => SecretRefused::UnknownKey,
                _ => SecretRefused::Forged,
            };
            assert_eq!(refused(&other, &[key(1)], "edge"), expected, "byte {at}");
            assert!(TicketSecret::open(&sealed[..at], &[key(1)], "edge").is_err());
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let (secret, key) = (TicketSecret::new([77; 32], 0), key(77));
        let shown = format!("{secret:?} {key:?}");
        assert!(!shown.contains("77"), "{shown}");
    }
}
