"""Mirrors: what Suricata and tshark make of them."""

import json
import time

from ..eve import at
from ..hosts import BYPASS, WWW
from ..ids import (ENGINE, IDS, PLAIN, PLAIN_HTTP2, Suricata, assert_faultless, cable, plain_server, recorded, tshark)
from ..net import SERVER4, SERVER6, VLAN_SERVER4
from ..own_engine import need_engine, own_engine
from ..runner import check
from ..shell import Failed
from .events import metrics
from .fetch import fetched

_MIRROR = f'[mirror.ids]\nport = "af_packet:{ENGINE}"\n'
# Path, whether something is sent, and the rules that find it.
_REQUESTS = (
    ("/number/7", None, {9000001, 9000002, 9000003, 9000006}),
    ("/number/8", None, {9000002, 9000006}),
    ("/files/long", None, {9000002, 9000005, 9000006}),
    ("/files/nothing", None, {9000002, 9000006, 9000007}),
    ("/upload/mirror", b"x" * 200_000 + b"TOP SECRET", {9000002, 9000004, 9000006}),
)
_SETTLE = 1.0


def _files(lab):
    (lab.nginx.folder / "files" / "long").write_bytes(b"0123456789abcdef" * 60_000 + b"the very end")


def _sent(lab, body):
    if body is None:
        return ()
    file = lab.folder / "mirror-upload"
    file.write_bytes(body)
    return "-H", "Expect:", "-T", file


def _ask(lab):
    """Makes all requests through the engine. Returns what Suricata must say: (client port, sid)."""
    wanted = set()
    for version in ("--http1.1", "--http2"):
        for path, body, sids in _REQUESTS:
            for address in (SERVER4, SERVER6):
                seen = lab.client.curl(WWW, address, version, *_sent(lab, body), path=path)
                if seen.exit != 0:
                    raise Failed(f"{path}: curl exit {seen.exit}: {seen.why}")
                wanted |= {(seen.local_port, sid) for sid in sids}
    return wanted


def _ask_in_plain(lab):
    """The same to a server without TLS. Returns the client ports, in the same order."""
    ports = []
    for version, port in (("--http1.1", PLAIN), ("--http2-prior-knowledge", PLAIN_HTTP2)):
        for path, body, _ in _REQUESTS:
            for _ in range(2):
                own = lab.client.port("curl in plain")
                lab.client.made.pop()
                lab.network.client.run("curl", "-sS", version, *_sent(lab, body), "-H", f"Host: {WWW}", "--local-port", own, "-o",
                                       "/dev/null", f"http://{SERVER4}:{port}{path}", timeout=20)
                ports.append(own)
    return ports


@check("mirror.tshark", group="alone")
def by_tshark(lab):
    """HTTP/1 and HTTP/2, IPv4, IPv6 and in a VLAN, 1 MB and uploads: tshark finds no fault, and reads each request"""
    need_engine(lab)
    _files(lab)
    file = lab.folder / "mirror.pcap"
    with cable(lab), own_engine(lab, "mirror-tshark", wire=_MIRROR), recorded(lab.network.middle, IDS, file):
        _ask(lab)
        fetched(lab, VLAN_SERVER4)
        asked = 4 * len(_REQUESTS) + 1
        counted = metrics(lab)
    frames = assert_faultless(file, 500)
    in_vlan = tshark(file, "vlan.id == 100 && tcp.flags.syn == 1")
    http1 = tshark(file, "http.request", "http.request.uri", options=("-d", "tcp.port==443,http"))
    http2 = tshark(file, "http2.headers.path", "http2.headers.path", options=("-d", "tcp.port==443,http2"))
    if (len(http1), len(in_vlan)) != (2 * len(_REQUESTS), 2) or len(http2) != 2 * len(_REQUESTS) + 1:
        raise Failed(f"{len(http1)} requests of HTTP/1, {len(http2)} of HTTP/2, {len(in_vlan)} SYNs in the VLAN")
    for flag in ("syn == 1 && tcp.flags.ack == 0", "fin == 1"):
        flows = {row[0] for row in tshark(file, f"tcp.flags.{flag}", "tcp.stream")}
        if len(flows) != asked:
            raise Failed(f"{len(flows)} connections have {flag}, of {asked}")
    flows = counted['wireglass_mirror_flows_total{worker="0",mirror="ids"}']
    if flows != asked:
        raise Failed(f"the metrics count {flows} flows")
    return f"{frames} frames, {asked} connections"


