//! What the tests share: certificates, and pairs of hosts with sessions that know what they must receive.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // each test file uses its own part

pub mod pki;

use wireglass::peers::{Random, Step};

/// A request and a response of seeded bytes, and the scripts of both ends.
pub struct Exchange {
    pub request: Vec<u8>,
    pub response: Vec<u8>,
}

impl Exchange {
    pub fn new(seed: u64, request: usize, response: usize) -> Self {
        let mut random = Random::new(seed);
        Self { request: random.bytes(request), response: random.bytes(response) }
    }

    /// Sends the request, takes the response, closes first.
    pub fn client(&self) -> Vec<Step> {
        vec![Step::Send(self.request.clone()), Step::Receive(self.response.len()), Step::Finish]
    }

    /// Takes the request, answers, closes after the client.
    pub fn server(&self) -> Vec<Step> {
        vec![
            Step::Receive(self.request.len()),
            Step::Send(self.response.clone()),
            Step::AwaitEnd,
            Step::Finish,
        ]
    }
}
