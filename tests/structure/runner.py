# SPDX-License-Identifier: LGPL-2.1-or-later
"""The test runner itself: what must count as a failure does, and nothing outlives a test."""

import os
import sys
import tempfile
import time

from tree import ROOT, Tap

sys.path.insert(0, os.path.join(ROOT, "tests/lib"))
from execute import Running, members  # pylint: disable=wrong-import-position
from tap import judge  # pylint: disable=wrong-import-position

HEAD = "TAP version 13\n"
# Name, protocol, output, exit status, (passed, failed, skipped).
JUDGED = [
    ("all pass", "tap", HEAD + "1..2\nok 1 a\nok 2 - b\n", 0, (2, 0, 0)),
    ("plan at the end", "tap", "ok 1 a\n1..1\n", 0, (1, 0, 0)),
    ("one fails", "tap", "1..2\nok 1 a\nnot ok 2 b\n", 1, (1, 1, 0)),
    ("a failure behind exit status 0", "tap", "1..1\nnot ok 1 b\n", 0, (0, 1, 0)),
    ("a skip", "tap", "1..2\nok 1 a\n# RUN x ...\nok 2 # SKIP no such part\n", 0, (1, 0, 1)),
    ("all skipped", "tap", "1..0 # SKIP no package\n", 0, (0, 0, 1)),
    ("a case is missing", "tap", "1..3\nok 1 a\nok 2 b\n", 0, (2, 1, 0)),
    ("a case too many", "tap", "1..1\nok 1 a\nok 2 b\n", 0, (2, 1, 0)),
    ("no output", "tap", "", 0, (0, 1, 0)),
    ("a plan only", "tap", "1..2\n", 0, (0, 1, 0)),
    ("all pass but the exit status", "tap", "1..1\nok 1 a\n", 3, (1, 1, 0)),
    ("killed after the last case", "tap", "1..1\nok 1 a\n", -11, (1, 1, 0)),
    ("bail out", "tap", "1..1\nok 1 a\nBail out! broken\n", 0, (1, 1, 0)),
    ("an expected failure", "tap", "1..1\nnot ok 1 a # XFAIL known\n", 0, (1, 0, 0)),
    ("an expected failure that passes", "tap", "1..1\nok 1 a # XFAIL known\n", 0, (0, 1, 0)),
    ("subtests count once", "tap", "1..1\n    ok 1 inner\n    not ok 2 inner\nok 1 outer\n", 0, (1, 0, 0)),
    ("exit 0", "exitcode", "", 0, (1, 0, 0)),
    ("exit 1", "exitcode", "", 1, (0, 1, 0)),
    ("exit 77", "exitcode", "words\nwhy not\n", 77, (0, 0, 1)),
    ("a signal", "exitcode", "", -9, (0, 1, 0)),
]


def counts(cases):
    return tuple(sum(c.result == r for c in cases) for r in ("passed", "failed", "skipped"))


def run(script, timeout, scratch):
    running = Running(["/bin/sh", "-c", script], dict(os.environ), ROOT, timeout, scratch)
    while not running.poll():
        time.sleep(0.01)
    return running


def main():
    tap = Tap()
    for name, protocol, output, status, want in JUDGED:
        have = counts(judge("t", protocol, output, status, False, 1))
        tap.case(f"judges {name}", [] if have == want else [f"wanted {want}, counted {have}"])
    reason = judge("t", "tap", "1..1\n#  RUN           global.big ...\nok 1 # SKIP no such part\n", 0, False, 1)[0]
    tap.case("a skip keeps its name and reason", [] if (reason.name, reason.reason) == ("global.big", "no such part")
             else [f"{reason.name}: {reason.reason}"])

    with tempfile.TemporaryDirectory() as scratch:
        done = run("echo words; echo more >&2; exit 5", 10, scratch)
        tap.case("output and exit status arrive", [] if (done.output, done.status, done.timed_out) ==
                 ("words\nmore\n", 5, False) else [f"{done.output!r} {done.status} {done.timed_out}"])
        # Children in process groups of their own that ignore the request to end.
        done = run("trap '' TERM; set -m; (trap '' TERM; sleep 60) & echo started; sleep 60", 0.5, scratch)
        left = members(done.proc.pid)
        tap.case("a hanging program is ended with its children",
                 [] if done.timed_out and not left and done.output.endswith("started\n") else
                 [f"timed out: {done.timed_out}, left: {left}, output: {done.output!r}"])
        done = run("sleep 60 & exit 0", 10, scratch)
        tap.case("a process left behind is found and ended",
                 [] if done.left_behind and not members(done.proc.pid) and done.seconds < 9 else
                 [f"left behind: {done.left_behind}, seconds: {done.seconds:.1f}"])
        done = run("touch \"$TMPDIR/x\" && echo \"$TMPDIR\"", 10, scratch)
        tap.case("the scratch directory of a test goes away", [] if done.output.startswith(scratch) and
                 not os.path.exists(done.output.strip()) and not os.listdir(scratch) else [done.output])
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