@check("mirror.suricata", group="alone")
def by_suricata(lab):
    """Suricata on the mirror, live and from a capture: the same rules fire as on the same requests in plain; community_id is ours"""
    need_engine(lab)
    _files(lab)
    file, clear = lab.folder / "suricata.pcap", lab.folder / "clear.pcap"
    live = Suricata(lab.folder / "suricata-live")
    with cable(lab), own_engine(lab, "mirror-suricata", wire=_MIRROR), recorded(lab.network.middle, IDS, file):
        with live.live(lab.network.middle):
            wanted = _ask(lab)
            began = time.monotonic()
            live.wait_alerts(wanted, 10)
            took = time.monotonic() - began
        ports = sorted({port for port, _ in wanted})
        ours = {at(lab.eve.one("tls", port), "community_id"): port for port in ports}
    if live.alerts() != wanted:
        raise Failed(f"alerts that nothing gave cause for: {sorted(live.alerts() - wanted)[:9]}")
    offline = Suricata(lab.folder / "suricata-offline").read(file)
    if offline.alerts() != wanted:
        raise Failed(f"from the capture: {sorted(offline.alerts() ^ wanted)[:9]}")
    theirs = {(ours.get(community), sid) for community, sid in live.alerts("community_id")}
    if theirs != wanted:
        raise Failed("community_id differs from the engine's")
    with plain_server(lab), recorded(lab.network.client, "lan", clear):
        lab.plain_wire("mirror-plain")
        plain_ports = _ask_in_plain(lab)
    lab.middle.stop()
    plain = Suricata(lab.folder / "suricata-plain").read(clear).alerts()
    as_asked = dict(zip(plain_ports, ports))
    if {(as_asked[port], sid) for port, sid in plain} != wanted:
        raise Failed(f"in plain: {sorted({(as_asked[port], sid) for port, sid in plain} ^ wanted)[:9]}")
    return f"{len(wanted)} alerts of {len(ports)} connections, the last {took:.1f} s after its request"


@check("mirror.marked", group="alone")
def marked(lab):
    """A VLAN and MAC addresses as marks, ports changed, only forwarded plaintext, MTU 1280; and bypassed flows in the same mirror"""
    need_engine(lab)
    file = lab.folder / "marked.pcap"
    lines = ('when = "forwarded"\ndestination_mac = "02:00:00:00:00:99"\nsource_mac = "02:00:00:00:00:98"\nvlan = 4000\n'
             "ports = { 443 = 80 }\nmtu = 1280\nbypassed = true\n")
    with cable(lab), own_engine(lab, "mirror-marked", wire=_MIRROR + lines), recorded(lab.network.middle, IDS, file):
        fetched(lab, SERVER4, "--http1.1")
        seen = lab.client.curl(BYPASS, SERVER4)
        if seen.exit != 0:
            raise Failed(f"curl exit {seen.exit}: {seen.why}")
    # Bypassed flows are as they are, with what the hosts repeat.
    assert_faultless(file, 8, of="tcp.port == 80")
    marks = "vlan.id == 4000 && eth.dst == 02:00:00:00:00:99 && eth.src == 02:00:00:00:00:98"
    if rest := tshark(file, f"!({marks})"):
        raise Failed(f"{len(rest)} frames without the marks")
    requests = tshark(file, "http.request && tcp.dstport == 80", "http.host")
    hellos = tshark(file, "tls.handshake.type == 1 && tcp.dstport == 443", "tls.handshake.extensions_server_name")
    if (requests, hellos) != ([[WWW]], [[BYPASS]]):
        raise Failed(f"requests {requests}, hellos {hellos}")
    longest = max(int(row[0]) for row in tshark(file, "ip && tcp.port == 80", "ip.len"))
    if longest > 1280:
        raise Failed(f"a packet of {longest} bytes")


