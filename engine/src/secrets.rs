//! Numbers that nobody may guess, drawn once, at the start.

use std::fmt;

/// The secrets of one run of the engine.
#[derive(Clone)]
pub struct Secrets {
    /// Key of the hash over flow keys: who knows it can choose addresses that collide.
    pub flow_hash: [u8; 16],
    /// Key from which each connection's number of challenge ACKs is drawn (RFC 5961 7).
    pub challenges: u64,
    /// Key of initial sequence numbers (RFC 6528): who knows it can speak in the name of others.
    pub isns: [u8; 16],
    /// Key of the hash over the names and addresses of servers that are left alone.
    pub exclusions: [u8; 16],
    /// What the keys of clients' TLS tickets are made from.
    pub tickets: [u8; 32],
}

/// Why there are no secrets. The engine does not start without.
#[derive(Debug)]
pub enum NoSecrets {
    /// The source has failed, with this message.
    Failed(String),
    /// It gives only zeros: it is broken, and says that it is not.
    Zeros,
}

impl fmt::Display for NoSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system gives no random numbers: ")?;
        match self {
            Self::Failed(message) => f.write_str(message),
            Self::Zeros => f.write_str("only zeros came"),
        }
    }
}

impl std::error::Error for NoSecrets {}

impl fmt::Debug for Secrets {
    /// Without them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// From the operating system.
    ///
    /// # Errors
    /// Where the system's source fails.
    pub fn draw() -> Result<Self, NoSecrets> {
        Self::draw_from(|bytes| getrandom::fill(bytes).map_err(|error| error.to_string()))
    }

    /// The same numbers each time: for simulations.
    pub const fn fixed(seed: u8) -> Self {
        Self {
            flow_hash: [seed; 16],
            challenges: seed as u64,
            isns: [seed; 16],
            exclusions: [seed; 16],
            tickets: [seed; 32],
        }
    }

    fn draw_from(mut source: impl FnMut(&mut [u8]) -> Result<(), String>) -> Result<Self, NoSecrets> {
        let mut drawn = Self::fixed(0);
        let mut challenges = [0; 8];
        for secret in [
            &mut drawn.flow_hash[..],
            &mut challenges[..],
            &mut drawn.isns[..],
            &mut drawn.exclusions[..],
            &mut drawn.tickets[..],
        ] {
            source(secret).map_err(NoSecrets::Failed)?;
            if secret.iter().all(|&byte| byte == 0) {
                return Err(NoSecrets::Zeros);
            }
        }
        Ok(Self { challenges: u64::from_ne_bytes(challenges), ..drawn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_fails_stops_the_start() {
        let failed = Secrets::draw_from(|_| Err("no entropy".into())).unwrap_err();
        assert_eq!(failed.to_string(), "the system gives no random numbers: no entropy");
        let mut calls = 0;
        let later = Secrets::draw_from(|bytes| {
            calls += 1;
            bytes.fill(1);
            if calls == 3 { Err("gone".into()) } else { Ok(()) }
        });
        assert!(later.is_err() && calls == 3, "each draw is looked at");
    }

    #[test]
    fn a_source_that_gives_nothing_stops_it_too() {
        let zeros = Secrets::draw_from(|_| Ok(())).unwrap_err();
        assert_eq!(zeros.to_string(), "the system gives no random numbers: only zeros came");
    }

    #[test]
    fn each_start_draws_others_and_shows_none() {
        let (a, b) = (Secrets::draw().unwrap(), Secrets::draw().unwrap());
        assert!(a.flow_hash != b.flow_hash && a.challenges != b.challenges);
        assert!(a.exclusions != b.exclusions && a.tickets != b.tickets);
        assert_eq!(format!("{a:?}"), "Secrets { .. }");
    }
}
