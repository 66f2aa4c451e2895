#!/usr/bin/env python3
"""Checks that include arrows point only downwards (docs/architecture.md).

A room may include its own headers and those of the rooms listed below; every quoted include is written from src/
("room/header.h"), so that a look at the line tells the arrow. `--self-test` checks the checker.
"""
import pathlib
import re
import sys
import tempfile

ARROWS = {
    "base": [],
    "config": ["base"],
    "core": ["base"],
    "net": ["base"],
    "media": ["base"],
    "asr": ["base", "core", "media", "net"],
    "store": ["base", "core"],
    "queue": ["base", "core", "store"],
    "api": ["base", "core", "net", "store", "queue"],
    "worker": ["base", "core", "net", "media", "asr", "store", "queue"],
}
ARROWS["bin"] = list(ARROWS)  # wiring may use everything

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def violations(root):
    """Yields 'file:line: why' for every include that breaks the rule."""
    source = root / "src"
    for path in sorted(source.rglob("*")):
        if path.suffix not in (".c", ".h", ".def"):
            continue
        room = path.relative_to(source).parts[0]
        if room not in ARROWS:
            yield f"{path.relative_to(root)}:1: the room {room} is not in the table of arrows"
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            where = f"{path.relative_to(root)}:{number}"
            if "/" not in target and (path.parent / target).is_file():
                yield f'{where}: write "{room}/{target}", the way from src/'
                continue
            if not (source / target).is_file():
                # A file made at build time stands in no folder; it belongs to the room that includes it.
                if target.split("/")[0] in ARROWS and target.split("/")[0] != room:
                    yield f"{where}: {target} does not exist"
                continue
            other = target.split("/")[0]
            if other != room and other not in ARROWS[room]:
                allowed = ", ".join(ARROWS[room]) or "nothing"
                yield f"{where}: {room} may not include {other} (it may include {allowed})"


def self_test():
    cases = [
        ({"src/core/a.c": '#include "base/err.h"\n', "src/base/err.h": ""}, 0),
        ({"src/base/a.c": '#include "core/job.h"\n', "src/core/job.h": ""}, 1),
        ({"src/api/a.c": '#  include "worker/worker.h"\n', "src/worker/worker.h": ""}, 1),
        ({"src/api/a.c": '#include "asr/asr.h"\n#include "media/m.h"\n', "src/asr/asr.h": "", "src/media/m.h": ""}, 2),
        ({"src/store/a.h": '#include "store/b.h"\n', "src/store/b.h": ""}, 0),
        ({"src/store/a.c": '#include "b.h"\n', "src/store/b.h": ""}, 1),
        ({"src/store/a.c": '#include "schema.inc"\n#include <sqlite3.h>\n'}, 0),
        ({"src/cellar/a.c": "int x;\n"}, 1),
        ({"src/bin/a.c": '#include "worker/worker.h"\n', "src/worker/worker.h": ""}, 0),
    ]
    for number, (files, expected) in enumerate(cases):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            found = list(violations(root))
            if len(found) != expected:
                print(f"self-test case {number}: expected {expected} violations, found {found}")
                return 1
    return 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    found = list(violations(pathlib.Path(__file__).resolve().parent.parent))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
