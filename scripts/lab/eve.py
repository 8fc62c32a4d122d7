"""Reading the engine's eve.json while it is being written."""

import json
from pathlib import Path

from .shell import Failed, wait_for


class Eve:
    """The events of one engine run."""

    def __init__(self, path: Path):
        self.path = path
        self._offset = 0
        self._events = []

    def events(self):
        """All events so far. A line that is not a JSON object is a failure by itself."""
        if self.path.exists():
            with open(self.path, "rb") as log:
                log.seek(self._offset)
                fresh = log.read()
            # The last line may still be on its way.
            whole = fresh[:fresh.rfind(b"\n") + 1]
            self._offset += len(whole)
            for line in whole.splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    raise Failed(f"not JSON in eve.json: {line[:120]!r}") from None
                if not isinstance(event, dict) or "event_type" not in event or "timestamp" not in event:
                    raise Failed(f"no event in eve.json: {line[:120]!r}")
                self._events.append(event)
        return self._events

    def of(self, kind, source_port):
        """The events of one kind for the connection from one client port (the lab uses each port once)."""
        return [event for event in self.events()
                if event["event_type"] == kind and event.get("src_port") == source_port]

    def one(self, kind, source_port, seconds=5.0):
        """Waits for the first event of a kind for a connection."""
        return self.some(kind, source_port, 1, seconds)[0]

    def some(self, kind, source_port, count, seconds=5.0):
        """Waits for at least `count` events of a kind for a connection."""
        def enough():
            found = self.of(kind, source_port)
            return found if len(found) >= count else None
        return wait_for(enough, seconds, f"{count} {kind} event(s) in eve.json for client port {source_port}")


def at(event, path, expected=None):
    """The value at "a.b.c" in an event; raises Failed when it is missing, or not `expected` (a value or a container)."""
    value = event
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise Failed(f"{event['event_type']} event without {path}")
        value = value[name]
    if expected is not None:
        allowed = expected if isinstance(expected, (list, tuple, set)) else [expected]
        if value not in allowed:
            raise Failed(f"{event['event_type']} event says {path} = {value!r}, expected {expected!r}")
    return value
