# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads what a test program printed and how it ended, and counts its cases."""

import re
import signal

PASS, FAIL, SKIP = "passed", "failed", "skipped"

LINE = re.compile(r"^(not )?ok\b\s*(\d+)?\s*(?:-\s*)?(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*SKIP\s*(.*))?$", re.IGNORECASE)
DIRECTIVE = re.compile(r"^(.*?)#\s*(SKIP|TO" r"DO|XFAIL)\b\S*\s*(.*)$", re.IGNORECASE)
# The kselftest harness names a skipped test only in the comment before it.
RUN = re.compile(r"^#\s+RUN\s+(\S+) \.\.\.$")


class Case:
    """One counted case: a TAP line, or a whole program."""

    def __init__(self, name, result, reason=""):
        self.name, self.result, self.reason = name, result, reason


def ending(status, timed_out, timeout):
    """Words for an exit status that is itself a failure, or None."""
    if timed_out:
        return f"timed out after {timeout:.0f} s"
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    if status:
        return f"exit status {status}"
    return None


def parse(output):
    """Cases of a TAP stream and what is wrong with the stream itself (a list of sentences)."""
    cases, wrong = [], []
    planned, running = None, None
    for line in output.splitlines():
        line = line.rstrip("\r")
        if m := RUN.match(line):
            running = m.group(1)
        elif m := PLAN.match(line):
            if planned is not None:
                wrong.append("more than one plan")
            planned = int(m.group(1))
            if planned == 0:
                cases.append(Case("all", SKIP, m.group(2) or "no reason given"))
                planned = 1
        elif line.startswith("Bail out!"):
            wrong.append(line)
        elif m := LINE.match(line):
            name, result, reason = m.group(3), FAIL if m.group(1) else PASS, ""
            if d := DIRECTIVE.match(name):
                name, word, reason = d.group(1), d.group(2).upper(), d.group(3)
                if word == "SKIP":
                    result = FAIL if m.group(1) else SKIP
                else:
                    # An expected failure passes; one that passes unexpectedly is a failure to look at.
                    result = PASS if m.group(1) else FAIL
                    reason = f"{word} {reason}"
            name = name.strip() or running or f"case {m.group(2) or len(cases) + 1}"
            cases.append(Case(name, result, reason.strip() or ("no reason given" if result == SKIP else "")))
            running = None
    if planned is None:
        wrong.append("no plan: the program ended early or printed no TAP")
    elif planned != len(cases):
        wrong.append(f"{planned} cases planned, {len(cases)} reported"
                     + (f"; {running} did not end" if running else ""))
    return cases, wrong


def judge(name, protocol, output, status, timed_out, timeout):
    """The cases of one finished program."""
    end = ending(status, timed_out, timeout)
    if protocol == "tap":
        cases, wrong = parse(output)
        if end and (timed_out or status < 0 or not any(c.result == FAIL for c in cases)):
            wrong.append(end)
        if wrong:
            cases.append(Case("program", FAIL, "; ".join(wrong)))
        return cases
    # Meson's exit code protocol: 77 is a skip, and the last line says why.
    if status == 77 and not timed_out:
        lines = [line for line in output.splitlines() if line.strip()]
        return [Case(name, SKIP, lines[-1].strip() if lines else "no reason given")]
    return [Case(name, FAIL, end)] if end else [Case(name, PASS)]
