# SPDX-License-Identifier: LGPL-2.1-or-later
"""A virtual machine: boots a kernel under QEMU's emulator, runs programs in it, and judges how it all ended.

    import kernels, machine
    vm = machine.Machine(kernels.get("6.1"), fs="xfs", nodes=2)
    result = vm.run([machine.Program("source", ["/bin/test_source"], source="build/.../test_source")])
    print(machine.tap([("6.1 xfs", result)]))

A run passes when every program's cases do, the guest reached its end, and its kernel printed nothing that splat.py knows.
TCG is used even where KVM is: stock kernels do not boot under every host's KVM, and the exact instruction counts are TCG's.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))

import clock
import guest
import race
import splat
from guest import Program  # part of this module's interface
from kernels import Unavailable
from still import Watch
from tap import FAIL, PASS, SKIP, Case, judge, parse

QEMU = "qemu-system-x86_64"
# /init writes 5 to the debug exit port: QEMU then exits with 5 * 2 + 1.
EXIT_STATUS = 11
MKFS = {"ext4": ["/sbin/mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard"],
        "xfs": ["/sbin/mkfs.xfs", "-q", "-f", "-K"]}


# What makes QEMU's clock stand still while QEMU does (still.c). Without it the guest's jumps.
STILL = os.path.join(os.environ.get("PINFOLD_BUILD_ROOT") or os.path.join(HERE, "..", "..", "build", "default"), "tests", "vm",
                     "still.so")

# The watcher of a run looks this often.
LOOK_S = 0.25
# A guest's clock goes on while the host stands still. What failed may have come of it, so the run is made again, this often
# at most, if the kernel complains of nothing but lateness.
TRIES = 3
LATE = re.compile(r"soft lockup|workqueue lockup|detected stalls|self-detected stall|blocked for more than")

# A run that is told to end takes QEMU and its files with it.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Disk:
    """A virtio disk, sparse on the host. iops limits reads and writes alike: faults on it sleep."""

    def __init__(self, fs, where="/var/tmp", size_mib=2048, iops=0, mkfs=()):
        self.fs, self.where, self.size_mib, self.iops, self.mkfs = fs, where, size_mib, iops, list(mkfs)

    def make(self, path):
        with open(path, "wb") as f:
            f.truncate(self.size_mib << 20)
        if self.fs:
            subprocess.run(MKFS[self.fs] + self.mkfs + [path], check=True, stdout=subprocess.DEVNULL)


class Result:
    """How a run ended: cases as the test runner counts them, and what there is to say about them."""

    def __init__(self):
        self.cases, self.log, self.console, self.splats, self.seconds = [], "", "", [], 0.0
        # Owners of the data races that are not the module's, and what KCSAN counted.
        self.races, self.kcsan = [], {}
        # Seconds for which machine and watcher were stopped or got no processor.
        self.still = 0.0
        # Output by program name, for callers that measure.
        self.outputs = {}

    def failed(self):
        return any(c.result == FAIL for c in self.cases)

    def held_up(self):
        """It failed, the host stood still meanwhile, and the kernel complains of nothing but lateness."""
        return self.failed() and self.still > 0 and all(LATE.search(line) for _, line in self.splats)


class Machine:
    """Parameters of a virtual machine; run() may be called again, each time it boots anew.

    nodes: NUMA nodes, each with an equal share of memory_mib and of the cpus. modules: names for modprobe's rules, or
    paths of .ko files, loaded in this order after what the disks need. files: {path in the guest: path here}, with
    their shared libraries. icount: counts guest instructions exactly. cgroup: 2 or 1. threads: "single" emulates all
    processors in turn; "multi" has a thread for each, for races, but where those outnumber the free processors here the guest's
    wait for each other, and its watchdogs bark.
    """

    def __init__(self, kernel, fs="ext4", nodes=1, memory_mib=1024, cpus=None, iops=0, append="", icount=False, timeout=300,
                 modules=(), files=None, disks=None, cgroup=2, threads="single", qemu=()):
        self.kernel, self.nodes, self.memory_mib = kernel, nodes, memory_mib
        self.cpus = max(cpus or (1 if icount else 2), nodes)
        self.append, self.icount, self.timeout, self.cgroup, self.threads = append, icount, timeout, cgroup, threads
        self.modules, self.files, self.qemu = list(modules), dict(files or {}), list(qemu)
        self.disks = list(disks) if disks is not None else [Disk(fs, iops=iops)]

    # Of the time stamp counter; None: it is not told, or counts instructions.
    khz = None

    def command(self, scratch):
        """QEMU's command line. Every file is below @scratch."""
        # la57 costs page walks; the others have no counterpart in the emulated machine and make kernels complain.
        cmd = [QEMU, "-machine", "q35", "-accel", "tcg" + ("" if self.icount else f",thread={self.threads}"), "-cpu", "max,-la57",
               "-m", f"{self.memory_mib}M", "-smp", f"{self.cpus},sockets={self.cpus},cores=1,threads=1",
               "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
               "-serial", f"file:{scratch}/console", "-serial", f"file:{scratch}/output",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-device", "virtio-rng-pci",
               "-kernel", self.kernel.image, "-initrd", f"{scratch}/initramfs",
               "-append", "console=ttyS0 panic=-1 oops=panic quiet loglevel=7 printk.time=1 no_timer_check tsc=reliable "
               + self.append]
        self.khz = None if self.icount else clock.tsc_khz()
        if self.khz:
            cmd[-1] += f" tsc_early_khz={self.khz}"
        if self.icount:
            cmd += ["-icount", "shift=0,sleep=off"]
        if self.nodes > 1:
            share = self.memory_mib // self.nodes
            for node in range(self.nodes):
                cpus = ",".join(f"cpus={c}" for c in range(self.cpus) if c % self.nodes == node)
                cmd += ["-object", f"memory-backend-ram,id=m{node},size={share}M",
                        "-numa", f"node,nodeid={node},{cpus},memdev=m{node}"]
        for number, disk in enumerate(self.disks):
            throttle = f",throttling.iops-total={disk.iops}" if disk.iops else ""
            cmd += ["-drive", f"file={scratch}/disk{number},format=raw,if=none,id=d{number},cache=unsafe{throttle}",
                    "-device", f"virtio-blk-pci,drive=d{number}"]
        return cmd + self.qemu

    def run(self, programs):
        """Boots, runs the programs one after another and returns a Result.

        A run that failed is made again if the host held it up meanwhile, and only then. What else the kernel complains
        of is final.
        """
        for number in range(1, TRIES + 1):
            result = self.run_once(programs)
            if not result.held_up() or number == TRIES:
                return result
            wrong = ", ".join(f"{c.name} {c.reason}".strip() for c in result.cases if c.result == FAIL)
            print(f"# run {number} failed, and the host held it up for {result.still:.0f} s: once more ({wrong})", flush=True)

    def run_once(self, programs):
        for program in [QEMU, "/bin/busybox"] + [MKFS[d.fs][0] for d in self.disks if d.fs]:
            if not shutil.which(program):
                raise Unavailable(f"{program} is not installed: tools/setup vm")
        result, start = Result(), time.monotonic()
        scratch = tempfile.mkdtemp(prefix="pinfold-vm.")
        try:
            disks = []
            for number, disk in enumerate(self.disks):
                disk.make(f"{scratch}/disk{number}")
                disks.append((f"vd{chr(ord('a') + number)}", disk.fs, disk.where))
            guest.build(f"{scratch}/initramfs", self.kernel, self.modules, disks, programs, self.files, self.cgroup)
            status, message, result.still = self.boot(scratch)
            result.console, output = read(f"{scratch}/console"), read(f"{scratch}/output")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        result.seconds = time.monotonic() - start
        judge_run(result, programs, output, status, message, self.timeout)
        return result

    def boot(self, scratch):
        """Runs QEMU to its end. Returns its exit status (None: the time limit was reached), what it printed, and for how
        many seconds it stood still, which the time limit does not count."""
        with open(f"{scratch}/qemu", "wb") as log, Ending() as ending:
            command, env = self.command(scratch), dict(os.environ)
            if self.khz and os.path.exists(STILL):
                env.update(LD_PRELOAD=STILL, PINFOLD_TSC_KHZ=str(self.khz))
            proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
            try:
                status, still = wait(proc, self.timeout, ending)
            finally:
                proc.kill()
                proc.wait()
        return status, read(f"{scratch}/qemu"), still


