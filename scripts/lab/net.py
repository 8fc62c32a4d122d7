"""The network of the lab.

    client namespace            middle namespace             server namespace
    lan (lan.100) ───veth─── inside | the wire | outside ───veth─── wan (wan.100)

The middle namespace has no address at all: what crosses it, crosses through the program under test.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path

from . import vlan
from .shell import Failed, dead, run

VLAN_ID = 100
CLIENT4, CLIENT6 = "10.203.0.1", "fd00:203::1"
SERVER4, SERVER6 = "10.203.0.2", "fd00:203::2"
VLAN_CLIENT4, VLAN_CLIENT6 = "10.203.100.1", "fd00:203:100::1"
VLAN_SERVER4, VLAN_SERVER6 = "10.203.100.2", "fd00:203:100::2"
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")

# What `ip netns exec NAME` puts over the files of /etc: ip-netns(8).
_ETC = Path("/etc/netns")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One network namespace, named so that parallel labs do not meet."""

    def __init__(self, name: str):
        self.name = name

    def argv(self, *words):
        """The command line that runs `words` in here."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words, **options):
        """`shell.run` in here."""
        return run(self.argv(*words), **options)

    def ip(self, *words):
        """`ip` for this namespace."""
        return run(["ip", "-n", self.name, *words])

    def knows(self, host, address):
        """From now on programs that are run in here find `host` at `address`, and no other host."""
        folder = _ETC / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {host}\n")

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A socket that lives in here, whichever thread uses it (a socket keeps the namespace it was made in)."""
        with self.entered():
            return socket.socket(family, kind, protocol)

    def entered(self):
        """Context manager: the calling thread is in this namespace."""
        return _Entered(self.name)


class _Entered:
    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _setns(there)
        finally:
            os.close(there)

    def __exit__(self, *_):
        _setns(self.home)
        os.close(self.home)


def _setns(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """The three namespaces. `build` makes them, `remove` takes them away with all that runs inside."""

    def __init__(self):
        prefix = f"wg-{os.getpid()}"
        self.client = Namespace(f"{prefix}-client")
        self.middle = Namespace(f"{prefix}-middle")
        self.server = Namespace(f"{prefix}-server")
        self.taggers = []
        self._next_peer = 100

    def build(self):
        """Namespaces, cables, addresses, VLAN. Offloads are off on every end: af_packet would see partial checksums."""
        for namespace in self._all():
            run(["ip", "netns", "add", namespace.name])
            namespace.ip("link", "set", "lo", "up")
        # The middle is no host: no router solicitations or duplicate address probes of its own on the wire.
        self.middle.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        self.cable()
        self._address(self.client, "lan", CLIENT4, CLIENT6)
        self._address(self.server, "wan", SERVER4, SERVER6)
        self.add_vlans()

    def cable(self):
        """Connects both hosts with the middle: `lan` and `wan` are there afterwards."""
        _cable(self.middle, "inside", self.client, "lan")
        _cable(self.middle, "outside", self.server, "wan")

    def add_vlans(self):
        """A VLAN port on `lan` and on `wan`."""
        for namespace, port, v4, v6 in ((self.client, "lan", VLAN_CLIENT4, VLAN_CLIENT6),
                                        (self.server, "wan", VLAN_SERVER4, VLAN_SERVER6)):
            tagger = vlan.add(namespace, port, VLAN_ID)
            if tagger:
                self.taggers.append(tagger)
            self._address(namespace, f"{port}.{VLAN_ID}", v4, v6)

    def remove(self):
        """Safe to call at any time, and twice."""
        self.stop_taggers()
        for namespace in self._all():
            delete_namespace(namespace.name)

    def stop_taggers(self):
        """Takes VLAN ports away that are the lab's own work."""
        for tagger in self.taggers:
            tagger.stop()
        self.taggers.clear()

    def new_server_address(self):
        """One more IPv4 address on the server, for a peer that wants port 443 to itself."""
        address = f"10.203.0.{self._next_peer}"
        self._next_peer += 1
        self.server.ip("addr", "add", f"{address}/24", "dev", "wan")
        return address

    def new_client_address(self):
        """One more IPv4 address on the client, for what counts clients."""
        address = f"10.203.0.{self._next_peer}"
        self._next_peer += 1
        self.client.ip("addr", "add", f"{address}/24", "dev", "lan")
        return address

    def _all(self):
        return (self.client, self.middle, self.server)

    @staticmethod
    def _address(namespace, port, v4, v6):
        namespace.ip("addr", "add", f"{v4}/24", "dev", port)
        namespace.ip("addr", "add", f"{v6}/64", "dev", port, "nodad")


def _cable(middle, near, host, far):
    run(["ip", "-n", middle.name, "link", "add", near, "type", "veth", "peer", "name", far, "netns", host.name])
    for namespace, port in ((middle, near), (host, far)):
        for offload in OFFLOADS:
            # Some kernels fix one or the other; those that matter are checked by the lab's own wire checks.
            namespace.run("ethtool", "-K", port, offload, "off", check=False)
        namespace.ip("link", "set", port, "up")


def delete_namespace(name):
    """Removes a namespace, if it is there, with all that runs inside and all that it knows."""
    shutil.rmtree(_ETC / name, ignore_errors=True)
    if not os.path.exists(f"/run/netns/{name}"):
        return
    inside = run(["ip", "netns", "pids", name], check=False).stdout.split()
    for pid in inside:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    for _ in range(50):
        if run(["ip", "netns", "del", name], check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise Failed(f"namespace {name} could not be removed")


def remove_left_overs():
    """Removes what labs left behind whose process is gone (killed with SIGKILL)."""
    for place in (Path("/run/netns"), Path("/var/run/dpdk"), Path(tempfile.gettempdir()), Path("/dev/shm")):
        for path in place.glob("wg-*"):
            ours = re.match(r"wg-(\d+)-", path.name)
            if not ours or not dead(int(ours[1])):
                continue
            if place.name == "netns":
                delete_namespace(path.name)
            else:
                shutil.rmtree(path, ignore_errors=True)
