"""A bypassed connection must not notice that the engine is there."""

import hashlib
import time

from ..capture import Capture, by_direction
from ..clients import http_get
from ..eve import at
from ..hosts import BYPASS
from ..ids import Suricata
from ..net import SERVER4, SERVER6, VLAN_SERVER4
from ..runner import check
from ..shell import Failed


def _fetch(lab, address, *options):
    seen = lab.client.curl(BYPASS, address, *options)
    if seen.exit != 0 or seen.body != f"hello from {BYPASS}\n".encode():
        raise Failed(f"curl exit {seen.exit}, body {seen.body[:60]!r}: {seen.why}")
    if seen.leaf != lab.certificates[BYPASS].der:
        raise Failed("the client saw another certificate than the server's")
    return seen


@check("bypass.certificate")
def certificate(lab):
    """The client sees the server's own certificate, over IPv4, IPv6, VLAN, TLS 1.2"""
    seen = _fetch(lab, SERVER4)
    _fetch(lab, SERVER6)
    _fetch(lab, VLAN_SERVER4)
    _fetch(lab, SERVER4, "--tls-max", "1.2")
    return f"SHA-256 {hashlib.sha256(seen.leaf).hexdigest()[:16]}... four times"


@check("bypass.event")
def event(lab):
    """The tls event tells the rule; no http event"""
    seen = _fetch(lab, SERVER4)
    tls = lab.eve.one("tls", seen.local_port)
    at(tls, "wireglass.action", "bypass")
    at(tls, "wireglass.rule", "no banking")
    at(tls, "tls.sni", BYPASS)
    lab.client.endings[seen.local_port] = ["flow.closed"]
    if lab.eve.of("http", seen.local_port):
        raise Failed("an http event about a connection that nobody may read")
    return f"reason {at(tls, 'wireglass.reason', 'policy.bypass')}"


@check("bypass.passive")
def passive(lab):
    """The tls event has what Suricata tells of the same frames: version, certificate and JA3S in TLS 1.2, version and JA3S in TLS 1.3"""
    ports = []
    with Capture(lab.network.client, "lan", 443, lab.folder) as capture:
        for options in (["--tls-max", "1.2"], ["--tlsv1.3"]):
            seen = _fetch(lab, SERVER4, *options)
            ports.append(seen.local_port)
            lab.client.endings[seen.local_port] = ["flow.closed"]
    suricata = Suricata(lab.folder / "suricata-bypassed")
    suricata.common += ["-k", "none"]
    theirs = {event["src_port"]: event["tls"] for event in suricata.read(capture.file).events("tls")}
    for port in ports:
        ours = lab.eve.one("tls", port)["tls"]
        if port not in theirs:
            raise Failed(f"Suricata tells of {sorted(theirs)} alone, not of {port}")
        for key, value in theirs[port].items():
            if ours.get(key) != value:
                raise Failed(f"tls.{key} is {ours.get(key)!r}, Suricata has {value!r}")
    told = [sorted(theirs[port]) for port in ports]
    if not {"subject", "issuerdn", "serial", "fingerprint", "notbefore", "notafter", "ja3s", "version"} <= set(told[0]):
        raise Failed(f"Suricata tells of TLS 1.2 no more than {told[0]}")
    return f"{len(told[0])} fields of TLS 1.2, {len(told[1])} of TLS 1.3"


@check("bypass.frames")
def frames(lab):
    """Every frame is the same on both sides of the wire, from the MAC addresses to the last byte"""
    return f"{_same_frames(lab, SERVER4)}; {_same_frames(lab, SERVER6)}"


@check("bypass.frames-vlan")
def frames_vlan(lab):
    """The same inside an 802.1Q tag"""
    return _same_frames(lab, VLAN_SERVER4)


def _same_frames(lab, address):
    tcp_port = lab.client.port("python bypass")
    lab.client.made.pop()
    tcp_port += 1
    with Capture(lab.network.client, "lan", tcp_port, lab.folder) as inside, \
            Capture(lab.network.server, "wan", tcp_port, lab.folder) as outside:
        tls, used = lab.client.tls(BYPASS, address)
        assert used == tcp_port, "client ports are handed out in order"
        with tls:
            if b"hello from" not in http_get(tls, BYPASS):
                raise Failed("no answer from the server")
        # What is still on its way when the client closes: the last FIN and ACK.
        time.sleep(0.3)
    near, far = by_direction(inside.frames()), by_direction(outside.frames())
    if len(near) != 2 or set(near) != set(far):
        raise Failed(f"MAC addresses inside {sorted(map(bytes.hex, near))}, outside {sorted(map(bytes.hex, far))}")
    for source, sent in near.items():
        if sent != far[source]:
            first = next((number for number, pair in enumerate(zip(sent, far[source])) if pair[0] != pair[1]),
                         min(len(sent), len(far[source])))
            raise Failed(f"{len(sent)} frames from {source.hex(':')} inside, {len(far[source])} outside; "
                         f"the first difference is in frame {first}")
    return f"{sum(map(len, near.values()))} frames identical"
