//! x
use crate::log::event::HttpEvent;
use crate::reason::InspectorOff;
use crate::side::Side;
/// x
pub struct HttpInspector {}
impl HttpInspector {
    /// x
    pub fn new(_alpn: Option<&[u8]>) -> Self {
        Self {}
    }
    /// x
    pub fn bytes(&mut self, _from: Side, _plaintext: &[u8]) {}
    /// x
    pub fn poll_transaction(&mut self) -> Option<Box<HttpEvent>> {
        None
    }
    /// x
    pub fn finish(&mut self) {}
    /// x
    pub fn off_reason(&self) -> Option<InspectorOff> {
        None
    }
}
