//! What is on the screen, from top to bottom: the engine, its workers, what was dropped, its ports.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};
use wireglass_core::reason::{PacketDrop, PortDrop};

use super::rates::{MirrorRates, PortRates, Rates, Share, share};
use super::state::State;
use super::table::{self, Column};
use super::units::{bytes, count, percent, rate, uptime};
use crate::cli::plain::Plain;

/// From here on there is room for what is nice to have.
pub(super) const WIDE: u16 = 124;
/// Rows of workers and of ports that are shown even where there is little room.
const FEW: usize = 2;
/// Columns of a reason's code, of what is a second, and since the start.
const CODE: usize = 28;
const EACH: usize = 8;
const TOTAL: usize = 13;

/// So much of a pool, or of the memory for flows, is worth a look: from here on new flows get none of the latter.
const NEARLY_ALL: f64 = 0.875;

const HEADING: Style = Style::new().add_modifier(Modifier::REVERSED);

const HELP: &str = "\
Keys
  q, Ctrl-C       quit
  space           hold the numbers, and go on
  tab, right      sort the workers by the next column; back: shift-tab, left
  up, down        choose a worker, whose buffers and drops are shown, or all
  h, ?            this text, and back

Workers           rates are means over the last interval; the rest is now
  busy            time of turns that found something to do: 100% is a full core
  in, out         frames from and to the ports; bits from the Ethernet header on
  open ... block  flows by phase; `decr`: decrypted, terminated here
  queue           handshakes that wait for a thread of the pool, or its answer
  flow mem        what flows hold in memory, of limits.worker_bytes
Buffers           frames, records, short records, references to them: in use
  heap            records for which there was none
Wide terminals    also: cores, new flows, handshakes, pools, flow bytes, resent

Dropped           packets, and why; port.* is what the ports lost by themselves
Ports             what the drivers count; frames lost by them since the start
Mirrors           frames to their ports; flows shown, and those cut short

docs/top.md has the rest.";

/// All of it.
pub(super) struct Screen<'s>(pub(super) &'s State);

impl Widget for Screen<'_> {
    fn render(self, area: Rect, into: &mut Buffer) {
        let width = area.width.into();
        let lines = match &self.0.rates {
            _ if self.0.help => help(self.0, width),
            Some(rates) => page(self.0, rates, width, Some(area.height.into())),
            None => vec![title(self.0, None, width, self.0.keys()), Line::raw("counting ...")],
        };
        Paragraph::new(lines).render(area, into);
    }
}

/// The same as text: every worker, reason and port, however many there are.
pub(super) fn text(state: &State, rates: &Rates, width: u16) -> String {
    let lines = page(state, rates, width.into(), None);
    lines.iter().map(|line| format!("{}\n", line.to_string().trim_end())).collect()
}

fn help(state: &State, width: usize) -> Vec<Line<'static>> {
    std::iter::once(title(state, state.rates.as_ref(), width, state.keys()))
        .chain(HELP.lines().map(Line::raw))
        .collect()
}

