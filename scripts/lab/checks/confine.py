"""A running engine is confined: what the kernel says of its threads, and that all of its work goes on, strictly."""

import json
import os
import shutil
from pathlib import Path

from ..fetcher import ALLOWED, authority, counted, pki, publish_crl
from ..net import SERVER4
from ..own_engine import need_engine, running
from ..ports import AfPacket, AfXdp, has_xdp
from ..runner import check
from ..servers import s_server
from ..shell import Failed, run, wait_for
from .fetch import fetched
from .profile import exclusions

_HOST = "confined.lab.test"
# Threads that the engine starts; the others are EAL's.
_OWN = ("wireglass", "wg-", "log", "links", "metrics")
# Bits: <linux/capability.h>.
_DAC_OVERRIDE, _NET_ADMIN, _NET_RAW, _SYS_ADMIN, _BPF = 1 << 1, 1 << 12, 1 << 13, 1 << 21, 1 << 39
_NOBODY = 65534


def _engine(lab, name, lines="", **options):
    """An engine that does all that an engine can, in strict mode."""
    need_engine(lab)
    engine = lab.engine_of(f"confine-{name}", **options)
    (engine.folder / "captured").mkdir()
    text = engine.config.read_text().rstrip()
    engine.config.write_text(f"""{text}

[confine]
mode = "strict"
{lines}
[exclusions]
file = "exclusions.json"

[capture]
folder = "captured"
minutes = 5

[fetch]
crls = true
allow = ["{ALLOWED}"]
""")
    return engine


def _cores(text):
    """Of a list as the kernel writes it: 0-2,7."""
    ends = [part.split("-") for part in text.strip().split(",")]
    return {core for part in ends for core in range(int(part[0]), int(part[-1]) + 1)}


def _threads(engine):
    """What the kernel says: name, user, capabilities, filters, cores of each thread."""
    threads = []
    for status in Path(f"/proc/{engine.process.popen.pid}/task").glob("*/status"):
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        threads.append({"name": lines["Name"].strip(), "uid": int(lines["Uid"].split()[1]), "rights": int(lines["CapEff"], 16),
                        "bounded": lines["NoNewPrivs"].strip() == "1", "filters": int(lines["Seccomp_filters"]),
                        "cores": _cores(lines["Cpus_allowed_list"])})
    return threads


def _look(engine, main, user=0):
    """Each thread has what its kind may have. `main`: capabilities of the main thread."""
    files = _DAC_OVERRIDE if user == 0 else 0
    may = {"wireglass": main | files, "links": _NET_ADMIN, "log": files, "wg-reload": files, "wg-capture": files, "wg-exclusions": files}
    # A thread that has just begun gives up what it does not take first of all.
    wait_for(lambda: all(each["filters"] > 2 for each in _threads(engine) if each["name"].startswith(_OWN)), 10,
             "filters of each thread")
    threads = _threads(engine)
    own = [each for each in threads if each["name"].startswith(_OWN)]
    for each in threads:
        if not each["bounded"] or each["filters"] < (3 if each in own else 1) or each["uid"] != user:
            raise Failed(f"not confined: {each}")
    for each in own:
        if each["rights"] != may.get(each["name"], 0):
            raise Failed(f"other capabilities than {may.get(each['name'], 0):x}: {each}")
    workers = set(engine.setup.cores or engine.ports.cores)
    for each in threads:
        if not each["cores"] <= workers if each["name"].startswith("wg-worker") else each["cores"] & workers:
            raise Failed(f"workers have the cores {workers}, and those alone: {each}")
    kinds = {each["name"].rstrip("0123456789-") for each in own}
    missing = {*may, "wg-worker", "wg-shake", "wg-content", "wg-control", "wg-fetch", "metrics"} - kinds
    if missing:
        raise Failed(f"no thread of these: {' '.join(sorted(missing))}")
    return f"{len(own)} threads and {len(threads) - len(own)} of EAL's"


def _reloads(lab, engine):
    done = run([lab.binary, "reload", "-c", engine.config], check=False, timeout=60)
    if done.returncode != 0:
        raise Failed(f"reload: {(done.stdout + done.stderr).decode()}")


def _works(lab, engine):
    """A flow, a new configuration put in the place of the old one, a rotated log, exclusions, a CRL, a capture, orders, metrics."""
    fetched(lab, SERVER4)
    # As editors do it: another file, of the same name.
    new = engine.config.with_suffix(".new")
    new.write_text(engine.config.read_text().replace('level = "info"', 'level = "debug"'))
    shutil.copystat(engine.config, new)
    os.chown(new, engine.config.stat().st_uid, engine.config.stat().st_gid)
    new.rename(engine.config)
    eve = engine.folder / "eve.json"
    eve.rename(engine.folder / "eve.json.1")
    _reloads(lab, engine)
    wait_for(eve.exists, 5, "the event log, opened anew")
    fetched(lab, SERVER4)
    wait_for(lambda: '"http"' in eve.read_text(), 5, "events in the new log")
    exclusions(lab, "add", "excluded.lab.test")
    wait_for(lambda: "excluded.lab.test" in (engine.folder / "exclusions.json").read_text(), 5, "the exclusion in its file")
    _fetches(lab)
    for words in (["flows"], ["top", "--json", "--interval", "0.1"], ["bypass"], ["log-level", "info"]):
        run([lab.binary, *words, "-c", engine.config], timeout=20)
    counted(lab, "crl", "stored")
    wait_for(lambda: any(file.stat().st_size > 2000 for file in (engine.folder / "captured").iterdir()), 5, "a capture with frames")


