//! What a configuration in order becomes.
#![allow(missing_docs, clippy::unwrap_used)]

mod config_support;

use std::path::Path;
use std::time::Duration;

use config_support::{Folder, GOOD};
use tracing::level_filters::LevelFilter;
use wireglass::capture::{Bounds, Plan};
use wireglass::config::{self, Account, Config, Confine, Verdicts};
use wireglass::confine::Mode;
use wireglass::link_pass::LinkState;
use wireglass::log::{DatagramAddress, Destination, Facility};
use wireglass::metrics::Access;
use wireglass::record_speeds::RecordLibrary;
use wireglass::verdicts::Block;
use wireglass::worker::{Idle, OnFailure};
use wireglass_core::fairness::{ClientPrefix, Fairness, PerClient, Shed};
use wireglass_core::flow::Midstream;
use wireglass_core::flow_table::Class;
use wireglass_core::mirror::{Mirror, Shown, When};
use wireglass_core::packet::{PassAction, Passthrough, Uninspected};
use wireglass_core::policy::{
    BlockWith, ClientCertificateAction, Decision, DefectAction, NoNameAction, Ports, TlsVersion,
    UnsupportedAction,
};
use wireglass_core::starttls::Protocol;
use wireglass_core::tls::RecordLibraries;
use wireglass_core::x509::Provider;

fn load(text: &str) -> Config {
    let loaded = Folder::new().load(&format!("{GOOD}{text}"));
    loaded.map_err(|faults| faults.to_string()).expect("a configuration without faults")
}

#[test]
fn ports_that_begin_in_plain_are_intercepted_and_keep_their_udp() {
    let policy = load("[starttls]\nldap = [389]\non_unused = \"bypass\"\n").compile_policy();
    assert_eq!(policy.starttls().protocol(389), Some(Protocol::Ldap));
    assert_eq!(policy.starttls().on_unused, UnsupportedAction::Bypass);
    assert!(policy.candidate(389) && policy.candidate(443) && !policy.candidate(25));
    assert!(!policy.may_be_quic(389) && policy.may_be_quic(443));
}

#[test]
fn mirrors() {
    let config = load(
        "[mirror.ids]\nport = \"af_packet:eth2\"\n[mirror.proxy]\nport = \"0000:05:00.0\"\nwhen = \"forwarded\"\n\
         destination_mac = \"02:00:00:00:00:99\"\nsource_mac = \"02:00:00:00:00:0a\"\nvlan = 4000\nports = { 443 = 80, 8443 = 81 }\n\
         profile = [\"strict\"]\nbypassed = true\nmtu = 9000\n[profile.strict]\n",
    );
    let [ids, proxy] = &config.mirrors[..] else { panic!("{:?}", config.mirrors) };
    assert_eq!((ids.port.as_str(), &ids.mirror), ("net_af_packet_eth2", &Mirror::new("ids")));
    assert_eq!(config.kernel_port(&ids.port).map(|port| port.interface).as_deref(), Some("eth2"));
    let wanted = Mirror {
        when: When::Forwarded,
        destination_mac: Some([2, 0, 0, 0, 0, 0x99]),
        source_mac: Some([2, 0, 0, 0, 0, 10]),
        vlan: Some(4000),
        ports: vec![(443, 80), (8443, 81)],
        profiles: vec!["strict".into()],
        bypassed: true,
        mtu: 9000,
        ..Mirror::new("proxy")
    };
    assert_eq!((proxy.port.as_str(), &proxy.mirror), ("0000:05:00.0", &wanted));
    let arguments = config.dpdk.arguments(&config.wires, &config.mirrors, 2);
    assert_eq!(arguments, ["--vdev", "net_af_packet_eth2,iface=eth2,qpairs=2,framecnt=2048"]);
}

#[test]
fn verdicts() {
    let mirror = "[mirror.ids]\nport = \"af_packet:eth2\"\n";
    let of = |text: &str| load(&format!("{mirror}{text}")).verdicts;
    let pair = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
    let default = Block { metadata: pair("wireglass", "block"), sids: Vec::new() };
    assert_eq!(of(""), Verdicts { listen: None, block: default.clone() });
    assert_eq!(of("[verdicts]\nlisten = \"off\"\n").listen, None);
    let set = of(
        "[verdicts]\nlisten = \"/run/v.sock\"\nblock = { metadata = \"policy  drop it\", sid = [7, 8] }\n",
    );
    assert_eq!(set.listen.as_deref(), Some(Path::new("/run/v.sock")));
    assert_eq!(set.block, Block { metadata: pair("policy", "drop it"), sids: vec![7, 8] });
    assert_eq!(of("[verdicts]\nblock.metadata = \"off\"\n").block, Block::default());
}

