"""Captures with secrets: what tshark reads in them."""

import json
import time

from ..hosts import BYPASS, WWW
from ..ids import tshark
from ..net import SERVER4, SERVER6
from ..own_engine import need_engine, own_engine
from ..runner import check
from ..shell import Failed, run
from .fetch import fetched

_PATHS = ("/number/7", "/number/8", "/number/9")
# Plaintext, then the ports of the wire.
_PLAINTEXT, _INSIDE, _OUTSIDE = range(3)


def _part(file, interface):
    """What one interface has of a capture: all of them have the same addresses, ports and numbers."""
    part = file.with_name(f"{file.stem}-{interface}.pcapng")
    run(["tshark", "-r", file, "-Y", f"frame.interface_id == {interface}", "-w", part], timeout=60)
    return part


def _requests(file, *options):
    http1 = tshark(file, "http.request", "http.request.uri", options=options)
    http2 = tshark(file, "http2.headers.path", "http2.headers.path", options=options)
    return sorted(row[0] for row in http1 + http2)


def _in_plain(file):
    """In clear text at port 443, where tshark takes it for TLS: each connection is of one version."""
    as_http1 = tshark(file, "http.request", "http.request.uri", options=("-d", "tcp.port==443,http"))
    as_http2 = tshark(file, "http2.headers.path", "http2.headers.path", options=("-d", "tcp.port==443,http2"))
    return sorted(row[0] for row in as_http1 + as_http2)


def _ask(lab, *options):
    for version in ("--http1.1", "--http2"):
        for path in _PATHS:
            for address in (SERVER4, SERVER6):
                fetched(lab, address, version, *options, path=path, expect=b"number ")


@check("capture.tshark", group="alone")
def by_tshark(lab):
    """tshark opens both legs of a capture, TLS 1.3 and 1.2, HTTP/1 and HTTP/2; the plaintext beside them is the same"""
    need_engine(lab)
    folder, keylog = lab.folder / "captured", lab.folder / "captured.keys"
    folder.mkdir()
    lines = f'[capture]\nfolder = "{folder}"\nkeylog = "{keylog}"\nminutes = 5\n'
    with own_engine(lab, "capture", wire=lines) as engine:
        _ask(lab)
        _ask(lab, "--tls-max", "1.2")
        bypassed = lab.client.curl(BYPASS, SERVER4)
        if bypassed.exit != 0:
            raise Failed(f"curl exit {bypassed.exit}: {bypassed.why}")
        time.sleep(1)
    (file,) = folder.iterdir()
    for secret in (file, keylog):
        if secret.stat().st_mode & 0o777 != 0o600:
            raise Failed(f"{secret.name} has mode {secret.stat().st_mode:o}")
    asked = sorted(8 * list(_PATHS))
    seen = {"inside": _requests(_part(file, _INSIDE)), "outside": _requests(_part(file, _OUTSIDE)),
            "in plain": _in_plain(_part(file, _PLAINTEXT))}
    for where, requests in seen.items():
        if requests != asked:
            raise Failed(f"{where}: {len(requests)} requests of {len(asked)}")
    if tshark(file, f'tls.handshake.extensions_server_name == "{BYPASS}"'):
        raise Failed("a bypassed flow is in it")
    keys = tshark(_part(file, _INSIDE), "http2.headers.path", "frame.number", options=("-o", f"tls.keylog_file:{keylog}"))
    steps = [event["wireglass"] for event in engine.eve.events() if event["event_type"] == "capture"]
    if [step["capture"] for step in steps] != ["started", "stopped"] or steps[0]["configuration"] != str(engine.config):
        raise Failed(f"events: {json.dumps(steps)}")
    if "capture started" not in engine.log.read_text():
        raise Failed("no message says so")
    return f"{len(asked)} requests on each leg and in plain, {len(keys)} of HTTP/2 by the key log; host {WWW}"
