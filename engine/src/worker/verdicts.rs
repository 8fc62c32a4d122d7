//! Flows that an IDS at a mirror has judged.

use wireglass_core::port::Io;

use super::Worker;

/// Most verdicts of one turn.
const EACH_TURN: usize = 8;

impl<IO: Io> Worker<IO> {
    /// A turn's share of the verdicts that wait. Each is one look-up.
    pub(super) fn take_verdicts(&mut self) -> usize {
        for done in 0..EACH_TURN {
            let (inbox, mut fate) = (self.verdicts.clone(), None);
            let is_taken = inbox.take(|hash, key, verdict| {
                let id = self.table.find(hash, key)?;
                self.with_flow(id, |flow, cx| fate = Some(flow.end_externally(cx, verdict)));
                fate
            });
            if !is_taken {
                return done;
            }
        }
        EACH_TURN
    }
}