#[test]
fn rules_choose_mirrors() {
    let config = load(
        "[mirror.ids]\nport = \"af_packet:eth2\"\n[[rule]]\nname = \"a\"\naction = \"decrypt\"\nmirror = \"ids\"\n\
         [[rule]]\nname = \"b\"\naction = \"decrypt\"\nmirror = \"none\"\n[[rule]]\nname = \"c\"\naction = \"bypass\"\n",
    );
    let policy = config.compile_policy();
    let shown = [Some("a"), Some("b"), Some("c"), None].map(|rule| policy.shown(rule).clone());
    assert_eq!(shown, [Shown::At("ids".into()), Shown::Nowhere, Shown::ByProfile, Shown::ByProfile]);
}

#[test]
fn captures() {
    let bounds = |file_mb: u64, minutes: u64, total_mb: u64| Bounds {
        file_bytes: file_mb << 20,
        file_time: Duration::from_secs(60 * minutes),
        total_bytes: total_mb << 20,
    };
    let of = |text: &str| load(&format!("[profile.strict]\n{text}")).capture;
    assert!(!of("").is_on());
    assert!(!of("[capture]\nfolder = \"off\"\nkeylog = \"off\"\nminutes = 5\n").is_on());
    let simple = Plan {
        folder: Some("/tmp".into()),
        keylog: None,
        profiles: Vec::new(),
        time: Duration::from_secs(900),
        bounds: bounds(64, 5, 1024),
    };
    assert!(simple.is_on());
    assert_eq!(of("[capture]\nfolder = \"/tmp\"\n"), simple);
    let all = Plan {
        folder: None,
        keylog: Some("/tmp/keys".into()),
        profiles: vec!["strict".into()],
        time: Duration::from_secs(120),
        bounds: bounds(1, 3, 9),
    };
    let text = "[capture]\nkeylog = \"/tmp/keys\"\nprofile = [\"strict\"]\nminutes = 2\nfile_mb = 1\nfile_minutes = 3\ntotal_mb = 9\n";
    assert!(all.is_on());
    assert_eq!(of(text), all);
}

#[test]
fn interfaces_become_devices_with_a_queue_for_each_worker() {
    let mut config = load(
        "[workers]\ncores = [1, 2]\n[[wire]]\nname = \"w\"\ninside = \"xdp:eth1\"\noutside = \"af_packet:eth2\"\n",
    );
    let xdp = "net_af_xdp_eth1,iface=eth1,queue_count=2";
    let packet = "net_af_packet_eth2,iface=eth2,qpairs=2,framecnt=2048";
    assert_eq!(
        config.dpdk.arguments(&config.wires, &[], 2),
        ["--vdev", xdp, "--vdev", packet],
        "the other wire has PCI devices"
    );
    assert_eq!(
        config.kernel_port("net_af_xdp_eth1").map(|port| port.to_string()).as_deref(),
        Some("xdp:eth1")
    );
    assert_eq!(config.kernel_port("0000:03:00.0"), None);
    let wire = config.wires.remove(1);
    assert_eq!((wire.inside.as_str(), wire.outside.as_str()), ("net_af_xdp_eth1", "net_af_packet_eth2"));
    let alone = config.dpdk.arguments(std::slice::from_ref(&wire), &[], 2).join(" ");
    assert_eq!(
        alone,
        format!("--no-huge -m 640 --no-pci --no-telemetry --no-shconf --vdev {xdp} --vdev {packet}")
    );
    config.dpdk.eal.push("--no-pci".into());
    assert_eq!(config.dpdk.arguments(&[wire], &[], 1)[0], "--no-pci", "who says something says all");
}

