//! QUIC: two ends that say anything, with the client's frames well encrypted. Nothing passes for a connection whose hello has not.

use rustls::quic::Version;
use wireglass_core::quic::{FromClient, InitialSuite, QuicFlow};
use wireglass_core::x509::Provider;

#[path = "../../core/tests/support/quic.rs"]
mod client;

/// What a flow may hold: a hello twice, keys, and a few names.
const MAX_MEMORY: usize = 160 * 1024;
/// Datagrams of one run.
const MAX_DATAGRAMS: usize = 32;
/// Longest frames of a packet.
const MAX_FRAMES: usize = 1400;

/// `data` is a series of what is said: a byte that says what it is, two with its length, and it.
pub fn run(mut data: &[u8]) {
    let Some(suite) = InitialSuite::new(Provider::default()) else { return };
    let mut flow = QuicFlow::default();
    let mut has_passed = false;
    let mut passed = Vec::new();
    for number in 0..MAX_DATAGRAMS as u64 {
        let Some((&[what, high, low], rest)) = data.split_first_chunk() else { return };
        let (said, rest) = rest.split_at(rest.len().min(usize::from(high) << 8 | usize::from(low)));
        data = rest;
        let version = if what & 0x10 == 0 { Version::V1 } else { Version::V2 };
        let id = if what & 0x20 == 0 { client::ID } else { client::SERVER_ID };
        let begins = what & 2 != 0;
        let datagram = match what & 3 {
            0 => said.to_vec(),
            1 => {
                assert_eq!(flow.from_server(said), has_passed);
                continue;
            }
            // So many bytes are needed to protect the header (RFC 9001, 5.4.2).
            _ => {
                client::initial(version, id, number, &[&said[..said.len().min(MAX_FRAMES)], &[0; 4]].concat())
            }
        };
        match flow.from_client(suite, &datagram) {
            FromClient::Pass => {
                assert!(has_passed, "passes before anything has been decided");
                let is_decided = passed.contains(&(what & 0x10, id));
                assert!(!begins || is_decided, "a connection passes that none was decided for");
            }
            FromClient::Hello(hello) => {
                let _ = (hello.quic_info(), hello.info());
                let passes = what & 0x40 != 0;
                flow.decide(passes);
                has_passed |= passes;
                if passes && begins {
                    passed.push((what & 0x10, id));
                }
            }
            FromClient::Hold | FromClient::Refused | FromClient::Unread => {}
        }
        assert_eq!(flow.passes(), has_passed);
        assert!(flow.memory() <= MAX_MEMORY, "{} bytes", flow.memory());
    }
}
