# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernels to boot: Debian's own packages, unpacked into a cache and never installed.

Where a kernel comes from, in this order: what the system's apt sources offer, then other suites of the same archive,
through an apt state of our own beside the cache. The archive's address is the one that the system's apt uses.

A kernel in the cache is KERNEL/{vmlinuz,config,modules/,headers/,release}; it is made in a directory beside that and
renamed, so what is there is whole. It stays as it is until removed: the archive forgets old versions, tests need not.
"""

import fcntl
import glob
import os
import re
import shutil
import subprocess
import tempfile

# Name: meta package, where to look for it (groups of suites; an empty one is the system's sources), and what the
# version must match. Of several suites in a group the highest version is taken.
KERNELS = {
    "6.1": ("linux-{}-amd64", [(), ("bookworm",)], r"6\.1\."),
    "6.12": ("linux-{}-6.12-amd64", [(), ("bookworm-backports",)], r"6\.12\."),
    "newest": ("linux-{}-amd64", [("sid", "experimental")], r""),
}
# Those that are built here, by tests/vm/sanitized.
SANITIZED = ("kasan", "kcsan")
# Modules that no test can load here, by directory below kernel/: two thirds of a kernel's size.
LEFT_OUT = ("sound", "net", "drivers/gpu", "drivers/net", "drivers/media", "drivers/staging", "drivers/infiniband",
            "drivers/iio", "drivers/usb", "drivers/hid", "drivers/scsi", "drivers/platform", "drivers/input")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# What of a kernel's dependencies is unpacked; its tools for building an initramfs and the compiler are not.
PARTS = re.compile(r"linux-(image|binary|modules|headers|kbuild|base-\d)\S*$")


class Unavailable(Exception):
    """This kernel cannot be had; the text says why."""


def cache_dir():
    """Where kernels and images are kept between runs, for every build tree of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("PINFOLD_VM_CACHE") or os.path.join(base, "pinfold", "vm")


class Locked:
    """The cache, for one process at a time."""

    def __enter__(self):
        os.makedirs(cache_dir(), exist_ok=True)
        self.file = open(os.path.join(cache_dir(), "lock"), "w", encoding="ascii")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_):
        self.file.close()