#[test]
fn defaults() {
    let config = load("");
    assert_eq!((config.dpdk.eal.len(), config.dpdk.vdev.len()), (0, 0));
    assert_eq!((config.workers.cores, config.workers.handshake_threads), (vec![1], 1));
    assert_eq!(config.workers.idle, Idle::Adaptive);
    assert_eq!(config.workers.on_worker_failure, OnFailure::Close);
    assert_eq!((config.crypto.provider, config.crypto.records), (Provider::default(), RecordLibrary::Auto));
    assert_eq!(config.intercept.ports, Ports::Only(vec![443]));
    let outside = config.intercept.outside_tls;
    assert!(!outside.bypass_not_tls);
    assert_eq!(outside.midstream, Midstream::Reset { after: tcp_stack::Duration::from_secs(600) });
    assert_eq!(outside.passthrough, Passthrough::default());
    assert_eq!(config.log.level, LevelFilter::INFO);
    assert_eq!(config.log.stats, Some(Duration::from_secs(10)));
    assert_eq!(config.metrics.listen, Some(([127, 0, 0, 1], 9464).into()));
    assert_eq!(config.metrics.access(), Access { page: true, hosts: Vec::new() });
    assert_eq!(config.control.read_group, None);
    assert_eq!(config.confine, Confine { mode: Mode::BestEffort, user: None });
    let limits = config.limits.of_flow();
    assert_eq!((limits.hello_bytes, limits.buffer_bytes), (65_536, 4_194_304));
    assert_eq!(config.limits.worker_bytes, 1_073_741_824);
    assert_eq!(config.limits.server_sessions, 4096);
    assert_eq!(limits.fairness, Fairness::default());
    assert_eq!((limits.fairness.per_client.of(65_536), limits.fairness.per_client.of(20)), (16_384, 16));
    assert_eq!(limits.hello_time, tcp_stack::Duration::from_secs(5));
    assert_eq!(limits.idle_time, tcp_stack::Duration::from_secs(3600));
}