def _slowly(lab, version, *queries):
    """Asks for 960 KB, a copy for each query, at once and slowly. Returns the client port, the same for all, and curl's exit codes by
    query."""
    words = []
    for query in queries:
        words += ["--next"] if words else []
        words += ["-sS", version, "--cacert", lab.client.trust, "--resolve", f"{WWW}:443:{SERVER4}", "--limit-rate", "200k",
                  "-o", "/dev/null", "-w", "%{stdout}%{exitcode} %{local_port} %{url}\\n", f"https://{WWW}/files/long?{query}"]
    done = lab.network.client.run("curl", "--parallel", *words, timeout=30, check=False)
    ended = [line.split() for line in done.stdout.decode().splitlines()]
    ports = {int(port) for _, port, _ in ended}
    if len(ports) != 1 or len(ended) != len(queries):
        raise Failed(f"not one connection: {ended}, {done.stderr.decode().strip()}")
    return ports.pop(), {url.partition("?")[2]: int(code) for code, _, url in ended}


@check("mirror.verdicts", group="alone")
def verdicts(lab):
    """Suricata ends what it finds: a connection of HTTP/1, and of HTTP/2 one stream while another goes on; a rule by its number, too"""
    need_engine(lab)
    _files(lab)
    socket = lab.folder / "verdicts.sock"
    lines = f'[verdicts]\nlisten = "{socket}"\nblock.sid = [9000001]\n'
    with cable(lab), own_engine(lab, "mirror-verdicts", wire=_MIRROR + lines):
        if socket.stat().st_mode & 0o777 != 0o600:
            raise Failed(f"the socket's mode is {socket.stat().st_mode:o}")
        with Suricata(lab.folder / "suricata-verdicts", socket=socket).live(lab.network.middle):
            port, ended = _slowly(lab, "--http1.1", "to-be-ended")
            if ended["to-be-ended"] == 0:
                raise Failed("HTTP/1: the transfer came to its end")
            event = lab.eve.one("flow", port)
            at(event, "wireglass.reason", "verdict.external")
            alert = lab.eve.one("alert", port)
            if at(alert, "alert.signature") != "9000013 to be ended" or at(alert, "community_id") != at(event, "community_id"):
                raise Failed(f"another alert: {json.dumps(alert)}")
            by_number, ended = _slowly(lab, "--http1.1", "/number/7")
            if ended["/number/7"] == 0:
                raise Failed("by number: the transfer came to its end")
            at(lab.eve.one("flow", by_number), "wireglass.reason", "verdict.external")
            port, ended = _slowly(lab, "--http2", "goes-on", "to-be-ended")
            if ended["goes-on"] != 0 or ended["to-be-ended"] == 0:
                raise Failed(f"HTTP/2: curl's exit codes are {ended}")
            at(lab.eve.one("flow", port, seconds=15), "wireglass.reason", ("flow.closed", "cli.rst"))
            transfers = {at(event, "http.url"): event.get("wireglass", {}).get("verdict") for event in lab.eve.some("http", port, 2)}
            if transfers != {"/files/long?goes-on": None, "/files/long?to-be-ended": "block"}:
                raise Failed(f"HTTP/2: {transfers}")
        counted = metrics(lab)
    fates = {name: int(counted[f'wireglass_verdicts_total{{fate="verdict.{name}"}}'])
             for name in ("flow", "stream", "unknown_flow", "malformed", "ring_full", "peer_refused")}
    if fates != {"flow": 2, "stream": 1, "unknown_flow": 0, "malformed": 0, "ring_full": 0, "peer_refused": 0}:
        raise Failed(f"counted: {fates}")
    return f"curl's exit code on the stream {ended['to-be-ended']}"


@check("mirror.received", group="alone")
def received(lab):
    """What comes in at a mirror's port goes nowhere, and is counted"""
    need_engine(lab)
    with cable(lab), own_engine(lab, "mirror-received", wire=_MIRROR):
        sock = lab.network.middle.socket(family=17, kind=3, protocol=0)
        with sock:
            sock.bind((IDS, 0))
            for n in range(10):
                sock.send(bytes.fromhex("ffffffffffff02000000009988b5") + bytes([n]) * 60)
        fetched(lab, SERVER4)
        time.sleep(_SETTLE)
        name = 'wireglass_mirror_dropped_total{worker="0",mirror="ids",reason="mirror.received"}'
        counted = metrics(lab)[name]
        if counted < 10:
            raise Failed(f"{counted} of 10 frames were counted")
    return f"{int(counted)} frames"
