"""Builds the site and checks it: see scripts/docs.sh."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from . import gather, links

ROOT = Path(__file__).resolve().parents[2]


def main():
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="book")
    parser.add_argument("--mdbook", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    out = options.out.resolve()
    source = ROOT / "target" / "book" / "source"
    faults = gather.gather(ROOT, source)
    if not faults:
        # mdBook empties the folder that it writes to, whatever is in it.
        if out.exists() and not (out / "index.html").exists() and any(out.iterdir()):
            print(f"{out} is not empty, and no site")
            return 1
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run([options.mdbook, "build", source, "--dest-dir", out], check=True)
        faults = links.faults(out)
    for fault in faults:
        print(fault)
    pages = len(list(out.glob("*.html"))) if out.exists() else 0
    print(f"{out}: {pages} pages, {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
