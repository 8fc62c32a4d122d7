//! `wireglass-demo`: whole connections through the engine in one process, told to a newcomer.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use rustls_pki_types::CertificateDer;
use wireglass_core::content::RuleFilters;
use wireglass_core::event::{Action, CertificateInfo, Event, Text, Timestamp};
use wireglass_core::exclusions::Exclusions;
use wireglass_core::flow::{Limits, OutsideTls};
use wireglass_core::policy::{
    BlockWith, ContentAction, ContentPolicy, ContentRule, Decision, Policy, Ports, Profile, Respond, Rule,
};
use wireglass_core::reason::Reason;
use wireglass_core::tls::{TlsContext, TlsSettings};
use wireglass_core::x509::{Provider, RootFile, describe_certificate};

use wireglass::engine_builder::EngineBuilder;
use wireglass::log::{LogReceiver, eve, ring};
use wireglass::secrets::Secrets;
use wireglass::simulate::{Engine, EngineSettings, Spread};
use wireglass_testbed::{
    ClientOptions, Duration, Ending, EngineCa, Heading, Host, HostConfig, Identity, Impairment, Instant, Pki,
    PortSide, Report, ServerOptions, Session, SessionId, Simulation, Step, providers,
};

/// Shows what wireglass does: five connections through the engine, in this one process. Needs no root, ports or network.
#[derive(Debug, clap::Parser)]
#[command(version, after_long_help = HELP)]
pub struct Args {
    /// Seed of everything that happens on the cables: the same seed loses the same frames.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Frames lost on each cable, in percent from 0 to 20.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=20))]
    loss: u8,
}

const HELP: &str = "\
What stands in memory here is what `wireglass run` puts on network ports:

  client ──cable── inside [ wireglass ] outside ──cable── server

The engine is the real one: the same workers, TCP, TLS, certificates, policy and log. The client and the servers are
other people's code (smoltcp's TCP, rustls's TLS), so what they see is what a browser and a web server would see.

  1  a connection that is decrypted: the client gets a copy of the server's certificate, signed by your CA
  2  one that a rule leaves alone: every frame passes as it is, and the client sees the server's own certificate
  3  one whose server has an expired certificate: ended before the client's data reaches the server
  4  one that a rule forbids
  5  one page of the first that a rule on content forbids: the client gets another page instead

At the end come the lines that the engine writes to its event log (EVE JSON, as Suricata does).
Try `wireglass-demo --loss 10`: cables that lose frames change nothing but the time that it takes.
Exit code 0: everything went as it should; 1: it did not.";

/// Longest time on the virtual clock that one connection may take.
const PATIENCE: Duration = Duration::from_secs(600);
const BANK_RULE: &str = "no banking";
const ADS_RULE: &str = "no ads";
const GAMBLING_RULE: &str = "no gambling";
const PATH: &str = "/account?id=42";

/// One connection: to whom, and what should become of it.
struct Scene {
    title: &'static str,
    host: &'static str,
    path: &'static str,
    expected: (Action, Reason),
    /// A rule on content blocks the request.
    is_answered: bool,
}

const SCENES: [Scene; 5] = [
    Scene {
        title: "Decrypted: no rule matches, and the default is to decrypt",
        host: "www.example.com",
        path: PATH,
        is_answered: false,
        expected: (Action::Decrypt, Reason::PolicyDecrypt),
    },
    Scene {
        title: "Left alone: rule \"no banking\" says bypass",
        host: "online.bank.example",
        path: PATH,
        is_answered: false,
        expected: (Action::Bypass, Reason::PolicyBypass),
    },
    Scene {
        title: "Refused: to be decrypted, but the server's certificate has expired",
        host: "expired.example.com",
        path: PATH,
        is_answered: false,
        expected: (Action::Block, Reason::CertExpired),
    },
    Scene {
        title: "Forbidden: rule \"no ads\" says block",
        host: "tracker.ads.example",
        path: PATH,
        is_answered: false,
        expected: (Action::Block, Reason::PolicyBlock),
    },
    Scene {
        title: "Answered: decrypted, but rule \"no gambling\" on content says block",
        host: "www.example.com",
        path: "/casino/roulette",
        is_answered: true,
        expected: (Action::Decrypt, Reason::PolicyDecrypt),
    },
];

