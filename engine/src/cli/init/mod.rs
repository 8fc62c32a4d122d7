//! `wireglass init`: a first configuration that works, and its CA.
//!
//! [`ports`] knows what this machine can spare, [`answers`] asks, [`configuration`] writes.

mod answers;
mod configuration;
mod ports;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use nix::unistd::Group;
use wireglass_core::x509::Provider;

use self::answers::{Answers, Decrypt};
use self::configuration::{Configuration, Outputs};
use self::ports::Machine;
use super::{USAGE, describe};
use crate::ca_files::{self, DEFAULT_DAYS, DEFAULT_NAME, NewCas};
use crate::config::Config;

const HELP: &str = "\
Examples:
  wireglass init                                                asks for everything
  wireglass init --yes                                          takes the two ports that nothing else uses, and decrypts nothing yet
  wireglass init --inside eth1 --outside eth2 --decrypt all
  wireglass init -c /etc/wireglass/wireglass.toml --inside 0000:03:00.0 --outside 0000:03:00.1 --decrypt 192.0.2.7

A port is a network card bound to vfio-pci, or an interface. For an interface, the command picks AF_XDP sockets if the
driver supports them well, else packet sockets; `xdp:eth1` and `af_packet:eth1` choose explicitly. It never takes an
interface that has an address or a route of this machine.

The CA goes into the folder `ca` beside the configuration; an existing CA is kept. An existing configuration is kept
too, unless it contains only comments.

At the end it prints the next three steps.

Exit status: 0 written; 1 a configuration exists already, or it cannot be written; 2 wrong usage, or no two ports.";

/// The group that the package makes: its members may look at the engine.
const GROUP: &str = "wireglass";
/// The four files of both CAs.
const CA_FILES: [&str; 4] = ["trusted.pem", "trusted.key", "untrusted.pem", "untrusted.key"];

/// Write a first working configuration and make its CA.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct InitArgs {
    /// File to write
    #[arg(short, long, value_name = "FILE", default_value = "wireglass.toml")]
    config: PathBuf,
    /// Port towards the clients: an interface, or a card's PCI address [default: asks]
    #[arg(long, value_name = "PORT")]
    inside: Option<String>,
    /// Port towards the servers [default: asks]
    #[arg(long, value_name = "PORT")]
    outside: Option<String>,
    /// Common name of the trusted CA; users see it as the issuer of certificates [default: asks]
    #[arg(long, value_name = "CN")]
    ca_name: Option<String>,
    /// Clients to decrypt: `none`, `all`, or addresses and networks, separated by commas [default: asks]
    #[arg(long, value_name = "WHOSE")]
    decrypt: Option<Decrypt>,
    /// Ask nothing; take the answer that a question would show in brackets
    #[arg(short, long)]
    yes: bool,
    /// A folder that looks like another machine
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Runs the command.
pub(super) fn run(args: &InitArgs) -> ExitCode {
    if let Err(message) = nothing_is_lost(&args.config) {
        errln!("wireglass: {message}");
        return ExitCode::FAILURE;
    }
    let machine = Machine::read(&args.root);
    let answers = match answers::find_out(args, &machine, io::stdin().lock()) {
        Ok(answers) => answers,
        Err(message) => {
            errln!("wireglass: {message}");
            return ExitCode::from(USAGE);
        }
    };
    match write(&args.config, &answers, machine.core()) {
        Ok(wrote) => super::print(format_args!("{wrote}{}", next(&args.config, &answers)), ExitCode::SUCCESS),
        Err(message) => {
            errln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// What is there may be replaced: nothing, or comments alone, as in the package's file.
fn nothing_is_lost(file: &Path) -> Result<(), String> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
        Ok(text) => text,
    };
    let says_something = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if text.lines().any(says_something) {
        return Err(format!(
            "{} exists already and was not changed; choose another file with -c, or delete it",
            file.display()
        ));
    }
    Ok(())
}

/// Makes the CA and the configuration, and reads it as the engine would. Returns what was done, a line each.
fn write(file: &Path, answers: &Answers, core: usize) -> Result<String, String> {
    // Empty: here.
    let folder = file.parent().unwrap_or(Path::new(""));
    let failed = |path: &Path, error: io::Error| format!("wireglass: {}: {error}", path.display());
    let outputs = Outputs::of(folder);
    for path in [&outputs.eve, &outputs.exclusions] {
        let parent = path.parent().filter(|parent| parent.is_absolute()).unwrap_or(folder);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o750).create(parent).map_err(|error| failed(parent, error))?;
    }
    let ca = make_ca(&folder.join("ca"), &answers.ca_name)?;
    let read_group = Group::from_name(GROUP).ok().flatten().map(|_| GROUP);
    let text = Configuration { answers, outputs: &outputs, core, read_group }.to_string();
    ca_files::write_new(file, text.as_bytes(), 0o644).map_err(|error| failed(file, error))?;
    // It is a fault of ours if it is not in order, or one of the machine that it names.
    if let Err(faults) = Config::load(file) {
        // The next try shall not find it.
        let _ = fs::remove_file(file);
        return Err(describe(&faults));
    }
    Ok(format!("{ca}wrote {}\n", file.display()))
}

/// Both CAs, unless they are there. Returns what was done, a line each.
fn make_ca(dir: &Path, name: &str) -> Result<String, String> {
    let there = CA_FILES.iter().filter(|file| dir.join(file).exists()).count();
    if there == CA_FILES.len() {
        return Ok(format!("kept the CA in {}\n", dir.display()));
    }
    if there > 0 {
        return Err(format!(
            "wireglass: {0} has some files of a CA, but not all four: move them away, or replace them: `wireglass ca init --dir {0} --force`",
            dir.display()
        ));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let new = NewCas {
        dir: dir.to_owned(),
        name: (name != DEFAULT_NAME).then(|| name.to_owned()),
        days: DEFAULT_DAYS,
        force: false,
        provider: Provider::default(),
        now,
    };
    let files = ca_files::create(&new).map_err(|error| format!("wireglass: {error}"))?;
    Ok(files.iter().map(|file| format!("wrote {}\n", file.display())).collect())
}

/// The next three steps.
fn next(file: &Path, answers: &Answers) -> String {
    let Answers { inside, outside, decrypt, .. } = answers;
    let config = file.display();
    let interfaces: Vec<_> =
        [inside, outside].into_iter().filter_map(|port| port.interface.as_deref()).collect();
    let ports = if interfaces.is_empty() {
        format!("wireglass doctor -c {config} --ports")
    } else {
        // Frames as they are on the wire: cards merge and cut them, and take tags off.
        format!(
            "for port in {}; do ip link set $port up; ethtool -K $port rx off tx off tso off gso off gro off lro off rxvlan off txvlan off; done",
            interfaces.join(" ")
        )
    };
    let is_system = file == Path::new("/etc/wireglass/wireglass.toml");
    let run = if is_system {
        "systemctl enable --now wireglass".to_owned()
    } else {
        format!("wireglass run -c {config}")
    };
    let trusted = file.with_file_name("ca").join("trusted.pem");
    let third = match decrypt {
        Decrypt::Nobody => format!(
            "for a client that trusts the CA, the rule \"first clients\" in {config}; then: wireglass reload"
        ),
        _ => "on a client: curl --cacert trusted.pem https://www.example.com/".to_owned(),
    };
    format!(
        "\n{} to {}, decrypting {decrypt}. Next:\n  1. {ports}\n  2. {run}\n  3. {third}\n\
         trusted.pem is {}; `wireglass ca init --help` says how clients install it.\n",
        inside.port,
        outside.port,
        trusted.display()
    )
}
