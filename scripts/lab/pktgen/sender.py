"""What sends: the project's own generator, testpmd, or Pktgen-DPDK with the scripts of scripts/pktgen."""

import itertools
import shlex
import shutil
import sys
from pathlib import Path

from ..goodput.bed import HOSTS_CORE
from ..shell import Failed, Process, tail, wait_for
from .bed import before_others

_LUA = Path(__file__).resolve().parents[2] / "pktgen"
# Pktgen makes some 25,000 buffers for each of several pools a port.
_PKTGEN_MB = 4096
_number = itertools.count()
# Two lcores (one is for the prompt) on one core.
_EAL = f"--no-huge --no-pci --no-telemetry --lcores 0@{HOSTS_CORE},1@{HOSTS_CORE}"


class Sender:
    """A program in the client's namespace that sends, and then says how many frames it were."""

    def __init__(self, bed, name, argv, told=None, ready="sending"):
        self.prefix = f"{bed.prefix}-send{next(_number)}"
        words = [str(word).format(prefix=self.prefix) for word in argv]
        self.process = Process(bed.client.argv(*words), bed.folder / f"{self.prefix}.log", name)
        # Not Pktgen: its two busy threads would leave the kernel's own (ksoftirqd) no time to deliver.
        if name != "pktgen":
            before_others(self.process.popen)
        self.told = told or self.process.log
        wait_for(lambda: self._says(ready), 60, f"`{ready}` from {name}\n{tail(self.process.log)}")

    def wait(self, seconds):
        """Waits for its end. Returns what it has said."""
        wait_for(lambda: not self.process.alive(), seconds, f"end of {self.process.name}\n{tail(self.process.log)}", step=0.05)
        self.stop()
        return self.told.read_text()

    def stop(self):
        """Ends it, if it has not."""
        self.process.stop()
        shutil.rmtree(Path("/var/run/dpdk") / self.prefix, ignore_errors=True)

    def _says(self, words):
        if self.told.exists() and words in self.told.read_text(errors="replace"):
            return True
        if not self.process.alive():
            raise Failed(f"{self.process.name} ended before it said `{words}`\n{tail(self.process.log)}")
        return False


def generator(bed, port, pcap, rate, seconds):
    """Starts the project's own."""
    return Sender(bed, "generator", [sys.executable, "-m", "lab.pktgen.generator", port, pcap, rate or 0, seconds])


def flowgen(bed, port, size, target_mac):
    """Starts testpmd's, which sends UDP of 1000 flows as fast as it goes."""
    argv = shlex.split(
        f"stdbuf -oL dpdk-testpmd {_EAL} -m 512 --file-prefix {{prefix}} --vdev net_af_packet0,iface={port},framecnt=512 --"
        f" --forward-mode=flowgen --total-num-mbufs=16384 --flowgen-flows=1000 --txpkts={size} --eth-peer=0,{target_mac}")
    return Sender(bed, "testpmd", argv, ready="Press enter to exit")


def pktgen(bed, path, script, ports, settings, pcap=None):
    """Starts Pktgen-DPDK with a Lua script. `settings` are what the script reads from its environment."""
    told = bed.folder / f"{script}-{next(_number)}.txt"
    # Who receives is not what is measured, and has to share a core: a long ring.
    vdevs = " ".join(f"--vdev net_af_packet{index},iface={port},framecnt={ring}"
                     for index, (port, ring) in enumerate(zip(ports, (512, 16384))))
    stream = f"-s 0:{pcap}" if pcap else ""
    command = (f"{shlex.quote(str(path))} {_EAL} -m {_PKTGEN_MB} --file-prefix {{prefix}} {vdevs} --"
               f" -P -m 1.[0-{len(ports) - 1}] {stream} -f {_LUA / script}")
    environment = [f"{name}={value}" for name, value in {**settings, "RESULTS": told}.items()]
    # Pktgen wants a terminal.
    return Sender(bed, "pktgen", ["env", *environment, "TERM=vt100", "script", "-qec", command, "/dev/null"], told)


def sent(text):
    """(frames, seconds) of what a sender said."""
    words = next(line for line in text.splitlines() if line.startswith("sent ")).split()
    return int(words[1]), float(words[2])
