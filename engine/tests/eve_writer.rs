//! The way from the ring to the file: order, bounds, rotation, a full disk.

use std::fs;
use std::io;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wireglass::log::{
    DatagramAddress, Destination, Facility, LogSender, LogWriter, RING_BYTES, StatsSource, ring,
};
use wireglass::metrics::{LogDrop, Metrics};
use wireglass_core::end::PerEnd;
use wireglass_core::event::{Event, EventKind, FlowEvent, FlowHead, HttpEvent, Timestamp, Volume};
use wireglass_core::phase::FlowPhase;
use wireglass_core::reason::Reason;

fn head(flow_id: u64) -> FlowHead {
    let end = |port| SocketAddr::from(([192, 0, 2, 1], port));
    FlowHead {
        time: Timestamp(1),
        flow_id,
        wire: "lan".into(),
        vlan: [None; 2],
        client: end(1),
        server: end(2),
        starttls: None,
    }
}

fn http(flow_id: u64) -> Event {
    Event::Http(head(flow_id), Box::new(HttpEvent { protocol: "HTTP/1.1", ..HttpEvent::default() }))
}

fn flow(flow_id: u64) -> Event {
    let event = FlowEvent {
        start: Timestamp(0),
        end: Timestamp(1),
        to_server: Volume::default(),
        to_client: Volume::default(),
        flags: PerEnd::default(),
        is_tls: false,
        action: None,
        phase: FlowPhase::Opening,
        reason: Reason::Idle,
        midstream: false,
        ordered: None,
        unread: None,
        learned: None,
        mirrors: Box::default(),
    };
    Event::Flow(head(flow_id), Box::new(event))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a log");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn ids(path: &Path) -> Vec<u64> {
    lines(path).iter().filter_map(|line| line["flow_id"].as_u64()).collect()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_stop_writes_all_that_was_pushed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("eve.json");
    fs::write(&path, "{\"flow_id\":0}\n").expect("an older log");
    let (sender, receiver) = ring(10_000);
    let writer = LogWriter::start(&Destination::File(path.clone()), receiver, None).expect("a writer");
    let threads: Vec<_> = (0..4u64)
        .map(|worker| {
            let sender = sender.clone();
            thread::spawn(move || (1..=1000).for_each(|n| sender.push(http(worker * 10_000 + n))))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    writer.stop();
    let ids = ids(&path);
    assert_eq!(ids.len(), 4001);
    for worker in 0..4 {
        let own: Vec<_> = ids.iter().filter(|&&id| id > 0 && id / 10_000 == worker).collect();
        assert_eq!(own.len(), 1000);
        assert!(own.is_sorted(), "events of one worker stay in order");
    }
    assert_eq!(sender.counters().expect("counters").written(), 4000);
}

#[test]
fn a_full_ring_drops_by_kind_and_never_waits() {
    let (sender, _receiver) = ring(2);
    for n in 0..5 {
        sender.push(http(n));
    }
    sender.push(flow(9));
    let counters = sender.counters().expect("counters");
    assert_eq!(counters.dropped(EventKind::Http), 3);
    assert_eq!(counters.dropped(EventKind::Flow), 1);
    assert_eq!(counters.dropped(EventKind::Tls), 0);
    let disabled = LogSender::disabled();
    disabled.push(http(1));
    assert!(!disabled.is_enabled() && disabled.counters().is_none());
}

#[test]
fn long_events_fill_a_ring_before_its_places_are_taken() {
    let (sender, receiver) = ring(10_000);
    let long = |flow_id| {
        let url = Some("u".repeat(1 << 20).into());
        Event::Http(head(flow_id), Box::new(HttpEvent { url, ..HttpEvent::default() }))
    };
    let fit = (RING_BYTES >> 20) as u64 - 1;
    (0..fit + 3).for_each(|n| sender.push(long(n)));
    let counters = sender.counters().expect("counters");
    let dropped = || [LogDrop::Bytes, LogDrop::Events].map(|why| counters.dropped_as(EventKind::Http, why));
    assert_eq!((dropped(), counters.dropped(EventKind::Http)), ([3, 0], 3));
    let other = sender.with_own_ring();
    other.push(long(100));
    assert_eq!(dropped(), [3, 0], "each ring has bytes of its own");
    assert_eq!(std::iter::from_fn(|| receiver.pop()).count() as u64, fit + 1);
    sender.push(long(101));
    assert_eq!(dropped(), [3, 0], "what was taken out does not count any more");
}

#[test]
fn a_stop_empties_all_rings_though_each_is_as_long_as_a_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("eve.json");
    let (sender, receiver) = ring(10);
    let senders: Vec<_> = (0..50).map(|_| sender.with_own_ring()).collect();
    for (ring, sender) in senders.iter().enumerate() {
        (0..10).for_each(|n| sender.push(http(ring as u64 * 10 + n)));
    }
    LogWriter::start(&Destination::File(path.clone()), receiver, None).expect("a writer").stop();
    assert_eq!(ids(&path).len(), 500);
}

#[test]
fn events_of_several_rings_come_by_their_time() {
    let (sender, receiver) = ring(10);
    let at = |flow_id, time| {
        let Event::Http(head, http) = http(flow_id) else { unreachable!() };
        Event::Http(FlowHead { time: Timestamp(time), ..head }, http)
    };
    let [first, second] = [sender.with_own_ring(), sender.with_own_ring()];
    for (sender, time) in [(&first, 3), (&first, 9), (&second, 1), (&second, 4), (&sender, 2), (&first, 8)] {
        sender.push(at(0, time));
    }
    let times: Vec<_> = std::iter::from_fn(|| receiver.pop()).map(|event| event.time().0).collect();
    assert_eq!(times, [1, 2, 3, 4, 9, 8], "within a ring the order stays");
}

#[test]
fn a_transaction_that_was_read_gives_its_memory_back_to_whoever_put_it_in() {
    let (log, receiver) = ring(8);
    let other = log.with_own_ring();
    let place = |event: &Event| match event {
        Event::Http(_, transaction) => std::ptr::from_ref(&**transaction),
        _ => std::ptr::null(),
    };
    let mut event = http(1);
    let at = place(&event);
    log.push(event);
    assert!(log.take_back().is_none(), "it waits");
    assert_eq!(receiver.read(place), Some(at));
    assert!(other.take_back().is_none(), "of another ring");
    assert_eq!(log.take_back().map(|transaction| std::ptr::from_ref(&*transaction)), Some(at));
    assert!(log.take_back().is_none());
    // What is large, or no transaction, is freed.
    event = http(2);
    if let Event::Http(_, transaction) = &mut event {
        transaction.url = Some("x".repeat(2000).into());
    }
    for event in [event, flow(3)] {
        log.push(event);
        assert!(receiver.read(|_| ()).is_some());
        assert!(log.take_back().is_none());
    }
    assert!(receiver.read(|_| ()).is_none());
}

#[test]
fn lines_reach_the_file_within_a_second_or_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("eve.json");
    let (sender, receiver) = ring(10);
    let _writer = LogWriter::start(&Destination::File(path.clone()), receiver, None).expect("a writer");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o137, 0, "not for everybody");
    sender.push(flow(7));
    let start = Instant::now();
    eventually("the line is written", || ids(&path) == [7]);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_rotation_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, old) = (folder.path().join("eve.json"), folder.path().join("eve.json.1"));
    let (sender, receiver) = ring(10);
    let writer = LogWriter::start(&Destination::File(path.clone()), receiver, None).expect("a writer");
    sender.push(http(1));
    fs::rename(&path, &old).expect("renamed");
    sender.push(http(2));
    writer.reopen();
    eventually("the path is there again", || path.exists());
    assert_eq!(ids(&old), [1, 2]);
    sender.push(http(3));
    writer.stop();
    assert_eq!((ids(&old), ids(&path)), (vec![1, 2], vec![3]));
}

