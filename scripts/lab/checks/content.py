"""Rules on content, in HTTP/1: each request for itself, and the server never sees a blocked one."""

import re
import time

from ..content import LISTED, blocked, logged, unseen
from ..eve import at
from ..hosts import WWW
from ..net import SERVER4
from ..peers import Peer, read_request
from ..runner import check
from ..shell import Failed
from .events import metrics
from .fetch import fetched


@check("content.page", "content")
def page(lab):
    """GET of a blocked path: 403 with the event's number, which the log has; the server saw nothing"""
    seen = lab.client.curl(WWW, SERVER4, "--http1.1", path="/number/40")
    alert = blocked(lab, seen, "no forties")
    unseen(lab, "/number/40")
    http = lab.eve.one("http", seen.local_port)
    at(http, "wireglass.verdict", "block")
    at(http, "wireglass.rule", "no forties")
    at(http, "http.status", 403)
    return f"event {at(alert, 'wireglass.event')}"


@check("content.allowed", "content")
def allowed(lab):
    """What no rule names is served as ever, on the same connection before and after"""
    fetched(lab, SERVER4, "--http1.1", path="/number/3", expect=b"number 3")


@check("content.list", "content")
def by_list(lab):
    """A host on a list, read from a hosts file"""
    blocked(lab, lab.client.curl(LISTED, SERVER4, "--http1.1"), "no ads")


@check("content.alert", "content")
def told(lab):
    """action = "alert": it is served, and told"""
    seen = fetched(lab, SERVER4, "--http1.1", path="/number/80", expect=b"number 80")
    logged(lab, seen.local_port, "eighties are told", "content.alerted", "allowed")
    at(lab.eve.one("http", seen.local_port), "wireglass.verdict", "alert")


@check("content.respond", "content")
def respond(lab):
    """respond: a reset, a status, a redirect"""
    seen = lab.client.curl(WWW, SERVER4, "--http1.1", path="/number/50")
    if seen.exit not in (52, 56):
        raise Failed(f"reset: curl exit {seen.exit}, status {seen.status}")
    logged(lab, seen.local_port, "fifties are reset")
    blocked(lab, lab.client.curl(WWW, SERVER4, "--http1.1", path="/number/60"), "sixties have a status", 451)
    seen = lab.client.curl(WWW, SERVER4, "--http1.1", path="/number/70")
    blocked(lab, seen, "seventies go elsewhere", 302)
    if seen.info.get("redirect_url") != f"https://{WWW}/number/1":
        raise Failed(f"redirect to {seen.info.get('redirect_url')}")
    for path in ("/number/5", "/number/6", "/number/7"):
        unseen(lab, path)


@check("content.counted", "content")
def counted(lab):
    """The metrics count by rule what the log has of alerts, and connections by [[rule]]"""
    def series(name, rule, action):
        return f'wireglass_{name}_total{{rule="{rule}",action="{action}"}}'
    forties = series("content_rule_messages", "no forties", "block")
    eighties = series("content_rule_messages", "eighties are told", "alert")
    rest = series("rule_connections", "all the rest", "decrypt")
    before = metrics(lab)
    for number in (43, 80, 44, 2):
        lab.client.curl(WWW, SERVER4, path=f"/number/{number}")
    after = metrics(lab)
    grown = [int(after[name] - before[name]) for name in (forties, eighties, rest)]
    if grown != [2, 1, 4]:
        raise Failed(f"counted {grown}, expected 2 blocked, 1 told, 4 connections")


@check("content.head", "content")
def head(lab):
    """HEAD: 403 without a body"""
    seen = lab.client.curl(WWW, SERVER4, "--http1.1", "--head", "-o", "/dev/null", path="/number/41")
    blocked(lab, seen, "no forties")


@check("content.pipeline", "content")
def pipeline(lab):
    """Four requests at once, the third is blocked: two answers, the page in its turn, close; the server saw two"""
    tls, _port = lab.client.tls(WWW, SERVER4)
    tls.sendall(b"".join(f"GET /number/{number} HTTP/1.1\r\nHost: {WWW}\r\n\r\n".encode() for number in (11, 12, 42, 13)))
    said = _to_the_end(tls)
    answers = re.findall(rb"HTTP/1.1 (\d+)", said)
    if answers != [b"200", b"200", b"403"]:
        raise Failed(f"answers {answers}")
    if not said.index(b"number 11") < said.index(b"number 12") < said.index(b"HTTP/1.1 403"):
        raise Failed("not in the order of the requests")
    if b"connection: close" not in said.lower():
        raise Failed("no Connection: close")
    unseen(lab, "/number/42")
    unseen(lab, "/number/13")