class Ending:
    """While QEMU runs: signals that end this process are noted. One that raised where it came would do so inside of
    subprocess too, which then holds its lock for ever and never learns that QEMU is gone."""

    def __init__(self):
        self.number, self.before = 0, {}

    def __enter__(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.before[number] = signal.signal(number, self.note)
        return self

    def note(self, number, _):
        self.number = number

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.number:
            sys.exit(128 + self.number)


def wait(proc, timeout, ending=None):
    """Waits for a process. Returns its exit status (None: time is up, or a signal came) and for how long all stood still."""
    watch = Watch()
    while True:
        try:
            status = proc.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            status = None
        if watch.look() > timeout or status is not None or (ending and ending.number):
            return status, watch.still


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read(64 << 20).decode("utf-8", errors="replace").replace("\r", "")
    except FileNotFoundError:
        return ""


def sections(output):
    """Splits what came over ttyS1: {number: (text, exit status or None)}, and the last word of /init, or None."""
    found, current, lines, last = {}, None, [], None
    for line in output.splitlines():
        if not line.startswith(guest.MARK + " "):
            lines.append(line)
            continue
        words = line[len(guest.MARK) + 1:].split(None, 2)
        # The line end before a mark is the mark's.
        text = "\n".join(lines[:-1] if lines and not lines[-1] else lines)
        if words[0] == "begin":
            current = int(words[1])
            found[current] = ("", None)
        elif words[0] == "end":
            found[int(words[1])] = (text, int(words[2]))
            current = None
        elif words[0] != "ready":
            last = " ".join(words)
        lines = []
    if current is not None:
        found[current] = ("\n".join(lines), None)
    return found, last


def judge_run(result, programs, output, status, message, timeout):
    """Fills in the cases of the programs and of the machine itself, and the log that explains them."""
    found, last = sections(output)
    wrong = []
    for number, program in enumerate(programs):
        text, code = found.get(number, ("", None))
        result.outputs[program.name] = text
        result.log += f"==== {program.name}\n{text.rstrip()}\n"
        if number not in found:
            cases = [Case("program", FAIL, "was not run")]
        elif code is None:
            cases = judge(program.name, program.protocol, text, 0, True, program.timeout)
        else:
            # busybox's timeout ends a program with SIGKILL, which the shell shows as 137.
            cases = judge(program.name, program.protocol, text, -9 if code == 137 else code, False, program.timeout)
        for c in cases:
            c.name = program.name if c.name == program.name else f"{program.name}.{c.name}"
        result.cases += cases
    result.splats, result.races = splat.find(result.console), splat.other_races(result.console)
    result.kcsan = race.counts(result.console)
    wrong += [f"{word}: {line}" for word, line in result.splats[:5]]
    if last != "done" or status != EXIT_STATUS:
        wrong.append(f"timed out after {timeout} s" if status is None else
                     f"the guest did not reach its end: {last or 'no end mark'}, exit status {status}")
        result.log += "==== qemu\n" + message + "==== console, its end\n" + "\n".join(result.console.splitlines()[-30:]) + "\n"
    if result.splats:
        result.log += "==== console, around the first complaint\n" + "\n".join(splat.excerpt(result.console)) + "\n"
    result.cases.append(Case("kernel", FAIL if wrong else PASS, "; ".join(wrong)))


def tap(results, out=sys.stdout):
    """Prints the TAP of several runs: a list of (name, Result or Unavailable). Returns True if nothing failed."""
    lines, ok = [], True
    for name, result in results:
        if isinstance(result, Exception):
            lines.append((f"ok", f"{name} # SKIP {result}"))
            continue
        out.write(f"# {name}: {result.seconds:.1f} s\n")
        if result.kcsan:
            out.write(f"# {name}: {result.kcsan.get('setup_watchpoints')} accesses were watched; data races of the kernel alone: "
                      f"{result.races.count(race.KERNEL)}, in calls that the module passes on: {result.races.count(race.PASSED_ON)}\n")
        if result.failed():
            ok = False
            out.write("".join(f"# | {line}\n" for line in result.log.splitlines()))
        for c in result.cases:
            word = "not ok" if c.result == FAIL else "ok"
            note = f" # SKIP {c.reason}" if c.result == SKIP else f" ({c.reason})" if c.reason else ""
            lines.append((word, f"{name}: {c.name}{note}"))
    out.write("TAP version 13\n" + f"1..{len(lines)}\n")
    for number, (word, text) in enumerate(lines, 1):
        out.write(f"{word} {number} - {text}\n")
    out.flush()
    return ok
