"""QUIC by name: what rules bypass keeps it, all else is told at once that there is only TCP."""

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path

from ..clients import chromium
from ..eve import at
from ..hosts import BLOCK_ALERT, BYPASS, WWW
from ..net import SERVER4, SERVER6
from ..own_engine import need_engine, own_engine
from ..runner import check
from ..shell import Failed, Process, run

# scripts/setup.sh puts it there.
_PYTHON = Path(os.environ.get("CARGO_HOME", "~/.cargo")).expanduser() / "wireglass-tools/aioquic/bin/python"
_PROGRAM = Path(__file__).parent.parent / "quic_end.py"
_NOBODY_ANSWERS = 3


@contextlib.contextmanager
def _server(lab, address, host, *options):
    if not _PYTHON.exists():
        raise Failed(f"no aioquic in {_PYTHON.parent.parent}: run scripts/setup.sh")
    certificate = lab.certificates[host]
    argv = lab.network.server.argv(_PYTHON, _PROGRAM, "serve", address, certificate.chain, certificate.key, *options)
    process = Process(argv, lab.folder / "quic-server.log", "aioquic")
    try:
        process.wait_text("serving", 10)
        yield
    finally:
        process.stop()


def _get(lab, address, host, version="1", protocols=0):
    """The client's exit status."""
    argv = [_PYTHON, _PROGRAM, "get", address, host, lab.root.cert, version, protocols]
    return lab.network.client.run(*argv, check=False, timeout=20).returncode


def _told(engine, kind, host):
    """The events that name this host."""
    return [event for event in engine.eve.events() if event["event_type"] == kind and event.get("quic", {}).get("sni") == host]


@check("quic.by-name", group="alone")
def by_name(lab):
    """A bypassed name keeps QUIC (aioquic: versions 1 and 2, IPv4 and IPv6, a hello in three packets, a Retry); a decrypted or blocked one does not"""
    need_engine(lab)
    ways = [(SERVER4, "1", 0, ()), (SERVER6, "1", 0, ()), (SERVER4, "2", 0, ()), (SERVER4, "1", 100, ()), (SERVER4, "1", 0, ("retry",))]
    with own_engine(lab, "quic-names") as engine:
        for address, version, protocols, options in ways:
            with _server(lab, address, BYPASS, *options):
                if (status := _get(lab, address, BYPASS, version, protocols)) != 0:
                    raise Failed(f"{address}, version {version}, {protocols} protocols, {options}: exit {status}")
        with _server(lab, SERVER4, WWW):
            for host, protocols in ((WWW, 0), (WWW, 100), (BLOCK_ALERT, 0)):
                if (status := _get(lab, SERVER4, host, protocols=protocols)) != _NOBODY_ANSWERS:
                    raise Failed(f"{host}: exit {status}")
    for event in _told(engine, "passthrough", BYPASS):
        at(event, "wireglass.rule", "no banking")
        at(event, "wireglass.class", "quic")
    for host, rule, reason in ((WWW, "all the rest", "packet.quic"), (BLOCK_ALERT, "no advertisements", "packet.policy_blocked")):
        for event in _told(engine, "drop", host):
            at(event, "wireglass.rule", rule)
            at(event, "drop.reason", reason)
    told = [len(_told(engine, kind, host)) for kind, host in (("passthrough", BYPASS), ("drop", WWW), ("drop", BLOCK_ALERT))]
    if told[0] < len(ways) or told[1] < 2 or told[2] < 1:
        raise Failed(f"events: {told}")
    return f"{len(ways)} ways; events: {told[0]} passed, {told[1] + told[2]} dropped"


# Three requests beyond the page: by its head Chromium knows of HTTP/3. They are synchronous, so that the page is not complete before.
_PAGE = """<!doctype html><body><script>
const times = [];
for (const number of [1, 2, 3]) {
  const begun = performance.now(), request = new XMLHttpRequest();
  request.open("GET", "/number/" + number, false);
  request.send();
  times.push(Math.round(performance.now() - begun));
  while (performance.now() < begun + 500);
}
document.body.textContent = "times " + JSON.stringify(times);
</script></body>"""


def _chromium(lab):
    """The page's text, in a browser that trusts what the lab's clients do: it takes Alt-Svc from nobody else."""
    with tempfile.TemporaryDirectory() as home:
        database = f"sql:{home}/.pki/nssdb"
        (Path(home) / ".pki/nssdb").mkdir(parents=True)
        for argv in (("-N", "--empty-password"), ("-A", "-n", "lab", "-t", "C,,", "-i", lab.ca / "trusted.pem")):
            run(["certutil", "-d", database, *argv])
        return chromium(
            lab, f"https://{WWW}/files/quic.html", "--enable-quic", home=home, resolver=f"MAP {WWW} {SERVER4}")


@check("quic.fallback", group="alone")
def fallback(lab):
    """Chromium is told of HTTP/3 by Alt-Svc: it tries, is not answered, and has each resource over TCP in under a second"""
    need_engine(lab)
    (lab.nginx.folder / "files" / "quic.html").write_text(_PAGE)
    # The header comes from a rule, as nginx has no HTTP/3 to speak of.
    advertised = '[[header]]\ndirection = "response"\nset = { "alt-svc" = \'h3=":443"; ma=86400\', "content-type" = "text/html" }\n'
    with own_engine(lab, "quic-fallback", rules=lab.rules + advertised) as engine:
        for _ in range(5):
            dom = _chromium(lab)
            # It gives up what it is at whenever an interface comes up, as the engine's have done now.
            if "ERR_NETWORK_CHANGED" not in dom:
                break
    found = re.search(r"times (\[.*?\])", dom)
    if not found:
        text = re.sub(r"<(script|style).*?</\1>|<[^>]*>|\s+", " ", dom, flags=re.DOTALL)
        raise Failed(f"page {text[-300:]!r}")
    times = json.loads(found[1])
    if max(times) >= 1000:
        raise Failed(f"a resource took {max(times)} ms")
    if not (tried := len(_told(engine, "drop", WWW))):
        raise Failed(f"{times} ms, but QUIC was never tried")
    return f"{times} ms; QUIC tried {tried} times"
