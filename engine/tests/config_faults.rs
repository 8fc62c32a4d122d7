//! Every kind of fault, with its line, its key and its text.
#![allow(missing_docs)]

mod config_support;

use config_support::{Folder, GOOD, GOOD_LINES};

const NO_CA: &str = "expected { cert = FILE, key = FILE } (`wireglass ca init` makes both CAs)";

/// Asserts the faults of [`GOOD`] with `text` after it.
#[track_caller]
fn assert_faults(text: &str, expected: &[&str]) {
    assert_eq!(Folder::new().faults(&format!("{GOOD}{text}")), expected);
}

#[test]
fn what_is_appended_begins_on_line_13() {
    assert_eq!(GOOD.lines().count(), GOOD_LINES);
    assert_faults("", &[]);
}

#[test]
fn an_empty_file_lacks_what_has_no_default_and_teaches_what_the_defaults_mean() {
    let faults = Folder::new().faults("");
    assert_eq!(
        faults,
        [
            &format!("1: ca.trusted: missing: {NO_CA}"),
            &format!("1: ca.untrusted: missing: {NO_CA}"),
            "1: policy.default: missing: expected what to do with flows that no rule matches: \"decrypt\" (inspect them: \
             every client must trust the CA), \"bypass\" (let them pass untouched: nothing is inspected but what rules name) \
             or \"block\" (end them: nothing passes but what rules name)",
            "1: wire: missing: expected at least one `[[wire]]` with `name`, `inside` and `outside`",
        ]
    );
}

#[test]
fn broken_syntax_is_all_that_is_reported_of_a_broken_file() {
    let folder = Folder::new();
    assert_eq!(folder.faults("x = 1\nx = 2\n[[wire]]\n"), ["2: TOML: duplicate key"]);
    assert_eq!(folder.faults("\n[[wire]\n"), ["2: TOML: unclosed array table, expected `]`"]);
    let two = folder.faults("a = 1\na = 2\nb = 1\nb = 2\n");
    assert_eq!(two, ["2: TOML: duplicate key", "4: TOML: duplicate key"]);
}

#[test]
fn unknown_keys() {
    assert_faults(
        "[polcy]\n[workers]\ncoers = []\n[log]\nformat = \"eve\"\n[profile.a]\non_untrustd = \"block\"\n",
        &[
            "13: polcy: unknown key (did you mean `policy`?)",
            "15: workers.coers: unknown key (did you mean `cores`?)",
            "17: log.format: unknown key; known here: eve, filetype, facility, stats_seconds, level",
            "19: profile.a.on_untrustd: unknown key (did you mean `on_untrusted`?)",
        ],
    );
}

#[test]
fn tables_where_values_are_and_values_where_tables_are() {
    assert_faults(
        "[[profile]]\n[rule]\n[log.eve]\n[metrics]\nlisten = []\n[[limits]]\n",
        &[
            "13: profile: expected a table, found a list",
            "14: rule: expected tables `[[rule]]`, found a table",
            "15: log.eve: expected a text in quotes, found a table",
            "17: metrics.listen: expected a text in quotes, found an empty list",
            "18: limits: expected a table, found a list",
        ],
    );
    assert_faults("[profile]\nx = 1\n", &["14: profile.x: expected a table, found 1"]);
}

