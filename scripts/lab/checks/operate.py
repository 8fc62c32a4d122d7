"""A running engine is operated: who may, flows that are killed, the panic button, the drain, the level of messages."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from ..eve import at
from ..hosts import BLOCK_RESET, BYPASS, WWW
from ..net import SERVER4
from ..runner import check
from ..shell import Failed, Process, run, tail, wait_for
from .fetch import ca_subject, fetched, issuer_of

# A group of each Debian, and one that the engine is not told of.
READERS, STRANGERS = 1, 65534


def _wire(lab, name):
    """An engine whose control socket lies where others can get at it. Returns the engine and a copy of the program beside the socket."""
    if not lab.binary:
        raise Failed("no engine in this lab")
    folder = Path(tempfile.mkdtemp(prefix=f"wg-{os.getpid()}-"))
    folder.chmod(0o755)
    program = Path(shutil.copy(lab.binary, folder / "wireglass"))
    engine = lab.engine_of(name, control=str(folder / "control.sock"))
    # The table of the control channel is the last one.
    engine.config.write_text(f'{engine.config.read_text().rstrip()}\nread_group = "daemon"\n')
    return lab.begin(engine), program


def _ask(program, *words, group=None, timeout=20):
    """Exit status and all that was said by a command, as root or as a user of this group."""
    who = [] if group is None else ["setpriv", "--reuid", "65534", "--regid", str(group), "--clear-groups", "--"]
    done = run([*who, program, *words, "--socket", program.parent / "control.sock"], check=False, timeout=timeout)
    return done.returncode, (done.stdout + done.stderr).decode()


def _need(program, *words, **options):
    status, said = _ask(program, *words, **options)
    if status != 0:
        raise Failed(f"`{' '.join(words)}` exit {status}: {said}")
    return said


def _top(program):
    return json.loads(_need(program, "top", "--json", "--interval", "0.1"))


def _end(engine, program):
    status = engine.stop()
    shutil.rmtree(program.parent, ignore_errors=True)
    if status != 0:
        raise Failed(f"the engine ended with exit {status}")


def _is_reset(tls):
    """Whether nothing comes any more but a RST."""
    try:
        tls.settimeout(5)
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while tls.recv(65536):
            pass
        return False
    except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
        return True


def _answers(tls):
    tls.settimeout(5)
    tls.sendall(f"GET / HTTP/1.1\r\nHost: {WWW}\r\n\r\n".encode())
    return b"hello from" in tls.recv(65536)


@check("operate.rights", group="alone")
def rights(lab):
    """root operates, the group of readers looks and is refused with words, others cannot open the socket"""
    engine, program = _wire(lab, "rights")
    _need(program, "flows", group=READERS)
    _need(program, "top", "--once", "--interval", "0.1", group=READERS)
    _need(program, "bypass", group=READERS)
    orders = (["flows", "kill", "1"], ["bypass", "--all", "--for", "1m"], ["bypass", "--end"], ["drain", "--no-wait"], ["reload"],
              ["log-level", "debug"], ["exclusions", "add", "x.test"], ["exclusions", "remove", "--all"])
    for words in orders:
        status, said = _ask(program, *words, group=READERS)
        if status != 1 or "you may look, not operate" not in said:
            raise Failed(f"a reader's `{' '.join(words)}`: exit {status}: {said}")
    status, said = _ask(program, "flows", group=STRANGERS)
    if status != 1 or "permission denied" not in said:
        raise Failed(f"a stranger's `flows`: exit {status}: {said}")
    if _top(program).get("orders"):
        raise Failed("an order of somebody who may not")
    _end(engine, program)
    return f"{len(orders)} commands refused"


@check("operate.kill", group="alone")
def kill(lab):
    """flows kill: by number and by condition; more than one takes --yes; both ends are reset, and the event says why"""
    engine, program = _wire(lab, "kill")
    ends = [lab.client.tls(WWW, SERVER4) for _ in range(3)]
    for tls, _port in ends:
        if not _answers(tls):
            raise Failed("no answer before anything was killed")
    flow = next(json.loads(line) for line in _need(program, "flows", "--json", "--port", str(ends[0][1])).splitlines())
    status, said = _ask(program, "flows", "kill", "--sni", WWW)
    if status != 1 or "3 flows match" not in said or "--yes" not in said:
        raise Failed(f"three at once without a yes: exit {status}: {said}")
    if not all(_answers(tls) for tls, _port in ends):
        raise Failed("one is dead, and nobody said yes")
    _need(program, "flows", "kill", str(flow["flow_id"]))
    if not _is_reset(ends[0][0]) or not all(_answers(tls) for tls, _port in ends[1:]):
        raise Failed("the wrong one, or none, was reset")
    done = json.loads(_need(program, "flows", "kill", "--sni", "WWW.*", "--yes", "--json").splitlines()[0])
    if done != {"matched": 2, "killed": 2, "complete": True} or not all(_is_reset(tls) for tls, _port in ends[1:]):
        raise Failed(f"by name: {done}")
    for _tls, port in ends:
        at(lab.eve.one("flow", port), "wireglass.reason", "operator.killed")
        lab.client.endings[port] = ["operator.killed"]
    status, said = _ask(program, "flows", "kill", "--sni", WWW)
    if status != 1 or "no flow matches" not in said:
        raise Failed(f"nothing to kill: exit {status}: {said}")
    _end(engine, program)
    return "1 by number, 2 by name"


def _is_bypassed(lab, host):
    """The client sees the server's own certificate."""
    seen = lab.client.curl(host, SERVER4)
    if seen.exit != 0 or seen.status != 200:
        raise Failed(f"{host}: curl exit {seen.exit}: {seen.why}")
    if issuer_of(seen.leaf) == ca_subject(lab):
        raise Failed(f"{host} is decrypted")
    return seen.local_port