/// What the program's log of this process says, all tests together.
#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<u8>>>);

impl Messages {
    /// Those of all tests of this process.
    fn collect() -> Self {
        static ALL: OnceLock<Messages> = OnceLock::new();
        let begin = || {
            let messages = Self::default();
            let into = messages.clone();
            let subscriber =
                tracing_subscriber::fmt().with_ansi(false).with_writer(move || into.clone()).finish();
            tracing::subscriber::set_global_default(subscriber).expect("nobody else collects them");
            messages
        };
        ALL.get_or_init(begin).clone()
    }

    /// The lines about one path.
    fn about(&self, path: &Path) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8");
        let path = path.display().to_string();
        text.lines().filter(|line| line.contains(&path)).map(str::to_owned).collect()
    }
}

impl io::Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A rotation is reported for what it was: done, or not, and then where the lines go meanwhile.
#[test]
fn a_reopening_says_where_the_lines_go() {
    let messages = Messages::collect();
    let folder = tempfile::tempdir().expect("a folder");
    let (log, moved) = (folder.path().join("log"), folder.path().join("moved"));
    fs::create_dir(&log).expect("a folder for the log");
    let path = log.join("eve.json");
    let (sender, receiver) = ring(10);
    let writer = LogWriter::start(&Destination::File(path.clone()), receiver, None).expect("a writer");
    fs::rename(&log, &moved).expect("renamed");
    let old = moved.join("eve.json");
    // Each time it is asked, it answers.
    for asked in 1..=2 {
        writer.reopen();
        eventually("it says so", || messages.about(&path).len() == asked);
        let said = messages.about(&path).pop().expect("a line");
        assert!(said.contains(" WARN ") && said.contains("No such file"), "{said}");
        let goes_on = format!("lines go on into the file that was open before, {}", old.display());
        assert!(said.contains(&goes_on) && !said.contains("lost"), "{said}");
    }
    sender.push(http(1));
    eventually("the line is in the old file", || ids(&old) == [1]);
    assert_eq!(sender.counters().expect("counters").lost(), 0);
    fs::create_dir(&log).expect("the folder is there again");
    writer.reopen();
    eventually("it says so", || messages.about(&path).len() == 3);
    let said = messages.about(&path).pop().expect("a line");
    assert!(said.contains(" INFO ") && said.contains("reopened the event log"), "{said}");
    sender.push(http(2));
    writer.stop();
    assert_eq!((ids(&old), ids(&path)), (vec![1], vec![2]));
}

