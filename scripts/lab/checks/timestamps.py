"""Promises of Certificate Transparency's logs in servers' certificates: `on_no_sct`."""

from .. import logs, pki
from ..eve import at
from ..own_engine import need_engine, running
from ..runner import check
from ..servers import s_server
from ..shell import Failed, run
from .fetch import fetched
from .profile import failed

HOST, WARNED, TAKEN = "logged.lab.test", "logged-warned.lab.test", "logged-taken.lab.test"
RULES = f"""
[[rule]]
name = "warned"
sni = ["{WARNED}"]
action = "decrypt"
profile = "warned"

[[rule]]
name = "taken"
sni = ["{TAKEN}"]
action = "decrypt"
profile = "taken"

[profile.default]
on_no_sct = "block"

[profile.warned]
on_no_sct = "untrusted-ca"

[profile.taken]
on_no_sct = "allow"
"""


def _setup(lab, name):
    """An engine for which the lab's root of this name is one of the system's, and two logs are known. Gives all of them."""
    public = pki.Authority(lab.folder / f"{name}-root", "Lab Logged Root")
    known = [logs.Log("Lab Log One"), logs.Log("Lab Log Two")]
    engine = lab.engine_of(name, rules=RULES, trust='ct_logs = "log_list.json"')
    logs.write_list(engine.folder / "log_list.json", known)
    text = engine.config.read_text()
    if "system = false" not in text:
        raise Failed("the lab's configuration trusts the system's roots already")
    engine.config.write_text(text.replace("system = false", "system = true"))
    # What Debian's ca-certificates is to an engine elsewhere.
    trusting = ("env", f"SSL_CERT_FILE={public.cert}")
    engine.argv = lab.network.middle.argv(*trusting, lab.binary, "run", "-c", engine.config)
    return engine, public, known, trusting


@check("timestamps.on-no-sct", group="alone")
def on_no_sct(lab):
    """Under a root of the system's: two logs' promises are taken; none, one, a stranger's and those for another certificate are not"""
    need_engine(lab)
    engine, public, known, trusting = _setup(lab, "timestamps")
    refused = {
        "none": logs.issue(public, HOST, []),
        "one log's": logs.issue(public, HOST, known[:1]),
        "a stranger's": logs.issue(public, HOST, [known[0], logs.Log("Lab Log Three")]),
        "another certificate's": logs.issue(public, HOST, known, changed=True),
    }
    good = logs.issue(public, HOST, known)
    with running(lab.begin(engine)):
        with s_server(lab, good) as address:
            fetched(lab, address, host=HOST, expect=b"<HTML>")
        for what, certificate in refused.items():
            with s_server(lab, certificate) as address:
                try:
                    tls = failed(lab, HOST, address, "cert.no_sct", "-k")
                except Failed as wrong:
                    raise Failed(f"with {what}: {wrong}") from None
                at(tls, "wireglass.verdict", "cert.no_sct")
        for name, options in ((WARNED, ["-k"]), (TAKEN, [])):
            with s_server(lab, logs.issue(public, name, [])) as address:
                seen = lab.client.curl(name, address, *options)
                if seen.exit != 0:
                    raise Failed(f"{name}: curl exit {seen.exit}: {seen.why}")
                at(lab.eve.one("tls", seen.local_port), "wireglass.minted_by", "untrusted" if name == WARNED else "trusted")
        # A root of `trust.roots` is the administrator's: nobody logs its certificates.
        with s_server(lab, lab.root.issue(HOST)) as address:
            fetched(lab, address, host=HOST, expect=b"<HTML>")
        for certificate, exit_status in ((good, 0), (refused["none"], 2)):
            done = run([*trusting, lab.binary, "verify", "-c", engine.config, "--name", HOST, certificate.chain], check=False)
            said = done.stdout.decode()
            if done.returncode != exit_status or ("cert.no_sct" in said) != (exit_status != 0):
                raise Failed(f"`wireglass verify`: exit {done.returncode}: {said[-300:]}")
    return f"{len(refused)} kinds of too few promises refused"
