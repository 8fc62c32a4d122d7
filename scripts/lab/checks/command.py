"""The command line: start, stop, exit codes, and how configuration faults are told."""

import hashlib
import re
import signal
import ssl
import stat

from ..engine import Engine, Setup
from ..hosts import BYPASS, WWW
from ..net import SERVER4
from ..peers import Peer, endless_response
from ..runner import check
from ..shell import Failed, run
from .fetch import fetched

FAULTS = {
    "an unknown key": ("[workers]\n", "[workers]\nfavourite_colour = \"blue\"\n", "favourite_colour"),
    "a missing policy": ("[policy]\ndefault = \"decrypt\"\n", "", "policy"),
    "an unknown action": ("default = \"decrypt\"", "default = \"peek\"", "default"),
    "a bad network": ("name = \"no banking\"\n", "name = \"no banking\"\nsource = [\"10.0.0.0/33\"]\n", "source"),
    "a bad number": ("stats_seconds = 1", "stats_seconds = \"often\"", "stats_seconds"),
    "an unknown profile": ("profile = \"warn\"", "profile = \"nowhere\"", "profile"),
    "a missing file": ("untrusted.pem", "nothing-here.pem", "untrusted"),
    "broken TOML": ("[metrics]", "[metrics", ""),
}


def _need_engine(lab):
    if not lab.binary:
        raise Failed("no engine in this lab")


def _config(lab, name):
    """Writes a good configuration (without starting anything) and returns its path."""
    setup = Setup(roots=(lab.root.cert,), rules=lab.rules)
    return Engine(lab.binary, lab.network, lab.folder / name, lab.ca, setup).config


@check("command.check-good", group="alone")
def check_good(lab):
    """`check` accepts a good configuration: exit 0 and a summary"""
    _need_engine(lab)
    done = run([lab.binary, "check", "-c", _config(lab, "good")])
    said = (done.stdout + done.stderr).decode().strip()
    if not said:
        raise Failed("no summary")
    return said.splitlines()[0][:80]


@check("command.check-faults", group="alone")
def check_faults(lab):
    """Each kind of configuration fault: exit 2, with FILE:LINE and the key"""
    _need_engine(lab)
    config = _config(lab, "faulty")
    good = config.read_text()
    for what, (old, new, key) in FAULTS.items():
        if old not in good:
            raise Failed(f"the lab's own configuration has no `{old}`")
        config.write_text(good.replace(old, new, 1))
        for command in ("check", "run"):
            done = lab.network.middle.run(lab.binary, command, "-c", config, check=False, timeout=10)
            said = (done.stdout + done.stderr).decode()
            if done.returncode != 2:
                raise Failed(f"{what}: `{command}` exit {done.returncode}, expected 2: {said[-200:]}")
            if not re.search(rf"{re.escape(str(config))}:\d+:", said) and what != "a missing policy":
                raise Failed(f"{what}: no FILE:LINE in `{said.strip()[-200:]}`")
            if key not in said:
                raise Failed(f"{what}: `{key}` is not named in `{said.strip()[-200:]}`")
    return f"{len(FAULTS)} faults, `check` and `run`"


@check("command.open-key", group="alone")
def open_key(lab):
    """An authority's key that others can read is refused: exit 2, the file is named"""
    _need_engine(lab)
    config = _config(lab, "open-key")
    key = lab.ca / "trusted.key"
    for mode in (0o640, 0o604):
        key.chmod(mode)
        try:
            done = run([lab.binary, "check", "-c", config], check=False)
        finally:
            key.chmod(0o600)
        said = (done.stdout + done.stderr).decode()
        if done.returncode != 2 or "trusted.key" not in said:
            raise Failed(f"mode {mode:o}: exit {done.returncode}: {said[-200:]}")
    return "modes 640 and 604"


