# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose a data race is that KCSAN reports, told from the stacks of the two accesses (of one, where the other is unknown).

DESIGN
  It is the module's if either stack has a frame of it. But the module passes calls on: a fault of a region goes through it to the
  filesystem's own ->fault, and what races there does so for every mapping of that filesystem. So where the module's innermost frame
  called one of PASSED, that stack is the kernel's. These are the filesystem's own calls, and what was seen in reports and
  touches nothing of the module's; whatever else it called counts as the module's. And an interrupt has nothing to do with what it
  interrupted: such frames are not looked at.
"""

import re

OURS, PASSED_ON, KERNEL = "the module's", "passed on", "the kernel's"
BEGIN, END = re.compile(r"BUG: KCSAN: "), re.compile(r"={60}$")
FRAME = re.compile(r"\s([\w.]+)\+0x[0-9a-f]+/0x[0-9a-f]+( \[pinfold\])?$")
# No report is longer: two stacks of 64 frames.
LINES_MAX = 200
# What KCSAN counted, as /init of the guest prints it in the end.
COUNT = re.compile(r"pinfold-vm: kcsan (\w+): (\d+)$")

# What the module passes on to ext4 and xfs, and the kernel's own that it calls for them.
PASSED = {
    "filemap_map_pages", "filemap_fault", "ext4_page_mkwrite", "ext4_file_mmap", "ext4_release_file", "ext4_ioctl", "ext4_compat_ioctl",
    "xfs_filemap_map_pages", "xfs_filemap_fault", "xfs_filemap_page_mkwrite", "xfs_file_mmap", "xfs_file_release", "xfs_file_ioctl",
    "xfs_file_compat_ioctl",
    # The clock, which its writer does not wait for: readers try again.
    "ktime_get_mono_fast_ns",
    # Translations are dropped beside whoever makes them.
    "unmap_mapping_pages",
}
INTERRUPT = re.compile(r"asm_sysvec_|asm_common_interrupt$")


def stacks(lines):
    """The stacks of a report, each a list of (function, is it the module's), innermost first; None if it has no end."""
    found, begun = [], False
    for number, line in enumerate(lines[:LINES_MAX]):
        if number and BEGIN.search(line):
            return None
        # Such a line is the first of a report, too.
        if END.search(line):
            return None if any(map(BEGIN.search, lines[number + 1:number + 2])) else found
        frame = FRAME.search(line)
        # The first line may end as a frame does.
        if frame and number:
            if not begun:
                found.append([])
            # Without what the compiler adds to the names of parts and copies.
            found[-1].append((frame.group(1).partition(".")[0], bool(frame.group(2))))
        begun = bool(frame) and number > 0
    return None


def side(stack):
    """Whose access is it?"""
    interrupted = next((n for n, (name, _) in enumerate(stack) if INTERRUPT.match(name)), len(stack))
    inner = next((n for n, (_, ours) in enumerate(stack[:interrupted]) if ours), None)
    if inner is None:
        return KERNEL
    return PASSED_ON if inner and stack[inner - 1][0] in PASSED else OURS


def owner(lines):
    """Whose is the race whose report @lines begin with? One that is torn cannot be told, and is the module's."""
    sides = {side(stack) for stack in stacks(lines) or []}
    if not sides or OURS in sides:
        return OURS
    return PASSED_ON if PASSED_ON in sides else KERNEL


def counts(console):
    """What KCSAN counted, by its names for that; empty if it did not run."""
    return {m.group(1): int(m.group(2)) for m in map(COUNT.search, console.splitlines()) if m}
