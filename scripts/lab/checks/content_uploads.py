"""Uploads that threads look at: what is on a list does not come to its end at the server, all else does."""

import hashlib
import io
import re
import time
import zipfile

from ..content import blocked
from ..eve import at
from ..holding import PROGRAM, TEXT
from ..hosts import WWW
from ..net import SERVER4
from ..peers import Peer, read_request
from ..runner import check
from ..shell import Failed

_WAYS = (("--http1.1",), ("--http1.1", "-H", "Transfer-Encoding: chunked"), ("--http1.1", "-H", "Expect:"), ("--http2",))


def put(lab, name, body, *options):
    """curl uploads it. Returns what it saw, and where nginx puts it."""
    source, target = lab.folder / f"upload-{name}", lab.nginx.folder / "upload" / name
    source.write_bytes(body)
    target.unlink(missing_ok=True)
    return lab.client.curl(WWW, SERVER4, *options, "-T", source, path=f"/upload/{name}"), target


def arrives(lab, name, body, *options):
    """It is at the server, byte for byte."""
    seen, target = put(lab, name, body, *options)
    if seen.exit != 0 or seen.status not in (201, 204):
        raise Failed(f"{name} {options}: exit {seen.exit}, status {seen.status}: {seen.why}")
    if target.read_bytes() != body:
        raise Failed(f"{name} {options}: {target.stat().st_size} bytes of {len(body)} at the server")
    return seen


@check("content-hold.upload", "content-hold")
def listed(lab):
    """A listed program goes up, plain, chunked, with and without 100-continue, in both versions: the page, and nothing at the server"""
    for options in _WAYS:
        for name, body, rule in (("held", PROGRAM, "uploads"), ("late-listed", TEXT, "late uploads")):
            seen, target = put(lab, name, body, *options)
            if seen.status != 403 or target.exists():
                raise Failed(f"{name} {options}: exit {seen.exit}, status {seen.status}, at the server: {target.exists()}")
            alert = lab.eve.one("alert", seen.local_port)
            at(alert, "alert.signature", rule)
            at(alert, "alert.action", "blocked")
            at(alert, "direction", "to_server")
            told = lab.eve.one("fileinfo", seen.local_port)
            at(told, "fileinfo.sha256", hashlib.sha256(body).hexdigest())
            at(told, "fileinfo.filename", name)


@check("content-hold.upload-type", "content-hold")
def typed(lab):
    """An archive goes up: the page by its type, before the end of it"""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", bytes(range(256)) * 4000)
    for options in _WAYS:
        seen, target = put(lab, "packed.bin", packed.getvalue(), *options)
        blocked(lab, seen, "no archives go up")
        if target.exists():
            raise Failed(f"{options}: it is at the server")


@check("content-hold.uploaded", "content-hold")
def uploaded(lab):
    """Clean uploads of 0 bytes to 3 MB arrive byte for byte, held as a whole and by the tail, and so does one of 12 MB, which is too large to be held"""
    slowest = 0
    for options in _WAYS:
        # Of nothing, curl 7.88 sends no last chunk.
        empty = () if "Transfer-Encoding: chunked" in options else (("a", 0),)
        for name, size in (*empty, ("b", 5), ("c", 1_000_000), ("d", 3_000_000), ("late-d", 3_000_000), ("e", 12_000_000)):
            began = time.monotonic()
            arrives(lab, name, (bytes(range(255)) * (size // 255 + 1))[:size], *options)
            slowest = max(slowest, time.monotonic() - began)
    return f"slowest {slowest * 1000:.0f} ms"


@check("content-hold.upload-nghttp", "content-hold")
def with_nghttp(lab):
    """nghttp uploads: a listed program gets 403 and the connection stays; another one arrives"""
    lab.network.client.knows(WWW, SERVER4)
    for name, body, status in (("n-listed", PROGRAM, 403), ("n-clean", PROGRAM + b"x", 201)):
        source, target = lab.folder / name, lab.nginx.folder / "upload" / name
        source.write_bytes(body)
        target.unlink(missing_ok=True)
        done = lab.network.client.run("nghttp", "-v", "-n", "-H", ":method: PUT", "-d", source, f"https://{WWW}/upload/{name}",
                                      check=False, timeout=30)
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace"))
        statuses = re.findall(r":status: (\d+)", said)
        if statuses != [str(status)] or target.exists() != (status == 201):
            raise Failed(f"{name}: statuses {statuses}, at the server: {target.exists()}; {said[-300:]}")


@check("content-hold.upload-early", "content-hold")
def early(lab):
    """A server that refuses with 413 and closes before all has come: the client has its answer"""
    def serve(connection, _peer):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        time.sleep(0.5)
    with Peer(lab.network, serve, lab.certificates[WWW]) as peer:
        source = lab.folder / "upload-early"
        source.write_bytes(bytes(3_000_000))
        seen = lab.client.curl(WWW, peer.address, "--http1.1", "-T", source, path="/upload/late-early")
    if seen.status != 413:
        raise Failed(f"exit {seen.exit}, status {seen.status}: {seen.why}")
