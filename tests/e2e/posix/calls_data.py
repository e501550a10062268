#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reading and writing in every way: vectors, splice, sendfile, copies, holes, mappings."""
import errno
import mmap
import os
import resource
import signal
import subprocess

from lib import TWINS, Twin, calls, case, read_file, run, wait_for

PAGE = 4096


def _open(directory, name, flags=os.O_CREAT | os.O_RDWR, mode=0o600):
    return os.open(os.path.join(directory, name), flags, mode)


def _write(directory, name, content):
    with open(os.path.join(directory, name), "wb") as file:
        file.write(content)


@case
def vectors_with_and_without_a_position():
    for server in TWINS:
        rig = Twin(server)

        def vectors(directory):
            descriptor = _open(directory, "file")
            values = [os.writev(descriptor, [b"one", b"", b"two" * 1000, b"x"]),
                      os.pwritev(descriptor, [b"AB", b"C"], 1),
                      os.pwritev(descriptor, [b"sync"], 5, os.RWF_SYNC),
                      os.pwritev(descriptor, [b"d"], 9, os.RWF_DSYNC),
                      os.pwritev(descriptor, [b"appended"], 0, os.RWF_APPEND), os.lseek(descriptor, 0, os.SEEK_CUR)]
            parts = [bytearray(2), bytearray(0), bytearray(5000)]
            values.append(os.preadv(descriptor, parts, 1))
            values.append([bytes(part) for part in parts])
            os.lseek(descriptor, 0, os.SEEK_SET)
            values.append(os.readv(descriptor, [bytearray(4), bytearray(4)]))
            values.append(os.preadv(descriptor, [bytearray(10)], 1_000_000))
            os.close(descriptor)
            return values

        rig.both(vectors)
        rig.same_tree()
        rig.end()


@case
def splice_sendfile_and_copy_file_range_move_the_bytes():
    content = os.urandom(1_300_000)
    for server in TWINS:
        rig = Twin(server)

        def move(directory):
            _write(directory, "from", content)
            source = _open(directory, "from")
            values = []
            target = _open(directory, "sent")
            done = 0
            while done < len(content):
                done += os.sendfile(target, source, done, len(content) - done)
            os.close(target)
            target = _open(directory, "spliced")
            read_end, write_end = os.pipe()
            os.lseek(source, 0, os.SEEK_SET)
            done = 0
            while done < len(content):
                n = os.splice(source, write_end, min(65536, len(content) - done))
                while n:
                    moved = os.splice(read_end, target, n)
                    n -= moved
                    done += moved
            os.close(target)
            for descriptor in (read_end, write_end):
                os.close(descriptor)
            target = _open(directory, "copied")
            done = 0
            while done < len(content):
                done += os.copy_file_range(source, target, len(content) - done, done, done)
            values.append(os.copy_file_range(source, target, 100, len(content)))
            values.append(os.copy_file_range(source, target, 5, 0, len(content) + 5))
            values.append(os.fstat(target).st_size)
            os.close(target)
            os.close(source)
            return values

        rig.both(move)
        for name in ("sent", "spliced"):
            assert read_file(rig.host(name)) == content, name
        assert read_file(rig.host("copied")) == content + b"\0" * 5 + content[:5]
        rig.same_tree()
        rig.end()


@case
def copies_refuse_what_a_local_directory_refuses():
    for server in TWINS:
        rig = Twin(server)
        for place in (rig.local(), rig.guest()):
            _write(place, "file", b"0123456789")
            _write(place, "to", b"")
            os.mkdir(os.path.join(place, "dir"))

        def copy(directory, reading, writing, *arguments):
            source, target = _open(directory, "file", reading), _open(directory, "to", writing)
            try:
                return os.copy_file_range(source, target, *arguments)
            finally:
                os.close(source)
                os.close(target)

        rig.same(copy, os.O_WRONLY, os.O_WRONLY, 5)
        rig.same(copy, os.O_RDONLY, os.O_RDONLY, 5)
        rig.same(copy, os.O_RDONLY, os.O_WRONLY | os.O_APPEND, 5)
        rig.same(copy, os.O_RDONLY, os.O_WRONLY, 5, 3, 2)

        def within(directory, *arguments):
            descriptor = _open(directory, "file")
            try:
                return os.copy_file_range(descriptor, descriptor, *arguments)
            finally:
                os.close(descriptor)

        rig.fails("EINVAL", within, 5, 0, 2)
        rig.both(within, 5, 0, 20)
        rig.same_tree()
        rig.end()


