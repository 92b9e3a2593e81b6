# SPDX-License-Identifier: MIT
"""An agent to ask, and a program for it to watch."""

import collections
import http.client
import pathlib
import re
import socket
import time

from harness import DEADLINE_S, MEMWATCH, start

# Something each millisecond, some of it kept.
ALLOCATES = """
import time
kept = [bytearray(20000) for _ in range(100)]
while True:
    kept.append(bytearray(20000))
    bytearray(30000)
    time.sleep(0.001)
"""

Answer = collections.namedtuple("Answer", "status headers body")


class Client:
    """connect() gives a http.client.HTTPConnection."""

    def ask(self, method, path, headers=None, body=None):
        connection = self.connect()
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.ask("GET", path, headers)

    def fresh_metrics(self):
        """Answers are kept for a quarter of a second: what comes then is of now."""
        time.sleep(0.3)
        return self.get("/metrics")


class Agent(Client):
    """A context manager: memwatch serve, on a port of its own unless it is told where."""

    def __init__(self, *words, preload=False, options=None):
        self.words = words if any(word.startswith("--listen") for word in words) else ("--listen=127.0.0.1:0", *words)
        self.preload = preload
        self.options = options

    def __enter__(self):
        self.process = start([str(MEMWATCH), "serve", *self.words], preload=self.preload, options=self.options)
        self.process.__enter__()
        line = self.process.stdout.readline().decode()
        said = re.fullmatch(r"memwatch: serving on (http://(\S+)/|unix:\S+)\n", line)
        if not said:
            self.process.kill()
            raise AssertionError(f"{line!r}, {self.process.stderr.read()!r}")
        self.url = said[1].rstrip("/")
        self.address = said[2]
        return self

    def __exit__(self, *exception):
        return self.process.__exit__(*exception)

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=DEADLINE_S)

    def socket(self):
        host, port = self.address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=DEADLINE_S)

    def children(self):
        pid = self.process.pid
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def resident_bytes(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096


class Unix(Client):
    """What listens on a Unix socket."""

    def __init__(self, path):
        self.path = str(path)

    def connect(self):
        connection = http.client.HTTPConnection("localhost", timeout=DEADLINE_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(DEADLINE_S)
        connection.sock.connect(self.path)
        return connection