fn page(state: &State, rates: &Rates, width: usize, height: Option<usize>) -> Vec<Line<'static>> {
    // Paper has no keys.
    let keys = height.map_or("", |_| state.keys());
    let mut lines = vec![title(state, Some(rates), width, keys)];
    let (selected, share) = state.selected(rates);
    lines.extend(summary(rates, share));
    lines.push(Line::default());

    let workers = state.sorted(rates);
    let at = workers.iter().position(|worker| worker.worker == selected);
    let drops = drops(share, width);
    let wide = width >= WIDE.into();
    // Five headings and gaps, and the row of all workers.
    let mirrors = mirrors(&rates.mirrors);
    let room = height.map(|height| height.saturating_sub(lines.len() + 7 + mirrors.len()));
    let rows = divide(room, [workers.len(), drops.len(), rates.ports.len()]);

    lines.extend(table::headings(wide, state.sort, HEADING));
    let all = std::iter::once((&rates.total, Style::new()));
    // The chosen one is in view.
    let first = at.map_or(0, |at| (at + 1).saturating_sub(rows[0]));
    let workers = workers.iter().skip(first).take(rows[0]);
    let workers = workers.map(|worker| {
        let chosen = selected.is_some() && worker.worker == selected;
        (*worker, if chosen { HEADING } else { Style::new() })
    });
    lines.extend(all.chain(workers).map(|(share, style)| table::row(share, wide, style)));

    lines.push(Line::default());
    let whose = selected.map_or("Dropped".into(), |worker| format!("Dropped by worker {worker}"));
    let heading = format!("{whose:<CODE$}{:>EACH$}{:>TOTAL$}", "each s", "since start");
    lines.push(Line::styled(fit(&heading, width), HEADING));
    lines.extend(drops.into_iter().take(rows[1]));

    if !rates.ports.is_empty() {
        lines.push(Line::default());
        lines.push(Line::styled(fit(&port_heading(), width), HEADING));
        lines.extend(rates.ports.iter().take(rows[2]).map(|port| Line::raw(port_row(port))));
    }
    let headed = mirrors.into_iter().enumerate();
    lines.extend(headed.map(|(n, text)| match n {
        0 => Line::default(),
        1 => Line::styled(fit(&text, width), HEADING),
        _ => Line::raw(text),
    }));
    lines
}

/// How many rows of workers, reasons and ports there is room for: each gets a few first, then workers before reasons.
fn divide(room: Option<usize>, wanted: [usize; 3]) -> [usize; 3] {
    let Some(mut room) = room else { return wanted };
    let mut rows = [0; 3];
    for most in [FEW, usize::MAX] {
        for (rows, wanted) in rows.iter_mut().zip(wanted) {
            let more = wanted.min(most).saturating_sub(*rows).min(room);
            *rows += more;
            room -= more;
        }
    }
    rows
}

