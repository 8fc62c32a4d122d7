#!/usr/bin/python3
"""Plays the kernel, and the programs that talk to it, for scripts/nic.sh: `tee`, `modprobe`, `mount`, `umount` and `ip` lead here.

What is below NIC_ROOT changes as the kernel would change it. `kernel.json` there says what this kernel can do.
"""

import json
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(os.environ["NIC_ROOT"])
PCI = ROOT / "sys/bus/pci"


def tee(path):
    """A line is written to a file of the kernel."""
    path, value = Path(path), sys.stdin.read().strip()
    with open(ROOT / "kernel.log", "a", encoding="utf-8") as log:
        log.write(f"{path.relative_to(ROOT)} {value}\n")
    if path.name == "unbind":
        leave(value)
    elif path.name == "drivers_probe":
        probe(value)
    elif path.name == "driver_override":
        path.write_text((value or "(null)") + "\n")
    elif path.name == "nr_hugepages":
        room = KERNEL["room"].get(f"{path.parts[-4]} {path.parts[-2]}", 1 << 20)
        path.write_text(f"{min(int(value), room)}\n")
    elif path.name == "compact_memory":
        pass
    elif not path.exists():
        return f"tee: {path}: No such file or directory"
    else:
        path.write_text(value + "\n")
    return None


def leave(address):
    """A driver lets a card go, and its interfaces vanish."""
    card = (PCI / "devices" / address).resolve()
    (card / "driver").unlink()
    for net in card.glob("**/net"):
        for name in net.iterdir():
            (ROOT / "sys/class/net" / name.name).unlink()
        net.rename(net.with_name("gone"))


def probe(address):
    """A driver is looked for: the one that the override names, or the card's own."""
    card = (PCI / "devices" / address).resolve()
    override = (card / "driver_override").read_text().strip()
    driver = KERNEL["drivers"].get(address) if override == "(null)" else override
    if not driver or not (PCI / "drivers" / driver).exists() or address in KERNEL["refuses"] and driver == "vfio-pci":
        return
    (card / "driver").symlink_to(PCI / "drivers" / driver)
    if driver == "vfio-pci":
        return
    for gone in card.glob("**/gone"):
        net = gone.rename(gone.with_name("net"))
        for name in net.iterdir():
            (ROOT / "sys/class/net" / name.name).symlink_to(name)


def modprobe(*words):
    """Modules come, if this kernel has them, and go."""
    module = words[-1]
    if module not in KERNEL["modules"]:
        return f"modprobe: FATAL: Module {module} not found."
    if "-r" in words:
        shutil.rmtree(PCI / "drivers" / module, ignore_errors=True)
    elif "-n" not in words:
        (PCI / "drivers" / module).mkdir(exist_ok=True)
    return None


def mount(*words):
    """`mount -t hugetlbfs -o OPTIONS nodev PLACE`"""
    with open(ROOT / "proc/mounts", "a", encoding="utf-8") as mounts:
        mounts.write(f"nodev /{Path(words[-1]).relative_to(ROOT)} hugetlbfs rw,relatime,{words[3]} 0 0\n")


def umount(place):
    """`umount PLACE`"""
    mounts, place = ROOT / "proc/mounts", f" /{Path(place).relative_to(ROOT)} "
    mounts.write_text("".join(line for line in mounts.read_text().splitlines(True) if place not in line))


def ip(*_words):
    """`ip -o addr show`"""
    for index, (name, address) in enumerate(KERNEL["addresses"], 1):
        family = "inet6" if ":" in address else "inet"
        print(f"{index}: {name}    {family} {address} scope global {name}\\       valid_lft forever")


if __name__ == "__main__":
    KERNEL = json.loads((ROOT / "kernel.json").read_text())
    wrong = {"tee": lambda *words: tee(words[-1]), "modprobe": modprobe, "mount": mount, "umount": umount,
             "ip": ip}[Path(sys.argv[0]).name](*sys.argv[1:])
    if wrong:
        print(wrong, file=sys.stderr)
        sys.exit(1)