def _fetches(lab):
    ca = authority(lab)
    with pki(lab) as server:
        good = ca.issue(_HOST, crl=f"http://{ALLOWED}/confined.crl")
        publish_crl(server, ca, good, "confined.crl")
        with s_server(lab, good) as address:
            fetched(lab, address, host=_HOST, expect=b"<HTML>")
            wait_for(lambda: counted(lab, "crl", "stored") > 0, 10, "a CRL in the cache")


def _doctor(lab, engine):
    """What `wireglass doctor` says of the running engine."""
    done = run([lab.binary, "doctor", "--json", "-c", engine.config], check=False, timeout=60)
    found = [each for each in json.loads(done.stdout)["findings"] if each["topic"] == "confinement"]
    if len(found) != 1 or found[0]["level"] != "good":
        raise Failed(f"doctor: {found}")


@check("confine.af_packet", group="alone")
def af_packet(lab):
    """Strict, on packet sockets: each thread has its filters and capabilities; traffic, reload, rotation, fetches, captures, orders"""
    engine = _engine(lab, "packet", kind=AfPacket)
    with running(lab.begin(engine)):
        told = _look(engine, _NET_ADMIN | _NET_RAW)
        _works(lab, engine)
        _look(engine, _NET_ADMIN | _NET_RAW)
        _doctor(lab, engine)
    return told


@check("confine.xdp", group="alone")
def xdp(lab):
    """The same on AF_XDP: the program is taken away at the end"""
    if not has_xdp():
        return "NOT TRIED: this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)"
    engine = _engine(lab, "xdp", kind=AfXdp)
    with running(lab.begin(engine)):
        told = _look(engine, _NET_ADMIN | _NET_RAW | _SYS_ADMIN | _BPF)
        _works(lab, engine)
    if b"prog/xdp" in lab.network.middle.run("ip", "link", "show", "dev", "inside").stdout:
        raise Failed("an XDP program is left")
    return told


def _given_to(lab, engine, user):
    """The engine's folder, with a copy of its CAs, belongs to this user, who can reach it."""
    shutil.copytree(lab.ca, engine.folder / "ca")
    engine.config.write_text(engine.config.read_text().replace(str(lab.ca), "ca"))
    lab.folder.chmod(0o711)
    run(["chown", "-R", f"{user}:{user}", engine.folder])


@check("confine.user", group="alone")
def user(lab):
    """Started as root, it becomes another user: threads keep no capability but to close the ports, and all works"""
    engine = _engine(lab, "user", 'user = "nobody"\n', kind=AfPacket)
    _given_to(lab, engine, _NOBODY)
    with running(lab.begin(engine)):
        told = _look(engine, _NET_ADMIN | _NET_RAW, user=_NOBODY)
        if any(each["rights"] for each in _threads(engine) if not each["name"].startswith(_OWN)):
            raise Failed("threads of EAL's have capabilities")
        _works(lab, engine)
    if (engine.folder / "control.sock").exists():
        raise Failed("the control socket is left")
    return told


@check("confine.user-cannot-read", group="alone")
def user_cannot_read(lab):
    """A user who could not read the CA's certificate at a reload: the start fails, and says which file. The key is for the signer alone"""
    engine = _engine(lab, "cannot-read", 'user = "nobody"\n', kind=AfPacket)
    _given_to(lab, engine, _NOBODY)
    for name in ("trusted.key", "untrusted.key"):
        os.chown(engine.folder / "ca" / name, 0, 0)
    with running(lab.begin(engine)):
        fetched(lab, SERVER4)
    certificate = engine.folder / "ca" / "trusted.pem"
    os.chown(certificate, 0, 0)
    certificate.chmod(0o600)
    binary, *rest = engine.argv[engine.argv.index(lab.binary):]
    done = lab.network.middle.run(binary, *rest, timeout=20, check=False)
    said = done.stderr.decode(errors="replace")
    if done.returncode != 1 or f"confine.user: nobody cannot read {certificate}" not in said:
        raise Failed(f"exit {done.returncode}: {said[-300:]}")


@check("confine.elsewhere", group="alone")
def elsewhere(lab):
    """A reload that names a file outside of the folders of the start fails and changes nothing; one that comes back works"""
    engine = _engine(lab, "elsewhere", kind=AfPacket)
    strange = Path(lab.folder) / "strange"
    strange.mkdir(exist_ok=True)
    shutil.copy(lab.root.cert, strange / "root.pem")
    with running(lab.begin(engine)):
        before = engine.config.read_text()
        engine.config.write_text(before.replace(str(lab.root.cert), str(strange / "root.pem")))
        done = run([lab.binary, "reload", "-c", engine.config], check=False, timeout=60)
        said = (done.stdout + done.stderr).decode()
        if done.returncode == 0 or "Permission denied" not in said:
            raise Failed(f"exit {done.returncode}: {said}")
        engine.config.write_text(before)
        _reloads(lab, engine)
        fetched(lab, SERVER4)
