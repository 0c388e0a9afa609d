# SPDX-License-Identifier: LGPL-2.1-or-later
"""How fast this machine's time stamp counter is, which is also that of an emulated processor.

A guest that measures it itself does so in a few ms against an emulated timer. On a loaded host that is wrong by up to
five times, and from then on the guest's clock and its timers run at different speeds: timers seem to be silent for
half a minute, and watchdogs bark. So it is told, by the kernel's parameter tsc_early_khz.
"""

import ctypes
import mmap
import platform
import time

# rdtsc; shl $32, %rdx; or %rdx, %rax; ret
CODE = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"
SPAN_NS = 50_000_000
# A reading that was interrupted takes longer.
QUIET_NS, TRIES = 5_000, 1000


def reading(count):
    """(ns, ticks) of the same moment, to within some microseconds."""
    best = None
    for _ in range(TRIES):
        before, ticks = time.monotonic_ns(), count()
        took = time.monotonic_ns() - before
        if best is None or took < best[0]:
            best = (took, before + took // 2, ticks)
        if took < QUIET_NS:
            break
    return best[1], best[2]


def counter():
    """A function that reads the time stamp counter, or None where there is no such counter or no memory to run code in."""
    if platform.machine() != "x86_64":
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page.write(CODE)
    place = ctypes.c_char.from_buffer(page)
    function = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(place))
    function.code = place
    return function


def tsc_khz():
    """kHz, or None where there is no counter."""
    count = counter()
    if not count:
        return None
    ns0, ticks0 = reading(count)
    time.sleep(SPAN_NS / 1e9)
    ns1, ticks1 = reading(count)
    return (ticks1 - ticks0) * 1_000_000 // (ns1 - ns0)
