"""Rules on content, in HTTP/2: the stream gets the page, all others live on, and both ends' tables stay in step."""

import concurrent.futures
import re
from pathlib import Path

from ..clients import TAKES_ANY, chromium
from ..content import blocked, unseen
from ..hosts import WWW
from ..net import SERVER4
from ..runner import check
from ..shell import Failed, Process, wait_for

_GOOD, _BAD = "/number/21", "/number/44"


@check("content-http2.page", "content")
def page(lab):
    """curl: 403 with the event's number; the server saw nothing"""
    blocked(lab, lab.client.curl(WWW, SERVER4, "--http2", path=_BAD), "no forties")
    unseen(lab, _BAD)


@check("content-http2.respond", "content")
def respond(lab):
    """respond: the stream is reset, a status, a redirect; HEAD has no body"""
    seen = lab.client.curl(WWW, SERVER4, "--http2", path="/number/51")
    if seen.exit != 92:
        raise Failed(f"reset: curl exit {seen.exit}, expected 92 (stream error)")
    blocked(lab, lab.client.curl(WWW, SERVER4, "--http2", path="/number/61"), "sixties have a status", 451)
    blocked(lab, lab.client.curl(WWW, SERVER4, "--http2", path="/number/71"), "seventies go elsewhere", 302)
    seen = lab.client.curl(WWW, SERVER4, "--http2", "--head", "-o", "/dev/null", path="/number/45")
    blocked(lab, seen, "no forties")


@check("content-http2.upload", "content")
def upload(lab):
    """Uploads of 40 kB, 300 kB and 5 MB to a blocked path: curl has the page and no error"""
    for size in (40_000, 300_000, 5_000_000):
        body = lab.folder / f"upload2-{size}"
        body.write_bytes(b"x" * size)
        seen = lab.client.curl(WWW, SERVER4, "--http2", "-H", "Expect:", "--data-binary", f"@{body}", path="/upload/blocked/file")
        blocked(lab, seen, "no uploads")
    unseen(lab, "/upload/blocked")


@check("content-http2.response", "content")
def response(lab):
    """A response of a blocked type: the page in its place; a good one on the same connection before and after"""
    path = lab.nginx.folder / "files" / "setup.exe"
    if not path.exists():
        path.write_bytes(b"MZ" + bytes(3_000_000))
    blocked(lab, lab.client.curl(WWW, SERVER4, "--http2", path="/files/setup.exe"), "no executables")
    statuses = nghttp(lab, SERVER4, _GOOD, "/files/setup.exe", "/number/22", "/files/setup.exe?again", "/number/23")
    if statuses != [200, 403, 200, 403, 200]:
        raise Failed(f"statuses {statuses}")


@check("content-http2.first", "content")
def first(lab):
    """nghttp: the blocked request is the first of the connection, others follow: all others 200, on nginx and nghttpd"""
    paths = [_BAD, _GOOD, "/number/46", "/number/24", "/number/25"]
    with Nghttpd(lab) as address:
        for server in (SERVER4, address):
            statuses = nghttp(lab, server, *paths)
            if statuses != [403, 200, 403, 200, 200]:
                raise Failed(f"{server}: statuses {statuses}")


@check("content-http2.h2load", "content")
def h2load(lab):
    """h2load, a third blocked, 1 and 20 streams at once, small and large windows, on nginx and nghttpd: every stream has its answer"""
    said = []
    with Nghttpd(lab) as address:
        for server in (SERVER4, address):
            for streams, windows in ((1, ()), (20, ()), (20, ("-w", 16, "-W", 16)), (20, ("--header-table-size=0",)),
                                     (20, ("--encoder-header-table-size=0",))):
                done = run_h2load(lab, server, 90, streams, windows)
                if done != (60, 30, 0):
                    raise Failed(f"{server} -m {streams} {windows}: {done} of (2xx, 4xx, no answer), expected (60, 30, 0)")
                said.append(done)
    return f"{len(said)} runs of 90 streams"


@check("content-http2.many", "content")
def many(lab):
    """900 and 2,500 requests on one connection that are blocked at their response: each has its page, no server takes it for an attack"""
    with Nghttpd(lab) as address:
        # nginx ends each connection after 1,000 requests.
        for server, requests in ((SERVER4, 900), (address, 2500)):
            done = run_h2load(lab, server, requests, 50, (), ("/lab.Echo/Secret",))
            if done != (0, requests, 0):
                raise Failed(f"{server}: {done} of (2xx, 4xx, no answer), expected (0, {requests}, 0)")


@check("content-http2.download", "content")
def beside_a_download(lab):
    """20 blocked requests beside a download of 30 MB on the same connection, with windows of 64 KiB: the download is whole"""
    path = lab.nginx.folder / "files" / "large"
    path.write_bytes(bytes(range(256)) * 120_000)
    urls = ["/files/large"] + [f"/number/4{number:02}" for number in range(20)] + [_GOOD]
    statuses = nghttp(lab, SERVER4, *urls, options=("-w", 16, "-W", 16))
    if statuses != [200] + [403] * 20 + [200]:
        raise Failed(f"statuses {statuses}")