@case
def allocation_holes_and_zeroes():
    for server in TWINS:
        rig = Twin(server)

        def allocate(directory, mode, offset, length):
            descriptor = _open(directory, "file")
            try:
                os.pwrite(descriptor, b"a" * 16 * PAGE, 0)
                calls.fallocate(descriptor, mode, offset, length)
                os.fsync(descriptor)
                seen = os.fstat(descriptor)
                return seen.st_size, seen.st_blocks > 0, os.pread(descriptor, 1 << 20, 0)
            finally:
                os.close(descriptor)
                os.unlink(os.path.join(directory, "file"))

        punch = calls.FALLOC_PUNCH_HOLE | calls.FALLOC_KEEP_SIZE
        for mode in (0, calls.FALLOC_KEEP_SIZE, punch, calls.FALLOC_ZERO_RANGE,
                     calls.FALLOC_ZERO_RANGE | calls.FALLOC_KEEP_SIZE):
            for offset, length in ((0, PAGE), (PAGE, 2 * PAGE), (100, 10000), (15 * PAGE, 4 * PAGE),
                                   (20 * PAGE, PAGE)):
                rig.both(allocate, mode, offset, length)
        for mode, offset, length in ((0, 0, 0), (0, -1, PAGE), (0, 0, -1), (calls.FALLOC_PUNCH_HOLE, 0, PAGE),
                                     (0, (1 << 62), (1 << 62)), (1 << 15, 0, PAGE), (punch, 0, 0)):
            rig.same(allocate, mode, offset, length)

        def not_for_writing(directory):
            _write(directory, "reading", b"x")
            descriptor = _open(directory, "reading", os.O_RDONLY)
            try:
                calls.fallocate(descriptor, 0, 0, PAGE)
            finally:
                os.close(descriptor)

        rig.fails("EBADF", not_for_writing)

        def freed(directory):
            descriptor = _open(directory, "large")
            os.write(descriptor, b"x" * (1 << 20))
            os.fsync(descriptor)
            calls.fallocate(descriptor, punch, 0, 1 << 19)
            blocks = os.fstat(descriptor).st_blocks
            calls.fallocate(descriptor, calls.FALLOC_KEEP_SIZE, 1 << 20, 1 << 20)
            after = os.fstat(descriptor)
            os.close(descriptor)
            return blocks, after.st_blocks, after.st_size

        rig.both(freed)
        rig.end()


@case
def data_and_holes_are_found_where_they_are():
    for server in TWINS:
        rig = Twin(server)

        def look(directory):
            descriptor = _open(directory, "sparse")
            os.pwrite(descriptor, b"x" * PAGE, 256 * PAGE)
            os.pwrite(descriptor, b"y" * PAGE, 1024 * PAGE)
            os.ftruncate(descriptor, 2048 * PAGE)
            values = []
            for at in (0, PAGE, 256 * PAGE, 257 * PAGE, 1000 * PAGE, 1024 * PAGE + 5, 1025 * PAGE, 2048 * PAGE - 1,
                       2048 * PAGE, 2048 * PAGE + 1, -1):
                for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                    try:
                        values.append(os.lseek(descriptor, at, whence))
                    except OSError as error:
                        values.append(errno.errorcode[error.errno])
            values.append(os.lseek(descriptor, 0, os.SEEK_CUR))
            values.append(os.lseek(descriptor, -5, os.SEEK_END))
            values.append(os.fstat(descriptor).st_blocks)
            os.close(descriptor)
            return values

        rig.both(look)

        # What is written by mapping and not yet sent is data.
        def mapped(directory):
            descriptor = _open(directory, "mapped")
            os.ftruncate(descriptor, 64 * PAGE)
            with mmap.mmap(descriptor, 64 * PAGE) as view:
                view[32 * PAGE] = 1
                at = os.lseek(descriptor, 0, os.SEEK_DATA)
            os.close(descriptor)
            return at <= 32 * PAGE

        assert rig.both(mapped)
        rig.end()


