# SPDX-License-Identifier: Apache-2.0
"""
A private world for one file of cases: its own mount and PID namespace and its own work directory.

Whatever happens, a failed case, a time limit or SIGKILL from the test runner, no mount and no process stays: they end
with the namespaces. The file server runs in it as an ordinary user (a numeric id is enough, no account is needed).
"""
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from .common import namespace, process

UID = int(os.environ.get("BINDSHARE_TEST_UID", "65534"))
GID = int(os.environ.get("BINDSHARE_TEST_GID", "65534"))
# Each folder of cases has a link to this one.
BUILD = os.environ.get("BINDSHARE_BUILD") or os.path.join(
    os.path.dirname(os.path.realpath(__file__)), "..", "..", "..", "build")
INSIDE = "BINDSHARE_E2E_INSIDE"  # set for the process within the namespaces: its work directory
PREFIX = "bindshare-e2e."

# In a virtual machine: the vsock port of the agent on the other side, and the directory that both sides see.
AGENT = int(os.environ.get("BINDSHARE_VM_AGENT", "0"))
SHARED = os.environ.get("BINDSHARE_VM_SHARED")

_cleanups = []
_counter = 0


# Options for every mount whose case does not set them itself, such as "permissions=host".
OPTIONS = os.environ.get("BINDSHARE_TEST_OPTIONS", "")


def more_options(given):
    """Those of BINDSHARE_TEST_OPTIONS that a case has not decided itself."""
    decided = {option.split("=")[0] for option in given}
    return [option for option in OPTIONS.split(",") if option and option.split("=")[0] not in decided]


def _base():
    return os.environ.get("BINDSHARE_TEST_DIR", "/var/tmp")


def enter(timeout):
    """Outside: runs this program again within new namespaces and exits as it does. Inside: returns."""
    if INSIDE in os.environ:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
        return
    if not SHARED:  # in a virtual machine they are another system's, where they live
        namespace.remove_stale(_base(), PREFIX)
    work = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}.", dir=_base())
    os.chmod(work, 0o755)
    child = None

    def stop(number, _frame):
        if child is not None:
            child.kill()
        namespace.remove_tree(work)
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    environment = dict(os.environ)
    environment[INSIDE] = work
    child = namespace.start([sys.executable, os.path.abspath(sys.argv[0])], environment)
    try:
        code = child.wait(timeout + 10)
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    namespace.remove_tree(work)
    sys.exit(code if code >= 0 else 128 - code)


def supervise(function, timeout):
    """As process 1 of the namespace: runs function in a child, reaps whatever ends, keeps the time. Never returns."""
    os.umask(0o022)
    os.makedirs(sanitizer_directory(), exist_ok=True)
    os.chmod(sanitizer_directory(), 0o1777)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = function()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(1)
        if pid == child:
            _last_findings()
            os._exit(os.waitstatus_to_exitcode(status) & 0xff)
        if pid == 0:
            time.sleep(0.01)
    print(f"# out of time after {timeout} s; where the processes wait:")
    for line in waiting():
        print("# " + line)
    print("# " + logs().replace("\n", "\n# "))
    print(f"Bail out! not finished within {timeout} s", flush=True)
    os._exit(1)


def _last_findings():
    """Reports that were written after the last case had ended, at the exit of a program that ended late."""
    problem = findings()
    if problem:
        print("# " + problem.replace("\n", "\n# "))
        print("Bail out! a sanitizer's finding after the last case", flush=True)


def waiting():
    """One line for each process here: pid, state, command, what it waits for in the kernel."""
    lines = []
    for path in sorted(glob.glob("/proc/[0-9]*/task/[0-9]*")):
        try:
            with open(path + "/stat", encoding="utf-8", errors="replace") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
            with open(path + "/comm", encoding="utf-8", errors="replace") as file:
                name = file.read().strip()
            with open(path + "/wchan", encoding="utf-8", errors="replace") as file:
                where = file.read().strip()
        except OSError:
            continue
        lines.append(f"{path.split('/')[2]}/{path.split('/')[4]} {state} {name} {where}")
    return lines


def work_directory():
    return os.environ[INSIDE]


def settle_aside():
    """Moves the work directory where no other test changes a directory on the way to it."""
    os.environ[INSIDE] = "/run/aside"
    os.mkdir(work_directory(), 0o755)