#[test]
fn a_full_disk_is_counted_and_survived() {
    let (sender, receiver) = ring(1000);
    let writer = LogWriter::start(&Destination::File("/dev/full".into()), receiver, None).expect("a writer");
    (0..500).for_each(|n| sender.push(http(n)));
    let counters = sender.counters().expect("counters");
    eventually("the failure is counted", || counters.lost() == 500);
    assert!(counters.write_errors() >= 1);
    assert_eq!(counters.written(), 0);
    writer.stop();
    let (_, receiver) = ring(1);
    assert!(LogWriter::start(&Destination::File("/nowhere/eve.json".into()), receiver, None).is_err());
}

#[test]
fn stats_come_in_time_and_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("eve.json");
    let (sender, receiver) = ring(10);
    let metrics = Arc::new(Metrics::new(&["lan".into()], 1));
    metrics.set_log(sender.counters().expect("counters"));
    let worker = metrics.worker(0).expect("a worker");
    let every = Duration::from_millis(100);
    let writer =
        LogWriter::start(&Destination::File(path.clone()), receiver, Some(StatsSource { metrics, every }))
            .expect("a writer");
    eventually("some stats", || lines(&path).len() >= 2);
    worker.flows_opened.add(5);
    writer.stop();
    let lines = lines(&path);
    let total = |line: &Value| line["stats"]["flow"]["total"].as_u64();
    assert!(lines.iter().all(|line| line["event_type"] == "stats"));
    assert_eq!(lines.last().and_then(total), Some(5), "the last one has the last numbers");
}