@check("operate.bypass", group="alone")
def bypass(lab):
    """bypass --all: everything passes, told in events, top and metrics; open flows go on; it ends by itself; --now ends open flows"""
    engine, program = _wire(lab, "bypass")
    fetched(lab, SERVER4)
    tls, _port = lab.client.tls(WWW, SERVER4)
    _need(program, "bypass", "--all", "--for", "4s")
    ports = [_is_bypassed(lab, WWW), _is_bypassed(lab, BLOCK_RESET)]
    if not _answers(tls):
        raise Failed("an open flow does not go on")
    if [order["order"] for order in _top(program)["orders"]] != ["bypass"]:
        raise Failed("`top` does not tell")
    with lab.network.middle.entered():
        page = urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=5).read().decode()
    for line in ('wireglass_operator_order{order="bypass"} 1', 'wireglass_operator_order{order="drain"} 0'):
        if line not in page:
            raise Failed(f"no `{line}` in the metrics")
    wait_for(lambda: "time of an operator's order is up" in engine.log.read_text(), 10, "word of its end")
    fetched(lab, SERVER4)
    for port in ports:
        at(lab.eve.one("flow", port, seconds=20), "wireglass.order", "bypass")
    said = _need(program, "bypass", "--all", "--for", "1h", "--now")
    if "1 decrypted flow(s) ended" not in said and "2 decrypted flow(s) ended" not in said:
        raise Failed(f"--now: {said}")
    if not _is_reset(tls):
        raise Failed("--now: an open flow goes on")
    _is_bypassed(lab, WWW)
    _need(program, "bypass", "--end")
    fetched(lab, SERVER4)
    status, said = _ask(program, "bypass", "--end")
    if status != 1 or "no order" not in said:
        raise Failed(f"ended twice: exit {status}: {said}")
    if engine.log.read_text().count("an operator has all new flows bypassed") != 2:
        raise Failed("its messages do not tell of the orders")
    _end(engine, program)
    return "4 s, and until --end"


@check("operate.drain", group="alone")
def drain(lab):
    """drain: nothing new is decrypted, what policy blocks is blocked, and the command ends with the last decrypted flow"""
    engine, program = _wire(lab, "drain")
    tls, _port = lab.client.tls(WWW, SERVER4)
    said = {}
    thread = threading.Thread(target=lambda: said.update(end=_ask(program, "drain", timeout=60)))
    thread.start()
    wait_for(lambda: _top(program).get("orders"), 5, "order")
    port = _is_bypassed(lab, WWW)
    at(lab.eve.one("tls", port), "wireglass.reason", "operator.drain")
    if lab.client.curl(BLOCK_RESET, SERVER4, "-k").exit == 0:
        raise Failed("what policy blocks is served")
    time.sleep(1)
    if not thread.is_alive() or not _answers(tls):
        raise Failed(f"it does not wait, or the open flow is dead: {said}")
    tls.unwrap()
    tls.close()
    thread.join(60)
    status, words = said.get("end", (None, ""))
    if status != 0 or "no decrypted flow is left" not in words:
        raise Failed(f"exit {status}: {words}")
    wait_for(lambda: "drained" in engine.log.read_text(), 5, "word of it in the engine's messages")
    _need(program, "drain", "--end")
    fetched(lab, SERVER4)
    _end(engine, program)


def _second(lab, name, first, program, limit):
    """Another engine on the same wire, which begins to take over from the first one."""
    second = lab.engine_of(name, control=str(program.parent / "control.sock"))
    second.argv = [*second.argv, "--take-over", limit]
    second.process = Process(second.argv, second.log, second.name)
    second.process.wait_text(f"taking over from process {first.process.popen.pid}", 20)
    return second


def _cannot_take_over(lab, first, program, change, ends):
    """An engine with something changed in its configuration ends with this status and these words, and the first one has not been drained."""
    broken = lab.engine_of("turns-broken", control=str(program.parent / "control.sock"))
    broken.config.write_text(broken.config.read_text().replace(*change))
    orders = first.log.read_text().count("an operator has")
    done = run([*broken.argv, "--take-over", "1s"], check=False)
    status, says = ends
    said = done.stderr.decode()
    if done.returncode != status or says not in said or not first.alive() or first.log.read_text().count("an operator has") != orders:
        raise Failed(f"{change[1]}: exit {done.returncode}: {said}")


