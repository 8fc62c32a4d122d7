"""The paths, testpmd's and the engine's by the kind of its ports, between the same two hosts; see lab.goodput.bed."""

from pathlib import Path

from ..engine import Engine, PlainWire, Setup
from ..goodput.bed import ENGINE, ENGINE_XDP, ENGINES, MIDDLE_CORE, TESTPMD, Bed, Line, Route

PATHS = (TESTPMD, ENGINE, ENGINE_XDP)
# As the engine's ports have it: what a path loses depends on how long its rings hold out.
RING = 2048
# Fewer than a flood has clients, more than a search has flows.
FLOWS = 2048


class RateRoute(Route):
    """A path whose testpmd has rings like the engine's, and whose engine has a table that a flood fills."""

    def start(self):
        bed, folder = self.bed, self.bed.folder / self.name
        if self.name == TESTPMD:
            self.forwarder = PlainWire(self, folder, RING)
        else:
            setup = Setup(roots=(bed.root.cert,), rules=f"[limits]\nflows = {FLOWS}\n", cores=(MIDDLE_CORE,),
                          kind=ENGINES[self.name])
            self.forwarder = Engine(bed.binary, self, folder, bed.ca, setup)
        self.forwarder.start()
        before_others(self.forwarder.process.popen)
        self.rest()


class RateBed(Bed):
    """Context manager."""

    def __init__(self, binary, paths):
        super().__init__(binary, paths, Line())

    def __enter__(self):
        super().__enter__()
        before_others(self.nginx.process.popen)
        return self

    def block(self, folder):
        # Slow where it is sent: what a client does not read would lie in buffers.
        return super().block(folder).rstrip().removesuffix("}") + (
            f"  location /slow/ {{ alias {folder}/files/; limit_rate 200k; }}\n  }}\n")

    def new_routes(self, paths):
        return [RateRoute(self, PATHS.index(name) + 1, name) for name in PATHS if name in paths]

    def answers_to(self, strangers, route):
        """Has the server answer spoofed clients through this route; the client's host, which is none of them, says nothing."""
        self.server.ip("route", "replace", strangers, "via", route.client_address)


def before_others(popen):
    """Lets other programs on the machine disturb it less: nice of its session, which must be its own; the kernel schedules by these."""
    autogroup = Path(f"/proc/{popen.pid}/autogroup")
    if autogroup.exists():
        autogroup.write_text("-15")


def mac(namespace, port):
    """An interface's address."""
    return namespace.run("cat", f"/sys/class/net/{port}/address").stdout.decode().strip()


def counter(namespace, port, name):
    """One of the kernel's counters of an interface."""
    return int(namespace.run("cat", f"/sys/class/net/{port}/statistics/{name}").stdout)
