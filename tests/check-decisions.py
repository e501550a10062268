#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The index of docs/DECISIONS.md has each entry once, in brackets where a later one, which exists, overruled it."""
import collections
import re
import sys

PAGE = "docs/DECISIONS.md"


def entries(text):
    """{name: (date, names of those that overrule it, in whole)}; two of one subject are told apart by their dates."""
    found = re.findall(r"^\*\*(\d{4}-\d\d-\d\d), ([^*]+)\.\*\*(.*?)(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    times = collections.Counter(subject for _, subject, _ in found)
    result = {}
    for date, subject, body in found:
        over = re.match(r'\s+\*Overruled (in part )?by\s+"([^"]+)"', body)
        name = f"{subject} ({date})" if times[subject] > 1 else subject
        result[name] = (date, " ".join(over[2].split()) if over else None, bool(over and not over[1]))
    return result


def index(text):
    """The items of the index, as they stand there."""
    part = re.search(r"^## By subject\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    lists = re.findall(r"^- \*\*[^*]+:\*\*(.*?)(?=^- |\Z)", part[1] if part else "", re.MULTILINE | re.DOTALL)
    return [" ".join(item.split()) for one in lists for item in one.split(";")]


def problems(text):
    known, items = entries(text), index(text)
    for name, (date, over, whole) in known.items():
        item = f"({name})" if whole else name
        if items.count(item) != 1:
            yield f"{PAGE}: \"{item}\" is {items.count(item)} times in the index by subject"
        if over is not None and (over not in known or known[over][0] < date):
            yield f"{PAGE}: \"{name}\" is overruled by \"{over}\", and that is no later entry"
    for item in items:
        if item not in known and item.removeprefix("(").removesuffix(")") not in known:
            yield f"{PAGE}: the index has \"{item}\", and there is no such entry"
    if not known:
        yield f"{PAGE} has no entries"


def main():
    with open(PAGE, encoding="utf-8") as file:
        found = list(problems(file.read()))
    for problem in found:
        print(problem)
    return 1 if found else 0


sys.exit(main())
