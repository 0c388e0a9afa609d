# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the structure tests share: the files of the tree, and TAP output."""

import os
import subprocess

ROOT = os.environ.get("PINFOLD_SOURCE_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files():
    """Paths of the tracked files, relative to ROOT. Without git: every file outside build directories."""
    try:
        out = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z"], check=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        found = [p for p in out.decode().split("\0") if p]
    except (OSError, subprocess.CalledProcessError):
        found = []
        for top, dirs, names in os.walk(ROOT):
            dirs[:] = [d for d in dirs if d != ".git" and not d.startswith("build")]
            found += [os.path.relpath(os.path.join(top, n), ROOT) for n in names]
    return sorted(p for p in found if os.path.isfile(os.path.join(ROOT, p)))


def read(path):
    """Text of a file of the tree; None if it is not text."""
    with open(os.path.join(ROOT, path), "rb") as f:
        data = f.read()
    if b"\0" in data:
        return None
    return data.decode("utf-8", errors="replace")


class Tap:
    """Numbers the cases and prints them; problems are shown as comments."""

    def __init__(self):
        self.count, self.failed = 0, 0
        print("TAP version 13")

    def case(self, name, problems):
        self.count += 1
        for problem in problems:
            print(f"# {problem}")
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.count} - {name}", flush=True)

    def skip(self, name, reason):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)

    def end(self):
        print(f"1..{self.count}")
        return 1 if self.failed else 0
