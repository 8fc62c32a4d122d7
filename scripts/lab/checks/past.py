"""Ways past the engine that a kernel would take: what the server's kernel takes for a connection, the engine must know."""

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from ipaddress import ip_address

from ..disguises import CHANGED, EXTENSIONS, FIRST_PORT, FRAGMENTS, IP_OPTIONS, MANY_TAGS, NO_LENGTH, PLAIN, Disguises, Ends
from ..eve import at
from ..hosts import WWW
from ..net import (CLIENT4, CLIENT6, SERVER4, SERVER6, VLAN_CLIENT4, VLAN_CLIENT6, VLAN_ID, VLAN_SERVER4, VLAN_SERVER6)
from ..own_engine import need_engine, own_engine
from ..peers import Peer, read_request
from ..rewritten import FAR4, FAR6, Rewritten
from ..runner import check
from ..shell import Failed, run, wait_for
from ..vlan import ETH_P_ALL, PACKET_OUTGOING
from .bulk import intercepted

SYNS = 12_000
# SYNs between two looks at the answers.
_AT_ONCE = 64
# Answers of the kernel on the plain wire, at least: or the frames are not what they are meant to be.
_TAKEN = {PLAIN: 500, MANY_TAGS: 200, NO_LENGTH: 150, EXTENSIONS: 40, IP_OPTIONS: 100, "padding": 150, "flags": 100,
          "total length wrong": 8, FRAGMENTS: 30}
_SYN_ACK, _ANY_TAG = 0x12, (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_SO_RCVBUFFORCE = 33
_NO_GRACE = 'midstream = "reset"\nmidstream_grace_seconds = 0'


@contextlib.contextmanager
def _plain_wire(lab, name):
    wire = lab.plain_wire(name)
    try:
        yield wire
    finally:
        wire.stop()


@check("past.lenient", group="alone")
def lenient(lab):
    """Each of 12,000 disguised and broken SYNs that the server's kernel answers is a flow of the engine"""
    need_engine(lab)
    seed = int(os.environ.get("LAB_SEED") or random.randrange(1 << 32))
    syns = Disguises(_ends(lab), seed).make(SYNS)
    with _answers_to_anybody(lab):
        # First, so that the server's kernel has nothing yet: SYNs that it answers again, or fragments that wait for others.
        with own_engine(lab, "lenient") as engine:
            answered = _answered(lab, syns)
            known = {_key(flow) for flow in _flows(lab)}
        with _plain_wire(lab, "lenient-wire"):
            on_wire = _answered(lab, syns)
    events = engine.eve.events()
    # A flow that was answered has an event of its own. One that was seen from the middle does not count as known.
    known |= {_key(event) for event in events if event["event_type"] == "flow" and not event["wireglass"].get("midstream")}
    lost = [event for event in events if event["event_type"] == "stats"][-1]["stats"]["wireglass"]["log_dropped"]
    if lost:
        raise Failed(f"{lost} events were dropped, so nothing is known for sure")
    taken = Counter(label for number in on_wire.values() for label in syns[number].labels)
    few = {label: taken[label] for label, least in _TAKEN.items() if taken[label] < least}
    if few:
        raise Failed(f"seed {seed}: without the engine the kernel answers so few: {few}")
    past = [key for key in answered if key not in known]
    if past:
        shown = "; ".join(_shown(syns[answered[key]]) for key in past[:3])
        raise Failed(f"seed {seed}: {len(past)} connections past the engine (LAB_SEED={seed} repeats it). {shown}")
    if sum(PLAIN in syns[number].labels for number in answered.values()) < _TAKEN[PLAIN]:
        raise Failed(f"seed {seed}: not even plain SYNs pass the engine")
    return (f"seed {seed}: the kernel answers {len(on_wire)} on a plain wire, {taken[MANY_TAGS]} of them with {MANY_TAGS} and "
            f"{taken[NO_LENGTH]} of payload length 0; {len(answered)} behind the engine, all known")


def _shown(syn):
    return f"{', '.join(sorted(syn.labels))}: {' '.join(map(bytes.hex, syn.frames))}"


def _ends(lab):
    def mac(namespace, port):
        return bytes.fromhex(namespace.run("cat", f"/sys/class/net/{port}/address").stdout.decode().strip().replace(":", ""))
    macs = mac(lab.network.server, "wan") + mac(lab.network.client, "lan")
    return Ends(macs, (CLIENT4, SERVER4), (CLIENT6, SERVER6), VLAN_ID, (VLAN_CLIENT4, VLAN_SERVER4), (VLAN_CLIENT6, VLAN_SERVER6))


@contextlib.contextmanager
def _answers_to_anybody(lab):
    """The server's kernel knows a way to each address, as a changed byte may be one of the sender's."""
    server = lab.network.server
    server.ip("route", "add", "default", "via", CLIENT4)
    server.ip("-6", "route", "add", "default", "via", CLIENT6)
    try:
        yield
    finally:
        server.ip("route", "del", "default")
        server.ip("-6", "route", "del", "default")


def _answered(lab, syns):
    """Sends them. Returns the number of the SYN by what the server's kernel answered: client's address and port, server's."""
    client, server = lab.network.client, lab.network.server
    for address in (SERVER4, SERVER6, VLAN_SERVER4, VLAN_SERVER6):
        # So that both know each other's MAC address.
        client.run("ping", "-n", "-c", 1, "-W", 2, address)
    heard, macs = _Heard(server), _ends(lab).macs
    with _raw(client, "lan", 0) as out, heard.sock:
        for start in range(0, len(syns), _AT_ONCE):
            for each in syns[start:start + _AT_ONCE]:
                for frame in each.frames:
                    out.send(frame)
            # Rings hold no more than a few hundred frames. A frame of no protocol at all tells that they are through.
            marker = macs + b"\x88\xb5" + start.to_bytes(4, "big") + bytes(42)
            out.send(marker)
            wait_for(lambda: heard.has_come(marker), 5, "frame of no protocol at the other end", step=0.001)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            heard.read()
            time.sleep(0.02)
    return {key: _number(syns, key[1], number) for key, number in heard.answers.items()}


def _number(syns, port, sequence):
    """The number of the SYN that was answered: port and sequence number tell, of which one may have been changed."""
    told = [number for number in (sequence, port - FIRST_PORT) if 0 <= number < len(syns)]
    return next((number for number in told if syns[number].labels & CHANGED), told[0] if told else 0)


def _raw(namespace, port, protocol):
    """A packet socket. It receives nothing of protocol 0."""
    with namespace.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 25)
        sock.bind((port, protocol))
    sock.setblocking(False)
    return sock


