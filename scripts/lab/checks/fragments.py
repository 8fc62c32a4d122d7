"""A ClientHello that the kernel sends in IPv6 fragments is put together and answered.

No kernel cuts the segments of its own TCP. It does cut what a raw socket sends, so the client's TCP is written here, and it
has an address that the kernel does not have: else that would reset what it has not opened. Not over IPv4: there DPDK's
af_packet driver has the kernel put fragments together (see `wire.ping-full-frame`).
"""

import random
import socket
import ssl
import struct
import time

from ..hosts import WWW
from ..net import SERVER6
from ..runner import check
from ..shell import Failed
from ..vlan import ETH_P_ALL
from .events import metrics

CLIENT = "fd00:203::f"
IPV6_CHECKSUM, IPV6_FREEBIND = 7, 78
SYN, RST, PSH, ACK = 2, 4, 8, 16


class _Tcp:
    """Just enough of a TCP client to say hello."""

    def __init__(self, client):
        self.port, self.seq, self.ack = random.randrange(20000, 30000), 1000, 0
        self.out = client.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self.out.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        # The kernel writes the checksum, and cuts what is longer than its route allows.
        self.out.setsockopt(socket.IPPROTO_IPV6, IPV6_CHECKSUM, 16)
        self.client = client
        client.ip("-6", "route", "replace", SERVER6, "dev", "lan", "mtu", 1280)
        self.out.bind((CLIENT, 0))
        with client.entered():
            self.heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.heard.bind(("lan", ETH_P_ALL))
        self.heard.settimeout(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.send(RST)
        self.client.ip("-6", "route", "del", SERVER6, "dev", "lan")
        self.out.close()
        self.heard.close()

    def send(self, flags, payload=b""):
        header = struct.pack("!HHIIBBHHH", self.port, 443, self.seq, self.ack, 5 << 4, flags, 60000, 0, 0)
        self.out.sendto(header + payload, (SERVER6, 0))
        self.seq += len(payload) + bool(flags & SYN)

    def receive(self, wanted, seconds=5):
        """The next segment of the server of which `wanted(flags, payload)` holds, and how many of our fragments were seen."""
        fragments, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                frame = self.heard.recv(65536)
            except TimeoutError:
                continue
            source, target = frame[22:38], frame[38:54]
            fragments += frame[20] == 44 and source == socket.inet_pton(socket.AF_INET6, CLIENT)
            if frame[12:14] != b"\x86\xdd" or frame[20] != 6 or target != socket.inet_pton(socket.AF_INET6, CLIENT):
                continue
            end = 54 + struct.unpack("!H", frame[18:20])[0]
            seq, = struct.unpack("!I", frame[58:62])
            flags, payload = frame[67], frame[54 + (frame[66] >> 4) * 4:end]
            if wanted(flags, payload):
                self.ack = seq + len(payload) + bool(flags & SYN)
                return fragments, payload
        raise Failed(f"no answer in {seconds} s; {fragments} fragments have left")


def _hello(size):
    """A ClientHello of about this length."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    filler = [f"{n:03}" + "x" * 97 for n in range(size // 101)]
    while True:
        context.set_alpn_protocols(["http/1.1"] + filler)
        session = context.wrap_bio(incoming, outgoing, server_hostname=WWW)
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            hello = outgoing.read()
        if len(hello) <= size:
            return hello
        filler.pop()


@check("fragments.hello", group="not-tls-bypass")  # whose events nobody counts
def hello_in_fragments(lab):
    """A ClientHello in IPv6 fragments, cut by the kernel"""
    client, server = lab.network.client, lab.network.server
    mac = client.run("cat", "/sys/class/net/lan/address").stdout.decode().strip()
    server.ip("neigh", "replace", CLIENT, "lladdr", mac, "dev", "wan")
    def reassembled():
        return sum(value for name, value in metrics(lab).items() if name.startswith("wireglass_reassembled_total"))
    before = reassembled()
    with _Tcp(client) as tcp:
        tcp.send(SYN)
        tcp.receive(lambda flags, _: flags & (SYN | ACK) == SYN | ACK)
        tcp.send(ACK)
        hello = _hello(1400)
        tcp.send(PSH | ACK, hello)
        fragments, answer = tcp.receive(lambda _, payload: payload)
    if fragments < 2:
        raise Failed(f"the kernel sent {len(hello)} bytes in {fragments} fragments")
    if answer[0] != 22 or answer[5] != 2:
        raise Failed(f"no ServerHello but {answer[:20].hex()}")
    if reassembled() != before + 1:
        raise Failed("the engine has put nothing together")
    return f"{len(hello)} bytes in {fragments} fragments, answered with {len(answer)}"
