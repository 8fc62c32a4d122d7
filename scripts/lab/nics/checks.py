"""What nic.sh finds, does, refuses and undoes."""

import os
import shutil
import unittest

from .machine import Machine

A, B, C = "0000:03:00.0", "0000:03:00.1", "0000:81:00.0"
BOOT = "etc/tmpfiles.d/wireglass-hugepages.conf"


def two_cards():
    """A machine with two free cards on different nodes, and one that the default route leads over."""
    machine = Machine()
    machine.card(A, interface="eth1", group=12)
    machine.card(B, interface="eth2", group=13, node=1)
    machine.card(C, interface="eth0", group=14)
    machine.default_route("eth0")
    return machine


class Nics(unittest.TestCase):
    """Each check makes a machine of its own."""

    def good(self, machine, *words, **more):
        """Runs nic.sh; it has to end well. Returns what it said."""
        status, said = machine.run(*words, **more)
        self.assertEqual(status, 0, said)
        return said

    def refused(self, machine, words, *parts, status=1, **more):
        """Runs nic.sh; it has to refuse, to say each of the parts, and to leave the machine alone."""
        before = machine.picture()
        got, said = machine.run(*words, **more)
        self.assertEqual(got, status, said)
        for part in parts:
            self.assertIn(part, said)
        self.assertEqual(machine.picture(), before, said)

    def test_status_of_a_bare_machine_says_what_is_missing(self):
        with two_cards() as machine:
            self.refused(machine, ["status"], "IOMMU: on, 3 groups", "no hugepages\n    -> nic.sh bind --hugepages 2M=512",
                         "0 of the 2 cards", f"could be bound: nic.sh bind {A}",
                         "stays with the kernel: eth0 carries: default route")

    def test_status_of_a_prepared_machine_is_in_order(self):
        with two_cards() as machine:
            self.good(machine, "bind", "--hugepages", "2M=8", A, B)
            before = machine.picture()
            said = self.good(machine, "status")
            self.assertIn("vfio-pci: loaded", said)
            self.assertIn("node1  2 MB: 8", said)
            self.assertEqual(said.count("    ready\n"), 2, said)
            self.assertIn("was: ixgbe, eth1", said)
            self.assertEqual(machine.picture(), before)

    def test_the_way_to_an_iommu_depends_on_what_is_missing(self):
        for tables, command_line, vendor, advice in [
            (False, "quiet", "GenuineIntel", "turn on Intel VT-d in its setup"),
            (False, "quiet", "AuthenticAMD", "turn on AMD-Vi"),
            (True, "quiet", "GenuineIntel", 'add "intel_iommu=on iommu=pt" to GRUB_CMDLINE_LINUX'),
            (True, "quiet intel_iommu=on", "GenuineIntel", "dmesg | grep"),
        ]:
            with self.subTest(advice), Machine() as machine:
                machine.card(A, interface="eth1")
                machine.file("proc/cmdline", command_line + "\n")
                machine.file("proc/cpuinfo", f"vendor_id\t: {vendor}\n")
                if not tables:
                    (machine.root / "sys/firmware/acpi/tables/DMAR").unlink()
                self.refused(machine, ["status"], advice)
                self.refused(machine, ["bind", A], "there is no IOMMU", advice, "--no-iommu")

    def test_bind_and_unbind_leave_the_machine_as_it_was(self):
        with two_cards() as machine:
            before = machine.picture()
            said = self.good(machine, "bind", "--hugepages", "2M=64", "--hugepages", "1G=2@1", "--persistent", "03:00.0", "eth2")
            self.assertEqual([machine.driver(card) for card in (A, B, C)], ["vfio-pci", "vfio-pci", "ixgbe"])
            self.assertEqual([machine.pages(0), machine.pages(1), machine.pages(0, 1048576), machine.pages(1, 1048576)],
                             [64, 64, 0, 2])
            self.assertIn("vfio-pci, was ixgbe (eth2)", said)
            self.assertIn("/dev/hugepages1G hugetlbfs rw,relatime,pagesize=1G", machine.read("proc/mounts"))
            boot = machine.read(BOOT).splitlines()[1:]
            self.assertEqual(sorted(boot), [
                f"w /sys/devices/system/node/node{node}/hugepages/hugepages-{kb}kB/nr_hugepages - - - - {count}"
                for node, kb, count in [(0, 2048, 64), (1, 1048576, 2), (1, 2048, 64)]])
            said = self.good(machine, "unbind")
            self.assertIn(f"{A}: ixgbe (eth1) again", said)
            for folder in ("etc/tmpfiles.d", "dev/hugepages", "dev/hugepages1G"):
                before[folder] = None
            self.assertEqual(machine.picture(), before)
            self.assertNotIn("as before", self.good(machine, "unbind"))

    def test_what_is_done_is_not_done_again(self):
        with two_cards() as machine:
            words = ["bind", "--hugepages", "2M=64", "--persistent", A, "eth2"]
            self.good(machine, *words)
            before, writes = machine.picture(), machine.writes()
            words[-1] = B
            said = self.good(machine, *words)
            self.assertIn(f"{A} is bound to vfio-pci already", said)
            self.assertEqual(machine.picture(), before)
            self.assertEqual(machine.writes(), writes)
            self.good(machine, "unbind")
            self.assertEqual([machine.driver(A), machine.pages(0)], ["ixgbe", 0])

    def test_dry_run_changes_nothing(self):
        with two_cards() as machine:
            before = machine.picture()
            said = self.good(machine, "bind", "--dry-run", "--hugepages", "2M=64", "--persistent", A)
            self.assertIn(f'would write "vfio-pci" to /sys/bus/pci/devices/{A}/driver_override', said)
            self.assertIn("would run: modprobe vfio-pci", said)
            self.assertIn("would run: mount -t hugetlbfs", said)
            self.assertEqual(machine.picture(), before)
            self.good(machine, "bind", "--hugepages", "2M=64", A)
            before = machine.picture()
            self.assertIn('would write "0" to', self.good(machine, "unbind", "--dry-run"))
            self.assertEqual(machine.picture(), before)

    def test_the_default_route_is_never_cut(self):
        for what in ("plain", "ipv6", "bridge", "bond", "vlan on a bond"):
            with self.subTest(what), Machine() as machine:
                machine.card(A, interface="eth1", group=12)
                if what == "plain":
                    machine.default_route("eth1")
                elif what == "ipv6":
                    machine.default_route6("eth1")
                else:
                    machine.over("top", "eth1")
                    if what.startswith("vlan"):
                        machine.over("top.5", "top")
                    machine.default_route("top.5" if what.startswith("vlan") else "top")
                for name in (A, "eth1"):
                    self.refused(machine, ["bind", "--in-use", name], "eth1 carries: default route", "never bound")

    def test_the_login_is_never_cut(self):
        with Machine() as machine:
            machine.card(A, interface="eth1", group=12)
            machine.over("br0", "eth1")
            machine.kernel["addresses"] = [("br0", "198.51.100.7/24"), ("br0", "2001:db8::7/64")]
            for login in ("203.0.113.9 50000 198.51.100.7 22", "2001:db8::9 50000 2001:db8::7 22", "fe80::9 5 fe80::1%br0 22"):
                self.refused(machine, ["bind", "--in-use", A], "eth1 carries: your login", login=login)

    def test_a_login_is_found_behind_sudo(self):
        with Machine() as machine:
            machine.card(A, interface="eth1", group=12)
            machine.kernel["addresses"] = [("eth1", "198.51.100.7/24")]
            # sudo's child has no SSH_CONNECTION; the script's parent is this process, and its parent has it.
            machine.file(f"proc/{os.getpid()}/environ", "PATH=/bin\0SUDO_USER=me\0")
            machine.file(f"proc/{os.getpid()}/status", "Name:\tsudo\nPPid:\t4242\n")
            machine.file("proc/4242/environ", "HOME=/\0SSH_CONNECTION=203.0.113.9 50000 198.51.100.7 22\0")
            machine.file("proc/4242/status", "Name:\tbash\nPPid:\t1\n")
            self.refused(machine, ["bind", "--in-use", A], "your login")

    def test_a_card_in_use_wants_a_word_more(self):
        with two_cards() as machine:
            machine.kernel["addresses"] = [("eth1", "10.0.0.1/24"), ("eth2", "fe80::1/64")]
            machine.over("br0", "eth2")
            self.refused(machine, ["bind", A, B], "eth1 has the address 10.0.0.1", "eth2 is part of br0", "--in-use")
            self.good(machine, "bind", "--in-use", A, B)
            self.assertEqual(machine.driver(B), "vfio-pci")

    def test_one_bad_card_and_none_is_touched(self):
        with two_cards() as machine:
            self.refused(machine, ["bind", "--hugepages", "2M=8", A, C], f"{C}: eth0 carries", "nothing was changed")

    def test_groups_are_handed_out_whole(self):
        with Machine() as machine:
            machine.card(A, interface="eth1", group=12)
            machine.card(B, interface="eth2", group=12)
            machine.card("0000:00:01.0", driver="pcieport", group=12, kind="0x060400")
            self.refused(machine, ["bind", A], f"shares an IOMMU group with {B}")
            self.good(machine, "bind", A, B)
            self.good(machine, "unbind", B)
            status, said = machine.run("status")
            self.assertEqual(status, 1)
            self.assertIn(f"in one IOMMU group with {B}\n    -> nic.sh bind {B}", said)

    def test_no_iommu_only_when_asked_for_and_needed(self):
        parameter = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
        with Machine() as machine:
            machine.card(A, interface="eth1")
            machine.file(parameter, "N\n")
            self.refused(machine, ["bind", A], "there is no IOMMU")
            self.assertIn("can write to all memory", self.good(machine, "bind", "--no-iommu", A))
            self.assertEqual([machine.read(parameter), machine.driver(A)], ["Y", "vfio-pci"])
            self.good(machine, "unbind")
            self.assertEqual([machine.read(parameter), machine.driver(A)], ["N", "ixgbe"])
        with two_cards() as machine:
            machine.file(parameter, "N\n")
            self.assertIn("not needed", self.good(machine, "bind", "--no-iommu", A))
            self.assertEqual(machine.read(parameter), "N")

    def test_a_kernel_without_vfio(self):
        with two_cards() as machine:
            machine.kernel["modules"] = []
            self.refused(machine, ["bind", A], "Module vfio-pci not found", "linux-image-amd64")
            self.refused(machine, ["status"], "this kernel has none")

    def test_pages_that_do_not_fit_are_not_taken(self):
        with two_cards() as machine:
            machine.kernel["room"] = {"node0 hugepages-1048576kB": 3, "node1 hugepages-2048kB": 100}
            self.refused(machine, ["bind", "--hugepages", "1G=4"], "found 3, and took none", '"hugepagesz=1G hugepages=4"')
            self.assertIn("proc/sys/vm/compact_memory 1", machine.writes())
            self.refused(machine, ["bind", "--hugepages", "2M=101@1"], "no room for 101 pages", '"hugepages=101"')
            self.good(machine, "bind", "--hugepages", "2M=100@1")
            self.refused(machine, ["bind", "--hugepages", "2M=1@7"], "no NUMA node 7")

    def test_pages_that_are_there_stay(self):
        with two_cards() as machine:
            machine.file("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "512\n")
            machine.file("proc/mounts", "hugetlbfs /mnt/huge hugetlbfs rw,pagesize=2M 0 0\n")
            self.assertIn("512 pages of 2 MB are reserved already", self.good(machine, "bind", "--hugepages", "2M=64"))
            self.good(machine, "bind", "--hugepages", "2M=600")
            self.good(machine, "bind", "--hugepages", "2M=700")
            self.assertEqual(machine.pages(0), 700)
            self.good(machine, "unbind")
            self.assertEqual(machine.pages(0), 512)
            self.assertIn("/mnt/huge", machine.read("proc/mounts"))

    def test_pages_of_1_gb_need_a_cpu(self):
        with two_cards() as machine:
            shutil.rmtree(machine.root / "sys/devices/system/node/node0/hugepages/hugepages-1048576kB")
            self.refused(machine, ["bind", "--hugepages", "1G=1"], "pdpe1gb")

    def test_a_card_that_does_not_go_is_given_back(self):
        with two_cards() as machine:
            machine.kernel["refuses"] = [A]
            status, said = machine.run("bind", A)
            self.assertEqual(status, 1)
            self.assertIn("dmesg", said)
            self.assertEqual(machine.driver(A), "ixgbe")
            self.assertEqual(machine.read(f"sys/bus/pci/devices/{A}/driver_override"), "(null)")
            self.assertFalse((machine.root / f"run/wireglass/nic/card.{A}").exists())

    def test_a_card_in_use_by_a_process_is_not_pulled_away(self):
        with two_cards() as machine:
            self.good(machine, "bind", "--hugepages", "2M=8", A, B)
            machine.file("proc/777/comm", "wireglass\n")
            (machine.root / "proc/777/fd").mkdir()
            (machine.root / "proc/777/fd/9").symlink_to("/dev/vfio/12")
            status, said = machine.run("unbind")
            self.assertEqual(status, 1)
            self.assertIn(f"{A} is in use by process 777 wireglass", said)
            self.assertEqual([machine.driver(A), machine.driver(B), machine.pages(0)], ["vfio-pci", "ixgbe", 8])
            (machine.root / "proc/777/fd/9").unlink()
            self.good(machine, "unbind")
            self.assertEqual([machine.driver(A), machine.pages(0)], ["ixgbe", 0])

    def test_unbind_one_by_the_name_that_it_had(self):
        with two_cards() as machine:
            self.good(machine, "bind", "--hugepages", "2M=8", A, B)
            self.good(machine, "unbind", "eth1")
            self.assertEqual([machine.driver(A), machine.driver(B), machine.pages(0)], ["ixgbe", "vfio-pci", 8])

    def test_a_card_that_had_no_driver_gets_none(self):
        with Machine() as machine:
            machine.card(A, driver=None, group=12)
            machine.kernel["drivers"][A] = "ixgbe"
            self.good(machine, "bind", A)
            self.good(machine, "unbind")
            self.assertIsNone(machine.driver(A))

    def test_a_card_that_somebody_else_bound_goes_to_the_kernels_choice(self):
        with Machine() as machine:
            machine.card(A, driver="vfio-pci", group=12)
            (machine.root / "sys/bus/pci/drivers/ixgbe").mkdir()
            machine.kernel["drivers"][A] = "ixgbe"
            self.assertIn("nothing to do", self.good(machine, "unbind", A) and self.good(machine, "unbind", A))
            self.assertEqual(machine.driver(A), "ixgbe")

    def test_cards_of_other_kinds(self):
        with Machine() as machine:
            machine.card(A, driver="mlx5_core", interface="ens1", group=12)
            machine.card(B, driver="virtio-pci", interface="eth2", group=13, below="virtio3")
            machine.card(C, driver="ahci", group=14, kind="0x010601")
            self.file_vfs(machine)
            self.assertIn("stays with mlx5_core", self.good(machine, "bind", "ens1"))
            self.assertEqual(machine.driver(A), "mlx5_core")
            self.refused(machine, ["bind", C], "is not a network card")
            self.refused(machine, ["bind", "eth2"], "has 4 virtual functions", "echo 0 >")
            machine.file(f"sys/bus/pci/devices/{B}/sriov_numvfs", "0\n")
            self.good(machine, "bind", "eth2")
            self.assertEqual(machine.driver(B), "vfio-pci")
            machine.interface("dummy0")
            self.refused(machine, ["bind", "dummy0"], "dummy0 is not on PCI")
            self.refused(machine, ["bind", "nowhere"], 'no interface or PCI device "nowhere"')
            self.refused(machine, ["bind", "0000:ff:00.0"], "no PCI device 0000:ff:00.0")

    @staticmethod
    def file_vfs(machine):
        """The second card is split into virtual functions."""
        machine.file(f"sys/bus/pci/devices/{B}/sriov_numvfs", "4\n")

    def test_wrong_words(self):
        with two_cards() as machine:
            for words in ([], ["explode"], ["bind"], ["bind", "--hugepages", "4K=1"], ["bind", "--hugepages"], ["bind", "--what"],
                          ["unbind", "--no-iommu"], ["status", A], ["bind", "--persistent", A]):
                self.refused(machine, words, status=2)
            self.assertIn("Usage:", self.good(machine, "--help"))
