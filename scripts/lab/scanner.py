"""Debian's c-icap with ClamAV behind it, and what ClamAV is to find: its signatures are the lab's own."""

import contextlib
import os
import signal
from pathlib import Path

from .shell import Failed, Process, wait_for

PORT = 1344
# The test file of EICAR, in two halves: scanners take a source with it in one piece for the file.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
# Found anywhere in a file; what comes before it may be of any length.
MARKER = b"WIREGLASS-MARKER-OF-" + b"MALWARE"

_MODULES = "/usr/lib/x86_64-linux-gnu/c_icap"
_C_ICAP = """\
PidFile {dir}/c-icap.pid
CommandsSocket {dir}/c-icap.ctl
Port 127.0.0.1:{port}
StartServers 1
MaxServers 1
ThreadsPerChild 10
ServerAdmin root@lab.test
ServerName lab
TmpDir {dir}
ModulesDir {modules}
ServicesDir {modules}
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog {dir}/server.log
AccessLog {dir}/access.log
User root
Group root
Module common clamd_mod.so
clamd_mod.ClamdSocket {dir}/clamd.sock
Service antivirus_module virus_scan.so
ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE
virus_scan.MaxObjectSize 16M
virus_scan.DefaultEngine clamd
"""
_CLAMD = """\
LocalSocket {dir}/clamd.sock
DatabaseDirectory {dir}/signatures
Foreground yes
LogFile {dir}/clamd.log
User root
StreamMaxLength 20M
"""


class Scanner:
    """Both of them, in the middle namespace, where the engine asks."""

    def __init__(self, lab, folder: Path):
        (folder / "signatures").mkdir(parents=True)
        (folder / "signatures" / "own.hdb").write_text("44d88612fea8a8f36de82e1278abb02f:68:Eicar-Test\n")
        (folder / "signatures" / "own.ndb").write_text(f"Marker-Test:0:*:{MARKER.hex()}\n")
        (folder / "c-icap.conf").write_text(_C_ICAP.format(dir=folder, port=PORT, modules=_MODULES))
        (folder / "clamd.conf").write_text(_CLAMD.format(dir=folder))
        self.namespace, self.folder = lab.network.middle, folder
        self.clamd = self.server = None

    @contextlib.contextmanager
    def running(self):
        """Both are there, and answer, for as long as this lasts."""
        self.namespace.ip("link", "set", "lo", "up")
        self.clamd = Process(["clamd", "-c", self.folder / "clamd.conf"], self.folder / "clamd.out", "clamd")
        try:
            wait_for((self.folder / "clamd.sock").exists, 60, "clamd's socket")
            self.start()
            yield self
        finally:
            self.stop()
            self.clamd.stop(signal.SIGTERM, seconds=20)

    def start(self):
        """c-icap, until it listens."""
        argv = self.namespace.argv("c-icap", "-N", "-f", self.folder / "c-icap.conf")
        self.server = Process(argv, self.folder / "c-icap.out", "c-icap")

        def listens():
            if not self.server.alive():
                raise Failed(f"c-icap ended: {self.server.text()}")
            return self._is_listened_to()
        wait_for(listens, 20, "c-icap to listen")

    def stop(self, with_signal=signal.SIGTERM):
        """c-icap alone; ClamAV stays."""
        if self.server:
            self.server.stop(with_signal, seconds=10)
            # Where it had to be killed, its child listens on, and another one could not.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.server.popen.pid, signal.SIGKILL)
            self.server = None
            wait_for(lambda: not self._is_listened_to(), 10, "c-icap's port to be free")

    def _is_listened_to(self):
        return f"127.0.0.1:{PORT} " in self.namespace.run("ss", "-Hltn").stdout.decode()
