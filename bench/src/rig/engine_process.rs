//! The engine in a process of its own, on memif. It is told what to do, and asked for its figures, in lines of JSON.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use dpdk::Eal;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use wireglass::driver::dpdk::WirePorts;

use super::engine::{Engine, RunConfig};
use super::figures::Figures;
use super::{Failure, memif};

/// What the engine's process is told.
#[derive(Serialize, Deserialize)]
enum Ask {
    Start {
        order: RunConfig,
        eal: Vec<String>,
        socket: String,
    },
    Figures,
    /// Nothing is asked after that.
    Stop,
}

/// What it answers. A line of anything else comes from DPDK.
#[derive(Serialize, Deserialize)]
enum Answer {
    /// The engine runs; the CA that its copies end at.
    Started {
        trusted: Vec<u8>,
        /// The library of its records.
        records: String,
    },
    Figures(Figures),
    /// So many frame buffers did not come back.
    Stopped {
        lost: usize,
    },
}

/// A running engine in another process.
pub(super) struct EngineProcess {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    trusted: CertificateDer<'static>,
    records: String,
}

impl EngineProcess {
    pub(super) fn start(order: &RunConfig, eal: &[String], socket: &str) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("engine").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (to, from) = child.stdin.take().zip(child.stdout.take()).ok_or("both were asked for")?;
        let from = BufReader::new(from).lines();
        let mut process = Self { child, to, from, trusted: Vec::new().into(), records: String::new() };
        let ask = Ask::Start { order: order.clone(), eal: eal.to_vec(), socket: socket.into() };
        let Answer::Started { trusted, records } = process.ask(&ask)? else {
            return Err("the engine's process gave the wrong answer".into());
        };
        (process.trusted, process.records) = (trusted.into(), records);
        Ok(process)
    }

    pub(super) fn trusted(&self) -> CertificateDer<'static> {
        self.trusted.clone()
    }

    /// The library of the engine's records.
    pub(super) fn records(&self) -> &str {
        &self.records
    }

    pub(super) fn figures(&mut self) -> Result<Figures, Failure> {
        match self.ask(&Ask::Figures)? {
            Answer::Figures(figures) => Ok(figures),
            _ => Err("the engine's process gave the wrong answer".into()),
        }
    }

    /// How many frame buffers did not come back.
    pub(super) fn stop(mut self) -> Result<usize, Failure> {
        let Answer::Stopped { lost } = self.ask(&Ask::Stop)? else {
            return Err("the engine's process gave the wrong answer".into());
        };
        self.child.wait()?;
        Ok(lost)
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer, Failure> {
        writeln!(self.to, "{}", serde_json::to_string(ask)?)?;
        for line in self.from.by_ref() {
            if let Ok(answer) = serde_json::from_str(&line?) {
                return Ok(answer);
            }
        }
        Err("the engine's process has ended".into())
    }
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong before it was told to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The engine's process: does what it is told on standard input.
pub(crate) fn serve() -> Result<(), Failure> {
    let mut lines = std::io::stdin().lock().lines();
    let mut running = None;
    for line in lines.by_ref() {
        let answer = match serde_json::from_str(&line?)? {
            Ask::Start { order, mut eal, socket } => {
                eal.extend(memif::arguments(&socket, memif::Role::Client));
                let eal = Arc::new(Eal::init(&eal)?);
                let [inside, outside] = memif::names();
                let wire = WirePorts {
                    inside: inside.into(),
                    outside: outside.into(),
                    interfaces: [None, None],
                    mtu: None,
                    far_end_offloads: false,
                };
                let engine = running.insert(Engine::start(&order, eal, wire)?);
                Answer::Started { trusted: engine.trusted().to_vec(), records: engine.records().into() }
            }
            Ask::Figures => Answer::Figures(running.as_ref().ok_or("nothing was started")?.figures()),
            Ask::Stop => {
                let engine = running.take().ok_or("nothing was started")?;
                Answer::Stopped { lost: engine.stop()?.close() }
            }
        };
        println!("{}", serde_json::to_string(&answer)?);
        if matches!(answer, Answer::Stopped { .. }) {
            break;
        }
    }
    Ok(())
}
