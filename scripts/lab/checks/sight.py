"""What the engine shows of itself: metrics in a real Prometheus, the dashboard's questions, the status page in a browser."""

import contextlib
import html
import json
import re
import tempfile
import time

from ..hosts import BLOCK_ALERT, BYPASS, WWW
from ..ids import ENGINE, cable
from ..net import SERVER4, SERVER6
from ..own_engine import need_engine, own_engine
from ..prometheus import Prometheus, dashboard
from ..runner import check
from ..shell import Failed, run, wait_for
from .fetch import fetched

_PAGE = "http://127.0.0.1:9464"
# A rule on content, so that there is something to count.
_RULES = """
[[content.rule]]
name = "no banners"
path = ["/banner*"]
action = "block"
"""


# What an engine that has worked has counted.
_AT_WORK = {
    'wireglass_connections_total{worker="0",action="decrypt"}': 2,
    'wireglass_hellos_total{worker="0",reason="policy.decrypt"}': 2,
    'wireglass_hellos_total{worker="0",reason="policy.bypass"}': 1,
    'wireglass_profile_hellos_total{profile="default",action="decrypt"}': 2,
    'wireglass_rule_connections_total{rule="no banking",action="bypass"}': 1,
    "wireglass_handshake_duration_seconds_count": 2,
    "wireglass_verification_duration_seconds_count": 1,
    "wireglass_minting_duration_seconds_count": 1,
    'wireglass_job_wait_duration_seconds_count{kind="handshake"}': 2,
    'wireglass_job_run_duration_seconds_count{kind="handshake"}': 2,
    "wireglass_minted_not_after_seconds": time.time(),
    'wireglass_ca_not_after_seconds{ca="trusted"}': time.time(),
    "process_cpu_seconds_total": 0.01,
}


def _traffic(lab):
    """Flows that are decrypted, bypassed and blocked."""
    for address in (SERVER4, SERVER6):
        fetched(lab, address)
    lab.client.curl(BYPASS, SERVER4)
    blocked = lab.client.curl(BLOCK_ALERT, SERVER4)
    if blocked.exit == 0:
        raise Failed("a blocked request was answered")
    lab.client.curl(WWW, SERVER4, path="/banner")


@contextlib.contextmanager
def _engine(lab, name):
    """With a mirror, so that each family of metrics is there."""
    need_engine(lab)
    with cable(lab), own_engine(lab, name, wire=f'[mirror.ids]\nport = "af_packet:{ENGINE}"\n', rules=lab.rules + _RULES) as engine:
        yield engine


@check("sight.promtool", group="alone")
def by_promtool(lab):
    """promtool check metrics has nothing to say about the page of an engine that has worked"""
    with _engine(lab, "sight-promtool"):
        _traffic(lab)
        wait_for(lambda: _status(lab)["connections"]["decrypt"] >= 2, 10, "flow that has ended")
        page = lab.network.middle.run("curl", "-sS", f"{_PAGE}/metrics").stdout
        done = run(["promtool", "check", "metrics"], stdin=page, check=False)
    said = (done.stdout + done.stderr).decode().strip()
    if done.returncode != 0 or said:
        raise Failed(f"exit {done.returncode}: {said}")
    series = dict(line.rsplit(" ", 1) for line in page.decode().splitlines() if not line.startswith("#"))
    for name, least in _AT_WORK.items():
        if float(series.get(name, 0)) < least:
            raise Failed(f"{name} is {series.get(name)}, expected {least} at least")
    return f"{page.count(b'# TYPE ')} families, {len(page)} bytes"


