"""`wireglass init`: what it writes is in order, and works as it is."""

from ..eve import Eve
from ..hosts import BYPASS, WWW
from ..net import CLIENT4, SERVER4
from ..own_engine import need_engine, running
from ..runner import check
from ..shell import Failed
from .fetch import issuer_of

CA = "Lab First CA"


def _init(lab, name, *options):
    """Runs it in the engine's namespace, where two ports are free. Returns the configuration's path."""
    config = lab.folder / name / "wireglass.toml"
    done = lab.network.middle.run(lab.binary, "init", "-c", config, "--ca-name", CA, *options, timeout=60)
    said = done.stdout.decode()
    for words in (f"wrote {config}", "af_packet:inside to af_packet:outside", "\n  1. ", "\n  2. ", "\n  3. "):
        if words not in said:
            raise Failed(f"it does not say `{words.strip()}`: {said}")
    lab.network.middle.run(lab.binary, "check", "--strict", "-c", config)
    return config


def _issuers(lab, name, config, hosts):
    """Who signed the certificates of these hosts, as curl sees them through an engine with this configuration."""
    engine = lab.engine_of(f"{name}-engine")
    # Whom it trusts is the system's business in such a configuration.
    engine.argv = lab.network.middle.argv("env", f"SSL_CERT_FILE={lab.root.cert}", lab.binary, "run", "-c", config)
    engine.eve = Eve(config.with_name("eve.json"))
    engine.log.unlink(missing_ok=True)
    both = config.with_name("trusted-by-clients.pem")
    both.write_text((config.with_name("ca") / "trusted.pem").read_text() + lab.root.cert.read_text())
    usual, lab.client.trust = lab.client.trust, both
    try:
        with running(lab.begin(engine)):
            issuers = []
            for host in hosts:
                seen = lab.client.curl(host, SERVER4)
                if seen.exit != 0 or seen.status != 200:
                    raise Failed(f"{host}: curl exit {seen.exit}, status {seen.status}: {seen.why}")
                issuers.append(issuer_of(seen.leaf))
            return issuers
    finally:
        lab.client.trust = usual


def _expect(got, wanted):
    if got != wanted:
        raise Failed(f"certificates are from {got}, expected {wanted}")


@check("init.all", group="alone")
def everything(lab):
    """init finds both ports, makes a CA and a policy; check has nothing to say, and curl gets a decrypted page"""
    need_engine(lab)
    config = _init(lab, "init-all", "--yes", "--decrypt", "all")
    _expect(_issuers(lab, "init-all", config, [WWW]), [f"CN = {CA}"])
    before = config.read_bytes()
    again = lab.network.middle.run(lab.binary, "init", "--yes", "-c", config, check=False)
    if again.returncode != 1 or config.read_bytes() != before:
        raise Failed(f"a second init: exit {again.returncode}, and the file may have been written anew")


@check("init.first-clients", group="alone")
def first_clients(lab):
    """Only the clients that were named are decrypted; of the others everything passes as it is"""
    need_engine(lab)
    theirs = ["O = Lab, CN = Lab Public Issuer"] * 2
    named = _init(lab, "init-named", "--inside", "inside", "--outside", "outside", "--yes", "--decrypt", CLIENT4)
    _expect(_issuers(lab, "init-named", named, [WWW, BYPASS]), [f"CN = {CA}"] * 2)
    other = _init(lab, "init-other", "--yes", "--decrypt", "198.51.100.0/24")
    _expect(_issuers(lab, "init-other", other, [WWW, BYPASS]), theirs)


@check("init.refused", group="alone")
def refused(lab):
    """Ports that are not there, that have addresses, or that are one: exit 2, with words, and nothing is written"""
    need_engine(lab)
    for namespace, options, words in (
            (lab.network.middle, ("--inside", "nowhere"), "no interface or network card \"nowhere\" here; free are: af_packet:inside"),
            (lab.network.middle, ("--inside", "inside", "--outside", "xdp:inside"), "a wire needs two different ones"),
            (lab.network.client, ("--inside", "lan"), "lan is in use: "),
            (lab.network.client, (), "a wire needs two ports, and none is free here")):
        folder = lab.folder / "init-refused"
        done = namespace.run(lab.binary, "init", "--yes", "-c", folder / "wireglass.toml", *options, check=False)
        said = done.stderr.decode()
        if done.returncode != 2 or words not in said or folder.exists():
            raise Failed(f"{' '.join(options)}: exit {done.returncode}, said `{said.strip()}`")