@case
def shared_mappings_are_seen_by_everybody():
    for server in TWINS:
        rig = Twin(server)
        descriptor = _open(rig.guest(), "file")
        os.write(descriptor, b"a" * 3 * PAGE)
        with mmap.mmap(descriptor, 3 * PAGE) as view:
            view[PAGE:PAGE + 5] = b"12345"
            assert os.pread(descriptor, 5, PAGE) == b"12345"
            os.pwrite(descriptor, b"abc", 0)
            assert view[:3] == b"abc"
            view.flush()
            assert read_file(rig.host("file"))[PAGE:PAGE + 5] == b"12345"
            view[2 * PAGE] = ord("z")
        os.fsync(descriptor)
        assert read_file(rig.host("file"))[2 * PAGE:2 * PAGE + 1] == b"z"
        # A private mapping keeps its changes; a mapping outlives descriptor and name.
        with mmap.mmap(descriptor, PAGE, flags=mmap.MAP_PRIVATE) as private:
            private[:3] = b"xyz"
            assert read_file(rig.host("file"))[:3] == b"abc"
        with mmap.mmap(descriptor, 3 * PAGE) as view:
            os.link(rig.guest("file"), rig.guest("second"))
            os.close(descriptor)
            os.unlink(rig.guest("file"))
            view[0] = ord("Q")
        assert read_file(rig.guest("second"))[:3] == b"Qbc"
        rig.mount.unmount()
        assert read_file(rig.host("second"))[:3] == b"Qbc"
        rig.server.stop()


@case
def a_mapping_beyond_the_end_is_a_bus_error_and_no_more():
    rig = Twin()
    program = ("import mmap,os,sys\n"
               "d=os.open(sys.argv[1],os.O_CREAT|os.O_RDWR,0o600)\n"
               "os.ftruncate(d,8192)\n"
               "m=mmap.mmap(d,8192)\n"
               "os.ftruncate(d,4096)\n"
               "m[0]=1\n"
               "m[5000]\n")
    codes = [subprocess.run(["/usr/bin/python3", "-c", program, place("bus")], check=False).returncode
             for place in (rig.local, rig.guest)]
    assert codes == [-signal.SIGBUS, -signal.SIGBUS], codes
    assert read_file(rig.host("bus"))[0] == 1
    rig.end()


