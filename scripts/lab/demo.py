"""The demonstration behind scripts/demo.sh: five visits to web sites, seen by curl through the engine."""

import json
import re
import sys
import textwrap
import time
from pathlib import Path

from . import pki
from .clients import describe
from .eve import at
from .lab import Interrupted, Lab, on_signals_stop
from .net import SERVER4
from .nginx import Host
from .ports import kind
from .shell import Failed

SHOP, BANK, ADS, OLD = "shop.example", "bank.example", "ads.example", "oldshop.example"

RULES = f"""
[[rule]]
name = "banking is private"
sni = ["{BANK}"]
action = "bypass"

[[rule]]
name = "no advertisements"
sni = ["{ADS}"]
action = "block"

[[rule]]
name = "read the rest"
action = "decrypt"

[[content.rule]]
name = "no gambling"
host = ["{SHOP}"]
path = ["/number/7*"]
action = "block"
"""

TTY = sys.stdout.isatty()
BOLD, DIM, RED, GREEN, CYAN, PLAIN = ("\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[36m", "\033[0m") if TTY else [""] * 6


def hosts(lab):
    """Three servers in order, and one whose certificate has expired."""
    issue = lab.issuer.issue
    lab.certificates = {name: issue(name) for name in (SHOP, BANK, ADS)}
    lab.certificates[OLD] = issue(OLD, dates=pki.LONG_AGO)
    return [Host(name, certificate) for name, certificate in lab.certificates.items()]


class Show:
    """Prints, paced so that a reader can follow; counts what did not come out as expected."""

    def __init__(self, pause):
        self.pause = pause if TTY else 0
        self.wrong = 0

    def title(self, text):
        """A heading."""
        print(f"\n{BOLD}{text}{PLAIN}", flush=True)
        time.sleep(self.pause)

    def text(self, text):
        """A paragraph."""
        print(textwrap.fill(" ".join(text.split()), 100, initial_indent="  ", subsequent_indent="  "), flush=True)

    def fact(self, label, value):
        """A line of a table."""
        print(f"    {DIM}{label:<20}{PLAIN}{value}", flush=True)
        time.sleep(self.pause / 6)

    def result(self, good, text):
        """What the step was to show, and whether it did."""
        self.wrong += not good
        print(f"  {GREEN + 'as expected' if good else RED + 'NOT AS EXPECTED'}{PLAIN}: {text}", flush=True)
        time.sleep(self.pause)


def main():
    """Returns the exit status."""
    binary = Path(sys.argv[1]).resolve()
    show = Show(0 if "--fast" in sys.argv else 1.2)
    on_signals_stop()
    try:
        with Lab(binary, hosts, RULES, ports=kind("xdp" if "--xdp" in sys.argv else "af_packet")) as lab:
            _introduce(show, lab)
            for step in (_decrypted, _bypassed, _blocked, _expired, _blocked_page):
                step(show, lab)
            _end(show, lab)
    except Interrupted as signal_name:
        print(f"\nstopped by {signal_name}; everything is removed", file=sys.stderr)
        return 130
    except Failed as failed:
        print(f"\n{RED}the demonstration could not go on:{PLAIN} {failed}", file=sys.stderr)
        return 1
    if show.wrong:
        print(f"{RED}{show.wrong} of the steps did not come out as expected.{PLAIN}")
        return 1
    return 0


def _introduce(show, lab):
    show.title("The network")
    print(f"""
    {CYAN}client{PLAIN} namespace                                         {CYAN}server{PLAIN} namespace
    curl, 10.203.0.1  ──── inside [ {BOLD}wireglass{PLAIN} ] outside ────  nginx, {SERVER4}
""")
    show.text("""wireglass has no address. It owns two network ports through DPDK and passes frames between them. The
        kernel's TCP on both sides is the real one, and so are curl and nginx.""")
    engine = lab.wire("demo")
    said = next(line for line in engine.log.read_text().splitlines() if "wireglass: running" in line)
    show.fact("engine", said[said.index("wireglass: running"):])
    show.fact("client trusts", "the engine's CA and a public root, as an office computer does")
    show.fact("engine trusts", "the public root")


def _decrypted(show, lab):
    show.title(f"1. https://{SHOP}/ is decrypted")
    show.fact("client", f"curl https://{SHOP}/number/42")
    seen = lab.client.curl(SHOP, SERVER4, path="/number/42")
    show.fact("answer", f"{seen.status} {seen.body.decode().strip() or seen.why}")
    issuer = _named(seen, "Issuer")
    show.fact("certificate", f"{_named(seen, 'Subject')}, issued by {BOLD}{issuer}{PLAIN}")
    original = describe(lab.certificates[SHOP].der)
    show.fact("server's own", f"{_field(original, 'Subject')}, issued by {_field(original, 'Issuer')}")
    tls = lab.eve.one("tls", seen.local_port)
    http = lab.eve.one("http", seen.local_port)
    legs = [f"{at(tls, f'wireglass.{leg}.version')} {at(tls, f'wireglass.{leg}.cipher')}"
            for leg in ("client_leg", "server_leg")]
    show.fact("tls event", f"rule `{at(tls, 'wireglass.rule')}`, client leg {legs[0]}, server leg {legs[1]}")
    show.fact("http event", f"{BOLD}{at(http, 'http.http_method')} {at(http, 'http.hostname')}{at(http, 'http.url')} "
                            f"-> {at(http, 'http.status')}{PLAIN} ({at(http, 'http.protocol')}, "
                            f"{at(http, 'http.http_user_agent')})")
    show.fact("line of eve.json", DIM + json.dumps({"event_type": "http", "http": at(http, "http")}) + PLAIN)
    good = (seen.exit == 0 and seen.body == b"number 42\n" and "Lab" not in issuer
            and at(http, "http.url") == "/number/42" and at(http, "http.status") == 200)
    show.result(good, "curl was content, and the engine read request and response on the way")


