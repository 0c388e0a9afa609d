# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds what a kernel says when something is wrong with it, in the log of its console.

A data race is reported with the stacks of its two accesses, or of one where the other is unknown. It is ours if any frame of
either is the module's. Others are the kernel's own, of which it has some, and are only counted.
"""

import re

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


# A report of a data race, from the line after its first to its last.
RACE, RACE_END, OURS = re.compile(r"BUG: KCSAN: "), re.compile(r"={60}$"), re.compile(r"\[pinfold\]")
# It is no longer than this: two stacks of 64 frames.
RACE_LINES = 200
# What KCSAN counted, as /init of the guest prints it in the end.
COUNT = re.compile(r"pinfold-vm: kcsan (\w+): (\d+)$")


def is_ours(lines):
    """Is it a race of the module? @lines begin with its report. One without an end cannot be told, and counts as ours."""
    for number, line in enumerate(lines):
        if OURS.search(line) or (number and RACE.search(line)):
            return True
        # Such a line is the first of a report, too.
        if RACE_END.search(line) and not any(map(RACE.search, lines[number + 1:number + 2])):
            return False
    return True


def look(console):
    """Splats in a console log: a list of (number of the line, word, line), and how many data races are the kernel's own."""
    lines, found, foreign = [line.rstrip("\r") for line in console.splitlines()], [], 0
    for number, line in enumerate(lines):
        if any(h.search(line) for h in HARMLESS):
            continue
        word = next((word for word, pattern in SPLATS if pattern.search(line)), None)
        if word == "KCSAN" and not is_ours(lines[number:number + RACE_LINES]):
            foreign += 1
        elif word:
            found.append((number, word, TIME.sub("", line)))
    return found, foreign


def find(console):
    """Splats in a console log: a list of (word, line), one per line that is one, in order."""
    return [(word, line) for _, word, line in look(console)[0]]


def foreign(console):
    """The number of data races that are the kernel's own."""
    return look(console)[1]


def counts(console):
    """What KCSAN counted, by its names for that; empty if it did not run."""
    return {m.group(1): int(m.group(2)) for m in map(COUNT.search, console.splitlines()) if m}


def excerpt(console, before=3, after=40):
    """The log around the first splat, for a report."""
    found = look(console)[0]
    return console.splitlines()[max(0, found[0][0] - before):found[0][0] + after] if found else []