class Apt:
    """apt with the system's configuration (no suites), or with suites of the same archive and a state of its own."""

    def __init__(self, suites):
        self.suites, self.options = suites, []
        if not suites:
            return
        state = os.path.join(cache_dir(), "apt", "+".join(suites))
        for sub in ("lists/partial", "archives/partial"):
            os.makedirs(os.path.join(state, sub), exist_ok=True)
        archive = self.archive()
        with open(os.path.join(state, "sources.list"), "w", encoding="ascii") as f:
            for suite in suites:
                f.write(f"deb [signed-by={KEYRING}] {archive} {suite} main\n")
        # Experimental is on equal terms here: the highest version wins.
        with open(os.path.join(state, "preferences"), "w", encoding="ascii") as f:
            f.write("Package: *\nPin: release o=Debian\nPin-Priority: 500\n")
        self.options = [
            "-o", f"Dir::State={state}", "-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}",
            "-o", f"Dir::Etc::sourcelist={state}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
            "-o", f"Dir::Etc::preferences={state}/preferences", "-o", "Dir::Etc::preferencesparts=/dev/null",
            "-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root"]
        if not os.path.exists(os.path.join(state, "updated")):
            self.run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
            open(os.path.join(state, "updated"), "w", encoding="ascii").close()

    @staticmethod
    def archive():
        """The address of Debian's main archive, as the system's sources name it."""
        out = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(SUITE)|$(REPO_URI)",
                              "Created-By: Packages"], stdout=subprocess.PIPE, check=False, text=True).stdout
        for line in out.splitlines():
            origin, suite, uri = line.split("|")
            if origin == "Debian" and "security" not in suite and "security" not in uri:
                return uri
        raise Unavailable("apt has no source of Debian's archive")

    def run(self, *command, cwd=None):
        proc = subprocess.run([command[0]] + self.options + list(command[1:]), cwd=cwd, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, text=True, env=dict(os.environ, LC_ALL="C"))
        if proc.returncode:
            # Without addresses: the message is shown as the reason of a skip.
            error = re.sub(r"\w+://\S+", "the archive", (proc.stderr.strip() or "no message").splitlines()[0])
            where = ", ".join(self.suites) or "the system's sources"
            raise Unavailable(f"{command[0]} {command[1]} ({where}): {error}")
        return proc.stdout

    def depends(self, package):
        """The first alternative of each dependency of the candidate version."""
        record = self.run("apt-cache", "show", "--no-all-versions", package)
        found = []
        for field in re.findall(r"^(?:Pre-)?Depends: (.*)$", record, re.M):
            found += [re.split(r"[ (|:]", d.strip())[0] for d in field.split(",")]
        return found

    def closure(self, meta):
        """The meta package's dependencies that are parts of a kernel, transitively."""
        found, queue = [], [meta]
        while queue:
            for package in self.depends(queue.pop(0)):
                if PARTS.match(package) and package not in found:
                    found.append(package)
                    queue.append(package)
        if not found:
            raise Unavailable(f"{meta} names no kernel")
        return found

    def download(self, packages, directory):
        os.makedirs(directory, exist_ok=True)
        self.run("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *packages, cwd=directory)
        return glob.glob(os.path.join(directory, "*.deb"))


class Kernel:
    """A kernel in the cache."""

    def __init__(self, name, path):
        self.name, self.path = name, path
        self.image = os.path.join(path, "vmlinuz")
        self.modules = os.path.join(path, "modules")
        with open(os.path.join(path, "release"), encoding="ascii") as f:
            self.release = f.read().strip()
        # The directory to build modules against: make -C DIR M=...
        self.headers = os.path.join(path, "headers", "build")

    def config(self, option):
        """The value of CONFIG_option in this kernel: 'y', 'm', a text or a number; None where it is not set."""
        with open(os.path.join(self.headers, ".config"), encoding="ascii") as f:
            m = re.search(rf"^CONFIG_{option}=(.*)$", f.read(), re.M)
        return m.group(1).strip('"') if m else None


def unpack_image(root, path):
    """Lays out the kernel and the modules of the unpacked packages. Returns the release."""
    images = glob.glob(f"{root}/boot/vmlinuz-*") + glob.glob(f"{root}/usr/lib/modules/*/vmlinuz")
    dirs = glob.glob(f"{root}/lib/modules/*") + glob.glob(f"{root}/usr/lib/modules/*")
    if len(images) != 1 or len(dirs) != 1:
        raise Unavailable(f"the packages hold {len(images)} kernels and {len(dirs)} sets of modules")
    release = os.path.basename(dirs[0])
    shutil.move(images[0], f"{path}/vmlinuz")
    for name in LEFT_OUT:
        shutil.rmtree(f"{dirs[0]}/kernel/{name}", ignore_errors=True)
    # modprobe's tools want lib/modules/RELEASE below a base directory.
    modules = f"{path}/modules/lib/modules/{release}"
    os.makedirs(os.path.dirname(modules))
    shutil.move(dirs[0], modules)
    for where, _, names in os.walk(modules):
        packed = [os.path.join(where, n) for n in names if n.endswith(".ko.xz")]
        if packed:
            subprocess.run(["xz", "-d"] + packed, check=True)
    subprocess.run(["/sbin/depmod", "-b", f"{path}/modules", release], check=True, stderr=subprocess.DEVNULL)
    return release


def unpack_headers(root, path, release, final):
    """Moves the headers so that they work from @final, where @path will be in the end."""
    os.makedirs(f"{path}/headers", exist_ok=True)
    shutil.move(f"{root}/usr", f"{path}/headers/usr")
    src = f"{path}/headers/usr/src"
    for where in os.listdir(src):
        for name in ("Makefile", ".kernelvariables"):
            # The common directory's Makefile is the kernel's own and names nothing.
            if os.path.isfile(f"{src}/{where}/{name}") and os.path.getsize(f"{src}/{where}/{name}") < 4096:
                edit(f"{src}/{where}/{name}", r"(?<![\w/])/usr/(src|lib)/", rf"{final}/headers/usr/\1/")
        for name in os.listdir(f"{src}/{where}"):
            link = f"{src}/{where}/{name}"
            if os.path.islink(link) and os.readlink(link).startswith("/usr/"):
                target = os.readlink(link)
                os.unlink(link)
                os.symlink(f"{final}/headers{target}", link)
    os.symlink(f"usr/src/linux-headers-{release}", f"{path}/headers/build")


def edit(file, pattern, replacement):
    with open(file, encoding="utf-8") as f:
        text = f.read()
    with open(file, "w", encoding="utf-8") as f:
        f.write(re.sub(pattern, replacement, text, flags=re.M))


def adapt_compiler(path):
    """Where this system lacks the compiler that the headers name, its own builds modules, without what it lacks."""
    build = os.path.realpath(f"{path}/headers/build")
    with open(f"{build}/.kernelvariables", encoding="utf-8") as f:
        named = re.search(r"\bgcc-\d+", f.read())
    if not named or shutil.which(named.group()):
        return
    edit(f"{build}/.kernelvariables", r"\bgcc-\d+", "gcc")
    if subprocess.run(["gcc", "-fmin-function-alignment=16", "-x", "c", "-c", "/dev/null", "-o", "/dev/null"],
                      stderr=subprocess.DEVNULL, check=False).returncode:
        edit(f"{build}/include/config/auto.conf", r"^CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=.*\n", "")


def adapt_tools(path, final, apt):
    """The build tools of a newer release need its C library: they get it beside them, and start through its loader."""
    tools = []
    for where, _, names in os.walk(f"{path}/headers/usr/lib"):
        for name in names:
            file = f"{where}/{name}"
            if os.path.islink(file) or not os.access(file, os.X_OK):
                continue
            proc = subprocess.run(["ldd", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            if "not found" in proc.stdout:
                tools.append(file)
    if not tools:
        return
    queue, found = ["libc6"] + [d for p in apt.closure("linux-headers-amd64") for d in apt.depends(p)], []
    while queue:
        package = queue.pop()
        if re.match(r"(lib|zlib)", package) and package not in found:
            found.append(package)
            queue += apt.depends(package)
    for deb in apt.download(found, f"{path}/debs-lib"):
        subprocess.run(["dpkg-deb", "-x", deb, f"{path}/headers/lib"], check=True)
    shutil.rmtree(f"{path}/debs-lib")
    lib = f"{final}/headers/lib/usr/lib/x86_64-linux-gnu"
    for tool in tools:
        os.rename(tool, f"{tool}.elf")
        with open(tool, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\n"
                    f"exec {lib}/ld-linux-x86-64.so.2 --library-path {lib} {tool.replace(path, final)}.elf \"$@\"\n")
        os.chmod(tool, 0o755)


def fetch(name, final):
    """Downloads and unpacks kernel @name into @final."""
    pattern, suites, wanted = KERNELS[name]
    reasons = []
    for group in suites:
        work = tempfile.mkdtemp(prefix=f"{name}.", dir=cache_dir())
        try:
            apt = Apt(group)
            for part in ("image", "headers"):
                packages = apt.closure(pattern.format(part))
                version = next(p for p in packages if p.startswith(f"linux-{part}-"))[len(f"linux-{part}-"):]
                if not re.match(wanted, version):
                    raise Unavailable(f"{pattern.format(part)} is {version}")
                root = f"{work}/unpacked"
                for deb in apt.download(packages, f"{work}/debs-{part}"):
                    subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
                if part == "image":
                    release = unpack_image(root, work)
                else:
                    unpack_headers(root, work, release, final)
                    adapt_compiler(work)
                    adapt_tools(work, final, apt)
                shutil.rmtree(root, ignore_errors=True)
                shutil.rmtree(f"{work}/debs-{part}")
            with open(f"{work}/release", "w", encoding="ascii") as f:
                f.write(release + "\n")
            os.rename(work, final)
            return
        except (Unavailable, OSError, subprocess.CalledProcessError, StopIteration) as e:
            reasons.append(str(e))
            shutil.rmtree(work, ignore_errors=True)
    raise Unavailable(f"kernel {name}: {'; '.join(reasons)}")


def get(name):
    """The kernel named @name (a key of KERNELS, or a directory made as above), fetched now if the cache lacks it, unless
    $PINFOLD_VM_FETCH is 0."""
    if os.path.isdir(name):
        return Kernel(os.path.basename(name.rstrip("/")), os.path.abspath(name))
    if name not in KERNELS and name not in SANITIZED:
        raise Unavailable(f"no kernel is named '{name}' (there are {', '.join((*KERNELS, *SANITIZED))})")
    final = os.path.join(cache_dir(), name)
    with Locked():
        if not os.path.exists(f"{final}/release"):
            if name in SANITIZED:
                raise Unavailable(f"the kernel with {name.upper()} and lockdep is not built: tests/vm/sanitized {name} builds it")
            if os.environ.get("PINFOLD_VM_FETCH") == "0":
                raise Unavailable(f"kernel {name} is not in the cache: tests/vm/vm fetch {name}")
            fetch(name, final)
    return Kernel(name, final)