fn title(state: &State, rates: Option<&Rates>, width: usize, keys: &'static str) -> Line<'static> {
    let ordered = rates.map(orders).unwrap_or_default();
    let mut left = match rates {
        Some(rates) => format!(
            "wireglass {}  up {}{}{}  every {}",
            Plain(&rates.version),
            uptime(rates.uptime_seconds),
            generation(rates),
            fleet(rates),
            seconds(rates.interval_seconds),
        ),
        None => "wireglass".into(),
    };
    if let Some(note) = &state.note {
        left = format!("{left}  {note}");
    }
    let gap = width.saturating_sub(keys.len() + ordered.chars().count());
    let held = if state.paused { Style::new().fg(Color::Yellow).bold() } else { Style::new() };
    let left = Span::styled(format!("{:<gap$}", fit(&left, gap)), held);
    let is_ordered = !ordered.is_empty();
    Line::from(vec![alarming(ordered, is_ordered), left, Span::raw(keys)])
}

/// The workers that have failed, a signer that is not there and the orders that stand, before all else: who looks at numbers must know
/// that little is decrypted.
fn orders(rates: &Rates) -> String {
    let failed = rates.failed_workers.iter().map(|worker| format!("WORKER {worker} FAILED: UNINSPECTED  "));
    let orders = rates.orders.iter().rev().map(|order| {
        let what = match order.order.as_str() {
            "bypass" => "BYPASS ALL",
            "drain" if order.is_of_fleet() => "DRAINED BY FLEET",
            "drain" => "DRAINING",
            _ => "ORDERED",
        };
        match order.left_seconds {
            Some(left) => format!("{what}, {} left  ", uptime(left as f64)),
            None => format!("{what}  "),
        }
    });
    let fleet = rates.fleet.iter().flat_map(|fleet| {
        let refused = (!fleet.fault.is_empty()).then_some("FLEET POLICY REFUSED  ");
        (!fleet.connected).then_some("NO ETCD  ").into_iter().chain(refused).map(str::to_owned)
    });
    let is_down = rates.signer.as_ref().is_some_and(|signer| !signer.up);
    failed.chain(is_down.then(|| "NO SIGNER  ".to_owned())).chain(orders).chain(fleet).collect()
}

/// The fleet's policy that is in force here, and how many engines there are; nothing of an engine that is in none.
fn fleet(rates: &Rates) -> String {
    match &rates.fleet {
        Some(fleet) if fleet.connected => {
            format!("  fleet gen {}, {} engine(s)", fleet.generation, fleet.engines)
        }
        Some(fleet) => format!("  fleet gen {}", fleet.generation),
        None => String::new(),
    }
}

/// Which settings are in force, and for how long; nothing of an engine that does not say.
fn generation(rates: &Rates) -> String {
    match rates.generation {
        0 => String::new(),
        number => format!("  gen {number}, {}", uptime(rates.generation_age_seconds)),
    }
}

fn seconds(interval: f64) -> String {
    // What was measured is never quite what was asked for.
    format!("{} s", (interval * 10.0).round() / 10.0)
}

/// What the table does not say: of all workers, and the memory of one or of all.
fn summary(rates: &Rates, of: &Share) -> [Line<'static>; 3] {
    let total = &rates.total;
    let lost = total.drops_per_second;
    let unlogged = rates.log_dropped.saturating_add(rates.log_lost);
    let heap = total.heap_records_per_second;
    let whose = of.worker.map_or(String::new(), |worker| format!("worker {worker}: "));
    let pools = of.pools.iter().map(|pool| {
        let used = share(pool.in_use, pool.size);
        alarming(format!("{} {}  ", Plain(&pool.pool), percent(used)), used >= NEARLY_ALL)
    });
    let legs = format!("flow bytes {} of {}", bytes(of.flow_bytes), bytes(of.flow_bytes_limit));
    [
        Line::from(vec![
            Span::raw(format!(
                "flows {} of {}, new {}/s  ",
                count(total.active()),
                count(total.flows_limit),
                rate(total.flows_opened_per_second)
            )),
            alarming(format!("dropped {}/s", rate(lost)), lost > 0.0),
            Span::raw(format!("  resent {}/s  ", rate(total.retransmits_per_second))),
            alarming(format!("heap {}/s", rate(heap)), heap > 0.0),
        ]),
        Line::from(vec![
            Span::raw(format!(
                "handshakes done {}/s, failed {}/s, queued {}  excluded {}  ",
                rate(total.handshakes_done_per_second),
                rate(total.handshakes_failed_per_second),
                count(total.handshake_queue),
                count(rates.exclusions),
            )),
            alarming(format!("events lost {}", count(unlogged)), unlogged > 0),
            alarming(one_way(rates.asymmetric_flows), true),
        ]),
        Line::from_iter(
            std::iter::once(Span::raw(whose)).chain(pools).chain([alarming(legs, of.legs() >= NEARLY_ALL)]),
        ),
    ]
}

/// Nothing, where both directions of all connections come through this engine.
fn one_way(flows: u64) -> String {
    if flows == 0 { String::new() } else { format!("  asymmetric {}", count(flows)) }
}

fn alarming(text: String, is_so: bool) -> Span<'static> {
    if is_so { Span::styled(text, Style::new().fg(Color::Red).bold()) } else { Span::raw(text) }
}

