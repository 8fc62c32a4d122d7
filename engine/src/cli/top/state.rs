//! What the screen shows and the keys change.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::rates::{Rates, Share};
use super::table::Sort;
use crate::control::Counters;

/// How it stands.
#[derive(Debug, Default)]
pub(super) struct State {
    last: Option<Counters>,
    pub(super) rates: Option<Rates>,
    /// What there is to say beside the numbers.
    pub(super) note: Option<&'static str>,
    pub(super) sort: Sort,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// A worker's number; none: all of them.
    chosen: Option<usize>,
}

/// What a key asks for beyond the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Redraw,
    Quit,
}

impl State {
    /// New counters have come.
    pub(super) fn take(&mut self, now: Counters) {
        let rates = self.last.as_ref().map(|last| Rates::between(last, &now));
        self.last = Some(now);
        self.note = match rates {
            Some(None) => Some("it was started anew"),
            _ => None,
        };
        // The first reading of another engine: what was is no longer true.
        self.rates = rates.flatten();
    }

    /// The engine has too many who ask; the numbers are those of the time before.
    pub(super) fn note_busy(&mut self) {
        self.note = Some("busy: numbers are old");
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        match (key.code, key.modifiers) {
            (KeyCode::Char('c'), KeyModifiers::CONTROL) | (KeyCode::Char('q' | 'Q'), _) => return Wish::Quit,
            (KeyCode::Char('l'), KeyModifiers::CONTROL) => return Wish::Redraw,
            (KeyCode::Char(' '), _) => self.paused = !self.paused,
            (KeyCode::Char('h' | 'H' | '?'), _) => self.help = !self.help,
            (KeyCode::Esc, _) => self.help = false,
            (KeyCode::Tab | KeyCode::Right, _) => self.sort = self.sort.next(),
            (KeyCode::BackTab | KeyCode::Left, _) => self.sort = self.sort.previous(),
            (KeyCode::Down, _) => self.choose(1),
            (KeyCode::Up, _) => self.choose(-1),
            _ => {}
        }
        Wish::Nothing
    }

    /// The worker above or below, in the order of the screen; above the first are all of them.
    fn choose(&mut self, step: isize) {
        let Some(rates) = &self.rates else { return };
        let sorted = self.sorted(rates);
        let at = sorted.iter().position(|worker| worker.worker == self.chosen).map_or(0, |at| at + 1);
        let at = at.saturating_add_signed(step).min(sorted.len());
        self.chosen = at.checked_sub(1).and_then(|at| sorted[at].worker);
    }

    /// The workers, those with the most first.
    pub(super) fn sorted<'r>(&self, rates: &'r Rates) -> Vec<&'r Share> {
        let mut workers: Vec<_> = rates.workers.iter().collect();
        // Equals stay as they are: by number.
        workers.sort_by(|a, b| self.sort.key(b).total_cmp(&self.sort.key(a)));
        workers
    }

    /// The worker whose drops are shown, and its numbers; none, and those of all.
    pub(super) fn selected<'r>(&self, rates: &'r Rates) -> (Option<usize>, &'r Share) {
        let found =
            rates.workers.iter().find(|worker| worker.worker.is_some() && worker.worker == self.chosen);
        found.map_or((None, &rates.total), |worker| (worker.worker, worker))
    }

    /// What the keys do now, in few words.
    pub(super) fn keys(&self) -> &'static str {
        match (self.paused, self.help) {
            (_, true) => "h back  q quit",
            (true, _) => "PAUSED: space goes on  h help  q quit",
            (false, _) => "h help  q quit",
        }
    }
}
