"""The CAs' keys: in the signer's process, and in no other."""

import re
import ssl
import time
from pathlib import Path

from .. import pki
from ..eve import at
from ..hosts import WWW
from ..own_engine import need_engine, own_engine
from ..net import SERVER4
from ..runner import check
from ..shell import Failed, run
from .fetch import fetched
from .reload import Streams

_CHUNK = 1 << 20


def _private_scalar(key: Path):
    """The secret number of a key on P-256."""
    text = run(["openssl", "pkey", "-in", key, "-noout", "-text"]).stdout.decode()
    digits = re.search(r"priv:\s*((?:[0-9a-f]{2}[:\s]*)+)", text)[1]
    return bytes.fromhex(re.sub(r"[:\s]", "", digits)).rjust(32, b"\0")[-32:]


def _has(pid, needle):
    """Whether the memory of a process has these bytes, in this order or backwards (limbs of a number), all that can be read of it."""
    wanted = (needle, needle[::-1])
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if line.split()[1][0] != "r" or "[v" in line:
                continue
            place, kept = begin, b""
            while place < end:
                try:
                    memory.seek(place)
                    piece = memory.read(min(_CHUNK, end - place))
                except OSError:
                    break
                if not piece:
                    break
                if any(each in kept + piece for each in wanted):
                    return True
                kept, place = piece[-64:], place + len(piece)
    return False


def children(pid):
    """Processes that this one has started."""
    return [int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()]


def _processes(engine):
    """The engine, who keeps its signer, and the signer."""
    pid = engine.process.popen.pid
    return pid, *_signers(pid)


def _signers(pid):
    [keeper] = [each for each in children(pid) if b"signer" in Path(f"/proc/{each}/cmdline").read_bytes()]
    [signer] = children(keeper)
    return keeper, signer


def signer_of(pid):
    """The process that signs for an engine."""
    return _signers(pid)[1]