#[test]
fn wires() {
    let folder = Folder::new();
    let (_, rest) = GOOD.split_once("[ca]").expect("a section");
    let text = r#"[[wire]]
name = "lan"
inside = "0000:03:00.0"
outside = "a b"
[[wire]]
name = "lan"
inside = "03:00.0"
outside = "net_tap0"
[[wire]]
name = ""
inside = "net_tap1"
[dpdk]
vdev = ["net_tap1,iface=x"]
eal = "--no-huge"
[ca]"#;
    assert_eq!(
        folder.faults(&format!("{text}{rest}")),
        [
            "4: wire[1].outside: expected `xdp:INTERFACE`, `af_packet:INTERFACE`, a PCI address (`0000:03:00.0`) or a DPDK \
             device name (`net_tap0`), found \"a b\"",
            "6: wire[2].name: expected a name that no other wire has, found \"lan\"",
            "7: wire[2].inside: expected a port that is not in use already: a wire needs two ports of its own, \
             found \"03:00.0\"",
            "8: wire[2].outside: no device \"net_tap0\" in dpdk.vdev (did you mean \"net_tap1\"?)",
            "9: wire[3].outside: missing: expected the port towards the servers: `xdp:INTERFACE`, `af_packet:INTERFACE`, \
             a PCI address or a DPDK device name",
            "10: wire[3].name: expected a name of 1 to 64 bytes without control characters, found \"\"",
            "14: dpdk.eal: expected a list in brackets, found \"--no-huge\"",
        ]
    );
}

#[test]
fn an_interface_is_one_port_whatever_its_frames_come_through() {
    let folder = Folder::new();
    let wire = |inside: &str, outside: &str| {
        let good = GOOD.replace("0000:03:00.0", inside);
        folder.faults(&good.replace("0000:03:00.1", outside))
    };
    assert_eq!(wire("xdp:eth1", "af_packet:eth2"), [""; 0]);
    let faults = wire("xdp:eth1", "af_packet:eth1");
    assert!(
        faults[0].starts_with("4: wire[1].outside: expected a port that is not in use already"),
        "{faults:?}"
    );
    for name in ["xpd:eth1", "xdp:", "xdp:a/b", "xdp:much-too-long-a-name"] {
        let faults = wire(name, "xdp:eth2");
        assert!(
            faults[0].starts_with("3: wire[1].inside: expected `xdp:INTERFACE`, `af_packet:INTERFACE`"),
            "{faults:?}"
        );
    }
}

#[test]
fn a_wire_from_a_port_to_itself_and_too_many_wires() {
    let folder = Folder::new();
    let faults = folder.faults(&GOOD.replace("03:00.1", "03:00.0"));
    assert!(
        faults[0].starts_with("4: wire[1].outside: expected a port that is not in use already"),
        "{faults:?}"
    );
    let wire = |i| {
        format!("[[wire]]\nname = \"{i}\"\ninside = \"0000:a{i:x}:00.0\"\noutside = \"0000:a{i:x}:00.1\"\n")
    };
    assert_faults(&(1..64).map(wire).collect::<String>(), &[]);
    assert_faults(&(1..65).map(wire).collect::<String>(), &["265: wire[65]: expected at most 64 wires"]);
}

#[test]
fn workers() {
    assert_faults(
        "[workers]\ncores = [1, 1, \"2\", 5000]\nhandshake_threads = -1\nidle = \"Spin\"\n",
        &[
            "14: workers.cores[2]: expected each core once: two workers on one core would only slow each other down, \
             found 1",
            "14: workers.cores[3]: expected a whole number from 0 to 1023, found \"2\"",
            "14: workers.cores[4]: expected a whole number from 0 to 1023, found 5000",
            "15: workers.handshake_threads: expected a whole number from 0 to 256, found -1",
            "16: workers.idle: expected one of \"adaptive\", \"spin\", found \"Spin\" (did you mean \"spin\"?)",
        ],
    );
    assert_faults(
        "[workers]\ncores = []\n",
        &["14: workers.cores: expected at least one core, found an empty list"],
    );
    assert_faults("[workers]\ncores = 1\n", &["14: workers.cores: expected a list in brackets, found 1"]);
}

