"""What listens at a mirror: tcpdump, tshark, Suricata, and a server in plain to compare with."""

import contextlib
import json
import re
import signal
import subprocess
import time
from pathlib import Path

from .nginx import IN_FOLDER, TEMPORARY
from .shell import Failed, Process, run, wait_for

# The engine's end of the mirror's cable, and the other one.
ENGINE, IDS = "mirror", "ids"
# Clear text, HTTP/1 and HTTP/2.
PLAIN, PLAIN_HTTP2 = 8080, 8081

RULES = """\
alert http any any -> any any (msg:"path"; http.uri; content:"/number/7"; sid:9000001; rev:1;)
alert http any any -> any any (msg:"host"; http.host; content:"www.lab.test"; sid:9000002; rev:1;)
alert http any any -> any any (msg:"answer"; flow:to_client; file.data; content:"number 7"; sid:9000003; rev:1;)
alert http any any -> any any (msg:"upload"; flow:to_server; file.data; content:"TOP SECRET"; sid:9000004; rev:1;)
alert http any any -> any any (msg:"end of a long answer"; flow:to_client; file.data; content:"the very end"; sid:9000005; rev:1;)
alert http any any -> any any (msg:"client"; http.user_agent; content:"curl/"; sid:9000006; rev:1;)
alert http any any -> any any (msg:"status"; http.stat_code; content:"404"; sid:9000007; rev:1;)
"""

# Ends what it finds.
VERDICT = ('alert http any any -> any any (msg:"to be ended"; http.uri; content:"to-be-ended"; metadata:wireglass block; '
           'sid:9000013; rev:1;)\n')

_VERDICTS = """\
  - eve-log:
      enabled: yes
      filetype: unix_stream
      filename: {socket}
      community-id: true
      types: [{{alert: {{metadata: yes}}}}]
"""

_SURICATA = """\
%YAML 1.1
---
vars:
  address-groups: {{HOME_NET: "any", EXTERNAL_NET: "any"}}
default-log-dir: {dir}
classification-file: /etc/suricata/classification.config
reference-config-file: /etc/suricata/reference.config
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      community-id: true
      community-id-seed: 0
      types: [alert, http, {{tls: {{extended: yes}}}}]
{verdicts}
af-packet:
  - interface: {interface}
    cluster-id: 99
    cluster-type: cluster_flow
    defrag: yes
unix-command: {{enabled: no}}
stream:
  checksum-validation: yes
  reassembly: {{depth: 32mb}}
app-layer:
  protocols:
    http:
      enabled: yes
      libhtp: {{default-config: {{personality: IDS, request-body-limit: 0, response-body-limit: 0}}}}
    http2: {{enabled: yes}}
    tls: {{enabled: yes, detection-ports: {{dp: 443}}, ja3-fingerprints: yes}}
"""

_NGINX = IN_FOLDER + """
events {{ }}
http {{
  access_log off;
  client_max_body_size 0;
  default_type text/plain;
""" + TEMPORARY + """
  server {{
    listen {plain};
    listen {http2} http2;
    location ~ ^/number/([0-9]+)$ {{ return 200 "number $1\\n"; }}
    location /files/ {{ alias {files}/; }}
    location /upload/ {{ alias {dir}/upload/; dav_methods PUT; }}
  }}
}}
"""


@contextlib.contextmanager
def cable(lab, mtu=1600):
    """The mirror's cable, both of whose ends are in the middle namespace."""
    middle = lab.network.middle
    middle.ip("link", "add", ENGINE, "mtu", mtu, "type", "veth", "peer", "name", IDS, "mtu", mtu)
    try:
        for port in (ENGINE, IDS):
            for offload in ("rx", "tx", "tso", "gso", "gro"):
                middle.run("ethtool", "-K", port, offload, "off", check=False)
            middle.ip("link", "set", port, "up", "promisc", "on")
        yield
    finally:
        middle.ip("link", "del", ENGINE)


@contextlib.contextmanager
def recorded(namespace, port, file: Path):
    """tcpdump of all TCP, into this file."""
    argv = namespace.argv("tcpdump", "-Z", "root", "--immediate-mode", "-U", "-B", "16384", "-s", "0", "-ni", port, "-w", file)
    process = Process(argv, file.with_suffix(".tcpdump"), "tcpdump")
    process.wait_text("listening on", 10)
    try:
        yield
        _rest(file)
    finally:
        process.stop(signal.SIGINT)
    if not re.search(r"\b0 packets dropped by kernel", process.text()):
        raise Failed("tcpdump lost frames")


