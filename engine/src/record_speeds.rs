//! How fast each crypto library opens and seals records on this processor, and which one is taken for each suite.
//!
//! The libraries have different code for the same processor. A probe of some milliseconds knows which is faster on processors that nobody
//! has tabled.

use std::array;
use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wireglass_core::tls::{RecordLibraries, RecordTrial, Suite};
use wireglass_core::x509::Provider;

/// Rounds in which all have their turn, so that what disturbs the machine for a while disturbs all of them. The fastest one counts: the
/// others were disturbed.
const ROUNDS: usize = 9;
/// Records in a turn.
const RECORDS: u32 = 4;
/// How much faster a library has to be than the one of the handshakes, which is taken otherwise.
const CLEARLY: f64 = 1.05;

/// Which library is to protect records, as a configuration says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordLibrary {
    /// The faster one for each suite.
    #[default]
    Auto,
    /// This one for all.
    Fixed(Provider),
}

impl RecordLibrary {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fixed(provider) => provider.name(),
        }
    }

    /// The library of each suite, where `handshakes` has the handshakes. Asks for `speeds` only if they decide.
    pub fn choose<'s>(
        self,
        handshakes: Provider,
        speeds: impl FnOnce() -> &'s RecordSpeeds,
    ) -> RecordLibraries {
        match self {
            Self::Fixed(provider) => RecordLibraries::all(provider),
            Self::Auto if Provider::BUILT_IN.len() == 1 => RecordLibraries::all(handshakes),
            Self::Auto => speeds().fastest(handshakes),
        }
    }
}

/// What one core opens and seals in a second with each library that is built in.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordSpeeds(Vec<RecordSpeed>);

/// One library and suite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordSpeed {
    /// The suite.
    pub suite: Suite,
    /// The library.
    pub library: Provider,
    /// Plaintext that is opened and sealed, in Gbit/s.
    pub gbits: f64,
}

impl RecordSpeeds {
    /// Speeds that are known.
    pub fn new(speeds: Vec<RecordSpeed>) -> Self {
        Self(speeds)
    }

    /// Those of this machine: probed once in the life of a process, in some milliseconds.
    pub fn here() -> &'static Self {
        static HERE: OnceLock<RecordSpeeds> = OnceLock::new();
        HERE.get_or_init(Self::probe)
    }

    fn probe() -> Self {
        let pairs =
            Suite::ALL.into_iter().flat_map(|suite| Provider::BUILT_IN.iter().map(move |l| (suite, *l)));
        let mut probes: Vec<_> = pairs
            .map(|(suite, library)| (suite, library, RecordTrial::new(library, suite), Duration::MAX))
            .collect();
        for _ in 0..ROUNDS {
            for (_, _, trial, fastest) in &mut probes {
                let began = Instant::now();
                let did = (0..RECORDS).try_for_each(|_| trial.as_mut()?.open_and_seal());
                if did.is_some() {
                    *fastest = began.elapsed().min(*fastest);
                }
            }
        }
        let bits = f64::from(RECORDS) * RecordTrial::PLAINTEXT as f64 * 8.0;
        let speed = |(suite, library, _, fastest): (_, _, _, Duration)| RecordSpeed {
            suite,
            library,
            gbits: bits / fastest.as_secs_f64() / 1e9,
        };
        Self(probes.into_iter().map(speed).collect())
    }

    /// The fastest library for each suite; the one of the handshakes, where no other is clearly faster.
    pub fn fastest(&self, handshakes: Provider) -> RecordLibraries {
        RecordLibraries::by_suite(|suite| {
            self.faster(suite, handshakes).map_or(handshakes, |faster| faster.library)
        })
    }

    /// The fastest library of a suite, if it is clearly faster than this one.
    fn faster(&self, suite: Suite, than: Provider) -> Option<&RecordSpeed> {
        let to_beat = self.of(suite, than).unwrap_or(0.0) * CLEARLY;
        let others = self.of_suite(suite).filter(|speed| speed.library != than);
        others.max_by(|a, b| a.gbits.total_cmp(&b.gbits)).filter(|best| best.gbits > to_beat)
    }

    /// What a library does of a suite, in Gbit/s.
    pub fn of(&self, suite: Suite, library: Provider) -> Option<f64> {
        self.of_suite(suite).find(|speed| speed.library == library).map(|speed| speed.gbits)
    }

    /// All libraries' speeds of a suite.
    pub fn of_suite(&self, suite: Suite) -> impl Iterator<Item = &RecordSpeed> {
        self.0.iter().filter(move |speed| speed.suite == suite)
    }
}

/// What is taken and, where it was probed, why: `AES-128-GCM by ring (72 Gbit/s; aws-lc-rs 36), ...`.
pub struct Choice<'s> {
    /// What is taken.
    pub libraries: RecordLibraries,
    /// None: nobody asked for them.
    pub speeds: Option<&'s RecordSpeeds>,
}

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: [String; 3] = array::from_fn(|n| self.of(Suite::ALL[n]));
        f.write_str(&texts.join(", "))
    }
}

