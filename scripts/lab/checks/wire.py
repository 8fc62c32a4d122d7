"""What a piece of wire must do: let everything pass that is not a TCP connection of interest."""

import re
import socket

from ..net import CLIENT4, SERVER4, SERVER6, VLAN_SERVER4, VLAN_SERVER6
from ..runner import check
from ..shell import Failed, run
from ..vlan import ETH_P_ALL, PACKET_AUXDATA, SOL_PACKET, receive_frame


def _ping(lab, address, *options):
    done = lab.network.client.run("ping", "-n", "-c", 3, "-i", "0.05", "-W", 2, *options, address, check=False)
    said = done.stdout.decode()
    if "3 received" not in said:
        raise Failed(f"ping {address}: {said.strip().splitlines()[-1] if said.strip() else done.stderr.decode()}")
    return re.search(r"= ([\d./]+ ms)", said)[1]


@check("wire.ping")
def ping(lab):
    """ICMP over IPv4"""
    return _ping(lab, SERVER4)


@check("wire.ping6")
def ping6(lab):
    """ICMPv6, with its neighbour discovery"""
    return _ping(lab, SERVER6)


@check("wire.ping-full-frame")
def ping_full_frame(lab):
    """Frames of 1,514 bytes, and IPv6 fragments"""
    # No IPv4 fragments: DPDK's af_packet driver asks the kernel to put them together (PACKET_FANOUT_FLAG_DEFRAG) and
    # the frame that comes out is too long for any wire. The kernel does not do that to IPv6.
    return f"{_ping(lab, SERVER4, '-M', 'do', '-s', 1472)}, fragments {_ping(lab, SERVER6, '-s', 4000)}"


@check("wire.ping-vlan")
def ping_vlan(lab):
    """ICMP over both IP versions inside an 802.1Q tag"""
    return f"{_ping(lab, VLAN_SERVER4)}, {_ping(lab, VLAN_SERVER6)}"


@check("wire.arp")
def arp(lab):
    """Address resolution crosses, and says the server's own MAC address"""
    client, server = lab.network.client, lab.network.server
    client.ip("neigh", "flush", "all")
    _ping(lab, SERVER4)
    learned = run(["ip", "-n", client.name, "neigh", "show", SERVER4]).stdout.decode()
    real = server.run("cat", "/sys/class/net/wan/address").stdout.decode().strip()
    if real not in learned:
        raise Failed(f"the client learned `{learned.strip()}`, the server's address is {real}")
    return real


@check("wire.udp")
def udp(lab):
    """Datagrams both ways (to port 443: see `past.quic`)"""
    for port in (8443, 5353):
        with lab.network.server.socket(kind=socket.SOCK_DGRAM) as server, \
                lab.network.client.socket(kind=socket.SOCK_DGRAM) as client:
            server.bind((SERVER4, port))
            server.settimeout(2)
            client.settimeout(2)
            client.bind((CLIENT4, 0))
            for size in (1, 100, 1472):
                client.sendto(bytes([size % 251]) * size, (SERVER4, port))
                data, sender = server.recvfrom(65536)
                server.sendto(data[:-1] + b"!", sender)
                back = client.recv(65536)
                if back != bytes([size % 251]) * (size - 1) + b"!":
                    raise Failed(f"{size} bytes to port {port} came back as {len(back)} other bytes")
    return "6 datagrams there and back"


@check("wire.tcp-other-port")
def tcp_other_port(lab):
    """TCP on a port that is not intercepted is left alone"""
    with lab.network.server.socket() as listener:
        listener.bind((SERVER4, 8080))
        listener.listen()
        listener.settimeout(5)
        with lab.network.client.socket() as client:
            client.settimeout(5)
            client.connect((SERVER4, 8080))
            server, _ = listener.accept()
            with server:
                server.settimeout(5)
                server.sendall(b"banner first")
                if client.recv(100) != b"banner first":
                    raise Failed("the server's bytes did not arrive as they were")
                client.sendall(b"not TLS at all")
                if server.recv(100) != b"not TLS at all":
                    raise Failed("the client's bytes did not arrive as they were")
    return "port 8080, the server speaks first"


@check("wire.other-frames")
def other_frames(lab):
    """Frames that are no IP, and IP behind tags, arrive as they were sent, both ways"""
    def mac(namespace, port):
        return bytes.fromhex(namespace.run("cat", f"/sys/class/net/{port}/address").stdout.decode().strip().replace(":", ""))
    client, server = lab.network.client, lab.network.server
    ends = {"lan": (client, mac(client, "lan")), "wan": (server, mac(server, "wan"))}
    datagram = bytes.fromhex("08004500001c000000004011f6cdc0000201c00002021f901f9000080000")
    frames = {
        "local experiment": b"\x88\xb5" + bytes(range(200)),
        "LLC": b"\x00\x64" + bytes(range(100)),
        "MPLS": b"\x88\x47" + bytes(range(1, 120)),
        # UDP. 0x8100 twice: af_packet loses a TPID of 0x88a8 when it puts back the tag that the kernel took out.
        "two tags": bytes.fromhex("8100000a81000014") + datagram,
        "eight priority tags": bytes.fromhex("810000008100e0008100200081000000") * 2 + datagram,
    }
    for source, target in (("lan", "wan"), ("wan", "lan")):
        (sender, own), (receiver, peer) = ends[source], ends[target]
        with _raw(sender, source) as out, _raw(receiver, target) as heard:
            for what, rest in frames.items():
                frame = peer + own + rest
                out.send(frame)
                if not _heard(heard, frame):
                    raise Failed(f"{what}: not received as it was sent, {source} to {target}")
    return f"{len(frames)} kinds, both ways"


def _raw(namespace, port):
    with namespace.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sock.bind((port, ETH_P_ALL))
    sock.settimeout(2)
    return sock


def _heard(sock, frame):
    """Whether the frame comes in, among whatever else does. The kernel may hand over the outer tag beside the frame."""
    while True:
        try:
            got, tag = receive_frame(sock)
        except TimeoutError:
            return False
        if got is not None and got[:12] + (tag or b"") + got[12:] == frame:
            return True
