"""What the engine tells: eve.json as a whole, and the counters."""

from ..eve import at
from ..net import SERVER4
from ..runner import check
from ..shell import Failed, wait_for
from .fetch import fetched

COMMON = ("timestamp", "flow_id", "event_type", "src_ip", "src_port", "dest_ip", "dest_port", "proto", "in_iface",
          "community_id")


@check("events.complete")
def complete(lab):
    """Every connection that the lab has made so far has its tls and its flow event; each line is valid JSON"""
    # What never got as far as a ClientHello has a flow event only.
    no_hello = ("plain", "half a hello", "left in hello")
    wanted_tls = {port for port, what in lab.client.made if not what.startswith(no_hello)}
    wanted_flow = {port for port, _ in lab.client.made}

    def missing(kind, wanted):
        return wanted - {event.get("src_port") for event in lab.eve.events() if event["event_type"] == kind}
    if not wanted_flow:
        fetched(lab, SERVER4)
        return complete(lab)
    try:
        wait_for(lambda: not missing("tls", wanted_tls) and not missing("flow", wanted_flow), 20, "full eve.json")
    except Failed:
        names = dict(lab.client.made)
        absent = [f"{kind} {port} ({names[port]})" for kind, wanted in (("tls", wanted_tls), ("flow", wanted_flow))
                  for port in sorted(missing(kind, wanted))]
        raise Failed(f"{len(absent)} missing of {len(wanted_tls)} tls and {len(wanted_flow)} flow events: "
                     f"{', '.join(absent[:12])}") from None
    return f"{len(wanted_tls)} tls, {len(wanted_flow)} flow, {len(lab.eve.events())} lines"


@check("events.flow-reasons")
def flow_reasons(lab):
    """The flow events tell how the connections ended, and count packets both ways"""
    for port, reasons in lab.client.endings.items():
        flow = lab.eve.one("flow", port, seconds=20)
        at(flow, "wireglass.reason", reasons)
        if min(at(flow, "flow.pkts_toserver"), at(flow, "flow.pkts_toclient")) < 1:
            raise Failed(f"no packets in one direction: {flow['flow']}")
    if not lab.client.endings:
        return "none to look at: no other check has run"
    return f"{len(lab.client.endings)} connections"


@check("events.fields")
def fields(lab):
    """Each tls, http and flow event has the common fields, and one flow_id for one connection"""
    seen = fetched(lab, SERVER4)
    found = [lab.eve.one(kind, seen.local_port, 20) for kind in ("tls", "http", "flow")]
    for event in found:
        for name in COMMON:
            at(event, name)
        at(event, "dest_ip", SERVER4)
        at(event, "dest_port", 443)
        at(event, "proto", "TCP")
        at(event, "in_iface", "lab")
        if not at(event, "community_id").startswith("1:"):
            raise Failed(f"community_id {event['community_id']}")
    flow = found[2]
    at(flow, "app_proto", "tls")
    at(flow, "tcp.state", "closed")
    for name in ("tcp.syn", "tcp.fin", "tcp.ack"):
        at(flow, name, True)
    if not int(at(flow, "tcp.tcp_flags_ts"), 16) & int(at(flow, "tcp.tcp_flags_tc"), 16) & 0x02:
        raise Failed(f"not both ends have sent a SYN: {flow['tcp']}")
    if len({event["flow_id"] for event in found}) != 1:
        raise Failed("the three events of one connection have different flow_id")
    twice = lab.eve.of("flow", seen.local_port) + lab.eve.of("tls", seen.local_port)
    if len(twice) != 2:
        raise Failed(f"{len(twice)} tls and flow events for one connection, expected one of each")
    return f"community_id {found[0]['community_id']}"


@check("events.stats")
def stats(lab):
    """A stats event comes every second"""
    def latest():
        return [event for event in lab.eve.events() if event["event_type"] == "stats"]
    before = len(latest())
    wait_for(lambda: len(latest()) >= before + 2, 5, "second stats event")
    return f"{len(latest())} so far, uptime {at(latest()[-1], 'stats.uptime')} s"


@check("events.prometheus")
def prometheus(lab):
    """GET /metrics: every line is well formed, and counters grow with traffic"""
    before = metrics(lab)
    fetched(lab, SERVER4)
    after = wait_for(lambda: _grown(before, metrics(lab)), 5, "counter that grows with a connection")
    return f"{len(metrics(lab))} series, {after} grew"


def _grown(before, after):
    return sum(1 for name, value in after.items() if value > before.get(name, 0))


def metrics(lab):
    done = lab.network.middle.run("curl", "-sS", "--max-time", 5, "http://127.0.0.1:9464/metrics", check=False)
    if done.returncode != 0:
        raise Failed(f"no answer: {done.stderr.decode().strip()}")
    series = {}
    for line in done.stdout.decode().splitlines():
        if line.startswith("#") or not line:
            continue
        name, _, value = line.rpartition(" ")
        if not name.startswith(("wireglass_", "process_")):
            raise Failed(f"a series of another name: {line[:80]}")
        series[name] = float(value)
    if not series:
        raise Failed("no series")
    return series
