//! Real connections, recorded on a plain wire, written as captures of several kinds, and replayed; and captures that are none.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ca_files::{NewCas, create};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use wireglass_core::reason::PacketDrop;
use wireglass_core::x509::Provider;

use super::capture::{Capture, CaptureError, Packet};
use super::player::{Played, Player};
use super::progress;
use super::render::{Line, Row};
use crate::config::Config;
use wireglass_testbed::{
    ClientOptions, Crossing, Duration, Heading, Host, HostConfig, Impairment, Instant, Pki, Random,
    ServerOptions, Session, Simulation, Step, Wire, providers,
};

const RULES: &str = r#"
[[wire]]
name = "lan"
inside = "0000:03:00.0"
outside = "0000:03:00.1"
[ca]
trusted = { cert = "ca/trusted.pem", key = "ca/trusted.key" }
untrusted = { cert = "ca/untrusted.pem", key = "ca/untrusted.key" }
[trust]
system = false
roots = ["ca/trusted.pem"]
[[rule]]
name = "no banking"
sni = ["*.bank.example"]
action = "bypass"
[[rule]]
name = "no ads"
sni = ["*.ads.example"]
action = "block"
[[rule]]
name = "all the rest"
action = "decrypt"
[policy]
default = "block"
"#;

/// When the captures begin, in microseconds.
const BEGAN: u64 = 1_795_464_845_123_456;

fn config(rules: &str) -> (TempDir, Config) {
    let (folder, file) = write(rules);
    let config = Config::load(&file).expect("in order");
    (folder, config)
}

/// A folder with two CAs and this configuration.
pub(super) fn write(rules: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let dir = folder.path().join("ca");
    create(&NewCas { dir, name: None, days: 30, force: false, provider: Provider::default(), now })
        .expect("two CAs");
    let file = folder.path().join("wire.toml");
    fs::write(&file, rules).expect("writable");
    (folder, file)
}

/// Three visits, as they passed over a wire.
fn visits() -> Vec<(u64, Vec<u8>)> {
    let host = |number| Host::new(Instant::ZERO, HostConfig::numbered(number));
    let impairment = Impairment { loss: 0.02, ..Impairment::default() };
    let mut simulation = Simulation::new(host(1), host(2), Wire::default(), impairment, 7);
    simulation.record();
    let pki = Pki::new("Internet").expect("a CA");
    let (_, crypto) = providers().into_iter().next().expect("a provider");
    for (port, name) in [(40_001, "www.bank.example"), (40_002, "x.ads.example"), (40_003, "www.example.com")]
    {
        let identity = pki.identity_with(&[name], |_| {}).expect("a certificate");
        let mut client = ClientOptions::new(crypto.clone(), vec![pki.root()]);
        client.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut server = ServerOptions::new(crypto.clone(), identity.chain, identity.key);
        server.alpn = vec![b"http/1.1".to_vec()];
        let script = [Step::Receive(5), Step::Send(vec![b'x'; 20_000]), Step::AwaitEnd, Step::Finish];
        let server = Session::tls_server(server.build().expect("a server"), script).expect("a server");
        let script = [Step::Send(b"hello".to_vec()), Step::Receive(20_000), Step::Finish];
        let client = Session::tls_client(client.build().expect("a client"), name, script).expect("a client");
        let address = simulation.server.address(false).expect("an address");
        simulation.server.listen(443, server);
        simulation.client.connect(SocketAddr::new(address, 443), port, client);
        simulation.run(Duration::from_secs(60));
        simulation.settle(Duration::from_secs(60));
        simulation.server.stop_listening();
    }
    let ipv4 =
        |crossing: &&Crossing| crossing.heading == Heading::In && crossing.frame[12..14] == [0x08, 0x00];
    let entered = simulation.recorded().iter().filter(ipv4);
    entered.map(|c| (BEGAN + c.at.total_micros().unsigned_abs(), c.frame.clone())).collect()
}

fn pcap(packets: &[(u64, Vec<u8>)], link: u32, header: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let words =
        |out: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|word| out.extend(word.to_le_bytes()));
    words(&mut out, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link]);
    for (time, frame) in packets {
        let length = (frame.len() - header) as u32;
        words(&mut out, &[(time / 1_000_000) as u32, (time % 1_000_000) as u32, length, length]);
        out.extend(&frame[header..]);
    }
    out
}

fn pcapng(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut block = |kind: u32, words: &[u32], data: &[u8]| {
        let length = (12 + words.len() * 4 + data.len().next_multiple_of(4)) as u32;
        out.extend([kind.to_le_bytes(), length.to_le_bytes()].concat());
        words.iter().for_each(|word| out.extend(word.to_le_bytes()));
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(length.to_le_bytes());
    };
    block(0x0a0d_0d0a, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX], &[]);
    block(1, &[1, 0], &[]);
    for (time, frame) in packets {
        let length = frame.len() as u32;
        block(6, &[0, (time >> 32) as u32, *time as u32, length, length], frame);
    }
    out
}

