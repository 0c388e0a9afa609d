# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds the kernel module for a kernel in the cache, below the build directory."""

import os
import shutil
import subprocess

from kernels import Unavailable

ROOT = os.environ.get("PINFOLD_SOURCE_ROOT") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def build(kernel, *arguments):
    """Path of pinfold.ko. Raises Unavailable, or CalledProcessError with the compiler's words."""
    if not shutil.which("make"):
        raise Unavailable("make is not installed: tools/setup vm")
    out = os.path.join(os.environ["PINFOLD_BUILD_ROOT"], "tests", "vm", "kmod-" + kernel.name)
    subprocess.run([os.path.join(ROOT, "kmod", "build"), kernel.headers, out, "CONFIG_DEBUG_INFO_BTF_MODULES=",
                    *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return os.path.join(out, "pinfold.ko")