/// What is dropped now comes first, then what was dropped most.
fn drops(of: &Share, width: usize) -> Vec<Line<'static>> {
    let mut drops: Vec<_> = of.drops.iter().collect();
    drops.sort_by(|(a, x), (b, y)| {
        y.per_second.total_cmp(&x.per_second).then(y.total.cmp(&x.total)).then(a.cmp(b))
    });
    let lines = drops.into_iter().map(|(code, drops)| {
        let (name, each) = (Plain(code).to_string(), rate(drops.per_second));
        let total =
            if drops.total < 1_000_000_000_000 { drops.total.to_string() } else { count(drops.total) };
        let numbers = format!("{:<CODE$}{each:>EACH$}{total:>TOTAL$}  ", fit(&name, CODE - 1));
        let help = fit(meaning(code), width.saturating_sub(numbers.len()));
        let style = if drops.per_second > 0.0 { Style::new().fg(Color::Red) } else { Style::new() };
        Line::from(vec![Span::styled(numbers, style), Span::raw(help)])
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { vec![Line::raw("nothing")] } else { lines }
}

/// What a reason's code says to people; nothing, if a newer engine has it.
fn meaning(code: &str) -> &'static str {
    let of_worker = PacketDrop::ALL.iter().map(|why| (why.code(), why.help()));
    let of_port = PortDrop::ALL.iter().map(|why| (why.code(), why.help()));
    of_worker.chain(of_port).find(|(known, _)| *known == code).map_or("", |(_, help)| help)
}

const PORT: [Column<PortRates>; 4] = [
    Column { title: "in/s", width: 7, show: |port| rate(port.traffic.rx_packets_per_second) },
    Column { title: "bit/s", width: 7, show: |port| rate(port.traffic.rx_bits_per_second) },
    Column { title: "out/s", width: 7, show: |port| rate(port.traffic.tx_packets_per_second) },
    Column { title: "bit/s", width: 7, show: |port| rate(port.traffic.tx_bits_per_second) },
];
const PORT_NAME: usize = 20;
const LOST: usize = 8;

fn port_heading() -> String {
    let traffic: String = PORT.iter().map(Column::heading).collect();
    let lost = ["missed", "no buf", "rx err", "tx err"].map(|title| format!("{title:>LOST$}")).concat();
    format!("{:<PORT_NAME$}{traffic}{lost}", "Ports")
}

fn port_row(port: &PortRates) -> String {
    let traffic: String = PORT.iter().map(|column| column.cell(port)).collect();
    let lost = |why: &PortDrop| count(port.drops.get(why.code()).map_or(0, |drops| drops.total));
    let lost: String = PortDrop::ALL.iter().map(|why| format!("{:>LOST$}", lost(why))).collect();
    format!("{:<PORT_NAME$}{traffic}{lost}", fit(&Plain(&port.port).to_string(), PORT_NAME - 1))
}

const MIRROR: [Column<MirrorRates>; 6] = [
    Column { title: "out/s", width: 7, show: |mirror| rate(mirror.tx_packets_per_second) },
    Column { title: "bit/s", width: 7, show: |mirror| rate(mirror.tx_bits_per_second) },
    Column { title: "flows", width: 8, show: |mirror| count(mirror.flows) },
    Column { title: "lost", width: 8, show: |mirror| count(mirror.flows_lost) },
    Column { title: "drop/s", width: 8, show: |mirror| rate(mirror.drops_per_second) },
    Column {
        title: "dropped",
        width: 9,
        show: |mirror| {
            count(mirror.drops.values().fold(0, |sum: u64, drops| sum.saturating_add(drops.total)))
        },
    },
];

/// A gap, a heading, and a line for each; nothing where there is none.
fn mirrors(all: &[MirrorRates]) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let titles: String = MIRROR.iter().map(Column::heading).collect();
    let heading = format!("{:<PORT_NAME$}{titles}", "Mirrors");
    let rows = all.iter().map(|mirror| {
        let cells: String = MIRROR.iter().map(|column| column.cell(mirror)).collect();
        format!("{:<PORT_NAME$}{cells}", fit(&Plain(&mirror.mirror).to_string(), PORT_NAME - 1))
    });
    [String::new(), heading].into_iter().chain(rows).collect()
}