#[test]
fn values() {
    let config = load(
        r#"
[dpdk]
eal = ["-m", "64"]
vdev = ["net_tap0", "net_tap1,iface=x"]
[[wire]]
name = "taps"
inside = "net_tap0"
outside = "net_tap1"
native_vlan = 7
link_state = "independent"
[passthrough]
mpls = "drop"
snap_ip = "forward"
[workers]
cores = [3, 0x2]
handshake_threads = 0
idle = "spin"
on_worker_failure = "open"
[crypto]
provider = "ring"
records = "aws-lc-rs"
[intercept]
ports = "any"
midstream = "forward"
not_tls = "bypass"
[limits]
flows = 1_000
shed = ["bypassed", "opening"]
flows_per_client = 0
client_prefix = [24, 56]
hello_seconds = 7
server_sessions = 0
[log]
eve = "roots/out.json"
level = "debug"
stats_seconds = 0
[metrics]
listen = "192.0.2.1:9464"
hosts = ["wire.example"]
[control]
read_group = "root"
[confine]
mode = "strict"
user = "root"
group = "daemon"
[exclusions]
file = "known.json"
hours = 2
[profile.strict]
min_version = "1.3"
on_expired = "untrusted-ca"
on_name_mismatch = "allow"
on_usage = "untrusted-ca"
on_unsupported_certificate = "allow"
on_no_name = "block"
on_unsupported = "bypass"
on_client_certificate = "block"
on_pinned = "bypass"
http = false
resumption = false
max_days = 7
"#,
    );
    assert_eq!(config.dpdk.vdev, ["net_tap0", "net_tap1,iface=x"]);
    assert_eq!((&*config.wires[1].name, &*config.wires[1].inside), ("taps", "net_tap0"));
    assert_eq!((config.workers.cores, config.workers.handshake_threads), (vec![3, 2], 0));
    assert_eq!(config.workers.idle, Idle::Spin);
    assert_eq!(config.workers.on_worker_failure, OnFailure::Open);
    assert_eq!((config.crypto.provider.name(), config.crypto.records.name()), ("ring", "aws-lc-rs"));
    assert_eq!(config.intercept.ports, Ports::Any);
    let outside = config.intercept.outside_tls;
    assert!(outside.midstream == Midstream::Forward && outside.bypass_not_tls);
    assert_eq!(outside.passthrough.action(Uninspected::Mpls), PassAction::Drop);
    assert_eq!(outside.passthrough.action(Uninspected::SnapIp), PassAction::Forward);
    assert_eq!((config.wires[0].native_vlan, config.wires[1].native_vlan), (None, Some(7)));
    let states = config.wires.iter().map(|wire| wire.link_state);
    assert_eq!(states.collect::<Vec<_>>(), [LinkState::Pass, LinkState::Independent]);
    assert_eq!(config.control.read_group, Some(0));
    let Confine { mode: Mode::Strict, user: Some(Account { name, uid: 0, gid }) } = config.confine else {
        panic!()
    };
    assert!(name == "root" && gid > 0, "the group that is named, not root's own");
    assert_eq!((config.limits.flows, config.limits.hello_seconds), (1000, 7));
    let fairness = config.limits.of_flow().fairness;
    assert_eq!(fairness.shed, Shed::new(&[Class::Bypassed, Class::Opening]));
    assert_eq!(fairness.per_client, PerClient::NoLimit);
    assert_eq!(fairness.client_prefix, ClientPrefix { v4: 24, v6: 56 });
    let limits = |text: &str| load(&format!("[limits]\n{text}\n")).limits.of_flow().fairness;
    assert_eq!(limits("shed = []").shed, Shed::new(&[]));
    assert_eq!(limits("flows_per_client = 500").per_client, PerClient::AtMost(500));
    assert_eq!(limits("flows_per_client = \"auto\""), Fairness::default());
    let eve = config.log.eve.place().0.expect("a path");
    assert!(eve.is_absolute() && eve.ends_with("roots/out.json"));
    let to = |text: &str| load(&format!("[log]\n{text}\n")).log.eve;
    assert!(matches!(to("level = \"info\""), Destination::File(path) if path.ends_with("eve.json")));
    assert_eq!(to("eve = \"-\""), Destination::Standard);
    assert_eq!(
        to("eve = \"/run/a.sock\"\nfiletype = \"unix_stream\""),
        Destination::UnixStream("/run/a.sock".into())
    );
    assert_eq!(
        to("eve = \"/run/a.sock\"\nfiletype = \"unix_dgram\""),
        Destination::UnixDatagram("/run/a.sock".into())
    );
    let local5 = |socket| Destination::Syslog(socket, Facility::LOCAL5);
    assert_eq!(
        to("eve = \"/run/syslog.sock\"\nfiletype = \"syslog\""),
        local5(DatagramAddress::Unix("/run/syslog.sock".into()))
    );
    assert_eq!(
        to("eve = \"udp:[2001:db8::7]:514\"\nfiletype = \"syslog\""),
        local5(DatagramAddress::Udp("[2001:db8::7]:514".parse().expect("an address")))
    );
    let elsewhere = to("eve = \"/run/syslog.sock\"\nfiletype = \"syslog\"\nfacility = \"daemon\"");
    assert_eq!(elsewhere.facility().map(Facility::name), Some("daemon"));
    assert_eq!((config.log.level, config.log.stats), (LevelFilter::DEBUG, None));
    assert_eq!(config.metrics.listen, Some(([192, 0, 2, 1], 9464).into()));
    let hosts = vec!["wire.example".to_owned()];
    assert_eq!(config.metrics.access(), Access { page: false, hosts: hosts.clone() });
    let asked_for = config::Metrics { page: Some(true), ..config.metrics.clone() };
    assert_eq!(asked_for.access(), Access { page: true, hosts });
    let off = config::Metrics { listen: None, ..config.metrics.clone() };
    assert!(!off.access().page);
    let strict = config.profiles.iter().find(|profile| profile.name == "strict").unwrap();
    assert_eq!((strict.min_version, strict.max_version), (TlsVersion::Tls13, TlsVersion::Tls13));
    assert_eq!(
        (strict.on_expired, strict.on_name_mismatch),
        (DefectAction::UntrustedCa, DefectAction::Allow)
    );
    assert_eq!(
        (strict.on_untrusted, strict.on_unsupported),
        (DefectAction::Block, UnsupportedAction::Bypass)
    );
    assert_eq!(strict.on_client_certificate, ClientCertificateAction::Block);
    assert_eq!(strict.on_pinned, UnsupportedAction::Bypass);
    assert!(config.exclusions.file.is_some_and(|file| file.is_absolute() && file.ends_with("known.json")));
    assert_eq!(config.exclusions.lifetime.as_secs(), 2 * 3600);
    assert_eq!(
        (strict.on_usage, strict.on_unsupported_certificate, strict.on_no_name),
        (DefectAction::UntrustedCa, DefectAction::Allow, NoNameAction::Block)
    );
    assert_eq!((strict.http, strict.resumption, strict.max_days), (false, false, 7));
    assert_eq!(config.limits.server_sessions, 0);
}

