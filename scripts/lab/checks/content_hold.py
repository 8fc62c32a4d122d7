"""Files that threads look at: what is on a list does not arrive, all else does, and nothing that is a stream waits."""

import hashlib
import time

from ..content import blocked, logged
from ..eve import at
from ..holding import DISGUISED, PROGRAM, TEXT
from ..hosts import WWW
from ..net import SERVER4
from ..peers import Peer, read_request
from ..runner import check
from ..shell import Failed
from .content_http2 import Nghttpd, grpc_calls, nghttp, run_h2load

_VERSIONS = ("--http1.1", "--http2")
_CLEAN = b"\x7fELF\x02\x01\x01" + bytes(range(255)) * 20_000


def _serve(lab, name, body):
    path = lab.nginx.folder / "files" / name
    if not path.exists():
        path.write_bytes(body)
    return path


@check("content-hold.page", "content-hold")
def listed(lab):
    """A program on a list of hashes: the page in its place, in both versions, as it is and in gzip; fileinfo has its hash"""
    _serve(lab, "program", PROGRAM)
    for version in _VERSIONS:
        for folder in ("files", "packed"):
            seen = lab.client.curl(WWW, SERVER4, version, "--compressed", path=f"/{folder}/program")
            alert = blocked(lab, seen, "files")
            at(alert, "wireglass.found.by", "list.malware")
            if b"ELF" in seen.body:
                raise Failed("the file's bytes are in the page")
            told = lab.eve.one("fileinfo", seen.local_port)
            at(told, "fileinfo.sha256", hashlib.sha256(PROGRAM).hexdigest())
            at(told, "fileinfo.size", len(PROGRAM))
            at(told, "fileinfo.filename", "program")
            at(told, "fileinfo.magic", "elf")
            at(told, "fileinfo.state", "CLOSED")


@check("content-hold.late", "content-hold")
def late(lab):
    """A text of which only the tail waits: cut off, not ended, without its last 16 KiB; the second try gets the page"""
    for version, exits in zip(_VERSIONS, ((18, 56), (92, 18, 56))):
        _serve(lab, f"late{version}", TEXT)
        seen = lab.client.curl(WWW, SERVER4, version, path=f"/files/late{version}")
        if seen.exit not in exits or not TEXT.startswith(seen.body) or len(seen.body) > len(TEXT) - 16_384:
            raise Failed(f"{version}: curl exit {seen.exit}, {len(seen.body)} bytes of {len(TEXT)}")
        alert = logged(lab, seen.local_port, "late files", "content.late")
        at(alert, "wireglass.late", True)
        again = lab.client.curl(WWW, SERVER4, version, path=f"/files/late{version}")
        blocked(lab, again, "late files")


@check("content-hold.served", "content-hold")
def served(lab):
    """Files that are on no list arrive as they are, byte for byte; a part is sent as the whole"""
    slowest = 0
    for name, body in (("held-clean", _CLEAN), ("late-clean", bytes(3_000_000)), ("held-short", b"short"), ("held-nothing", b"")):
        _serve(lab, name, body)
        for version in _VERSIONS:
            began = time.monotonic()
            seen = lab.client.curl(WWW, SERVER4, version, path=f"/files/{name}")
            slowest = max(slowest, time.monotonic() - began)
            if seen.exit != 0 or seen.status != 200 or seen.body != body:
                raise Failed(f"{name} {version}: exit {seen.exit}, status {seen.status}, {len(seen.body)} bytes of {len(body)}")
    for version in _VERSIONS:
        seen = lab.client.curl(WWW, SERVER4, version, "-H", "Range: bytes=100-", path="/files/held-clean")
        if seen.status != 200 or seen.body != _CLEAN:
            raise Failed(f"range {version}: status {seen.status}, {len(seen.body)} bytes")
    return f"slowest {slowest * 1000:.0f} ms"