@case
def programs_and_libraries_run_from_the_mount():
    for server in TWINS:
        rig = Twin(server)
        subprocess.run(["cp", "/bin/echo", rig.guest("echo")], check=True)
        done = subprocess.run([rig.guest("echo"), "runs"], check=True, capture_output=True)
        assert done.stdout == b"runs\n"
        with open(rig.guest("script"), "w", encoding="ascii") as file:
            file.write("#!/bin/sh\necho \"script $1\"\n")
        os.chmod(rig.guest("script"), 0o755)
        done = subprocess.run([rig.guest("script"), "runs"], check=True, capture_output=True)
        assert done.stdout == b"script runs\n"
        descriptor = os.open(rig.guest("script"), os.O_RDONLY)
        done = subprocess.run([f"/proc/self/fd/{descriptor}"], check=True, capture_output=True, pass_fds=[descriptor])
        assert done.stdout == b"script \n"
        os.close(descriptor)

        def run_it(directory, mode):
            path = os.path.join(directory, "script")
            if not os.path.exists(path):
                _write(directory, "script", b"#!/bin/sh\nexit 3\n")
            os.chmod(path, mode)
            return subprocess.run([path], check=False, capture_output=True).returncode >= 0

        for mode in (0o755, 0o644, 0o000, 0o100, 0o001):
            rig.same(run_it, mode)

        def busy(directory):
            path = os.path.join(directory, "sleep")
            subprocess.run(["cp", "/bin/sleep", path], check=True)
            with subprocess.Popen([path, "60"]) as child:
                try:
                    # Opened each time: what is opened before the program has begun shows this one for ever.
                    wait_for(lambda: b"sleep" in read_file(f"/proc/{child.pid}/maps"), "the program runs")
                    values = []
                    for flags in (os.O_WRONLY, os.O_RDWR | os.O_TRUNC, os.O_RDONLY):
                        try:
                            os.close(os.open(path, flags))
                            values.append("opened")
                        except OSError as error:
                            values.append(errno.errorcode[error.errno])
                    try:
                        os.truncate(path, 0)
                    except OSError as error:
                        values.append(errno.errorcode[error.errno])
                finally:
                    child.kill()
            descriptor = os.open(path, os.O_WRONLY)
            try:
                subprocess.run([path, "0"], check=False)
            except OSError as error:
                values.append(errno.errorcode[error.errno])
            os.close(descriptor)
            return values

        assert rig.both(busy) == ["ETXTBSY", "ETXTBSY", "opened", "ETXTBSY", "ETXTBSY"]
        library = subprocess.run(["ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
        zlib = [line.split("=> ")[1] for line in library.split("\n") if "libz.so.1 " in line]
        if zlib:
            subprocess.run(["cp", zlib[0], rig.guest("libz.so.1")], check=True)
            subprocess.run(["/usr/bin/python3", "-c", "import ctypes,sys; l=ctypes.CDLL(sys.argv[1]); "
                            "assert l.zlibVersion", rig.guest("libz.so.1")], check=True)
        rig.end()


@case
def synchronising_calls_work_on_everything():
    for server in TWINS:
        rig = Twin(server)

        def sync(directory):
            descriptor = _open(directory, "file")
            os.write(descriptor, b"x")
            os.fsync(descriptor)
            os.fdatasync(descriptor)
            calls.syncfs(descriptor)
            reading = _open(directory, "file", os.O_RDONLY)
            os.fsync(reading)
            folder = os.open(directory, os.O_RDONLY)
            os.fsync(folder)
            os.fdatasync(folder)
            calls.syncfs(folder)
            os.unlink(os.path.join(directory, "file"))
            os.fsync(descriptor)
            for each in (descriptor, reading, folder):
                os.close(each)

        rig.both(sync)
        rig.end()


@case
def limits_of_a_files_size():
    for server in TWINS:
        rig = Twin(server)

        def large(directory):
            descriptor = _open(directory, "file")
            values = []
            for call in (lambda: os.pwrite(descriptor, b"x", (1 << 63) - 1),
                         lambda: os.ftruncate(descriptor, (1 << 63) - 1),
                         lambda: os.pwrite(descriptor, b"x", 1 << 50), lambda: os.ftruncate(descriptor, 1 << 50),
                         lambda: os.ftruncate(descriptor, -1), lambda: os.pread(descriptor, 1, -1),
                         lambda: os.pread(descriptor, 1, (1 << 63) - 1), lambda: os.lseek(descriptor, -1, 0),
                         lambda: os.pwrite(descriptor, b"x", 5 << 30), lambda: os.fstat(descriptor).st_size,
                         lambda: os.pread(descriptor, 9, (5 << 30) - 4)):
                try:
                    values.append(call())
                except OSError as error:
                    values.append(errno.errorcode[error.errno])
            os.close(descriptor)
            return values

        rig.both(large)

        def limited(directory):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
            descriptor = _open(directory, "limited")
            values = [os.write(descriptor, b"x" * 9000), os.write(descriptor, b"x" * 9000)]
            for call in (lambda: os.write(descriptor, b"x"), lambda: os.ftruncate(descriptor, 10001),
                         lambda: calls.fallocate(descriptor, 0, 0, 20000)):
                try:
                    values.append(call())
                except OSError as error:
                    values.append(errno.errorcode[error.errno])
            values.append(os.fstat(descriptor).st_size)
            return values

        def in_child(directory):
            return calls.as_ids(0, 0, limited, directory)

        assert rig.both(in_child) == [9000, 1000, "EFBIG", "EFBIG", "EFBIG", 10000]
        rig.end()


run()
