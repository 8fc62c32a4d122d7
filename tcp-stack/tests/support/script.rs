//! Stories as text: what goes in and what must come out, with times. See `tests/scripts/README.md` for the
//! language.

use std::collections::VecDeque;

use bytes::Bytes;
use tcp_stack::{
    AdoptedTimestamps, Adoption, Config, Congestion, Connection, Duration, Event, Flags, Instant, KeepAlive,
    Open, Options, Repair, Segment, Seq, Timestamps,
};

use super::ms;

/// Runs a script; panics with the line that does not hold.
pub fn run(name: &str, text: &str) {
    let mut story = Story::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            story.place = format!("{name}:{}: {line}", index + 1);
            story.line(line);
        }
    }
    assert!(story.connection.is_some(), "{name}: no connection");
    story.place = format!("{name}: end");
    story.expect_silence();
}

/// A segment that has come out.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    at: Instant,
    seq: u32,
    len: usize,
    ack: Option<u32>,
    flags: Flags,
    window: u16,
    options: Options,
}

struct Story {
    place: String,
    now: Instant,
    config: Config,
    connection: Option<Connection>,
    sent: VecDeque<Sent>,
    /// Sequence numbers of the next byte to queue, and of the next byte to read.
    write_at: u32,
    read_at: u32,
}

impl Default for Story {
    fn default() -> Self {
        Story {
            place: String::new(),
            now: Instant::from_secs(100),
            // Most stories are told after a connection's first segments.
            config: Config { quick_acks: 0, ..Config::default() },
            connection: None,
            sent: VecDeque::new(),
            write_at: 0,
            read_at: 0,
        }
    }
}

/// The byte that stands at a sequence number, in either direction.
fn byte_at(seq: u32) -> u8 {
    super::pattern(9, seq as usize)
}

fn bytes_at(seq: u32, len: usize) -> Vec<u8> {
    (0..len).map(|i| byte_at(seq.wrapping_add(i as u32))).collect()
}

impl Story {
    fn fail(&self, why: impl std::fmt::Display) -> ! {
        panic!("{}\n    {why}\n    {:?}\n    {:?}", self.place, self.connection, self.sent)
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace().peekable();
        let mut advance = Duration::ZERO;
        if let Some(time) = words.peek().and_then(|word| word.strip_prefix('+')) {
            advance = Duration::from_micros((self.number::<f64>(time) * 1000.0).round() as u64);
            words.next();
        }
        let Some(verb) = words.next() else { self.fail("nothing to do") };
        let words: Vec<&str> = words.collect();
        let looks = matches!(verb, "state" | "event" | "timer" | "stat" | "drained" | "wanted");
        if verb != ">" {
            self.advance(advance);
        }
        if verb != ">" && !(looks && advance == Duration::ZERO) {
            self.expect_silence();
        }
        match verb {
            ">" => self.expect_segment(advance, &words),
            "<" => self.segment_in(&words),
            "config" => words.iter().for_each(|word| self.configure(word)),
            "adopt" => self.adopt(&words),
            "connect" | "listen" => self.open(verb, &words),
            "send" => self.send(self.number(words[0])),
            "send-fails" => self.send_fails(words[0]),
            "recv" => self.recv(self.number(words[0])),
            "close" => self.with(|c| c.close()),
            "abort" => self.with(|c| c.abort()),
            "too-big" => self.too_big(&words),
            "probe" => {
                let now = self.now;
                self.with(|c| c.probe(now));
            }
            "wanted" => {
                let bytes: usize = self.number(words[0]);
                self.expect("wanted", &bytes.to_string(), |c| c.send_wanted().to_string());
            }
            "send-limit" => {
                let bytes = self.number(words[0]);
                self.with(|c| c.set_send_limit(bytes));
            }
            "limit" => {
                let bytes = self.number(words[0]);
                self.with(|c| c.set_recv_limit(bytes));
            }
            "state" => self.expect("state", words[0], |c| format!("{:?}", c.state())),
            "event" => self.expect_event(words[0]),
            "timer" => self.expect_timer(words[0]),
            "stat" => words.iter().for_each(|word| self.expect_stat(word)),
            "drained" => self.expect("drained", words[0], |c| c.is_send_drained().to_string()),
            "silent" => {}
            other => self.fail(format!("unknown verb {other}")),
        }
    }

