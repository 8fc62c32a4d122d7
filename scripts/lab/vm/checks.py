"""What only a NIC that the engine owns can show."""

import os
import re
import threading
import time
from pathlib import Path

from ..checks.bulk import file_hash, intercepted
from ..checks.fetch import fetched
from ..hosts import WWW
from ..net import SERVER4
from ..runner import check
from ..shell import Failed, wait_for
from .lab import HUGEPAGES_MB
from .network import KINDS

NIC_SCRIPT = Path(__file__).resolve().parents[2] / "nic.sh"
SIZE = 8 * 1000 * 1000
# A download that lasts for some seconds, whatever the machine: what happens to the NIC happens in the middle of it.
SLOW = ("--limit-rate", "2M")
END_SECONDS = 20


def nic_script(lab, *words, check=True):
    """scripts/nic.sh in the guest."""
    said = lab.guest.run(NIC_SCRIPT, *words, seconds=90, check=check)
    lab.note(["scripts/nic.sh", *words], said if check else said[1])
    return said


def bind_all(lab):
    """All NICs to vfio-pci, and hugepages: as on a machine of metal. What is done already is left alone."""
    nics = [address for kind in KINDS for address in (kind.inside, kind.outside)]
    return nic_script(lab, "bind", "--hugepages", f"2M={HUGEPAGES_MB // 2}", *nics)


def driver_of(lab, address):
    """The kernel driver that has a PCI device; "" if none."""
    status, said = lab.guest.run("readlink", f"/sys/bus/pci/devices/{address}/driver", check=False)
    return said.strip().rsplit("/", 1)[-1] if status == 0 else ""


@check("nic.bind", "vm-machine")
def bind(lab):
    """scripts/nic.sh bind: hugepages, and each NIC in an IOMMU group of its own with vfio-pci for its driver"""
    bind_all(lab)
    groups = set()
    for kind in KINDS:
        for address in (kind.inside, kind.outside):
            if driver_of(lab, address) != "vfio-pci":
                raise Failed(f"{address} has driver `{driver_of(lab, address)}`")
            group = lab.guest.run("readlink", f"/sys/bus/pci/devices/{address}/iommu_group").strip().rsplit("/", 1)[-1]
            lab.guest.run("test", "-c", f"/dev/vfio/{group}")
            groups.add(group)
    if len(groups) != 2 * len(KINDS):
        raise Failed(f"IOMMU groups {sorted(groups)}")
    pages = int(lab.guest.read("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"))
    if pages * 2 < HUGEPAGES_MB:
        raise Failed(f"{pages} hugepages")
    return f"groups {', '.join(sorted(groups))}; {pages} hugepages of 2 MB"


@check("nic.again", "vm-machine")
def bind_again(lab):
    """Binding what is bound changes nothing; status finds nothing missing"""
    before = lab.guest.run("sh", "-c", "ls -l /sys/bus/pci/drivers/vfio-pci; cat /proc/sys/vm/nr_hugepages")
    bind_all(lab)
    if lab.guest.run("sh", "-c", "ls -l /sys/bus/pci/drivers/vfio-pci; cat /proc/sys/vm/nr_hugepages") != before:
        raise Failed("the second run changed something")
    nic_script(lab, "status")


@check("nic.ports", "vm-wire")
def ports(lab):
    """The engine's ports: DPDK's own driver, VFIO, IOVA as virtual addresses, a queue for each worker, offloads"""
    said = lab.middle.log.read_text(errors="replace")
    for words in ("VFIO support initialized", "Selected IOVA mode 'VA'", lab.kind.driver):
        if words not in said:
            raise Failed(f"no `{words}` in the engine's log")
    started = [line for line in said.splitlines() if "port started" in line]
    rss = sum("rss: Some" in line for line in started)
    if len(started) != 2 or rss != (2 if lab.kind.queues > 1 else 0):
        raise Failed(f"{len(started)} ports, {rss} of them with RSS")
    if lab.kind.offloads and not all("tcp-cksum" in line and "tcp-tso" in line for line in started):
        raise Failed("the host was not asked to fill in checksums and to cut segments")
    _, mapped = lab.guest.run("grep", "-c", "rtemap", f"/proc/{lab.middle.process.pid}/maps", check=False)
    if int(mapped) == 0:
        raise Failed("no hugepage is mapped")
    return f"{lab.kind.driver}, {lab.kind.queues} queue(s), {'RSS' if rss else 'no RSS'}, {mapped.strip()} hugepages mapped"


@check("nic.queues", "vm-wire")
def queues(lab):
    """Each worker receives: what RSS spread, or what went over the steering ring"""
    for _ in range(6):
        fetched(lab, SERVER4)
    counts = {}
    page = lab.guest.run("curl", "-sS", "http://127.0.0.1:9464/metrics")
    for worker, value in re.findall(r'^wireglass_rx_packets_total\{[^}]*worker="(\d+)"[^}]*\} (\d+)$', page, re.M):
        counts[worker] = counts.get(worker, 0) + int(value)
    if len(counts) != lab.kind.queues or not all(counts.values()):
        raise Failed(f"frames by worker: {counts}")
    return f"frames by worker: {counts}"


