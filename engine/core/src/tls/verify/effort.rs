//! What one verification may cost. A server chooses its chain, and a new name for each connection misses every cache.
//!
//! Each signature is checked with a key at most once, and counts by what the check costs. A verification may go [in steps](Effort::in_steps):
//! one that is done anew finds what was checked before, and gets further.

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

use crate::lock::Lock;

/// Weight of all signature checks of a verification: 32 with P-256, Ed25519 or ordinary RSA keys, 8 with P-384 or P-521, fewer
/// over long certificates. The longest path that is searched for has 7.
const MAX_WEIGHT: u32 = 64;
/// Likewise with a server that was [costly](crate::tls::costly_servers) before: twice what an ordinary path takes, or two keys of P-384.
const REDUCED_WEIGHT: u32 = 16;
/// A verification that weighs more is costly. Real ones weigh 4 to 8; 40 with three keys of P-384, and an OCSP response by two more.
const COSTLY: u32 = 40;
/// Of the first step: as much as three keys of P-384. No other real chain needs another.
const FIRST_STEP: u32 = 24;
/// Of each step after it, which nobody can interrupt: two checks of an ordinary verification, or one with a slow key.
const STEP: u32 = 4;
/// Certificates besides the leaf with which real chains do. The first step of a longer one waits for others, too.
const USUAL_LENGTH: usize = 5;
/// Of a signed certificate: to hash so many takes as long as a weight of one.
const BYTES_PER_WEIGHT: usize = 8192;
/// Certificates that the search for a path steps on, each once for each way to it.
const MAX_STEPS: u32 = 64;
/// Paths, from the leaf to a root and with all signatures right, that are judged.
const MAX_PATHS: u32 = 8;

/// Whether there is more to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spend {
    Granted,
    UsedUp,
}

/// What a verification may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tls) enum Budget {
    /// As much as any.
    #[default]
    Whole,
    /// Less: the server has presented a costly chain before.
    Reduced,
}

/// What a verification has spent so far.
#[derive(Debug, Default)]
pub(in crate::tls) struct Effort(Lock<Spent>);

#[derive(Debug, Default)]
struct Spent {
    budget: Budget,
    weight: u32,
    /// The weight with which this step began, and with which it is to end. None: it goes on to the end.
    step: Option<(u32, u32)>,
    paused: bool,
    steps: u32,
    paths: u32,
    cut: bool,
    used_up: bool,
    /// Measured.
    nanos: u64,
    checks: Vec<Check>,
}

/// A signature that was checked.
#[derive(Debug)]
struct Check {
    algorithm: (AlgorithmIdentifier, AlgorithmIdentifier),
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    outcome: Result<(), InvalidSignature>,
}

impl Effort {
    pub(in crate::tls) fn within(budget: Budget) -> Self {
        Self(Lock::new(Spent { budget, ..Spent::default() }))
    }

    /// Has it pause after each few checks, if one that waits for it can go on with others meanwhile.
    pub(in crate::tls) fn in_steps(self) -> Self {
        self.0.lock().step = Some((0, FIRST_STEP));
        self
    }

    /// Whether it is to pause before it begins, with so many certificates besides the leaf. Once only.
    pub(in crate::tls) fn is_put_off(&self, presented: usize) -> bool {
        let mut spent = self.0.lock();
        let puts_off = presented > USUAL_LENGTH && spent.step == Some((0, FIRST_STEP));
        if puts_off {
            spent.step = Some((0, STEP));
        }
        puts_off
    }

    /// Nothing has been checked yet.
    pub(in crate::tls) fn is_new(&self) -> bool {
        self.0.lock().checks.is_empty()
    }

    /// Whether it paused, so that what was found does not count. What was checked is known when it is done again.
    pub(in crate::tls) fn take_pause(&self) -> bool {
        let mut spent = self.0.lock();
        if !spent.paused {
            return false;
        }
        let weight = spent.weight;
        spent.step = Some((weight, weight + STEP));
        (spent.paused, spent.cut, spent.used_up, spent.steps, spent.paths) = (false, false, false, 0, 0);
        true
    }

    /// Whether it has paused, so that nothing more is checked.
    pub(super) fn has_paused(&self) -> bool {
        self.0.lock().paused
    }

    /// A step took so many nanoseconds. Returns those of all steps.
    pub(in crate::tls) fn took(&self, nanos: u64) -> u64 {
        let mut spent = self.0.lock();
        spent.nanos += nanos;
        spent.nanos
    }

    /// Bytes of memory that it holds.
    pub(in crate::tls) fn memory(&self) -> usize {
        let checks = &self.0.lock().checks;
        checks.iter().map(|c| size_of::<Check>() + c.key.len() + c.message.len() + c.signature.len()).sum()
    }

