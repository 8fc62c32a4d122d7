//! What the tests share: certificates, an engine between two hosts, and sessions that know what they must receive.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // each test file uses its own part

pub(crate) mod fragments;
pub(crate) mod frames;
pub(crate) mod lab;
pub(crate) mod mirror;
pub(crate) mod raw;
pub(crate) mod rules;
pub(crate) mod wire;

use wireglass_testbed::{Ending, Random, Report, Step};

/// A request and a response of seeded bytes, and the scripts of both ends.
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
}

impl Exchange {
    pub(crate) fn new(seed: u64, request: usize, response: usize) -> Self {
        let mut random = Random::new(seed);
        Self { request: random.bytes(request), response: random.bytes(response) }
    }

    /// Sends the request, takes the response, closes first.
    pub(crate) fn client(&self) -> Vec<Step> {
        vec![Step::Send(self.request.clone()), Step::Receive(self.response.len()), Step::Finish]
    }

    /// Takes the request, answers, closes after the client.
    pub(crate) fn server(&self) -> Vec<Step> {
        vec![
            Step::Receive(self.request.len()),
            Step::Send(self.response.clone()),
            Step::AwaitEnd,
            Step::Finish,
        ]
    }

    /// Both ends have received all, and each has seen the other close in order.
    #[track_caller]
    pub(crate) fn assert_done(&self, client: &Report, server: &Report, case: &dyn std::fmt::Debug) {
        let both = format!("{case:?}\nclient: {}\nserver: {}", summary(client), summary(server));
        assert!(server.received == self.request, "the request differs: {both}");
        assert!(client.received == self.response, "the response differs: {both}");
        assert_eq!(client.end, Some(Ending::Finished), "{both}");
        assert_eq!(server.end, Some(Ending::Finished), "{both}");
    }
}

/// A report in one line, without the bytes.
pub(crate) fn summary(report: &Report) -> String {
    let Report { received, sent, end, script_done, handshake, .. } = report;
    let secure = handshake.is_some();
    let n = received.len();
    format!("TLS {secure}, received {n} bytes, sent {sent}, end {end:?}, script done {script_done}")
}
