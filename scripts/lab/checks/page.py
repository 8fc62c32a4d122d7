"""Rules that say block_with = "page": the client reads why, and the server hears nothing."""

from ..capture import Capture
from ..eve import at
from ..hosts import BLOCK_PAGE
from ..net import SERVER4, SERVER6
from ..runner import check
from ..shell import Failed

RULE = "no games"


def _blocked(lab, address, *options, status=403, **more):
    """A request that curl finds answered; the answer, and the flow's id in the log."""
    seen = lab.client.curl(BLOCK_PAGE, address, *options, **more)
    if (seen.exit, seen.status) != (0, status):
        raise Failed(f"curl exit {seen.exit}, status {seen.status}, expected 0 and {status}: {seen.why}")
    if seen.leaf == lab.certificates[BLOCK_PAGE].der:
        raise Failed("the client saw the server's own certificate")
    if lab.nginx.requests(BLOCK_PAGE):
        raise Failed("the request reached the server")
    tls = lab.eve.one("tls", seen.local_port)
    at(tls, "wireglass.action", "block")
    at(tls, "wireglass.rule", RULE)
    at(tls, "wireglass.reason", "policy.block")
    at(tls, "wireglass.minted_serial")
    lab.client.endings[seen.local_port] = ["policy.block"]
    return seen, str(at(tls, "flow_id"))


@check("page.read")
def read(lab):
    """curl reads the page with status 403 over IPv4, IPv6, TLS 1.2 and 1.3, and finds the event's number in it"""
    for address, options in ((SERVER4, ()), (SERVER6, ()), (SERVER4, ("--tls-max", "1.2")), (SERVER4, ("--http1.1",))):
        seen, event = _blocked(lab, address, *options, path="/play?id=7")
        for word in (event, RULE, BLOCK_PAGE, "play?id=7"):
            if word.encode() not in seen.body:
                raise Failed(f"{word} is not on the page: {seen.body[:200]!r}")
        at(lab.eve.one("http", seen.local_port), "http.status", 403)
    return f"{len(seen.body)} bytes, event {event}"


@check("page.head-and-upload")
def head_and_upload(lab):
    """HEAD gets no body; an upload of 3 MB does not take the page away"""
    seen, _ = _blocked(lab, SERVER4, "--head")
    if b"<html" in seen.body:
        raise Failed("HEAD was answered with a body")
    upload = lab.folder / "upload"
    upload.write_bytes(bytes(3_000_000))
    seen, event = _blocked(lab, SERVER4, "--data-binary", f"@{upload}", "-H", "Expect:")
    if event.encode() not in seen.body:
        raise Failed(f"the page is not all there: {len(seen.body)} bytes")
    return f"{len(seen.body)} bytes"


@check("page.server-hears-nothing")
def server_hears_nothing(lab):
    """tcpdump at the server: a handshake of TCP, no byte of data, a RST"""
    port = lab.client.port("curl in a capture")
    lab.client.made.pop()
    with Capture(lab.network.server, "wan", port + 1, lab.folder) as capture:
        seen, _ = _blocked(lab, SERVER4)
        if seen.local_port != port + 1:
            raise Failed("client ports are not handed out in order")
        capture.wait_frames(lambda frames: any(_tcp(frame)[0] & 4 for frame in frames))
    flags, payloads = zip(*map(_tcp, capture.frames()))
    if any(payloads) or not flags[0] & 2:
        raise Failed(f"{sum(payloads)} bytes of data at the server, flags {flags}")
    return f"{len(flags)} segments"


def _tcp(frame):
    """Flags of TCP, and bytes of payload, of an untagged frame over IPv4."""
    ip = frame[14:]
    total, header = int.from_bytes(ip[2:4], "big"), (ip[0] & 15) * 4
    tcp = ip[header:total]
    return tcp[13], len(tcp) - (tcp[12] >> 4) * 4
