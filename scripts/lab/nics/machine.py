"""A machine that is a folder: what nic.sh reads of /sys, /proc, /etc, /run and /dev, and a kernel that answers."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "nic.sh"
KERNEL = Path(__file__).with_name("kernel.py")


class Machine:
    """Two NUMA nodes, an IOMMU and vfio-pci as a module, until a check says otherwise. A context manager."""

    def __init__(self):
        self.root = Path(tempfile.mkdtemp(prefix="wireglass-nics-"))
        self.kernel = {"drivers": {}, "refuses": [], "room": {}, "modules": ["vfio-pci"], "addresses": []}
        for folder in ("run", "etc", "dev", "sys/class/net", "sys/bus/pci/devices", "sys/bus/pci/drivers", "proc/net",
                       "sys/kernel/iommu_groups", "sys/devices/pci0000:00"):
            (self.root / folder).mkdir(parents=True)
        self.file("sys/bus/pci/drivers_probe")
        self.file("proc/mounts", "proc /proc proc rw 0 0\n")
        self.file("proc/cmdline", "root=/dev/vda1 intel_iommu=on iommu=pt\n")
        self.file("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\n")
        self.file("proc/sys/vm/compact_memory")
        self.file("proc/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n")
        self.file("proc/net/ipv6_route")
        self.file("sys/firmware/acpi/tables/DMAR")
        for node in (0, 1):
            for kb in (2048, 1048576):
                pages = f"sys/devices/system/node/node{node}/hugepages/hugepages-{kb}kB"
                self.file(f"{pages}/nr_hugepages", "0\n")
                self.file(f"{pages}/free_hugepages", "0\n")
        self.programs = self.root / "programs"
        self.programs.mkdir()
        for name in ("tee", "modprobe", "mount", "umount", "ip"):
            (self.programs / name).symlink_to(KERNEL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.root)

    def file(self, path, text=""):
        """Writes a file below the root."""
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, path):
        """A file's text without the blanks around it."""
        return (self.root / path).read_text().strip()

    def card(self, address, driver="ixgbe", interface=None, node=0, group=None, kind="0x020000", below=""):
        """Puts a card in. `below`: the folder between the card and its interface, as virtio has one."""
        card = self.root / "sys/devices/pci0000:00" / address
        for name, text in {"class": kind, "vendor": "0x8086", "device": "0x10fb", "numa_node": str(node),
                           "driver_override": "(null)"}.items():
            self.file(card / name, text + "\n")
        (self.root / "sys/bus/pci/devices" / address).symlink_to(card)
        if driver:
            folder = self.root / "sys/bus/pci/drivers" / driver
            folder.mkdir(exist_ok=True)
            self.file(folder / "unbind")
            (card / "driver").symlink_to(folder)
            self.kernel["drivers"][address] = driver
        if group is not None:
            members = self.root / f"sys/kernel/iommu_groups/{group}/devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(card)
            (card / "iommu_group").symlink_to(members.parent)
        if interface:
            self.interface(interface, card / below, card / below / "net" / interface)

    def interface(self, name, device=None, folder=None):
        """Makes an interface: of a device, or a virtual one."""
        folder = folder or self.root / "sys/devices/virtual/net" / name
        folder.mkdir(parents=True)
        if device:
            (folder / "device").symlink_to(device)
        (self.root / "sys/class/net" / name).symlink_to(folder)

    def over(self, upper, lower):
        """`upper` is a bridge, bond or VLAN on `lower`."""
        net = self.root / "sys/class/net"
        if not (net / upper).exists():
            self.interface(upper)
        (net / upper / f"lower_{lower}").symlink_to(net / lower)
        (net / lower / f"upper_{upper}").symlink_to(net / upper)

    def default_route(self, interface):
        """The IPv4 default route leads over this interface."""
        with open(self.root / "proc/net/route", "a", encoding="utf-8") as route:
            route.write(f"{interface}\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\n")

    def default_route6(self, interface):
        """The IPv6 default route, beside the one that every kernel has on `lo`."""
        zeros = "0" * 32
        self.file("proc/net/ipv6_route", "".join(
            f"{zeros} 00 {zeros} 00 {zeros} {metric} 00000001 00000000 {flags}       {name}\n"
            for name, metric, flags in [("lo", "ffffffff", "00200200"), (interface, "00000400", "00000003")]))

    def run(self, *words, login=None):
        """Runs nic.sh on this machine. Returns its exit status and all that it said."""
        self.file("kernel.json", json.dumps(self.kernel))
        environment = {"PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin", "NIC_ROOT": str(self.root)}
        if login:
            environment["SSH_CONNECTION"] = login
        done = subprocess.run(["bash", str(SCRIPT), *words], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=30, check=False)
        return done.returncode, done.stdout.decode()

    def driver(self, address):
        """The driver that has a card; none: nobody."""
        link = self.root / "sys/bus/pci/devices" / address / "driver"
        return link.resolve().name if link.is_symlink() else None

    def pages(self, node, kb=2048):
        """Hugepages of a node."""
        return int(self.read(f"sys/devices/system/node/node{node}/hugepages/hugepages-{kb}kB/nr_hugepages"))

    def picture(self):
        """All files, links and folders with what is in them, but for the test's own and the empty folder of the state."""
        seen = {}
        for folder, folders, files in os.walk(self.root):
            for name in folders + files:
                path = Path(folder) / name
                if path.is_symlink():
                    seen[path] = os.readlink(path)
                elif path.is_file() and not path.name.startswith("kernel."):
                    seen[path] = path.read_text()
                elif path.is_dir():
                    seen[path] = None
        picture = {str(path.relative_to(self.root)): what for path, what in seen.items()}
        picture.pop("run/wireglass", None)
        return picture

    def writes(self):
        """What was written to the kernel so far, in order."""
        log = self.root / "kernel.log"
        return log.read_text().splitlines() if log.exists() else []
