# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every file of the tree must have and must not have."""

import os
import re
import sys

from tree import Tap, files, read

LINES_MAX = 700
SOURCE = (".c", ".h", ".cc", ".py", ".sh", ".build", ".map", ".supp", ".xsl")
LICENSES = {"LGPL-2.1-or-later", "GPL-2.0-only", "GPL-2.0 WITH Linux-syscall-note",
            "LGPL-2.1-or-later WITH Linux-syscall-note", "GPL-2.0-only OR LGPL-2.1-or-later"}
SPDX = re.compile(r"SPDX-License-Identifier:\s*(.+?)\s*(?:\*/)?$")
# Spelled in parts, so that this file does not find itself.
MARKERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")) + r")\b")
MACHINE = re.compile(r"(/wo" + r"rk/|/ho" + r"me/[a-z]|/ro" + r"ot/|/va" + r"r/tmp/(?:b-|infra))")
HOSTS = re.compile(r"https?://[\w.-]*(?:deb" + r"ian\.org|ubu" + r"ntu\.com|py" + r"pi\.org|npm" + r"js\.|crates" +
                   r"\.io|docker\.io|ghcr\.io|quay\.io|proxy\.golang)")


def is_source(path, text):
    return path.endswith(SOURCE) or os.path.basename(path) == "meson_options.txt" or text.startswith("#!")


def spdx(path, text):
    """The licence is named in the first line, or in the second after #!."""
    lines = text.splitlines()[:2] + ["", ""]
    line = lines[1] if lines[0].startswith("#!") else lines[0]
    match = SPDX.search(line)
    if not match:
        return [f"{path}: no SPDX-License-Identifier in the first line"]
    if match.group(1) not in LICENSES:
        return [f"{path}: unknown licence '{match.group(1)}'"]
    if "kselftest_harness.h" in text and path.endswith(".c") and "GPL-2.0-only" not in match.group(1):
        return [f"{path}: includes the kselftest harness, so it is GPL-2.0-only"]
    return []


def grep(pattern, what):
    def check(path, text):
        return [f"{path}:{n}: {what}: {m.group(0)}" for n, line in enumerate(text.splitlines(), 1)
                if (m := pattern.search(line))]
    return check


def length(path, text):
    count = len(text.splitlines())
    return [f"{path}: {count} lines, at most {LINES_MAX}"] if path.endswith((".c", ".h", ".py")) and count > LINES_MAX else []


def ends(path, text):
    problems = []
    if text and not text.endswith("\n"):
        problems.append(f"{path}: no newline at the end")
    if "\r" in text:
        problems.append(f"{path}: carriage returns")
    for n, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip() and not path.endswith(".md"):
            problems.append(f"{path}:{n}: space at the end of the line")
    return problems


def width(path, text):
    if not path.endswith((".c", ".h")):
        return []
    return [f"{path}:{n}: {len(line.expandtabs(8))} columns, at most 120 (see tests/structure/wrap)"
            for n, line in enumerate(text.splitlines(), 1) if len(line.expandtabs(8)) > 120]


CHECKS = {
    "every source file names its licence first": (spdx, True),
    "no markers of unfinished work": (grep(MARKERS, "marker"), False),
    "no paths of one machine": (grep(MACHINE, "machine path"), False),
    "no package or mirror hosts": (grep(HOSTS, "host"), False),
    f"no file over {LINES_MAX} lines": (length, True),
    "lines are at most 120 columns": (width, True),
    "lines end cleanly": (ends, False),
}
BAD = {
    spdx: ("a.c", "int x;\n"), length: ("a.c", "\n" * (LINES_MAX + 1)), ends: ("a.c", "int x; \n"),
    width: ("a.c", "\t" * 16 + "\n"),
}


def selftest():
    """Each check finds something wrong in a wrong text."""
    wrong = {"no markers of unfinished work": "x /* TO" + "DO */", "no paths of one machine": "/wo" + "rk/x",
             "no package or mirror hosts": "http://deb.deb" + "ian.org/"}
    problems = []
    for name, (check, _) in CHECKS.items():
        path, text = BAD.get(check) or ("a.c", wrong[name])
        if not check(path, text):
            problems.append(f"'{name}' found nothing in a wrong text")
    return problems


def main():
    tap = Tap()
    tap.case("the checks find wrong texts", selftest())
    texts = {p: t for p in files() if (t := read(p)) is not None and not p.startswith("LICENSES/") and p != "COPYING"}
    for name, (check, source_only) in CHECKS.items():
        problems = []
        for path, text in texts.items():
            if not source_only or is_source(path, text):
                problems += check(path, text)
        tap.case(name, problems)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