/// Runs it, on standard output.
fn main() -> ExitCode {
    let args = Args::parse();
    match args.tell(&mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wireglass: demo: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Args {
    /// Plays all scenes. False: one of them did not go as it should.
    fn tell(&self, out: &mut impl Write) -> Result<bool, Box<dyn std::error::Error>> {
        let mut stage = Stage::new(self)?;
        writeln!(out, "client 10.0.0.1 ──── inside [ wireglass ] outside ──── servers 10.0.0.2\n")?;
        let mut lines = Vec::new();
        let mut failed = 0;
        let mut seconds = 0.0;
        for (number, scene) in SCENES.iter().enumerate() {
            writeln!(out, "{}. {}", number + 1, scene.title)?;
            let played = stage.play(scene, 50_000 + number as u16)?;
            let good = played.describe(scene, out)?;
            failed += usize::from(!good);
            seconds += played.took.total_micros() as f64 / 1e6;
            writeln!(out)?;
            for event in &played.events {
                eve::write_event(&mut lines, event)?;
            }
        }
        writeln!(out, "The event log:")?;
        out.write_all(&lines)?;
        match failed {
            0 => writeln!(out, "\nEverything went as it should, in {seconds:.3} s on the virtual clock.")?,
            _ => writeln!(out, "\n{failed} of {} connections did NOT go as they should.", SCENES.len())?,
        }
        Ok(failed == 0)
    }
}

/// The two hosts, the engine, and all keys and certificates.
struct Stage {
    simulation: Simulation<Engine>,
    log: LogReceiver,
    /// Signs the servers' certificates; the client and the engine trust it.
    internet: Pki,
    client: ClientOptions,
}

/// What came of a scene.
struct Played {
    client: Report,
    server: Report,
    /// The server's own certificate.
    original: CertificateDer<'static>,
    request: Vec<u8>,
    response: Vec<u8>,
    events: Vec<Event>,
    /// Frames that entered, and those of them that left unchanged, from both sides.
    frames: (usize, usize),
    /// From the SYN until both ends were through.
    took: Duration,
}

impl Stage {
    fn new(args: &Args) -> Result<Self, Box<dyn std::error::Error>> {
        let internet = Pki::new("Demo Internet")?;
        let (trusted, untrusted) = (EngineCa::new("Demo Company CA")?, EngineCa::new("Demo untrusted CA")?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let tls = TlsContext::new(TlsSettings {
            provider: Provider::default(),
            trusted: trusted.files(),
            untrusted: untrusted.files(),
            crl_url: None,
            knowledge: Default::default(),
            system_roots: None,
            roots: vec![RootFile {
                name: "Demo Internet root".into(),
                pem: internet.root_pem().into_bytes(),
            }],
            now: now.as_secs(),
        })?;
        let (sender, log) = ring(1_000);
        let builder = EngineBuilder {
            policy: Arc::new(policy()?),
            tls,
            // With a lost frame in five, a ClientHello may need longer than the usual five seconds.
            limits: Limits { hello_time: PATIENCE, handshake_time: PATIENCE, ..Limits::default() },
            outside_tls: OutsideTls::default(),
            filters: Arc::new(RuleFilters::new(Arc::new(content_policy()?), Arc::default())),
            page: Arc::default(),
            exclusions: Arc::new(Exclusions::new([7; 16])),
            mirrors: Vec::new(),
            wires: vec!["demo".into()],
            handshake_threads: 0,
            content_threads: 0,
            flows: 64,
            held_frames: 256,
            log: sender,
            flow_bytes: 64 << 20,
            native_vlans: Vec::new(),
            secrets: Secrets::fixed(0),
            epoch: 1,
        };
        let started = Timestamp(u64::try_from(now.as_micros())?);
        let settings =
            EngineSettings { workers: 1, spread: Spread::Owner, mtu: 1500, mirror_depth: 0, started };
        let impairment = Impairment { loss: f64::from(args.loss) / 100.0, ..Impairment::default() };
        let host = |number| {
            let config = HostConfig::numbered(number);
            Host::new(Instant::ZERO, HostConfig { seed: args.seed ^ config.seed, ..config })
        };
        let engine = Engine::new(builder, settings)?;
        let mut simulation = Simulation::new(host(1), host(2), engine, impairment, args.seed);
        simulation.record();
        let (_, crypto) = providers().into_iter().next().ok_or("no crypto provider is built in")?;
        let mut client = ClientOptions::new(crypto, vec![trusted.certificate(), internet.root()]);
        client.alpn = vec![b"http/1.1".to_vec()];
        Ok(Self { simulation, log, internet, client })
    }

    /// One connection, from the SYN until both ends are through with it.
    fn play(&mut self, scene: &Scene, port: u16) -> Result<Played, Box<dyn std::error::Error>> {
        let body = format!("This page of {} is for you alone.\n", scene.host);
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: demo-client/1.0\r\n\r\n",
            scene.path, scene.host
        );
        let response = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (request, response) = (request.into_bytes(), response.into_bytes());
        let identity = self.identity(scene)?;
        let original = identity.chain[0].clone();

        let before = self.simulation.recorded().len();
        let (client, server) = self.connect(scene.host, port, identity, &request, &response)?;
        let began = self.simulation.now();
        self.simulation.run(PATIENCE);
        let took = self.simulation.now() - began;
        // Long enough for the engine to let go of the flow, and report it.
        self.simulation.settle(PATIENCE);
        // What was refused during its handshake would take the next scene's connection.
        self.simulation.server.stop_listening();
        Ok(Played {
            client: self.simulation.client.report(client).clone(),
            server: self.simulation.server.report(server).clone(),
            original,
            request,
            response,
            events: std::iter::from_fn(|| self.log.pop()).collect(),
            frames: self.count_frames(before),
            took,
        })
    }

    fn identity(&self, scene: &Scene) -> Result<Identity, rcgen::Error> {
        self.internet.identity_with(&[scene.host], |leaf| {
            if scene.expected.1 == Reason::CertExpired {
                leaf.not_after = rcgen::date_time_ymd(2025, 1, 1);
            }
        })
    }

    fn connect(
        &mut self,
        name: &str,
        port: u16,
        identity: Identity,
        request: &[u8],
        response: &[u8],
    ) -> Result<(SessionId, SessionId), Box<dyn std::error::Error>> {
        let mut options = ServerOptions::new(self.client.provider.clone(), identity.chain, identity.key);
        options.alpn = vec![b"http/1.1".to_vec()];
        let server_script =
            [Step::Receive(request.len()), Step::Send(response.to_vec()), Step::AwaitEnd, Step::Finish];
        let client_script = [Step::Send(request.to_vec()), Step::Receive(response.len()), Step::Finish];
        let server = Session::tls_server(options.build()?, server_script)?;
        let client = Session::tls_client(self.client.build()?, name, client_script)?;
        let address = self.simulation.server.address(false).ok_or("the server has no address")?;
        let server = self.simulation.server.listen(443, server);
        let client = self.simulation.client.connect(SocketAddr::new(address, 443), port, client);
        Ok((client, server))
    }

    /// Frames that entered the engine since, and those of them that left at the other side as they had come.
    fn count_frames(&self, since: usize) -> (usize, usize) {
        let crossings = &self.simulation.recorded()[since..];
        let mut counts = (0, 0);
        for port in [PortSide::Inside, PortSide::Outside] {
            let mut left: Vec<_> = crossings
                .iter()
                .filter(|c| c.port == port.other() && c.heading == Heading::Out)
                .map(|c| &c.frame)
                .collect();
            for entered in crossings.iter().filter(|c| c.port == port && c.heading == Heading::In) {
                counts.0 += 1;
                if let Some(at) = left.iter().position(|frame| **frame == entered.frame) {
                    left.remove(at);
                    counts.1 += 1;
                }
            }
        }
        counts
    }
}

/// What a configuration file would say with three rules' worth of TOML.
fn policy() -> Result<Policy, Box<dyn std::error::Error>> {
    let rule = |name: &str, suffix: &str, decision| -> Result<Rule, Box<dyn std::error::Error>> {
        Ok(Rule { sni: vec![suffix.parse()?], ..Rule::new(name, decision) })
    };
    let rules = [
        rule(BANK_RULE, "*.bank.example", Decision::Bypass)?,
        rule(ADS_RULE, "*.ads.example", Decision::Block(BlockWith::Alert))?,
    ];
    let default = Decision::Decrypt(Arc::new(Profile::default()));
    Ok(Policy::compile(Ports::Only(vec![443]), &rules, default))
}

/// Likewise, with one `[[content.rule]]`.
fn content_policy() -> Result<ContentPolicy, Box<dyn std::error::Error>> {
    let block = ContentAction::Block(Respond::Page);
    let rule = ContentRule { path: vec!["/casino/*".parse()?], ..ContentRule::new(GAMBLING_RULE, block) };
    Ok(ContentPolicy::compile(&[rule], Arc::default()))
}

impl Played {
    /// Says what happened. False: not what should have.
    fn describe(&self, scene: &Scene, out: &mut impl Write) -> io::Result<bool> {
        let mut fact = |what: &str, text: &dyn Display| writeln!(out, "   {what:<23}{text}");
        fact("the client opens", &format_args!("https://{}{}", scene.host, scene.path))?;
        let names = Names::of(&self.original);
        fact("the server has", &format_args!("{}, issued by {}", names.subject, names.issuer))?;
        match self.client.handshake.as_ref().and_then(|handshake| handshake.chain.first()) {
            Some(leaf) => {
                let whose = if *leaf == self.original { "the server's own" } else { "minted by wireglass" };
                let names = Names::of(leaf);
                let text = format!("{}, issued by {} ({whose})", names.subject, names.issuer);
                fact("the client sees", &text)?;
            }
            None => fact("the client sees", &"no certificate")?,
        }
        for event in &self.events {
            if let Event::Tls(_, tls) = event
                && let (Some(client), Some(server)) = (&tls.client_leg, &tls.server_leg)
            {
                for (what, leg) in [("client's side", client), ("server's side", server)] {
                    let words = [leg.version, leg.cipher, leg.group];
                    fact(what, &words.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
                }
            }
            if let Event::Http(_, http) = event {
                let text = |part: &Option<Text>| part.clone().unwrap_or_default();
                let (method, url, host) = (text(&http.method), text(&http.url), text(&http.hostname));
                fact("wireglass reads", &format_args!("{method} {url} {} at {host}", http.protocol))?;
                let status = http.status.map_or_else(|| "no response".into(), |status| status.to_string());
                let kind = text(&http.content_type);
                fact("wireglass reads", &format_args!("{status}, {kind}, {} bytes", http.length))?;
            }
        }
        if scene.expected.0 == Action::Bypass {
            let (entered, unchanged) = self.frames;
            fact("frames", &format_args!("{entered} entered, {unchanged} of them left, unchanged"))?;
        }
        let got = |received: &[u8], sent: &[u8]| match received.len() {
            0 => "nothing".to_owned(),
            n if scene.is_answered => format!("{} and a page, {n} bytes", status_line(received)),
            n if received == sent => format!("all {n} bytes, as they were sent"),
            n => format!("{n} bytes, NOT what was sent"),
        };
        fact("the server received", &got(&self.server.received, &self.request))?;
        fact("the client received", &got(&self.client.received, &self.response))?;
        if let Some(how) = self.client.end.as_ref().and_then(abrupt_end) {
            fact("the client got", &how)?;
        }
        if let Some(rule) = self.alert() {
            fact("rule in the log", &format_args!("{rule}, blocked"))?;
        }
        if let Some((_, reason)) = self.verdict() {
            fact("reason in the log", &format_args!("{reason}: {}", reason.help()))?;
        }
        Ok(self.is_as_expected(scene))
    }

    /// What the `tls` event says.
    fn verdict(&self) -> Option<(Action, Reason)> {
        self.events.iter().find_map(|event| match event {
            Event::Tls(_, tls) => Some((tls.action, tls.reason)),
            _ => None,
        })
    }

    /// The rule on content that has blocked something.
    fn alert(&self) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            Event::Alert(_, alert) if alert.blocked => alert.rule.as_deref(),
            _ => None,
        })
    }

    fn is_as_expected(&self, scene: &Scene) -> bool {
        let exact = self.server.received == self.request && self.client.received == self.response;
        let own = self.client.handshake.as_ref().map(|h| h.chain.first() == Some(&self.original));
        let read = self.events.iter().any(|event| matches!(event, Event::Http(..)));
        let story = match scene.expected.0 {
            Action::Decrypt if scene.is_answered => {
                let is_page = self.client.received.starts_with(b"HTTP/1.1 403 ");
                is_page
                    && self.server.received.is_empty()
                    && own == Some(false)
                    && self.alert() == Some(GAMBLING_RULE)
            }
            Action::Decrypt => exact && own == Some(false) && read,
            Action::Bypass => exact && own == Some(true) && !read,
            Action::Block => self.server.received.is_empty() && own.is_none() && !read,
        };
        story && self.verdict() == Some(scene.expected)
    }
}

