//! What `wireglass init` has to know: from the command line, from a person, or assumed.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::InitArgs;
use super::ports::{Candidate, Machine};
use crate::ca_files::DEFAULT_NAME;

/// Answers to one question that are taken before it is given up: a program may be answering.
const TRIES: usize = 5;

/// All that the configuration depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) inside: Candidate,
    pub(super) outside: Candidate,
    /// Common name of the trusted CA.
    pub(super) ca_name: String,
    pub(super) decrypt: Decrypt,
}

/// Whose connections are decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decrypt {
    Nobody,
    Everybody,
    /// Clients of these networks.
    From(Vec<IpNet>),
}

impl FromStr for Decrypt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "none" | "nobody" => return Ok(Self::Nobody),
            "all" | "everybody" => return Ok(Self::Everybody),
            _ => {}
        }
        let network =
            |word: &str| word.parse::<IpNet>().ok().or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from));
        let networks = text.split([',', ' ']).filter(|word| !word.is_empty()).map(|word| {
            network(word).ok_or_else(|| {
                format!("expected `none`, `all`, or addresses and networks of clients, found {word:?}")
            })
        });
        let networks = networks.collect::<Result<Vec<_>, _>>()?;
        if networks.is_empty() {
            Err("expected `none`, `all`, or networks".into())
        } else {
            Ok(Self::From(networks))
        }
    }
}

impl fmt::Display for Decrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody's connections yet"),
            Self::Everybody => f.write_str("everybody's connections"),
            Self::From(networks) => {
                f.write_str("the connections of ")?;
                networks
                    .iter()
                    .enumerate()
                    .try_for_each(|(i, network)| write!(f, "{}{network}", if i == 0 { "" } else { ", " }))
            }
        }
    }
}

/// Asks for what the command line leaves open, on standard error. With `--yes` nothing is asked.
///
/// # Errors
/// What could not be found out, and how to say it.
pub(super) fn find_out(args: &InitArgs, machine: &Machine, input: impl BufRead) -> Result<Answers, String> {
    let mut dialogue = Dialogue { input, asks: !args.yes };
    let free = machine.free();
    let given = |name: &Option<String>, option| {
        let candidate =
            name.as_deref().map(|name| machine.named(name).map_err(|why| format!("{option}: {why}")));
        candidate.transpose()
    };
    let (inside, outside) = (given(&args.inside, "--inside")?, given(&args.outside, "--outside")?);
    if args.inside.is_none() || args.outside.is_none() {
        let said = free.iter().map(|candidate| format!("  {}  ({})\n", candidate.port, candidate.about));
        dialogue.say(&format!("Ports that nothing else uses:\n{}", said.collect::<String>()));
        let named = [&args.inside, &args.outside].into_iter().flatten().count();
        if free.len() + named < 2 {
            return Err(format!(
                "a wire needs two ports, and {} here: bind network cards to vfio-pci (scripts/nic.sh, docs/deploy.md), or remove the addresses of interfaces that are to be ports (ip addr flush dev NAME)",
                match free.len() {
                    0 => "none is free".to_owned(),
                    n => format!("{n} is free"),
                }
            ));
        }
    }
    let port = |question, other: Option<&Candidate>, dialogue: &mut Dialogue<_>| {
        let is_other = |candidate: &Candidate| other.is_some_and(|other| is_same(other, candidate));
        let first =
            free.iter().find(|candidate| !is_other(candidate)).map(|candidate| candidate.port.clone());
        dialogue.ask(question, first.as_deref(), |answer| machine.named(answer))
    };
    let inside = match inside {
        Some(inside) => inside,
        None => port("Port towards the clients", outside.as_ref(), &mut dialogue)?,
    };
    let outside = match outside {
        Some(outside) => outside,
        None => port("Port towards the servers", Some(&inside), &mut dialogue)?,
    };
    if is_same(&inside, &outside) {
        return Err(format!("both ports are {}: a wire needs two different ones", inside.port));
    }
    let ca_name = match &args.ca_name {
        Some(name) => name.clone(),
        None => {
            dialogue.ask("Name of the CA, which users see in certificates", Some(DEFAULT_NAME), |name| {
                Ok(name.to_owned())
            })?
        }
    };
    let decrypt = match &args.decrypt {
        Some(decrypt) => decrypt.clone(),
        None => dialogue.ask(
            "Clients to decrypt: addresses, networks, `all`, or `none` until they trust the CA",
            Some("none"),
            str::parse,
        )?,
    };
    Ok(Answers { inside, outside, ca_name, decrypt })
}

