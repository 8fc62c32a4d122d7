"""The checks of what engines share through etcd."""

import json
import time

from ..shell import Failed, wait_for
from .bed import BLOCKED, INSISTING, RULES
from .checks import ROUTERS, check
from .clients import connect, failures, load
from .network import CLIENTS, ENGINES, SERVER

# Known at all within a second, and some for a machine of two cores.
SECOND = 2.0


def _policy(bed, rules):
    folder = bed.folder / "policy"
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(f'[policy]\ndefault = "decrypt"\n{rules}')
    return folder


def _status(bed):
    return json.loads(bed.command("fleet", "status", "--json").stdout)


def _all(bed, metric, value, seconds, engines=ENGINES):
    def said():
        return [bed.metric(number, metric) for number in engines]
    wait_for(lambda: said() == [value] * len(engines), seconds, f"{metric} = {value} at engines {engines}: {said()}", step=0.2)


def _through_all(bed, attempt):
    """Calls `attempt(client)` until a connection has come through each engine. Returns what it gave, by engine."""
    found = {}
    for client in CLIENTS * 2:
        port, result = attempt(client)
        number, event = bed.where(port, client)
        found.setdefault(number, (result, event))
        if len(found) == len(ENGINES):
            return found
    raise Failed(f"connections came through engines {sorted(found)} only")


@check("presence")
def presence(bed):
    """`wireglass fleet status`: all engines are there, with version and generation"""
    wait_for(lambda: len(_status(bed)["engines"]) == len(ENGINES), 20, "three engines in `fleet status`", step=0.5)
    engines = _status(bed)["engines"]
    if [each["name"] for each in engines] != [bed.name(number) for number in ENGINES]:
        raise Failed(f"engines: {engines}")
    text = bed.command("fleet", "status").stdout.decode()
    if not all(bed.name(number) in text for number in ENGINES):
        raise Failed(f"fleet status says {text!r}")
    return ", ".join(f"{each['name']} {each['version']}" for each in engines)


@check("tickets")
def tickets(bed):
    """a client resumes at an engine that it has never been at, with a ticket of another one"""
    bed.wait_next_hops()
    context = bed.context()
    done = {}
    for client in CLIENTS:
        port, _, session = connect(bed, context, client=client)
        first, _ = bed.where(port, client)
        port, reused, _ = connect(bed, context, client=client, session=session)
        second, event = bed.where(port, client)
        leg = event["wireglass"]["client_leg"]
        if leg.get("resumed", False) != reused:
            raise Failed(f"the client says {reused}, the engine {leg}")
        if first != second:
            if not reused:
                raise Failed(f"a ticket of {bed.name(first)} is no good at {bed.name(second)}")
            done[first, second] = done.get((first, second), 0) + 1
        if len(done) == 6:
            return f"from each engine to each other one, {sum(done.values())} resumed connections"
    raise Failed(f"only {sorted(done)} came up")


@check("exclusion")
def exclusion(bed):
    """a server that insists on a client certificate: learned at one engine, known at all within a second"""
    context = bed.context()

    def known():
        return [bed.metric(number, "wireglass_exclusions") for number in ENGINES]
    def attempt(client):
        with bed.network.client.socket() as plain:
            plain.settimeout(10)
            plain.bind((client, 0))
            plain.connect((SERVER, 443))
            port = plain.getsockname()[1]
            try:
                with context.wrap_socket(plain, server_hostname=INSISTING) as secure:
                    return port, secure.getpeercert()["issuer"]
            except OSError as wrong:
                return port, str(wrong)
    # It learns that from the first connection, which is still decrypted.
    attempt(CLIENTS[0])
    began = time.monotonic()
    wait_for(lambda: all(known()), 10, f"exclusion at all engines: {known()}", step=0.05)
    took = time.monotonic() - began
    if took > SECOND:
        raise Failed(f"known at all after {took:.1f} s only")

    for number, (_, event) in _through_all(bed, attempt).items():
        if event["wireglass"]["reason"] != "excl.client_certificate":
            raise Failed(f"{bed.name(number)}: {event['wireglass']}")
    return f"known at all after {took:.2f} s"