@check("command.ca", group="alone")
def ca(lab):
    """`ca init` makes private keys, never overwrites; `ca show` tells the fingerprints that openssl computes"""
    _need_engine(lab)
    folder = lab.folder / "another-ca"
    run([lab.binary, "ca", "init", "--dir", folder, "--name", "Lab Inspection CA", "--days", 30])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("trusted.key", "untrusted.key"):
        mode = stat.S_IMODE((folder / name).stat().st_mode)
        if mode != 0o600:
            raise Failed(f"{name} has mode {mode:o}")
    again = run([lab.binary, "ca", "init", "--dir", folder], check=False)
    if again.returncode == 0 or before != {path.name: path.read_bytes() for path in folder.iterdir()}:
        raise Failed(f"a second `ca init` ended with exit {again.returncode} and may have overwritten the first")
    shown = run([lab.binary, "ca", "show", "--dir", folder]).stdout.decode()
    bare = re.sub("[^0-9a-f]", "", shown.lower())
    for name in ("trusted.pem", "untrusted.pem"):
        pem = (folder / name).read_text()
        if hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest() not in bare:
            raise Failed(f"`ca show` does not tell the SHA-256 fingerprint of {name}")
        text = run(["openssl", "x509", "-in", folder / name, "-noout", "-text"]).stdout.decode()
        if "CA:TRUE" not in text or "Certificate Sign" not in text:
            raise Failed(f"{name} is no authority")
    run([lab.binary, "ca", "init", "--dir", folder, "--force"])
    if before["trusted.pem"] == (folder / "trusted.pem").read_bytes():
        raise Failed("--force made no new authority")


@check("command.usage", group="alone")
def usage(lab):
    """--help everywhere; a wrong option is exit 2"""
    _need_engine(lab)
    for words in ([], ["run"], ["check"], ["flows"], ["ca"], ["ca", "init"], ["ca", "show"]):
        if not run([lab.binary, *words, "--help"]).stdout.strip():
            raise Failed(f"no help for `{' '.join(words)}`")
    for words in (["run"], ["run", "-c", "/nonexistent.toml"], ["--no-such-option"], ["check"]):
        status = run([lab.binary, *words], check=False).returncode
        if status != 2:
            raise Failed(f"`{' '.join(words)}` exit {status}, expected 2")


@check("command.sigint", group="alone")
def sigint(lab):
    """SIGINT, with connections open: exit 0, every buffer back (SIGTERM: see stop.*)"""
    _need_engine(lab)
    engine = lab.wire("sigint")
    with Peer(lab.network, endless_response, lab.certificates[WWW]) as peer:
        tls, _port = lab.client.tls(WWW, peer.address)
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        tls.recv(65536)
        # Nobody reads: queues are full in both directions when the signal arrives.
        status = engine.stop(signal.SIGINT)
        tls.close()
    if status != 0:
        raise Failed(f"exit {status}")
    if "mbufs balanced" not in engine.log.read_text():
        raise Failed("no line `mbufs balanced`")


@check("command.restart", group="alone")
def restart(lab):
    """Start and stop three times on the same ports"""
    _need_engine(lab)
    for number in range(3):
        engine = lab.wire(f"restart-{number}")
        fetched(lab, SERVER4)
        status = engine.stop()
        if status != 0:
            raise Failed(f"stop {number + 1}: exit {status}")


@check("command.midstream", group="alone")
def midstream(lab):
    """A bypassed connection outlives a restart of the engine: the new one sees it from the middle and forwards it, as it has just been started"""
    _need_engine(lab)
    first = lab.wire("midstream-1")
    context = lab.client.context()
    sock, _port = lab.client.connect(SERVER4, "python midstream")
    with context.wrap_socket(sock, server_hostname=BYPASS) as tls:
        for engine in (first, None):
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {BYPASS}\r\n\r\n".encode())
            answer = tls.recv(65536)
            if b"hello from" not in answer:
                raise Failed(f"answer {answer[:60]!r} {'before' if engine else 'after'} the restart")
            if engine:
                engine.stop()
                lab.wire("midstream-2")
    if lab.middle.stop() != 0:
        raise Failed("the second engine did not end well")