#[test]
fn intercept_limits_and_outputs() {
    assert_faults(
        r#"[log]
eve = "nowhere/eve.json"
level = "verbose"
stats_seconds = 1.5
[metrics]
listen = ":9464"
[limits]
flows = 0
hello_seconds = 301
hello_bytes = 99999999999999999999
idle_seconds = -5
buffer_bytes = 1_000
worker_bytes = 4_000_000
[intercept]
ports = "all"
midstream = "drop"
not_tls = true
[crypto]
provider = "openssl"
records = "openssl"
"#,
        &[
            "14: log.eve: expected a file in an existing folder, found DIR/nowhere/eve.json",
            "15: log.level: expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\", found \"verbose\"",
            "16: log.stats_seconds: expected a whole number from 0 to 86400, found 1.5",
            "18: metrics.listen: expected an address and port (\"127.0.0.1:9464\", \"[::1]:9464\") or \"off\", \
             found \":9464\"",
            "20: limits.flows: expected a whole number from 16 to 16777216, found 0",
            "21: limits.hello_seconds: expected a whole number from 1 to 300, found 301",
            "22: limits.hello_bytes: expected a whole number from 1024 to 1048576, found 99999999999999999999",
            "23: limits.idle_seconds: expected a whole number from 10 to 604800, found -5",
            "24: limits.buffer_bytes: expected a whole number from 65536 to 16777216, found 1_000",
            "25: limits.worker_bytes: expected a whole number from 4194304 to 1099511627776, found 4_000_000",
            "27: intercept.ports: expected \"any\", found \"all\"",
            "28: intercept.midstream: expected one of \"forward\", \"reset\", found \"drop\"",
            "29: intercept.not_tls: expected one of \"block\", \"bypass\", found true",
            "31: crypto.provider: expected one of \"aws-lc-rs\", \"ring\", found \"openssl\"",
            "32: crypto.records: expected one of \"auto\", \"aws-lc-rs\", \"ring\", found \"openssl\"",
        ],
    );
    assert_faults(
        "[metrics]\nlisten = \"off\"\npage = true\nhosts = [\"wire.example:9464\", \"\", \"a.test\"]\n",
        &[
            "15: metrics.page: there is no status page where `metrics.listen` is \"off\"",
            "16: metrics.hosts[1]: expected the name of a host (\"wire.example\"), without a port, found \"wire.example:9464\"",
            "16: metrics.hosts[2]: expected the name of a host (\"wire.example\"), without a port, found \"\"",
        ],
    );
    assert_faults(
        r#"[limits]
shed = ["opening", "decrypt", "opening"]
flows_per_client = "none"
client_prefix = [33, 64]
"#,
        &[
            "14: limits.shed[2]: expected one of \"opening\", \"blocked\", \"undecided\", \"bypassed\", \"decrypted\", \
             found \"decrypt\" (did you mean \"decrypted\"?)",
            "14: limits.shed[3]: expected each class once, found \"opening\"",
            "15: limits.flows_per_client: expected \"auto\", found \"none\"",
            "16: limits.client_prefix[1]: expected a whole number from 1 to 32, found 33",
        ],
    );
    assert_faults(
        "[limits]\nshed = \"opening\"\nflows_per_client = -1\nclient_prefix = [32]\n",
        &[
            "14: limits.shed: expected a list in brackets, found \"opening\"",
            "15: limits.flows_per_client: expected a whole number from 0 to 16777216, found -1",
            "16: limits.client_prefix: expected two numbers of bits: for IPv4 and for IPv6, found a list",
        ],
    );
    assert_faults(
        "[intercept]\nports = []\n[log]\neve = \".\"\n",
        &[
            "14: intercept.ports: expected at least one port, or \"any\", found an empty list",
            "16: log.eve: expected a file in an existing folder, found DIR/.",
        ],
    );
    assert_faults(
        "[log]\neve = \".\"\nfiletype = \"unix_stream\"\nfacility = \"mail\"\n",
        &[
            "14: log.eve: expected a socket, as filetype says, found DIR/.",
            "16: log.facility: expected one of \"user\", \"daemon\", \"local0\", \"local1\", \"local2\", \"local3\", \
             \"local4\", \"local5\", \"local6\", \"local7\", found \"mail\"",
        ],
    );
    assert_faults(
        "[log]\neve = \"udp:syslog\"\nfiletype = \"syslog\"\n",
        &[
            "14: log.eve: expected \"udp:ADDRESS:PORT\" (\"udp:192.0.2.7:514\", \"udp:[2001:db8::7]:514\") or a socket's path, \
           found \"udp:syslog\"",
        ],
    );
    assert_faults(
        "[log]\nfiletype = \"unix_dgram\"\n",
        &["13: log.eve: missing: expected the socket that the lines go to"],
    );
}

