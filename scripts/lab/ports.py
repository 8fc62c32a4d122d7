"""Kinds of DPDK ports that the engine of the lab can have, each between the same two cables.

    client namespace            middle namespace                                    server namespace
    lan ───veth─── inside | af_packet | the engine | af_packet | outside ───veth─── wan
                   inside ──bridge── tap | the engine | tap ──bridge── outside
                   inside | testpmd | memif | the engine | memif | testpmd | outside
                   inside | testpmd | vhost | virtio_user | the engine | virtio_user | vhost | testpmd | outside
                   inside | testpmd | virtio_user | vhost | the engine | vhost | virtio_user | testpmd | outside
"""

import shutil
import signal
from pathlib import Path

from .shell import Process

SIDES = ("inside", "outside")

_TWO_PORTS = """\
[dpdk]
eal = ["--no-huge", "-m", "1024", "--no-pci", "--no-telemetry", "--file-prefix", "{{prefix}}"]
vdev = [{vdevs}]

[[wire]]
name = "lab"
inside = "{driver}0"
outside = "{driver}1"

"""


def _two(driver, arguments):
    vdevs = ", ".join(f'"{driver}{n},{arguments.format(n=n, side=side)}"' for n, side in enumerate(SIDES))
    return _TWO_PORTS.format(driver=driver, vdevs=vdevs)


class AfPacket:
    """Packet sockets on the cables' ends."""

    config = _two("net_af_packet", "iface={side},framecnt=2048")
    # Of the workers.
    cores = (1,)

    def __init__(self, network, folder):
        self.network = network
        self.folder = folder

    def before(self):
        """What has to be there before the engine starts."""

    def after(self):
        """What can only be done once it runs."""

    def stop(self):
        """Takes away what `before` and `after` made."""


class AfXdp(AfPacket):
    """Sockets of XDP on the cables' ends: frames leave the kernel before it has made packets of them."""

    config = """\
[[wire]]
name = "lab"
inside = "xdp:inside"
outside = "xdp:outside"

"""


class Tap(AfPacket):
    """Interfaces of the engine's own, which a bridge of the kernel joins to the cables' ends."""

    config = _two("net_tap", "iface=tap-{side}")

    def before(self):
        # Of an engine that ended by itself.
        self.stop()

    def after(self):
        middle = self.network.middle
        for side in SIDES:
            bridge = f"br-{side}"
            middle.ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
            for port in (side, f"tap-{side}"):
                middle.ip("link", "set", port, "master", bridge, "up")
            middle.ip("link", "set", bridge, "up")

    def stop(self):
        for side in SIDES:
            # The taps went with the engine.
            self.network.middle.run("ip", "link", "del", f"br-{side}", check=False)


class _Testpmd(AfPacket):
    """dpdk-testpmd between the cables' ends and what the engine has: `across` is its device, with {n} for the side."""

    forward_mode = "io"
    queues = 1
    commands = ()

    def __init__(self, network, folder, across):
        super().__init__(network, folder)
        self.across = across
        self.prefix = f"{network.middle.name}-ports"
        self.process = None

    def forward(self):
        """Starts it."""
        vdevs = []
        for n, side in enumerate(SIDES):
            vdevs += ["--vdev", f"net_af_packet{n},iface={side},qpairs={self.queues}", "--vdev", self.across.format(n=n)]
        commands = self.folder / "testpmd.commands"
        commands.write_text("".join(f"{line}\n" for line in self.commands))
        argv = self.network.middle.argv(
            "stdbuf", "-oL", "dpdk-testpmd", "--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--file-prefix",
            self.prefix, "-l", "0,1", *vdevs, "--", f"--cmdline-file={commands}",
            f"--forward-mode={self.forward_mode}", f"--rxq={self.queues}", f"--txq={self.queues}", "--port-topology=paired",
            "--total-num-mbufs=16384")
        self.process = Process(argv, self.folder / "testpmd.log", "testpmd")
        self.process.wait_text("Press enter to exit", 20)

    def stop(self):
        if self.process:
            self.process.stop(signal.SIGTERM)
            self.process = None
            shutil.rmtree(Path("/var/run/dpdk") / self.prefix, ignore_errors=True)


class Memif(_Testpmd):
    """Shared memory, whose other end is dpdk-testpmd, which takes frames from the cables' ends and back."""

    def __init__(self, network, folder):
        # A socket's path has 107 bytes at most, and braces would be the configuration's.
        socket = f"id={{n}},socket-abstract=no,socket={folder}/memif.sock"
        super().__init__(network, folder, f"net_memif{{n}},role=client,{socket}")
        self.config = _two("net_memif", f"role=server,{socket}")

    def after(self):
        self.forward()


class VirtioUser(_Testpmd):
    """The engine drives virtio devices (net_virtio_user), a worker for each of two pairs of queues; dpdk-testpmd has them by vhost-user."""

    cores = (0, 1)
    queues = 2

    def __init__(self, network, folder):
        super().__init__(network, folder, f"net_vhost{{n}},iface={folder}/vhost{{n}}.sock,queues=2")
        self.config = _two("net_virtio_user", f"path={folder}/vhost{{n}}.sock,queues=2,cq=1")

    def before(self):
        # It has the sockets that the engine's ports connect to.
        self.forward()


class Vhost(_Testpmd):
    """The other way round: the engine has the devices (net_vhost), which dpdk-testpmd drives, as a virtual machine would: its TCP
    leaves without checksums, which the engine's side has to fill in. What the engine sends it sums anew on the way to the cables."""

    forward_mode = "csum"
    commands = ("port stop all", *(f"csum set tcp hw {port}" for port in (1, 3)),
                *(f"csum mac-swap off {port}" for port in range(4)), "port start all")

    def __init__(self, network, folder):
        super().__init__(network, folder, f"net_virtio_user{{n}},path={folder}/vhost{{n}}.sock")
        self.config = _two("net_vhost", f"iface={folder}/vhost{{n}}.sock")

    def after(self):
        self.forward()


def has_xdp():
    """Whether the kernel has AF_XDP."""
    return any(line.startswith("XDP ") for line in Path("/proc/net/protocols").read_text().splitlines())


def kind(name):
    """The kind of this name. Where the kernel has no AF_XDP: packet sockets instead, with a word."""
    if name == "xdp" and not has_xdp():
        print("this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): ports are af_packet", flush=True)
        name = "af_packet"
    return KINDS[name]


KINDS = {"af_packet": AfPacket, "xdp": AfXdp, "tap": Tap, "memif": Memif, "virtio_user": VirtioUser, "vhost": Vhost}