@check("sight.dashboard", group="alone")
def dashboard_answers(lab):
    """A real Prometheus scrapes the engine: each expression of the dashboard gives series, all rules load, nobody is alarmed"""
    with _engine(lab, "sight-dashboard"), Prometheus(lab, lab.folder / "prometheus").running() as prometheus:
        prometheus.wait_scrapes(2)
        for _ in range(4):
            _traffic(lab)
            time.sleep(1)
        prometheus.wait_scrapes(6)
        empty, numbers = [], 0
        for title, expression in dashboard():
            found = prometheus.series(expression)
            # Whether something was started or loaded anew is asked to be told of nothing.
            if not found and not title.startswith("annotation "):
                empty.append(f"{title}: {expression}")
            numbers += sum(1 for each in found if each["value"][1] != "NaN")
        if empty:
            raise Failed(f"{len(empty)} give nothing: {'; '.join(empty)}")
        share = float(prometheus.series('sum(rate(wireglass_connection_bytes_total{action="decrypt"}[1m]))'
                                        " / sum(rate(wireglass_rx_bytes_total[1m]))")[0]["value"][1])
        if not 0.2 < share < 1:
            raise Failed(f"a share of {share:.2f} is said to be decrypted")
        p95 = float(prometheus.series("histogram_quantile(0.95, sum by (le) "
                                      "(rate(wireglass_handshake_duration_seconds_bucket[1m])))")[0]["value"][1])
        if not 0 < p95 < 5:
            raise Failed(f"handshakes are said to take {p95} s")
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        bad = [rule["name"] for rule in rules if rule["health"] == "err"]
        firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
        if bad or firing or not rules:
            raise Failed(f"{len(rules)} rules, faulty: {bad}, firing: {firing}")
    return f"{len(dashboard())} expressions, {numbers} numbers, {len(rules)} rules, {100 * share:.0f} % decrypted, p95 {1000 * p95:.0f} ms"


def _chromium(lab, *options):
    """Headless Chromium beside the engine."""
    with tempfile.TemporaryDirectory() as profile:
        done = lab.network.middle.run(
            "env", f"HOME={profile}", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}/profile",
            *options, check=False, timeout=90)
    return done.stdout.decode(errors="replace")


def _shown(dom, name):
    found = re.search(rf'id="{name}"[^>]*>([^<]*)<', dom)
    if not found:
        raise Failed(f"the page has no {name}")
    return html.unescape(found[1])


@check("sight.page", group="alone")
def page(lab):
    """The status page in Chromium shows the engine's figures; under a name from elsewhere it is not served"""
    with _engine(lab, "sight-page"):
        _traffic(lab)
        wait_for(lambda: _status(lab)["connections"]["decrypt"] >= 2, 10, "flow that has ended")
        # Two looks, so that there are rates.
        dom = _chromium(lab, "--virtual-time-budget=5000", "--dump-dom", f"{_PAGE}/")
        status = _status(lab)
        if _shown(dom, "health") != "running":
            raise Failed(f"the page says {_shown(dom, 'health')!r}")
        for words in ("all the rest", "no banking", "policy.decrypt", "policy.bypass", "CA, trusted", "lab, from clients"):
            if words not in dom:
                raise Failed(f"{words!r} is not on the page")
        for name in ("share", "flows", "throughput", "handshakes"):
            if not re.search(r"\d", _shown(dom, name)):
                raise Failed(f"{name} shows {_shown(dom, name)!r}")
        if WWW in dom or BYPASS in dom or SERVER4 in dom:
            raise Failed("a server is named")
        seen = sum(wire[side]["bytes"] for wire in status["wires"] for side in ("from_inside", "from_outside"))
        share = 100 * status["connection_bytes"]["decrypt"] / seen
        shown = float(_shown(dom, "share").split()[0])
        if abs(shown - share) > 2:
            raise Failed(f"{shown} % are said to be decrypted, {share:.1f} % are")
        elsewhere = _chromium(lab, "--host-resolver-rules=MAP evil.test 127.0.0.1", "--dump-dom", "http://evil.test:9464/")
        if "metrics.hosts" not in elsewhere or "wireglass" in elsewhere:
            raise Failed(f"under another name there is {elsewhere[:200]!r}")
    return f"{shown} % decrypted, {len(status['rules'])} rules"


def _status(lab):
    return json.loads(lab.network.middle.run("curl", "-sS", f"{_PAGE}/status.json").stdout)