#[test]
fn conditions_of_rules() {
    assert_faults(
        r#"[[rule]]
name = "x"
action = "bypass"
wire = "lna"
vlan = 0
source = ["10.0.0.1/8", "10.0.0.300", 7]
destination = "10.0.0.0/8"
ports = [0, 65536]
sni = ["*", "*.*.x", "bücher.example", "a.example:443"]
alpn = [""]
ja4 = ["t13d"]
[[rule]]
name = "y"
action = "block"
sni = []
"#,
        &[
            "16: rule[1].wire: no `[[wire]]` of the name \"lna\" (did you mean \"lan\"?)",
            "17: rule[1].vlan: expected a whole number from 1 to 4094, found 0",
            "18: rule[1].source[1]: expected a network without host bits (10.0.0.0/8), found \"10.0.0.1/8\"",
            "18: rule[1].source[2]: expected a network (\"10.0.0.0/8\", \"2001:db8::/32\") or an address, \
             found \"10.0.0.300\"",
            "18: rule[1].source[3]: expected a text in quotes, found 7",
            "19: rule[1].destination: expected a list in brackets, found \"10.0.0.0/8\"",
            "20: rule[1].ports[1]: expected a whole number from 1 to 65535, found 0",
            "20: rule[1].ports[2]: expected a whole number from 1 to 65535, found 65536",
            "21: rule[1].sni[1]: expected a name or `*.suffix`; for every name leave `sni` out (that matches hellos \
             without a name, too), found \"*\"",
            "21: rule[1].sni[2]: expected a wildcard only as the whole first label (`*.example.com`), found \"*.*.x\"",
            "21: rule[1].sni[3]: expected a name in A-labels, as in the ClientHello (`xn--bcher-kva.example`, not \
             `bücher.example`), found \"bücher.example\"",
            "21: rule[1].sni[4]: expected a host name alone, without scheme, port or path, found \"a.example:443\"",
            "22: rule[1].alpn[1]: expected a protocol name of 1 to 255 bytes (\"h2\", \"http/1.1\"), found \"\"",
            "23: rule[1].ja4[1]: expected a JA4 of TLS over TCP, like \"t13d1516h2_8daaf6152771_e5627efa2ab1\", \
             found \"t13d\"",
            "27: rule[2].sni: expected at least one entry (leave the key out to match any), found an empty list",
        ],
    );
}

#[test]
fn actions_of_rules() {
    assert_faults(
        r#"[[rule]]
nmae = "x"
action = "decypt"
[[rule]]
name = "x"
[[rule]]
name = "x"
action = "decrypt"
profile = "defualt"
block_with = "alert"
[[rule]]
name = "a\nb"
action = "block"
profile = "default"
block_with = "alarm"
"#,
        &[
            "13: rule[1].name: missing: expected a name for the logs",
            "14: rule[1].nmae: unknown key (did you mean `name`?)",
            "15: rule[1].action: expected one of \"decrypt\", \"bypass\", \"block\", found \"decypt\" (did you mean \
             \"decrypt\"?)",
            "16: rule[2].action: missing: expected \"decrypt\", \"bypass\" or \"block\"",
            "19: rule[3].name: expected a name that no other rule has, found \"x\"",
            "21: rule[3].profile: no `[profile.defualt]` in this file (did you mean \"default\"?)",
            "22: rule[3].block_with: only a rule with action = \"block\" has this key",
            "24: rule[4].name: expected a name of 1 to 64 bytes without control characters, found \"a\\nb\"",
            "26: rule[4].profile: only a rule with action = \"decrypt\" has a profile",
            "27: rule[4].block_with: expected one of \"alert\", \"reset\", \"page\", found \"alarm\"",
        ],
    );
}

