# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one program in a session of its own, with a time limit, and leaves nothing of it behind."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

from still import Watch

OUTPUT_BYTES_MAX = 8 << 20


def members(sid):
    """Processes of session sid that are alive (zombies are not)."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == sid and fields[0] not in "ZX":
            found.append(int(entry))
    return found


def end_session(sid, grace=2.0):
    """Asks, then forces, every process of the session to end.

    The harness's children have process groups of their own, so a signal to the group would miss them. A process may
    be forking while /proc is read: only two empty readings in a row are believed.
    """
    start, empty, told = time.monotonic(), 0, set()
    while empty < 2:
        pids = members(sid)
        empty = 0 if pids else empty + 1
        forced = time.monotonic() - start > grace
        for pid in pids:
            # Asked once; past the grace period, forced until it is gone.
            if not forced and pid in told:
                continue
            told.add(pid)
            try:
                os.kill(pid, signal.SIGKILL if forced else signal.SIGTERM)
            except ProcessLookupError:
                pass
        if time.monotonic() - start > grace + 5.0:
            return
        time.sleep(0.02)


def read_output(path):
    with open(path, "rb") as f:
        data = f.read(OUTPUT_BYTES_MAX)
    text = data.decode("utf-8", errors="replace")
    return text + ("\n[output cut]\n" if len(data) == OUTPUT_BYTES_MAX else "")


class Running:
    """A started program. poll() until it says True, then look at status, output, timed_out and left_behind."""

    def __init__(self, cmd, env, workdir, timeout, scratch):
        os.makedirs(scratch, exist_ok=True)
        self.tmpdir = tempfile.mkdtemp(prefix="t", dir=scratch)
        self.log = os.path.join(self.tmpdir, "..", os.path.basename(self.tmpdir) + ".log")
        self.timeout, self.timed_out, self.left_behind = timeout, False, []
        self.start, self.watch = time.monotonic(), Watch()
        with open(self.log, "wb") as out:
            # A file, not a pipe: a grandchild that lives on cannot block the reader.
            self.proc = subprocess.Popen(cmd, env=dict(env, TMPDIR=self.tmpdir), cwd=workdir, stdin=subprocess.DEVNULL,
                                         stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def poll(self):
        status = self.proc.poll()
        if self.watch.look() < self.timeout and status is None:
            return False
        self.timed_out = status is None
        if not self.timed_out:
            limit = time.monotonic() + 0.5
            while (pids := members(self.proc.pid)) and time.monotonic() < limit:
                time.sleep(0.02)
            self.left_behind = pids
        self.close()
        return True

    def close(self):
        end_session(self.proc.pid)
        self.status = self.proc.wait()
        self.seconds = time.monotonic() - self.start
        self.output = read_output(self.log)
        os.unlink(self.log)
        shutil.rmtree(self.tmpdir, ignore_errors=True)
