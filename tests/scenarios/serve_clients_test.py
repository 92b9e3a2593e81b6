# SPDX-License-Identifier: MIT
"""Who is let in by memwatch serve, and clients that mean no good: they are refused with the right status, take up only so
much, and whoever asks in earnest is answered meanwhile."""

import os
import pathlib
import re
import select
import socket
import time

import openmetrics
from harness import Segments, main, start, wait_until
from serving import ALLOCATES, Agent, Unix

TOKEN = "0123456789abcdef0123456789abcdef"


class Access(Segments):
    def test_only_loopback_names_lead_here(self):
        """A page whose name has been made to lead to this machine sends its own name."""
        with Agent() as agent:
            port = agent.address.rsplit(":", 1)[1]
            for host, status in (("localhost", 200), (f"localhost:{port}", 200), ("127.0.0.1:1", 200), ("[::1]", 200),
                                 ("evil.example", 421), (f"evil.example:{port}", 421), ("localhost.evil.example", 421),
                                 ("127.0.0.1.nip.io", 421), ("10.0.0.1", 421), ("", 421)):
                with self.subTest(host):
                    for path in ("/metrics", "/", "/nothing", "/debug/pprof/heap"):
                        answer = agent.get(path, {"Host": host})
                        if status == 421:
                            self.assertEqual(answer.status, 421)
                        else:
                            self.assertNotEqual(answer.status, 421)

    def test_other_sites_pages_are_refused(self):
        with Agent() as agent:
            for site, mode, status in (("cross-site", "no-cors", 403), ("cross-site", "cors", 403),
                                       ("cross-site", "navigate", 200), ("same-origin", "cors", 200),
                                       ("none", "navigate", 200)):
                with self.subTest(site=site, mode=mode):
                    answer = agent.get("/metrics", {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode})
                    self.assertEqual(answer.status, status)
                    self.assertNotIn("Access-Control-Allow-Origin", answer.headers)

    def test_a_token(self):
        file = self.directory / "token"
        file.write_text(TOKEN + "\n")
        with Agent("--listen=0.0.0.0:0", f"--token-file={file}") as agent:
            agent.address = agent.address.replace("0.0.0.0", "127.0.0.1")
            for value, status in ((f"Bearer {TOKEN}", 200), (None, 401), ("Bearer ", 401), (f"Bearer {TOKEN}x", 401),
                                  (f"Bearer {TOKEN[:-1]}", 401), (f"Basic {TOKEN}", 401), (TOKEN, 401)):
                with self.subTest(value):
                    headers = {"Host": "any.example"} | ({"Authorization": value} if value else {})
                    answer = agent.get("/metrics", headers)
                    self.assertEqual(answer.status, status)
                    if status == 401:
                        self.assertEqual(answer.headers["WWW-Authenticate"], 'Bearer realm="memwatch"')
                        self.assertNotIn(TOKEN, str(answer))
            self.assertEqual(agent.get("/nothing").status, 401)  # nobody learns what there is

    def test_a_unix_socket_is_its_owners(self):
        path = self.directory / "socket"
        with Agent(f"--listen=unix:{path}"):
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            self.assertEqual(Unix(path).get("/metrics", {"Host": "any.example"}).status, 200)

    def test_methods_and_bodies(self):
        with Agent() as agent:
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"):
                with self.subTest(method):
                    answer = agent.ask(method, "/metrics")
                    self.assertEqual(answer.status, 405)
                    self.assertEqual(answer.headers["Allow"], "GET, HEAD")
            self.assertEqual(agent.ask("GET", "/metrics", body=b"x" * 100).status, 413)
            self.assertEqual(agent.ask("POST", "/debug/pprof/symbol", body=b"0x1+0x2").body, b"num_symbols: 0\n")
            self.assertEqual(agent.ask("DELETE", "/debug/pprof/symbol").headers["Allow"], "GET, HEAD, POST")
            self.assertEqual(agent.get("/metrics").status, 200)


