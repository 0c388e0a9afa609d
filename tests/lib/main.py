# SPDX-License-Identifier: LGPL-2.1-or-later
"""tests/run: builds, chooses, runs and counts the tests. The last line is "N passed, N failed, N skipped"."""

import argparse
import fnmatch
import os
import sys
import time

from build import Build, configs
from execute import Running
from tap import FAIL, PASS, SKIP, Case, judge

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Suites that a mode leaves out; see tests/meson.build.
LEFT_OUT = {"quick": {"slow", "long", "bench", "matrix"}, "default": {"long", "bench", "matrix"}, "long": {"bench"},
            "vm": {"long", "bench"}}
# What each build beside the default one is for: its own suite, and in the ASan build every unit test.
BUILT_FOR = {"asan": {"asan", "unit"}, "fuzz": {"fuzz"}, "tsan": {"tsan"}}

EPILOG = """\
modes:
  (none)   all default tests: unit tests in the normal and in the ASan+UBSan build, structure,
           integration, quick crash and fuzz sets
  quick    the same without the slow ones and without sanitizer builds: under a minute
  vm       what runs in virtual machines, on every kernel, filesystem and number of nodes
  long     all of the above and the long sets
  bench    the benchmarks
  list     the tests, their suites and builds
  fresh    both commands of the README in a fresh Debian 12 (debootstrap; root)

NAME is a test, a suite or a pattern with *; "asan:NAME" takes it from that build
(default, asan, tsan, fuzz).
"""


def arguments():
    p = argparse.ArgumentParser(prog="tests/run", description="Builds pinfold and runs its tests.", epilog=EPILOG,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", nargs="*", metavar="MODE|NAME", help="what to run")
    p.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="tests at a time (default: CPUs)")
    p.add_argument("-v", "--verbose", action="store_true", help="show the output of every test")
    p.add_argument("--builddir", default=os.path.join(ROOT, "build"), help="where the builds are (default: build)")
    return p.parse_args()


class Job:
    """A test of one build."""

    def __init__(self, build, test):
        self.build, self.test = build, test
        suites = sorted(test["suite"] & {"unit", "structure", "integration", "examples", "crash", "fuzz", "tsan", "bench",
                                        "vm"})
        self.name = "/".join(suites[:1] + [test["name"]])
        if build.config.name != "default":
            self.name = f"{build.config.name}:{self.name}"
        self.serial = not test["is_parallel"]
        # Meson's 0 means no limit; every test has one here.
        self.timeout = (test["timeout"] if test["timeout"] > 0 else 3600) * build.config.factor

    def start(self):
        env = dict(os.environ, **self.build.config.env)
        env.update(self.test["env"])
        # Meson names built programs relative to the build directory.
        return Running(self.test["cmd"], env, self.test["workdir"] or self.build.dir, self.timeout,
                       os.path.join(self.build.dir, "tmp"))


def wanted(config, test, mode):
    """Is the test part of the mode, in this build?"""
    if config != "default" and not test["suite"] & BUILT_FOR[config]:
        return False
    if mode == "vm" and "vm" not in test["suite"]:
        return False
    return not test["suite"] & LEFT_OUT[mode]


def named(config, test, names):
    """The names that choose the test in this build."""
    hits = set()
    for name in names:
        where, colon, pattern = name.rpartition(":")
        if not colon:
            where = pattern if pattern in BUILT_FOR else "default"
        if where != config:
            continue
        if pattern == config and config in BUILT_FOR:
            if test["suite"] & BUILT_FOR[config]:
                hits.add(name)
        elif pattern in test["suite"] or any(fnmatch.fnmatch(n, pattern) for n in (
                test["name"], "/".join(sorted(test["suite"])[:1] + [test["name"]]), f"unit/{test['name']}")):
            hits.add(name)
    return hits


class Progress:
    """One line per finished test; on a terminal also a line of what is running."""

    def __init__(self, verbose):
        self.verbose, self.tty = verbose, sys.stdout.isatty()

    def say(self, text):
        if self.tty:
            sys.stdout.write("\r\033[K")
        print(text, flush=True)

    def status(self, text):
        if self.tty:
            sys.stdout.write("\r\033[K" + text[:100])
            sys.stdout.flush()

    def done(self, job, run, cases, count, total):
        failed = sum(c.result == FAIL for c in cases)
        skipped = sum(c.result == SKIP for c in cases)
        word = "FAIL" if failed else "skip" if skipped == len(cases) else "ok"
        note = "".join(f", {n} {w}" for n, w in ((failed, "failed"), (skipped, "skipped")) if n)
        self.say(f"[{count:3}/{total}] {word:4} {job.name:40} {len(cases):4} case{'s' if len(cases) != 1 else ' '}"
                 f" {run.seconds:6.1f} s{note}")
        if self.verbose:
            self.say(run.output)


