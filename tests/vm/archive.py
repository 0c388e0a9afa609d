# SPDX-License-Identifier: LGPL-2.1-or-later
"""An initramfs, written as the kernel reads it: a cpio archive in the "newc" format, uncompressed."""

import os
import re
import stat
import subprocess


class Archive:
    """Files by their path in the guest. Directories come in by themselves."""

    def __init__(self):
        self.entries = {}

    def add(self, path, data=b"", mode=stat.S_IFREG | 0o644):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.add(parent, mode=stat.S_IFDIR | 0o755)
        self.entries[path] = (mode, data)

    def directory(self, path, mode=0o755):
        self.add(path, mode=stat.S_IFDIR | mode)

    def text(self, path, text, mode=0o644):
        self.add(path, text.encode(), stat.S_IFREG | mode)

    def link(self, path, target):
        self.add(path, target.encode(), stat.S_IFLNK | 0o777)

    def file(self, path, source):
        """A copy of the host's file @source; executable if that is."""
        with open(source, "rb") as f:
            self.add(path, f.read(), stat.S_IFREG | (0o755 if os.access(source, os.X_OK) else 0o644))

    def program(self, path, source):
        """As file(), and the shared libraries that it needs, where any program looks for them.

        One of the build tree is found here relative to the program, so it goes where the system's are."""
        self.file(path, source)
        for library in libraries(source):
            where = library if library.startswith(("/lib", "/usr/lib")) else "/usr/lib/" + os.path.basename(library)
            if where.strip("/") not in self.entries:
                self.file(where, library)

    def write(self, path):
        with open(path, "wb") as out:
            for number, (name, (mode, data)) in enumerate(self.entries.items(), 1):
                out.write(record(name, mode, data, number))
            out.write(record("TRAILER!!!", 0, b"", 0))


def record(name, mode, data, number):
    """One entry: the header's 13 numbers in hexadecimal, the name, the data, both padded to 4 bytes."""
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def libraries(program):
    """Paths of the shared libraries and the loader of a program; none for scripts and static programs."""
    out = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    return re.findall(r"(?:=> |^\t)(/\S+) \(0x", out, re.M)
