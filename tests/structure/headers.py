# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each public header stands alone: as C17 and, for the user-space ones, as C++17; so does the kernel ABI."""

import os
import shutil
import subprocess
import sys
import tempfile

from tree import ROOT, Tap, files


def compile_one(cmd, header, suffix):
    with tempfile.TemporaryDirectory() as tmp:
        source = os.path.join(tmp, "one" + suffix)
        # Twice: the guard must hold too.
        with open(source, "w", encoding="utf-8") as f:
            f.write(f"#include <{header}>\n#include <{header}>\nint one(void);\nint one(void) {{ return 0; }}\n")
        done = subprocess.run(cmd + ["-Wall", "-Wextra", "-Werror", "-I", os.path.join(ROOT, "include"), "-I",
                                     os.path.join(ROOT, "include/uapi"), "-c", source, "-o", os.path.join(tmp, "o")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode(errors="replace").splitlines()
        return (text or ["the compiler failed"]) if done.returncode else []


def main():
    tap = Tap()
    gcc, gxx = shutil.which("gcc"), shutil.which("g++")
    tap.case("a header that cannot be compiled is found", [] if compile_one([gcc], "pinfold/absent.h", ".c") else
             ["an absent header was compiled"])
    for path in files():
        if not path.startswith("include/") or not path.endswith(".h"):
            continue
        kernel = path.startswith("include/uapi/")
        header = path[len("include/uapi/" if kernel else "include/"):]
        # The library's headers need the POSIX names of the C library and no more.
        tap.case(f"{header} alone as C17", compile_one([gcc, "-std=c17", "-D_POSIX_C_SOURCE=200809L", "-pedantic"], header, ".c"))
        if gxx:
            tap.case(f"{header} alone as C++17", compile_one([gxx, "-std=c++17"], header, ".cc"))
        else:
            tap.skip(f"{header} alone as C++17", "g++ is not installed")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