def _rest(file):
    """Waits until nothing has been added to a capture for a second."""
    size, since = -1, time.monotonic()

    def rests():
        nonlocal size, since
        if file.stat().st_size != size:
            size, since = file.stat().st_size, time.monotonic()
        return time.monotonic() > since + 1
    wait_for(rests, 20, "rest in the capture")


def tshark(file, wanted, *fields, options=()):
    """Fields of the frames that a display filter finds, as lists; checksums are looked at."""
    checked = [word for each in ("ip.check_checksum", "tcp.check_checksum") for word in ("-o", f"{each}:TRUE")]
    columns = [word for field in fields or ("frame.number",) for word in ("-e", field)]
    done = run(["tshark", "-r", file, "-2", "-n", *checked, *options, "-Y", wanted, "-T", "fields", *columns], timeout=60)
    return [line.split("\t") for line in done.stdout.decode().splitlines()]


def assert_faultless(file, least, of="tcp"):
    """tshark finds nothing odd about the TCP in a capture, or in the part `of` it. Returns the number of its frames."""
    odd = "tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0 || _ws.malformed"
    faults = tshark(file, f"({odd}) && {of}", "frame.number", "_ws.col.Info")
    if faults:
        raise Failed(f"tshark finds {len(faults)} faults, first {faults[0]}")
    frames = len(tshark(file, of))
    if frames < least:
        raise Failed(f"only {frames} frames")
    return frames


class Suricata:
    """Suricata with the rules above, on an interface or on a capture; its verdicts go to a socket, if there is one."""

    def __init__(self, folder: Path, interface=IDS, socket=None):
        folder.mkdir(parents=True)
        self.folder = folder
        self.config = folder / "suricata.yaml"
        verdicts = _VERDICTS.format(socket=socket) if socket else ""
        self.config.write_text(_SURICATA.format(dir=folder, interface=interface, verdicts=verdicts))
        self.rules = folder / "our.rules"
        self.rules.write_text(RULES + VERDICT)
        self.common = ["suricata", "-c", self.config, "-S", self.rules, "-l", folder, "-k", "all", "--pidfile", folder / "pid"]

    def read(self, file):
        """Reads a capture."""
        subprocess.run([str(word) for word in [*self.common, "-r", file]], check=True, capture_output=True, timeout=120)
        return self

    @contextlib.contextmanager
    def live(self, namespace):
        """Reads along."""
        process = Process(namespace.argv(*self.common, "--af-packet"), self.folder / "suricata.log", "Suricata")
        try:
            process.wait_text("Engine started", 60)
            yield self
        finally:
            process.stop(signal.SIGTERM, seconds=20)

    def events(self, kind):
        """Its events of a kind."""
        log = self.folder / "eve.json"
        lines = log.read_text().splitlines() if log.exists() else []
        return [event for event in map(json.loads, lines) if event["event_type"] == kind]

    def alerts(self, kind=None):
        """(client port, sid) of all alerts, or (community_id, sid)."""
        found = set()
        for alert in self.events("alert"):
            ports = {alert["src_port"], alert["dest_port"]} - {443, 80, PLAIN, PLAIN_HTTP2}
            (port,) = ports
            found.add((alert["community_id"] if kind else port, alert["alert"]["signature_id"]))
        return found

    def wait_alerts(self, wanted, seconds):
        """Waits until there are these at least."""
        wait_for(lambda: wanted <= self.alerts(), seconds, f"alerts of Suricata: {sorted(wanted - self.alerts())[:9]} are missing")


@contextlib.contextmanager
def plain_server(lab):
    """nginx in plain, with the same files."""
    folder = lab.folder / "plain-nginx"
    (folder / "upload").mkdir(parents=True)
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(dir=folder, plain=PLAIN, http2=PLAIN_HTTP2, files=lab.nginx.folder / "files"))
    namespace = lab.network.server
    process = Process(namespace.argv("nginx", "-e", folder / "error.log", "-c", config), folder / "nginx.log", "nginx")
    try:
        wait_for(lambda: f":{PLAIN_HTTP2}".encode() in namespace.run("ss", "-Htln", check=False).stdout, 10, "listening nginx")
        yield
    finally:
        process.stop()