fn read(bytes: &[u8]) -> Result<Vec<Packet>, CaptureError> {
    let mut capture = Capture::of(std::io::Cursor::new(bytes.to_vec()))?;
    let mut packets = Vec::new();
    while let Some(packet) = capture.next()? {
        packets.push(packet);
    }
    Ok(packets)
}

/// All packets of a file.
pub(super) fn packets_of(path: &Path) -> Vec<Packet> {
    let mut capture = Capture::open(path).expect("a capture");
    std::iter::from_fn(|| capture.next().expect("whole")).collect()
}

/// A pcap file of these.
pub(super) fn pcap_of(packets: &[Packet]) -> Vec<u8> {
    let packets: Vec<_> = packets.iter().map(|packet| (packet.time, packet.frame.clone())).collect();
    pcap(&packets, 1, 0)
}

fn play(config: &Config, packets: Vec<Packet>) -> Vec<Played> {
    let wire: Arc<str> = "lan".into();
    let began = packets.first().map_or(0, |packet| packet.time);
    let mut player = Player::new(config, &wire, began).expect("an engine");
    packets.into_iter().for_each(|packet| player.play(packet));
    let mut flows = player.ended();
    flows.extend(player.finish().0);
    flows.sort_by_key(|flow| flow.id);
    flows
}

fn table(flows: &[Played]) -> String {
    flows.iter().map(|flow| format!("{}\n", Line::of(&Row::new(flow)))).collect()
}