class Hostile(Segments):
    def alive(self, agent):
        """Answers whole, and soon."""
        began = time.monotonic()
        openmetrics.parse(agent.get("/metrics", {"Accept": "application/openmetrics-text"}).body)
        self.assertLess(time.monotonic() - began, 5)

    def exchange(self, agent, request):
        """What comes for these bytes, to the end. They may be refused before they are all there."""
        with agent.socket() as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            answer = b""
            try:
                while part := connection.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass
            return answer

    def test_nonsense_in_paths(self):
        with Agent() as agent:
            for path, status in (("/nothing", 404), ("/metrics/", 404), ("//metrics", 404), ("/METRICS", 404),
                                 ("/../../etc/passwd", 404), ("/%2e%2e/%2e%2e/etc/passwd", 404), ("/metrics%00", 400),
                                 ("/metrics%0d%0aX:%20y", 400), ("/%", 400), ("/%zz", 400), ("/metrics?%", 400),
                                 ("/metrics?" + "&".join(map(str, range(17))), 400), ("/" + "a" * 2000, 414),
                                 ("/metrics?a=<script>alert(1)</script>", 200), ("/<script>", 404),
                                 ("http://evil.example/metrics", 400), ("*", 400), ("/metrics#x", 404),
                                 ("/debug/pprof/profile", 404), ("/debug/pprof/heap/", 404)):
                with self.subTest(path):
                    answer = self.exchange(agent, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    self.assertRegex(answer, rb"\AHTTP/1.1 %d " % status)
                    if status != 200:
                        self.assertNotIn(b"<script>", answer)
            self.alive(agent)

    def test_what_is_no_request(self):
        with Agent() as agent:
            for request in (b"\r\n" * 10, b"\0" * 1000, b"\xff" * 1000, b"GET\r\n\r\n", b"GET /metrics\r\n\r\n",
                            b"GET /metrics HTTP/9.9\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" * 50,
                            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost\r\n\r\n",
                            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
                            b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
                            b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
                            b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"):
                with self.subTest(request[:60]):
                    answer = self.exchange(agent, request)
                    self.assertTrue(not answer or re.match(rb"HTTP/1\.[01] [45]\d\d ", answer), answer[:200])
            self.alive(agent)

    def test_huge_headers(self):
        with Agent() as agent:
            before = agent.resident_bytes()
            for header in (b"X: " + b"a" * 20000, b"\r\n".join(b"X%d: y" % i for i in range(5000)),
                           b"Authorization: Bearer " + b"x" * 20000):
                answer = self.exchange(agent, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n")
                self.assertTrue(not answer or answer.startswith(b"HTTP/1.1 431 "), answer[:100])
            answer = self.exchange(agent, b"GET /" + b"a" * (8 << 20))
            self.assertTrue(not answer or answer.startswith(b"HTTP/1.1 414 ") or answer.startswith(b"HTTP/1.1 431 "))
            self.alive(agent)
            self.assertLess(agent.resident_bytes() - before, 4 << 20)

    def test_a_body_without_end(self):
        with Agent() as agent, agent.socket() as connection:
            connection.sendall(b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            before = agent.resident_bytes()

            def is_cut_off():
                try:
                    connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                except OSError:
                    return True
                return False

            wait_until(is_cut_off, "the end of patience")
            self.alive(agent)
            self.assertLess(agent.resident_bytes() - before, 4 << 20)

    def test_a_thousand_connections(self):
        """That say nothing; the first ones give way to those that come later."""
        with Agent() as agent:
            self.alive(agent)
            before = agent.resident_bytes()
            connections = [agent.socket() for _ in range(1000)]
            try:
                self.alive(agent)
                gone = select.select(connections[:700], [], [], 10)[0]
                self.assertEqual(len(gone), 700)  # closed
                self.assertFalse(select.select(connections[-100:], [], [], 0)[0])
                figures = openmetrics.values(openmetrics.parse_text(agent.fresh_metrics().body))
                self.assertLessEqual(figures["memwatch_agent_connections"], 256)
                self.assertGreaterEqual(figures["memwatch_agent_evicted_connections_total"], 744)
                self.assertLess(agent.resident_bytes() - before, 8 << 20)
                links = [os.readlink(path) for path in pathlib.Path(f"/proc/{agent.process.pid}/fd").iterdir()]
                self.assertLessEqual(sum(link.startswith("socket:") for link in links), 258)
            finally:
                for connection in connections:
                    connection.close()
            wait_until(lambda: openmetrics.values(openmetrics.parse_text(agent.fresh_metrics().body))
                       ["memwatch_agent_connections"] == 1, "the end of all")

    def test_slow_requests_have_their_time(self):
        """A byte a moment (slowloris) does not keep a connection for longer than ten seconds."""
        with Agent() as agent:
            connections = [agent.socket() for _ in range(200)]
            request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 10000
            began = time.monotonic()
            sent = 0

            def all_are_cut_off():
                nonlocal sent
                for connection in connections:
                    try:
                        connection.sendall(request[sent:sent + 1])
                    except OSError:
                        pass
                sent += 1
                self.alive(agent)
                time.sleep(0.1)
                return len(select.select(connections, [], [], 0)[0]) == len(connections)

            try:
                wait_until(all_are_cut_off, "the end of patience")
                self.assertGreater(time.monotonic() - began, 8)
                self.assertLess(time.monotonic() - began, 30)
            finally:
                for connection in connections:
                    connection.close()

    def test_answers_that_nobody_takes(self):
        """Many that ask for much and read nothing share one answer, and give way to who asks in earnest."""
        with Agent() as agent, start(["/usr/bin/python3", "-c", ALLOCATES], options=self.options()):
            self.alive(agent)
            before = agent.resident_bytes()
            connections = []
            try:
                for _ in range(600):
                    connection = socket.socket()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                    host, port = agent.address.rsplit(":", 1)
                    connection.connect((host, int(port)))
                    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
                    connections.append(connection)
                    if len(connections) % 100 == 0:
                        self.alive(agent)
                self.assertLess(agent.resident_bytes() - before, 16 << 20)
            finally:
                for connection in connections:
                    connection.close()
            self.alive(agent)

    def test_more_profiles_than_can_be_made(self):
        with Agent() as agent, start(["/usr/bin/python3", "-c", ALLOCATES], options=self.options()) as p:
            wait_until(lambda: agent.get(f"/debug/pprof/heap?pid={p.pid}").status == 200, "the process")
            connections = []
            try:
                for _ in range(40):
                    connections.append(agent.connect())
                    connections[-1].request("GET", f"/debug/pprof/heap?pid={p.pid}&seconds=600")
                def refused_ones():
                    ready = select.select([c.sock for c in connections], [], [], 0)[0]
                    return [c for c in connections if c.sock in ready]

                wait_until(lambda: len(refused_ones()) == 8, "refusals")
                refused = refused_ones()
                for connection in refused:
                    answer = connection.getresponse()
                    self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "5"))
                self.alive(agent)
            finally:
                for connection in connections:
                    connection.close()
            wait_until(lambda: not agent.children(), "the end of all that waited")
            self.assertEqual(agent.get(f"/debug/pprof/heap?pid={p.pid}").status, 200)


if __name__ == "__main__":
    main()