    fn number<T: std::str::FromStr>(&self, text: &str) -> T {
        text.parse().unwrap_or_else(|_| self.fail(format!("not a number: {text}")))
    }

    /// `key=value`, or the value 0 of a lone key.
    fn pair<'a>(&self, word: &'a str) -> (&'a str, u64) {
        word.split_once('=').map_or((word, 0), |(key, value)| (key, self.number(value)))
    }

    fn configure(&mut self, word: &str) {
        let (key, value) = self.pair(word);
        let config = &mut self.config;
        match key {
            "send_limit" => config.send_limit = value as usize,
            "initial_recv_limit" => config.initial_recv_limit = value as usize,
            "recv_limit" => config.recv_limit = value as usize,
            "adopted_window_limit" => config.adopted_window_limit = value as usize,
            "out_of_order_limit" => config.out_of_order_limit = value as usize,
            "out_of_order_ranges" => config.out_of_order_ranges = value as u8,
            "max_retries" => config.max_retries = value as u32,
            "max_syn_retries" => config.max_syn_retries = value as u32,
            "user_timeout" => config.user_timeout = Some(ms(value)),
            "zero_window_timeout" => config.zero_window_timeout = Some(ms(value)),
            "time_wait" => config.time_wait = ms(value),
            "fin_wait_2" => config.fin_wait_2 = Some(ms(value)),
            "initial_window" => config.initial_window = value as u32,
            "quick_acks" => config.quick_acks = value as u32,
            "challenges" => config.challenges_per_second = value as u32,
            "challenge_key" => config.challenge_key = value,
            "rto_initial" => config.rto_initial = ms(value),
            "path_floor" => config.path_floor = value as u16,
            "path_base" => config.path_base = value as u16,
            "black_hole_timeouts" => config.black_hole_timeouts = value as u8,
            "flight_segments" => config.flight_segments = value as u32,
            "pacing" => config.pacing = true,
            "newreno" => config.congestion = Congestion::NewReno,
            "keep_alive" => {
                config.keep_alive = KeepAlive { idle: Some(ms(value)), interval: ms(value / 2), probes: 2 };
            }
            other => self.fail(format!("unknown setting {other}")),
        }
    }

    fn adopt(&mut self, words: &[&str]) {
        let mut adoption = Adoption {
            snd_nxt: Seq(1000),
            rcv_nxt: Seq(5000),
            snd_wnd: 65_535,
            snd_scale: 0,
            rcv_scale: 0,
            mss: 1000,
            sack: false,
            timestamps: None,
            rcv_adv: Seq(5000),
            rtt_hint: None,
        };
        let (mut last_sent, mut recent, mut promised) = (None, 0, 65_535);
        for word in words {
            let (key, value) = self.pair(word);
            match key {
                "snd" => adoption.snd_nxt = Seq(value as u32),
                "rcv" => adoption.rcv_nxt = Seq(value as u32),
                "wnd" => adoption.snd_wnd = value as u32,
                "snd_scale" => adoption.snd_scale = value as u8,
                "rcv_scale" => adoption.rcv_scale = value as u8,
                "mss" => adoption.mss = value as u16,
                "promised" => promised = value as u32,
                "sack" => adoption.sack = true,
                "ts" => last_sent = Some(value as u32),
                "ts_recent" => recent = value as u32,
                "rtt" => adoption.rtt_hint = Some(ms(value)),
                other => self.fail(format!("unknown number {other}")),
            }
        }
        adoption.rcv_adv = adoption.rcv_nxt + promised;
        adoption.timestamps =
            last_sent.map(|last_sent| AdoptedTimestamps { last_sent, at: self.now, ts_recent: recent });
        (self.write_at, self.read_at) = (adoption.snd_nxt.0, adoption.rcv_nxt.0);
        self.connection = Some(Connection::adopt(self.now, self.config, adoption));
        self.settle();
    }

    fn open(&mut self, verb: &str, words: &[&str]) {
        let mut open = Open { isn: Seq(999), mss: 1000, window_scale: None, sack: false, timestamps: None };
        let mut peer_isn = 4999;
        for word in words {
            let (key, value) = self.pair(word);
            match key {
                "isn" => open.isn = Seq(value as u32),
                "peer_isn" => peer_isn = value as u32,
                "mss" => open.mss = value as u16,
                "scale" => open.window_scale = Some(value as u8),
                "sack" => open.sack = true,
                "ts" => open.timestamps = Some(value as u32),
                other => self.fail(format!("unknown number {other}")),
            }
        }
        (self.write_at, self.read_at) = (open.isn.0.wrapping_add(1), u32::wrapping_add(peer_isn, 1));
        self.connection = Some(match verb {
            "connect" => Connection::connect(self.now, self.config, open),
            _ => Connection::listen(self.now, self.config, open),
        });
        self.settle();
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Connection) -> R) -> R {
        let Some(connection) = &mut self.connection else { self.fail("no connection yet") };
        let result = act(connection);
        self.settle();
        result
    }

    /// Collects what comes out now.
    fn settle(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if let Err(rule) = connection.check_invariants() {
            self.fail(format!("invariant broken: {rule}"));
        }
        while let Some(transmit) = connection.poll_transmit(self.now) {
            let mut payload = vec![0; transmit.payload_len()];
            transmit.copy_payload(&mut payload);
            let sent = Sent {
                at: self.now,
                seq: transmit.seq.0,
                len: payload.len(),
                ack: transmit.ack.map(|ack| ack.0),
                flags: transmit.flags,
                window: transmit.window,
                options: transmit.options,
            };
            assert_eq!(payload, bytes_at(sent.seq, sent.len), "{}: payload of {sent:?}", self.place);
            self.sent.push_back(sent);
        }
        if let Err(rule) = connection.check_invariants() {
            self.fail(format!("invariant broken: {rule}"));
        }
    }

    /// Lets time pass, timers included.
    fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        while let Some(at) =
            self.connection.as_ref().and_then(Connection::poll_timeout).filter(|at| *at <= until)
        {
            self.now = if at > self.now { at } else { self.now };
            let now = self.now;
            self.with(|c| c.handle_timeout(now));
        }
        self.now = until;
    }

    fn expect_silence(&self) {
        if !self.sent.is_empty() {
            self.fail("something was sent that no line expects");
        }
    }

    fn expect_segment(&mut self, after: Duration, words: &[&str]) {
        let at = self.now + after;
        if self.sent.is_empty() {
            self.advance(after);
        }
        let Some(sent) = self.sent.pop_front() else { self.fail("nothing was sent") };
        let (expected, names) = self.parse_segment(words);
        if sent.at != at {
            self.fail(format!(
                "sent {} us from then: {sent:?}",
                sent.at.total_micros() - self.now.total_micros()
            ));
        }
        let named = |name: &str| names.contains(&name);
        let same = sent.flags == expected.flags
            && (sent.seq, sent.len, sent.ack)
                == (expected.seq.0, expected.len, expected.ack.map(|ack| ack.0))
            && (!named("win") || sent.window == expected.window)
            && (!named("ts") || sent.options.timestamps == expected.options.timestamps)
            && (!sent.flags.syn || sent.options == expected.options)
            && sent.options.sack == expected.options.sack;
        if !same {
            self.fail(format!("sent instead: {sent:?}"));
        }
        self.now = at;
    }

    fn segment_in(&mut self, words: &[&str]) {
        let (parsed, names) = self.parse_segment(words);
        let mut payload = bytes_at(parsed.seq.0, parsed.len);
        if names.contains(&"bad") {
            payload.iter_mut().for_each(|byte| *byte = !*byte);
        }
        let segment = Segment {
            src_port: 1,
            dst_port: 2,
            seq: parsed.seq,
            ack: parsed.ack,
            flags: parsed.flags,
            window: parsed.window,
            options: parsed.options,
            payload: &payload,
        };
        let now = self.now;
        self.with(|c| c.handle_segment(now, &segment));
    }

    /// `FLAGS SEQ(LEN) [ack N] [win N] [mss N] [scale N] [sackok] [ts VAL:ECR] [sack LEFT:RIGHT]... [bad]`
    fn parse_segment<'a>(&self, words: &[&'a str]) -> (Parsed, Vec<&'a str>) {
        let mut words = words.iter().copied();
        let mut parsed = Parsed { window: 65_535, ..Parsed::default() };
        let mut is_ack = false;
        for letter in words.next().unwrap_or_default().chars() {
            let flags = &mut parsed.flags;
            match letter {
                'S' => flags.syn = true,
                'F' => flags.fin = true,
                'R' => flags.rst = true,
                'P' => flags.psh = true,
                'U' => flags.urg = true,
                'E' => flags.ece = true,
                'C' => flags.cwr = true,
                '.' => is_ack = true,
                other => self.fail(format!("unknown flag {other}")),
            }
        }
        let place = words.next().unwrap_or_default();
        let Some((seq, len)) = place.strip_suffix(')').and_then(|place| place.split_once('(')) else {
            self.fail("a segment needs SEQ(LEN)")
        };
        parsed.seq = Seq(self.number(seq));
        parsed.len = self.number(len);
        let (mut names, mut blocks) = (Vec::new(), 0);
        while let Some(name) = words.next() {
            names.push(name);
            let mut value = || words.next().unwrap_or_else(|| self.fail("a number is missing"));
            match name {
                "ack" => parsed.ack = Some(Seq(self.number(value()))),
                "win" => parsed.window = self.number(value()),
                "mss" => parsed.options.mss = Some(self.number(value())),
                "scale" => parsed.options.window_scale = Some(self.number(value())),
                "sackok" => parsed.options.sack_permitted = true,
                "ts" => {
                    let (val, ecr) = self.two(value());
                    parsed.options.timestamps = Some(Timestamps { val, ecr });
                }
                "sack" => {
                    let (left, right) = self.two(value());
                    parsed.options.sack[blocks] = Some((Seq(left), Seq(right)));
                    blocks += 1;
                }
                "bad" => {}
                other => self.fail(format!("unknown word {other}")),
            }
        }
        if is_ack != parsed.ack.is_some() {
            self.fail("the flag . and the word ack go together");
        }
        (parsed, names)
    }

    fn two(&self, text: &str) -> (u32, u32) {
        let Some((left, right)) = text.split_once(':') else { self.fail("two numbers are needed") };
        (self.number(left), self.number(right))
    }

    fn send(&mut self, len: usize) {
        let payload = Bytes::from(bytes_at(self.write_at, len));
        self.write_at = self.write_at.wrapping_add(len as u32);
        if let Err(error) = self.with(|c| c.send(payload)) {
            self.fail(error);
        }
    }

    /// `SEQ MSS VERDICT`
    fn too_big(&mut self, words: &[&str]) {
        let &[seq, mss, expected] = words else { self.fail("too-big needs SEQ MSS VERDICT") };
        let (seq, mss, now) = (Seq(self.number(seq)), self.number(mss), self.now);
        let verdict = self.with(|c| c.handle_packet_too_big(now, seq, mss));
        if format!("{verdict:?}") != expected {
            self.fail(format!("it is {verdict:?}"));
        }
    }

    fn send_fails(&mut self, why: &str) {
        let space = self.with(|c| c.send_space());
        let result = self.with(|c| c.send(Bytes::from(vec![0; space + 1])));
        let found = result.err().map(|error| format!("{error:?}"));
        if found.as_deref() != Some(why) {
            self.fail(format!("{found:?}"));
        }
    }

    /// Exactly `len` bytes are there, and they are right; all are consumed.
    fn recv(&mut self, len: usize) {
        let read_at = self.read_at;
        let found = self.with(|c| c.recv().to_vec());
        if found.len() != len {
            self.fail(format!("{} bytes are there", found.len()));
        }
        if found != bytes_at(read_at, len) {
            self.fail("wrong bytes");
        }
        self.read_at = read_at.wrapping_add(len as u32);
        self.with(|c| c.consume(len));
    }

    fn expect(&mut self, what: &str, expected: &str, look: impl FnOnce(&Connection) -> String) {
        let found = self.with(|c| look(c));
        if found != expected {
            self.fail(format!("{what} is {found}"));
        }
    }

    fn expect_event(&mut self, expected: &str) {
        let event = self.with(Connection::poll_event);
        let found = event.map_or("None".to_owned(), |event: Event| format!("{event:?}"));
        if found != expected {
            self.fail(format!("event is {found}"));
        }
    }

    /// Milliseconds to the next timer, or `none`.
    fn expect_timer(&mut self, expected: &str) {
        let next = self.with(|c| c.poll_timeout());
        let found = next
            .map_or("none".to_owned(), |at| format!("{}", (at - self.now).total_micros() as f64 / 1000.0));
        if found != expected {
            self.fail(format!("timer is {found}"));
        }
    }

    fn expect_stat(&mut self, word: &str) {
        let (key, value) = self.pair(word);
        let now = self.now;
        let info = self.with(|c| c.info(now));
        let stats = info.stats;
        let found = match key {
            "cwnd" => u64::from(info.cwnd),
            "ssthresh" => info.ssthresh.map_or(u64::from(u32::MAX), u64::from),
            "srtt" => info.rtt.map_or(0, |(srtt, _)| srtt.total_millis()),
            "rto" => info.rto.total_millis(),
            "retransmits" => u64::from(stats.retransmits),
            "fast_retransmits" => u64::from(stats.fast_retransmits),
            "rto_events" => u64::from(stats.rto_events),
            "window_probes" => u64::from(stats.window_probes),
            "duplicate_acks" => u64::from(stats.duplicate_acks),
            "duplicate_segments" => u64::from(stats.duplicate_segments),
            "out_of_order" => u64::from(stats.out_of_order),
            "out_of_order_dropped" => u64::from(stats.out_of_order_dropped),
            "overlaps" => u64::from(stats.overlaps),
            "overlap_conflicts" => u64::from(stats.overlap_conflicts),
            "unacceptable" => u64::from(stats.unacceptable),
            "paws_dropped" => u64::from(stats.paws_dropped),
            "bad_acks" => u64::from(stats.bad_acks),
            "challenges" => u64::from(stats.challenges),
            "rttvar" => info.rtt.map_or(0, |(_, rttvar)| rttvar.total_millis()),
            "min_rtt" => info.min_rtt.map_or(0, |rtt| rtt.total_millis()),
            "flight" => u64::from(info.in_flight),
            "sacked" => u64::from(info.sacked),
            "lost" => u64::from(info.lost),
            "flight_again" => u64::from(info.in_flight_again),
            "delivered" => stats.delivered,
            "reordering" => u64::from(info.reordering),
            "duplicate_sacks" => u64::from(stats.duplicate_sacks),
            "sacks_refused" => u64::from(stats.sacks_refused),
            "sacks_reneged" => u64::from(stats.sacks_reneged),
            "tail_probes" => u64::from(stats.tail_probes),
            "tail_losses" => u64::from(stats.tail_losses),
            "spurious_recoveries" => u64::from(stats.spurious_recoveries),
            "flight_limited" => u64::from(stats.flight_limited),
            "pacing_rate" => info.pacing_rate.unwrap_or(0),
            "open" => u64::from(info.repair == Repair::Open),
            "disorder" => u64::from(info.repair == Repair::Disorder),
            "recovery" => u64::from(info.repair == Repair::Recovery),
            "loss" => u64::from(info.repair == Repair::Loss),
            "challenges_limited" => u64::from(stats.challenges_limited),
            "mss" => u64::from(info.segment_size),
            "too_big" => u64::from(stats.too_big),
            "black_holes" => u64::from(stats.black_holes),
            "keep_alives" => u64::from(stats.keep_alives),
            "bytes_in" => stats.bytes_in,
            "recv_limit" => info.recv_limit as u64,
            "recv_window" => u64::from(info.rcv_wnd_told),
            "bytes_out" => stats.bytes_out,
            other => self.fail(format!("unknown counter {other}")),
        };
        if found != value {
            self.fail(format!("{key} is {found}"));
        }
    }
}

#[derive(Default)]
struct Parsed {
    seq: Seq,
    len: usize,
    ack: Option<Seq>,
    flags: Flags,
    window: u16,
    options: Options,
}