def run_all(jobs, limit, progress):
    """Runs the jobs, serial ones alone at the end. Returns a list of (job, cases, output)."""
    results, running = [], {}
    queue = [j for j in jobs if not j.serial] + [j for j in jobs if j.serial]
    try:
        while queue or running:
            while queue and len(running) < limit and not (running and (queue[0].serial or
                                                                       any(j.serial for j in running))):
                job = queue.pop(0)
                try:
                    running[job] = job.start()
                except OSError as e:
                    results.append((job, [Case("program", FAIL, f"cannot start: {e}")], ""))
                    progress.say(f"FAIL {job.name}: cannot start: {e}")
            for job, run in list(running.items()):
                if not run.poll():
                    continue
                del running[job]
                cases = judge(job.name, job.test["protocol"], run.output, run.status, run.timed_out, job.timeout)
                if run.left_behind:
                    cases.append(Case("program", FAIL, f"left processes behind: {run.left_behind}"))
                results.append((job, cases, run.output))
                progress.done(job, run, cases, len(results), len(jobs))
            progress.status("running: " + ", ".join(j.name for j in running))
            time.sleep(0.02)
        progress.status("")
    finally:
        for run in running.values():
            run.close()
    return results


def report(results, broken):
    """Failures with their output, skips with their reasons, the counts. Returns the exit status."""
    count = {PASS: 0, FAIL: len(broken), SKIP: 0}
    reasons = {}
    for name, output in broken:
        print(f"\n==== FAILED: {name}\n{output.rstrip()}")
    for job, cases, output in results:
        bad = [c for c in cases if c.result == FAIL]
        for c in cases:
            count[c.result] += 1
            if c.result == SKIP:
                reasons.setdefault(c.reason, []).append(job.name if c.name in ("all", job.name)
                                                        else f"{job.name} {c.name}")
        if bad:
            print(f"\n==== FAILED: {job.name}")
            lines = output.rstrip().splitlines()
            if len(lines) > 400:
                print(f"[{len(lines) - 400} lines left out]")
            print("\n".join(lines[-400:]))
            for c in bad:
                print(f"---- failed: {job.name} {c.name}" + (f": {c.reason}" if c.reason else ""))
    if reasons:
        print("\nSkipped:")
        for reason, names in sorted(reasons.items()):
            print(f"  {len(names)} x {reason}: {', '.join(names[:6])}" + (", ..." if len(names) > 6 else ""))
    print(f"\n{count[PASS]} passed, {count[FAIL]} failed, {count[SKIP]} skipped", flush=True)
    return 1 if count[FAIL] else 0


def needed(mode, names):
    """The configurations a call needs, in the order they are built."""
    if names:
        found = []
        for name in names:
            where, colon, pattern = name.rpartition(":")
            found.append(where if colon else pattern if pattern in BUILT_FOR else "default")
        return list(dict.fromkeys(found))
    return ["default"] if mode in ("quick", "vm") else ["default", "asan", "fuzz", "tsan"]


def main():
    args = arguments()
    mode = args.what[0] if len(args.what) == 1 and args.what[0] in LEFT_OUT else "default"
    listing = args.what == ["list"]
    names = [] if listing or args.what == [mode] else args.what
    known, progress = configs(ROOT), Progress(args.verbose)
    jobs, broken, matched = [], [], set()

    for name in needed("long" if listing else mode, names):
        if name not in known:
            print(f"tests/run: no build is named '{name}' (there are {', '.join(known)})", file=sys.stderr)
            return 2
        if name in ("fuzz", "tsan") and not os.path.exists(os.path.join(ROOT, f"tests/{name}/meson.build")):
            continue
        build = Build(ROOT, args.builddir, known[name])
        progress.say(f"building {name} in {os.path.relpath(build.dir)} ...")
        start = time.monotonic()

        def chosen(test, config=name):
            return bool(named(config, test, names)) if names else wanted(config, test, mode)

        # The default build is everything; the others build what is run in them.
        ok, output = build.configure() if listing else build.make(None if name == "default" else chosen)
        if not ok:
            broken.append((f"build {name}", output))
            progress.say(f"FAIL building {name}")
            continue
        progress.say(f"built {name} in {time.monotonic() - start:.1f} s")
        for test in build.tests():
            hits = named(name, test, names)
            matched |= hits
            if hits or (not names and (listing or wanted(name, test, mode))):
                jobs.append(Job(build, test))

    if listing:
        for job in jobs:
            print(f"{job.name:44} {' '.join(sorted(job.test['suite']))}")
        return 1 if broken else 0
    unmatched = [n for n in names if n not in matched]
    if unmatched and not broken:
        print(f"tests/run: no test is named {', '.join(unmatched)}; see tests/run list", file=sys.stderr)
        return 2
    return report(run_all(jobs, max(1, args.jobs), progress), broken)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