#[test]
fn first_contact_and_plain_beginnings() {
    assert_faults(
        r#"[[rule]]
name = "x"
action = "bypass"
contact = "hold"
[[rule]]
name = "y"
sni = ["a.example"]
action = "block"
contact = "held"
[starttls]
smtp = [25, 587]
imap = [143, 25]
ldap = [0]
on_stripped = "allow"
"#,
        &[
            "16: rule[1].contact: this rule decides at the SYN, and nothing is held then: leave the key out, or add \
             `sni`, `alpn` or `ja4`",
            "21: rule[2].contact: expected one of \"server_first\", \"hold\", found \"held\" (did you mean \"hold\"?)",
            "24: starttls.imap[2]: port 25 is in `starttls.smtp` already",
            "25: starttls.ldap[1]: expected a whole number from 1 to 65535, found 0",
            "26: starttls.on_stripped: expected one of \"block\", \"bypass\", found \"allow\"",
        ],
    );
}

#[test]
fn the_default_and_its_profile() {
    let folder = Folder::new();
    let faults =
        folder.faults(&GOOD.replace("default = \"decrypt\"", "default = \"allow\"\nprofile = \"x\""));
    assert_eq!(
        faults,
        [
            "12: policy.default: expected one of \"decrypt\", \"bypass\", \"block\", found \"allow\"",
            "13: policy.profile: no `[profile.x]` in this file",
        ]
    );
}

#[test]
fn profiles() {
    assert_faults(
        r#"[profile.strict]
min_version = "1.3"
max_version = "1.2"
on_expired = "untrusted"
max_days = 0
http = "yes"
[profile.old]
min_version = "1.1"
on_unsupported = "allow"
"#,
        &[
            "14: profile.strict.min_version: expected a version that is not above max_version, found \"1.3\"",
            "16: profile.strict.on_expired: expected one of \"block\", \"untrusted-ca\", \"allow\", found \"untrusted\" \
             (did you mean \"untrusted-ca\"?)",
            "17: profile.strict.max_days: expected a whole number from 1 to 3650, found 0",
            "18: profile.strict.http: expected true or false, found \"yes\"",
            "20: profile.old.min_version: expected one of \"1.2\", \"1.3\", found \"1.1\"",
            "21: profile.old.on_unsupported: expected one of \"block\", \"bypass\", found \"allow\"",
        ],
    );
}

#[test]
fn long_and_multi_line_values_are_quoted_short_and_on_one_line() {
    let text = format!("[workers]\nidle = \"{}\"\n[log]\nlevel = \"\"\"a\nb\"\"\"\n", "x".repeat(500));
    let faults = Folder::new().faults(&format!("{GOOD}{text}"));
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.len() < 200), "{faults:?}");
    assert!(faults[1].ends_with("found \"\"\"a\\nb\"\"\""), "{faults:?}");
}

#[test]
fn mirrors() {
    assert_faults(
        "[mirror.a]\nport = \"03:00.1\"\n[mirror.b]\nport = \"xdp:eth1\"\nprofile = [\"defult\"]\n[mirror.c]\nport = \"af_packet:eth1\"\n\
         vlan = 5000\nmtu = 100\ndestination_mac = \"2:0:0:0:0:1\"\n[mirror.d]\nports = { https = 80 }\n[mirror.e]\nport = \"xdp:eth2\"\n",
        &[
            "13: mirror: expected at most 4 mirrors, found 5",
            "14: mirror.a.port: expected a port that no wire and no other mirror has, found \"03:00.1\"",
            "17: mirror.b.profile[1]: no `[profile.defult]` in this file (did you mean \"default\"?)",
            "19: mirror.c.port: expected a port that no wire and no other mirror has, found \"af_packet:eth1\"",
            "20: mirror.c.vlan: expected a whole number from 1 to 4094, found 5000",
            "21: mirror.c.mtu: expected a whole number from 1280 to 9710, found 100",
            "22: mirror.c.destination_mac: expected a MAC address (`02:00:00:00:00:99`), found \"2:0:0:0:0:1\"",
            "23: mirror.d.port: missing: expected the port to send to: `xdp:INTERFACE`, `af_packet:INTERFACE`, a PCI address or a DPDK device name",
            "24: mirror.d.ports.https: expected ports on both sides (`{ 443 = 80 }`), found 80",
        ],
    );
}

