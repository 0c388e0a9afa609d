# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shared library exports exactly the functions that the public headers declare."""

import re
import subprocess
import sys

from tree import Tap, files, read

DECLARED = re.compile(r"\bPINFOLD_API\b[^;{]*?\b(\w+)\s*\(", re.DOTALL)


def declared():
    names = set()
    for path in files():
        if path == "include/pinfold.h" or path.startswith("include/pinfold/"):
            text = re.sub(r"/\*.*?\*/", "", read(path), flags=re.DOTALL)
            names |= set(DECLARED.findall(re.sub(r"^[ \t]*#.*$", "", text, flags=re.MULTILINE)))
    return names


def exported(lib):
    out = subprocess.run(["nm", "-D", "--defined-only", lib], check=True, stdout=subprocess.PIPE).stdout.decode()
    # "addr T name@@VERSION"; version nodes themselves are type A.
    return {f[2].partition("@")[0] for f in (line.split() for line in out.splitlines()) if len(f) == 3 and f[1] != "A"}


def undefined(lib):
    out = subprocess.run(["nm", "-D", "--undefined-only", lib], check=True, stdout=subprocess.PIPE).stdout.decode()
    return {line.split()[-1].partition("@")[0] for line in out.splitlines() if line.strip()}


# The library reports and never ends, prints for or signals its host; what a sanitizer or assert needs is its own.
FORBIDDEN = {"exit", "_exit", "printf", "puts", "perror", "vprintf", "putchar", "signal", "syslog", "error", "errx", "warnx",
             "err", "warn", "__printf_chk"}


def main():
    tap = Tap()
    lib = sys.argv[1]
    want, have = declared(), exported(lib)
    tap.case("the headers declare functions", [] if want else ["no PINFOLD_API declaration was found"])
    tap.case("every exported symbol begins with pinfold_",
             [f"exported: {n}" for n in sorted(have) if not n.startswith("pinfold_")])
    tap.case("every declared function is exported", [f"declared only: {n}" for n in sorted(want - have)])
    tap.case("every exported symbol is declared", [f"exported only: {n}" for n in sorted(have - want)])
    tap.case("the library never prints or exits", [f"uses {n}()" for n in sorted(undefined(lib) & FORBIDDEN)])
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
