# SPDX-License-Identifier: MIT
"""What the program tells a service manager passes through memwatch-run. The manager is a socket of this test."""

import array
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import unittest

from harness import LAUNCHER, Scenario, can_make_groups, main, run, signal, start

GROUPS = can_make_groups()
STRANGER = 65534
PYTHON = shutil.which("python3", path="/usr/bin:/bin")  # that strangers may execute
# Says to NOTIFY_SOCKET what its arguments are, each a message, with what Python has to offer.
SPEAKER = ("import os, socket, sys\n"
           "address = os.environ['NOTIFY_SOCKET'].replace('@', chr(0), 1)\n"
           "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
           "s.connect(address)\n"
           "for word in sys.argv[1:]: s.send(word.encode())\n")


class Notices(Scenario):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.directory.chmod(0o755)
        self.path = str(self.directory / "notify")
        self.manager = self.listen(self.path)

    def listen(self, address):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.settimeout(30)
        manager.bind(address)
        if not address.startswith("\0"):
            os.chmod(address, 0o777)
        return manager

    @staticmethod
    def receive(manager):
        """The message, the process that sent it, and descriptors."""
        text, control, _, _ = manager.recvmsg(8192, 4096)
        sender, descriptors = None, array.array("i")
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                sender = struct.unpack("iII", data)[0]
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data)
        return text, sender, list(descriptors)

    def heard(self):
        """All that has come by now."""
        self.manager.setblocking(False)
        messages = []
        try:
            while True:
                messages.append(self.receive(self.manager)[0])
        except BlockingIOError:
            return messages

    def launch(self, *arguments, address=None, **keywords):
        return run([LAUNCHER, *arguments], preload=False, options={"output": "none"},
                   env={"NOTIFY_SOCKET": address or self.path}, **keywords)

    def test_messages_come_in_the_launchers_name_and_it_stays_the_main_process(self):
        command = [LAUNCHER, PYTHON, "-c", SPEAKER + "sys.stdin.read()", "READY=1\nMAINPID=1\nSTATUS=x", "STOPPING=1", "WATCHDOG=1"]
        with start(command, preload=False, stdin=subprocess.PIPE, env={"NOTIFY_SOCKET": self.path}) as process:
            self.assertEqual(self.receive(self.manager), (b"READY=1\nSTATUS=x", process.pid, []))
            self.assertEqual(self.receive(self.manager), (b"WATCHDOG=1", process.pid, []))
            process.communicate(timeout=30)
        self.assertEqual((process.returncode, self.heard()), (0, []))

    def test_once_it_is_asked_to_stop_it_may_say_so(self):
        script = ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {15})\nprint(flush=True)\nsignal.sigwait({15})\n" + SPEAKER)
        with start([LAUNCHER, PYTHON, "-c", script, "STOPPING=1"], preload=False, env={"NOTIFY_SOCKET": self.path}) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        self.assertEqual(self.heard(), [b"STOPPING=1"])

    def test_what_was_said_last_and_much_at_once_is_not_lost(self):
        words = [f"STATUS={n}" for n in range(40)]
        received = []
        with start([LAUNCHER, PYTHON, "-c", SPEAKER, *words], preload=False, env={"NOTIFY_SOCKET": self.path}) as process:
            while len(received) < len(words):
                received.append(self.receive(self.manager)[0].decode())
            process.communicate(timeout=30)
        self.assertEqual(received, words)

    def test_descriptors_come_along(self):
        script = SPEAKER + "fd = os.memfd_create('x'); os.write(fd, b'stored'); socket.send_fds(s, [b'FDSTORE=1\\nFDNAME=x'], [fd, fd])"
        self.assertEqual(self.launch(PYTHON, "-c", script).returncode, 0)
        text, _, descriptors = self.receive(self.manager)
        self.assertEqual((text, len(descriptors)), (b"FDSTORE=1\nFDNAME=x", 2))
        for descriptor in descriptors:
            self.assertEqual(os.pread(descriptor, 100, 0), b"stored")
            os.close(descriptor)

    def test_a_name_in_the_abstract_space(self):
        name = f"memwatch-test-{os.getpid()}"
        manager = self.listen("\0" + name)
        self.assertEqual(self.launch(PYTHON, "-c", SPEAKER, "READY=1", address="@" + name).returncode, 0)
        self.assertEqual(self.receive(manager)[0], b"READY=1")

    @unittest.skipUnless(GROUPS and os.geteuid() == 0, "no memory cgroup can be made here, or other users be had")
    def test_strangers_are_not_heard_but_other_users_of_the_program_are(self):
        drop = f"import os\nos.setgid({STRANGER}); os.setuid({STRANGER})\n"
        script = f'echo "$NOTIFY_SOCKET"; read line; {PYTHON} -c "$1" "READY=1"'
        stays = "import sys\nsys.stdin.read()\n"  # whose group it is in can be asked only while it is there
        with start([LAUNCHER, "--limit", "100M", "sh", "-c", script, "sh", drop + SPEAKER + stays], preload=False,
                   stdin=subprocess.PIPE, env={"NOTIFY_SOCKET": self.path}) as process:
            ours = process.stdout.readline().decode().strip()
            stranger = subprocess.run([PYTHON, "-c", drop + SPEAKER, "STATUS=stranger"], env=os.environ | {"NOTIFY_SOCKET": ours},
                                      capture_output=True, timeout=30, check=False)
            self.assertEqual(stranger.returncode, 0, stranger.stderr)
            process.stdin.write(b"\n")
            process.stdin.flush()
            self.assertEqual(self.receive(self.manager)[0], b"READY=1")
            process.communicate(timeout=30)
        self.assertEqual((process.returncode, self.heard()), (0, []))

    def test_a_manager_that_is_gone_is_said_and_does_no_harm(self):
        self.manager.close()
        result = self.launch(PYTHON, "-c", SPEAKER, "READY=1")
        self.assertEqual(result.returncode, 0)
        self.assertIn(b'memwatch-run: the service manager is not told "READY=1": Connection refused\n', result.stderr)

    def test_what_names_the_launcher_as_the_one_it_is_for_names_the_program(self):
        script = 'exec "$@" sh -c \'echo $$ $LISTEN_PID $WATCHDOG_PID $LISTEN_FDS ${LISTEN_PIDFDID-none}\''
        mine = "export LISTEN_PID=$$ WATCHDOG_PID=$$ LISTEN_FDS=1 LISTEN_PIDFDID=77; " + script
        result = run(["sh", "-c", mine, "sh", LAUNCHER], preload=False, options={"output": "none"})
        own, listen, watchdog, count, pidfd = result.stdout.decode().split()
        self.assertEqual((listen, watchdog, count, pidfd), (own, own, "1", "none"))
        anothers = "export LISTEN_PID=1 WATCHDOG_PID=2 LISTEN_PIDFDID=77; " + script
        result = run(["sh", "-c", anothers, "sh", LAUNCHER], preload=False, options={"output": "none"})
        self.assertEqual(result.stdout.decode().split()[1:], ["1", "2", "77"])


if __name__ == "__main__":
    main()
