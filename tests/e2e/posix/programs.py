#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Real programs on the mount; what they leave is compared on both sides, or with the same work on a local directory."""
import glob
import hashlib
import os
import pwd
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import zipfile

from lib import Rig, case, read_file, run, skip, wait_for, world, write_file

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin",
    "LANG": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@localhost",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@localhost",
}


def _need(*names):
    for name in names:
        if shutil.which(name, path=ENVIRONMENT["PATH"]) is None:
            skip(f"{name} is not installed")


def _do(*command, cwd=None, timeout=240, code=0, **environment):
    home = world.case_directory("home")
    done = subprocess.run(command, check=False, cwd=cwd, timeout=timeout, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**ENVIRONMENT, "HOME": home, **environment})
    assert done.returncode == code, (command, done.returncode, done.stdout[-3000:])
    return done.stdout


def _tree(top, without=(), times=False):
    """What is in a directory, by relative name: type, permission bits, content or target."""
    found = {}
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if name not in without]
        for name in names + files:
            path = os.path.join(directory, name)
            st = os.lstat(path)
            entry = [stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode)]
            if stat.S_ISREG(st.st_mode):
                entry += [st.st_size, hashlib.sha256(read_file(path)).hexdigest()]
                if times:
                    entry.append(st.st_mtime_ns)
            elif stat.S_ISLNK(st.st_mode):
                entry = [stat.S_IFMT(st.st_mode), os.readlink(path)]
            found[os.path.relpath(path, top)] = entry
    return found


def _same(left, right, **more):
    one, two = _tree(left, **more), _tree(right, **more)
    assert one, f"{left} is empty"
    for name in sorted(set(one) | set(two)):
        assert one.get(name) == two.get(name), (name, one.get(name), two.get(name))


def _sources(where, directories=12, files=25):
    """A tree of small files, executables, links and empty directories."""
    for number in range(directories):
        directory = os.path.join(where, f"d{number % 5}", f"sub{number}")
        os.makedirs(directory)
        for index in range(files):
            text = f"/* {number} {index} */\n" * (1 + (number * 31 + index * 17) % 200)
            write_file(os.path.join(directory, f"file{index}.c"), text, owner=(0, 0))
        os.chmod(os.path.join(directory, "file0.c"), 0o755)
        os.symlink("file1.c", os.path.join(directory, "link"))
    os.makedirs(os.path.join(where, "empty", "deep"))


@case
def git_clones_commits_rebases_packs_and_checks():
    _need("git")
    rig = Rig()
    local = world.case_directory("local")
    _sources(local)
    _do("git", "init", "-q", "-b", "main", local)
    _do("git", "add", "-A", cwd=local)
    _do("git", "commit", "-q", "-m", "first", cwd=local)
    clone = rig.guest("clone")
    _do("git", "clone", "-q", local, clone)
    _same(local, clone, without=(".git", "empty"))
    _do("git", "checkout", "-q", "-b", "topic", cwd=clone)
    for number in range(10):
        write_file(os.path.join(clone, f"new{number}"), f"{number}\n", owner=(0, 0))
        _do("git", "add", "-A", cwd=clone)
        _do("git", "commit", "-q", "-m", f"topic {number}", cwd=clone)
    _do("git", "checkout", "-q", "main", cwd=clone)
    write_file(os.path.join(clone, "other"), "x\n", owner=(0, 0))
    _do("git", "add", "-A", cwd=clone)
    _do("git", "commit", "-q", "-m", "other", cwd=clone)
    _do("git", "rebase", "-q", "main", "topic", cwd=clone)
    assert sorted(n for n in os.listdir(clone) if n.startswith("new")) == [f"new{n}" for n in range(10)]
    _do("git", "gc", "-q", "--prune=now", cwd=clone)
    _do("git", "fsck", "--full", "--strict", cwd=clone)
    assert _do("git", "status", "--porcelain", cwd=clone) == b""
    _do("git", "-c", "safe.directory=*", "fsck", "--full", cwd=rig.host("clone"))
    assert _do("git", "-c", "safe.directory=*", "-c", "core.fileMode=true", "status", "--porcelain",
               cwd=rig.host("clone")) == b""
    rig.end()


