# SPDX-License-Identifier: Apache-2.0
"""
Ways of looking at names. A look gives a tuple whose parts are the same on the host and in the guest when the guest is
right; each part comes from one call, or from one file's content, so that it is the old or the new one and no mixture.
"""
import errno
import mmap
import os
import stat
import subprocess

from . import world

PAGE = 4096


def _or_errno(function, *arguments, **more):
    try:
        return function(*arguments, **more)
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)


def attributes(seen):
    """What both sides show of an object; the size of a directory is its file system's affair."""
    kind = stat.S_IFMT(seen.st_mode)
    size = 0 if stat.S_ISDIR(kind) else seen.st_size
    return kind, oct(seen.st_mode & 0o7777), size, seen.st_nlink, seen.st_mtime_ns, seen.st_ctime_ns


def _attributes_of(path, **more):
    return _or_errno(lambda: attributes(os.lstat(path, **more)))


def _content(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # EISDIR, before open() asks for attributes: those of a directory that was removed meanwhile are ESTALE where
        # the server had not held it (docs/POSIX.md).
        os.read(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    with open(descriptor, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + PAGE)
        # The host's change may come in between; then it shows in the size, too.
        after = os.fstat(file.fileno()).st_size
        assert len(content) in (size, after), f"{path}: fstat says {size}, then {after} bytes; read: {len(content)}"
        return content


def _parents(names):
    return sorted({os.path.dirname(name) for name in names})


class Look:
    """One way. top is the directory below which the names are."""
    name = ""
    size = 10_000      # of the files that are looked at
    of_one_call = True  # each part is
    keeps = ("opendir", "releasedir")  # requests that the second look may cost

    def begin(self, top, names):
        """What is kept from the first look to the last."""

    def see(self, top, names, kept):
        raise NotImplementedError

    def expected(self, top, names, kept):
        """What the guest must see, by the host's side."""
        return self.see(top, names, kept)

    def end(self, kept):
        pass


class Stat(Look):
    name = "stat"
    keeps = ()

    def see(self, top, names, kept):
        return tuple(_attributes_of(f"{top}/{name}") for name in names)


class Access(Look):
    name = "access"
    keeps = ()

    def see(self, top, names, kept):
        return tuple(os.access(f"{top}/{name}", mode) for name in names for mode in (os.F_OK, os.X_OK))


class OpenRead(Look):
    name = "open+read"
    keeps = ("open", "release", "read")

    def see(self, top, names, kept):
        return tuple(_or_errno(_content, f"{top}/{name}") for name in names)


class _Kept(Look):
    """Descriptors of the files that are there at the beginning."""
    keeps = ()

    def begin(self, top, names):
        return [os.open(f"{top}/{name}", os.O_RDONLY) for name in names if os.path.isfile(f"{top}/{name}")]

    def end(self, kept):
        for descriptor in kept:
            os.close(descriptor)


class Pread(_Kept):
    name = "pread"

    def see(self, top, names, kept):
        return tuple(os.pread(descriptor, 1 << 20, 0) for descriptor in kept)


class Fstat(_Kept):
    name = "fstat"

    def see(self, top, names, kept):
        return tuple(attributes(os.fstat(descriptor)) for descriptor in kept)


class _Unmapped:
    """What a mapping of a descriptor would show. It takes the descriptor over."""

    def __init__(self, descriptor):
        self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size

    def __getitem__(self, _):
        return os.pread(self._descriptor, self._size, 0).ljust(self._size, b"\0")

    def close(self):
        os.close(self._descriptor)


def _map(descriptor):
    try:
        return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
    except OSError as error:
        # The host's side as a virtual machine sees it: virtiofs without a cache.
        if not world.AGENT or error.errno != errno.ENODEV:
            raise
        return _Unmapped(os.dup(descriptor))


class Mapped(_Kept):
    """Within one page, of which a file that shrinks keeps a byte: a page beyond the end is SIGBUS."""
    name = "mmap"
    size = 3000

    def begin(self, top, names):
        descriptors = super().begin(top, names)
        kept = [_map(descriptor) for descriptor in descriptors]
        super().end(descriptors)
        return kept

    def see(self, top, names, kept):
        return tuple(mapped[:] for mapped in kept)

    def end(self, kept):
        for mapped in kept:
            mapped.close()


class Listdir(Look):
    name = "listdir"

    def see(self, top, names, kept):
        return tuple(_or_errno(lambda d=d: tuple(sorted(os.listdir(f"{top}/{d}")))) for d in _parents(names))


class Scandir(Look):
    name = "scandir+stat"
    of_one_call = False

    @staticmethod
    def _listing(path):
        with os.scandir(path) as listing:
            return tuple(sorted((entry.name, _or_errno(lambda e=entry: attributes(e.stat(follow_symlinks=False))))
                                for entry in listing))

    def see(self, top, names, kept):
        return tuple(_or_errno(self._listing, f"{top}/{directory}") for directory in _parents(names))


class Readlink(Look):
    name = "readlink"
    keeps = ()

    def see(self, top, names, kept):
        return tuple(_or_errno(os.readlink, f"{top}/{name}") for name in names)


class Getxattr(Look):
    """The guest's kernel keeps no extended attributes."""
    name = "getxattr"
    keeps = ("getxattr",)

    def see(self, top, names, kept):
        return tuple(_or_errno(os.getxattr, f"{top}/{name}", "user.test") for name in names)


class Exec(Look):
    """Scripts are run; what they must print is read on the host, where it takes less time."""
    name = "exec"
    of_one_call = False  # the kernel opens the script, then the shell does
    keeps = ("open", "release", "read", "flush", "getxattr")

    @staticmethod
    def _run(path):
        # A shell prints its complaint about what it cannot read.
        return subprocess.run([path], check=False, capture_output=True, stdin=subprocess.DEVNULL).stdout

    def see(self, top, names, kept):
        return tuple(_or_errno(self._run, f"{top}/{name}") for name in names)

    def expected(self, top, names, kept):
        return tuple(self._printed(f"{top}/{name}") for name in names)

    @staticmethod
    def _printed(path):
        try:
            mode = os.stat(path).st_mode
            if not stat.S_ISREG(mode) or not mode & 0o111:
                return "EACCES"
            with open(path, "rb") as file:
                lines = file.read(100).split(b"\n")
        except OSError as error:
            return errno.errorcode[error.errno]
        return lines[1].removeprefix(b"echo ") + b"\n" if lines[0] == b"#!/bin/sh" else "ENOEXEC"


class WorkingDirectory(Look):
    """Relative names in the directory of the first name, also when that is moved."""
    name = "cwd"

    def begin(self, top, names):
        return os.open(os.path.dirname(f"{top}/{names[0]}"), os.O_RDONLY | os.O_DIRECTORY)

    def see(self, top, names, kept):
        os.fchdir(kept)
        try:
            near = [os.path.basename(name) for name in names]
            return (*(_attributes_of(name) for name in near), *(_or_errno(_content, name) for name in near),
                    tuple(sorted(os.listdir("."))))
        finally:
            os.chdir("/")

    keeps = ("opendir", "releasedir", "open", "release", "read")

    def end(self, kept):
        os.close(kept)


LOOKS = (Stat(), Access(), OpenRead(), Pread(), Fstat(), Mapped(), Listdir(), Scandir(), Readlink(), Getxattr(), Exec(),
         WorkingDirectory())