class _Heard:
    """What comes to the server's kernel, and what it answers from port 443."""

    def __init__(self, server):
        self.sock = _raw(server, "wan", ETH_P_ALL)
        self.answers = {}
        self.last = b""

    def has_come(self, marker):
        """Whether this frame is among those that came."""
        self.read()
        return self.last == marker

    def read(self):
        """Reads what is there."""
        while True:
            try:
                frame, address = self.sock.recvfrom(2048)
            except BlockingIOError:
                return
            if address[2] == PACKET_OUTGOING:
                self._note(frame)
            elif frame[12:14] == b"\x88\xb5":
                self.last = frame

    def _note(self, frame):
        """Takes the SYN-ACKs."""
        start = 12
        while frame[start:start + 2] in _ANY_TAG:
            start += 4
        ethertype, packet = frame[start:start + 2], frame[start + 2:]
        if ethertype == b"\x08\0" and packet[9] == 6:
            segment, size, ends = packet[(packet[0] & 15) * 4:], 4, 12
        elif ethertype == b"\x86\xdd" and packet[6] == 6:
            segment, size, ends = packet[40:], 16, 8
        else:
            return
        if segment[13] & 0x3f == _SYN_ACK and segment[:2] == b"\x01\xbb":
            server, client = (str(ip_address(packet[n:n + size])) for n in (ends, ends + size))
            self.answers[client, int.from_bytes(segment[2:4], "big"), server] = int.from_bytes(segment[8:12], "big") - 1


def _key(flow):
    return flow["src_ip"], flow["src_port"], flow["dest_ip"]


def _flows(lab):
    said = run([lab.binary, "flows", "-c", lab.middle.config, "--json", "--limit", 10000], timeout=20).stdout.decode()
    return [json.loads(line) for line in said.splitlines()]


def _tagged(draw, least, most):
    """Adds priority tags, as many as chance will have it."""
    def rewrite(frame):
        tags = b"".join(draw.choice((b"\x81\0\0\0", b"\x88\xa8\0\0", b"\x81\0\xe0\0")) for _ in range(draw.randint(least, most)))
        return frame[:12] + tags + frame[12:]
    return rewrite


def _of_no_length(frame):
    """TCP over IPv6: a payload length of 0, and a hop-by-hop header without the jumbo option."""
    if frame[12:14] != b"\x86\xdd" or frame[20] != 6:
        return frame
    return frame[:18] + bytes((0, 0, 0)) + frame[21:54] + b"\x06\0\x01\x04\0\0\0\0" + frame[54:]