@check("content.upload", "content")
def upload(lab):
    """Uploads of 40 kB, 300 kB and 5 MB to a blocked path: curl has the page, whatever it sends; the server saw nothing"""
    outcomes = []
    for size in (40_000, 300_000, 5_000_000):
        body = lab.folder / f"upload-{size}"
        body.write_bytes(b"x" * size)
        seen = lab.client.curl(WWW, SERVER4, "--http1.1", "-H", "Expect:", "--data-binary", f"@{body}", path="/upload/blocked/file")
        if seen.status != 403:
            raise Failed(f"{size} bytes: status {seen.status}, exit {seen.exit}: {seen.why}")
        logged(lab, seen.local_port, "no uploads")
        outcomes.append(f"{size}: exit {seen.exit}")
    unseen(lab, "/upload/blocked")
    return ", ".join(outcomes)


@check("content.expect", "content")
def expect(lab):
    """Expect: 100-continue: 403 at once, nothing is uploaded"""
    body = lab.folder / "upload-expect"
    body.write_bytes(b"x" * 2_000_000)
    seen = lab.client.curl(WWW, SERVER4, "--http1.1", "-H", "Expect: 100-continue", "-T", body, path="/upload/blocked/file")
    blocked(lab, seen, "no uploads")
    if float(seen.info["time_total"]) > 0.9 or int(seen.info["size_upload"]) > 0:
        raise Failed(f"{seen.info['time_total']} s, {seen.info['size_upload']} bytes uploaded")


@check("content.response", "content")
def response(lab):
    """A response of a blocked type: the page in its place, and not a byte of it"""
    _executable(lab)
    seen = lab.client.curl(WWW, SERVER4, "--http1.1", path="/files/setup.exe")
    blocked(lab, seen, "no executables")
    if b"MZ" in seen.body[:2]:
        raise Failed("the file's bytes are in the page")


@check("content.wget", "content")
def wget(lab):
    """wget: served, and refused with exit 8"""
    lab.network.client.knows(WWW, SERVER4)
    for path, status in (("/number/2", 0), ("/number/43", 8)):
        done = lab.network.client.run("wget", "-q", "-O", "-", f"--ca-certificate={lab.trust}", "--tries=1", f"https://{WWW}{path}",
                                      check=False)
        if done.returncode != status:
            raise Failed(f"{path}: wget exit {done.returncode}, expected {status}: {done.stderr.decode()[-200:]}")


@check("content.header", "content")
def header(lab):
    """[[header]]: one is set, one is removed, the rest is as it was sent, to the byte"""
    heads = []

    def serve(connection, _peer):
        heads.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    with Peer(lab.network, serve, lab.certificates[WWW]) as peer:
        tls, _port = lab.client.tls(WWW, peer.address)
        tls.sendall(f"GET / HTTP/1.1\r\nhOst:   {WWW}\r\nX-Secret: 1\r\nx-tenant: none\r\nAccept:*/*\r\n\r\n".encode())
        if not _to_the_end(tls).endswith(b"ok"):
            raise Failed("not served")
    lines = heads[0].split(b"\r\n")
    lowered = [line.lower() for line in lines]
    if any(line.startswith(b"x-secret") for line in lowered) or b"x-tenant: none" in lowered:
        raise Failed(f"not removed: {lines}")
    if [line for line in lowered if line.startswith(b"x-tenant:")] != [b"x-tenant: lab"]:
        raise Failed(f"not set: {lines}")
    if f"hOst:   {WWW}".encode() not in lines or b"Accept:*/*" not in lines:
        raise Failed(f"the others were changed: {lines}")


@check("content.identical", "content")
def identical(lab):
    """Where no rule touches it, what the server gets is what the client sent, and back, to the byte"""
    other = "shop.wild.lab.test"
    request = (f"POST /a?b=%41 HTTP/1.1\r\nHost:{other} \r\nX:  1\r\nx: 2\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n"
               "5;ext=1\r\nhello\r\n00003\r\nyou\r\n0\r\nT: 1\r\n\r\n").encode()
    answer = (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200  Fine \r\nX:\t1\r\nTransfer-Encoding: chunked\r\n\r\n"
              b"2\r\nok\r\n0\r\n\r\n")
    got = []

    def serve(connection, _peer):
        said = b""
        while len(said) < len(request):
            said += connection.recv(65536)
        got.append(said)
        connection.sendall(answer)
    with Peer(lab.network, serve, lab.certificates[WWW]) as peer:
        tls, _port = lab.client.tls(other, peer.address)
        for at_byte in range(0, len(request), 7):
            tls.sendall(request[at_byte:at_byte + 7])
            time.sleep(0.002)
        back = _to_the_end(tls)
    if got != [request] or back != answer:
        raise Failed(f"to the server {got!r}, to the client {back!r}")


def _executable(lab):
    path = lab.nginx.folder / "files" / "setup.exe"
    if not path.exists():
        path.write_bytes(b"MZ" + bytes(3_000_000))


def _to_the_end(tls):
    said = b""
    try:
        while piece := tls.recv(65536):
            said += piece
    except OSError as ended:
        raise Failed(f"after {said[:200]!r}: {ended}") from ended
    return said
