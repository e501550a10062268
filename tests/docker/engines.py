#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docker-compose with a service that reloads and a database, user namespaces of dockerd, and Podman."""
import glob
import os
import subprocess

from lib import Pair, case, program, run, skip, wait_for, world
from lib.container import BUSYBOX, RUNTIMES, make_rootfs, missing
from lib.docker import copy_with_libraries, docker_pair

COMPOSE = """
version: "2.4"
services:
  web:
    image: box
    network_mode: none
    container_name: web
    volumes:
      - ./app:/src:cached
    command:
      - sh
      - -c
      - 'while :; do now=$$(cat /src/main 2>/dev/null);
         [ "$$now" = "$$last" ] || echo "loaded $$now"; last=$$now; sleep 0.1; done'
  db:
    image: postgres
    network_mode: none
    container_name: db
    volumes:
      - {base}/data:/data
"""
# As the images of databases do it: root chowns the directory, then drops to the database's user.
ENTRY = """#!/bin/sh
set -e
[ -d /data/pg ] || { mkdir /data/pg; chown 999:999 /data/pg; chmod 700 /data/pg; }
drop="/usr/bin/setpriv --reuid=999 --regid=999 --clear-groups"
[ -f /data/pg/PG_VERSION ] || $drop initdb -D /data/pg -A trust -E UTF8 --locale=C -U postgres
exec $drop postgres -D /data/pg -k /tmp -c listen_addresses= -c dynamic_shared_memory_type=mmap
"""


def _postgres_tree():
    versions = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    if not versions:
        skip("PostgreSQL is not installed")
    home = os.path.dirname(os.path.dirname(versions[-1]))
    tree = make_rootfs(os.path.join(world.case_directory("image"), "tree"))
    copy_with_libraries(tree, *(f"{home}/bin/{name}" for name in ("postgres", "initdb", "psql")), "/usr/bin/setpriv",
                        *glob.glob(f"{home}/lib/dict_snowball.so"), *glob.glob(f"{home}/lib/plpgsql.so"))
    share = f"/usr/share/postgresql/{os.path.basename(home)}"
    os.makedirs(tree + os.path.dirname(share))
    subprocess.run(["cp", "-a", share, tree + share], check=True)
    for name in ("postgres", "initdb", "psql"):
        os.symlink(f"{home}/bin/{name}", f"{tree}/bin/{name}")
    for name, text in (("passwd", "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/:/bin/sh\n"),
                       ("group", "root:x:0:\npostgres:x:999:\n")):
        world.write_file(f"{tree}/etc/{name}", text, owner=(0, 0))
    world.write_file(f"{tree}/entry", ENTRY, 0o755, (0, 0))
    os.chmod(f"{tree}/tmp", 0o1777)
    return tree


@case
def a_project_with_a_database_and_a_service_that_reloads():
    reason = missing("docker-compose")
    if reason:
        skip(reason)
    pair = docker_pair("project")
    pair.engine.load("postgres", _postgres_tree(), 'ENTRYPOINT ["/entry"]')
    for name in ("app", "data"):
        pair.make(f"project/{name}")
    file = pair.fill("project/compose.yml", COMPOSE.replace("{base}", pair.host("project")))
    pair.fill("project/app/main", "one")
    # The command runs where the engine's client does: in the guest, by the shares' own paths.
    pair.engine.compose(file, "up", "-d")

    def logs(name):
        return pair.engine.run("logs", name)
    wait_for(lambda: "loaded one" in logs("web"), "the service has started")
    for content in ("two", "three"):
        pair.fill("project/app/main.new", content)
        os.rename(pair.host("project/app/main.new"), pair.host("project/app/main"))
        wait_for(lambda content=content: f"loaded {content}" in logs("web"), "it reloads")

    def sql(text):
        done = pair.engine.try_run("exec", "-u", "999:999", "db", "psql", "-h", "/tmp", "-U", "postgres", "-Atc", text)
        return done.stdout.strip() if done.returncode == 0 else None
    wait_for(lambda: sql("select 1") == "1" or not pair.engine.run("ps", "-q", "--filter", "name=db"),
             "the database is up", 90, 0.5)
    done = pair.engine.try_run("logs", "db")
    assert sql("select 1") == "1", done.stdout[-2000:] + done.stderr[-2000:]
    sql("create table t as select generate_series(1, 20000) as n")
    assert sql("select sum(n) from t") == "200010000"
    for how in ("kill", "restart"):
        if how == "kill":
            pair.engine.run("kill", "db")
        pair.engine.compose(file, "restart", "db")
        wait_for(lambda: sql("select sum(n) from t") == "200010000", f"the data is there after {how}", 90, 0.5)
        sql("insert into t values (0)")
    assert os.stat(pair.host("project/data/pg/PG_VERSION")).st_uid == world.UID
    pair.engine.compose(file, "down", "-t", "3")
    pair.engine.stop()
    pair.end()


