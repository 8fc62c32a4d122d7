"""Process 1 of the guest: runs commands that the host asks for. One JSON object a line, over a virtio serial port.

It stands alone, since it runs in the guest.

    {"id": 1, "op": "run", "argv": [...], "seconds": 10}    ->  {"id": 1, "status": 0, "said": "..."}
    {"id": 2, "op": "start", "argv": [...], "log": "FILE"}  ->  {"id": 2, "pid": 77}, and at its end {"ended": 77, "status": 0}
    {"id": 3, "op": "signal", "pid": 77, "number": 15}      ->  {"id": 3}
"""

import json
import os
import subprocess
import threading
from pathlib import Path


class Agent:
    """The guest's end of the line."""

    def __init__(self, port):
        self.port = os.open(port, os.O_RDWR)
        self.writing = threading.Lock()
        self.started = {}

    def serve(self):
        """Until the host closes; a command that hangs holds up no other one."""
        self.say(up=True)
        with os.fdopen(os.dup(self.port), "rb") as lines:
            for line in lines:
                threading.Thread(target=self.answer, args=(json.loads(line),), daemon=True).start()

    def answer(self, request):
        """Does what is asked."""
        try:
            told = getattr(self, f"op_{request['op']}")(request)
        except (OSError, KeyError) as error:
            told = {"error": str(error)}
        self.say(id=request["id"], **told)

    def op_run(self, request):
        """A command to its end."""
        try:
            done = subprocess.run(request["argv"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=request["seconds"], check=False)
        except subprocess.TimeoutExpired:
            return {"error": f"no end within {request['seconds']:g} s"}
        return {"status": done.returncode, "said": done.stdout.decode(errors="replace")}

    def op_start(self, request):
        """A command in the background."""
        with open(request["log"], "ab") as log:
            process = subprocess.Popen(request["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.started[process.pid] = process
        threading.Thread(target=lambda: self.say(ended=process.pid, status=process.wait()), daemon=True).start()
        return {"pid": process.pid}

    def op_signal(self, request):
        """A signal to what was started."""
        self.started[request["pid"]].send_signal(request["number"])
        return {}

    def say(self, **told):
        """A line to the host."""
        rest = json.dumps(told).encode() + b"\n"
        with self.writing:
            while rest:
                rest = rest[os.write(self.port, rest):]


def main():
    """The port that the host calls `agent`."""
    name = next(path for path in Path("/sys/class/virtio-ports").iterdir() if (path / "name").read_text().strip() == "agent")
    Agent(f"/dev/{name.name}").serve()


if __name__ == "__main__":
    main()