/// Two names may mean one interface: `eth1` and `xdp:eth1`.
fn is_same(one: &Candidate, other: &Candidate) -> bool {
    one.port == other.port || one.interface.is_some() && one.interface == other.interface
}

struct Dialogue<R> {
    input: R,
    asks: bool,
}

impl<R: BufRead> Dialogue<R> {
    /// Nobody has to read it.
    fn say(&self, words: &str) {
        if self.asks {
            let _ = io::stderr().write_all(words.as_bytes());
        }
    }

    /// The first answer that can be taken. An empty one is the assumption.
    fn ask<T>(
        &mut self,
        question: &str,
        assumed: Option<&str>,
        take: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        let assume = || {
            assumed.ok_or_else(|| format!("{question}: there is no default; answer with an option (--help)"))
        };
        if !self.asks {
            return take(assume()?).map_err(|why| format!("{question}: {why}"));
        }
        for _ in 0..TRIES {
            self.say(&format!(
                "{question}{}: ",
                assumed.map(|word| format!(" [{word}]")).unwrap_or_default()
            ));
            let mut line = String::new();
            match self.input.read_line(&mut line) {
                Ok(0) => {
                    self.say("\n");
                    return Err(
                        "no answer: --yes accepts the answers in brackets, and each question has an option (--help)"
                            .into(),
                    );
                }
                Ok(_) => {}
                Err(error) => return Err(format!("cannot read an answer: {error}")),
            }
            let answer = match line.trim() {
                "" => assume()?,
                answer => answer,
            };
            match take(answer) {
                Ok(taken) => return Ok(taken),
                Err(why) => self.say(&format!("  {why}\n")),
            }
        }
        Err(format!("{question}: none of {TRIES} answers was valid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_connections() {
        assert_eq!("none".parse(), Ok(Decrypt::Nobody));
        assert_eq!(" all ".parse(), Ok(Decrypt::Everybody));
        let some: Decrypt = "10.0.0.7, 2001:db8::/32".parse().expect("an address and a network");
        assert_eq!(some.to_string(), "the connections of 10.0.0.7/32, 2001:db8::/32");
        for wrong in ["", ",", "everyone", "10.0.0.0/33"] {
            assert!(wrong.parse::<Decrypt>().is_err(), "{wrong}");
        }
    }

    fn dialogue(asks: bool, input: &str) -> Dialogue<&[u8]> {
        Dialogue { input: input.as_bytes(), asks }
    }

    #[test]
    fn answers_are_asked_for_until_one_can_be_taken() {
        let take = |word: &str| if word == "good" { Ok(()) } else { Err("it is bad".to_owned()) };
        let bad = "bad\n".repeat(TRIES);
        assert_eq!(dialogue(true, "bad\n good \n").ask("Q", None, take), Ok(()));
        assert_eq!(dialogue(true, "\n").ask("Q", Some("good"), take), Ok(()));
        assert_eq!(dialogue(false, "bad\n").ask("Q", Some("good"), take), Ok(()), "nothing is read");
        assert!(dialogue(true, "").ask("Q", Some("good"), take).unwrap_err().contains("--yes"));
        assert!(dialogue(true, &bad).ask("Q", Some("good"), take).unwrap_err().contains("answers was valid"));
        assert!(dialogue(false, "").ask("Q", None, take).is_err());
    }
}
