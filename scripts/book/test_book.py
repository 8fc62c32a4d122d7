"""The checks of the book find what they are there for."""

import tempfile
import unittest
from pathlib import Path

from . import gather, links

ROOT = Path(__file__).resolve().parents[2]


class Links(unittest.TestCase):
    """Of a site of two pages."""

    def faults(self, body):
        """Of a page with this body, beside a good one."""
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder)
            (site / "other.html").write_text('<h2 id="there">x</h2><img src="data:image/png;base64,AA==">')
            (site / "page.html").write_text(f'<p id="here">{body}</p>')
            return links.faults(site)

    def test_good_links_have_no_faults(self):
        for link in ("other.html", "other.html#there", "#here", "./other.html", "https://example.com/x#y"):
            self.assertEqual(self.faults(f'<a href="{link}">x</a>'), [], link)

    def test_each_bad_link_is_one_fault(self):
        for link in ("none.html", "other.html#none", "#none", "../page.html", "/other.html", "ftp://example.com/", "https://nohost/",
                     "javascript:alert(1)"):
            self.assertEqual(len(self.faults(f'<a href="{link}">x</a>')), 1, link)

    def test_nothing_is_loaded_from_elsewhere(self):
        for body in ('<img src="https://example.com/x.png">', '<script src="//example.com/x.js"></script>',
                     '<link rel="stylesheet" href="https://example.com/x.css">', "<style>a{background:url(https://example.com/x)}</style>",
                     "<style>@import 'https://example.com/x.css';</style>", '<img src="none.png">'):
            self.assertEqual(len(self.faults(body)), 1, body)

    def test_a_site_without_pages_is_a_fault(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(len(links.faults(Path(folder))), 1)


class Gather(unittest.TestCase):
    """Links of documents, as the book has them."""

    def target(self, file, link):
        """Of a link in a document of this repository."""
        return gather.target(ROOT, ROOT / file, link, "https://example.com/repository")

    def test_pages_link_to_pages(self):
        self.assertEqual(self.target("README.md", "docs/flows.md#how-to-read-it"), "flows.md#how-to-read-it")
        self.assertEqual(self.target("docs/flows.md", "top.md"), "top.md")
        self.assertEqual(self.target("docs/flows.md", "../ARCHITECTURE.md"), "architecture.md")
        self.assertEqual(self.target("docs/flows.md", "../examples/wireglass.toml"), "examples/wireglass.toml")
        self.assertEqual(self.target("docs/flows.md", "#all-fields"), "#all-fields")

    def test_all_else_leads_to_the_repository(self):
        self.assertEqual(self.target("README.md", "scripts/demo.sh"), "https://example.com/repository/blob/main/scripts/demo.sh")
        self.assertEqual(self.target("README.md", "deploy"), "https://example.com/repository/tree/main/deploy")
        self.assertEqual(self.target("README.md", "https://rustup.rs"), "https://rustup.rs")

    def test_what_is_not_there_is_a_fault(self):
        for link in ("docs/none.md", "../../etc/passwd", "docs/flows.md#none", "#none"):
            with self.assertRaises(gather.Fault):
                self.target("README.md", link)

    def test_headings_have_the_names_that_github_gives_them(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "x.md"
            file.write_text("# A b: `c.d`, [e](f.md) & g_h\n```\n# no heading\n```\n<a id=\"own\"></a>\n")
            self.assertEqual(gather.anchors(file), {"a-b-cd-e--g_h", "own"})

    def test_code_is_left_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "x.md"
            file.write_text("`[a](none.md)` and\n```\n[b](none.md)\n```\n[c](none.md)\n")
            faults = []
            gather.rewritten(Path(folder), file, "https://example.com", faults)
            self.assertEqual(faults, ["x.md:5: none.md: no such file"])


if __name__ == "__main__":
    unittest.main()
