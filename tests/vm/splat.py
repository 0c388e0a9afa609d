# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds what a kernel says when something is wrong with it, in the log of its console.

Of data races only the module's are; others the kernel itself has, and they are counted (race.py).
"""

import re

import race

# Each is what the kernel's own code prints; the word is how a report names it.
SPLATS = (
    ("KASAN", re.compile(r"BUG: KASAN: ")),
    ("KCSAN", re.compile(r"BUG: KCSAN: ")),
    ("UBSAN", re.compile(r"UBSAN: ")),
    ("BUG", re.compile(r"\bkernel BUG at |\bBUG: |\bBUG \S+ \(.*\): ")),
    ("WARNING", re.compile(r"\bWARNING: ")),
    ("Oops", re.compile(r"\bOops: |\bgeneral protection fault\b|unable to handle (kernel )?(page fault|NULL pointer|paging)|"
                        r"\bstack segment: |\binvalid opcode: |\bdouble fault: |\bdivide error: ")),
    ("panic", re.compile(r"Kernel panic - not syncing")),
    ("lockdep", re.compile(r"possible (circular|recursive|irq) |possible irq lock inversion|INFO: possible |"
                           r"suspicious RCU usage|INFO: trying to register non-static key|bad unlock balance|"
                           r"held lock freed|lock held when returning|inconsistent lock state|"
                           r"BUG: MAX_LOCK|turning off the locking correctness validator|sleeping function called")),
    ("RCU stall", re.compile(r"\brcu\w*: INFO: \S+ (self-)?detected|detected (expedited )?stalls? on")),
    ("hung task", re.compile(r"INFO: task .* blocked for more than \d+ seconds")),
    ("soft lockup", re.compile(r"soft lockup - CPU|hard LOCKUP|NMI watchdog: .*lockup")),
    ("bad page", re.compile(r"BUG: Bad (page|rss)|Bad page map|page dumped because")),
    ("list corruption", re.compile(r"list_(add|del) corruption|refcount_t: |slab error in|ODEBUG: ")),
    ("kmemleak", re.compile(r"unreferenced object 0x|kmemleak: \d+ new suspected memory leaks")),
    ("workqueue", re.compile(r"BUG: workqueue lockup|workqueue: .* hogged CPU")),
    ("filesystem", re.compile(r"EXT4-fs error|XFS \(\S+\): (Corruption|Internal error|Metadata corruption)|"
                              r"XFS: Assertion failed|JBD2: .*error")),
)
# What looks like one and is not: the emulated machine's and the boot's own remarks.
HARMLESS = (
    # A mitigation that the emulated processor lacks is reported as WARNING in some kernels' boot text.
    re.compile(r"WARNING: Spectre v2 mitigation leaves CPU vulnerable"),
    # The command line that chose this is echoed.
    re.compile(r"Kernel command line: "),
)
TIME = re.compile(r"^\s*(?:<\d+>)?(?:\[\s*\d+\.\d+\]\s*(?:\[[^]]*\]\s*)?)?")


def look(console):
    """Splats in a console log: a list of (number of the line, word, line), and the owners of the data races that are none."""
    lines, found, others = [line.rstrip("\r") for line in console.splitlines()], [], []
    for number, line in enumerate(lines):
        if any(h.search(line) for h in HARMLESS):
            continue
        word = next((word for word, pattern in SPLATS if pattern.search(line)), None)
        whose = race.owner(lines[number:number + race.LINES_MAX]) if word == "KCSAN" else None
        if whose in (race.PASSED_ON, race.KERNEL):
            others.append(whose)
        elif word:
            found.append((number, word, TIME.sub("", line)))
    return found, others


def find(console):
    """Splats in a console log: a list of (word, line), one per line that is one, in order."""
    return [(word, line) for _, word, line in look(console)[0]]


def other_races(console):
    """The owners of the data races that are not the module's."""
    return look(console)[1]


def excerpt(console, before=3, after=40):
    """The log around the first splat, for a report."""
    found = look(console)[0]
    return console.splitlines()[max(0, found[0][0] - before):found[0][0] + after] if found else []