def _own_certificate(lab, seen):
    """What the rewritten frames are worth without the engine."""
    if seen.status != 200 or seen.leaf != lab.certificates[WWW].der:
        raise Failed(f"on a plain wire: curl exit {seen.exit}, status {seen.status}: {seen.why}")


def _dropped(engine, kind):
    """The reason in the event about frames of a class, in the log of an engine that has ended."""
    events = [event for event in engine.eve.events() if event.get("wireglass", {}).get("class") == kind]
    if not events or events[0]["event_type"] != "drop":
        raise Failed(f"no drop event of class {kind}: {events}")
    return at(events[0], "drop.reason")


def _nothing(seen, what):
    if seen.exit == 0 or seen.chain or seen.status:
        raise Failed(f"{what}: curl exit {seen.exit}, status {seen.status}, and a certificate: {bool(seen.chain)}")


@check("past.priority-tags", group="alone")
def priority_tags(lab):
    """curl behind relays that add 3 to 8 priority tags to each frame: decrypted; 9 to 12 tags: nothing passes"""
    need_engine(lab)
    draw = random.Random(7)
    few, many = _tagged(draw, 3, 8), _tagged(draw, 9, 12)
    with Rewritten(lab, [WWW], few) as hosts:
        with _plain_wire(lab, "tags-wire"):
            for tags in (few, many):
                hosts.to_wire = tags
                for address in (FAR4, FAR6):
                    _own_certificate(lab, hosts.client.curl(WWW, address))
        with own_engine(lab, "tags", intercept=_NO_GRACE) as engine:
            hosts.to_wire = few
            for address in (FAR4, FAR6):
                seen = hosts.client.curl(WWW, address)
                intercepted(lab, seen)
                at(engine.eve.one("tls", seen.local_port), "wireglass.action", "decrypt")
            hosts.to_wire = many
            for address in (FAR4, FAR6):
                _nothing(hosts.client.curl(WWW, address, "--connect-timeout", 2), "9 to 12 tags")
    return f"{_dropped(engine, 'tags')}, class tags"


@check("past.no-length", group="alone")
def no_length(lab):
    """curl over IPv6 whose packets say that their length is 0: nothing passes"""
    need_engine(lab)
    with Rewritten(lab, [WWW], _of_no_length) as hosts:
        with _plain_wire(lab, "no-length-wire"):
            _own_certificate(lab, hosts.client.curl(WWW, FAR6))
        with own_engine(lab, "no-length", intercept=_NO_GRACE) as engine:
            _nothing(hosts.client.curl(WWW, FAR6, "--connect-timeout", 3), "payload length 0")
            hosts.to_wire = lambda frame: frame
            intercepted(lab, hosts.client.curl(WWW, FAR6))
    return f"{_dropped(engine, 'jumbogram')}, class jumbogram; without the rewriting it is decrypted"


@check("past.native-vlan", group="alone")
def native_vlan(lab):
    """A native VLAN that is tagged on the servers' side only: decrypted with native_vlan, and never past the engine without"""
    need_engine(lab)
    tag = b"\x81\0\0\x07"

    def untag(frame):
        return frame[:12] + frame[16:] if frame[12:16] == tag else frame
    # As switches have it, of which one sends this VLAN with a tag; both take what has none for this VLAN.
    with Rewritten(lab, [WWW], lambda frame: frame, untag, far_to_wire=lambda frame: frame[:12] + tag + frame[12:]) as hosts:
        with _plain_wire(lab, "native-wire"):
            for address in (FAR4, FAR6):
                _own_certificate(lab, hosts.client.curl(WWW, address))
        with own_engine(lab, "native", intercept=_NO_GRACE, wire="native_vlan = 7") as engine:
            for address in (FAR4, FAR6):
                seen = hosts.client.curl(WWW, address)
                intercepted(lab, seen)
                at(engine.eve.one("tls", seen.local_port), "vlan", [[7]])
        with own_engine(lab, "native-unknown", intercept=_NO_GRACE):
            for address in (FAR4, FAR6):
                _nothing(hosts.client.curl(WWW, address, "--connect-timeout", 2), "without native_vlan")
    return "tls events say VLAN 7"


QUIC_INITIAL = bytes.fromhex("c300000001088394c8f03e5157080000449e") + bytes(1182)
DTLS_HELLO = bytes.fromhex("16fefd0000000000000000005a0100004e000000000000004efefd") + bytes(76)


