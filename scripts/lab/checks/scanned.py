"""Bodies that an ICAP server is asked about: c-icap with ClamAV, as Debian has them."""

import re
import signal
import threading
import time

from ..content import CONNECTIONS, blocked, logged
from ..eve import at
from ..hosts import RULES, WWW
from ..net import SERVER4
from ..own_engine import need_engine, own_engine
from ..peers import Peer, read_request
from ..runner import check
from ..scanner import EICAR, MARKER, PORT, Scanner
from ..shell import Failed, run
from .content_uploads import arrives, put

_CONTENT = """
[icap.av]
respmod = "icap://127.0.0.1:{port}/avscan"
reqmod = "icap://127.0.0.1:{port}/avscan"
max_bytes = 8000000
timeout_ms = {timeout}

[content]
timeout_seconds = 20

[[content.rule]]
name = "antivirus of uploads"
direction = "request"
inspect = ["icap.av"]
hold = "all"
action = "inspect"

[[content.rule]]
name = "antivirus"
inspect = ["icap.av"]
hold = "all"
action = "inspect"
"""
_VERSIONS = ("--http1.1", "--http2")
_UPLOADS = (("--http1.1",), ("--http1.1", "-H", "Transfer-Encoding: chunked"), ("--http2",))


def _engine(lab, name, port=PORT, timeout=10_000):
    return own_engine(lab, name, rules=CONNECTIONS + RULES + _CONTENT.format(port=port, timeout=timeout))


def _file(lab, name, body):
    (lab.nginx.folder / "files" / name).write_bytes(body)


def _served(lab, name, body):
    for version in _VERSIONS:
        seen = lab.client.curl(WWW, SERVER4, version, path=f"/files/{name}")
        if seen.exit != 0 or seen.status != 200 or seen.body != body:
            raise Failed(f"{name} {version}: exit {seen.exit}, status {seen.status}, {len(seen.body)} bytes of {len(body)}")


def _refused(lab, name, reason):
    for version in _VERSIONS:
        seen = lab.client.curl(WWW, SERVER4, version, path=f"/files/{name}")
        if seen.exit != 0 or seen.status != 403:
            raise Failed(f"{name} {version}: exit {seen.exit}, status {seen.status}")
        logged(lab, seen.local_port, None, reason)


def _metrics(lab):
    """The page, which promtool has nothing to say about, as the values of `wireglass_icap_...`."""
    page = lab.network.middle.run("curl", "-s", "http://127.0.0.1:9464/metrics").stdout
    done = run(["promtool", "check", "metrics"], stdin=page, check=False)
    if done.returncode != 0 or done.stdout + done.stderr:
        raise Failed(f"promtool: {(done.stdout + done.stderr).decode()}")
    lines = (line.rsplit(" ", 1) for line in page.decode().splitlines() if line.startswith("wireglass_icap_"))
    return {name.removeprefix("wireglass_icap_"): float(value) for name, value in lines}


def _response(family, more=""):
    return f'{family}{{server="icap.av",service="respmod"{more}}}'


@check("icap.clamav", group="alone")
def by_clamav(lab):
    """c-icap with ClamAV: EICAR plain and in gzip, malware at the end of 1, 3 and 6 MB: the page, with its name; clean files arrive"""
    need_engine(lab)
    malware = {"eicar": EICAR} | {f"malware-{mb}": bytes(range(256)) * 4000 * mb + MARKER for mb in (1, 3, 6)}
    clean = {f"clean-{mb}": bytes(range(256)) * 4000 * mb for mb in (0, 1, 6)}
    for name, body in (malware | clean).items():
        _file(lab, name, body)
    slowest = 0
    with Scanner(lab, lab.folder / "scanner").running(), _engine(lab, "icap"):
        for name in malware:
            for version in _VERSIONS:
                for folder in ("files", "packed"):
                    began = time.monotonic()
                    seen = lab.client.curl(WWW, SERVER4, version, "--compressed", path=f"/{folder}/{name}")
                    slowest = max(slowest, time.monotonic() - began)
                    alert = blocked(lab, seen, "antivirus")
                    at(alert, "wireglass.found.by", "icap.av")
                    if MARKER in seen.body or EICAR in seen.body:
                        raise Failed("what was found is in the page")
        for name, body in clean.items():
            _served(lab, name, body)
        metrics = _metrics(lab)
    asked = {outcome: metrics[_response("requests_total", f',outcome="{outcome}"')] for outcome in ("modified", "unmodified")}
    # Nobody is asked about the file without a byte.
    expected = {"modified": 4.0 * len(malware), "unmodified": 2.0 * (len(clean) - 1)}
    found = [metrics[_response("up")], metrics[_response("probes_total", ',outcome="found"')],
             metrics[_response("request_duration_seconds_count")]]
    if asked != expected or found != [1, 1, sum(expected.values())]:
        raise Failed(f"metrics: {asked}, expected {expected}; up, probes and times: {found}")
    return f"slowest {slowest * 1000:.0f} ms, counted {sum(asked.values()):.0f}"


