"""Checks the links of a web site in a folder."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself when it shows a page.
_LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data", "embed": "src"}
_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)


class _Page(HTMLParser):
    """Anchors and links of a page, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loads = set(), [], []
        self.feed(text)
        self.loads += _CSS.findall(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.update(value for name, value in attrs if value and (name == "id" or (tag, name) == ("a", "name")))
        if tag == "a" and attributes.get("href") is not None:
            self.links.append(attributes["href"])
        # <link rel="canonical"> and their like load nothing, and the book has none.
        if attributes.get(_LOADS.get(tag)):
            self.loads.append(attributes[_LOADS[tag]])


def faults(site: Path):
    """One line for each link that leads nowhere, and for each thing that is loaded from another site."""
    pages = {file: _Page(file.read_text()) for file in sorted(site.rglob("*.html"))}
    found = [f"{site}: no page"] if not pages else []
    for file, page in pages.items():
        name = file.relative_to(site)
        found += [f"{name}: loads {link} from elsewhere" for link in page.loads if _elsewhere(link)]
        for link in dict.fromkeys(page.links + [load for load in page.loads if not _elsewhere(load)]):
            wrong = _external(link) if _elsewhere(link) else _internal(site, file, link, pages)
            if wrong:
                found.append(f"{name}: {link}: {wrong}")
    for file in sorted(site.rglob("*.css")):
        found += [f"{file.relative_to(site)}: loads {link} from elsewhere" for link in _CSS.findall(file.read_text())]
    return found


def _elsewhere(link):
    parts = urlsplit(link)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _external(link):
    """What is wrong with the form of a link to another site; it is not followed."""
    parts = urlsplit(link)
    if parts.scheme not in ("http", "https"):
        return "neither http nor https"
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.hostname or "", re.IGNORECASE):
        return "no name of a host"
    return None


def _internal(site, file, link, pages):
    """Why a link within the site leads nowhere."""
    parts = urlsplit(link)
    if parts.scheme == "data":
        return None
    path = unquote(parts.path)
    # A site may lie in a folder of its host: its root is not the host's.
    if path.startswith("/"):
        return "begins at the root of the host"
    there = (file.parent / path).resolve() if path else file.resolve()
    if there.is_dir():
        there = there / "index.html"
    if not there.is_relative_to(site.resolve()) or not there.is_file():
        return "no such file"
    anchor = unquote(parts.fragment)
    if anchor and there.suffix == ".html" and anchor not in pages[site / there.relative_to(site.resolve())].anchors:
        return "no such anchor"
    return None