/// A certificate's names in words.
struct Names {
    subject: String,
    issuer: String,
}

impl Names {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        match describe_certificate(certificate) {
            Some(CertificateInfo { subject, issuer, .. }) => Self { subject, issuer },
            None => Self { subject: "no certificate".into(), issuer: "nobody".into() },
        }
    }
}

/// The first line of a response.
fn status_line(response: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(response.split(|byte| *byte == b'\r').next().unwrap_or_default())
}

/// How the client was told that there will be no answer.
fn abrupt_end(end: &Ending) -> Option<String> {
    match end {
        Ending::Finished | Ending::Truncated => None,
        Ending::Reset => Some("a TCP reset".into()),
        Ending::Alert(number) => Some(format!("TLS alert {:?}", rustls::AlertDescription::from(*number))),
        Ending::Refused(error) => Some(format!("something that it refused: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seed: u64, loss: u8) -> (bool, String) {
        let mut out = Vec::new();
        let good = Args { seed, loss }.tell(&mut out).expect("the stage can be built");
        (good, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn everything_goes_as_it_should() {
        let (good, text) = told(1, 0);
        assert!(good, "{text}");
        for line in [
            "issued by CN=Demo Company CA (minted by wireglass)",
            "GET /account?id=42 HTTP/1.1 at www.example.com",
            "CN=online.bank.example, issued by CN=Demo Internet intermediate (the server's own)",
            "TLS alert CertificateExpired",
            "TLS alert AccessDenied",
            "cert.expired",
        ] {
            assert!(text.contains(line), "no \"{line}\" in:\n{text}");
        }
        let events = text.lines().filter(|line| line.starts_with('{'));
        let events: Vec<serde_json::Value> =
            events.map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let kinds = |kind| events.iter().filter(|event| event["event_type"] == kind).count();
        assert_eq!((kinds("tls"), kinds("http"), kinds("flow")), (5, 2, 5));
    }

    #[test]
    fn lost_frames_change_nothing_but_the_time() {
        for seed in 0..5 {
            let (good, text) = told(seed, 10);
            assert!(good, "seed {seed}:\n{text}");
        }
    }
}
