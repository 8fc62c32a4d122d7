"""The whole lab put together: network, certificates, web server, client, and whatever sits in the middle."""

import functools
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from . import pki
from .clients import Client
from .engine import Engine, PlainWire, Setup, init_ca
from .net import SERVER4, SERVER6, Network, remove_left_overs
from .nginx import Nginx
from .ports import AfPacket
from .shell import Failed


class Interrupted(BaseException):
    """SIGTERM or SIGINT arrived: everything is taken down on the way out."""


def on_signals_stop():
    """Makes SIGINT, SIGTERM and SIGHUP end the program through its `finally` blocks."""
    def stop(number, _frame):
        # A second Ctrl-C must not cut the clean-up short.
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)


def exit_status(main):
    """Of a command that measures in a test bed: what keeps `main` from its end is told, and makes the exit status."""
    @functools.wraps(main)
    def run():
        try:
            return main()
        except Interrupted as signal_name:
            print(f"\nstopped by {signal_name}; the test bed is removed", file=sys.stderr)
            return 130
        except Failed as failed:
            print(f"failed: {failed}", file=sys.stderr)
            return 1
    return run


class Lab:
    """Context manager. `binary`: the engine, or None for a plain wire (dpdk-testpmd) in its place.

    `hosts(lab)` issues the servers' certificates and returns nginx's server blocks; `rules` is the engine's policy,
    `ports` the kind of its ports.
    """

    def __init__(self, binary, hosts, rules, network=None, ports=AfPacket):
        self.binary = binary
        self.hosts = hosts
        self.rules = rules
        self.ports = ports
        self.folder = None
        self.network = network or Network()
        self.nginx = None
        self.client = None
        self.middle = None
        # Bytes of nginx's log when that began.
        self.logged_before = 0
        self._middles = []

    def __enter__(self):
        try:
            remove_left_overs()
            self.folder = Path(tempfile.mkdtemp(prefix=f"wg-{os.getpid()}-"))
            self._make_certificates()
            self.network.build()
            blocks = self.hosts(self)
            for v4, v6 in {pair for block in blocks for pair in block.addresses} - {(SERVER4, SERVER6)}:
                self.network.server.ip("addr", "add", f"{v4}/24", "dev", "wan")
                self.network.server.ip("addr", "add", f"{v6}/64", "dev", "wan", "nodad")
            self.nginx = Nginx(self.network.server, self.folder / "nginx", blocks)
            self.client = Client(self.network, self.trust)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for middle in self._middles:
            if middle.alive():
                middle.process.stop(signal.SIGTERM, seconds=2)
        if self.nginx:
            self.nginx.stop()
        try:
            self.network.remove()
        finally:
            for left in (self.folder, Path("/var/run/dpdk") / self.network.middle.name):
                if left:
                    shutil.rmtree(left, ignore_errors=True)

    def wire(self, name, **options):
        """Puts an engine with this configuration (see `Setup`), or the plain wire, into the middle and starts it."""
        if not self.binary:
            return self.plain_wire(name)
        return self.begin(self.engine_of(name, **options))

    def engine_of(self, name, **options):
        """An engine with this configuration (see `Setup`), which is written and may be changed before it begins."""
        options = {"kind": self.ports, **options}
        return self.engine(self.folder / name, Setup(roots=(self.root.cert,), **{"rules": self.rules, **options}))

    def plain_wire(self, name):
        """Puts the plain wire into the middle and starts it, whatever else is there to test: what it lets pass, the engine must see."""
        return self.begin(PlainWire(self.network, self.folder / name))

    def begin(self, middle):
        """Puts this into the middle and starts it."""
        for ended in self._middles:
            if not ended.alive():
                ended.stop()
        self.middle = middle
        self.logged_before = self.nginx.access.stat().st_size
        self._middles.append(middle)
        self.client.made.clear()
        self.client.endings.clear()
        self.middle.start()
        return self.middle

    def engine(self, folder, setup):
        """An engine that belongs in the middle."""
        return Engine(self.binary, self.network, folder, self.ca, setup)

    @property
    def eve(self):
        """The events of the engine that runs now."""
        return self.middle.eve

    def _make_certificates(self):
        folder = self.folder
        self.root = pki.Authority(folder / "root", "Lab Public Root")
        self.issuer = pki.Authority(folder / "issuer", "Lab Public Issuer", self.root)
        # Known to the clients, so that a refusal is the engine's; not known to the engine.
        self.stranger = pki.Authority(folder / "stranger", "Lab Unknown Root")
        self.ca = folder / "ca"
        if self.binary:
            init_ca(self.binary, self.ca)
        else:
            self._stand_in_ca()
        self.own = pki.Authority.existing(folder / "own", self.ca / "trusted.pem", self.ca / "trusted.key")
        self.trust = folder / "client-trust.pem"
        self.trust.write_text("".join(path.read_text() for path in (
            self.ca / "trusted.pem", self.root.cert, self.stranger.cert)))

    def _stand_in_ca(self):
        for name in ("trusted", "untrusted"):
            authority = pki.Authority(self.folder / f"stand-in-{name}", f"Stand-in {name}")
            self.ca.mkdir(exist_ok=True)
            shutil.copy(authority.cert, self.ca / f"{name}.pem")
            shutil.copy(authority.key, self.ca / f"{name}.key")