@case
def tar_unpacks_and_packs_the_same():
    rig = Rig()
    local = world.case_directory("local")
    source = os.path.join(local, "tree")
    os.mkdir(source)
    _sources(source)
    archive = os.path.join(local, "a.tar")
    _do("tar", "--format=posix", "-cf", archive, "-C", source, ".")
    os.mkdir(rig.guest("out"))
    _do("tar", "xpf", archive, "-C", rig.guest("out"))
    _same(source, rig.guest("out"), times=True)
    _same(source, rig.host("out"), times=True)
    _do("tar", "df", archive, "-C", rig.guest("out"))
    again = os.path.join(local, "b.tar")
    _do("tar", "--format=posix", "-cf", again, "-C", rig.guest("out"), ".")
    os.mkdir(os.path.join(local, "back"))
    _do("tar", "xpf", again, "-C", os.path.join(local, "back"))
    _same(source, os.path.join(local, "back"), times=True)
    shutil.rmtree(rig.guest("out"))
    assert os.listdir(rig.host()) == []
    rig.end()


@case
def rsync_copies_both_ways_with_checksums():
    _need("rsync")
    rig = Rig()
    local = world.case_directory("local")
    source, back = os.path.join(local, "tree"), os.path.join(local, "back")
    os.mkdir(source)
    _sources(source)
    _do("rsync", "-aHX", source + "/", rig.guest("out/"))
    _same(source, rig.host("out"), times=True)
    assert _do("rsync", "-aHXnic", "--delete", source + "/", rig.guest("out/")) == b""
    write_file(os.path.join(source, "d0", "changed"), "new", owner=(0, 0))
    shutil.rmtree(os.path.join(source, "d1"))
    _do("rsync", "-aHX", "--delete", source + "/", rig.guest("out/"))
    _do("rsync", "-aHX", rig.guest("out/"), back)
    _same(source, back, times=True)
    rig.end()


_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute("pragma busy_timeout=60000")
for n in range(int(sys.argv[3])):
    db.execute("begin immediate")
    db.execute("insert into t values (?, ?, ?)", (sys.argv[2], n, "x" * 500))
    db.execute("commit")
    print(n, flush=True)
