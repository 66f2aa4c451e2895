#!/usr/bin/env python3
"""Finds variables that a function may leave before it has made them.

A TS_AUTO... variable is released when its scope ends, also on an early return; one that was declared without a value
and not initialised by then is released as whatever the stack held. Compilers do not warn, and gcc's zeroed stack hides
it. `--self-test` checks the checker.
"""
import pathlib
import re
import sys
import tempfile

OWNED = re.compile(r"^\s+TS_(?:AUTO[A-Z]*|CLEANUP\(\w+\)) [\w ]*?\*?(\w+)(?:\[\w*\])?;")
LEAVES = re.compile(r"\breturn\b|\bTS_TRY\b|\bgoto\b")
WINDOW = 60


def violations(root):
    for folder in ("src", "tests", "bench"):
        for path in sorted((root / folder).rglob("*.[ch]")):
            lines = path.read_text(encoding="utf-8").splitlines()
            for number, line in enumerate(lines):
                match = OWNED.match(line)
                if not match:
                    continue
                name = match.group(1)
                made = re.compile(rf"[(,]\s*&{name}\b|\b{name}(?:\.\w+)? = |\b{name}(?:\.\w+)?\[")
                for later in range(number + 1, min(number + WINDOW, len(lines))):
                    if made.search(lines[later]) or lines[later].startswith("}"):
                        break
                    if LEAVES.search(lines[later]):
                        yield (f"{path.relative_to(root)}:{later + 1}: leaves {name} (line {number + 1}) "
                               "before it is made; initialise it first or declare it later")
                        break


def self_test():
    cases = [
        ("\tTS_AUTOBUF struct ts_buf buf;\n\tif (!x)\n\t\treturn 1;\n\tts_buf_init(&buf, 1);\n}\n", 1),
        ("\tTS_AUTOBUF struct ts_buf buf;\n\n\tts_buf_init(&buf, 1);\n\tif (!x)\n\t\treturn 1;\n}\n", 0),
        ("\tTS_AUTOFREE char *text = NULL;\n\treturn 1;\n}\n", 0),
        ("\tTS_AUTOFREE char *text;\n\tTS_TRY(other());\n\ttext = make();\n}\n", 1),
        ("\tTS_CLEANUP(wipe) struct keys keys;\n\tkeys.count = 0;\n\treturn 1;\n}\n", 0),
        ("\tTS_CLEANUP(wipe) struct keys keys;\n\treturn read_keys(text, &keys);\n}\n", 0),
    ]
    for number, (text, expected) in enumerate(cases):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "src").mkdir()
            (root / "src/a.c").write_text("int f(void)\n{\n" + text)
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
