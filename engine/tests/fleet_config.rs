//! `[fleet]` in a configuration, and a policy that was pushed in the place of its own.
#![cfg(feature = "fleet")]
#![allow(clippy::unwrap_used)]

mod config_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use config_support::{Folder, GOOD, GOOD_LINES};
use wireglass::config::{Config, Custody, PolicyFrom, check_policy, control_socket, fleet};
use wireglass::confine::Needs;
use wireglass_core::policy::Decision;

const FLEET: &str = "[fleet]\nendpoints = [\"http://127.0.0.1:2379\"]\nname = \"a\"\nstate_dir = \"state\"\n";

fn private(folder: &Folder, name: &str, text: &str) {
    let path = folder.write(name, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A folder with a generation in force.
fn with_pushed(policy: &str) -> Folder {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("state/generations/7")).unwrap();
    folder.write("state/generations/7/policy.toml", policy);
    folder.write("state/in-force", "7\n");
    folder
}

#[test]
fn what_is_wrong_with_a_fleet_is_said() {
    let folder = Folder::new();
    private(&folder, "short.key", "0011\n");
    private(&folder, "three.key", &format!("{0}\n{0}\n{0}\n", "ab".repeat(32)));
    folder.write("open.key", "ab".repeat(32));
    for (text, expected) in [
        (
            "endpoints = [\"http://192.0.2.1:2379\"]\nname = \"a\"",
            "fleet.endpoints[1]: expected https://HOST:2379",
        ),
        ("endpoints = [\"etcd:2379\"]\nname = \"a\"", "fleet.endpoints[1]: expected https://HOST:2379"),
        ("endpoints = [\"https://e:2379\"]\nname = \"a\"", "fleet.ca: missing: "),
        ("endpoints = [\"https://e:2379\"]\nname = \"a\"", "fleet.certificate: missing: "),
        ("endpoints = [\"https://e:2379\"]\nname = \"a\"", "fleet.key: missing: "),
        ("endpoints = [\"http://[::1]:2379\"]\nname = \"a/b\"", "fleet.name: expected a name of 1 to 63"),
        ("fleet = \"..\"", "fleet.fleet: expected a name"),
        ("share = [\"keys\"]", "fleet.share[1]: expected one of"),
        (
            "endpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nshare = [\"verified_chains\"]",
            "fleet.share: `verified_chains` needs `fleet.key_file`",
        ),
        ("lease_seconds = 1", "fleet.lease_seconds: expected a whole number from 5 to 300"),
        ("on_drain = \"run\"", "fleet.on_drain: expected one of"),
        ("colour = \"red\"", "fleet.colour: unknown key"),
        (
            "endpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nkey_file = \"short.key\"",
            "fleet.key_file: expected a key of 64",
        ),
        (
            "endpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nkey_file = \"three.key\"",
            "fleet.key_file: expected a key of 64",
        ),
        (
            "endpoints = [\"http://127.0.0.1:1\"]\nname = \"a\"\nkey_file = \"open.key\"",
            "fleet.key_file: expected a key file that only",
        ),
    ] {
        let faults = folder.faults(&format!("{GOOD}[fleet]\n{text}\n"));
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{text}: {faults:?}");
    }
}

#[test]
fn keys_are_read_and_not_shown() {
    let folder = Folder::new();
    private(&folder, "fleet.key", &format!("# the new one\n{}\n{}\n", "ab".repeat(32), "cd".repeat(32)));
    let text = format!("{GOOD}{FLEET}key_file = \"fleet.key\"\n");
    let config = folder.load(&text).unwrap();
    let keys = config.fleet.keys.clone().unwrap();
    assert_eq!((keys.sealing(), keys.all().count()), (&[0xab; 32], 2));
    assert!(!format!("{:?}", config.fleet).contains("171"), "{:?}", config.fleet);
    // An operator's file has nothing else.
    let operator = fleet(&folder.write("operator.toml", FLEET)).unwrap();
    assert!(operator.is_on() && operator.name == "a");
}

#[test]
fn threads_that_read_again_may_read_wherever_it_lies() {
    let folder = Folder::new();
    for name in ["secret", "elsewhere/state"] {
        fs::create_dir_all(folder.path(name)).unwrap();
    }
    private(&folder, "secret/fleet.key", &"ab".repeat(32));
    let file = folder.write(
        "wire.toml",
        format!("{GOOD}{FLEET}key_file = \"secret/fleet.key\"\n").replace("\"state\"", "\"elsewhere/state\""),
    );
    let (key, state) = (folder.path("secret"), folder.path("elsewhere/state"));
    let engine = Needs::of(&Config::load(&file).unwrap());
    assert!(engine.read.contains(&key) && engine.fleet_folder == Some(state.clone()), "{engine:?}");
    // The signer reads the profiles that were pushed, and no key of the fleet's.
    let signer = Needs::of_signer(&Custody::load(&file).unwrap());
    assert!(signer.read.contains(&state) && !signer.read.contains(&key), "{signer:?}");
    let signer = Needs::of_signer(&Custody::load(&folder.write("alone.toml", GOOD)).unwrap());
    assert!(!signer.read.contains(&state), "{signer:?}");
}

#[test]
fn what_was_pushed_stands_in_place_of_the_own_policy() {
    let folder = with_pushed("[policy]\ndefault = \"bypass\"\n[[rule]]\nname = \"x\"\naction = \"block\"\n");
    let file =
        folder.write("wire.toml", format!("{GOOD}[[rule]]\nname = \"own\"\naction = \"decrypt\"\n{FLEET}"));
    let config = Config::load(&file).unwrap();
    assert_eq!((config.policy.default.clone(), config.policy.rules.len()), (Decision::Bypass, 1));
    assert_eq!(config.policy.rules[0].name, "x");
    let own = Config::load_with(&file, PolicyFrom::Own, wireglass::config::CaKeys::Read).unwrap();
    assert!(matches!(own.policy.default, Decision::Decrypt(_)));
    let changed = own.live_changes(&config);
    assert!(
        changed.contains(&"policy.default".to_owned()) && changed.contains(&"rule.action".to_owned()),
        "{changed:?}"
    );
    assert!(own.startup().changed_keys(&config.startup()).is_empty());
    // What the engine shares no policy for is its own.
    let file = folder.write("alone.toml", format!("{GOOD}{FLEET}share = [\"tickets\"]\n"));
    assert!(Config::load(&file).unwrap().pushed.is_none());
    let file = folder.write("off.toml", format!("{GOOD}[fleet]\nstate_dir = \"state\"\n"));
    assert!(Config::load(&file).unwrap().pushed.is_none());
}

#[test]
fn faults_name_the_file_that_they_are_in() {
    let folder = with_pushed("[policy]\n# a comment\ndefault = \"perhaps\"\n");
    let text = format!("{GOOD}{FLEET}[metrics]\nlisten = 7\n");
    let file = folder.write("wire.toml", &text);
    let faults = Config::load(&file).unwrap_err().to_string();
    let pushed = folder.path("state/generations/7/policy.toml").display().to_string();
    assert!(faults.contains(&format!("{pushed}:3: policy.default: ")), "{faults}");
    assert!(faults.contains(&format!("{}:{}: metrics.listen: ", file.display(), GOOD_LINES + 6)), "{faults}");
    for (policy, expected) in [
        ("[policy\n", ":1: TOML: "),
        ("[policy]\ndefault = \"bypass\"\n[dpdk]\neal = []\n", ":3: dpdk: a pushed policy has only "),
        ("[fleet]\nendpoints = []\n", ":1: fleet: a pushed policy has only "),
        ("[[list]]\nname = \"l\"\nkind = \"domain\"\nfiles = [\"gone.txt\"]\n", "generations/7/gone.txt"),
    ] {
        folder.write("state/generations/7/policy.toml", policy);
        let faults = Config::load(&file).unwrap_err().to_string();
        assert!(faults.contains(expected), "{policy}: {faults}");
    }
    // Who only wants to know where the engine listens is not kept from it.
    assert!(control_socket(&file).is_ok());
    fs::remove_dir_all(folder.path("state/generations/7")).unwrap();
    let faults = Config::load(&file).unwrap_err().to_string();
    assert!(faults.contains("fleet.state_dir: generation 7 of the fleet's policy: cannot read"), "{faults}");
    folder.write("state/in-force", "rubbish");
    let faults = Config::load(&file).unwrap_err().to_string();
    assert!(faults.contains("expected the number of a generation"), "{faults}");
}

#[test]
fn the_signer_goes_by_what_was_pushed_too() {
    let folder = with_pushed("[policy]\ndefault = \"bypass\"\n[profile.pushed]\non_expired = \"perhaps\"\n");
    let file = folder.write("wire.toml", format!("{GOOD}{FLEET}"));
    let faults = Custody::load(&file).unwrap_err().to_string();
    assert!(faults.contains("policy.toml:4: profile.pushed.on_expired: "), "{faults}");
}

#[test]
fn a_policy_is_checked_as_far_as_the_file_at_hand_allows() {
    let folder = Folder::new();
    let operator = folder.write("operator.toml", FLEET);
    let engine = folder.write("wire.toml", format!("{GOOD}{FLEET}"));
    let policy = folder.write(
        "p.toml",
        "[policy]\ndefault = \"bypass\"\n[[rule]]\nname = \"x\"\nwire = \"wan\"\naction = \"block\"\n",
    );
    assert_eq!(check_policy(&operator, &policy), Ok(()), "the wires are the engines'");
    let faults = check_policy(&engine, &policy).unwrap_err().to_string();
    assert!(faults.contains("p.toml:5: rule[1].wire: "), "{faults}");
    folder.write("p.toml", "[policy]\ndefault = \"bypass\"\n[[rule]]\nname = \"x\"\nsni = { list = \"gone\" }\naction = \"block\"\n");
    let faults = check_policy(&operator, &policy).unwrap_err().to_string();
    assert!(faults.contains("p.toml:5: rule[1].sni.list: ") && faults.lines().count() == 1, "{faults}");
}
