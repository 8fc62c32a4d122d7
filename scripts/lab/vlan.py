"""An 802.1Q port on top of a veth: the kernel's own where it has one, else a TAP device and a tagging thread."""

import fcntl
import os
import select
import socket
import struct
import threading

from .shell import run

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_OUTGOING = 263, 8, 15, 4
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000
# struct virtio_net_hdr, which says what of checksums and segments is still to be done.
VNET_HDR = 10


def add(namespace, port, vlan_id):
    """Adds PORT.VLAN_ID to the namespace and brings it up. Returns a Tagger that must be stopped, or None."""
    name = f"{port}.{vlan_id}"
    made = run(["ip", "-n", namespace.name, "link", "add", "link", port, "name", name, "type", "vlan", "id", vlan_id],
               check=False)
    tagger = None if made.returncode == 0 else Tagger(namespace, port, name, vlan_id)
    namespace.ip("link", "set", name, "up")
    return tagger


class Tagger:
    """Tags what a TAP device sends, strips what comes back: what 8021q does, for kernels built without it.

    Work on a frame that a virtual NIC has left to its host is passed on to the kernel with it.
    """

    def __init__(self, namespace, port, name, vlan_id):
        self.tag = struct.pack("!HH", 0x8100, vlan_id)
        with namespace.entered():
            self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
            self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self.wire.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            self.wire.bind((port, ETH_P_ALL))
        # One host, one MAC, as a VLAN device has it; and no frame too long for the port below once it is tagged.
        address = namespace.run("cat", f"/sys/class/net/{port}/address").stdout.decode().strip()
        namespace.ip("link", "set", name, "address", address)
        self.stop_read, self.stop_write = os.pipe()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def stop(self):
        """Ends the thread and removes the device."""
        os.close(self.stop_write)
        self.thread.join(2)
        self.wire.close()
        os.close(self.tap)
        os.close(self.stop_read)

    def _run(self):
        while True:
            ready, _, _ = select.select([self.tap, self.wire, self.stop_read], [], [])
            if self.stop_read in ready:
                return
            try:
                if self.tap in ready:
                    # A TAP device that was promised nothing hands over finished frames: the header says that nothing is to be done.
                    frame = os.read(self.tap, VNET_HDR + 65536)
                    after_macs = VNET_HDR + 12
                    self.wire.send(frame[:after_macs] + self.tag + frame[after_macs:])
                if self.wire in ready:
                    self._receive()
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                # The port below is going away or not up yet: a lost frame, as on a wire.
                continue

    def _receive(self):
        frame, tag = receive_frame(self.wire)
        if frame is not None and tag == self.tag:
            os.write(self.tap, frame)


def receive_frame(sock):
    """The next frame of a packet socket with PACKET_AUXDATA: (frame, its outer tag of 4 bytes or None).

    The kernel takes the outer tag out of the frame and hands it over beside it. (None, None): a frame that we sent.
    """
    frame, ancillary, _, address = sock.recvmsg(VNET_HDR + 65536, 256)
    if address[2] == PACKET_OUTGOING:
        return None, None
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, protocol = struct.unpack("IIIHHHH", data[:20])
            if status & TP_STATUS_VLAN_VALID:
                return frame, struct.pack("!HH", protocol if status & TP_STATUS_VLAN_TPID_VALID else 0x8100, tci)
    return frame, None
