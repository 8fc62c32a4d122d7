"""SYNs in many disguises: what some parser may still take for TCP to port 443. The same seed makes the same frames."""

import random
import struct
from dataclasses import dataclass
from ipaddress import ip_address

FIRST_PORT = 30000
# With this label a frame has so many priority tags that they would have to be no VLANs.
MANY_TAGS = "3 priority tags or more"
PLAIN, NO_LENGTH, EXTENSIONS, IP_OPTIONS = "plain", "payload length 0", "extension headers", "IP options"
# IPv6 only: DPDK's af_packet driver has the kernel put those of IPv4 together.
FRAGMENTS = "fragments"
# Bytes were changed, of port or sequence number maybe.
CHANGED = {"flipped", "mutated"}
_LINK = ("priority tags", "priority tags", "vlan", "priority tags and vlan", "qinq", "llc", "mpls", "pppoe", "padding", "flipped",
         "mutated", "cut")
_TCP = ("TCP options", "data offset", "reserved bits", "flags", "TCP checksum wrong", "data")
_TUNNELS = ("gre", "ip in ip", "vxlan")
_IPV4 = (IP_OPTIONS, IP_OPTIONS, "total length wrong", "IP checksum wrong", "reserved flag")
_IPV6 = (EXTENSIONS, EXTENSIONS, NO_LENGTH, NO_LENGTH, "jumbo option", "payload length wrong", FRAGMENTS, FRAGMENTS)
_SYN = 0x02
_TCP_CHECKSUM, _IPV4_CHECKSUM = 16, 10


@dataclass(frozen=True)
class Ends:
    """Between whom the SYNs go. `macs`: the receiver's, then the sender's; addresses: client, then server."""

    macs: bytes
    v4: tuple
    v6: tuple
    vlan: int
    vlan4: tuple
    vlan6: tuple


@dataclass(frozen=True)
class Disguise:
    """One SYN, in one frame or in fragments. Its number is its sequence number and that of its source port, unless a byte there was
    changed."""

    number: int
    labels: frozenset
    frames: tuple