#[test]
fn the_end_of_a_failure_is_told() {
    let messages = Messages::collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("eve.sock");
    let (sender, receiver) = ring(1000);
    let writer = LogWriter::start(&Destination::UnixStream(path.clone()), receiver, None).expect("a writer");
    sender.push(http(1));
    eventually("it complains", || messages.about(&path).len() == 1);
    let _listener = UnixListener::bind(&path).expect("a socket");
    eventually("it is well again", || {
        sender.push(http(2));
        messages.about(&path).len() == 2
    });
    let said = messages.about(&path).pop().expect("a line");
    assert!(said.contains(" INFO ") && said.contains("the event log is written again"), "{said}");
    writer.stop();
}

/// What was lost while nobody listened is counted, and whoever listens later gets whole lines.
#[test]
fn a_stream_socket_may_come_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("eve.sock");
    let (sender, receiver) = ring(1000);
    let writer = LogWriter::start(&Destination::UnixStream(path.clone()), receiver, None).expect("a writer");
    let counters = sender.counters().expect("counters");
    sender.push(http(1));
    eventually("nobody is there", || counters.lost() == 1);
    for id in [2, 3] {
        let listener = UnixListener::bind(&path).expect("a socket");
        // What comes until it is connected is lost.
        let reader = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let lines = BufReader::new(stream).lines();
            let mut ids = lines.map(|line| {
                let line = line.expect("a whole line");
                serde_json::from_str::<Value>(&line).expect("JSON")["flow_id"].as_u64()
            });
            // Before it there may be some that had waited.
            ids.find(|found| *found == Some(id)).is_some()
        });
        while !reader.is_finished() {
            sender.push(http(id));
            thread::sleep(Duration::from_millis(50));
        }
        assert!(reader.join().expect("no panic"), "{id} has arrived");
        fs::remove_file(&path).expect("it is there");
        // The reader has gone: the next write says so.
        let lost = counters.lost();
        eventually("it is missed", || {
            sender.push(http(99));
            counters.lost() > lost
        });
    }
    writer.stop();
    assert!(counters.written() >= 2);
}

#[test]
fn a_datagram_for_each_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("eve.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let (sender, receiver) = ring(1000);
    let writer = LogWriter::start(&Destination::UnixDatagram(path), receiver, None).expect("a writer");
    (0..5).for_each(|id| sender.push(http(id)));
    writer.stop();
    let mut buffer = [0; 4096];
    for id in 0..5 {
        let length = socket.recv(&mut buffer).expect("a datagram");
        let event: Value = serde_json::from_slice(&buffer[..length]).expect("JSON, and nothing else");
        assert_eq!(event["flow_id"], id);
    }
    assert_eq!(sender.counters().expect("counters").written(), 5);
}

#[test]
fn syslog_over_udp_and_by_its_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let unix = UnixDatagram::bind(&path).expect("a socket");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = udp.local_addr().expect("an address");
    for to in [DatagramAddress::Unix(path), DatagramAddress::Udp(address)] {
        let (sender, receiver) = ring(1000);
        let to = Destination::Syslog(to, Facility::LOCAL5);
        let writer = LogWriter::start(&to, receiver, None).expect("a writer");
        sender.push(http(7));
        writer.stop();
    }
    let (mut by_unix, mut by_udp) = ([0; 4096], [0; 4096]);
    let (unix_length, udp_length) = (unix.recv(&mut by_unix), udp.recv(&mut by_udp));
    for message in [&by_unix[..unix_length.expect("a message")], &by_udp[..udp_length.expect("a message")]] {
        let text = str::from_utf8(message).expect("UTF-8");
        let (header, event) = text.split_at(text.find('{').expect("JSON"));
        assert!(header.starts_with("<174>1 ") && header.ends_with(" eve - "), "{header}");
        assert_eq!(serde_json::from_str::<Value>(event).expect("JSON")["flow_id"], 7);
    }
}
