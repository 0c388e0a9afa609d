# SPDX-License-Identifier: LGPL-2.1-or-later
"""What runs inside: an initramfs with busybox, the modules, the programs under test, and /init that runs them.

The kernel's console is ttyS0 and belongs to the kernel alone. Programs write to ttyS1, between lines that begin with MARK.
"""

import os
import shlex
import subprocess

from archive import Archive

MARK = "@@vm"
# What /init needs in any case; everything else is asked for.
BASE_MODULES = ["virtio_pci", "virtio_blk"]

INIT = """#!/bin/sh
# Runs as process 1 of the guest; made by tests/vm/guest.py.
export PATH=/sbin:/bin:/usr/sbin:/usr/bin HOME=/root TMPDIR=/var/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/shm /dev/pts /dev/hugepages
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount -t hugetlbfs hugetlbfs /dev/hugepages 2>/dev/null
chmod 1777 /tmp /dev/shm
# Leaks are looked for in the end: what the kernel does so each ten minutes takes as long as thousands of a test's calls.
[ ! -w /sys/kernel/debug/kmemleak ] || echo scan=off >/sys/kernel/debug/kmemleak
# Booting takes several times as long with it.
[ ! -w /sys/kernel/debug/kcsan ] || echo on >/sys/kernel/debug/kcsan
ip link set lo up 2>/dev/null
stty -F /dev/ttyS1 raw -echo 115200 2>/dev/null

say() { printf '\\n%s\\n' "MARK $*" >/dev/ttyS1; }
# Kills a process after so many seconds, which it counts: a clock that jumped because the host stood still says more.
limit() {
	n=0
	while [ $n -lt $2 ] && kill -0 $1 2>/dev/null; do sleep 1; n=$((n + 1)); done
	kill -KILL $1 2>/dev/null
}
# Ends the virtual machine with an exit status that says that the guest meant to.
leave() {
	say "$@"
	echo "pinfold-vm: $*" >/dev/kmsg
	sync
	printf '\\005' | dd of=/dev/port bs=1 seek=244 count=1 2>/dev/null
	poweroff -f
}
"""

CGROUP2 = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; done
"""
CGROUP1 = """
mount -t tmpfs cgroup /sys/fs/cgroup
for c in memory cpuset; do mkdir /sys/fs/cgroup/$c; mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c; done
"""

LOAD = """
for m in $(cat /etc/modules); do insmod /lib/modules/$m || leave "broken cannot load $m"; done
"""

DISK = """
mount -t {fs} {options} /dev/{device} {where} || leave "broken cannot mount {device} as {fs}"
chmod 1777 {where}
"""

# A case's name is known to the kernel's log too, so that a splat can be told from which case it came.
RUN = """
say begin {number}
echo "pinfold-vm: runs {name}" >/dev/kmsg
{shell} {command} >/dev/ttyS1 2>&1 </dev/null &
child=$!
limit $child {timeout} &
wait $child
say end {number} $?
# What it left running, and its timekeeper.
kill -KILL -1 2>/dev/null
"""

# What a module leaks is often still found through its own data: it has to go before leaks are looked for.
END = """
cd /
for m in $(tac /etc/unload); do
	# Programs that were killed may still be letting go of it.
	for try in 1 2 3 4 5; do grep -q "^$m " /proc/modules && ! rmmod $m && sleep 1 || break; done
	! grep "^$m " /proc/modules >/dev/kmsg || echo "pinfold-vm: WARNING: cannot unload $m" >/dev/kmsg
done
for m in $(tac /etc/mounted); do umount $m || echo "pinfold-vm: WARNING: cannot unmount $m" >/dev/kmsg; done
if [ -w /sys/kernel/debug/kcsan ]; then
	echo off >/sys/kernel/debug/kcsan
	while read name count; do
		[ -z "$count" ] || echo "pinfold-vm: kcsan $name $count" >/dev/kmsg
	done </sys/kernel/debug/kcsan
fi
if [ -w /sys/kernel/debug/kmemleak ]; then
	# An object is reported once it is some seconds old and two scans did not find a pointer to it.
	echo scan >/sys/kernel/debug/kmemleak; sleep 6
	echo scan >/sys/kernel/debug/kmemleak; sleep 1
	cat /sys/kernel/debug/kmemleak >/dev/kmsg
