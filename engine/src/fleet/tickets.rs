//! The secret from which all engines make the keys of clients' tickets, sealed in etcd. Whoever finds none makes one; whoever finds that it was not
//! renewed, or is sealed with the key that is to go, renews it. etcd lets one of them.

use serde::{Deserialize, Serialize};
use wireglass_core::tls::{FleetKey, SecretRefused, TicketSecret};

use super::schema::{SCHEMA, write};
use super::view::{Kept, View};
use crate::config::FleetKeys;

/// A secret, as etcd has it.
#[derive(Serialize, Deserialize)]
struct Sealed {
    schema: u32,
    /// In hexadecimal digits.
    sealed: String,
}

/// The keys of a fleet, and what was made of the secret last.
pub struct Tickets {
    fleet: String,
    keys: Vec<FleetKey>,
    /// The revision of the secret that was looked at.
    seen: Option<i64>,
    /// The rotation of the secret in etcd, and whether the newest key has sealed it; none: it was not taken.
    taken: Option<(u64, bool)>,
}

/// Where the engine's keys of tickets are.
pub trait SharedTickets {
    /// Goes by this secret from now on.
    ///
    /// # Errors
    /// It is not taken.
    fn share(&self, secret: &TicketSecret, now: u64) -> Result<(), SecretRefused>;
    /// The secret that it goes by, as of now; none: its own.
    fn shared(&self, now: u64) -> Option<TicketSecret>;
}

impl Tickets {
    /// Of a fleet with these keys. None: the library of cryptography takes no such keys.
    pub fn new(fleet: &str, keys: &FleetKeys, provider: wireglass_core::x509::Provider) -> Option<Self> {
        let keys = keys.all().map(|key| FleetKey::new(key, provider)).collect::<Option<Vec<_>>>()?;
        Some(Self { fleet: fleet.to_owned(), keys, seen: None, taken: None })
    }

    /// The connection to etcd is a new one.
    pub fn reconnected(&mut self) {
        self.seen = None;
    }

    /// Takes the secret that there is, and says what is to be written, if the key still has this revision; 0: if it is not there. `refused` is told why it is not taken.
    pub fn look(
        &mut self,
        view: &View,
        engine: &dyn SharedTickets,
        now: u64,
        random: impl FnOnce() -> Option<[u8; 32]>,
        refused: impl FnOnce(&str),
    ) -> Option<(Vec<u8>, i64)> {
        let Some(kept) = &view.tickets else {
            if self.seen == Some(0) {
                return None;
            }
            self.seen = Some(0);
            // An emptied store gets what the engines go by.
            let secret = engine.shared(now).or_else(|| Some(TicketSecret::new(random()?, now)))?;
            return self.seal(&secret).map(|value| (value, 0));
        };
        if self.seen != Some(kept.revision) {
            self.seen = Some(kept.revision);
            self.taken = None;
            match self.take(kept, engine, now) {
                Ok(taken) => self.taken = Some(taken),
                Err(why) => refused(&why),
            }
        }
        let (rotation, by_newest) = self.taken?;
        let current = engine.shared(now)?;
        if by_newest && current.rotation() <= rotation {
            return None;
        }
        // Once for what is there now.
        self.taken = None;
        self.seal(&current).map(|value| (value, kept.revision))
    }

    fn take(
        &self,
        kept: &Kept<Vec<u8>>,
        engine: &dyn SharedTickets,
        now: u64,
    ) -> Result<(u64, bool), String> {
        let malformed = || SecretRefused::Malformed.to_string();
        let value: Sealed = serde_json::from_slice(&kept.value).map_err(|_| malformed())?;
        let sealed = bytes(&value.sealed).ok_or_else(malformed)?;
        let secret = TicketSecret::open(&sealed, &self.keys, &self.fleet).map_err(|why| why.to_string())?;
        engine.share(&secret, now).map_err(|why| why.to_string())?;
        let newest = self.keys.get(..1).unwrap_or_default();
        let by_newest = TicketSecret::open(&sealed, newest, &self.fleet).is_ok();
        Ok((secret.rotation(), by_newest))
    }

