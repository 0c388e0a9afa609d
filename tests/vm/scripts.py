# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own checking scripts, out of Debian's source package: unpacked once into the cache, never kept in the tree."""

import os
import shutil
import subprocess
import tempfile

from kernels import Locked, Unavailable, cache_dir

PACKAGE = "linux-source-6.1"
ARCHIVE = f"/usr/src/{PACKAGE}.tar.xz"
PARTS = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch", "kernel-doc", "coccinelle")


def directory():
    """Where checkpatch.pl, kernel-doc and coccinelle/ are. Raises Unavailable."""
    if not os.path.exists(ARCHIVE):
        raise Unavailable(f"package {PACKAGE} is not installed: tools/setup vm")
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", PACKAGE], stdout=subprocess.PIPE, check=True,
                             text=True).stdout
    path = os.path.join(cache_dir(), f"scripts-{version}")
    with Locked():
        if not os.path.exists(path):
            scratch = tempfile.mkdtemp(prefix="scripts.", dir=cache_dir())
            try:
                subprocess.run(["tar", "-xJf", ARCHIVE, "-C", scratch, "--strip-components=2"]
                               + [f"{PACKAGE}/scripts/{part}" for part in PARTS], check=True)
                os.chmod(scratch, 0o755)
                os.rename(scratch, path)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return path