@check("content-hold.http2", "content-hold")
def many(lab):
    """nghttp and h2load, listed and clean files on one connection, on nginx and nghttpd: each stream has its own answer"""
    _serve(lab, "program", PROGRAM)
    for name in ("a", "b"):
        _serve(lab, name, name.encode() * 20_000)
    statuses = nghttp(lab, SERVER4, "/files/a", "/files/program", "/files/b", options=("-w", 22, "-W", 22))
    if statuses != [200, 403, 200]:
        raise Failed(f"statuses {statuses}")
    with Nghttpd(lab) as address:
        for server, paths in ((SERVER4, ("/files/a", "/files/b")), (address, ("/number/21", "/number/24"))):
            for windows in ((), ("-w", 16, "-W", 16)):
                done = run_h2load(lab, server, 200, 20, windows, paths)
                if done != (200, 0, 0):
                    raise Failed(f"{server} {windows}: {done} of (2xx, 4xx, no answer), expected (200, 0, 0)")
    return f"statuses {statuses}"


@check("content-hold.yara", "content-hold")
def yara(lab):
    """A program that a YARA rule knows by its beginning and end: the page, as it is and in gzip, with the rule's name and tags; others arrive"""
    _serve(lab, "yara-program", DISGUISED)
    _serve(lab, "yara-clean", DISGUISED + b".")
    slowest = 0
    for version in _VERSIONS:
        for folder in ("files", "packed"):
            began = time.monotonic()
            seen = lab.client.curl(WWW, SERVER4, version, "--compressed", path=f"/{folder}/yara-program")
            slowest = max(slowest, time.monotonic() - began)
            alert = blocked(lab, seen, "yara files")
            at(alert, "wireglass.found.by", "yara.lab")
            at(alert, "wireglass.found.what", "disguised")
            at(alert, "wireglass.found.tags", ["program", "disguise"])
            seen = lab.client.curl(WWW, SERVER4, version, "--compressed", path=f"/{folder}/yara-clean")
            if seen.exit != 0 or seen.status != 200 or seen.body != DISGUISED + b".":
                raise Failed(f"{version} {folder}: exit {seen.exit}, status {seen.status}, {len(seen.body)} bytes")
    return f"slowest {slowest * 1000:.0f} ms"


@check("content-hold.events", "content-hold")
def events(lab):
    """Server-sent events are never held: each is there within 100 ms"""
    sent = []

    def serve(connection, _peer):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            time.sleep(0.3)
            sent.append(time.monotonic())
            connection.sendall(b"9\r\ndata: %d\n\n\r\n" % number)
    slowest = 0
    with Peer(lab.network, serve, lab.certificates[WWW]) as peer:
        tls, _port = lab.client.tls(WWW, peer.address)
        tls.sendall(f"GET /events HTTP/1.1\r\nHost: {WWW}\r\n\r\n".encode())
        said = b""
        for number in range(5):
            while b"data: %d" % number not in said:
                piece = tls.recv(65536)
                if not piece:
                    raise Failed(f"ended after {said!r}")
                said += piece
            slowest = max(slowest, time.monotonic() - sent[number])
        tls.close()
    if slowest > 0.1:
        raise Failed(f"{slowest * 1000:.0f} ms")
    return f"slowest {slowest * 1000:.1f} ms"


@check("content-hold.websocket", "content-hold")
def websocket(lab):
    """What follows an upgrade is never held: an echo takes less than 100 ms"""
    def serve(connection, _peer):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := connection.recv(1000):
            connection.sendall(data)
    with Peer(lab.network, serve, lab.certificates[WWW]) as peer:
        tls, _port = lab.client.tls(WWW, peer.address)
        tls.sendall(f"GET /socket HTTP/1.1\r\nHost: {WWW}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
        head = tls.recv(65536)
        if b" 101 " not in head:
            raise Failed(f"not switched: {head[:100]!r}")
        slowest = 0
        for number in range(5):
            began = time.monotonic()
            tls.sendall(b"\x81\x01%d" % number)
            if not tls.recv(65536).endswith(b"%d" % number):
                raise Failed("came back changed")
            slowest = max(slowest, time.monotonic() - began)
        tls.close()
    if slowest > 0.1:
        raise Failed(f"{slowest * 1000:.0f} ms")
    return f"slowest {slowest * 1000:.1f} ms"


@check("content-hold.grpc", "content-hold")
def grpc(lab):
    """gRPC is never held: unary calls and streams in both directions"""
    return grpc_calls(lab)
