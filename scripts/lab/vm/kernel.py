"""The guest's kernel (unpacked by `scripts/setup.sh --vm`, not installed), and the initramfs that brings it up on the host's own files."""

import shutil
from pathlib import Path

from ..shell import Failed, run

# In the order of their needs: a PCI virtio bus, the serial port of the agent, the host's files, a writable layer on top.
_MODULES = """
    drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci_legacy_dev
    drivers/virtio/virtio_pci drivers/char/virtio_console fs/netfs/netfs fs/fscache/fscache net/9p/9pnet
    net/9p/9pnet_virtio fs/9p/9p fs/overlayfs/overlay
""".split()

_INIT = """\
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
set -e
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in {modules}; do insmod /modules/$module.ko; done
# The host's root file system, read only; what is written goes to memory.
nine=trans=virtio,version=9p2000.L,msize=262144
mount -t 9p -o $nine,cache=loose,ro host /host
mount -t tmpfs none /top
mkdir /top/upper /top/work
mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work none /root
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
mount -t tmpfs none /root/run
ln -s /proc/self/fd /root/dev/fd
mkdir -p /root/dev/shm /root/lib/modules/{release}
mount -t tmpfs none /root/dev/shm
mount --bind /host{folder}/lib/modules/{release} /root/lib/modules/{release}
# What the lab and the engine write is seen by both sides.
mount -t 9p -o $nine,cache=none lab /root{shared}
ip link set lo up
cd /root
exec chroot /root env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \\
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -IS {agent}
"""


class Kernel:
    """What `scripts/setup.sh --vm` left in a folder."""

    def __init__(self, folder: Path):
        images = sorted(folder.glob("boot/vmlinuz-*"))
        if len(images) != 1:
            raise Failed(f"no kernel for the guest in {folder}: run scripts/setup.sh --vm")
        self.folder = folder
        self.image = images[0]
        self.release = self.image.name.removeprefix("vmlinuz-")

    def initramfs(self, work: Path, shared: Path):
        """Makes the guest's first files. `shared`: the folder that both sides write, at the same place in the guest."""
        tree = work / "initramfs"
        for name in ("bin", "modules", "proc", "sys", "dev", "host", "top", "root"):
            (tree / name).mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/busybox", tree / "bin" / "busybox")
        for module in _MODULES:
            source = self.folder / "lib/modules" / self.release / "kernel" / f"{module}.ko"
            shutil.copy(source, tree / "modules" / source.name)
        init = tree / "init"
        init.write_text(_INIT.format(modules=" ".join(Path(module).name for module in _MODULES), release=self.release,
                                     folder=self.folder.resolve(), shared=shared,
                                     agent=Path(__file__).with_name("agent.py").resolve()))
        init.chmod(0o755)
        names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
        archive = work / "initramfs.cpio"
        packed = run(["busybox", "cpio", "-o", "-H", "newc"], stdin="\n".join(names).encode() + b"\n", cwd=tree)
        archive.write_bytes(packed.stdout)
        shutil.rmtree(tree)
        return archive
