//! The table of workers.

use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use wireglass_core::phase::FlowPhase;

use super::rates::Share;
use super::units::{bytes, count, percent, rate};

/// A column of numbers.
pub(super) struct Column<R> {
    pub(super) title: &'static str,
    /// The gap before it included.
    pub(super) width: usize,
    pub(super) show: fn(&R) -> String,
}

impl<R> Column<R> {
    pub(super) fn heading(&self) -> String {
        format!("{:>width$}", self.title, width = self.width)
    }

    pub(super) fn cell(&self, row: &R) -> String {
        format!("{:>width$}", (self.show)(row), width = self.width)
    }
}

/// What the workers can be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Number,
    Busy,
    In,
    Out,
    Flows,
    Queue,
    Legs,
    Drops,
}

impl Sort {
    const ALL: [Self; 8] =
        [Self::Number, Self::Busy, Self::In, Self::Out, Self::Flows, Self::Queue, Self::Legs, Self::Drops];

    /// The next one, in the order of the columns.
    pub(super) fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    /// The one before.
    pub(super) fn previous(self) -> Self {
        Self::ALL[(self as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }

    /// How much a worker has of it.
    pub(super) fn key(self, worker: &Share) -> f64 {
        match self {
            Self::Number => 0.0,
            Self::Busy => worker.busy,
            Self::In => worker.traffic.rx_packets_per_second,
            Self::Out => worker.traffic.tx_packets_per_second,
            Self::Flows => worker.active() as f64,
            Self::Queue => worker.handshake_queue as f64,
            Self::Legs => worker.flow_bytes as f64,
            Self::Drops => worker.drops_per_second,
        }
    }
}

/// A column of the table.
struct Place {
    /// What stands over its title.
    over: &'static str,
    column: Column<Share>,
    /// It is what this sorts by.
    sort: Option<Sort>,
    /// Only where there is room.
    wide: bool,
}

const fn place(
    over: &'static str,
    title: &'static str,
    width: usize,
    sort: Option<Sort>,
    show: fn(&Share) -> String,
) -> Place {
    Place { over, column: Column { title, width, show }, sort, wide: false }
}

const fn wide(over: &'static str, title: &'static str, width: usize, show: fn(&Share) -> String) -> Place {
    Place { over, column: Column { title, width, show }, sort: None, wide: true }
}

/// 80 characters, or 124.
const PLACES: [Place; 21] = [
    place("", "#", 3, Some(Sort::Number), |worker| worker.worker.map_or("all".into(), |n| n.to_string())),
    wide("", "core", 5, |worker| worker.core.map_or("-".into(), |core| core.to_string())),
    place("", "busy", 5, Some(Sort::Busy), |worker| percent(worker.busy)),
    place("in", "pkt/s", 6, Some(Sort::In), |worker| rate(worker.traffic.rx_packets_per_second)),
    place("in", "bit/s", 6, None, |worker| rate(worker.traffic.rx_bits_per_second)),
    place("out", "pkt/s", 6, Some(Sort::Out), |worker| rate(worker.traffic.tx_packets_per_second)),
    place("out", "bit/s", 6, None, |worker| rate(worker.traffic.tx_bits_per_second)),
    place("flows", "open", 6, Some(Sort::Flows), |worker| phase(worker, FlowPhase::Opening)),
    place("flows", "peek", 6, None, |worker| phase(worker, FlowPhase::Peeking)),
    place("flows", "decr", 6, None, |worker| phase(worker, FlowPhase::Decrypted)),
    place("flows", "bypas", 6, None, |worker| phase(worker, FlowPhase::Bypassed)),
    place("flows", "block", 6, None, |worker| phase(worker, FlowPhase::Blocked)),
    wide("flows", "new/s", 6, |worker| rate(worker.flows_opened_per_second)),
    wide("hands", "done/s", 7, |worker| rate(worker.handshakes_done_per_second)),
    wide("hands", "fail/s", 7, |worker| rate(worker.handshakes_failed_per_second)),
    place("hands", "queue", 6, Some(Sort::Queue), |worker| count(worker.handshake_queue)),
    wide("pools", "max", 6, |worker| percent(worker.fullest_pool())),
    wide("flow", "bytes", 6, |worker| bytes(worker.flow_bytes)),
    place("flow", "mem", 5, Some(Sort::Legs), |worker| percent(worker.legs())),
    wide("TCP", "resent", 7, |worker| rate(worker.retransmits_per_second)),
    place("", "drop/s", 7, Some(Sort::Drops), |worker| rate(worker.drops_per_second)),
];

fn phase(worker: &Share, phase: FlowPhase) -> String {
    count(worker.flows.get(phase.name()).copied().unwrap_or(0))
}

fn places(wide: bool) -> impl Iterator<Item = &'static Place> {
    PLACES.iter().filter(move |place| wide || !place.wide)
}

/// Two lines over the table; the title of the column that it is sorted by stands out.
pub(super) fn headings(wide: bool, sort: Sort, style: Style) -> [Line<'static>; 2] {
    let over: String =
        places(wide).map(|place| format!("{:>width$}", place.over, width = place.column.width)).collect();
    let titles = places(wide).map(|place| {
        let style = if place.sort == Some(sort) { style.fg(Color::Cyan).bold() } else { style };
        Span::styled(place.column.heading(), style)
    });
    [Line::styled(over, style), Line::from_iter(titles)]
}

/// A line of the table.
pub(super) fn row(worker: &Share, wide: bool, style: Style) -> Line<'static> {
    let cells: String = places(wide).map(|place| place.column.cell(worker)).collect();
    let style = if worker.drops_per_second > 0.0 { style.fg(Color::Red) } else { style };
    Line::styled(cells, style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_80_characters_and_a_wide_screen() {
        let width = |wide| places(wide).map(|place| place.column.width).sum::<usize>();
        assert_eq!((width(false), width(true)), (80, usize::from(super::super::screen::WIDE)));
    }

    #[test]
    fn the_keys_go_through_all_orders_and_each_is_a_column() {
        let mut sort = Sort::default();
        for _ in Sort::ALL {
            assert_eq!(places(false).filter(|place| place.sort == Some(sort)).count(), 1, "{sort:?}");
            assert_eq!(sort.next().previous(), sort);
            sort = sort.next();
        }
        assert_eq!(sort, Sort::default());
    }
}