#[test]
fn verdicts() {
    let (long, quoted) = ("x".repeat(90), "x".repeat(58));
    assert_faults(
        &format!(
            "[verdicts]\nlisten = \"/{long}\"\nblock.metadata = \"block\"\nblock.sid = [0]\nblock.gid = 1\n[verdicts.drop]\n"
        ),
        &[
            &format!(
                "14: verdicts.listen: expected a `[mirror.NAME]` in this file, as verdicts are about what it shows, or \"off\", found \"/{quoted}..."
            ),
            &format!(
                "14: verdicts.listen: expected a path of at most 90 bytes (sockets cannot have longer ones), found 91: /{long}"
            ),
            "15: verdicts.block.metadata: expected a key and a value with a space between them (\"wireglass block\"), or \"off\", found \"block\"",
            "16: verdicts.block.sid[1]: expected a whole number from 1 to 4294967295, found 0",
            "17: verdicts.block.gid: unknown key (did you mean `sid`?)",
            "18: verdicts.drop: unknown key; known here: listen, block",
        ],
    );
}

#[test]
fn captures() {
    assert_faults(
        "[capture]\nfolder = \"/no/such\"\nkeylog = \"/no/such/keys\"\nminutes = 0\nprofile = [\"strict\"]\nfile_mb = 600\nfile = 1\n",
        &[
            "13: capture: expected total_mb to be twice file_mb at least, so that one file may be closed while the next is written",
            "14: capture.folder: expected an existing folder, found /no/such",
            "15: capture.keylog: expected a file in an existing folder, found /no/such/keys",
            "16: capture.minutes: expected a whole number from 1 to 1440, found 0",
            "17: capture.profile[1]: no `[profile.strict]` in this file",
            "19: capture.file: unknown key; known here: folder, keylog, minutes, profile, file_mb, file_minutes, total_mb",
        ],
    );
}

#[test]
fn mirrors_of_rules() {
    assert_faults(
        "[mirror.ids]\nport = \"xdp:eth2\"\n[[rule]]\nname = \"a\"\naction = \"decrypt\"\nmirror = \"idz\"\n\
         [[rule]]\nname = \"b\"\naction = \"bypass\"\nmirror = \"ids\"\n",
        &[
            "18: rule[1].mirror: no `[mirror.idz]` in this file (did you mean \"ids\"?); \"none\" is no mirror",
            "22: rule[2].mirror: only a rule with action = \"decrypt\" has this key",
        ],
    );
}

#[test]
fn confinement() {
    assert_faults(
        "[confine]\nmode = \"best-effort\"\nuser = \"no-such-user\"\n",
        &[
            "14: confine.mode: expected one of \"strict\", \"best_effort\", \"off\", found \"best-effort\" (did you mean \"best_effort\"?)",
            "15: confine.user: expected a user of this machine, found \"no-such-user\": useradd --system no-such-user",
        ],
    );
    assert_faults("[confine]\ngroup = \"root\"\n", &["14: confine.group: expected `confine.user` beside it"]);
    assert_faults(
        "[confine]\nuser = \"root\"\ngroup = \"no-such-group\"\n",
        &[
            "15: confine.group: expected a group of this machine, found \"no-such-group\": groupadd --system no-such-group",
        ],
    );
}