class Disguises:
    """Makes SYNs, each with none, one or some of the labels above."""

    def __init__(self, ends, seed):
        self.ends = ends
        self.random = random.Random(seed)

    def make(self, count):
        """So many of them."""
        return [self._one(number) for number in range(count)]

    def _one(self, number):
        draw = self.random
        is_v6 = draw.random() < 0.5
        known = _LINK + _TCP + _TUNNELS + (_IPV6 if is_v6 else _IPV4)
        labels = set(draw.sample(known, draw.choice((0, 1, 1, 1, 1, 2, 2, 3, 5))))
        tags = self._tags(labels)
        in_vlan = labels & {"vlan", "priority tags and vlan", "qinq"}
        segment = self._segment(number, labels)
        if is_v6:
            packet = self._ipv6(self.ends.vlan6 if in_vlan else self.ends.v6, segment, labels)
        else:
            packet = self._ipv4(self.ends.vlan4 if in_vlan else self.ends.v4, segment, labels)
        packets = self._fragments(packet) if FRAGMENTS in labels else [packet]
        frames = tuple(self._broken(self.ends.macs + tags + self._link(packet, is_v6, labels), labels) for packet in packets)
        return Disguise(number, frozenset(labels or {PLAIN}), frames)

    def _broken(self, frame, labels):
        frame = bytearray(frame)
        if "mutated" in labels:
            self._flip(frame, self.random.randrange(1, 4))
        if "cut" in labels:
            del frame[self.random.randrange(14, len(frame)):]
        return bytes(frame)

    def _tags(self, labels):
        draw = self.random

        def priority(least, most):
            count = draw.randint(least, most)
            if count >= 3:
                labels.add(MANY_TAGS)
            types = draw.choice(((0x8100,), (0x88a8,), (0x8100, 0x88a8), (0x8100, 0x8100, 0x88a8, 0x9100)))
            return [(draw.choice(types), draw.choice((0, 0, 0x2000, 0xe000, 0x1000))) for _ in range(count)]
        vlan = (0x8100, self.ends.vlan)
        if "qinq" in labels:
            tags = [(draw.choice((0x8100, 0x88a8, 0x9100)), draw.choice((7, self.ends.vlan))), *priority(0, 2), vlan]
        elif "priority tags and vlan" in labels:
            tags = [*priority(0, 3), vlan, *priority(0, 8)]
        elif "vlan" in labels:
            tags = [vlan]
        else:
            tags = priority(1, 12) if "priority tags" in labels else []
        return b"".join(struct.pack("!HH", *tag) for tag in tags)

    def _segment(self, number, labels):
        """A TCP header without its checksum, options and data."""
        draw = self.random
        options = draw.choice((b"", b"\x02\x04\x05\xb4"))
        if "TCP options" in labels:
            options = draw.choice((b"\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\0\x01\0\0\0\0\x01\x03\x03\x07", b"\x01" * 40, b"\0" * 8,
                                   b"\x22\x02\x01\x01", draw.randbytes(4 * draw.randrange(11))))
        words = 5 + len(options) // 4
        if "data offset" in labels:
            words = draw.randrange(16)
        reserved = draw.randrange(16) if "reserved bits" in labels else 0
        flags = _SYN
        if "flags" in labels:
            # More often than not without those that make it no SYN: FIN, RST, ACK.
            flags |= draw.choice((0x08, 0x20, 0xc0, 0xe8, draw.randrange(256)))
        has_data = labels & {"data", "total length wrong", "payload length wrong", FRAGMENTS}
        data = draw.randbytes(draw.randrange(1, 60)) if has_data else b""
        header = struct.pack("!HHIIBBHHH", FIRST_PORT + number, 443, number, 0, words << 4 | reserved, flags,
                             draw.choice((0, 1024, 65535)), 0, 0)
        return header + options + data

    def _padding(self, labels):
        return self.random.randbytes(self.random.randrange(1, 60)) if "padding" in labels else b""

    def _ipv4(self, ends, segment, labels):
        draw = self.random
        options = b""
        if IP_OPTIONS in labels:
            options = draw.choice((b"\x01" * 4, b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0\0", b"\x44\x08\x05\0\0\0\0\0", b"\0" * 40,
                                   b"\x01" * 3 + b"\x89\x03\x04\0" + b"\0", draw.randbytes(4 * draw.randrange(1, 11))))
            options += b"\0" * (-len(options) % 4)
        length = whole = 20 + len(options) + len(segment)
        if "total length wrong" in labels:
            length = draw.choice((0, 19, 20 + len(options), max(whole - draw.randrange(1, 8), 0), whole + draw.randrange(1, 60),
                                  draw.randrange(65536)))
        flag = 0x8000 if "reserved flag" in labels else draw.choice((0, 0x4000))
        source, target = (ip_address(end).packed for end in ends)
        packet = bytearray(struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, draw.choice((0, 0x2e)), length, draw.randrange(65536),
                                       flag, 64, 6, 0) + source + target + options + segment)
        at = 20 + len(options)
        if "flipped" in labels:
            self._flip(packet, draw.randrange(1, 3))
        packet += self._padding(labels)
        self._sum_tcp(packet, True, at, min(struct.unpack_from("!H", packet, 2)[0] or whole, len(packet)), labels)
        struct.pack_into("!H", packet, _IPV4_CHECKSUM, 0)
        right = _sum(packet[:(packet[0] & 15) * 4])
        struct.pack_into("!H", packet, _IPV4_CHECKSUM, right ^ (0x0101 if "IP checksum wrong" in labels else 0))
        return bytes(packet)

    def _ipv6(self, ends, segment, labels):
        draw = self.random
        chain = []
        if EXTENSIONS in labels:
            chain = self._chain(draw.randrange(1, 6))
        if NO_LENGTH in labels and draw.random() < 0.85:
            chain.insert(0, (0, draw.choice((b"\x01\x04\0\0\0\0", b"\x05\x02\0\0\x01\0", b"\0" * 6))))
        if "jumbo option" in labels:
            body = sum(map(_length_of, chain)) + 8 + len(segment)
            chain.insert(0, (0, b"\xc2\x04" + struct.pack("!I", draw.choice((body, 65536, 0)))))
        types = [kind for kind, _ in chain] + [6]
        body = b"".join(_extension_bytes(following, kind, rest) for following, (kind, rest) in zip(types[1:], chain))
        at = 40 + len(body)
        body += segment
        length = len(body)
        if FRAGMENTS in labels:
            # Each has a length of its own.
            pass
        elif NO_LENGTH in labels or ("jumbo option" in labels and draw.random() < 0.7):
            length = 0
        elif "payload length wrong" in labels:
            length = draw.choice((max(length - draw.randrange(1, 8), 0), length + draw.randrange(1, 60), draw.randrange(65536)))
        source, target = (ip_address(end).packed for end in ends)
        packet = bytearray(struct.pack("!IHBB", 0x60000000, length, types[0], 64) + source + target + body)
        if "flipped" in labels:
            self._flip(packet, draw.randrange(1, 3))
        packet += self._padding(labels)
        length, = struct.unpack_from("!H", packet, 4)
        # Linux takes what is there for the packet if it says 0.
        self._sum_tcp(packet, False, at, min(40 + length, len(packet)) if length else len(packet), labels)
        return bytes(packet)

    def _fragments(self, packet):
        """The packet in two or more pieces, now and then in another order, or one of them twice. Hop-by-hop options stay in front."""
        draw = self.random
        # Of the types that they name, a host takes the first one's.
        later = draw.choice((17, 58, 59, 60)) if draw.random() < 0.2 else None
        type_at, start = (6, 40) if packet[6] else (40, 40 + (packet[41] + 1) * 8)
        body, pieces = packet[start:], []
        offset = 0
        while offset < len(body):
            # A host wants the whole TCP header in the first one (RFC 8200 4.5).
            size = 8 * draw.randrange(3 if offset == 0 else 1, 8)
            more = offset + size < len(body)
            kind = later if later and offset else packet[type_at]
            head = bytearray(packet[:start]) + struct.pack("!BBHI", kind, 0, offset | more, int.from_bytes(packet[-4:], "big"))
            head[type_at] = 44
            piece = head + body[offset:offset + size]
            struct.pack_into("!H", piece, 4, len(piece) - 40)
            pieces.append(bytes(piece))
            offset += size
        if draw.random() < 0.3:
            draw.shuffle(pieces)
        if draw.random() < 0.2:
            pieces += pieces[:1]
        # None, if a byte was changed that says where they begin.
        return pieces or [packet]

    def _chain(self, count):
        """Extension headers: their types, and what follows the two bytes of next header and length."""
        draw = self.random
        padding = (b"\x01\x04\0\0\0\0", b"\0" * 6, b"\x01\x0c" + bytes(12), b"\x1e\x04\0\0\0\0")
        if draw.random() < 0.6:
            # Of those that hosts take, and hop-by-hop in the first place.
            harmless = {60: padding, 43: (bytes(6), b"\x03" + bytes(5), b"\xfd" + bytes(5)), 44: (bytes(2) + draw.randbytes(4),)}
            kinds = draw.choices((60, 60, 43, 44), k=count)
            chain = [(kind, draw.choice(harmless[kind])) for kind in kinds]
            return [(0, draw.choice(padding)), *chain] if draw.random() < 0.4 else chain
        return [self._extension(padding) for _ in range(count)]

    def _extension(self, padding):
        draw = self.random
        kind = draw.choice((0, 0, 60, 60, 60, 43, 43, 44, 51, 135, 139, 59, 253, 254, 140))
        if kind == 43:
            return kind, bytes((draw.choice((0, 2, 3, 4, 253)), draw.choice((0, 0, 0, 1)))) + bytes(4)
        if kind == 44:
            return kind, draw.choice((bytes(2), bytes(2), b"\0\x01", b"\0\x06")) + draw.randbytes(4)
        if kind in (0, 60):
            return kind, draw.choice(padding)
        return kind, bytes(draw.choice((6, 14)))

    def _flip(self, data, count):
        for _ in range(count):
            data[self.random.randrange(len(data))] ^= self.random.randrange(1, 256)

    @staticmethod
    def _sum_tcp(packet, is_v4, at, end, labels):
        """The checksum of the segment that a reader sees who finds it at `at` and reads to `end`."""
        segment = packet[at:end]
        if len(segment) < 20:
            return
        addresses = packet[12:20] if is_v4 else packet[8:40]
        struct.pack_into("!H", segment, _TCP_CHECKSUM, 0)
        right = _sum(addresses + struct.pack("!HH", 6, len(segment)) + segment)
        struct.pack_into("!H", packet, at + _TCP_CHECKSUM, right ^ (0x1001 if "TCP checksum wrong" in labels else 0))

    def _link(self, packet, is_v6, labels):
        """The packet behind its EtherType, and whatever it is wrapped in."""
        ethertype = b"\x86\xdd" if is_v6 else b"\x08\0"
        if "gre" in labels:
            ethertype, packet = b"\x08\0", self._tunnel(47, b"\0\0" + ethertype + packet)
        elif "ip in ip" in labels:
            ethertype, packet = b"\x08\0", self._tunnel(41 if is_v6 else 4, packet)
        elif "vxlan" in labels:
            inner = b"\x08\0\0\0\0\0\x07\0" + self.ends.macs + ethertype + packet
            ethertype, packet = b"\x08\0", self._tunnel(17, struct.pack("!HHHH", 4789, 4789, 8 + len(inner), 0) + inner)
        if "llc" in labels:
            llc = self.random.choice((b"\xaa\xaa\x03\0\0\0" + ethertype, b"\xaa\xaa\x03\0\0\xf8" + ethertype, b"\x06\x06\x03"))
            return struct.pack("!H", len(llc + packet)) + llc + packet
        if "mpls" in labels:
            return b"\x88\x47\0\x01\x01\x40" + packet
        if "pppoe" in labels:
            return b"\x88\x64\x11\0\0\x01" + struct.pack("!HH", len(packet) + 2, 0x57 if is_v6 else 0x21) + packet
        return ethertype + packet

    def _tunnel(self, protocol, inner):
        source, target = (ip_address(end).packed for end in self.ends.v4)
        header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inner), 0, 0, 64, protocol, 0) + source + target)
        struct.pack_into("!H", header, _IPV4_CHECKSUM, _sum(header))
        return bytes(header) + inner


def _length_of(extension):
    return 2 + len(extension[1])


def _extension_bytes(following, kind, rest):
    size = 2 + len(rest)
    # In units of eight bytes without the first; of AH in units of four without the first two; the fragment header has none.
    length = {44: 0, 51: size // 4 - 2}.get(kind, size // 8 - 1)
    return bytes((following, length)) + rest


def _sum(data):
    data = bytes(data) + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
