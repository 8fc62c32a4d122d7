"""The frames that are sent, byte by byte, and the capture files that carry them to a sender. The same seed, the same frames."""

import random
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

# Spoofed clients (RFC 2544 C.2.2: for benchmarks only).
STRANGERS = "198.18.0.0/15"
SIZES = (64, 128, 256, 512, 1024, 1280, 1518)
# What a size of RFC 2544 counts and no program sees: the frame check sequence.
FCS = 4
SYN, RST, FIN, PSH, ACK = 2, 4, 1, 8, 16
MORE = 0x2000
IPPROTO_FRAGMENT = 44
# Before an IPv4 address: its IPv6 one.
PREFIX = "fd00:204::"


@dataclass(frozen=True)
class Ends:
    """Who seems to send, and to whom."""

    source_mac: str
    target_mac: str
    target: str
    port: int = 443


def _mac(text):
    return bytes.fromhex(text.replace(":", ""))


def _packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(ends, payload, kind=0x0800):
    """A frame of 60 bytes at least."""
    return (_mac(ends.target_mac) + _mac(ends.source_mac) + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def ipv4(source, target, payload, protocol=socket.IPPROTO_TCP, fragment=0, number=0, length=None, first=0x45):
    """An IPv4 packet. `fragment`: flags and offset as on the wire; `length` and `first` (version, header length) may lie."""
    head = struct.pack("!BBHHHBBH4s4s", first, 0, length or 20 + len(payload), number, fragment, 64, protocol, 0,
                       _packed(source), _packed(target))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def tcp(source, target, ports, flags, payload=b"", sequence=1, words=5, spoil=0, options=b""):
    """A TCP segment. `words` is its data offset, which may lie; `spoil` is xored into the checksum."""
    head = struct.pack("!HHIIBBHHH", *ports, sequence, 1 if flags & ACK else 0, words << 4, flags, 64240, 0, 0) + options
    pseudo = _packed(source) + _packed(target) + struct.pack("!HH", socket.IPPROTO_TCP, len(head) + len(payload))
    total = checksum(pseudo + head + payload) ^ spoil
    return head[:16] + struct.pack("!H", total) + head[18:] + payload


def stranger(index):
    """Address and port of a spoofed client; all differ up to 100,000."""
    return f"198.{18 + (index >> 16 & 1)}.{index >> 8 & 255}.{index & 255}", 1024 + index * 7919 % 60000


def forwarded(ends, size, kind, flows=1000):
    """Frames of `size` bytes (FCS included) that the engine has only to pass: `udp`, or `tcp` segments of as many connections,
    which it follows and, since it has not seen them begin, bypasses."""
    made = []
    for index in range(flows):
        address, port = stranger(index)
        if kind == "udp":
            data = b"\0" * max(size - FCS - 42, 0)
            head = struct.pack("!HHHH", port, 9, 8 + len(data), 0)
            packet = ipv4(address, ends.target, head + data, socket.IPPROTO_UDP)
        else:
            data = b"\0" * max(size - FCS - 54, 0)
            packet = ipv4(address, ends.target, tcp(address, ends.target, (port, ends.port), ACK, data))
        made.append(ethernet(ends, packet))
    return made


def syns(ends, count=50000):
    """SYNs from so many clients, as Linux sends them."""
    options = bytes.fromhex("020405b40402080a000000010000000001030307")
    made = []
    for index in range(count):
        address, port = stranger(index)
        segment = tcp(address, ends.target, (port, ends.port), SYN, sequence=index * 2654435761 & 0xFFFFFFFF, words=10, options=options)
        made.append(ethernet(ends, ipv4(address, ends.target, segment)))
    return made


def ipv6_fragment(source, target, data, at, more, number):
    """A fragment of a TCP segment."""
    head = struct.pack("!BBHI", socket.IPPROTO_TCP, 0, at | more, number)
    return struct.pack("!IHBB", 6 << 28, len(head) + len(data), IPPROTO_FRAGMENT, 64) + _packed(source) + _packed(target) + head + data


def fragments(ends, seed, rounds=200):
    """Segments to the intercepted port in IP fragments, IPv4 and IPv6 in turn: in order, backwards, never finished, overlapping, tiny,
    repeated, too long."""
    chance, made = random.Random(seed), []

    def add(number, source, at, data, more):
        if ":" in source:
            made.append(ethernet(ends, ipv6_fragment(source, PREFIX + ends.target, data, at, more, number), 0x86DD))
        else:
            made.append(ethernet(ends, ipv4(source, ends.target, data, fragment=(MORE if more else 0) | at // 8, number=number)))

    for number in range(1, 7 * rounds, 7):
        source, port = stranger(chance.randrange(100000))
        prefix = PREFIX if number % 2 else ""
        source, target = prefix + source, prefix + ends.target
        whole = tcp(source, target, (port, ends.port), ACK | PSH, chance.randbytes(1200))
        pieces = [(at, whole[at:at + 400], at + 400 < len(whole)) for at in range(0, len(whole), 400)]
        for piece in pieces:
            add(number, source, *piece)
        for piece in reversed(pieces):
            add(number + 1, source, *piece)
        for piece in pieces[:-1]:
            add(number + 2, source, *piece)
        add(number + 3, source, *pieces[0])
        add(number + 3, source, 392, whole[392:800], True)
        add(number + 4, source, 0, whole[:16], True)
        add(number + 4, source, 16, whole[16:], False)
        for piece in (pieces[0], pieces[0], *pieces[1:]):
            add(number + 5, source, *piece)
        add(number + 6, source, 65528, chance.randbytes(600), False)
    return made


FRAGMENTS_COUNTED = ("packet.fragment_overlap", "packet.fragment_tiny", "packet.fragment_repeated", "packet.fragment_malformed")
MALFORMED_COUNTED = ("packet.truncated", "packet.bad_ip_header", "packet.bad_tcp_header", "packet.bad_tcp_checksum")


def malformed(ends, seed, live, rounds=200):
    """Headers that lie, random bytes, mutated segments. `live`: (address, port) of a connection that is decrypted meanwhile;
    segments that seem to belong to it have a wrong checksum, so that neither engine nor server may take them."""
    chance, made = random.Random(seed), []
    for _ in range(rounds):
        source, port = stranger(chance.randrange(100000))
        ports, data = (port, ends.port), chance.randbytes(chance.randrange(1, 600))
        to, of_live = (source, ends.target), (live[0], ends.target)
        good = tcp(*to, ports, ACK | PSH, data)
        made += [ethernet(ends, packet) for packet in (
            ipv4(*to, good, length=len(good) + 420),
            ipv4(*to, good, length=12),
            ipv4(*to, good, first=0x42),
            ipv4(*to, good, first=0x65),
            ipv4(*to, good[:3]),
            ipv4(*to, tcp(*to, ports, ACK, data, words=chance.randrange(5))),
            ipv4(*to, tcp(*to, ports, ACK, b"", words=15)),
            ipv4(*to, tcp(*to, ports, chance.choice((0, SYN | FIN, SYN | RST, 63)))),
            ipv4(*to, tcp(*to, (0, ends.port), SYN)),
            ipv4(ends.target, ends.target, tcp(ends.target, ends.target, (ends.port, ends.port), SYN)),
            ipv4(*of_live, tcp(*of_live, (live[1], ends.port), ACK | PSH, data, chance.getrandbits(32), spoil=0x5555)),
        )]
        made.append(ethernet(ends, b"\x60" + chance.randbytes(chance.randrange(60)), 0x86DD))
        made.append(ethernet(ends, b"\x00\x64\x81\x00\x00\x64\x08", 0x8100))
        made.append(ethernet(ends, chance.randbytes(chance.randrange(46, 1500)), chance.choice((0x0800, 0x86DD, 0x88B5))))
        mutated = bytearray(ethernet(ends, ipv4(*to, good)))
        for _ in range(4):
            mutated[chance.randrange(14, 54)] ^= 1 << chance.randrange(8)
        made.append(bytes(mutated))
    return made


def write_pcap(path: Path, frames):
    """A capture file, all at time 0."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            out.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def read_pcap(path):
    """The frames of a file that `write_pcap` wrote."""
    data, at, frames = Path(path).read_bytes(), 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return frames