    /// Whether it was far more than others take. Where there was less to spend, all of it counts as more.
    pub(super) fn was_costly(&self) -> bool {
        let spent = self.0.lock();
        spent.weight > COSTLY || (spent.budget == Budget::Reduced && spent.used_up)
    }

    pub(super) fn budget(&self) -> Budget {
        self.0.lock().budget
    }

    /// Another step of the search.
    pub(super) fn step(&self) -> Spend {
        self.count(|spent| (&mut spent.steps, MAX_STEPS))
    }

    /// Another whole path.
    pub(super) fn path(&self) -> Spend {
        self.count(|spent| (&mut spent.paths, MAX_PATHS))
    }

    /// Something was left out that could have led to a root.
    pub(super) fn cut(&self) {
        self.0.lock().cut = true;
    }

    /// Whether anything was left out.
    pub(super) fn was_cut(&self) -> bool {
        self.0.lock().cut
    }

    fn count(&self, what: impl FnOnce(&mut Spent) -> (&mut u32, u32)) -> Spend {
        let mut spent = self.0.lock();
        let (counter, limit) = what(&mut spent);
        if *counter < limit {
            *counter += 1;
            return Spend::Granted;
        }
        spent.cut = true;
        Spend::UsedUp
    }
}

/// An algorithm whose checks count. What goes beyond the budget fails like a wrong signature, and is known to be
/// [cut](Effort::was_cut).
#[derive(Debug)]
pub(super) struct Counted<'a> {
    pub(super) inner: &'static dyn SignatureVerificationAlgorithm,
    pub(super) effort: &'a Effort,
}

impl SignatureVerificationAlgorithm for Counted<'_> {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let algorithm = (self.public_key_alg_id(), self.signature_alg_id());
        let mut spent = self.effort.0.lock();
        let known = spent.checks.iter().find(|c| {
            c.signature == signature && c.key == key && c.algorithm == algorithm && c.message == message
        });
        if let Some(known) = known {
            return known.outcome;
        }
        let hashing = u32::try_from(message.len() / BYTES_PER_WEIGHT).unwrap_or(MAX_WEIGHT);
        let weight = weight(algorithm.0, key) + hashing;
        let most = match spent.budget {
            Budget::Whole => MAX_WEIGHT,
            Budget::Reduced => REDUCED_WEIGHT,
        };
        if spent.weight + weight > most {
            spent.cut = true;
            spent.used_up = true;
            return Err(InvalidSignature);
        }
        // A step has one check at least.
        if spent.step.is_some_and(|(from, to)| spent.weight > from && spent.weight + weight > to) {
            spent.paused = true;
        }
        if spent.paused {
            return Err(InvalidSignature);
        }
        spent.weight += weight;
        let outcome = self.inner.verify_signature(key, message, signature);
        let (key, message, signature) = (key.to_vec(), message.to_vec(), signature.to_vec());
        spent.checks.push(Check { algorithm, key, message, signature, outcome });
        outcome
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }
}

/// One is some 25 us with aws-lc-rs. With ring, P-384 takes three times as long.
fn weight(kind: AlgorithmIdentifier, key: &[u8]) -> u32 {
    /// DER of the two exponents that real keys have: 65537 and 3. Others, of up to 33 bits, cost three times as much.
    const USUAL: [&[u8]; 2] = [&[2, 3, 1, 0, 1], &[2, 1, 3]];
    if kind == alg_id::RSA_ENCRYPTION {
        // The modulus of 4096 bits, and what DER puts around it.
        let size = if key.len() <= 512 + 16 { 2 } else { 8 };
        if USUAL.iter().any(|e| key.ends_with(e)) { size } else { size.max(4) * 2 }
    } else if [alg_id::ECDSA_P256, alg_id::ED25519].contains(&kind) {
        2
    } else {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_weigh_what_they_cost() {
        let rsa = |bytes: usize, exponent: &[u8]| {
            let key: Vec<u8> = (0..bytes + 9).map(|_| 0).chain(exponent.iter().copied()).collect();
            weight(alg_id::RSA_ENCRYPTION, &key)
        };
        assert_eq!(rsa(256, &[2, 3, 1, 0, 1]), 2);
        assert_eq!(rsa(512, &[2, 1, 3]), 2);
        assert_eq!(rsa(1024, &[2, 3, 1, 0, 1]), 8);
        assert_eq!(rsa(512, &[2, 5, 1, 0, 0, 0, 1]), 8);
        assert_eq!(rsa(1024, &[2, 5, 1, 0, 0, 0, 1]), 16);
        assert_eq!(weight(alg_id::ECDSA_P256, &[4; 65]), 2);
        assert_eq!(weight(alg_id::ECDSA_P521, &[4; 133]), 8);
    }
}
