"""Gathers what the book is made of in one folder: docs/, the documents of the repository's root, the examples.

On GitHub links lead from file to file of the repository. In the book those between its pages stay links between pages, and all others
lead to the repository's site."""

import functools
import os
import re
import shutil
import tomllib
from pathlib import Path

# Documents outside of docs/, and what the book calls them.
PAGES = {
    "README.md": "introduction.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
# A link or picture: what stands between "](" and ")". Code between backquotes is taken along, and left alone.
_LINK = re.compile(r"`+[^`]*`+|\]\(([^)\s]+)\)")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HEADING = re.compile(r"^#{1,6} +(.*?) *#*$")
_NAMED = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")


class Fault(Exception):
    """A link that leads nowhere, in words."""


def gather(root: Path, folder: Path):
    """Fills the folder anew. Returns faults, a line each."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    repository = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["repository"]
    faults = []
    for file in sorted((root / "docs").iterdir()):
        if file.suffix == ".md":
            (folder / file.name).write_text(rewritten(root, file, repository, faults))
        else:
            shutil.copy(file, folder)
    for name, page in PAGES.items():
        (folder / page).write_text(rewritten(root, root / name, repository, faults))
    shutil.copytree(root / "examples", folder / "examples")
    summary = (folder / "SUMMARY.md").read_text()
    pages = sorted(page.name for page in folder.glob("*.md") if page.name != "SUMMARY.md")
    faults += [f"{page} is not in docs/SUMMARY.md" for page in pages if f"]({page})" not in summary]
    return faults


def _outside_of_code(file):
    """Lines of a document, each with whether it is text; what stands between fences is none."""
    fence = None
    for line in file.read_text().splitlines():
        mark = _FENCE.match(line)
        yield line, mark is None and fence is None
        if mark and fence is None:
            fence = mark.group(1)
        elif mark and mark.group(1).startswith(fence):
            fence = None


@functools.cache
def anchors(file):
    """What GitHub lets links name in a document. mdBook's names are the same ones, where no heading comes twice; those are checked in
    the site."""
    found = set()
    for line, is_text in _outside_of_code(file):
        heading = _HEADING.match(line) if is_text else None
        if heading:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower().replace(" ", "-")
            found.add(re.sub(r"[^\w-]", "", text))
        found.update(_NAMED.findall(line))
    return found


def rewritten(root, file, repository, faults):
    """A document with the links that it has in the book."""
    lines = []
    for number, (line, is_text) in enumerate(_outside_of_code(file), 1):
        def put(match, number=number):
            if match.group(1) is None:
                return match.group(0)
            try:
                return f"]({target(root, file, match.group(1), repository)})"
            except Fault as fault:
                faults.append(f"{file.relative_to(root)}:{number}: {match.group(1)}: {fault}")
                return match.group(0)
        lines.append(_LINK.sub(put, line) if is_text else line)
    return "\n".join(lines) + "\n"


def target(root, file, link, repository):
    """What a link of a document becomes in the book."""
    path, mark, anchor = link.partition("#")
    if _SCHEME.match(link):
        return link
    there = Path(os.path.normpath(file.parent / path)) if path else file
    if not there.exists() or not there.is_relative_to(root):
        raise Fault("no such file")
    if anchor and there.suffix == ".md" and anchor not in anchors(there):
        raise Fault("no such heading")
    if not path:
        return link
    inside = there.relative_to(root)
    if inside.parts[0] in ("docs", "examples") and there.is_file():
        page = inside.name if inside.parts[0] == "docs" else str(inside)
    elif str(inside) in PAGES:
        page = PAGES[str(inside)]
    else:
        page = f"{repository}/{'tree' if there.is_dir() else 'blob'}/main/{inside}"
    return page + mark + anchor
