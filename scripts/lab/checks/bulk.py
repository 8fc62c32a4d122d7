"""Much data: every byte arrives, compared by hash, in both directions."""

import hashlib
import os
import threading
import time

from ..hosts import TLS12, WWW
from ..net import SERVER4, SERVER6
from ..runner import check
from ..shell import Failed
from .fetch import ca_subject, issuer_of

SIZE = 100 * 1000 * 1000
_BLOCK = 1 << 20


def _random_file(path):
    if not path.exists():
        with open(path, "wb") as out:
            for _ in range(0, SIZE, 10_000_000):
                out.write(os.urandom(10_000_000))
    return path


def file_hash(path):
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        while block := data.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def intercepted(lab, seen):
    """curl succeeded, under a certificate that the engine signed."""
    if seen.exit != 0:
        raise Failed(f"curl exit {seen.exit}: {seen.why}")
    if issuer_of(seen.leaf) != ca_subject(lab):
        raise Failed("not decrypted: the client saw the server's own certificate")


def _download(lab, address, *options):
    source = _random_file(lab.nginx.folder / "files" / "100m")
    target = lab.folder / "downloaded"
    began = time.monotonic()
    seen = lab.client.curl(WWW, address, *options, path="/files/100m", out=target, timeout=60)
    took = time.monotonic() - began
    intercepted(lab, seen)
    if file_hash(target) != file_hash(source):
        raise Failed(f"{target.stat().st_size} of {SIZE} bytes arrived and their hash differs")
    target.unlink()
    return f"100 MB, {SIZE * 8 / took / 1e6:.0f} Mbit/s"


def _upload(lab, address, *options):
    source = _random_file(lab.nginx.folder / "files" / "100m")
    target = lab.nginx.folder / "upload" / "100m"
    target.unlink(missing_ok=True)
    began = time.monotonic()
    seen = lab.client.curl(WWW, address, "-T", source, *options, path="/upload/100m", timeout=60)
    took = time.monotonic() - began
    intercepted(lab, seen)
    if seen.status != 201:
        raise Failed(f"status {seen.status}")
    if file_hash(target) != file_hash(source):
        raise Failed(f"{target.stat().st_size} of {SIZE} bytes arrived and their hash differs")
    return f"100 MB, {SIZE * 8 / took / 1e6:.0f} Mbit/s"


@check("bulk.download-http1")
def download_http1(lab):
    """100 MB down, HTTP/1.1, TLS 1.3"""
    return _download(lab, SERVER4, "--http1.1")


@check("bulk.download-http2")
def download_http2(lab):
    """100 MB down, HTTP/2"""
    return _download(lab, SERVER4, "--http2")


@check("bulk.download-tls12-ipv6")
def download_tls12(lab):
    """100 MB down, TLS 1.2, IPv6"""
    return _download(lab, TLS12[1], "--http1.1")


@check("bulk.upload-http1")
def upload_http1(lab):
    """100 MB up, HTTP/1.1, TLS 1.3"""
    return _upload(lab, SERVER4, "--http1.1")


@check("bulk.upload-http2-ipv6")
def upload_http2(lab):
    """100 MB up, HTTP/2, IPv6"""
    return _upload(lab, SERVER6, "--http2")


@check("bulk.both-ways-at-once")
def both_ways(lab):
    """Four downloads and uploads at the same time, 100 MB each"""
    source = _random_file(lab.nginx.folder / "files" / "100m")
    expected, results = file_hash(source), {}

    def down(number):
        target = lab.folder / f"down-{number}"
        seen = lab.client.curl(WWW, SERVER4, path="/files/100m", out=target, timeout=90)
        results[f"down {number}"] = (seen, file_hash(target) if target.exists() else "nothing")
        target.unlink(missing_ok=True)

    def up(number):
        seen = lab.client.curl(WWW, SERVER4, "-T", source, path=f"/upload/up-{number}", timeout=90)
        target = lab.nginx.folder / "upload" / f"up-{number}"
        results[f"up {number}"] = (seen, file_hash(target) if target.exists() else "nothing")
        target.unlink(missing_ok=True)

    began = time.monotonic()
    threads = [threading.Thread(target=work, args=(number,)) for work in (down, up) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    took = time.monotonic() - began
    if len(results) != 4:
        raise Failed(f"only {sorted(results)} ended")
    for name, (seen, digest) in sorted(results.items()):
        intercepted(lab, seen)
        if digest != expected:
            raise Failed(f"{name}: the hash differs")
    return f"4 x 100 MB, {4 * SIZE * 8 / took / 1e6:.0f} Mbit/s together"
