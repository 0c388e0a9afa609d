# SPDX-License-Identifier: LGPL-2.1-or-later
"""Build configurations: how each is set up, compiled, and asked for its tests."""

import json
import os
import shutil
import subprocess

# dpkg writes it at each change of a package.
PACKAGES = "/var/lib/dpkg/status"
SANITIZED = ["-Doptimization=1", "-Ddebug=true"]


class Config:
    """One build directory. factor stretches the time limits of its tests."""

    def __init__(self, name, options, factor=1, env=None, setup_env=None):
        self.name, self.options, self.factor = name, options, factor
        self.env, self.setup_env = env or {}, setup_env or {}


def configs(root):
    """The configurations by name. Sanitizer reports end a test: a report that scrolls by would pass."""
    asan = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    tsan = {"TSAN_OPTIONS": f"halt_on_error=1:second_deadlock_stack=1:suppressions={root}/tests/lib/tsan.supp"}
    return {c.name: c for c in (
        Config("default", [], env={"MALLOC_PERTURB_": "165"}),
        Config("asan", SANITIZED + ["-Db_sanitize=address,undefined"], 4, asan),
        Config("tsan", SANITIZED + ["-Db_sanitize=thread"], 10, tsan),
        Config("fuzz", SANITIZED + ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=enabled",
                                    "-Dc_args=-fsanitize=fuzzer-no-link", "-Dcpp_args=-fsanitize=fuzzer-no-link"], 4, asan,
               {"CC": "clang-14", "CXX": "clang++-14"}),
    )}


class Build:
    """A configuration in its directory."""

    def __init__(self, root, base, config):
        self.root, self.config = root, config
        self.dir = os.path.join(base, config.name)

    def run(self, cmd):
        """Runs a build step; its output is shown only on failure."""
        env = dict(os.environ, **self.config.setup_env)
        proc = subprocess.run(cmd, cwd=self.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return proc.returncode, proc.stdout.decode("utf-8", errors="replace")

    def configure(self):
        """Makes the build directory what meson.build says. Returns (ok, output)."""
        if not os.path.exists(os.path.join(self.dir, "build.ninja")):
            # What an interrupted configuration left there is in Meson's way.
            shutil.rmtree(os.path.join(self.dir, "meson-private"), ignore_errors=True)
            status, output = self.run(["meson", "setup", self.dir] + self.config.options)
            return status == 0, output
        if self.outdated():
            status, output = self.run(["meson", "setup", "--reconfigure", self.dir])
            if status:
                return False, output
            os.utime(os.path.join(self.dir, "build.ninja"))
        status, output = self.run(["ninja", "--quiet", "-C", self.dir, "build.ninja"])
        return status == 0, output

    def outdated(self):
        """Did packages change since the configuration? It may lack what is there now, such as the test harness."""
        try:
            return os.stat(PACKAGES).st_mtime > os.stat(os.path.join(self.dir, "build.ninja")).st_mtime
        except FileNotFoundError:
            return False

    def make(self, choose=None):
        """Configures and compiles: everything, or what those tests need that choose(test) is true for.
        Returns (ok, output)."""
        ok, output = self.configure()
        targets = self.programs(filter(choose, self.tests())) if ok and choose else []
        if not ok or choose and not targets:
            return ok, output
        status, output = self.run(["ninja", "--quiet", "-C", self.dir] + targets)
        return status == 0, output

    def introspect(self, what):
        return json.loads(subprocess.run(["meson", "introspect", what, self.dir], cwd=self.root, check=True,
                                         stdout=subprocess.PIPE).stdout)

    def programs(self, tests):
        """What is built for the tests, as ninja names it."""
        ids = {i for test in tests for i in test["depends"]}
        return [os.path.relpath(os.path.realpath(path), os.path.realpath(self.dir))
                for target in self.introspect("--targets") if target["id"] in ids for path in target["filename"]]

    def tests(self):
        """The build's tests as Meson introspects them, suites without the project's name."""
        tests = self.introspect("--tests")
        for test in tests:
            test["suite"] = {s.partition(":")[2] or s for s in test["suite"]}
        return tests
