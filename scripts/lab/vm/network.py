"""Both hosts as in the lab, the machine between them.

    client namespace        guest                                          server namespace
    lan (tap) ───────── NIC, vfio-pci | the engine | NIC, vfio-pci ──────── wan (tap)

There is a pair of NICs of each kind. One pair at a time is the wire: its taps are called `lan` and `wan` and have the addresses.
"""

import contextlib
import fcntl
import json
import os
import struct
from dataclasses import dataclass

from ..net import OFFLOADS, VLAN_ID, Network
from ..shell import run
from ..vlan import IFF_NO_PI, IFF_TAP, TUNSETIFF

IFF_MULTI_QUEUE, IFF_ATTACH_QUEUE, IFF_VNET_HDR = 0x0100, 0x0200, 0x4000
TUNSETQUEUE = 0x400454D9


@dataclass(frozen=True)
class Kind:
    """A kind of NIC: `queues` pairs of queues, at two PCI addresses, by QEMU's device model and DPDK's driver.

    `offloads`: the tap's frames carry what the host has left to do, which is virtio's nature. For others QEMU would do it, and
    a capture on the tap would not show the frames of the wire.
    """

    name: str
    model: str
    driver: str
    inside: str
    outside: str
    queues: int
    offloads: bool


VIRTIO = Kind("virtio", "virtio-net-pci,mq=on,vectors=6,rss=on,hash=on,disable-legacy=on,iommu_platform=on",
              "net_virtio", "0000:00:10.0", "0000:00:11.0", 2, True)
E1000E = Kind("e1000e", "e1000e", "net_e1000_em", "0000:00:12.0", "0000:00:13.0", 1, False)
KINDS = (VIRTIO, E1000E)


class TapNetwork(Network):
    """The lab's network with taps for cables."""

    def __init__(self):
        super().__init__()
        # (kind, "inside" or "outside") -> the tap's queues, which become QEMU's.
        self.taps = {}
        self.used = None

    def cable(self):
        for kind in KINDS:
            for side, host, port in self._ends(kind):
                with host.entered():
                    self.taps[kind, side] = [_tap(port, kind) for _ in range(kind.queues)]
                for offload in OFFLOADS:
                    host.run("ethtool", "-K", port, offload, "off", check=False)
        self._name(VIRTIO)

    def attach_queues(self):
        """As new taps have them: a QEMU that has ended leaves those disabled that it did not use, and the next asserts that it can."""
        for descriptor in (each for tap in self.taps.values() if len(tap) > 1 for each in tap):
            # Attached already is what it is to be.
            with contextlib.suppress(OSError):
                fcntl.ioctl(descriptor, TUNSETQUEUE, struct.pack("16sH22x", b"", IFF_ATTACH_QUEUE))

    def hand_over(self):
        """The taps are QEMU's now, and go with it."""
        for descriptor in (each for tap in self.taps.values() for each in tap):
            os.close(descriptor)
        self.taps.clear()

    def use(self, kind):
        """Makes this kind's pair the wire."""
        if kind is self.used:
            return
        self.stop_taggers()
        moved = {}
        for side, host, port in self._ends(self.used):
            plain = self._plain(host)
            listed = json.loads(run(["ip", "-j", "-n", host.name, "addr", "show", "dev", plain, "scope", "global"]).stdout)
            moved[side] = [f"{each['local']}/{each['prefixlen']}" for each in listed[0]["addr_info"] if "local" in each]
            # With a VLAN port of the kernel's own it would keep its name.
            run(["ip", "-n", host.name, "link", "del", f"{plain}.{VLAN_ID}"], check=False)
            host.ip("link", "set", plain, "down")
            host.ip("addr", "flush", "dev", plain)
            host.ip("link", "set", plain, "name", port)
        self._name(kind)
        for side, host, _ in self._ends(kind):
            for address in moved[side]:
                host.ip("addr", "add", address, "dev", self._plain(host), *(["nodad"] if ":" in address else []))
        self.add_vlans()

    def _name(self, kind):
        for _, host, port in self._ends(kind):
            host.ip("link", "set", port, "name", self._plain(host))
            host.ip("link", "set", self._plain(host), "up")
        self.used = kind

    def _plain(self, host):
        return "lan" if host is self.client else "wan"

    def _ends(self, kind):
        return (("inside", self.client, f"lan-{kind.name}"), ("outside", self.server, f"wan-{kind.name}"))


def _tap(name, kind):
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if kind.offloads else 0) | (IFF_MULTI_QUEUE if kind.queues > 1 else 0)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return descriptor