    fn seal(&self, secret: &TicketSecret) -> Option<Vec<u8>> {
        let sealed = secret.seal(self.keys.first()?, &self.fleet)?;
        let sealed = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(write(&Sealed { schema: SCHEMA, sealed }))
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit)).then_some(())?;
    digits.chunks_exact(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use wireglass_core::x509::Provider;

    use super::*;
    use crate::fleet::keys::Place;

    const NOW: u64 = 1_800_000_000;
    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];

    /// An engine that goes by the last secret that it was told.
    #[derive(Default)]
    struct Engine(RefCell<Option<TicketSecret>>);

    impl SharedTickets for Engine {
        fn share(&self, secret: &TicketSecret, _: u64) -> Result<(), SecretRefused> {
            *self.0.borrow_mut() = Some(secret.clone());
            Ok(())
        }

        fn shared(&self, _: u64) -> Option<TicketSecret> {
            self.0.borrow().clone()
        }
    }

    impl Engine {
        fn rotation(&self) -> Option<u64> {
            self.shared(NOW).map(|secret| secret.rotation())
        }
    }

    fn with(keys: &[[u8; 32]]) -> Tickets {
        let keys = keys.iter().map(|key| FleetKey::new(key, Provider::default()).expect("a key"));
        Tickets { fleet: "north".into(), keys: keys.collect(), seen: None, taken: None }
    }

    /// What came of a look: something was written, or the secret was refused for a cause.
    fn look(view: &mut View, tickets: &mut Tickets, engine: &Engine) -> (bool, Option<String>) {
        let mut refused = None;
        let seen = view.tickets.as_ref().map_or(0, |kept| kept.revision);
        let wanted = tickets.look(view, engine, NOW, || Some([7; 32]), |why| refused = Some(why.to_owned()));
        if let Some((value, revision)) = &wanted {
            assert_eq!(*revision, seen);
            view.hear(&Place::Tickets, Some(value), seen + 1);
        }
        (wanted.is_some(), refused)
    }

    #[test]
    fn a_fleet_key_is_changed_one_engine_after_the_other() {
        let mut view = View::default();
        let (a, b) = (Engine::default(), Engine::default());
        let (mut of_a, mut of_b) = (with(&[OLD]), with(&[OLD]));
        assert_eq!(look(&mut view, &mut of_a, &a), (true, None), "the first one makes the secret");
        assert_eq!(look(&mut view, &mut of_a, &a), (false, None));
        assert_eq!(look(&mut view, &mut of_b, &b), (false, None));
        let rotation = a.rotation();
        assert!(rotation.is_some() && rotation == b.rotation());

        // The first one is started anew with both keys: it opens with the old one, and seals with the new one.
        let (a, mut of_a) = (Engine::default(), with(&[NEW, OLD]));
        assert_eq!(look(&mut view, &mut of_a, &a), (true, None));
        assert_eq!(look(&mut view, &mut of_a, &a), (false, None), "once");
        assert_eq!(a.rotation(), rotation, "the same secret");
        // The other one cannot read that yet: it says so once, keeps what it has, and leaves what is there alone.
        let unknown = Some(SecretRefused::UnknownKey.to_string());
        assert_eq!(look(&mut view, &mut of_b, &b), (false, unknown.clone()));
        assert_eq!(look(&mut view, &mut of_b, &b), (false, None));
        assert_eq!(b.rotation(), rotation);

        let (b, mut of_b) = (Engine::default(), with(&[NEW, OLD]));
        assert_eq!((look(&mut view, &mut of_b, &b), b.rotation()), ((false, None), rotation));
        // The old line is taken out. Who has the old key only is out, too.
        let (c, mut of_c) = (Engine::default(), with(&[NEW]));
        assert_eq!((look(&mut view, &mut of_c, &c), c.rotation()), ((false, None), rotation));
        let (late, mut of_late) = (Engine::default(), with(&[OLD]));
        assert_eq!((look(&mut view, &mut of_late, &late), late.rotation()), ((false, unknown), None));
    }
}
