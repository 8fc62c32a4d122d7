//! DPDK's testpmd in the engine's place: io forwarding, on memif.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::figures::Figures;
use super::{Failure, memif};
use crate::machine::Thread;

/// How DPDK 22.11 calls the thread that forwards: the first after the main one.
const FORWARDER: &str = "rte-worker-";
/// How long it may take to answer. Without a packet so far it says nothing about cycles.
const PATIENCE: Duration = Duration::from_millis(500);

/// A running testpmd.
pub(super) struct Testpmd {
    child: Child,
    to: ChildStdin,
    lines: Receiver<String>,
    thread: Option<Thread>,
    last: Figures,
}

impl Testpmd {
    /// Forwards on `core`; its main thread, which sleeps, has the core `main`.
    pub(super) fn start(core: usize, main: usize, socket: &str) -> Result<Self, Failure> {
        if core == main {
            return Err("testpmd needs a core for each of its threads".into());
        }
        let mut command = Command::new("dpdk-testpmd");
        command.args(["-l", &format!("{core},{main}"), &format!("--main-lcore={main}")]);
        command.args(["--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry"]);
        command.args(memif::arguments(socket, memif::Role::Client));
        command.args(["--", "-i", "--forward-mode=io", "--nb-cores=1", "--total-num-mbufs=16384"]);
        command.args(["--no-lsc-interrupt", "--record-core-cycles"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().map_err(|error| format!("dpdk-testpmd (package dpdk-dev): {error}"))?;
        let (to, from) = child.stdin.take().zip(child.stdout.take()).ok_or("both were asked for")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut from = BufReader::new(from).lines().map_while(Result::ok);
            from.all(|line| sender.send(line).is_ok())
        });
        let mut testpmd = Self { child, to, lines, thread: None, last: Figures::default() };
        testpmd.say("start")?;
        Ok(testpmd)
    }

    pub(super) fn figures(&mut self) -> Result<Figures, Failure> {
        if self.thread.is_none() {
            self.thread = Thread::wait_for(Some(self.child.id()), FORWARDER);
        }
        while self.lines.try_recv().is_ok() {}
        self.say("show fwd stats all")?;
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if read_line(&line, &mut self.last) => break,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err("testpmd has ended".into()),
            }
        }
        self.last.waited = self.thread.as_ref().map_or(0.0, Thread::waited);
        Ok(self.last.clone())
    }

    pub(super) fn stop(mut self) -> Result<(), Failure> {
        self.say("quit")?;
        self.child.wait()?;
        Ok(())
    }

    fn say(&mut self, what: &str) -> Result<(), Failure> {
        writeln!(self.to, "{what}")?;
        Ok(self.to.flush()?)
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // It has ended already, unless something went wrong before it was told to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes what a line of its statistics says; the sums of all ports come last. True: it was the last one.
fn read_line(line: &str, figures: &mut Figures) -> bool {
    let number = |after: &str| -> Option<u64> {
        let rest = line.split_once(after)?.1.trim_start();
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    if let Some(packets) = number("RX-packets:") {
        figures.packets = packets;
    }
    if let Some(dropped) = number("TX-dropped:")
        && dropped > 0
    {
        figures.dropped.insert("testpmd's frames".into(), dropped);
    }
    let (Some(cycles), Some(megahertz)) = (number("total cycles="), number(") at ")) else { return false };
    figures.busy = cycles as f64 / (megahertz as f64 * 1e6);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_of_dpdk_22_11_are_understood() {
        let lines = [
            "  ---------------------- Forward statistics for port 1  ----------------------",
            "  RX-packets: 7              RX-dropped: 0             RX-total: 7",
            "  +++++++++++++++ Accumulated forward statistics for all ports+++++++++++++++",
            "  RX-packets: 142455808      RX-dropped: 0             RX-total: 142455808",
            "  TX-packets: 142455840      TX-dropped: 3             TX-total: 142455843",
            "  CPU cycles/packet=10.99 (total cycles=1565296094 / total io packets=142455808) at 2100 MHz Clock",
        ];
        let mut figures = Figures::default();
        let last: Vec<_> = lines.iter().map(|line| read_line(line, &mut figures)).collect();
        assert_eq!(last, [false, false, false, false, false, true]);
        assert_eq!((figures.packets, figures.dropped.values().sum::<u64>()), (142_455_808, 3));
        assert!((figures.busy - 0.745_379).abs() < 1e-6, "{}", figures.busy);
    }
}