fi
leave done
"""


def module_files(kernel, names):
    """Paths of the modules that modprobe would load for these, in order, each once; none for what is built in."""
    found = []
    for name in names:
        proc = subprocess.run(["/sbin/modprobe", "-C", "/dev/null", "-d", kernel.modules, "-S", kernel.release, "--show-depends", name],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if proc.returncode:
            raise ValueError(f"kernel {kernel.release} has no module {name}: {proc.stderr.strip()}")
        for line in proc.stdout.splitlines():
            word, _, path = line.strip().partition(" ")
            if word == "insmod" and path.split()[0] not in found:
                found.append(path.split()[0])
    return found


def build(path, kernel, modules, disks, programs, files, cgroup):
    """Writes the initramfs to @path. @disks: a list of (device, filesystem, mount point or None)."""
    archive = Archive()
    for directory in ("proc", "sys", "dev", "run", "root", "mnt", "var/log", "sbin", "usr/bin", "usr/sbin", "etc"):
        archive.directory(directory)
    for directory in ("tmp", "var/tmp"):
        archive.directory(directory, 0o1777)
    archive.file("bin/busybox", "/bin/busybox")
    for applet in subprocess.run(["/bin/busybox", "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split():
        if applet != "busybox":
            archive.link(f"bin/{applet}", "busybox")
    archive.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/tmp:/bin/sh\n"
                 "nobody:x:65534:65534:nobody:/:/bin/sh\n")
    archive.text("etc/group", "root:x:0:\ntester:x:1000:\npinfold:x:900:\nnogroup:x:65534:\n")

    names = []
    wanted = list(BASE_MODULES) + sorted({fs for _, fs, _ in disks if fs}) + [m for m in modules if "/" not in m]
    for module in module_files(kernel, wanted) + [m for m in modules if "/" in m]:
        names.append(os.path.basename(module))
        archive.file(f"lib/modules/{names[-1]}", module)
    archive.text("etc/modules", "".join(n + "\n" for n in names))
    # Those under test; their names are as the kernel has them.
    ours = [os.path.basename(m)[:-len(".ko")].replace("-", "_") for m in modules if "/" in m]
    archive.text("etc/unload", "".join(n + "\n" for n in ours))

    for where, source in files.items():
        archive.program(where, source)
    mounted = [where for _, fs, where in disks if fs and where]
    for where in mounted:
        archive.directory(where, 0o1777)
    archive.text("etc/mounted", "".join(m + "\n" for m in mounted))

    script = INIT.replace("MARK", MARK) + (CGROUP1 if cgroup == 1 else CGROUP2) + LOAD
    for device, fs, where in disks:
        if fs and where:
            script += DISK.format(fs=fs, device=device, where=where, options="")
    script += "say ready\n"
    for number, program in enumerate(programs):
        script += program.script(number, archive)
    archive.text("init", script + END, 0o755)
    archive.write(path)


class Program:
    """A program to run in the guest.

    command is a list; its first word is a path in the guest, or, with a source, where the host's file @source goes.
    protocol is "tap" or "exitcode" (0 passed, 77 skipped, its last line says why).
    """

    def __init__(self, name, command, source=None, protocol="tap", env=None, user=None, timeout=60, workdir="/var/tmp"):
        self.name, self.command, self.source, self.protocol = name, list(command), source, protocol
        self.env, self.user, self.timeout, self.workdir = env or {}, user, timeout, workdir

    def script(self, number, archive):
        """The lines of /init that run it. The time limit must end what runs as another user too."""
        if self.source:
            archive.program(self.command[0], self.source)
        env = "".join(f"{k}={shlex.quote(v)} " for k, v in self.env.items())
        command = f"cd {self.workdir} && {env}exec " + " ".join(map(shlex.quote, self.command))
        shell = f"su -s /bin/sh {self.user} -c" if self.user else "sh -c"
        return RUN.format(number=number, name=self.name, timeout=self.timeout, shell=shell, command=shlex.quote(command))
