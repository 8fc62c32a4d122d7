//! A flow's conversation in a capture.

use std::sync::LazyLock;

use super::conversation::Output;
use super::frame::{self, Said};
use super::queue::Lost;
use super::settings::Mirror;
use crate::capture::WorkerCapture;
use crate::end::{End, PerEnd};
use crate::event::Timestamp;
use crate::packet::Template;

/// What a record holds at most, and its headers: no link has to carry it.
const MTU: u16 = 16_384 + 60 + 20;

/// All that the ends say, in segments of a record.
static PLAINTEXT: LazyLock<Mirror> = LazyLock::new(|| Mirror { mtu: MTU, ..Mirror::new("capture") });

pub(super) fn plaintext() -> &'static Mirror {
    &PLAINTEXT
}

/// The buffers of a capture.
pub(super) struct ToCapture<'a> {
    pub(super) capture: &'a WorkerCapture,
    pub(super) time: Timestamp,
    pub(super) from: &'a mut PerEnd<Template>,
}

impl Output for ToCapture<'_> {
    fn mirror(&self) -> &Mirror {
        plaintext()
    }

    fn begin(&mut self) {}

    fn ports(&self, from: End) -> (u16, u16) {
        self.from[from].ports()
    }

    fn put(&mut self, from: End, said: &Said<'_>, _: &Lost) {
        let template = &mut self.from[from];
        self.capture.plaintext(self.time, |frame| frame::write(frame, plaintext(), template, said).is_some());
    }
}
