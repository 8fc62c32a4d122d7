"""The loss of a link is passed on to the other side of the wire, and so is its return."""

import sys
import time

from ..net import SERVER4, SERVER6
from ..ports import AfPacket, AfXdp, Tap
from ..runner import check
from ..shell import Failed, Process, run, wait_for
from .fetch import fetched

# Of each change: whether an interface has a carrier, and when by a clock that all processes share.
_WATCH = """
import sys, time
last = None
while True:
    try:
        now = open(f"/sys/class/net/{sys.argv[1]}/carrier").read().strip()
    except OSError:
        now = "0"
    if now != last:
        print(now, time.monotonic(), flush=True)
        last = now
    time.sleep(0.001)
"""
# What an operator is promised, in seconds.
PROMISED = 0.05


class _Side:
    """One end of the wire: where its link is cut, and where its neighbour looks."""

    def __init__(self, lab, namespace, cut, seen):
        self.namespace, self.cut = namespace, cut
        log = lab.middle.folder / f"carrier-{seen}.log"
        self.watch = Process(namespace.argv(sys.executable, "-c", _WATCH, seen), log, f"watch of {seen}")

    def set(self, up):
        """Cuts the link, or mends it. Returns when."""
        began = time.monotonic()
        self.namespace.ip("link", "set", self.cut, "up" if up else "down")
        return began

    def changes(self, since=0.0):
        """What the neighbour has seen since then."""
        # The last line may still be on its way.
        lines = self.watch.text().split("\n")[:-1]
        seen = [(carrier == "1", float(at)) for carrier, at in (line.split() for line in lines)]
        return [(carrier, at) for carrier, at in seen if at >= since]

    def wait(self, up, since, seconds):
        """Waits until the neighbour sees a link, or none. Returns how long that took."""
        def seen():
            found = [at for carrier, at in self.changes(since) if carrier == up]
            return found[0] if found else None
        return wait_for(seen, seconds, f"{'carrier' if up else 'loss of carrier'} at {self.namespace.name}") - since


def _sides(lab, kind):
    network = lab.network
    if kind is Tap:
        # The far end of a tap's cable is the tap itself, as the kernel has it.
        return [_Side(lab, network.middle, f"tap-{side}", f"tap-{side}") for side in ("inside", "outside")]
    for port in ("wan", "lan"):
        namespace = network.server if port == "wan" else network.client
        namespace.run("sysctl", "-qw", f"net.ipv6.conf.{port}.keep_addr_on_down=1")
    return [_Side(lab, network.client, "lan", "lan"), _Side(lab, network.server, "wan", "wan")]


def _passed_on(lab, name, kind):
    """Cuts and mends each side. Returns how long the other one took to see it, at most."""
    engine = lab.wire(name, kind=kind)
    sides = _sides(lab, kind)
    try:
        wait_for(lambda: all(side.changes() for side in sides), 10, "first look at the carriers")
        # At the start links have time to come up; both are seen to be there.
        time.sleep(1)
        fetched(lab, SERVER4)
        took = []
        for cut, other in (sides, sides[::-1]):
            if took:
                # That the wire lost a link before is forgotten, so the return does not wait.
                time.sleep(11)
            took.append(other.wait(False, cut.set(False), 5))
            took.append(other.wait(True, cut.set(True), 5))
        fetched(lab, SERVER4)
        if kind is not Tap:
            fetched(lab, SERVER6)
        if max(took) > PROMISED:
            raise Failed(f"passed on within {[f'{each * 1000:.0f} ms' for each in took]}, promised are {PROMISED * 1000:.0f} ms")
        wait_for(lambda: _held(lab) == ["outside", "inside"], 2, "`link` events of the links that were held")
        _flaps(*sides)
        # An engine that ends gives back what it has taken.
        sides[0].wait(False, sides[1].set(False), 5)
        ends = time.monotonic()
        if engine.stop() != 0:
            raise Failed("the engine did not end well")
        if kind is not Tap:
            sides[0].wait(True, ends, 5)
        return took
    finally:
        for side in sides:
            side.watch.stop()
            side.namespace.run("ip", "link", "set", side.cut, "up", check=False)


