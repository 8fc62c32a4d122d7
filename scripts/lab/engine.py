"""The programs that can sit in the middle: the engine, or a plain wire in its place."""

import shlex
import signal
from dataclasses import dataclass
from pathlib import Path

from .eve import Eve
from .ports import AfPacket
from .shell import Failed, Process, run

_CONFIG = """\
[workers]
cores = {cores}
handshake_threads = 1
idle = "adaptive"

[crypto]
provider = "{provider}"

[ca]
trusted = {{ cert = "{ca}/trusted.pem", key = "{ca}/trusted.key" }}
untrusted = {{ cert = "{ca}/untrusted.pem", key = "{ca}/untrusted.key" }}
{ca_lines}

[trust]
system = false
roots = [{roots}]
{trust}

[intercept]
ports = [443]
not_tls = "{not_tls}"
{intercept}
[policy]
default = "decrypt"

{rules}

[log]
eve = "eve.json"
level = "info"
stats_seconds = 1

[metrics]
listen = "127.0.0.1:9464"

[control]
socket = "{control}"
"""


@dataclass(frozen=True)
class Setup:
    """What differs from one engine run of the lab to the next. `rules` is TOML: [[rule]] and [profile.NAME] tables; `intercept`, `wire`,
    `trust` and `ca` are lines for the tables of that name. `kind`: of its ports (see `ports`), for the two cables of the middle namespace;
    without `cores` it has the ones that suit them."""

    roots: tuple
    rules: str = ""
    provider: str = "aws-lc-rs"
    not_tls: str = "block"
    intercept: str = ""
    wire: str = ""
    trust: str = ""
    ca: str = ""
    cores: tuple = ()
    kind: type = AfPacket
    control: str = "control.sock"
    # Beside the configuration: pairs of name and text.
    files: tuple = ()


class Engine:
    """`wireglass run` in the middle namespace."""

    name = "wireglass"

    def __init__(self, binary: Path, network, folder: Path, ca: Path, setup: Setup):
        folder.mkdir(parents=True, exist_ok=True)
        self.setup = setup
        self.folder = folder
        self.config = folder / "wireglass.toml"
        roots = ", ".join(f'"{root}"' for root in setup.roots)
        self.ports = setup.kind(network, folder)
        # The ports' part ends with the table of the wire.
        wire = f"{self.ports.config.format(prefix=network.middle.name).rstrip()}\n{setup.wire}\n\n"
        self.config.write_text(wire + _CONFIG.format(
            provider=setup.provider, ca=ca, roots=roots, not_tls=setup.not_tls, intercept=setup.intercept, rules=setup.rules,
            trust=setup.trust, ca_lines=setup.ca,
            cores=list(setup.cores or self.ports.cores), control=setup.control))
        for name, text in setup.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        self.argv = network.middle.argv(binary, "run", "-c", self.config)
        self.log = folder / "engine.log"
        self.eve = Eve(folder / "eve.json")
        self.process = None

    def start(self):
        """Starts it and waits until the ports are up."""
        self.ports.before()
        self.process = Process(self.argv, self.log, self.name)
        self.process.wait_text("wireglass: running", 20)
        self.ports.after()

    def alive(self):
        """Whether it runs."""
        return self.process is not None and self.process.alive()

    def stop(self, with_signal=signal.SIGTERM):
        """Ends it. Returns the exit status; None: it had to be killed."""
        status = self.process.stop(with_signal, seconds=10) if self.process else 0
        self.ports.stop()
        return status

    def resident_kb(self):
        """Its resident memory, in KiB. DPDK's is shared: its own, and on net_vhost all of the machine behind the device that it has seen;
        buffers that are lost there are told at the end."""
        for line in Path(f"/proc/{self.process.popen.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        raise Failed("no RssAnon of the engine")


class PlainWire:
    """dpdk-testpmd forwarding frames on the same two ports: shows what the lab says when nothing is inspected."""

    name = "testpmd"

    def __init__(self, network, folder: Path, ring=512):
        """`ring`: frames that a port holds each way."""
        folder.mkdir(parents=True, exist_ok=True)
        self.argv = network.middle.argv(*shlex.split(
            f"stdbuf -oL dpdk-testpmd --no-huge -m 512 --no-pci --no-telemetry --file-prefix {network.middle.name} -l 0,1"
            f" --vdev net_af_packet0,iface=inside,framecnt={ring} --vdev net_af_packet1,iface=outside,framecnt={ring}"
            " -- --forward-mode=io --total-num-mbufs=16384"))
        self.log = folder / "engine.log"
        self.eve = Eve(folder / "eve.json")
        self.process = None

    def start(self):
        """Starts it and waits until it forwards."""
        self.process = Process(self.argv, self.log, self.name)
        self.process.wait_text("Press enter to exit", 20)

    def alive(self):
        """Whether it runs."""
        return self.process is not None and self.process.alive()

    def stop(self, with_signal=signal.SIGTERM):
        """Ends it."""
        return self.process.stop(with_signal) if self.process else 0


def init_ca(binary: Path, folder: Path):
    """The engine's two certificate authorities, made by its own command."""
    run([binary, "ca", "init", "--dir", folder])
    for name in ("trusted.pem", "trusted.key", "untrusted.pem", "untrusted.key"):
        if not (folder / name).exists():
            raise Failed(f"`wireglass ca init` made no {name}")
