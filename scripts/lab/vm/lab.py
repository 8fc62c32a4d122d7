"""The lab with a virtual machine in its middle."""

from functools import partial
from pathlib import Path

from ..engine import Engine
from ..lab import Lab
from ..ports import AfPacket
from ..shell import Failed
from .guest import GuestProcess
from .kernel import Kernel
from .machine import Machine
from .network import VIRTIO, TapNetwork

# Of the guest's 1 GB; the packet buffers of two workers, 136 MB each, are the most of it.
HUGEPAGES_MB = 384
CONTROL = "/run/wireglass.sock"

_PORTS = """\
[dpdk]
eal = ["-a", "{inside}", "-a", "{outside}", "--no-telemetry"]

[[wire]]
name = "lab"
inside = "{inside}"
outside = "{outside}"

"""


class NicPorts(AfPacket):
    """The NICs of a kind, which are the machine's."""

    def __init__(self, kind, network, folder):
        super().__init__(network, folder)
        self.config = _PORTS.format(inside=kind.inside, outside=kind.outside)


class GuestEngine(Engine):
    """`wireglass run` in the guest."""

    def __init__(self, guest, *words):
        super().__init__(*words)
        self.guest = guest
        self.argv = [words[0], "run", "-c", self.config]

    def start(self):
        """Starts it and waits until the ports are up: its libraries come over 9p, and a CPU may be emulated."""
        self.process = GuestProcess(self.guest, self.argv, self.log, self.name)
        self.process.wait_text("wireglass: running", 60)


class VmLab(Lab):
    """Context manager: as `Lab`, with a booted machine. `kind` says which NICs are the wire."""

    def __init__(self, binary, hosts, rules, kernel: Path, accelerator):
        super().__init__(binary, hosts, rules, TapNetwork())
        self.kernel = kernel
        self.accelerator = accelerator
        self.machine = None
        self.kind = VIRTIO
        self.boot_seconds = 0.0
        self.transcript = kernel.parent / "transcript.txt"

    def __enter__(self):
        self.transcript.unlink(missing_ok=True)
        super().__enter__()
        try:
            self.machine = Machine(self.network, Kernel(self.kernel), self.folder)
            self.boot_seconds = self.machine.boot(self.accelerator)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # The engine goes with its machine.
        self._middles.clear()
        if self.machine:
            self.machine.stop()
        super().__exit__()

    @property
    def guest(self):
        """Runs commands in the machine."""
        if not self.machine.alive():
            raise Failed("the machine is gone")
        return self.machine.guest

    def note(self, words, said):
        """Adds a command and what it said to the transcript: what a reader does on NICs of his own."""
        with open(self.transcript, "a", encoding="utf-8") as out:
            out.write(f"# {' '.join(words)}\n{said.rstrip()}\n")

    def engine(self, folder, setup):
        return GuestEngine(self.guest, self.binary, self.network, folder, self.ca, setup)

    def wire_of(self, kind, name):
        """An engine between this kind's pair of NICs, with as many workers as they have queues."""
        self.kind = kind
        self.network.use(kind)
        engine = self.wire(name, kind=partial(NicPorts, kind), cores=tuple(range(kind.queues)), control=CONTROL)
        self.note(["wireglass", "run", "-c", "wire.toml"], engine.log.read_text(errors="replace"))
        return engine