@check("icap.uploads", group="alone")
def uploads(lab):
    """REQMOD by c-icap: EICAR and malware at the end of 1 and 3 MB go up, plain, chunked and in HTTP/2, the latter in a form, too: the page; clean files arrive"""
    need_engine(lab)
    malware = {"eicar": EICAR} | {f"up-{mb}": bytes(range(256)) * 4000 * mb + MARKER for mb in (1, 3)}
    clean = {f"up-clean-{mb}": bytes(range(256)) * 4000 * mb for mb in (0, 1, 3)}
    scanner = Scanner(lab, lab.folder / "scanner-uploads")
    with scanner.running(), _engine(lab, "icap-uploads"):
        for options in _UPLOADS:
            for name, body in malware.items():
                seen, target = put(lab, name, body, *options)
                alert = blocked(lab, seen, "antivirus of uploads")
                at(alert, "wireglass.found.by", "icap.av")
                if target.exists():
                    raise Failed(f"{name} {options}: it is at the server")
            for name, body in clean.items():
                # Of nothing, curl 7.88 sends no last chunk.
                if body or "Transfer-Encoding: chunked" not in options:
                    arrives(lab, name, body, *options)
        # EICAR is known by the hash of a whole file here, which a form is not. In HTTP/2 nginx refuses a POST before the form has come.
        form = f"file=@{lab.folder / 'upload-up-1'}"
        blocked(lab, lab.client.curl(WWW, SERVER4, "--http1.1", "-F", form, path="/upload/form"), "antivirus of uploads")
        # The refusal arrives, and what tells the client to stop behind it: curl 7.88 takes both in one read for an error.
        lab.network.client.knows(WWW, SERVER4)
        source = lab.folder / "upload-up-clean-1"
        done = lab.network.client.run("nghttp", "-v", "-n", "-d", source, f"https://{WWW}/upload/form", check=False, timeout=30)
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace"))
        came = re.findall(r":status: (\d+)|recv (RST_STREAM) frame|error_code=(\w+)", said)
        if [next(filter(None, each)) for each in came][:3] != ["404", "RST_STREAM", "NO_ERROR"]:
            raise Failed(f"a form that nginx refuses: {came}: {said[-300:]}")
        scanner.stop(signal.SIGKILL)
        for version in _VERSIONS:
            seen, target = put(lab, "up-clean-1", clean["up-clean-1"], version)
            if seen.status != 403 or target.exists():
                raise Failed(f"no server {version}: exit {seen.exit}, status {seen.status}")
            logged(lab, seen.local_port, None, "icap.down")
        scanner.start()
        arrives(lab, "up-clean-1", clean["up-clean-1"], "--http2")


@check("icap.killed", group="alone")
def killed(lab):
    """The server is killed while it is asked, is away, and comes back: content.on_icap, and then files arrive again"""
    need_engine(lab)
    body = bytes(range(256)) * 20_000
    _file(lab, "icap-long", body)
    scanner = Scanner(lab, lab.folder / "scanner-killed")
    with scanner.running(), _engine(lab, "icap-killed"):
        _served(lab, "icap-long", body)
        # With the scanner stopped c-icap waits for it, and is asked when it is killed.
        scanner.clamd.popen.send_signal(signal.SIGSTOP)
        try:
            asking = threading.Timer(1, lambda: scanner.stop(signal.SIGKILL))
            asking.start()
            seen = lab.client.curl(WWW, SERVER4, "--http1.1", path="/files/icap-long")
            asking.join()
        finally:
            scanner.clamd.popen.send_signal(signal.SIGCONT)
        if seen.exit != 0 or seen.status != 403:
            raise Failed(f"killed: exit {seen.exit}, status {seen.status}")
        logged(lab, seen.local_port, None, "icap.down")
        _refused(lab, "icap-long", "icap.down")
        metrics = _metrics(lab)
        up = metrics[_response("up")]
        unanswered = [metrics[_response("requests_total", f',outcome="{outcome}"')] for outcome in ("down", "timeout")]
        if up != 0 or sum(unanswered) != 3 or unanswered[0] < 2:
            raise Failed(f"metrics of a server that is gone: up {up}, down and timeout {unanswered}")
        scanner.start()
        _served(lab, "icap-long", body)


@check("icap.wrong", group="alone")
def wrong(lab):
    """Servers that are silent, slow, or speak another protocol: each is answered by content.on_icap in time"""
    need_engine(lab)
    _file(lab, "asked", b"what is asked about\n" * 100)

    def silent(connection, _peer):
        time.sleep(30)

    def slow(connection, _peer):
        read_request(connection)
        for byte in b"ICAP/1.0 204 No Content\r\n" * 100:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    def other(connection, _peer):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        time.sleep(1)
    for port, (serve, reason) in enumerate(((silent, "icap.down"), (slow, "icap.down"), (other, "icap.protocol")), PORT + 1):
        lab.network.middle.ip("link", "set", "lo", "up")
        with Peer(lab.network, serve, place=(lab.network.middle, "127.0.0.1", port)), \
                _engine(lab, f"icap-{serve.__name__}", port=port, timeout=1000):
            began = time.monotonic()
            _refused(lab, "asked", reason)
            if time.monotonic() - began > 8:
                raise Failed(f"{serve.__name__}: {time.monotonic() - began:.1f} s for two requests")