@check("content-http2.parallel", "content")
def parallel(lab):
    """curl --parallel over one connection, a half blocked"""
    urls = [f"https://{WWW}/number/{number}" for number in (31, 401, 32, 402, 33, 403, 34, 404)]
    port = lab.client.port("curl parallel")
    done = lab.network.client.run("curl", "-sS", "--http2", "--parallel", "--cacert", lab.trust, "--local-port", port,
                                  "--max-time", 15, "--resolve", f"{WWW}:443:{SERVER4}", "-w", "%{http_code}\n",
                                  *sum((["-o", "/dev/null", url] for url in urls), []), check=False)
    codes = sorted(done.stdout.decode().split())
    if done.returncode or codes != ["200"] * 4 + ["403"] * 4:
        raise Failed(f"exit {done.returncode}, statuses {codes}: {done.stderr.decode()[-200:]}")


@check("content-http2.grpc", "content")
def grpc_calls(lab):
    """gRPC: a blocked method has status 7, the others go on: unary, and streams in both directions"""
    import grpc

    def plain(value):
        return value
    handlers = grpc.method_handlers_generic_handler("lab.Echo", {
        "Say": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
        "Secret": grpc.unary_unary_rpc_method_handler(lambda request, _: b"secret"),
        "Chat": grpc.stream_stream_rpc_method_handler(lambda requests, _: (request for request in requests)),
    })
    address = lab.network.new_server_address()
    certificate = lab.certificates[WWW]
    with lab.network.server.entered():
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[handlers])
        pair = (certificate.key.read_bytes(), certificate.chain.read_bytes())
        server.add_secure_port(f"{address}:443", grpc.ssl_server_credentials([pair]))
        server.start()
    # gRPC's threads would open the connection in whatever namespace they are: a process of its own does not.
    try:
        script = Path(__file__).parent.parent / "grpc_client.py"
        done = lab.network.client.run("/usr/bin/python3", script, address, WWW, lab.trust, check=False, timeout=30)
        if done.returncode:
            raise Failed(done.stderr.decode()[-400:])
        return done.stdout.decode().strip()
    finally:
        server.stop(None)


@check("content-http2.chromium", "content")
def in_chromium(lab):
    """Headless Chromium shows the page, inside the decrypted connection"""
    dom = chromium(lab, f"https://{WWW}/number/47", *TAKES_ANY, resolver=f"MAP {WWW} {SERVER4}")
    if "no forties" not in dom:
        raise Failed(f"page {dom[:300]!r}")
    unseen(lab, "/number/47")


class Nghttpd:
    """nghttpd on an address of its own, which serves what nginx does."""

    def __init__(self, lab):
        self.lab = lab
        self.address = lab.network.new_server_address()

    def __enter__(self):
        lab, certificate = self.lab, self.lab.certificates[WWW]
        root = lab.folder / "nghttpd"
        (root / "number").mkdir(parents=True, exist_ok=True)
        for number in (21, 24, 25, 44, 46):
            (root / "number" / str(number)).write_text(f"number {number}\n")
        argv = lab.network.server.argv("nghttpd", "-a", self.address, "-d", root, 443, certificate.key, certificate.chain)
        self.process = Process(argv, lab.folder / "nghttpd.log", "nghttpd")
        wait_for(lambda: f"{self.address}:443".encode() in lab.network.server.run("ss", "-Htln").stdout, 5, "nghttpd")
        return self.address

    def __exit__(self, *_):
        self.process.stop()


def nghttp(lab, address, *paths, options=()):
    """The statuses of the paths on one connection, in their order."""
    lab.network.client.knows(WWW, address)
    urls = [f"https://{WWW}{path}" for path in paths]
    done = lab.network.client.run("nghttp", "-v", "-n", "--no-dep", *options, *urls, check=False, timeout=40)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace"))
    if "GOAWAY" in said and "NO_ERROR" not in said:
        raise Failed(f"GOAWAY: {said[said.index('GOAWAY'):][:200]}")
    asked = re.findall(r"send HEADERS frame <[^>]*stream_id=(\d+)>[^\[]*?:path: (\S+)", said)
    statuses = dict(re.findall(r"\(stream_id=(\d+)\) :status: (\d+)", said))
    missing = [path for stream, path in asked if stream not in statuses]
    if len(asked) != len(paths) or missing:
        raise Failed(f"{len(asked)} requests, no answer to {missing}: {said[-300:]}")
    return [int(statuses[stream]) for stream, _ in sorted(asked, key=lambda each: int(each[0]))]


def run_h2load(lab, address, requests, streams, windows, paths=(_BAD, _GOOD, "/number/24")):
    """(2xx, 4xx, without an answer) of a run that asks for these in turn: of the first ones every third is blocked."""
    lab.network.client.knows(WWW, address)
    urls = lab.folder / "urls"
    urls.write_text("".join(f"https://{WWW}{path}\n" for path in paths))
    ran = lab.network.client.run("h2load", "-n", requests, "-c", 1, "-m", streams, *windows, "-i", urls,
                                  check=False, timeout=60)
    said = ran.stdout.decode()
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    # To h2load every 4xx has failed.
    done = re.search(r"(\d+) done, .* (\d+) errored", said)
    if not codes or not done:
        raise Failed(f"h2load: {said[-300:]} {ran.stderr.decode()[-200:]}")
    return int(codes[1]), int(codes[3]), requests - int(done[1]) + int(done[2])
