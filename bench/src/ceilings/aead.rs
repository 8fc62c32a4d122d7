//! The bulk ceiling C: opening and sealing TLS records of 16 KB in place.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Payload of a full TLS record.
const RECORD: usize = 16 * 1024;
/// Calls between two looks at the clock.
const BATCH: u32 = 64;

/// One library and suite.
#[derive(Debug, Serialize)]
pub(crate) struct Bulk {
    pub(crate) provider: &'static str,
    pub(crate) suite: &'static str,
    /// Payload bytes per second.
    pub(crate) seal: f64,
    pub(crate) open: f64,
}

impl Bulk {
    /// Bytes per second that one core can inspect at best, with this library.
    pub(crate) fn ceiling(&self) -> f64 {
        1.0 / (1.0 / self.seal + 1.0 / self.open)
    }

    /// Of one suite's, the library that C is of.
    pub(crate) fn best<'b>(of: impl IntoIterator<Item = &'b Self>) -> Option<&'b Self> {
        of.into_iter().max_by(|a, b| a.ceiling().total_cmp(&b.ceiling()))
    }
}

// The two libraries have the same interface, but no common trait.
macro_rules! probes {
    ($each:expr, $lib:ident, $provider:literal, $($suite:ident),+) => {
        [$({
            use $lib::aead::{$suite, Aad, LessSafeKey, Nonce, UnboundKey};
            let key = UnboundKey::new(&$suite, &vec![7; $suite.key_len()]).expect("a key of the right length");
            let key = LessSafeKey::new(key);
            let nonce = || Nonce::assume_unique_for_key([3; 12]);
            let mut sealed = vec![0x5a; RECORD];
            key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed).expect("sealing does not fail");
            let mut buffer = vec![0x5a; RECORD];
            let seal = rate($each, || {
                let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut buffer);
                let _ = std::hint::black_box(tag.expect("sealing does not fail"));
            });
            // Opening destroys its input, so each turn needs a fresh copy; the copy's own cost is measured and taken off. It is the smaller part:
            // where it is not, something has disturbed its measurement.
            let mut copy = sealed.clone();
            let copied = time_per_call($each / 4, || copy.copy_from_slice(std::hint::black_box(&sealed)));
            let opened = time_per_call($each, || {
                copy.copy_from_slice(&sealed);
                key.open_in_place(nonce(), Aad::empty(), &mut copy).expect("what was sealed opens");
            });
            Bulk { provider: $provider, suite: stringify!($suite), seal, open: RECORD as f64 / (opened - copied.min(opened / 2.0)) }
        }),+]
    };
}

/// Measures all suites of both libraries, `each` long.
pub(crate) fn probe(each: Duration) -> Vec<Bulk> {
    let mut all = Vec::new();
    all.extend(probes!(each, aws_lc_rs, "aws-lc-rs", AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305));
    all.extend(probes!(each, ring, "ring", AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305));
    all
}

/// Measures a suite with both libraries, by its name in rustls: the part after the key exchange. Empty: no such suite.
pub(crate) fn probe_suite(name: &str, each: Duration) -> Vec<Bulk> {
    let each = each / 4;
    macro_rules! both {
        ($suite:ident) => {{
            let [aws] = probes!(each, aws_lc_rs, "aws-lc-rs", $suite);
            let [ring] = probes!(each, ring, "ring", $suite);
            vec![aws, ring]
        }};
    }
    if name.ends_with("AES_128_GCM_SHA256") {
        both!(AES_128_GCM)
    } else if name.ends_with("AES_256_GCM_SHA384") {
        both!(AES_256_GCM)
    } else if name.ends_with("CHACHA20_POLY1305_SHA256") {
        both!(CHACHA20_POLY1305)
    } else {
        Vec::new()
    }
}

fn rate(each: Duration, call: impl FnMut()) -> f64 {
    RECORD as f64 / time_per_call(each, call)
}

/// Seconds per call: the fastest batch, as the others were disturbed by something.
fn time_per_call(each: Duration, mut call: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed() < each {
        let batch = Instant::now();
        for _ in 0..BATCH {
            call();
        }
        best = best.min(batch.elapsed().as_secs_f64() / f64::from(BATCH));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_is_the_better_of_both_libraries() {
        let of = |provider, seal, open| Bulk { provider, suite: "AES_256_GCM", seal, open };
        // The one that is fastest at one of both need not be.
        let both = [of("aws-lc-rs", 9e9, 3e9), of("ring", 5e9, 5e9)];
        let best = Bulk::best(&both).expect("there are two");
        assert_eq!((best.provider, best.ceiling()), ("ring", 2.5e9));
        assert!(Bulk::best([]).is_none());
    }

    #[test]
    fn a_suite_is_measured_with_both_libraries() {
        let probed = |name| probe_suite(name, Duration::from_millis(4));
        for name in ["TLS13_AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"] {
            let both = probed(name);
            assert_eq!(both.iter().map(|bulk| bulk.provider).collect::<Vec<_>>(), ["aws-lc-rs", "ring"]);
            assert!(both.iter().all(|bulk| bulk.ceiling() > 0.0 && name.contains(bulk.suite)), "{both:?}");
        }
        assert!(probed("AES_128_CCM_SHA256").is_empty());
    }
}