def sanitizer_directory():
    return os.path.join(work_directory(), "sanitizer")


def sanitizer_environment(faults=None):
    """The environment in which the programs run: sanitizers write where findings() looks. faults: BINDSHARE_FAULTS."""
    environment = dict(os.environ)
    report = os.path.join(sanitizer_directory(), "report")
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
        given = environment.get(name, "")
        more = f"log_path={report}:print_stacktrace=1"
        environment[name] = f"{given}:{more}" if given else more
    environment.pop("XDG_RUNTIME_DIR", None)
    if faults is not None:
        environment["BINDSHARE_FAULTS"] = faults
    return environment


# LeakSanitizer prints this about a thread that ends while it scans; it goes on with the others.
_NO_FINDING = re.compile(r"^==\d+==Unable to get registers from thread \d+\.\n", re.MULTILINE)


def findings():
    """What sanitizers have reported since the last call; empty when they found nothing."""
    text = ""
    for path in glob.glob(os.path.join(sanitizer_directory(), "report*")):
        with open(path, encoding="utf-8", errors="replace") as file:
            text += _NO_FINDING.sub("", file.read())
        os.unlink(path)
    return text


def logs():
    """The ends of all logs in the work directory."""
    text = ""
    for path in sorted(glob.glob(os.path.join(work_directory(), "*", "*.log")) +
                       glob.glob(os.path.join(SHARED or "/nonexistent", "*", "*", "*.log"))):
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()[-40:]
        text += "".join(f"{os.path.basename(path)}: {line}\n" for line in lines)
    return text


def case_directory(name):
    """A fresh directory for one rig of a case, reachable by everybody."""
    global _counter
    _counter += 1
    top = work_directory()
    if SHARED and name in ("host", "server"):
        top = os.path.join(SHARED, os.path.basename(top)[len(PREFIX):])
        os.makedirs(top, exist_ok=True)
    path = os.path.join(top, f"{_counter}-{name}")
    os.mkdir(path, 0o755)
    return path


def at_end(function):
    """Called when the case has ended, the last one first; what it raises is ignored."""
    _cleanups.append(function)


def keep():
    """What was to be ended with this case is ended with the file."""
    _cleanups.clear()


def clean_case():
    while _cleanups:
        try:
            _cleanups.pop()()
        except Exception as error:  # cleaning must go on
            print(f"# cleaning: {error}")


def kill(pid, number=signal.SIGKILL):
    """Sends a signal to a process that may have gone. SIGSTOP: returns when every thread of it has stopped."""
    try:
        os.kill(pid, number)
        # One thread takes the signal and stops the others: on a busy machine these go on until it runs.
        deadline = time.monotonic() + 10
        while number == signal.SIGSTOP and time.monotonic() < deadline:
            if all(re.search(r"^State:\t[TtZX]", text, re.MULTILINE) for text in process.threads(pid)):
                break
            time.sleep(0.001)
    except (FileNotFoundError, ProcessLookupError):
        pass


def write_file(path, content=b"", mode=0o644, owner=None):
    """Writes a file on the host as the serving user's (or owner's: (uid, gid))."""
    if isinstance(content, str):
        content = content.encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    os.chmod(path, mode)
    os.chown(path, *(owner or (UID, GID)))
    return path


def fill(path, count, text):
    """Empty files of the serving user, named by numbers."""
    for number in range(count):
        name = f"{path}/{text}{number:06}"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644))
        os.chown(name, UID, GID)
    return {}


def token_file(token):
    """A file with a token that root can give to a mount."""
    path = os.path.join(work_directory(), "token")
    return path if os.path.exists(path) else write_file(path, token + "\n", 0o600, (0, 0))


def has_sanitizer():
    """The programs were built with one, which takes far more memory. In a virtual machine nobody knows: False."""
    options = os.path.join(BUILD, "meson-info", "intro-buildoptions.json")
    if not os.path.exists(options):
        return False
    with open(options, encoding="utf-8") as file:
        return any(option["name"] == "b_sanitize" and option["value"] not in ("none", []) for option in json.load(file))


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def as_user(arguments, uid=UID, gid=GID, **more):
    """subprocess.run() as another user, without any capability."""
    return subprocess.run(arguments, user=uid, group=gid, extra_groups=[], timeout=30, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