/// What only reads a configuration does not wait for a probe: nothing asks which library its records take.
#[test]
fn records_are_chosen_for_whoever_decrypts_and_not_with_the_certificates() {
    for &provider in Provider::BUILT_IN {
        for &records in Provider::BUILT_IN {
            let (provider, records) = (provider.name(), records.name());
            let config = load(&format!("[crypto]\nprovider = {provider:?}\nrecords = {records:?}\n"));
            let taken = config.tls_context().unwrap().record_libraries();
            assert_eq!(taken, RecordLibraries::all(config.crypto.provider));
            let RecordLibrary::Fixed(library) = config.crypto.records else { panic!("{records} is one") };
            assert_eq!(config.crypto.record_libraries().libraries, RecordLibraries::all(library));
        }
    }
}

#[test]
fn rules() {
    let config = load(
        r#"
[[rule]]
name = "all conditions"
wire = "lan"
vlan = 7
source = ["10.0.0.0/8", "192.0.2.1"]
destination = ["2001:db8::/32"]
ports = [443, 8443]
sni = ["A.Example.", "*.b.example"]
alpn = ["h2"]
ja4 = ["t13d1516h2_8daaf6152771_e5627efa2ab1"]
action = "block"
block_with = "reset"
[[rule]]
name = "strictly"
action = "decrypt"
profile = "strict"
[[rule]]
name = "softly"
action = "block"
[[rule]]
name = "kindly"
sni = ["games.example"]
action = "block"
block_with = "page"
[profile.strict]
max_days = 7
"#,
    );
    let rules = &config.policy.rules;
    assert_eq!(
        rules.iter().map(|rule| &*rule.name).collect::<Vec<_>>(),
        ["all conditions", "strictly", "softly", "kindly"]
    );
    let first = &rules[0];
    assert_eq!((first.wire.as_deref(), first.vlan), (Some("lan"), Some(7)));
    assert_eq!(
        first.source.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/8", "192.0.2.1/32"]
    );
    assert_eq!(first.destination.len(), 1);
    assert_eq!(first.ports, [443, 8443]);
    assert_eq!(first.sni.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.example", "*.b.example"]);
    assert_eq!((first.alpn.len(), first.ja4.len()), (1, 1));
    assert_eq!(first.decision, Decision::Block(BlockWith::Reset));
    assert!(
        matches!(&rules[1].decision, Decision::Decrypt(profile) if profile.name == "strict" && profile.max_days == 7)
    );
    assert_eq!(rules[2].decision, Decision::Block(BlockWith::Alert));
    assert_eq!(rules[3].decision, Decision::Block(BlockWith::Page));
    assert!(matches!(&config.policy.default, Decision::Decrypt(profile) if profile.name == "default"));
}

#[test]
fn a_device_may_come_with_the_arguments_of_eal() {
    load(
        "[dpdk]\neal = [\"--vdev=net_tap0\", \"--vdev\", \"net_tap1,iface=x\"]\n[[wire]]\nname = \"t\"\ninside = \"net_tap0\"\noutside = \"net_tap1\"\n",
    );
}

/// Where nothing is decrypted, QUIC takes nothing past the engine.
#[test]
fn quic_is_blocked_where_something_is_decrypted() {
    let action = |text: &str| {
        let loaded = Folder::new().load(text).map_err(|faults| faults.to_string()).unwrap();
        [Uninspected::Quic, Uninspected::Dtls]
            .map(|class| loaded.intercept.outside_tls.passthrough.action(class))
    };
    let bypass = GOOD.replace("default = \"decrypt\"", "default = \"bypass\"");
    assert_ne!(bypass, GOOD);
    let rule = "\n[[rule]]\nname = \"one\"\nsni = [\"a.example\"]\naction = \"decrypt\"\n";
    let (forward, drop) = (PassAction::Forward, PassAction::Drop);
    assert_eq!(action(GOOD), [drop, drop]);
    assert_eq!(action(&bypass), [forward, forward]);
    assert_eq!(action(&format!("{bypass}{rule}")), [drop, drop]);
    let said = "\n[intercept]\nquic = \"block\"\n";
    assert_eq!(action(&format!("{bypass}{said}")), [drop, forward]);
    assert_eq!(action(&format!("{GOOD}{}", said.replace("block", "forward"))), [forward, drop]);
}