def _datagram(lab, address, payload):
    """Sends a datagram to port 443. Returns the client's port and whether it has arrived."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.network.server.socket(family, socket.SOCK_DGRAM) as server, lab.network.client.socket(family, socket.SOCK_DGRAM) as client:
        server.bind((address, 443))
        server.settimeout(1)
        client.bind((CLIENT6 if ":" in address else CLIENT4, 0))
        client.sendto(payload, (address, 443))
        port = client.getsockname()[1]
        try:
            return port, server.recv(65536) == payload
        except TimeoutError:
            return port, False


@check("past.quic", group="alone")
def quic(lab):
    """QUIC and DTLS to port 443 do not arrive, and with "forward" they do: an event for each, with its ports"""
    need_engine(lab)
    forward = 'quic = "forward"\ndtls = "forward"'
    for name, intercept, kind, arrives in (("quic", "", "drop", False), ("quic-forward", forward, "passthrough", True)):
        with own_engine(lab, name, intercept=intercept) as engine:
            for address in (SERVER4, SERVER6):
                for what, payload in (("quic", QUIC_INITIAL), ("dtls", DTLS_HELLO)):
                    port, arrived = _datagram(lab, address, payload)
                    if arrived != arrives:
                        raise Failed(f"{what} to {address} {'arrived' if arrived else 'did not arrive'} with `{intercept}`")
                    event = engine.eve.one(kind, port)
                    at(event, "dest_port", 443)
                    at(event, "dest_ip", address)
                    at(event, "proto", "UDP")
                    at(event, "wireglass.class", what)
                    if kind == "drop":
                        at(event, "drop.reason", f"packet.{what}")
    return "IPv4 and IPv6"


@check("past.crash", group="alone")
def crash(lab):
    """The engine is killed and started anew without a grace time: both ends of decrypted connections learn that they are over"""
    need_engine(lab)
    with Peer(lab.network, _drip_down, lab.certificates[WWW]) as down, Peer(lab.network, _take, lab.certificates[WWW]) as up:
        first = lab.wire("crash-1", intercept=_NO_GRACE)
        try:
            download, upload = _Ending(lambda: lab.client.curl(WWW, down.address, timeout=60)), _Ending(lambda: _drip_up(lab, up.address))
            wait_for(lambda: down.received and up.received and len(down.received + up.received) > 20, 10, "traffic both ways")
        finally:
            first.process.popen.send_signal(signal.SIGKILL)
            first.process.popen.wait(5)
        killed = time.monotonic()
        with own_engine(lab, "crash-2", intercept=_NO_GRACE) as second:
            restarted = time.monotonic() - killed
            ends = [each.seconds_after(killed) for each in (download, upload)]
            sockets = ["ss", "-Htn", "state", "established", f"( src {down.address} or src {up.address} )"]
            wait_for(lambda: not lab.network.server.run(*sockets).stdout.strip(), 30, "end of the server's connections")
            gone = time.monotonic() - killed
    reasons = Counter(event["drop"]["reason"] for event in second.eve.events() if event["event_type"] == "drop")
    seen = download.result
    if seen.exit != 56 or "reset" not in seen.error.lower() or not isinstance(upload.result, OSError):
        raise Failed(f"curl exit {seen.exit}: {seen.error}; the upload: {upload.result!r}")
    if not reasons["packet.midstream"]:
        raise Failed(f"no drop event of connections seen from the middle: {reasons}")
    return (f"restarted {restarted:.1f} s after the kill; curl exits with {seen.exit} after {ends[0]:.1f} s, an upload is reset after "
            f"{ends[1]:.1f} s, the server's sockets are gone after {gone:.1f} s")


def _drip_down(connection, peer):
    """A download without end, to a client that says nothing."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    while True:
        connection.sendall(bytes(1000))
        peer.note(b".")
        time.sleep(0.2)


def _take(connection, peer):
    """Reads, and says nothing."""
    while connection.recv(65536):
        peer.note(b".")


def _drip_up(lab, address):
    """The same the other way round. Returns what ended it."""
    tls, _port = lab.client.tls(WWW, address)
    with tls:
        while True:
            try:
                tls.sendall(bytes(1000))
            except OSError as error:
                return error
            time.sleep(0.2)


class _Ending:
    """Something that runs until its connection ends."""

    def __init__(self, action):
        self.result, self.ended = None, None
        self.thread = threading.Thread(target=self._run, args=(action,), daemon=True)
        self.thread.start()

    def _run(self, action):
        self.result = action()
        self.ended = time.monotonic()

    def seconds_after(self, moment):
        """Waits for the end."""
        self.thread.join(30)
        if self.ended is None:
            raise Failed("a client still waits, 30 s after the restart")
        return self.ended - moment
