# SPDX-License-Identifier: LGPL-2.1-or-later
"""Documentation: links lead somewhere, public functions are documented, rooms say what they are."""

import os
import re
import sys

from tree import ROOT, Tap, files, read

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+\s+(.*?)\s*#*$", re.MULTILINE)
FUNCTION = re.compile(r"^PINFOLD_API\b[^;{]*?\b(\w+)\s*\(", re.MULTILINE | re.DOTALL)


def anchors(text):
    """Anchors of a document's headings, as Git forges make them."""
    names = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        names.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return names


def dead_links(path, text, exists, read_text):
    problems = []
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(path), place)) if place else path
        if not exists(full):
            problems.append(f"{path}: link to {target}: there is no {full}")
        elif anchor and full.endswith(".md") and anchor not in anchors(text if full == path else read_text(full)):
            problems.append(f"{path}: link to {target}: {full} has no such heading")
    return problems


def undocumented(path, text):
    """Functions without a /** comment. One comment may stand for a block of declarations without an empty line."""
    problems = []
    for match in FUNCTION.finditer(text):
        block = re.split(r"\n[ \t]*\n", text[:match.start()])[-1]
        if "/**" not in block:
            line = text.count("\n", 0, match.start()) + 1
            problems.append(f"{path}:{line}: {match.group(1)}() has no /** comment")
    return problems


def selftest():
    problems = []
    text = "# Head Line\n[a](gone.md) [b](#head-line) [c](#nowhere) [d](here.md) `[e](no.md)`\n"
    found = dead_links("x.md", text, lambda p: p in ("here.md", "x.md"), lambda p: "")
    if len(found) != 2:
        problems.append(f"dead links: {found}")
    header = "/** Words. */\nPINFOLD_API int a(void);\nPINFOLD_API int b(void);\n\nPINFOLD_API int c(\n\tint x);\n"
    found = undocumented("x.h", header)
    if len(found) != 1 or "c()" not in found[0]:
        problems.append(f"undocumented: {found}")
    return problems


def main():
    tap = Tap()
    tap.case("the checks find dead links and bare functions", selftest())
    known, problems = files(), []
    for path in known:
        if path.endswith(".md"):
            problems += dead_links(path, read(path), lambda p: os.path.exists(os.path.join(ROOT, p)), read)
    tap.case("every relative link leads somewhere", problems)
    problems = []
    for path in known:
        if path.startswith("include/pinfold") and path.endswith(".h"):
            problems += undocumented(path, read(path))
    tap.case("every public function is documented", problems)
    rooms = sorted({"/".join(p.split("/")[:2]) for p in known if p.startswith("user/")}
                   | {d for d in ("bpf", "kmod", "tools", "tests") if any(p.startswith(d + "/") for p in known)})
    tap.case("every room has a README", [f"{room}: no README.md" for room in rooms if f"{room}/README.md" not in known])
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
