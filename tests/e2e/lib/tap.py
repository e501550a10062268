# SPDX-License-Identifier: Apache-2.0
"""Cases and their TAP lines. A case is a function whose name is a sentence; run() runs those of one file."""
import errno
import os
import re
import sys
import time
import traceback

from . import world
from .common import namespace

LONG = 5  # seconds; relay() says which cases take longer

_cases = []


class Skip(Exception):
    """The case cannot run here; the text says why."""


def skip(reason):
    raise Skip(reason)


def case(function):
    """Marks a function without arguments as a case. Order of definition is order of running."""
    _cases.append(function)
    return function


def expect_errno(number, function, *arguments, **more):
    """Calls the function, which must fail with this errno (or one of a tuple of them)."""
    numbers = number if isinstance(number, tuple) else (number,)
    names = " or ".join(errno.errorcode[n] for n in numbers)
    try:
        result = function(*arguments, **more)
    except OSError as error:
        got = errno.errorcode.get(error.errno, error.errno)
        assert error.errno in numbers, f"{function.__name__}{arguments}: {got} instead of {names}"
        return
    raise AssertionError(f"{function.__name__}{arguments}: returned {result!r} instead of {names}")


def wait_for(condition, what, seconds=10.0, step=0.02):
    """Waits until condition() is true and returns its value; fails with what after seconds."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(step)


def _comment(text):
    for line in text.rstrip("\n").split("\n"):
        print("# " + line, flush=True)


def _run_one(number, function):
    name = function.__name__.replace("_", " ")
    print(f"# running: {name}", flush=True)
    try:
        function()
        problem = world.findings()
        assert not problem, "a sanitizer or valgrind found:\n" + problem
        print(f"ok {number} - {name}", flush=True)
        return True
    except Skip as reason:
        print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        return True
    except Exception:  # the next case must run whatever this one raised
        print(f"not ok {number} - {name}")
        _comment(traceback.format_exc())
        _comment(world.logs())
        sys.stdout.flush()
        return False
    finally:
        world.clean_case()


def _run_cases():
    good = True
    for number, function in enumerate(_cases, 1):
        good = _run_one(number, function) and good
    return 0 if good else 1


def relay(suites, run_suite):
    """
    Runs files of cases elsewhere: run_suite(suite) gives a file's TAP lines as they come, which are told on with a
    number of their own and the file's name before theirs. A suite is that name, perhaps with ":" and words behind it.
    A file that ends without what it had planned has failed.
    """
    good, number = True, 0
    for suite in suites:
        planned, count, label = 0, 0, suite.partition(":")[0]
        problem, begin = None, time.monotonic()
        last = begin
        try:
            for line in run_suite(suite):
                plan = re.match(r"1\.\.(\d+)\s*(# SKIP .*)?$", line)
                result = re.match(r"(ok|not ok) \d+ - (.*)", line)
                if plan:
                    planned = int(plan[1])
                    problem = f"runs nothing: {plan[2]}" if planned == 0 else None
                elif result:
                    count, number, good = count + 1, number + 1, good and result[1] == "ok"
                    print(f"{result[1]} {number} - {label}: {result[2]}", flush=True)
                    now = time.monotonic()
                    if now - last > LONG:
                        _comment(f"this took {now - last:.0f} s")
                    last = now
                else:
                    _comment(line.removeprefix("# "))
        except Exception as error:  # the next file must run whatever this one raised
            problem = str(error)
        _comment(f"{label} took {time.monotonic() - begin:.0f} s")
        if problem or count < planned or planned == 0:
            good, number = False, number + 1
            print(f"not ok {number} - {label} runs to its end")
            _comment(problem or f"{count} of {planned} cases")
    print(f"1..{number}", flush=True)
    return 0 if good else 1


def run(timeout=120, aside=False):
    """The last line of a case file. Runs all cases in a private world, aside from all others'; never returns."""
    timeout *= int(os.environ.get("BINDSHARE_TIME_FACTOR", "1"))
    wanted = sys.argv[1:]
    if wanted and os.environ.get(world.INSIDE) is None:
        os.environ["BINDSHARE_CASES"] = "\n".join(wanted)
    chosen = os.environ.get("BINDSHARE_CASES", "").split()
    if chosen:
        _cases[:] = [f for f in _cases if any(word in f.__name__ for word in chosen)]
    reason = namespace.missing()
    if reason:
        print(f"1..0 # SKIP {reason}")
        sys.exit(0)
    world.enter(timeout)
    if aside:
        world.settle_aside()
    print(f"1..{len(_cases)}", flush=True)
    world.supervise(_run_cases, timeout)


def run_function(function, timeout):
    """As run(), for a file that tells its cases' results itself."""
    reason = namespace.missing()
    if reason:
        print(f"1..0 # SKIP {reason}")
        sys.exit(0)
    world.enter(timeout)

    def guarded():
        try:
            return function()
        except Exception as error:  # it would be lost with the process
            _comment(traceback.format_exc())
            _comment(world.logs())
            print(f"Bail out! {error}".replace("\n", " "), flush=True)
            return 1

    world.supervise(guarded, timeout)