/// Text that is not wider, with a sign that there was more; padded, so that a heading is a bar.
fn fit(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => format!("{text:<width$}"),
        Some(_) if width == 0 => String::new(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::super::state::Wish;
    use super::*;
    use crate::control::operate::OrderRecord;
    use crate::control::{
        Counters, EngineRecord, MirrorRecord, PoolRecord, PortRecord, SignerRecord, WorkerRecord,
    };
    use crate::fleet::status::FleetRecord;

    /// So many workers, after so many seconds; each has twice as much to do as the one before.
    fn counters(workers: u32, seconds: u64) -> Counters {
        let worker = |n: u32| {
            let done = seconds << n;
            WorkerRecord {
                worker: n as usize,
                core: Some(n as usize + 1),
                busy_us: 100_000 * done,
                rx_packets: 123_456 * done,
                rx_bytes: 123_456_000 * done,
                tx_packets: 123_000 * done,
                tx_bytes: 123_000_000 * done,
                flows: ["opening", "peeking", "decrypted", "bypassed", "blocked"]
                    .map(|phase| (phase.into(), 111 << n))
                    .into(),
                flows_limit: 65_536,
                flows_opened: 50 * done,
                handshake_queue: 7 << n,
                handshakes_started: 50 * done,
                handshakes_done: 40 * done,
                handshakes_failed: 3 * done,
                flow_bytes: 12_345_678 << n,
                flow_bytes_limit: 268_435_456,
                pools: [
                    ("frames", 8_192, 16_383),
                    ("records", 4_000, 4_095),
                    ("short", 0, 8_191),
                    ("references", 77, 16_383),
                ]
                .map(|(pool, in_use, size)| PoolRecord { pool: pool.into(), in_use, size })
                .into(),
                heap_records: done,
                retransmits: 5 * done,
                drops: match n {
                    0 => BTreeMap::from([("packet.bad_tcp_checksum".into(), 9)]),
                    _ => BTreeMap::from([
                        ("packet.tx_ring_full".into(), 12 * done),
                        ("packet.of_the_future".into(), 1_234_567_890_123),
                    ]),
                },
            }
        };
        let port = |name: &str, missed| PortRecord {
            port: name.into(),
            rx_packets: 123_456 * seconds,
            rx_bytes: 123_456_000 * seconds,
            tx_packets: 123_000 * seconds,
            tx_bytes: 123_000_000 * seconds,
            drops: BTreeMap::from([("port.rx_missed".into(), missed)]),
        };
        Counters {
            version: "0.1.0".into(),
            engine: EngineRecord {
                uptime_us: (93_784 + seconds) * 1_000_000,
                generation: 12,
                generation_age_us: (198 + seconds) * 1_000_000,
                generations_older: 0,
                log_dropped: 0,
                log_lost: 3,
                asymmetric_flows: 0,
                exclusions: 17,
                orders: Vec::new(),
                mirrors: Vec::new(),
                fleet: None,
                failed_workers: Vec::new(),
                signer: Some(SignerRecord { up: true, starts: 1, requests: BTreeMap::new() }),
            },
            workers: (0..workers).map(worker).collect(),
            ports: vec![port("net_af_packet0", 77 * seconds), port("0000:3b:00.1-a-long-name", 0)],
        }
    }

    fn state(workers: u32) -> State {
        let mut state = State::default();
        state.take(counters(workers, 10));
        state.take(counters(workers, 12));
        state
    }

    fn press(state: &mut State, code: KeyCode) {
        assert_eq!(state.press(KeyEvent::new(code, KeyModifiers::NONE)), Wish::Nothing);
    }

    fn drawn(state: &State, (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        terminal.draw(|frame| frame.render_widget(Screen(state), frame.area())).expect("drawn");
        let cells = terminal.backend().buffer().content();
        let lines = cells
            .chunks(usize::from(width).max(1))
            .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>());
        let lines: Vec<_> = lines.map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n").trim_end().to_owned() + "\n"
    }

    #[track_caller]
    fn assert_golden(drawn: &str, golden: &str) {
        assert_eq!(drawn, golden, "\n{drawn}");
    }

    #[test]
    fn it_looks_as_it_should_on_80_by_24_and_on_a_wide_terminal() {
        let mut two = state(2);
        assert_golden(&drawn(&two, (80, 24)), include_str!("golden/narrow.txt"));
        assert_golden(&drawn(&two, (WIDE, 24)), include_str!("golden/wide.txt"));
        press(&mut two, KeyCode::Char('h'));
        assert_golden(&drawn(&two, (80, 24)), include_str!("golden/help.txt"));
    }

    #[test]
    fn as_text_nothing_is_left_out() {
        let state = state(12);
        let rates = state.rates.as_ref().expect("two readings");
        let text = text(&State::default(), rates, WIDE);
        assert_golden(&text, include_str!("golden/text.txt"));
    }

    #[test]
    fn an_order_of_an_operator_stands_first() {
        let order = |order: &str, by: &str, left_seconds| OrderRecord {
            order: order.into(),
            by: by.into(),
            left_seconds,
        };
        let mut ordered = counters(1, 12);
        ordered.engine.orders =
            vec![order("drain", "operator", None), order("bypass", "operator", Some(872))];
        let mut state = State::default();
        state.take(counters(1, 10));
        state.take(ordered);
        let title = |size| drawn(&state, size).lines().next().unwrap_or_default().to_owned();
        let wide = title((WIDE, 24));
        assert!(wide.starts_with("BYPASS ALL, 14 min 32 s left  DRAINING  wireglass 0.1.0  up "), "{wide}");
        assert!(title((80, 24)).starts_with("BYPASS ALL, 14 min 32 s left  DRAINING"));
        let rates = state.rates.as_ref().expect("two readings");
        assert!(text(&State::default(), rates, WIDE).starts_with("BYPASS ALL, 14 min 32 s left"));
        let mut both = counters(1, 13);
        both.engine.orders = vec![order("drain", "operator", None), order("drain", "fleet", None)];
        state.take(both);
        let title = drawn(&state, (80, 24));
        assert!(title.starts_with("DRAINED BY FLEET  DRAINING  wireglass"), "{title}");
        let mut failed = counters(1, 14);
        failed.engine.failed_workers = vec![1];
        state.take(failed);
        assert!(drawn(&state, (80, 24)).starts_with("WORKER 1 FAILED: UNINSPECTED"));
        let mut alone = counters(1, 16);
        alone.engine.signer = Some(SignerRecord { up: false, starts: 1, requests: BTreeMap::new() });
        state.take(alone.clone());
        assert!(drawn(&state, (80, 24)).starts_with("NO SIGNER  wireglass 0.1.0"));
        alone.engine.signer = None;
        alone.engine.uptime_us += 2_000_000;
        alone.engine.fleet =
            Some(FleetRecord { generation: 7, fault: "no".into(), ..FleetRecord::default() });
        state.take(alone.clone());
        let shown = drawn(&state, (WIDE, 24));
        assert!(shown.starts_with("NO ETCD  FLEET POLICY REFUSED  "), "{shown}");
        assert!(shown.contains("  fleet gen 7  "), "{shown}");
        alone.engine.fleet =
            Some(FleetRecord { connected: true, generation: 7, engines: 3, ..FleetRecord::default() });
        alone.engine.uptime_us += 2_000_000;
        state.take(alone);
        assert!(drawn(&state, (WIDE, 24)).contains("  fleet gen 7, 3 engine(s)  "));
    }

    #[test]
    fn mirrors_stand_below_the_ports_where_there_are_any() {
        let mirrored = |seconds| {
            let mut counters = counters(2, seconds);
            counters.engine.mirrors = vec![MirrorRecord {
                mirror: "ids".into(),
                frames: 1000 * seconds,
                bytes: 1_000_000 * seconds,
                flows: 40 * seconds,
                flows_lost: 3,
                drops: BTreeMap::from([
                    ("mirror.dropped".into(), 50 * seconds),
                    ("mirror.no_buffer".into(), 1),
                ]),
            }];
            counters
        };
        let mut state = State::default();
        state.take(mirrored(10));
        state.take(mirrored(12));
        for drawn in
            [drawn(&state, (80, 24)), text(&state, state.rates.as_ref().expect("two readings"), WIDE)]
        {
            let last: Vec<_> = drawn.lines().rev().take(3).map(str::trim_end).collect();
            assert_eq!(
                last,
                [
                    "ids                   1.00k  8.00M     480       3      50      601",
                    "Mirrors               out/s  bit/s   flows    lost  drop/s  dropped",
                    "",
                ],
                "{drawn}"
            );
            assert!(drawn.contains("\nPorts "), "{drawn}");
        }
    }

    #[test]
    fn keys_sort_choose_and_hold() {
        let mut state = state(12);
        let first = |state: &State| {
            let rates = state.rates.as_ref().expect("two readings");
            state.sorted(rates)[0].worker
        };
        assert_eq!(first(&state), Some(0), "by number");
        press(&mut state, KeyCode::Tab);
        assert_eq!(first(&state), Some(4), "the first that is busy all the time");
        press(&mut state, KeyCode::Right);
        assert_eq!(first(&state), Some(11), "what comes in");
        let screen = drawn(&state, (80, 24));
        assert!(screen.contains("\nDropped  ") && screen.contains("\n 11 100%"), "{screen}");
        press(&mut state, KeyCode::Down);
        let screen = drawn(&state, (80, 24));
        assert!(
            screen.contains("Dropped by worker 11") && screen.contains("worker 11: frames 50%"),
            "{screen}"
        );
        (0..20).for_each(|_| press(&mut state, KeyCode::Down));
        let screen = drawn(&state, (80, 24));
        assert!(screen.contains("Dropped by worker 0") && screen.contains("\n  0  10%"), "in view: {screen}");
        (0..20).for_each(|_| press(&mut state, KeyCode::Up));
        assert!(drawn(&state, (80, 24)).contains("\nDropped  "));
        press(&mut state, KeyCode::Char(' '));
        assert!(drawn(&state, (80, 24)).lines().next().is_some_and(|title| title.contains("PAUSED")));
        for (code, modifiers) in
            [(KeyCode::Char('q'), KeyModifiers::NONE), (KeyCode::Char('c'), KeyModifiers::CONTROL)]
        {
            assert_eq!(state.press(KeyEvent::new(code, modifiers)), Wish::Quit);
        }
    }

    #[test]
    fn another_engine_begins_anew() {
        let mut state = state(1);
        state.take(counters(1, 0));
        let screen = drawn(&state, (80, 24));
        assert!(screen.contains("counting ...") && screen.contains("started anew"), "{screen}");
        state.take(counters(1, 1));
        assert!(drawn(&state, (80, 24)).contains("\n  0  10%"));
    }

    /// However small the terminal, and whatever is said: no panic, and nothing that commands a terminal.
    #[test]
    fn every_size_and_every_number_can_be_drawn() {
        let mut absurd = counters(12, 1);
        absurd.version = "\u{1b}[2J".into();
        absurd.ports[0].port = "\u{1b}]0;title\u{7}\u{202e}é".repeat(50);
        for worker in &mut absurd.workers {
            let drops = worker.drops.keys().map(|code| (format!("{code}\u{9b}2J").into(), u64::MAX));
            *worker = WorkerRecord {
                rx_bytes: u64::MAX,
                tx_packets: u64::MAX,
                flow_bytes: u64::MAX,
                handshake_queue: u64::MAX,
                flows_limit: 0,
                pools: vec![PoolRecord { pool: "\u{1b}c".into(), in_use: u64::MAX, size: 0 }],
                drops: drops.collect(),
                ..worker.clone()
            };
        }
        let mut state = State::default();
        state.take(counters(12, 0));
        state.take(absurd);
        for size in [(0, 0), (1, 1), (5, 3), (20, 10), (79, 24), (80, 12), (300, 100)] {
            let screen = drawn(&state, size);
            assert!(!screen.chars().any(|c| c.is_control() && c != '\n'), "{screen}");
        }
        let text = text(&state, state.rates.as_ref().expect("two readings"), WIDE);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    }
}
