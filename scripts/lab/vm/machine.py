"""The virtual machine: QEMU with an IOMMU, the NICs, and an agent in it that runs what it is told."""

import json
import os
import socket
import time
from pathlib import Path

from ..shell import Failed, Process, tail, wait_for
from .guest import Guest
from .kernel import Kernel

MEMORY_MB, CORES = 1024, 2
# A kernel that runs says something within a second or two under KVM. Where nested KVM is there but broken, it stays silent.
SIGN_OF_LIFE_SECONDS, BOOT_SECONDS = 8, 120


class Machine:
    """`boot` starts it, `stop` ends it. Runs in the network's middle namespace, which has nothing else in it."""

    def __init__(self, network, kernel: Kernel, folder: Path):
        self.network = network
        self.folder = folder
        self.kernel = kernel
        self.console = folder / "console.log"
        self.accelerator = self.process = self.guest = None

    def boot(self, accelerator="auto"):
        """Boots, with KVM where the guest comes up under it, else with plain emulation. Returns the seconds that it took."""
        began = time.monotonic()
        archive = self.kernel.initramfs(self.folder, self.folder)
        if accelerator == "auto":
            accelerator = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"
            if accelerator == "kvm" and not self._try(archive, "kvm"):
                accelerator = "tcg"
        if not self.process and not self._try(archive, accelerator):
            raise Failed(f"the guest did not come up under {accelerator}\n{tail(self.folder / 'qemu.log', 10)}\n{tail(self.console, 40)}")
        self.network.hand_over()
        return time.monotonic() - began

    def stop(self):
        """The power plug."""
        if self.guest:
            self.guest.close()
        if self.process:
            self.process.stop()
        self.guest = self.process = None

    def alive(self):
        """Whether it runs."""
        return self.process is not None and self.process.alive()

    def link(self, kind, side, up):
        """Plugs a NIC's cable in or pulls it out: the guest's NIC says so."""
        self._qmp("set_link", name=f"{kind.name}-{side}", up=up)

    def _try(self, archive, accelerator):
        self.accelerator = accelerator
        for name in ("agent.sock", "qmp.sock", "console.log"):
            (self.folder / name).unlink(missing_ok=True)
        self.console.touch()
        self.network.attach_queues()
        descriptors = [each for tap in self.network.taps.values() for each in tap]
        argv = self.network.middle.argv("qemu-system-x86_64", *self._arguments(archive, accelerator))
        self.process = Process(argv, self.folder / "qemu.log", "qemu", pass_fds=descriptors)
        try:
            wait_for(lambda: (self.folder / "agent.sock").exists() or not self.process.alive(), 10, "QEMU")
            self.guest = Guest(self.folder / "agent.sock")
            if accelerator == "kvm":
                wait_for(lambda: self.console.read_bytes() or not self.process.alive(), SIGN_OF_LIFE_SECONDS, "sign of life")
            wait_for(lambda: self.guest.up or not self.process.alive(), BOOT_SECONDS, "guest")
            if self.guest.up:
                return True
        except (Failed, OSError):
            pass
        self.stop()
        return False

    def _arguments(self, archive, accelerator):
        folder = self.folder
        machine = ["-machine", "q35,kernel-irqchip=split", "-smp", CORES, "-m", MEMORY_MB]
        how = ["-accel", "kvm", "-cpu", "host"] if accelerator == "kvm" else ["-accel", "tcg,thread=multi", "-cpu", "max"]
        files = [word for path, tag, options in (("/", "host", ",readonly=on"), (folder, "lab", ""))
                 for word in ("-virtfs", f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap{options}")]
        return ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", *machine, *how,
                "-kernel", self.kernel.image, "-initrd", archive,
                "-append", "console=ttyS0 panic=-1 intel_iommu=on iommu=pt",
                "-serial", f"file:{self.console}", "-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off",
                "-device", "intel-iommu,intremap=on", *files, "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=agent,path={folder}/agent.sock,server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=agent", *self._nics()]

    def _nics(self):
        words = []
        for number, ((kind, side), queues) in enumerate(self.network.taps.items()):
            name = f"{kind.name}-{side}"
            address = (kind.inside if side == "inside" else kind.outside).removeprefix("0000:00:")
            passed = f"fds={':'.join(map(str, queues))}" if len(queues) > 1 else f"fd={queues[0]}"
            words += ["-netdev", f"tap,id={name},{passed}",
                      "-device", f"{kind.model},netdev={name},addr={address},mac=52:54:00:00:00:{number:02x},romfile="]
        return words

    def _qmp(self, command, **arguments):
        """One command to QEMU itself."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.folder / "qmp.sock"))
            lines = sock.makefile("rwb")
            lines.readline()
            for execute, words in (("qmp_capabilities", {}), (command, arguments)):
                lines.write(json.dumps({"execute": execute, "arguments": words}).encode() + b"\n")
                lines.flush()
                while True:
                    answer = json.loads(lines.readline())
                    if "error" in answer:
                        raise Failed(f"QEMU: {execute}: {answer['error']['desc']}")
                    if "return" in answer:
                        break