@check("nic.download", "vm-wire")
def download(lab):
    """A download of 8 MB, decrypted, compared by hash"""
    began = time.monotonic()
    _transfer(lab)()
    return f"{SIZE * 8 / (time.monotonic() - began) / 1e6:.0f} Mbit/s"


@check("nic.upload", "vm-wire")
def upload(lab):
    """An upload of 8 MB, decrypted, compared by hash"""
    target = lab.nginx.folder / "upload" / "vm"
    target.unlink(missing_ok=True)
    began = time.monotonic()
    seen = lab.client.curl(WWW, SERVER4, "-T", _file(lab), path="/upload/vm", timeout=60)
    took = time.monotonic() - began
    intercepted(lab, seen)
    if seen.status != 201 or file_hash(target) != file_hash(_file(lab)):
        raise Failed(f"status {seen.status}, {target.stat().st_size} of {SIZE} bytes, or their hash differs")
    return f"{SIZE * 8 / took / 1e6:.0f} Mbit/s"


@check("link.down-up", "vm-wire")
def link_down_up(lab):
    """The cable is pulled and plugged in again, inside and outside, in the middle of a download: it goes on, and no byte is wrong"""
    for side in ("inside", "outside"):
        ended = _transfer(lab, *SLOW, "--http1.1")
        time.sleep(1.5)
        lab.machine.link(lab.kind, side, False)
        time.sleep(0.5)
        # A new connection gets nowhere meanwhile: the link is down indeed.
        seen = lab.client.curl(WWW, SERVER4, timeout=2)
        lab.machine.link(lab.kind, side, True)
        if seen.exit == 0:
            raise Failed(f"a connection was made with the {side} link down")
        ended()
        fetched(lab, SERVER4)
    return "twice"


@check("nic.unbound-under-load", "vm-alone")
def unbound(lab):
    """A NIC is taken from the engine under load: the engine says so and ends, status 1; the NIC can be given back and used again"""
    kind = lab.kind
    engine = lab.wire_of(kind, f"unbound-{kind.name}")
    fetched(lab, SERVER4)
    load = threading.Thread(target=lab.client.curl, args=(WWW, SERVER4, *SLOW), kwargs={"path": "/files/vm", "out": "/dev/null"})
    _file(lab)
    load.start()
    time.sleep(1.5)
    began = time.monotonic()
    lab.guest.run("sh", "-c", f"echo {kind.inside} > /sys/bus/pci/drivers/vfio-pci/unbind", seconds=END_SECONDS)
    free = time.monotonic() - began
    wait_for(lambda: not engine.alive(), END_SECONDS, "end of the engine")
    said = engine.log.read_text(errors="replace")
    lab.middle = None
    load.join(30)
    if engine.process.returncode != 1 or f"{kind.inside} was removed" not in said:
        raise Failed(f"exit {engine.process.returncode}, `{said.strip().splitlines()[-1]}`")
    if "mbufs balanced" not in said:
        raise Failed("no line `mbufs balanced`")
    nic_script(lab, "bind", kind.inside)
    lab.wire_of(kind, f"again-{kind.name}")
    fetched(lab, SERVER4)
    return f"NIC free after {free:.1f} s, exit 1, back in service after bind"


@check("nic.unbind", "vm-end")
def unbind(lab):
    """scripts/nic.sh unbind: the NICs have the kernel's own drivers again, or none as before; the hugepages are gone"""
    nic_script(lab, "unbind")
    drivers = {driver_of(lab, address) for kind in KINDS for address in (kind.inside, kind.outside)}
    pages = int(lab.guest.read("/proc/sys/vm/nr_hugepages"))
    if "vfio-pci" in drivers or pages:
        raise Failed(f"drivers {sorted(drivers)}, {pages} hugepages")


def _file(lab):
    path = lab.nginx.folder / "files" / "vm"
    if not path.exists():
        path.write_bytes(os.urandom(SIZE))
    return path


def _transfer(lab, *options):
    """Begins a download. Returns what waits for its end and compares it."""
    source, target, seen = _file(lab), lab.folder / "downloaded", []
    target.unlink(missing_ok=True)
    thread = threading.Thread(target=lambda: seen.append(
        lab.client.curl(WWW, SERVER4, *options, path="/files/vm", out=target, timeout=60)))
    thread.start()

    def ended():
        thread.join(70)
        if not seen:
            raise Failed("curl has not ended")
        intercepted(lab, seen[0])
        if file_hash(target) != file_hash(source):
            raise Failed(f"{target.stat().st_size} of {SIZE} bytes arrived and their hash differs")
    return ended
