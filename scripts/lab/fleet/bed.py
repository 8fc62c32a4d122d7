"""The fleet's lab put together: network, certificates, nginx, etcd, three engines."""

import os
import shutil
import ssl
import tempfile
from pathlib import Path

from .. import pki
from ..engine import Engine, Setup, init_ca
from ..net import remove_left_overs
from ..nginx import Host, Nginx
from ..shell import Failed, Process, run, wait_for
from .clients import HOST
from .network import COSTLY_SERVER, ENGINES, ETCD, SERVER, FleetNetwork, Probes

# Asks for a client certificate, and insists on one: every engine has to learn that, or to hear of it.
INSISTING = "insisting.lab.test"
BLOCKED = "ads.lab.test"
# Nobody has been there before the check that it is for.
FRESH = "fresh.lab.test"
# Its chain costs far more to verify than others do.
COSTLY = "costly.lab.test"

RULES = f"""
[[rule]]
name = "no advertisements"
sni = ["{BLOCKED}"]
action = "block"

[[rule]]
name = "own certificates"
sni = ["{INSISTING}"]
action = "decrypt"
profile = "mtls"

[[rule]]
name = "all the rest"
action = "decrypt"
profile = "default"

[profile.default]
min_version = "1.2"

[profile.mtls]
on_client_certificate = "bypass"
"""

_FLEET = """
[fleet]
fleet = "lab"
name = "{name}"
endpoints = ["https://{etcd}:2379"]
ca = "{ca}"
certificate = "{certificate}"
key = "{key}"
{more}
"""


class Etcd:
    """One member, with TLS and client certificates."""

    def __init__(self, bed):
        self.bed = bed
        self.authority = pki.Authority(bed.folder / "etcd-ca", "Lab etcd CA")
        self.certificate = self.authority.issue("etcd.lab.test", [f"etcd.lab.test, IP:{ETCD}"])
        self.process = None

    def start(self):
        """Starts it, with what it had kept."""
        url = f"https://{ETCD}:2379"
        argv = self.bed.network.etcd.argv(
            "etcd", "--data-dir", self.bed.folder / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
            "--listen-peer-urls", "http://127.0.0.1:2380", "--cert-file", self.certificate.cert, "--key-file", self.certificate.key,
            "--client-cert-auth", "--trusted-ca-file", self.authority.cert)
        self.process = Process(argv, self.bed.folder / "etcd.log", "etcd")
        self.process.wait_text("ready to serve client requests", 20)

    def stop(self):
        """Kills it."""
        if self.process:
            self.process.popen.kill()
            self.process.popen.wait(5)
            self.process = None

    def put(self, key, value):
        """Writes a value, as somebody whom etcd knows."""
        client = self.authority.issue("somebody")
        self.bed.network.etcd.run(
            "etcdctl", "--endpoints", f"https://{ETCD}:2379", "--cacert", self.authority.cert, "--cert", client.cert, "--key", client.key,
            "put", key, value)

    def section(self, name, more=""):
        """`[fleet]` of an engine or an operator with this name."""
        client = self.authority.issue(name)
        return _FLEET.format(name=name, etcd=ETCD, ca=self.authority.cert, certificate=client.cert, key=client.key, more=more)


