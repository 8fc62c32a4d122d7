//! Policy: which flows to decrypt, bypass or block, and how strictly.

mod profile;

pub use profile::{DefectAction, Profile, TlsVersion, UnsupportedAction};
use std::net::SocketAddr; use std::sync::Arc;
pub struct FlowFacts<'a> { pub wire: &'a str, pub vlan: Option<u16>, pub client: SocketAddr, pub server: SocketAddr }
pub struct HelloFacts<'a> { pub sni: Option<&'a str>, pub alpn: &'a [Box<[u8]>], pub ja4: &'a str }
#[derive(Clone,Copy)] pub enum BlockWith { Alert, Reset }
pub enum Decision { Decrypt(Arc<Profile>), Bypass, Block(BlockWith) }
pub struct Verdict { pub rule: Option<Arc<str>>, pub decision: Decision }
pub struct Policy;
impl Policy { pub fn at_syn(&self, _: &FlowFacts) -> Option<Verdict> { None } pub fn at_hello(&self, _: &FlowFacts, _: &HelloFacts) -> Verdict { Verdict{rule:None,decision:Decision::Decrypt(Arc::new(Profile::default()))} } pub fn candidate(&self, p:u16)->bool{p==443} }
