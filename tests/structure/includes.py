# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who includes whom: data flows one way round, so the rooms may see only what the architecture says."""

import os
import re
import sys

from tree import ROOT, Tap, files, read

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)

# Room: path prefixes that it may include. A prefix with .h is one header. Every room may include itself.
RULES = {
    "include/uapi": (),
    "include": ("include/",),
    "user/base": (),
    "user/store": ("include/", "user/base/"),
    "user/telemetry": ("include/", "user/base/", "bpf/"),
    "user/policy": ("include/", "user/base/", "user/telemetry/snapshot.h"),
    "user/residency": ("include/", "user/base/", "user/policy/decision.h"),
    "user/engine": ("include/", "user/"),
    "user/daemon": ("include/", "user/"),
    "user/cluster": ("include/", "user/base/"),
    "user/config": ("include/",),
    "tools": ("include/", "user/config/config.h", "user/config/units.h", "user/config/suggest.h"),
    "bpf": ("include/uapi/",),
    "kmod": ("include/uapi/",),
    "examples": ("include/pinfold",),
}
SEARCH = ("include", "include/uapi", "user", "bpf", "tests", "")


def room_of(path):
    """The most specific room that contains the path, or None (tests see everything)."""
    rooms = [r for r in RULES if path.startswith(r + "/")]
    return max(rooms, key=len) if rooms else None


def resolve(path, quoted, name, known):
    """The tree's file that an include line names; None if it is not the tree's."""
    for base in ([os.path.dirname(path)] if quoted else []) + list(SEARCH):
        target = os.path.normpath(os.path.join(base, name))
        if target in known:
            return target
    return None


def violations(path, text, known):
    """Sentences on the include lines of one file that its room may not have."""
    room = room_of(path)
    if room is None:
        return []
    allowed, found = RULES[room], []
    for match in INCLUDE.finditer(text):
        quoted, name = match.group(1) == '"', match.group(2)
        target = resolve(path, quoted, name, known)
        if target is None:
            if quoted and not name.endswith(".skel.h"):
                found.append(f"{path}: includes \"{name}\", which is not in the tree")
            continue
        if target.startswith(room + "/") and room_of(target) == room:
            continue
        if not any(target == a or (not a.endswith(".h") and target.startswith(a)) for a in allowed):
            found.append(f"{path}: {room} may not include {target}")
    return found


def selftest():
    """The check itself can fail: include lines that are wrong are found, right ones are not."""
    known = {"user/store/store.h", "user/base/error.h", "user/telemetry/snapshot.h", "user/telemetry/telemetry.h",
             "include/pinfold.h", "include/uapi/linux/pinfold.h", "user/policy/policy.h"}
    bad = [("user/policy/a.c", '"telemetry/telemetry.h"'), ("user/base/a.c", '"store/store.h"'),
           ("user/store/a.c", '"policy/policy.h"'), ("tools/a.c", '"base/error.h"'), ("kmod/a.c", "<pinfold.h>"),
           ("user/store/a.c", '"gone.h"'), ("tools/a.c", '"../user/store/store.h"')]
    good = [("user/policy/a.c", '"telemetry/snapshot.h"'), ("user/store/a.c", '"base/error.h"'),
            ("tools/a.c", "<pinfold.h>"), ("bpf/a.c", "<linux/pinfold.h>"), ("tests/a.c", '"store/store.h"'),
            ("tools/a.c", "<stdio.h>")]
    return ([f"missed: {p} including {i}" for p, i in bad if not violations(p, f"#include {i}\n", known)]
            + [f"wrongly refused: {p} including {i}" for p, i in good if violations(p, f"#include {i}\n", known)])


def main():
    tap = Tap()
    known = set(files())
    tap.case("the check finds wrong includes", selftest())
    sources = [p for p in known if p.endswith((".c", ".h", ".cc", ".hh", ".cpp"))]
    for room in RULES:
        mine = sorted(p for p in sources if room_of(p) == room)
        if not os.path.isdir(os.path.join(ROOT, room)) or not mine:
            continue
        problems = []
        for path in mine:
            problems += violations(path, read(path) or "", known)
        tap.case(f"{room} includes only what it may", problems)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
