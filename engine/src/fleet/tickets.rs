//! The secret from which all engines make the keys of clients' tickets, sealed in etcd. Whoever finds none makes one; whoever finds that its time is
//! over, or that it is sealed with the key that is to go, makes another. etcd lets one of them. Each is random, so that who had the key to one of them
//! has nothing of the next; tickets of the one before open until they run out.

use serde::{Deserialize, Serialize};
use wireglass_core::tls::{FleetKey, SecretRefused, TicketSecret};

use super::schema::{SCHEMA, write};
use super::view::{Kept, View};
use crate::config::FleetKeys;
use crate::hex::{hex, unhex};

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
            if view.tickets_revision > 0 {
                // Somebody's, of another version or damaged: it is not ours to replace.
                self.seen = Some(view.tickets_revision);
                return None;
            }
            if self.seen == Some(0) {
                return None;
            }
            let secret = TicketSecret::new(random()?, now);
            self.seen = Some(0);
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
        let new = TicketSecret::new([0; 32], now).rotation();
        if by_newest && new <= rotation {
            return None;
        }
        let secret = TicketSecret::new(random()?, now);
        // Once for what is there now.
        self.taken = None;
        self.seal(&secret).map(|value| (value, kept.revision))
    }

    fn take(
        &self,
        kept: &Kept<Vec<u8>>,
        engine: &dyn SharedTickets,
        now: u64,
    ) -> Result<(u64, bool), String> {
        let malformed = || SecretRefused::Malformed.to_string();
        let value: Sealed = serde_json::from_slice(&kept.value).map_err(|_| malformed())?;
        let sealed = unhex(&value.sealed).ok_or_else(malformed)?;
        let secret = TicketSecret::open(&sealed, &self.keys, &self.fleet).map_err(|why| why.to_string())?;
        let rotation = match engine.share(&secret, now) {
            Ok(()) => secret.rotation(),
            // It is replaced, whoever left it there.
            Err(SecretRefused::TooOld) => 0,
            Err(why) => return Err(why.to_string()),
        };
        let newest = self.keys.get(..1).unwrap_or_default();
        let by_newest = TicketSecret::open(&sealed, newest, &self.fleet).is_ok();
        Ok((rotation, by_newest))
    }

    fn seal(&self, secret: &TicketSecret) -> Option<Vec<u8>> {
        let sealed = secret.seal(self.keys.first()?, &self.fleet)?;
        Some(write(&Sealed { schema: SCHEMA, sealed: hex(&sealed) }))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use wireglass_core::x509::Provider;

    use super::*;
    use crate::fleet::keys::Place;

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 24 * 3600;

    /// An engine that goes by the last secret that it was told.
    #[derive(Default)]
    struct Engine(RefCell<Vec<TicketSecret>>);

    impl SharedTickets for Engine {
        fn share(&self, secret: &TicketSecret, _: u64) -> Result<(), SecretRefused> {
            self.0.borrow_mut().push(secret.clone());
            Ok(())
        }
    }

    fn tickets(keys: &[u8]) -> Tickets {
        let keys = keys.iter().map(|key| FleetKey::new(&[*key; 32], Provider::default()).expect("a key"));
        Tickets { fleet: "north".into(), keys: keys.collect(), seen: None, taken: None }
    }

    /// Looks until there is nothing to write. Returns how often random bytes were drawn.
    fn settle(view: &mut View, tickets: &mut Tickets, engine: &Engine, now: u64) -> u8 {
        let mut drawn = 0;
        loop {
            let random = || {
                drawn += 1;
                Some([drawn; 32])
            };
            let Some((value, revision)) = tickets.look(view, engine, now, random, |why| panic!("{why}"))
            else {
                return drawn;
            };
            view.hear(&Place::Tickets, Some(&value), revision + 1);
        }
    }

    /// Who learned one secret, or has an old fleet key and etcd's history, has nothing of the next.
    #[test]
    fn each_secret_is_random_and_none_comes_of_the_one_before() {
        let (mut view, engine, mut with_old) = (View::default(), Engine::default(), tickets(&[1]));
        assert_eq!(settle(&mut view, &mut with_old, &engine, NOW), 1, "there was none");
        assert_eq!(settle(&mut view, &mut with_old, &engine, NOW), 0);
        assert_eq!(settle(&mut view, &mut with_old, &engine, NOW + DAY), 1, "its time is over");
        assert_eq!(settle(&mut view, &mut with_old, &engine, NOW + DAY), 0);
        let mut with_new = tickets(&[2, 1]);
        assert_eq!(settle(&mut view, &mut with_new, &engine, NOW + DAY), 1, "the fleet key is another one");
        assert_eq!(settle(&mut view, &mut with_new, &engine, NOW + DAY), 0);
        assert_eq!(engine.0.borrow().len(), 4, "the last one by the old key was taken first");
    }

    #[test]
    fn who_has_not_got_the_new_key_keeps_what_it_has_and_says_so_once() {
        let (mut view, a, b) = (View::default(), Engine::default(), Engine::default());
        let (mut of_a, mut of_b) = (tickets(&[1]), tickets(&[1]));
        settle(&mut view, &mut of_a, &a, NOW);
        settle(&mut view, &mut of_b, &b, NOW);
        settle(&mut view, &mut tickets(&[2, 1]), &a, NOW);
        let (before, mut said) = (b.0.borrow().len(), Vec::new());
        for _ in 0..2 {
            let wanted = of_b.look(&view, &b, NOW, || Some([9; 32]), |why| said.push(why.to_owned()));
            assert!(wanted.is_none(), "what others can read is left alone");
        }
        assert_eq!((said, b.0.borrow().len()), (vec![SecretRefused::UnknownKey.to_string()], before));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_left_to_operators_and_replaced_when_it_is_gone() {
        let (mut view, engine, mut tickets) = (View::default(), Engine::default(), tickets(&[1]));
        let look = |view: &View, tickets: &mut Tickets| {
            tickets.look(view, &engine, NOW, || Some([9; 32]), |why| panic!("{why}"))
        };
        view.hear(&Place::Tickets, Some(b"rubbish"), 7);
        assert!(look(&view, &mut tickets).is_none());
        view.hear(&Place::Tickets, None, 8);
        assert_eq!(look(&view, &mut tickets).map(|(_, revision)| revision), Some(0));
        assert!(look(&view, &mut tickets).is_none(), "once");
    }

    #[test]
    fn without_randomness_it_is_tried_again() {
        let (view, engine, mut tickets) = (View::default(), Engine::default(), tickets(&[1]));
        assert!(tickets.look(&view, &engine, NOW, || None, |why| panic!("{why}")).is_none());
        assert!(tickets.look(&view, &engine, NOW, || Some([9; 32]), |why| panic!("{why}")).is_some());
    }
}
