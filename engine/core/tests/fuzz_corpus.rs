//! The fuzz targets without libFuzzer: every input of the kept corpus, and many small changes of them, from a
//! fixed seed. `scripts/fuzz.sh` looks for new ones, guided by coverage.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panic")]
#![expect(clippy::disallowed_methods, reason = "reads the kept corpus")]

#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "../../../tcp-stack/fuzz/bodies/mutate.rs"]
#[allow(missing_docs, unreachable_pub, reason = "written for the fuzz targets")]
mod mutate;

use mutate::{Rng, mutate};

/// Runs of changed inputs for each target.
const MUTATIONS: u64 = 10_000;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(corpus.len() >= 5, "{folder}: a corpus is missing");
    for (path, input) in paths.iter().zip(&corpus) {
        let result = std::panic::catch_unwind(|| run(input));
        assert!(result.is_ok(), "{} fails", path.display());
    }
    for seed in 0..MUTATIONS {
        let mut rng = Rng(seed);
        let (one, other) = (rng.below(corpus.len()), rng.below(corpus.len()));
        let input = mutate(&mut rng, &corpus[one], &corpus[other]);
        let result = std::panic::catch_unwind(|| run(&input));
        assert!(result.is_ok(), "{target}, seed {seed}: {input:?} fails");
    }
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target), bodies::$target::run);
            }
        )*
    };
}

targets! { packet lenient fragments client_hello http1 http1_rules http2 http2_relay certificate server_flight fetched relay quic starttls body icap signatures }