def _bypassed(show, lab):
    show.title(f"2. https://{BANK}/ is left alone by a rule")
    seen = lab.client.curl(BANK, SERVER4)
    show.fact("answer", f"{seen.status} {seen.body.decode().strip() or seen.why}")
    show.fact("certificate", f"{_named(seen, 'Subject')}, issued by {BOLD}{_named(seen, 'Issuer')}{PLAIN}")
    same = seen.leaf == lab.certificates[BANK].der
    show.fact("same as server's", "yes, byte for byte" if same else "no")
    tls = lab.eve.one("tls", seen.local_port)
    show.fact("tls event", f"rule `{at(tls, 'wireglass.rule')}`, action {at(tls, 'wireglass.action')}")
    unread = not lab.eve.of("http", seen.local_port)
    show.fact("http event", "none" if unread else "there is one")
    show.result(seen.exit == 0 and same and unread, "the client talked to the bank itself; nobody read along")


def _blocked(show, lab):
    show.title(f"3. https://{ADS}/ is blocked by a rule")
    seen = lab.client.curl(ADS, SERVER4)
    show.fact("curl says", seen.error.splitlines()[0] if seen.error else seen.body.decode().strip())
    tls = lab.eve.one("tls", seen.local_port)
    show.fact("tls event", f"rule `{at(tls, 'wireglass.rule')}`, reason {at(tls, 'wireglass.reason')}")
    requests = len(lab.nginx.requests(ADS))
    show.fact("server's log", f"{requests} requests")
    show.result(seen.exit == 35 and requests == 0, "the client got a TLS alert, the server no request")


def _expired(show, lab):
    show.title(f"4. https://{OLD}/ has an expired certificate")
    seen = lab.client.curl(OLD, SERVER4, "--insecure")
    show.fact("client", "curl --insecure: it would take any certificate")
    show.fact("curl says", seen.error.splitlines()[0] if seen.error else seen.body.decode().strip())
    tls = lab.eve.one("tls", seen.local_port)
    show.fact("tls event", f"reason {BOLD}{at(tls, 'wireglass.reason')}{PLAIN}, "
                           f"certificate ended {at(tls, 'tls.notafter')}")
    requests = len(lab.nginx.requests(OLD))
    show.fact("server's log", f"{requests} requests")
    good = seen.exit != 0 and requests == 0 and at(tls, "wireglass.reason") == "cert.expired"
    show.result(good, "the engine checks the server more strictly than this client does")


def _blocked_page(show, lab):
    show.title(f"5. One page of https://{SHOP}/ is blocked, inside the decrypted connection")
    seen = lab.client.curl(SHOP, SERVER4, path="/number/777")
    show.fact("client", f"curl https://{SHOP}/number/777")
    show.fact("answer", f"{BOLD}{seen.status}{PLAIN} {_title(seen.body)}")
    alert = lab.eve.one("alert", seen.local_port)
    show.fact("alert event", f"rule `{at(alert, 'alert.signature')}`, {BOLD}{at(alert, 'alert.action')}{PLAIN}, "
                             f"number {at(alert, 'wireglass.event')}")
    numbered = at(alert, "wireglass.event").encode() in seen.body
    show.fact("on the page", "the same number, for the help desk" if numbered else "no number")
    requests = [line for line in lab.nginx.requests(SHOP) if "/number/777" in line]
    show.fact("server's log", f"{len(requests)} requests of it")
    show.result(seen.status == 403 and numbered and not requests,
                "the client got a page it can read; the rest of the site is open")


def _title(body):
    found = re.search(rb"<title>(.*?)</title>", body, re.S)
    return found[1].decode().strip() if found else ""


def _end(show, lab):
    show.title("Stop")
    engine = lab.middle
    events = len(lab.eve.events())
    status = engine.stop()
    balanced = "mbufs balanced" in engine.log.read_text()
    show.fact("events written", events)
    show.result(status == 0 and balanced, "SIGTERM, exit 0, every packet buffer back in its pool")


def _named(seen, field):
    return _field(describe(seen.leaf), field) if seen.leaf else f"(none: {seen.error})"


def _field(text, name):
    return re.search(rf"{name}: (.*)", text)[1]


if __name__ == "__main__":
    sys.exit(main())