"""


def _writer(path, name, count):
    return subprocess.Popen([sys.executable, "-c", _WRITER, path, name, str(count)], stdout=subprocess.PIPE,
                            stdin=subprocess.DEVNULL)


def _sqlite(journal):
    rig = Rig()
    path = rig.guest("db")
    database = sqlite3.connect(path, timeout=60)
    mode = database.execute(f"pragma journal_mode={journal}").fetchone()[0]
    assert mode == journal, mode
    database.execute("create table t (who, n, text)")
    database.commit()
    database.close()
    writers = [_writer(path, "a", 150), _writer(path, "b", 150), _writer(path, "killed", 100000)]
    for _ in range(20):
        writers[2].stdout.readline()
    writers[2].send_signal(signal.SIGKILL)
    told = 20 + writers[2].communicate()[0].count(b"\n")
    for writer in writers[:2]:
        assert writer.communicate(timeout=120)[0].count(b"\n") == 150 and writer.returncode == 0
    database = sqlite3.connect(path, timeout=60)
    assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
    rows = dict(database.execute("select who, count(*) from t group by who"))
    assert rows["a"] == rows["b"] == 150, rows
    assert told <= rows["killed"] <= told + 1, (rows, told)
    database.close()
    rig.end()
    copy = os.path.join(world.case_directory("copy"), "db")
    for name in glob.glob(rig.host("db*")):
        shutil.copy(name, os.path.join(os.path.dirname(copy), os.path.basename(name)))
    database = sqlite3.connect(copy)
    assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
    assert dict(database.execute("select who, count(*) from t group by who")) == rows
    database.close()


@case
def sqlite_with_a_rollback_journal_two_writers_and_one_killed():
    _sqlite("delete")


@case
def sqlite_with_a_write_ahead_log_two_writers_and_one_killed():
    _sqlite("wal")


@case
def postgres_keeps_its_data_directory_on_the_mount():
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not binaries:
        skip("postgresql is not installed")
    path = binaries[-1]
    # postgres refuses to be root, and wants a user that has a name.
    user = pwd.getpwnam("nobody")
    rig = Rig(f"uid={user.pw_uid}", f"gid={user.pw_gid}")
    data, sockets = rig.guest("data"), world.case_directory("sockets")
    os.chown(sockets, user.pw_uid, user.pw_gid)
    os.chmod(os.path.dirname(sockets), 0o755)

    def postgres(*command, timeout=240):
        return _do("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *command, cwd="/",
                   timeout=timeout)

    os.mkdir(data, 0o700)
    os.chown(data, user.pw_uid, user.pw_gid)
    postgres(f"{path}/initdb", "-D", data, "-A", "trust", "-U", "tester")
    postgres(f"{path}/pg_ctl", "-D", data, "-w", "-l", f"{sockets}/log", "-o",
             f"-c listen_addresses='' -k {sockets} -c shared_buffers=16MB", "start")
    try:
        connection = ["-h", sockets, "-U", "tester"]
        postgres(f"{path}/createdb", *connection, "bench")
        postgres(f"{path}/pgbench", *connection, "-i", "-s", "2", "bench")
        postgres(f"{path}/pgbench", *connection, "-c", "4", "-j", "2", "-t", "100", "bench")
        tellers = postgres(f"{path}/psql", *connection, "-Atc", "select count(*) from pgbench_history", "bench")
        assert tellers.strip() == b"400", tellers
        sums = postgres(f"{path}/psql", *connection, "-Atc",
                        "select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from "
                        "pgbench_branches)", "bench")
        assert sums.strip() == b"t", sums
    finally:
        postgres(f"{path}/pg_ctl", "-D", data, "-w", "-m", "fast", "stop")
    assert os.path.exists(rig.host("data/PG_VERSION")) and not os.path.exists(rig.host("data/postmaster.pid"))
    rig.end()


def _mariadb(user, sockets, *arguments, code=0):
    return _do("mariadb", "--no-defaults", "-u", user.pw_name, "-S", f"{sockets}/s", "-N", "-e", *arguments, code=code)


@case
def mariadb_survives_a_kill_with_its_data_directory_on_the_mount():
    _need("mariadbd", "mariadb-install-db", "mariadb")
    user = pwd.getpwnam("nobody")
    rig = Rig(f"uid={user.pw_uid}", f"gid={user.pw_gid}")
    data, sockets = rig.guest("data"), world.case_directory("sockets")
    os.chown(sockets, user.pw_uid, user.pw_gid)
    os.mkdir(data, 0o700)
    os.chown(data, user.pw_uid, user.pw_gid)
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    _do(*become, "mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db",
        f"--auth-root-socket-user={user.pw_name}", cwd="/")

    def start():
        with open(f"{sockets}/log", "ab") as log:
            process = subprocess.Popen([*become, "mariadbd", "--no-defaults", f"--datadir={data}",
                                        f"--socket={sockets}/s", "--skip-networking", "--skip-grant-tables",
                                        f"--pid-file={sockets}/pid", "--innodb-buffer-pool-size=16M"], cwd="/",
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT)
        wait_for(lambda: process.poll() is None and os.path.exists(f"{sockets}/s"), "mariadbd listens", 60, 0.1)
        return process

    process = start()
    try:
        _mariadb(user, sockets, "create database d; create table d.t (n int primary key, text varchar(500)) "
                 "engine=innodb")
        for first in range(0, 2000, 200):
            rows = ",".join(f"({n}, repeat('x', 400))" for n in range(first, first + 200))
            _mariadb(user, sockets, f"insert into d.t values {rows}")
        process.kill()
        process.wait()
        os.unlink(f"{sockets}/s")
        process = start()
        assert _mariadb(user, sockets, "select count(*), sum(n) from d.t").split() == [b"2000", b"1999000"]
        assert b"OK" in _mariadb(user, sockets, "check table d.t extended")
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert os.path.getsize(rig.host("data/ibdata1")) > 0
    rig.end()


@case
def make_builds_a_project_in_parallel():
    _need("make", "gcc")
    rig = Rig()
    os.mkdir(rig.guest("project"))
    objects = []
    for number in range(30):
        write_file(rig.guest(f"project/part{number}.c"), f"int part{number}(void) {{ return {number}; }}\n",
                   owner=(0, 0))
        objects.append(f"part{number}.o")
    calls = " + ".join(f"part{n}()" for n in range(30))
    heads = "".join(f"int part{n}(void);\n" for n in range(30))
    write_file(rig.guest("project/main.c"),
               f"#include <stdio.h>\n{heads}int main(void) {{ printf(\"%d\\n\", {calls}); return 0; }}\n", owner=(0, 0))
    write_file(rig.guest("project/Makefile"),
               f"program: main.o {' '.join(objects)}\n\t$(CC) -o $@ $^\n%.o: %.c\n\t$(CC) -c -o $@ $<\n", owner=(0, 0))
    _do("make", "-s", "-j4", cwd=rig.guest("project"))
    assert _do(rig.guest("project/program")) == b"435\n"
    assert b"up to date" in _do("make", cwd=rig.guest("project"))
    time.sleep(0.01)
    write_file(rig.guest("project/part3.c"), "int part3(void) { return 1003; }\n", owner=(0, 0))
    assert _do("make", cwd=rig.guest("project")).count(b"-c -o") == 1
    assert _do(rig.guest("project/program")) == b"1435\n"
    rig.end()


@case
def go_builds_with_its_caches_on_the_mount():
    _need("go")
    rig = Rig()
    os.mkdir(rig.guest("app"))
    write_file(rig.guest("app/go.mod"), "module example\n\ngo 1.16\n", owner=(0, 0))
    write_file(rig.guest("app/main.go"),
               "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"built\") }\n", owner=(0, 0))
    environment = {"GOCACHE": rig.guest("cache"), "GOMODCACHE": rig.guest("mod"), "GOFLAGS": "-mod=mod",
                   "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    _do("go", "build", "-o", "program", ".", cwd=rig.guest("app"), **environment)
    assert _do(rig.guest("app/program")) == b"built\n"
    _do("go", "vet", ".", cwd=rig.guest("app"), **environment)
    _do("go", "clean", "-cache", "-modcache", cwd=rig.guest("app"), **environment)
    rig.end()


@case
def python_makes_a_virtual_environment():
    done = subprocess.run([sys.executable, "-c", "import ensurepip"], check=False, capture_output=True)
    rig = Rig()
    pip = [] if done.returncode == 0 else ["--without-pip"]
    _do(sys.executable, "-m", "venv", *pip, rig.guest("venv"), timeout=300)
    text = _do(rig.guest("venv/bin/python"), "-c", "import sys, json; print(sys.prefix)")
    assert text.decode().strip() == rig.guest("venv")
    if not pip:
        wheel = os.path.join(world.case_directory("wheel"), "probe-1.0-py3-none-any.whl")
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr("probe/__init__.py", "value = 42\n")
            file.writestr("probe-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n")
            file.writestr("probe-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            file.writestr("probe-1.0.dist-info/RECORD", "")
        _do(rig.guest("venv/bin/pip"), "install", "--no-index", "--disable-pip-version-check", wheel)
        assert _do(rig.guest("venv/bin/python"), "-c", "import probe; print(probe.value)") == b"42\n"
        _do(rig.guest("venv/bin/pip"), "uninstall", "-y", "--disable-pip-version-check", "probe")
        assert not glob.glob(rig.host("venv/lib/*/site-packages/probe"))
    rig.end()


@case
def npm_installs_the_same_as_on_a_local_directory():
    _need("npm", "node")
    rig = Rig()
    local = world.case_directory("local")
    packages = []
    for number in range(40):
        package = os.path.join(local, f"package{number}")
        os.makedirs(os.path.join(package, "lib", "deep"))
        write_file(os.path.join(package, "package.json"),
                   f'{{"name": "package{number}", "version": "1.0.0", "bin": "run.js"}}', owner=(0, 0))
        write_file(os.path.join(package, "run.js"), f"#!/usr/bin/env node\nconsole.log({number})\n", owner=(0, 0))
        for index in range(10):
            write_file(os.path.join(package, "lib", "deep", f"{index}.js"), f"// {index}\n" * 50, owner=(0, 0))
        packages.append(_do("npm", "pack", "--silent", package, cwd=local, timeout=120).decode().split()[-1])
    files = [os.path.join(local, name) for name in packages]
    for where in (rig.guest("app"), os.path.join(local, "app")):
        os.mkdir(where)
        write_file(os.path.join(where, "package.json"), '{"name": "app", "version": "1.0.0"}', owner=(0, 0))
        shutil.copytree(local, os.path.join(where, "tgz"), ignore=lambda d, names: [n for n in names
                                                                               if not n.endswith(".tgz")])
        _do("npm", "install", "--offline", "--no-audit", "--no-fund",
            *[f"./tgz/{os.path.basename(name)}" for name in files], cwd=where, timeout=300)
    _same(os.path.join(local, "app"), rig.guest("app"))
    _same(os.path.join(local, "app"), rig.host("app"))
    assert _do(rig.guest("app/node_modules/.bin/package7")) == b"7\n"
    shutil.rmtree(rig.guest("app/node_modules"))
    assert not os.path.exists(rig.host("app/node_modules"))
    rig.end()


@case
def vim_saves_atomically_and_in_place():
    _need("vim")
    rig = Rig()
    for name, setting in (("renamed", "backupcopy=no"), ("inplace", "backupcopy=yes")):
        rig.fill(name, "one\n")
        inode = os.stat(rig.guest(name)).st_ino
        _do("vim", "-u", "NONE", "-N", "-es", "-c", f"set {setting} backup backupdir=.", "-c", "normal otwo",
            "-c", "wq", rig.guest(name), cwd=rig.guest())
        assert read_file(rig.guest(name)) == b"one\ntwo\n" == read_file(rig.host(name))
        assert read_file(rig.host(name + "~")) == b"one\n"
        assert (os.stat(rig.guest(name)).st_ino == inode) == (name == "inplace")
    rig.end()


@case
def cp_keeps_holes_modes_and_times():
    rig = Rig()
    local = os.path.join(world.case_directory("local"), "sparse")
    with open(local, "wb") as file:
        file.truncate(64 << 20)
        for offset in (0, 10 << 20, (64 << 20) - 4096):
            file.seek(offset)
            file.write(os.urandom(4096))
    os.chmod(local, 0o444)
    os.utime(local, ns=(10**18 + 1, 10**18 + 2))
    _do("cp", "-a", "--sparse=always", local, rig.guest("sparse"))
    _do("cp", "-a", "--sparse=auto", rig.guest("sparse"), rig.guest("again"))
    _do("cp", "--reflink=never", rig.guest("sparse"), local + ".back")
    digest = hashlib.sha256(read_file(local)).digest()
    for path in (rig.guest("sparse"), rig.host("sparse"), rig.guest("again"), rig.host("again"), local + ".back"):
        assert hashlib.sha256(read_file(path)).digest() == digest, path
    for name in ("sparse", "again"):
        for st in (os.stat(rig.guest(name)), os.stat(rig.host(name))):
            assert st.st_mode & 0o777 == 0o444 and st.st_mtime_ns == 10**18 + 2
            assert st.st_blocks * 512 < 4 << 20, st.st_blocks
    rig.end()


@case
def ripgrep_and_find_see_every_file():
    _need("rg")
    rig = Rig()
    os.mkdir(rig.guest("tree"))
    _sources(rig.guest("tree"))
    write_file(rig.guest("tree/d2/needle"), "the needle is here\n", owner=(0, 0))
    found = _do("rg", "-l", "--no-ignore", "needle is", rig.guest("tree"))
    assert found.decode().split() == [rig.guest("tree/d2/needle")]
    assert len(_do("rg", "--files", "--no-ignore", rig.guest("tree")).splitlines()) == 12 * 25 + 1
    assert len(_do("find", rig.guest("tree"), "-type", "f").splitlines()) == 12 * 25 + 1
    rig.end()


@case
def inotifywait_sees_what_the_guest_does():
    _need("inotifywait")
    rig = Rig()
    out = os.path.join(world.case_directory("out"), "events")
    with open(out, "wb") as file:
        process = subprocess.Popen(["inotifywait", "-q", "-m", "--format", "%e %f", rig.guest()], stdout=file,
                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        def touched():
            write_file(rig.guest("probe"), "x", owner=(0, 0))
            return read_file(out)
        wait_for(touched, "the watch is in place", 10, 0.1)
        write_file(rig.guest("file"), "x", owner=(0, 0))
        os.rename(rig.guest("file"), rig.guest("moved"))
        os.unlink(rig.guest("moved"))
        for event in (b"CREATE file", b"CLOSE_WRITE,CLOSE file", b"MOVED_FROM file", b"MOVED_TO moved",
                      b"DELETE moved"):
            wait_for(lambda wanted=event: wanted in read_file(out), event.decode())
    finally:
        process.kill()
        process.wait()
    rig.end()


run(900)