class Bed:
    """Context manager."""

    def __init__(self, binary: Path, other=None):
        self.binary = binary
        # An engine of another version; none: there is none.
        self.other = other
        self.scripts = Path(__file__).resolve().parents[2]
        self.folder = None
        self.network = FleetNetwork()
        self.engines = {}
        self.nginx = self.etcd = self.probes = None

    def __enter__(self):
        try:
            remove_left_overs()
            self.folder = Path(tempfile.mkdtemp(prefix=f"wg-{os.getpid()}-"))
            self._make_certificates()
            self.network.build()
            self.nginx = Nginx(self.network.server, self.folder / "nginx", self._hosts())
            self.etcd = Etcd(self)
            self.etcd.start()
            self._make_fleet_files()
            for segment in self.network.segments:
                self.engines[segment.number] = self._engine(segment)
            for engine in self.engines.values():
                engine.start()
            self.probes = Probes(self.network)
            self.probes.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.probes:
            self.probes.stop()
        for engine in self.engines.values():
            if engine.alive():
                engine.process.stop(seconds=2)
        if self.etcd:
            self.etcd.stop()
        if self.nginx:
            self.nginx.stop()
        try:
            self.network.remove()
        finally:
            prefixes = [Path("/var/run/dpdk") / segment.middle.name for segment in self.network.segments]
            for left in (self.folder, *prefixes):
                if left:
                    shutil.rmtree(left, ignore_errors=True)

    def context(self):
        """A TLS client's settings."""
        context = ssl.create_default_context(cafile=self.trust)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def name(self, number):
        """Of an engine, in the fleet."""
        return f"edge-{number}"

    def restart(self, number, binary=None):
        """Starts an engine that is gone, of this version."""
        engine = self.engines[number]
        engine.argv = self.network.segments[number - 1].middle.argv(binary or self.binary, "run", "-c", engine.config)
        engine.ports.stop()
        engine.start()

    def wait_next_hops(self, engines=ENGINES, seconds=10):
        """Waits until the routers spread connections over these engines and no others."""
        wait_for(lambda: self.probes.alive == list(engines), seconds, f"next hops {engines} (they are {self.probes.alive})")

    def command(self, *words, check=True, timeout=60, config="operator.toml"):
        """`wireglass` as an operator runs it, where etcd is. Returns the CompletedProcess."""
        return run(self.network.etcd.argv(self.binary, *words, "-c", self.folder / config), check=check, timeout=timeout)

    def metric(self, number, name, label=""):
        """The sum of a metric of an engine, of the samples with this label (`name="value"`); None: it has none of this name."""
        page = self.network.segments[number - 1].middle.run(
            "curl", "-sS", "--max-time", "5", "http://127.0.0.1:9464/metrics", check=False).stdout.decode()
        lines = [line for line in page.splitlines() if line.partition("{")[0].split(" ")[0] == name and label in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines) if lines else None

    def served(self, number, port, client, kind="tls"):
        """The events of a kind of one connection, at one engine."""
        events = self.engines[number].eve.events()
        return [event for event in events
                if event["event_type"] == kind and event.get("src_port") == port and event.get("src_ip") == client]

    def where(self, port, client, seconds=5.0):
        """The engine that has decrypted this connection, and its event."""
        def found():
            for number in ENGINES:
                for event in self.served(number, port, client):
                    return number, event
            return None
        return wait_for(found, seconds, f"tls event of {client}:{port} at any engine")

    def _engine(self, segment):
        folder = self.folder / f"engine{segment.number}"
        # Halves of connections are reset from the start.
        setup = Setup(roots=(self.root.cert,), rules=RULES, cores=(segment.number % os.cpu_count(),),
                      intercept="midstream_grace_seconds = 0")
        engine = Engine(self.binary, segment, folder, self.ca, setup)
        if self.etcd:
            # Each in a folder that nothing else of the configuration is in: what threads may read comes from these lines alone.
            more = (f'key_file = "{self._fleet_key}"\nlease_seconds = 5\non_drain = "links"\n'
                    'share = ["policy", "tickets", "exclusions", "costly_servers", "verified_chains"]\n'
                    f'state_dir = "{self.folder}/state/{self.name(segment.number)}"')
            engine.config.write_text(engine.config.read_text() + self.etcd.section(self.name(segment.number), more))
        return engine

    @property
    def _fleet_key(self):
        return self.folder / "fleet-key" / "fleet.key"

    def _make_fleet_files(self):
        self._fleet_key.parent.mkdir()
        self._fleet_key.write_text(os.urandom(32).hex() + "\n")
        self._fleet_key.chmod(0o600)
        (self.folder / "operator.toml").write_text(self.etcd.section("operator"))

    def _make_certificates(self):
        folder = self.folder
        self.root = pki.Authority(folder / "root", "Lab Public Root")
        self.issuer = pki.Authority(folder / "issuer", "Lab Public Issuer", self.root)
        self.ca = folder / "ca"
        init_ca(self.binary, self.ca)
        self.trust = folder / "client-trust.pem"
        self.trust.write_text((self.ca / "trusted.pem").read_text() + self.root.cert.read_text())

    def _hosts(self):
        options = {"http2": False, "addresses": ((SERVER, None),), "on_vlan": False}
        verify = f"ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate {self.root.cert};"
        return [Ipv4Host(HOST, self.issuer.issue(HOST), **options), Ipv4Host(BLOCKED, self.issuer.issue(BLOCKED), **options),
                Ipv4Host(INSISTING, self.issuer.issue(INSISTING), more=verify, **options),
                Ipv4Host(FRESH, self.issuer.issue(FRESH), **options),
                Ipv4Host(COSTLY, self._costly(), **(options | {"addresses": ((COSTLY_SERVER, None),)}))]

    def _costly(self):
        """A leaf below one of eight CAs that all bear the root's name and have slow keys: each signature may be any one's."""
        folder = self.folder / "costly"
        folder.mkdir()
        def key(name, curve):
            run(["openssl", "genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", folder / name])
            return folder / name
        authorities = []
        for number in range(8):
            authorities.append((folder / f"ca{number}.pem", key(f"ca{number}.key", "P-384")))
            run(["openssl", "req", "-x509", "-new", "-sha384", "-days", "30", "-key", authorities[-1][1], "-subj", "/O=Lab/CN=Lab Public Root",
                 "-config", "/dev/null", "-addext", "basicConstraints=critical,CA:TRUE", "-out", authorities[-1][0]])
        leaf = pki.Certificate(folder / "leaf.pem", folder / "chain.pem", key("leaf.key", "P-256"))
        (folder / "leaf.ext").write_text(f"subjectAltName = DNS:{COSTLY}\nextendedKeyUsage = serverAuth\n")
        run(["openssl", "req", "-new", "-key", leaf.key, "-subj", f"/CN={COSTLY}", "-config", "/dev/null", "-out", folder / "leaf.csr"])
        signer, signing = authorities[-1]
        run(["openssl", "x509", "-req", "-in", folder / "leaf.csr", "-CA", signer, "-CAkey", signing, "-CAcreateserial", "-sha384",
             "-days", "30", "-extfile", folder / "leaf.ext", "-out", leaf.cert])
        leaf.chain.write_text("".join(each.read_text() for each in (leaf.cert, *(cert for cert, _ in authorities))))
        return leaf


class Ipv4Host(Host):
    """A server block without IPv6."""

    def block(self, folder):
        text = super().block(folder)
        return text.replace("listen [None]:443 ssl;", "")