def _until(what, done, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if done():
            return
        time.sleep(0.05)
    raise Failed(f"not within {seconds} s: {what}")


def _metric(lab, name):
    page = lab.network.middle.run("curl", "-s", "http://127.0.0.1:9464/metrics").stdout.decode()
    return int(float(re.search(rf"^{re.escape(name)} (\S+)$", page, re.M)[1]))


@check("custody.memory", group="alone")
def memory(lab):
    """While it runs, the CAs' keys are in the signer's memory, and not in the engine's nor in the one that starts it again"""
    need_engine(lab)
    secrets = [_private_scalar(lab.ca / f"{name}.key") for name in ("trusted", "untrusted")]
    with own_engine(lab, "custody-memory") as engine:
        fetched(lab, SERVER4)
        pid, keeper, signer = _processes(engine)
        found = [[_has(each, secret) for secret in secrets] for each in (pid, keeper, signer)]
        if found != [[False, False], [False, False], [True, True]]:
            raise Failed(f"keys found in engine, keeper, signer: {found}")
        files = {str(each.readlink()) for process in (pid, keeper, signer) for each in Path(f"/proc/{process}/fd").iterdir()}
        if any(each.endswith(".key") for each in files):
            raise Failed(f"a key file is open: {sorted(files)}")
        status = Path(f"/proc/{signer}/status").read_text()
        if "NoNewPrivs:\t1" not in status or re.search(r"VmLck:\s+0 kB", status):
            raise Failed(f"the signer is not confined: {status}")
    return "both keys: engine no, keeper no, signer yes"


@check("custody.killed", group="alone")
def killed(lab):
    """A signer that is killed is started again; without its keeper, the engine ends"""
    need_engine(lab)
    with own_engine(lab, "custody-killed") as engine:
        _, keeper, signer = _processes(engine)
        run(["kill", "-KILL", signer])
        _until("a second start", lambda: _metric(lab, "wireglass_signer_starts_total") == 2)
        fetched(lab, SERVER4)
        if _metric(lab, "wireglass_signer_up") != 1:
            raise Failed("it signs, and is said to be down")
    engine = lab.wire("custody-gone")
    _, keeper, _ = _processes(engine)
    run(["kill", "-KILL", keeper])
    _until("the engine's end", lambda: not engine.alive())
    if engine.stop() != 1 or "the signer is gone" not in engine.log.read_text(errors="replace"):
        raise Failed("the engine did not end because of it")
    return "started again; without a keeper: exit 1"


@check("custody.day", group="alone")
def day(lab):
    """A CA for a day below a root elsewhere is replaced by the next one under way"""
    need_engine(lab)
    root = pki.Authority(lab.folder / "ca-root", "Lab Inspection Root")
    files = lab.folder / "ca-of-the-day"
    files.mkdir()
    for name in ("untrusted.pem", "untrusted.key"):
        (files / name).write_bytes((lab.ca / name).read_bytes())
        (files / name).chmod(0o600)

    def renew(number):
        today = pki.Authority(lab.folder / f"ca-day-{number}", f"Lab Inspection Day {number}", root)
        (files / "trusted.pem").write_bytes(today.cert.read_bytes() + root.cert.read_bytes())
        (files / "trusted.key").write_bytes(today.key.read_bytes())
        (files / "trusted.key").chmod(0o600)

    renew(1)
    engine = lab.engine_of("custody-day")
    text = engine.config.read_text()
    engine.config.write_text(text.replace(str(lab.ca), str(files)))
    lab.begin(engine)
    stream = Streams(lab, ssl.create_default_context(cafile=str(root.cert)))
    seen = []
    for number in (1, 2):
        if number == 2:
            renew(2)
            run([lab.binary, "reload", "-c", engine.config], timeout=60)
        _, said, _ = lab.client.s_client(WWW, SERVER4, "-CAfile", root.cert)
        if "Verify return code: 0 (ok)" not in said:
            raise Failed(f"day {number}: the root is not enough: {said[-400:]}")
        seen.append(re.search(r"Lab Inspection Day (\d)", said)[1])
    if seen != ["1", "2"]:
        raise Failed(f"copies were signed on days {seen}")
    # A connection of the first day, which the second has not cut.
    heard = stream.told
    _until("more of the stream", lambda: stream.told > heard + 20)
    stream.end()
    if engine.stop() != 0:
        raise Failed("the engine's end")
    return f"a client that has the root alone takes copies of both days; a connection of day 1 went on ({stream.heard} events)"


_MODULE = "/usr/lib/softhsm/libsofthsm2.so"
_PIN = "correct-horse"


def _token(lab, folder):
    """A token of SoftHSM that has both CAs' keys. Returns its configuration's file, and the folder that goes away when it is taken out."""
    tokens = folder / "tokens"
    tokens.mkdir(parents=True)
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    softhsm = ["env", f"SOFTHSM2_CONF={settings}", "softhsm2-util"]
    run([*softhsm, "--init-token", "--free", "--label", "lab", "--so-pin", "sesame", "--pin", _PIN])
    for number, name in enumerate(("trusted", "untrusted"), 1):
        run([*softhsm, "--import", lab.ca / f"{name}.key", "--token", "lab", "--label", name, "--id", f"0{number}", "--pin", _PIN])
    pin = folder / "pin"
    pin.write_text(_PIN)
    pin.chmod(0o600)
    return settings, tokens


@check("custody.token", group="alone")
def token(lab):
    """Both keys at a token (SoftHSM): copies are signed there; taken out, new ones fail by name, and go on when it is back"""
    need_engine(lab)
    folder = lab.folder / "custody-hsm"
    settings, tokens = _token(lab, folder)
    engine = lab.engine_of("custody-token")
    text = engine.config.read_text()
    for name in ("trusted", "untrusted"):
        text = text.replace(f'key = "{lab.ca}/{name}.key"', f'key = "pkcs11:token=lab;object={name};type=private"')
    text = text.replace("[ca]\n", f'[ca]\npkcs11_module = "{_MODULE}"\npassphrase_file = "{folder}/pin"\n')
    engine.config.write_text(text)
    engine.argv = lab.network.middle.argv("env", f"SOFTHSM2_CONF={settings}", lab.binary, "run", "-c", engine.config)
    lab.begin(engine)
    fetched(lab, SERVER4)
    secrets = [_private_scalar(lab.ca / f"{name}.key") for name in ("trusted", "untrusted")]
    pid, keeper, signer = _processes(engine)
    found = [[_has(each, secret) for secret in secrets] for each in (pid, keeper)]
    if found != [[False, False], [False, False]]:
        raise Failed(f"keys found in engine, keeper: {found}")
    in_signer = [_has(signer, secret) for secret in secrets]

    away = folder / "away"
    tokens.rename(away)
    tokens.mkdir()
    seen = lab.client.curl("asking.lab.test", SERVER4)
    if seen.exit == 0:
        raise Failed("a copy was signed without the token")
    at(lab.eve.one("tls", seen.local_port), "wireglass.reason", ["mint.failed"])
    # What was signed before is still at hand.
    fetched(lab, SERVER4)
    tokens.rmdir()
    away.rename(tokens)
    _until("a copy after the token's return", lambda: lab.client.curl("asking.lab.test", SERVER4).status == 200)
    if _metric(lab, "wireglass_signer_starts_total") != 1:
        raise Failed("the signer was started again")
    failed = _metric(lab, 'wireglass_signer_requests_total{outcome="failed"}')
    log = engine.log.read_text(errors="replace")
    if failed < 1 or "does not sign" not in log or "signs again" not in log or _PIN in log:
        raise Failed(f"{failed} requests failed; the log says: {log[-600:]}")
    if engine.stop() != 0:
        raise Failed("the engine's end")
    return (f"keys: engine no, keeper no, signer {in_signer} (SoftHSM is software in the signer's process); "
            f"taken out: mint.failed, {failed} request(s); back: signed again by the same signer")


def _threads(pid):
    """The threads of a process: names, and what the kernel says of each."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line)
        status = {key: value.strip() for key, value in lines}
        yield status["Name"], status


@check("custody.confined", group="alone")
def confined(lab):
    """The signer's threads have a filter of system calls and no capabilities but the one for locked memory; doctor says so"""
    need_engine(lab)
    with own_engine(lab, "custody-confined") as engine:
        fetched(lab, SERVER4)
        _, _, signer = _processes(engine)
        threads = list(_threads(signer))
        locks = 1 << 14
        for name, status in threads:
            may_read = 0 if name.startswith("wg-sign") else 1 << 1
            if int(status["Seccomp_filters"]) < 3 or int(status["CapEff"], 16) & ~(locks | may_read):
                raise Failed(f"{name}: {status['Seccomp_filters']} filters, capabilities {status['CapEff']}")
        signing = [name for name, _ in threads if name.startswith("wg-sign")]
        if len(signing) != 4:
            raise Failed(f"threads of the signer: {[name for name, _ in threads]}")
        done = run(lab.network.middle.argv(lab.binary, "doctor", "-c", engine.config), check=False)
        said = [line for line in done.stdout.decode().splitlines() if "signer" in line]
        if not said or "system calls of all" not in said[0]:
            raise Failed(f"doctor says {said} of the signer")
    return said[0].strip()