@check("push")
def push(bed):
    """a policy is pushed and rolled back under load: in force at all engines, and no request fails"""
    def blocked():
        found = _through_all(bed, lambda client: _tried(bed, client))
        return {number: error is not None for number, (error, _) in found.items()}
    if not all(blocked().values()):
        raise Failed(f"{BLOCKED} is not blocked: {blocked()}")
    lenient = RULES.replace('action = "block"', 'action = "decrypt"\nprofile = "default"', 1)
    with load(bed, every=1.0) as clients:
        clients.wait(100, seconds=60)
        said = bed.command("policy", "push", _policy(bed, lenient), "--note", "no block").stdout.decode()
        clients.wait(100, seconds=60)
        if any(blocked().values()):
            raise Failed(f"the new policy is not in force: {blocked()}; push said {said}")
        bed.command("policy", "push", _policy(bed, RULES), "--note", "block again")
        if not all(blocked().values()):
            raise Failed(f"the second policy is not in force: {blocked()}")
        bed.command("policy", "rollback")
        if any(blocked().values()):
            raise Failed(f"the first policy is not back: {blocked()}")
        bed.command("policy", "push", _policy(bed, RULES))
        requests = clients.stop()
    bad, failed = failures(requests)
    if bad:
        raise Failed(failed)
    history = bed.command("policy", "history").stdout.decode()
    if "no block" not in history or "block again" not in history:
        raise Failed(f"history says {history!r}")
    return f"four generations, {failed}"


def _tried(bed, client):
    with bed.network.client.socket() as plain:
        plain.settimeout(10)
        plain.bind((client, 0))
        port = plain.getsockname()[1]
        plain.connect((SERVER, 443))
        try:
            with bed.context().wrap_socket(plain, server_hostname=BLOCKED):
                return port, None
        except OSError as wrong:
            return port, str(wrong)


@check("push-refused")
def push_refused(bed):
    """a policy that no engine can load is stopped, with engine, file, line and key, and changes nothing"""
    before = _status(bed)
    wrong = RULES.replace('[[rule]]', '[[rule]]\nwire = "elsewhere"', 1)
    done = bed.command("policy", "push", _policy(bed, wrong), check=False)
    said = (done.stdout + done.stderr).decode()
    if done.returncode == 0 or not all(word in said for word in ("edge-", "policy.toml:", "wire")):
        raise Failed(f"exit {done.returncode}: {said}")
    after = _status(bed)
    if [each["generation"] for each in after["engines"]] != [each["generation"] for each in before["engines"]]:
        raise Failed(f"generations before {before}, after {after}")
    return said.strip().splitlines()[-1]


@check("etcd-killed")
def etcd_killed(bed):
    """etcd is killed and comes back: engines go on with what they have, say so, and catch up"""
    with load(bed, every=1.0) as clients:
        bed.etcd.stop()
        _all(bed, "wireglass_fleet_connected", 0, 30)
        clients.wait(150, seconds=60)
        bed.etcd.start()
        _all(bed, "wireglass_fleet_connected", 1, 40)
        requests = clients.stop()
    bad, said = failures(requests)
    if bad:
        raise Failed(said)
    wait_for(lambda: len(_status(bed)["engines"]) == len(ENGINES), 30, "three engines in `fleet status`", step=0.5)
    return said


@check("partition")
def partition(bed):
    """an engine is cut off from etcd for a minute: a policy goes to the others, and to it when it is back"""
    third = bed.network.segments[2]
    bed.network.management(third, up=False)
    try:
        began = time.monotonic()
        wait_for(lambda: len(_status(bed)["engines"]) == 2, 30, "end of its lease", step=0.5)
        bed.command("policy", "push", _policy(bed, RULES), "--note", "during the partition")
        active = _status(bed)["active"]
        _all(bed, "wireglass_fleet_generation", active, 10, ENGINES[:2])
        connect(bed, bed.context())
        time.sleep(max(0, began + 60 - time.monotonic()))
        if bed.metric(3, "wireglass_fleet_generation") == active:
            raise Failed("it has the new generation while it is cut off")
    finally:
        bed.network.management(third, up=True)
    _all(bed, "wireglass_fleet_generation", active, 40)
    return f"generation {active} at all"


@check("drain")
def drain(bed):
    """an engine is drained and upgraded under load: its links go down when it is empty, and no request fails but while routers look"""
    number = 1
    before = len(bed.probes.changes)
    with load(bed, every=1.0) as clients:
        clients.wait(100, seconds=60)
        bed.command("fleet", "drain", bed.name(number), "--wait", "1m", timeout=90)
        bed.wait_next_hops([each for each in ENGINES if each != number], seconds=20)
        clients.wait(100, seconds=60)
        # The upgrade: another process.
        status = bed.engines[number].stop()
        if status != 0:
            raise Failed(f"it ended with exit {status}")
        bed.restart(number)
        bed.command("fleet", "drain", bed.name(number), "--undo")
        bed.wait_next_hops(seconds=30)
        clients.wait(150, seconds=60)
        requests = clients.stop()
    bad, said = failures(requests)
    moments = [when for when, _ in bed.probes.changes[before:]]
    # What was on its way when next hops changed may fail, and what came while routers looked.
    late = [each for each in bad if not any(moment - ROUTERS - each["took"] <= each["t"] <= moment + ROUTERS for moment in moments)]
    if late:
        raise Failed(f"{said}; {len(late)} while routes stood")
    return said