impl Choice<'_> {
    /// The library that would be clearly faster than the one that is taken; none: there is none, or nobody has probed.
    pub fn faster(&self, suite: Suite) -> Option<Provider> {
        Some(self.speeds?.faster(suite, self.libraries.of(suite))?.library)
    }

    /// Of one suite.
    pub fn of(&self, suite: Suite) -> String {
        let taken = self.libraries.of(suite);
        let mut text = format!("{} by {}", suite.name(), taken.name());
        let Some(speeds) = self.speeds else { return text };
        let mut words = Vec::new();
        words.extend(speeds.of(suite, taken).map(|gbits| format!("{gbits:.1} Gbit/s")));
        let others = speeds.of_suite(suite).filter(|speed| speed.library != taken);
        words.extend(others.map(|other| format!("{} {:.1}", other.library.name(), other.gbits)));
        if !words.is_empty() {
            text += &format!(" ({})", words.join("; "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default library's speed is 10 everywhere; any other's is that of each suite.
    fn speeds(others: [f64; 3]) -> RecordSpeeds {
        let of = |(suite, other): (Suite, f64)| {
            Provider::BUILT_IN.iter().map(move |&library| {
                let gbits = if library == Provider::default() { 10.0 } else { other };
                RecordSpeed { suite, library, gbits }
            })
        };
        RecordSpeeds::new(Suite::ALL.into_iter().zip(others).flat_map(of).collect())
    }

    /// The last that is built in: the only one, where there is one.
    fn other() -> Provider {
        Provider::BUILT_IN[Provider::BUILT_IN.len() - 1]
    }

    #[test]
    fn the_clearly_faster_library_is_taken_for_each_suite() {
        let (default, other) = (Provider::default(), other());
        let speeds = speeds([20.0, 5.0, 10.3]);
        let choose = |handshakes| RecordLibrary::Auto.choose(handshakes, || &speeds);
        // What is no faster than noise is left with the handshakes.
        let of_default = RecordLibraries { aes_128_gcm: other, ..RecordLibraries::all(default) };
        assert_eq!(choose(default), of_default);
        if Provider::BUILT_IN.len() > 1 {
            let of_other = RecordLibraries { aes_256_gcm: default, ..RecordLibraries::all(other) };
            assert_eq!(choose(other), of_other);
        }
    }

    #[test]
    fn a_fixed_library_is_taken_however_slow_and_without_a_probe() {
        for &library in Provider::BUILT_IN {
            for &handshakes in Provider::BUILT_IN {
                let taken = RecordLibrary::Fixed(library).choose(handshakes, || panic!("probed for nothing"));
                assert_eq!(taken, RecordLibraries::all(library));
            }
        }
    }

    #[test]
    fn a_library_that_cannot_be_probed_is_not_taken() {
        let none = RecordSpeeds::new(Vec::new());
        assert_eq!(none.fastest(other()), RecordLibraries::all(other()));
    }

    #[test]
    fn this_machine_has_a_speed_of_each() {
        let speeds = RecordSpeeds::here();
        for suite in Suite::ALL {
            for &library in Provider::BUILT_IN {
                let gbits = speeds.of(suite, library).expect("probed");
                assert!((0.01..10_000.0).contains(&gbits), "{suite:?} {library:?}: {gbits} Gbit/s");
            }
        }
    }

    #[test]
    fn a_choice_that_costs_speed_is_known_and_one_by_speed_never_does() {
        let speeds = speeds([20.0, 5.0, 10.3]);
        for &library in Provider::BUILT_IN {
            let fixed = Choice { libraries: RecordLibraries::all(library), speeds: Some(&speeds) };
            let chosen = Choice { libraries: speeds.fastest(library), speeds: Some(&speeds) };
            let slower = Suite::ALL.map(|suite| fixed.faster(suite));
            if Provider::BUILT_IN.len() == 1 {
                assert_eq!(slower, [None; 3]);
            } else if library == Provider::default() {
                assert_eq!(slower, [Some(other()), None, None]);
            } else {
                assert_eq!(slower, [None, Some(Provider::default()), None]);
            }
            assert_eq!(Suite::ALL.map(|suite| chosen.faster(suite)), [None; 3]);
            let unknown = Choice { speeds: None, ..fixed };
            assert_eq!(Suite::ALL.map(|suite| unknown.faster(suite)), [None; 3]);
        }
    }

    #[test]
    fn the_choice_says_why() {
        let (speeds, libraries) = (speeds([20.0, 5.0, 10.3]), RecordLibraries::all(Provider::default()));
        let name = Provider::default().name();
        let bare = Choice { libraries, speeds: None };
        assert_eq!(bare.of(Suite::Aes128Gcm), format!("AES-128-GCM by {name}"));
        let text = Choice { libraries, speeds: Some(&speeds) }.to_string();
        assert!(text.starts_with(&format!("AES-128-GCM by {name} (10.0 Gbit/s")), "{text}");
        assert!(text.contains(&format!(", ChaCha20-Poly1305 by {name} (10.0 Gbit/s")), "{text}");
        if Provider::BUILT_IN.len() > 1 {
            assert!(text.contains(&format!("; {} 20.0)", other().name())), "{text}");
        }
    }
}
