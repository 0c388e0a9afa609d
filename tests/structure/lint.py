# SPDX-License-Identifier: LGPL-2.1-or-later
"""Static checks of the C sources with the committed settings: cppcheck and clang-tidy find nothing."""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile

from tree import ROOT, Tap, files

# Compiled for another machine, or built by the kernel's own makefiles.
OTHER = ("bpf/", "kmod/")


def run(cmd, **kw):
    done = subprocess.run(cmd, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **kw)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def cppcheck_cmd(jobs):
    return ["cppcheck", "--quiet", "--error-exitcode=1", "--enable=warning,performance,portability", "--std=c11",
            "--inline-suppr", "--suppressions-list=tests/structure/cppcheck.supp", "--library=gnu",
            "--template={file}:{line}: {severity}: {message} [{id}]", "-D__linux__", "-D_GNU_SOURCE", "-I", "include",
            "-I", "include/uapi", "-I", "user", "-j", str(jobs)]


def tidy(tool, database, source):
    hints = ["--extra-arg=-include", f"--extra-arg={ROOT}/tests/structure/analyzer.h"]
    if not source.startswith("user/") or source == "user/base/error.c":
        hints.append("--extra-arg=-DPF_ANALYZER_ERRNO_ONLY")
    status, out, err = run([tool, "--quiet", "-p", database] + hints + [source])
    lines = [line for line in out.splitlines() if "warning:" in line or "error:" in line]
    if status and not lines:
        lines = (out + err).splitlines()[-20:] or [f"{source}: exit status {status}"]
    # bpftool's skeletons are not ours.
    return [line.replace(ROOT + "/", "") for line in lines if ".skel.h:" not in line]


def database_for_clang(build, out):
    """A copy of the compilation database without what only gcc knows, and without other people's sources."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        entries = json.load(f)
    kept = {}
    for e in entries:
        path = os.path.relpath(os.path.normpath(os.path.join(e["directory"], e["file"])), ROOT)
        if path.startswith("..") or path.startswith("build") or not path.endswith(".c"):
            continue
        kept.setdefault(path, e)
    with open(os.path.join(out, "compile_commands.json"), "w", encoding="utf-8") as f:
        json.dump(list(kept.values()), f)
    return kept


def selftest(tool):
    """Each checker finds a planted fault with the committed settings."""
    problems = []
    with tempfile.TemporaryDirectory() as tmp:
        bad = os.path.join(tmp, "bad.c")
        with open(bad, "w", encoding="utf-8") as f:
            f.write("#include <stdlib.h>\nint f(void);\nint f(void)\n{\n\tint *p = malloc(sizeof(int));\n\tif (!p)\n"
                    "\t\treturn 0;\n\tfree(p);\n\t*p = 1;\n\treturn 0;\n}\n")
        if shutil.which("cppcheck") and run(cppcheck_cmd(1) + [bad])[0] == 0:
            problems.append("cppcheck found no fault in a use after free")
        if tool and run([tool, "--quiet", f"--config-file={ROOT}/.clang-tidy", bad, "--"])[0] == 0:
            problems.append("clang-tidy found no fault in a use after free")
    return problems


def main():
    tap = Tap()
    jobs = os.cpu_count() or 1
    tool = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    tap.case("the checkers find a planted fault", selftest(tool))
    sources = [p for p in files() if p.endswith(".c") and not p.startswith(OTHER)]
    if shutil.which("cppcheck"):
        status, out, err = run(cppcheck_cmd(jobs) + [p for p in sources if not p.startswith("tests/unit/")])
        tap.case("cppcheck finds nothing", (out + err).splitlines() if status else [])
    else:
        tap.skip("cppcheck finds nothing", "cppcheck is not installed")
    if not tool:
        tap.skip("clang-tidy finds nothing", "clang-tidy is not installed")
        return tap.end()
    with tempfile.TemporaryDirectory() as tmp:
        known = database_for_clang(os.environ["PINFOLD_BUILD_ROOT"], tmp)
        mine = [p for p in sources if p in known and not p.startswith("tests/")]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            problems = [p for found in pool.map(lambda s: tidy(tool, tmp, s), mine) for p in found]
        tap.case(f"clang-tidy finds nothing in {len(mine)} files", sorted(set(problems)) or
                 ([] if mine else ["no source is in the compilation database"]))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
