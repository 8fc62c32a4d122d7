"""What a reader of figures has to know of the machine that they come from."""

import os
import platform
import sys
import time
from pathlib import Path

from .shell import run


def machine(command, engine):
    """Machine, versions, commit; `command` is the script's name, `engine` its binary."""
    def said(*argv):
        return (run(argv, check=False).stdout.decode(errors="replace").splitlines() or [""])[0].strip()
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), "")
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "command": " ".join([command, *sys.argv[1:]]),
        "commit": said("git", "describe", "--always", "--dirty", "--abbrev=12"),
        "cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "engine": said(engine, "--version"),
        "dpdk": said("pkg-config", "--modversion", "libdpdk"), "nginx": run(["nginx", "-v"], check=False).stderr.decode().strip(),
        "load_average": Path("/proc/loadavg").read_text().split()[:3],
    }
