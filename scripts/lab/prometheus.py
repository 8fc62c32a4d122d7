"""A real Prometheus beside the engine, with the rules that go with it."""

import contextlib
import json
import urllib.parse
from pathlib import Path

from .shell import Failed, Process, wait_for

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
_PORT = 9090
_CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: wireglass
    static_configs: [{{targets: ["127.0.0.1:9464"]}}]
"""


class Prometheus:
    """Scrapes the engine in the middle namespace each second."""

    def __init__(self, lab, folder):
        self.middle = lab.network.middle
        folder.mkdir()
        config = folder / "prometheus.yml"
        config.write_text(_CONFIG.format(rules=DEPLOY / "prometheus" / "wireglass.rules.yml"))
        self.argv = self.middle.argv(
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{_PORT}")
        self.log = folder / "prometheus.log"

    @contextlib.contextmanager
    def running(self):
        """For as long as this lasts."""
        process = Process(self.argv, self.log, "prometheus")
        try:
            process.wait_text("Server is ready to receive web requests", 20)
            yield self
        finally:
            process.stop()

    def ask(self, path, **query):
        """Its answer over HTTP."""
        url = f"http://127.0.0.1:{_PORT}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        done = self.middle.run("curl", "-sS", "--max-time", 10, url)
        answer = json.loads(done.stdout)
        if answer["status"] != "success":
            raise Failed(f"{path} {query}: {answer.get('error')}")
        return answer["data"]

    def series(self, expression):
        """What an expression gives now."""
        return self.ask("query", query=expression)["result"]

    def wait_scrapes(self, count):
        """Until it has scraped the engine so many times."""
        def scrapes():
            found = self.series("count_over_time(up[1m])")
            return found and float(found[0]["value"][1]) >= count
        wait_for(scrapes, 30, f"{count} scrapes", step=0.2)


def dashboard():
    """The dashboard: pairs of panel and expression, with its variables and Grafana's own filled in."""
    board = json.loads((DEPLOY / "grafana" / "wireglass.json").read_text())
    expressions = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
    expressions += [(f"annotation {each['name']}", each["expr"]) for each in board["annotations"]["list"]]
    filled = []
    for title, expression in expressions:
        for variable, value in (("$job", ".*"), ("$instance", ".*"), ("$__rate_interval", "1m"), ("$__interval", "1m")):
            expression = expression.replace(variable, value)
        if "$" in expression:
            raise Failed(f"{title}: a variable that there is not: {expression}")
        filled.append((title, expression))
    return filled
