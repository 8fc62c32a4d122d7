"""Rules on the types of files: what nginx serves goes by its first bytes, in HTTP/1 and HTTP/2, as it is and in gzip."""

import io
import struct
import time
import zipfile
from pathlib import Path

from ..content import blocked
from ..hosts import WWW
from ..net import SERVER4
from ..runner import check
from ..shell import Failed

_VERSIONS = ("--http1.1", "--http2")


def _archive(*names):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, f"<x>{name}</x>" * 50)
    return out.getvalue()


def _program():
    head = b"MZ" + bytes(58) + struct.pack("<I", 0x80) + bytes(0x40)
    return head + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22) + bytes(300_000)


# By the name under which nginx serves it, which says nothing.
_BLOCKED = {
    "elf": Path("/bin/true").read_bytes,
    "exe": _program,
    "zip": lambda: _archive("notes.txt"),
    "docx": lambda: _archive("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
}
_SERVED = {
    "text": lambda: b"a line of text\n" * 20_000,
    "short": lambda: b"MZ",
    "empty": lambda: b"",
    "html": lambda: b"<!DOCTYPE html><title>t</title>",
    "zeros": lambda: bytes(1_000_000),
}


def _serve(lab, kind, make):
    path = lab.nginx.folder / "files" / f"typed-{kind}"
    if not path.exists():
        path.write_bytes(make())
    return path.read_bytes()


@check("content-files.blocked", "content")
def blocked_types(lab):
    """An ELF, an EXE, a ZIP and a DOCX with names that say nothing: the page, in both versions, as they are and in gzip"""
    for kind, make in _BLOCKED.items():
        _serve(lab, kind, make)
        for version in _VERSIONS:
            for folder in ("files", "packed"):
                seen = lab.client.curl(WWW, SERVER4, version, "--compressed", path=f"/{folder}/typed-{kind}")
                blocked(lab, seen, "no typed files")


@check("content-files.served", "content")
def served_types(lab):
    """Other types arrive as they are, byte for byte, soon"""
    slowest = 0
    for kind, make in _SERVED.items():
        body = _serve(lab, kind, make)
        for version in _VERSIONS:
            for folder in ("files", "packed"):
                began = time.monotonic()
                seen = lab.client.curl(WWW, SERVER4, version, "--compressed", path=f"/{folder}/typed-{kind}")
                slowest = max(slowest, time.monotonic() - began)
                if seen.exit != 0 or seen.status != 200 or seen.body != body:
                    raise Failed(f"{kind} {version} {folder}: exit {seen.exit}, status {seen.status}, {len(seen.body)} bytes of {len(body)}")
    return f"slowest {slowest * 1000:.0f} ms"