@check("operate.take-over", group="alone")
def take_over(lab):
    """run --take-over: a second engine waits for what is decrypted, has the first one stop, and goes on where it was"""
    first, program = _wire(lab, "turns-first")
    passing, _port = lab.client.tls(BYPASS, SERVER4)
    short, _port = lab.client.tls(WWW, SERVER4)
    lasting, lasting_port = lab.client.tls(WWW, SERVER4)
    if not all(map(_answers, (passing, short, lasting))):
        raise Failed("no answer before anything was done")
    # Somebody who thinks better of it.
    undone = _second(lab, "turns-undone", first, program, "60s")
    wait_for(lambda: _top(program).get("orders"), 5, "order to drain")
    if undone.process.stop() != 1 or "the engine that runs goes on" not in undone.log.read_text() or _top(program).get("orders"):
        raise Failed(f"it was to be undone: exit {undone.process.returncode}, orders {_top(program).get('orders')}\n{tail(undone.log)}")
    # And those that could not have worked.
    with lab.network.middle.entered():
        taken = socket.create_server(("127.0.0.1", 0))
    elsewhere = f"127.0.0.1:{taken.getsockname()[1]}"
    for old, new, status, says in (
            ("[control]", "colour = 1\n[control]", 2, "colour: unknown key"),
            ("eve.json", "/proc/eve.json", 1, "log.eve: cannot write the event log"),
            ("127.0.0.1:9464", elsewhere, 1, f"metrics.listen: cannot listen on {elsewhere}"),
            ("[control]", '[confine]\nuser = "nobody"\n[control]', 1, "log.eve: cannot write the event log"),
            ("[control]", '[exclusions]\nfile = "/proc/exclusions.json"\n[control]', 1, "exclusions.file: ")):
        _cannot_take_over(lab, first, program, (old, new), (status, says))
    taken.close()
    fetched(lab, SERVER4)
    pings = subprocess.Popen(lab.network.client.argv("ping", "-n", "-i", "0.01", "-c", "1500", "-W", "1", SERVER4), stdout=subprocess.PIPE)
    try:
        second = _second(lab, "turns-second", first, program, "4s")
        port = _is_bypassed(lab, WWW)
        at(lab.eve.one("tls", port), "wireglass.reason", "operator.drain")
        short.unwrap()
        short.close()
        if not first.alive() or not _answers(lasting) or not _answers(passing):
            raise Failed("it does not wait for what is decrypted")
        second.process.wait_text("wireglass: running", 20)
        if first.process.popen.wait(5) != 0 or "mbufs balanced" not in first.log.read_text() or " ERROR " in first.log.read_text():
            raise Failed(f"the first one's end: exit {first.process.returncode}\n{tail(first.log)}")
        if not _is_reset(lasting):
            raise Failed("the one that lasts is not reset")
        # Those that have ended a moment ago linger, and are counted.
        if not re.search(r"the engine that ran stops: [1-9] decrypted flow\(s\) are left and reset, [1-9]", second.log.read_text()):
            raise Failed(f"it is not told that one was reset\n{tail(second.log, lines=40)}")
        lab.client.endings[lasting_port] = ["engine.shutdown"]
        if not _answers(passing):
            raise Failed("what is bypassed does not go on")
        lab.middle = second
        fetched(lab, SERVER4)
        seen = [json.loads(line) for line in _need(program, "flows", "--json", "--phase", "bypassed").splitlines()]
        if not any(flow["dest_port"] == 443 for flow in seen):
            raise Failed(f"the second one does not see what it lets pass: {seen}")
    finally:
        pings.terminate()
        said = pings.communicate()[0].decode()
        first.stop()
    numbers = [int(found) for found in re.findall(r"icmp_seq=(\d+)", said)]
    gap = max((after - before - 1) * 10 for before, after in zip(numbers, numbers[1:]))
    passing.close()
    _end(second, program)
    return f"nothing passes for {gap} ms"


@check("operate.log-level", group="alone")
def log_level(lab):
    """log-level: more is said at once, and less"""
    engine, program = _wire(lab, "log-level")
    _need(program, "log-level", "error")
    _need(program, "bypass", "--all", "--for", "1s")
    _need(program, "bypass", "--end")
    time.sleep(0.2)
    if "an operator has all new flows bypassed" in engine.log.read_text():
        raise Failed("a warning, at level error")
    _need(program, "log-level", "info", "--json")
    time.sleep(0.2)
    _need(program, "bypass", "--all", "--for", "1s")
    wait_for(lambda: "an operator has all new flows bypassed" in engine.log.read_text(), 5, "warning at level info")
    _end(engine, program)