def _held(lab):
    """The sides whose links were taken down, as events tell."""
    return [event["wireglass"]["side"] for event in lab.eve.events()
            if event["event_type"] == "link" and event["wireglass"].get("held")]


def _flaps(inside, outside):
    """Lost again right after one came back: the loss is passed on at once, the return has to last."""
    lost = inside.wait(False, outside.set(False), 5)
    back = inside.wait(True, outside.set(True), 10)
    if lost > PROMISED or not 1.9 < back < 3:
        raise Failed(f"a link that flaps: its loss after {lost * 1000:.0f} ms, its return after {back:.1f} s")


def _words(took):
    return "down, up, down, up within " + ", ".join(f"{each * 1000:.0f}" for each in took) + " ms"


@check("links.af-packet", group="alone")
def af_packet(lab):
    """One side's cable is cut: the other side has no carrier within 50 ms, and has it again with it; a link that flaps has to stay first"""
    if not lab.binary:
        raise Failed("no engine in this lab")
    return _words(_passed_on(lab, "links", AfPacket))


@check("links.xdp", group="alone")
def xdp(lab):
    """The same with AF_XDP"""
    if not lab.binary:
        raise Failed("no engine in this lab")
    return _words(_passed_on(lab, "links-xdp", AfXdp))


@check("links.tap", group="alone")
def tap(lab):
    """The same with taps of DPDK's"""
    if not lab.binary:
        raise Failed("no engine in this lab")
    return _words(_passed_on(lab, "links-tap", Tap))


@check("links.independent", group="alone")
def independent(lab):
    """link_state = "independent": the other side keeps its link"""
    if not lab.binary:
        raise Failed("no engine in this lab")
    engine = lab.wire("links-independent", kind=AfPacket, wire='link_state = "independent"')
    sides = _sides(lab, AfPacket)
    try:
        wait_for(lambda: all(side.changes() for side in sides), 10, "first look at the carriers")
        time.sleep(1)
        cut = sides[1].set(False)
        time.sleep(1)
        if sides[0].changes(cut):
            raise Failed("the other side's link has changed")
        sides[1].set(True)
        time.sleep(1)
        fetched(lab, SERVER4)
    finally:
        for side in sides:
            side.watch.stop()
            side.namespace.run("ip", "link", "set", side.cut, "up", check=False)
    if engine.stop() != 0:
        raise Failed("the engine did not end well")


@check("links.gone", group="alone")
def gone(lab):
    """A port's interface goes away: the engine says so and ends with status 1, so that whoever supervises it starts it anew"""
    if not lab.binary:
        raise Failed("no engine in this lab")
    engine = lab.wire("links-gone", kind=AfPacket)
    middle = lab.network.middle
    fetched(lab, SERVER4)
    middle.ip("link", "set", "inside", "down")
    try:
        middle.ip("link", "set", "inside", "name", "away")
        engine.process.wait_text("port net_af_packet0 was removed", 5)
        wait_for(lambda: not engine.alive(), 10, "the engine's end")
    finally:
        middle.run("ip", "link", "set", "away", "name", "inside", check=False)
        middle.ip("link", "set", "inside", "up")
    if engine.stop() != 1:
        raise Failed("the engine's end: not with status 1")
    return "ended with status 1"


@check("links.shared", group="alone")
def shared(lab):
    """A second engine on the same packet sockets' interfaces does not start: both would answer every frame"""
    if not lab.binary:
        raise Failed("no engine in this lab")
    first = lab.wire("links-first", kind=AfPacket)
    text = first.config.read_text()
    for old, new in (("eve.json", "other.json"), ("127.0.0.1:9464", "127.0.0.1:9465"), (first.setup.control, "other.sock")):
        text = text.replace(f'"{old}"', f'"{new}"')
    config = first.config.with_name("other.toml")
    config.write_text(text)
    try:
        done = run(lab.network.middle.argv(lab.binary, "run", "-c", config), timeout=30, check=False)
        said = done.stderr.decode()
        if done.returncode != 1 or "is in use by process" not in said:
            raise Failed(f"exit {done.returncode}: {said}")
        fetched(lab, SERVER4)
    finally:
        first.stop()
    return "refused, and named the first one's process"