@case
def user_namespaces_of_the_engine():
    for name in ("subuid", "subgid"):
        if not os.path.exists(f"/etc/{name}"):
            skip(f"there is no /etc/{name}")
        # This namespace's own.
        own = world.write_file(os.path.join(world.case_directory("etc"), name), "daemon:100000:65536\n", owner=(0, 0))
        subprocess.run(["mount", "--bind", own, f"/etc/{name}"], check=True)
    pair = docker_pair("proj", **{"userns-remap": "daemon"})
    pair.fill("proj/file", b"content")
    script = "stat -c %u:%g /src/file && echo x >/src/$0 && stat -c %u:%g /src/$0"
    for number, (arguments, owner) in enumerate((((), "0:0"), (("-u", "1000:1000"), "1000:1000"))):
        text = pair.engine.run("run", "--rm", *arguments, "-v", f"{pair.host('proj')}:/src", "box", "sh", "-c", script,
                               f"new{number}")
        assert text.split() == [owner, owner], (arguments, text)
        assert os.stat(pair.host(f"proj/new{number}")).st_uid == world.UID
    # A directory that is not there is made, for the containers' root.
    made = pair.host("proj/new/deep")
    for _ in range(2):
        text = pair.engine.run("run", "--rm", "-v", f"{made}:/src", "box", "sh", "-c",
                               "echo x >/src/file && stat -c %u:%g /src /src/file")
        assert text.split() == ["0:0", "0:0"], text
        assert os.stat(made).st_uid == os.stat(f"{made}/file").st_uid == world.UID
    done = pair.engine.try_run("run", "--rm", "-v", "/etc:/x", "box", "true")
    assert done.returncode != 0 and "Mounts denied: The path /etc is not shared" in done.stderr, done.stderr
    pair.engine.stop()
    pair.end()


@case
def podman_works_the_same_way():
    reason = missing(BUSYBOX, "podman", "conmon", *RUNTIMES)
    if reason:
        skip(reason)
    pair = Pair("proj", "ro:ro")
    proj = pair.host("proj")
    pair.fill("proj/file", b"content")
    place = world.case_directory("podman")
    tree = make_rootfs(os.path.join(place, "tree"))
    pair.guest.do("umount", "-l", "/sys/fs/cgroup/unified", check=False)
    command = ["podman", "--root", f"{place}/root", "--runroot", "/run/bindshare-podman", "--tmpdir", f"{place}/tmp",
               "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
               "--runtime", program("bindshare-runtime"), "run", "--rm", "--network", "none"]
    for runtime in RUNTIMES:
        pair.guest.config.update(guestPaths=["/run", "/proc", "/sys", "/dev", "/usr/share/containers", place],
                                 runtime=subprocess.run(["which", runtime], capture_output=True, text=True,
                                                        check=True).stdout.strip())
        pair.guest.write_config()
        # Podman ends a container in a process of its own, which knows of no flags: the file is where it belongs.
        own = f"{place}/etc"
        pair.guest.do("sh", "-c", "umount -l /etc; "
                      f"rm -rf --one-file-system {own}; cp -a /etc {own} && mkdir {own}/bindshare &&"
                      f" cp {pair.guest.config_file} {own}/bindshare/ && mount --bind {own} /etc")

        def podman(*arguments, words=("cat", "/src/file")):
            return pair.guest.do(*command, *arguments, "--rootfs", tree, *words, check=False, timeout=120)
        for arguments in (("-v", f"{proj}:/src"), ("-v", f"{proj}:/src:ro"),
                          ("--mount", f"type=bind,source={proj},target=/src"), ("-v", f"{proj}/file:/src/file"),
                          ("-u", "1000", "-v", f"{proj}:/src")):
            done = podman(*arguments)
            assert done.returncode == 0 and done.stdout == "content", (runtime, arguments, done.stdout, done.stderr)
        done = podman("-u", "1000:1000", "-v", f"{proj}:/src", words=("sh", "-c", "touch /src/n; stat -c %u:%g /src/n"))
        assert done.stdout == "1000:1000\n", done
        assert os.stat(pair.host("proj/n")).st_uid == world.UID
        os.unlink(pair.host("proj/n"))
        done = podman("-v", f"{pair.host('ro')}:/src", words=("touch", "/src/x"))
        assert done.returncode == 1 and "Read-only" in done.stderr, done
        done = podman("-v", "/etc:/src")
        assert done.returncode != 0 and "Mounts denied: The path /etc is not shared from the host" in done.stderr, done
    binds = pair.guest.path(os.path.join(pair.guest.run, "binds"))
    wait_for(lambda: not os.listdir(binds), f"every clone is undone: {os.listdir(binds)}")
    pair.end()


run(400)
