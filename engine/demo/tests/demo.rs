//! The demo, as a newcomer runs it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;

#[test]
fn it_ends_as_it_should_whatever_the_cables_lose() {
    for loss in ["0", "10"] {
        let done =
            Command::new(env!("CARGO_BIN_EXE_wireglass-demo")).args(["--loss", loss]).output().unwrap();
        let told = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{loss} %: {told}");
        // Each scene, and the event log behind them.
        for words in ["Decrypted", "policy.bypass", "cert.expired", "policy.block", "\"event_type\":\"http\""]
        {
            assert!(told.contains(words), "{loss} %: no `{words}` in\n{told}");
        }
    }
}
