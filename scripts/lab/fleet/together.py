"""The checks of what engines share through etcd."""

import json
import time

from ..shell import Failed, wait_for
from .bed import BLOCKED, COSTLY, FRESH, INSISTING, RULES
from .checks import ROUTERS, check
from .clients import connect, failures, load
from .network import CLIENTS, COSTLY_SERVER, ENGINES, SERVER

# Known at all within a second, and some for a machine of two cores.
SECOND = 2.0
MINUTE = 60


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


@check("verified-chain")
def verified_chain(bed):
    """a chain that one engine has verified is not verified anew at the others: known at all within a second, and their log says whose word it is"""
    context = bed.context()
    heard = {number: bed.metric(number, "wireglass_fleet_chains") for number in ENGINES}
    port, _, _ = connect(bed, context, host=FRESH)
    began = time.monotonic()
    first, _ = bed.where(port, CLIENTS[0])
    others = [number for number in ENGINES if number != first]
    wait_for(lambda: all(bed.metric(number, "wireglass_fleet_chains") > heard[number] for number in others), 10,
             f"another chain at {others}, before {heard}", step=0.05)
    took = time.monotonic() - began
    if took > SECOND:
        raise Failed(f"known at all after {took:.1f} s only")

    def counted(name, label=""):
        return [bed.metric(number, name, label) for number in others]
    misses = counted("wireglass_tls_cache_misses_total", 'cache="verification"')
    used = counted("wireglass_fleet_chains_used_total")
    found = _through_all(bed, lambda client: connect(bed, context, client=client, host=FRESH)[:2])
    for number, (_, event) in found.items():
        by = event["wireglass"].get("verified_by")
        if by != (None if number == first else bed.name(first)):
            raise Failed(f"{bed.name(number)}: verified by {by}, not by {bed.name(first)}")
    if counted("wireglass_tls_cache_misses_total", 'cache="verification"') != misses:
        raise Failed("an engine has verified it anew")
    spared = sum(counted("wireglass_fleet_chains_used_total")) - sum(used)
    if spared < 2:
        raise Failed(f"{spared} verifications were spared")
    return f"verified at {bed.name(first)}, known at all after {took:.2f} s, {spared:.0f} verifications spared"


@check("costly-server")
def costly_server(bed):
    """a server whose chain is costly to verify: learned at one engine, known at all within a second"""
    def known():
        return [bed.metric(number, "wireglass_fleet_costly_servers") for number in ENGINES]
    if any(known()):
        raise Failed(f"known before: {known()}")
    _, error = _tried(bed, CLIENTS[3], COSTLY, COSTLY_SERVER)
    began = time.monotonic()
    if error is None:
        raise Failed("its chain was found good")
    wait_for(lambda: sorted(known()) == [0, 1, 1], 10, f"it is known at two others: {known()}", step=0.05)
    took = time.monotonic() - began
    if took > SECOND:
        raise Failed(f"known at all after {took:.1f} s only")
    said = json.loads(bed.command("fleet", "learned", "--json").stdout)["engines"]
    told = [each["name"] for each in said if COSTLY_SERVER in (server["address"] for server in each["costly_servers"])]
    if len(told) != 1:
        raise Failed(f"`fleet learned` says {said}")
    return f"learned at {told[0]}, known at all after {took:.2f} s"


@check("push")
def push(bed):
    """a policy is pushed and rolled back under load: in force at all engines, and no request fails"""
    def blocked():
        found = _through_all(bed, lambda client: _tried(bed, client, BLOCKED))
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


def _tried(bed, client, host, address=SERVER):
    """A handshake. Returns its client port, and why it failed, or None."""
    with bed.network.client.socket() as plain:
        plain.settimeout(10)
        plain.bind((client, 0))
        port = plain.getsockname()[1]
        plain.connect((address, 443))
        try:
            with bed.context().wrap_socket(plain, server_hostname=host):
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
        with load(bed, every=5.0) as clients:
            wait_for(lambda: len(_status(bed)["engines"]) == 2, 30, "end of its lease", step=0.5)
            bed.command("policy", "push", _policy(bed, RULES), "--note", "during the partition")
            active = _status(bed)["active"]
            _all(bed, "wireglass_fleet_generation", active, 10, ENGINES[:2])
            time.sleep(max(0, began + MINUTE - time.monotonic()))
            requests = clients.stop()
        if bed.metric(3, "wireglass_fleet_generation") == active:
            raise Failed("it has the new generation while it is cut off")
        if bed.metric(3, "wireglass_fleet_connected") != 0 or bed.metric(3, "wireglass_fleet_chains") != 0:
            raise Failed("it does not know that it is cut off, or still goes by what others have verified")
        took = time.monotonic() - began
    finally:
        bed.network.management(third, up=True)
    bad, said = failures(requests)
    if bad:
        raise Failed(said)
    _all(bed, "wireglass_fleet_generation", active, 40)
    return f"cut off for {took:.0f} s; generation {active} at all; {said}"


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
        # The upgrade: another process, and another version if there is one.
        status = bed.engines[number].stop()
        if status != 0:
            raise Failed(f"it ended with exit {status}")
        bed.restart(number, bed.other)
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


def _replace(bed, number, binary):
    bed.engines[number].stop()
    bed.wait_next_hops([each for each in ENGINES if each != number])
    bed.restart(number, binary)
    bed.wait_next_hops(seconds=30)


@check("mixed-versions")
def mixed_versions(bed):
    """engines of two versions: told apart, a policy goes out by way of the newer one, a value of a newer schema is refused and told"""
    def versions():
        return {each["name"]: each["version"] for each in _status(bed)["engines"]}
    number, name = 1, bed.name(1)
    wait_for(lambda: len(versions()) == len(ENGINES), 30, "three engines in `fleet status`", step=0.5)
    if versions()[name] == versions()[bed.name(2)]:
        # `drain` has upgraded it, where it has run.
        _replace(bed, number, bed.other)
    wait_for(lambda: len(set(versions().values())) == 2, 30, "two versions in `fleet status`", step=0.5)
    told = versions()
    with load(bed, every=2.0) as clients:
        bed.command("policy", "push", _policy(bed, RULES), "--canary", name, "--note", "by way of the newer one")
        status = _status(bed)
        went_first = [each["name"] for each in status["engines"] if each["generation"] == status["rollout"]["generation"]]
        if went_first != [name]:
            raise Failed(f"in force at {went_first}")
        bed.command("policy", "go-on")
        _all(bed, "wireglass_fleet_generation", status["rollout"]["generation"], 10)

        def refused():
            return [bed.metric(each, "wireglass_fleet_values_refused_total", 'reason="schema"') for each in ENGINES]
        before = refused()
        bed.etcd.put(f"/wireglass/lab/v1/engine/{name}/costly", '{"schema":2,"networks":["10.220.0.0/24"]}')
        wait_for(lambda: all(now > then for now, then in zip(refused(), before)), 10, f"it is refused: {refused()}, before {before}")
        said = bed.command("fleet", "status").stderr.decode()
        logs = [bed.engines[each].log.read_text(errors="replace") for each in ENGINES]
        if f"{name}/costly: not taken: schema" not in said or not all(f'{name}/costly" is not taken: schema' in log for log in logs):
            raise Failed(f"it is not told: {said!r}")
        clients.wait(100, seconds=60)
        bed.command("policy", "push", _policy(bed, RULES), "--note", "after a newer schema")
        requests = clients.stop()
    bad, failed = failures(requests)
    if bad:
        raise Failed(failed)
    _replace(bed, number, bed.binary)
    return f"{', '.join(f'{each} {version}' for each, version in told.items())}; {failed}"