/// Each line without its JA4, whose form is another test's business.
fn decisions(flows: &[Played]) -> Vec<String> {
    let text = table(flows);
    text.lines()
        .map(|line| {
            line.split_whitespace().filter(|word| !word.starts_with("t1")).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

const EXPECTED: [&str; 3] = [
    "10.0.0.1:40001 > 10.0.0.2:443 www.bank.example h2,http/1.1 bypass rule no banking",
    "10.0.0.1:40002 > 10.0.0.2:443 x.ads.example h2,http/1.1 block rule no ads",
    "10.0.0.1:40003 > 10.0.0.2:443 www.example.com h2,http/1.1 decrypt rule all the rest",
];

#[test]
fn each_flow_gets_what_policy_says_whatever_the_kind_of_capture() {
    let (_folder, config) = config(RULES);
    let visits = visits();
    let of_ethernet = [pcap(&visits, 1, 0), pcapng(&visits)];
    let packets: Vec<_> = of_ethernet.iter().map(|bytes| read(bytes).expect("a capture")).collect();
    assert_eq!(packets[0], packets[1], "both kinds say the same");
    assert_eq!(packets[0].len(), visits.len());
    assert!(
        packets[0]
            .iter()
            .zip(&visits)
            .all(|(packet, (time, frame))| packet.time == *time && packet.frame == *frame)
    );
    let flows = play(&config, packets[0].clone());
    assert_eq!(decisions(&flows), EXPECTED, "{}", table(&flows));
    assert!(
        flows.iter().all(|flow| flow.ja4.as_ref().is_some_and(|ja4| ja4.starts_with("t13d"))),
        "{flows:?}"
    );
    for link in [101, 228] {
        let raw = read(&pcap(&visits, link, 14)).expect("a capture without Ethernet");
        assert_eq!(decisions(&play(&config, raw)), EXPECTED, "{link}");
    }
    // What stands before the packet on a loopback, in both byte orders, and in PPP.
    for (link, head) in [(0, [2, 0, 0, 0]), (108, [0, 0, 0, 2]), (9, [0xff, 0x03, 0x00, 0x21])] {
        let mut visits = visits.clone();
        visits.iter_mut().for_each(|(_, frame)| frame[10..14].copy_from_slice(&head));
        let packets = read(&pcap(&visits, link, 10)).expect("a capture of another link");
        assert_eq!(decisions(&play(&config, packets)), EXPECTED, "{link}");
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&pcap(&visits, 1, 0)).expect("memory");
    assert_eq!(read(&packed.finish().expect("memory")).expect("a capture in gzip"), packets[0]);
}

#[test]
fn checksums_that_a_card_would_have_filled_in_do_not_matter() {
    let (_folder, config) = config(RULES);
    let mut visits = visits();
    visits.iter_mut().for_each(|(_, frame)| frame[50] ^= 0xff);
    let packets = read(&pcap(&visits, 1, 0)).expect("a capture");
    assert_eq!(decisions(&play(&config, packets)), EXPECTED);
    // That of the IPv4 header as well.
    visits.iter_mut().for_each(|(_, frame)| frame[24..26].fill(0));
    let packets = read(&pcap(&visits, 1, 0)).expect("a capture");
    assert_eq!(decisions(&play(&config, packets)), EXPECTED);
}

#[test]
fn what_is_decided_by_addresses_or_not_at_all() {
    let (_folder, by_address) =
        config(&RULES.replace("sni = [\"*.bank.example\"]", "destination = [\"10.0.0.0/8\"]"));
    let packets = read(&pcap(&visits(), 1, 0)).expect("a capture");
    let flows = play(&by_address, packets.clone());
    assert!(
        flows.len() == 3 && decisions(&flows).iter().all(|line| line.ends_with("- - bypass rule no banking")),
        "{}",
        table(&flows)
    );
    let (_folder, config) = config(RULES);
    // The SYN, and no more.
    let flows = play(&config, packets[..1].to_vec());
    assert!(decisions(&flows)[0].contains("- - undecided"), "{}", table(&flows));
    let elsewhere = format!("{RULES}\n[intercept]\nports = [8443]\n");
    let (_folder, elsewhere) = self::config(&elsewhere);
    assert_eq!(play(&elsewhere, packets).len(), 0, "ports that are not looked at");
}

/// A flow that is silent for longer than a connection may be has ended before the packet that comes after that.
#[test]
fn time_passes_as_the_capture_says() {
    const TWO_DAYS: u64 = 2 * 24 * 3600 * 1_000_000;
    let (_folder, config) = config(RULES);
    let mut visits = visits();
    let from_client = |frame: &[u8]| frame[34..36] == 40_001_u16.to_be_bytes();
    let has_payload = |frame: &[u8]| {
        usize::from(u16::from_be_bytes([frame[16], frame[17]])) > 20 + usize::from(frame[46] >> 4) * 4
    };
    let hello = visits.iter().position(|(_, frame)| from_client(frame) && has_payload(frame));
    visits.iter_mut().skip(hello.expect("a ClientHello")).for_each(|(time, _)| *time += TWO_DAYS);
    let flows = play(&config, read(&pcap(&visits, 1, 0)).expect("a capture"));
    let silent = "10.0.0.1:40001 > 10.0.0.2:443 - - - undecided flow.idle";
    assert_eq!(decisions(&flows), [silent, EXPECTED[1], EXPECTED[2]], "{}", table(&flows));
}

#[test]
fn files_that_are_no_captures_are_told_apart() {
    let visits = visits();
    let whole = pcap(&visits[..3], 1, 0);
    assert!(matches!(read(b""), Err(CaptureError::NotACapture)));
    assert!(matches!(read(b"[[wire]]\nname = \"lan\"\n and more of it"), Err(CaptureError::NotACapture)));
    assert!(matches!(read(&whole[..20]), Err(CaptureError::NotACapture)));
    assert!(matches!(read(&whole[..whole.len() - 1]), Err(CaptureError::Torn(_))));
    assert!(matches!(read(&pcap(&visits[..3], 105, 0)), Err(CaptureError::LinkType(105))));
    assert_eq!(read(&whole[..24]).expect("no packets, but a capture"), []);
    let mut huge = whole;
    huge[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = read(&huge).expect_err("a packet of 4 GiB");
    assert!(matches!(error, CaptureError::Damaged(24) | CaptureError::Torn(24)), "{error}");
}

/// Captures with bytes changed, cut out and repeated: an error or not, but never a panic or a hang.
#[test]
fn damaged_captures_do_no_harm() {
    let (_folder, config) = config(RULES);
    let visits = visits();
    let whole = [pcap(&visits, 1, 0), pcapng(&visits), pcap(&visits, 113, 0), pcap(&visits, 276, 0)];
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let mut bytes = whole[seed as usize % whole.len()].clone();
        for _ in 0..=random.below(20) {
            let at = random.below(bytes.len().max(1) as u64) as usize;
            if bytes.is_empty() {
                break;
            }
            match random.below(4) {
                0 => bytes[at] = random.below(256) as u8,
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.drain(at..(at + 7).min(bytes.len()))),
                _ => bytes.splice(at..at, [0xff; 4]).for_each(drop),
            }
        }
        let Ok(mut capture) = Capture::of(std::io::Cursor::new(bytes)) else { continue };
        let mut packets = Vec::new();
        while let Ok(Some(packet)) = capture.next() {
            packets.push(packet);
        }
        if seed % 8 < 2 {
            play(&config, packets);
        }
    }
}

#[test]
fn what_is_dropped_is_counted_and_the_end_of_a_flow_is_told_at_once() {
    let (_folder, config) = config(RULES);
    let mut packets = read(&pcap(&visits(), 1, 0)).expect("a capture");
    // A SYN whose header claims more than there is.
    let mut broken = packets[0].clone();
    broken.frame[46] = 0xf0;
    packets.insert(1, broken);
    let mut player = Player::new(&config, &"lan".into(), packets[0].time).expect("an engine");
    let last = packets.pop().expect("not empty");
    packets.into_iter().for_each(|packet| player.play(packet));
    // The first two visits had ended long before the third began.
    assert!(player.ended().len() >= 2);
    assert_eq!(player.ended().len(), 0, "each is told once");
    player.play(last);
    let (_, totals) = player.finish();
    assert!(totals.dropped.contains(&(PacketDrop::BadTcpHeader, 1)), "{totals:?}");
}

#[test]
fn a_long_capture_says_how_far_it_is() {
    let after = Duration::from_secs(5).into();
    assert_eq!(progress(2048, 25, 100, after), "2048 packets, 25 % after 5 s");
    assert_eq!(progress(2048, 25, 0, after), "2048 packets after 5 s", "a pipe has no length");
}
