"""The whole lab put together: network, certificates, web server, client, and whatever sits in the middle."""

import shutil
import signal
import tempfile
from pathlib import Path

from . import pki
from .clients import Client
from .engine import Engine, PlainWire, Setup, init_ca
from .net import Network, remove_left_overs
from .nginx import Host, Nginx

BYPASS, BLOCK_ALERT, BLOCK_RESET = "bank.lab.test", "ads.lab.test", "tracker.lab.test"
WWW, WARNED = "www.lab.test", "warned.lab.test"
# Address pairs of the servers that speak one TLS version only (nginx takes the version from the address, not the name).
TLS12 = ("10.203.0.12", "fd00:203::12")
TLS13 = ("10.203.0.13", "fd00:203::13")
HTTP1 = ("10.203.0.14", "fd00:203::14")

RULES = f"""
[[rule]]
name = "no banking"
sni = ["{BYPASS}"]
action = "bypass"

[[rule]]
name = "no advertisements"
sni = ["{BLOCK_ALERT}"]
action = "block"

[[rule]]
name = "no trackers"
sni = ["{BLOCK_RESET}"]
action = "block"
block_with = "reset"

[[rule]]
name = "warn"
sni = ["{WARNED}"]
action = "decrypt"
profile = "warn"

[[rule]]
name = "all the rest"
action = "decrypt"
profile = "default"

[profile.default]
min_version = "1.2"

[profile.warn]
on_untrusted = "untrusted-ca"
"""


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


class Lab:
    """Context manager. `binary`: the engine, or None for a plain wire (dpdk-testpmd) in its place."""

    def __init__(self, binary):
        self.binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="wg-lab-"))
        self.network = Network()
        self.nginx = None
        self.client = None
        self.middle = None
        self._middles = []

    def __enter__(self):
        try:
            remove_left_overs()
            self._make_certificates()
            self.network.build()
            for pair in (TLS12, TLS13, HTTP1):
                self.network.server.ip("addr", "add", f"{pair[0]}/24", "dev", "wan")
                self.network.server.ip("addr", "add", f"{pair[1]}/64", "dev", "wan", "nodad")
            self.nginx = Nginx(self.network.server, self.folder / "nginx", self._hosts())
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
        self.network.remove()
        for left in (self.folder, Path("/var/run/dpdk") / self.network.middle.name):
            shutil.rmtree(left, ignore_errors=True)

    def wire(self, name, rules=RULES, **options):
        """Puts an engine with this configuration (see `Setup`), or the plain wire, into the middle and starts it."""
        folder = self.folder / name
        if self.binary:
            setup = Setup(roots=(self.root.cert,), rules=rules, **options)
            self.middle = Engine(self.binary, self.network, folder, self.ca, setup)
        else:
            self.middle = PlainWire(self.network, folder)
        self._middles.append(self.middle)
        self.client.made.clear()
        self.middle.start()
        return self.middle

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

    def _hosts(self):
        issue = self.issuer.issue
        self.certificates = {
            WWW: issue(WWW, [WWW, "lab.test", "*.wild.lab.test"]),
            "rsa.lab.test": issue("rsa.lab.test", key="rsa"),
            BYPASS: issue(BYPASS),
            BLOCK_ALERT: issue(BLOCK_ALERT),
            BLOCK_RESET: issue(BLOCK_RESET),
            WARNED: self.stranger.issue(WARNED),
            "expired.lab.test": issue("expired.lab.test", dates=pki.LONG_AGO),
            "future.lab.test": issue("future.lab.test", dates=pki.FAR_AHEAD),
            "wrong.lab.test": issue("wrong.lab.test", ["right.lab.test"]),
            "stranger.lab.test": self.stranger.issue("stranger.lab.test"),
            "selfsigned.lab.test": pki.self_signed(self.folder, "selfsigned.lab.test"),
            "own.lab.test": self.own.issue("own.lab.test"),
        }
        hosts = [Host(name, certificate) for name, certificate in self.certificates.items()]
        www = self.certificates[WWW]
        apart = {"on_vlan": False}
        hosts.append(Host(WWW, www, protocols="TLSv1.2", addresses=(TLS12,), **apart))
        hosts.append(Host(WWW, www, protocols="TLSv1.3", addresses=(TLS13,), **apart))
        hosts.append(Host(WWW, www, http2=False, addresses=(HTTP1,), **apart))
        return hosts
