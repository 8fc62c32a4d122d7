"""`wireglass replay`: what it says of a capture is what the engine did while it was made."""

import json

from ..capture import Capture
from ..eve import at
from ..hosts import BLOCK_ALERT, BYPASS, WWW
from ..net import SERVER4, SERVER6, VLAN_SERVER4
from ..runner import check
from ..shell import Failed, run


@check("replay.tcpdump")
def tcpdump(lab):
    """tcpdump's capture of visits that are decrypted, bypassed and blocked, replayed: the same decisions"""
    if not lab.binary:
        raise Failed("no engine in this lab")
    ports = []
    with Capture(lab.network.client, "lan", 443, lab.folder) as capture:
        for host, address in ((WWW, SERVER4), (BYPASS, VLAN_SERVER4), (BLOCK_ALERT, SERVER6)):
            seen = lab.client.curl(host, address, "-k")
            ports.append(seen.local_port)
            if host == BLOCK_ALERT:
                lab.client.endings[seen.local_port] = ["policy.block"]
    events = [lab.eve.one("tls", port) for port in ports]
    done = run([lab.binary, "replay", "-c", lab.middle.config, "--json", capture.file])
    flows = {flow["src_port"]: flow for flow in map(json.loads, done.stdout.splitlines())}
    for port, event in zip(ports, events):
        flow = flows.get(port)
        if not flow:
            raise Failed(f"no flow from port {port} in what replay says: {sorted(flows)}")
        for told, of_event in (("action", "wireglass.action"), ("rule", "wireglass.rule"), ("sni", "tls.sni"),
                               ("ja4", "tls.ja4"), ("src_ip", "src_ip"), ("dest_ip", "dest_ip")):
            at(dict(event, **{"event_type": f"tls, beside replay's {flow}"}), of_event, flow.get(told))
        if flow.get("vlan") != event.get("vlan"):
            raise Failed(f"replay: VLAN {flow.get('vlan')}, the engine: {event.get('vlan')}")
    _torn(lab, capture.file)
    _reported(lab, capture.file)
    return ", ".join(f"{flows[port]['sni']} {flows[port]['action']}" for port in ports)


def _reported(lab, file):
    """The same flows as a report, in all its forms."""
    told = {form: run([lab.binary, "replay", "-c", lab.middle.config, "--report", form, file]).stdout.decode()
            for form in ("text", "json", "html")}
    report = json.loads(told["json"])
    decisions = {row["name"]: {key for key in ("decrypt", "bypass", "block", "undecided") if row[key]} for row in report["names"]}
    expected = {WWW: {"decrypt"}, BYPASS: {"bypass"}, BLOCK_ALERT: {"block"}}
    if decisions != expected:
        raise Failed(f"the report has {decisions}")
    for form in ("text", "html"):
        missing = [name for name in expected if name not in told[form]]
        if missing:
            raise Failed(f"the report as {form} lacks {missing}")


def _torn(lab, file):
    """A capture that ends too soon: what came before is shown, with the place, and exit 1."""
    torn = file.with_suffix(".torn.pcap")
    torn.write_bytes(file.read_bytes()[:-7])
    done = run([lab.binary, "replay", "-c", lab.middle.config, torn], check=False)
    said = done.stderr.decode()
    if done.returncode != 1 or "ends in the middle of the packet" not in said:
        raise Failed(f"a torn capture: exit {done.returncode}, {said.strip()[-200:]}")
    if WWW not in done.stdout.decode():
        raise Failed("a torn capture: the flows before its end are not shown")
