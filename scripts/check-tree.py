#!/usr/bin/env python3
"""Checks the tree itself: links of the documentation lead somewhere, tests wait for conditions instead of time, no
unfinished marks, no paths of one machine, no download addresses in lock files. `--self-test` checks the checker.
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<(?:img|source)[^>]*\bsrc(?:set)?=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
FENCE = re.compile(r"^\s*(```|~~~)")
RULES = [
    # what, where it applies, pattern
    ("an unfinished mark", lambda p: True, re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")),
    ("a path of one machine", lambda p: True, re.compile(r"(^|[^A-Za-z0-9_.$}])/(work|farm|root)/")),
    ("a download address", lambda p: p.name == "package-lock.json", re.compile(r'"resolved": *"https?:')),
    (
        "a skip that cmocka reports as a failure (return instead, where the test does not apply)",
        lambda p: p.parts[0] == "tests" and p.suffix in (".c", ".h"),
        re.compile(r"\bskip\(\);"),
    ),
    (
        "a fixed wait",
        lambda p: p.parts[0] in ("tests", "bench"),
        re.compile(r"\b(sleep|usleep|nanosleep|time\.sleep)\b *\(? *[0-9.]|\bsetTimeout\(\s*(resolve|r|done)\b"),
    ),
]
BINARY = {".mp4", ".bin", ".png", ".wav", ".webp", ".ico", ".gz"}


def files_of(root):
    listing = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                             capture_output=True, check=False)
    if listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
        return sorted(root / n for n in names if n and (root / n).is_file())
    return sorted(p for p in root.rglob("*") if p.is_file())


def anchors(text):
    """The anchors that headings of a Markdown text get."""
    found, fenced = {}, False
    for line in text.splitlines():
        if FENCE.match(line):
            fenced = not fenced
            continue
        match = None if fenced else HEADING.match(line)
        if match:
            plain = re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", match.group(1)).lower()
            anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            count = found.get(anchor, 0)
            found[anchor] = count + 1
            if count:
                found[f"{anchor}-{count}"] = 1
    return set(found)


def broken_links(root, path, text):
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        if fenced:
            continue
        for match in LINK.finditer(re.sub(r"`[^`]*`", "", line)):
            target = match.group(1) or match.group(2)
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = urllib.parse.unquote(target).partition("#")
            there = (path.parent / name).resolve() if name else path
            where = f"{path.relative_to(root)}:{number}"
            if not there.exists():
                yield f"{where}: the link to {target} leads nowhere"
            elif anchor and there.suffix == ".md" and anchor not in anchors(there.read_text(encoding="utf-8")):
                yield f"{where}: {name or 'this page'} has no heading #{anchor}"


def violations(root):
    for path in files_of(root):
        relative = path.relative_to(root)
        if path.suffix in BINARY or relative.parts[:2] == ("tests", "fuzz") and path.suffix != ".c":
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for what, applies, pattern in RULES:
            if not applies(relative):
                continue
            for number, line in enumerate(text.splitlines(), 1):
                if pattern.search(line):
                    yield f"{relative}:{number}: {what}: {line.strip()[:100]}"
        if path.suffix == ".md":
            yield from broken_links(root, path, text)


def self_test():
    cases = [
        ({"a.md": "# One\n[x](b.md#two-words) [y](#one) [z](https://example.com/)\n", "b.md": "## Two words\n"}, 0),
        ({"a.md": "[x](missing.md)\n[y](#nothing)\n"}, 2),
        ({"a.md": "```\n[x](missing.md)\n```\n`[x](missing.md)`\n"}, 0),
        ({"tests/a.mjs": "await new Promise((resolve) => setTimeout(resolve, 100));\n"}, 1),
        ({"tests/a.c": "usleep(1000);\n", "src/a.c": "usleep(1000);\n"}, 1),
        ({"tests/a.c": "\tskip();\n"}, 1),
        ({"src/a.c": "// TO" "DO later\n"}, 1),
        ({"a.sh": "cd /ro" "ot/x\n", "b.sh": 'cd "$x/root/y"\n'}, 1),
        ({"package-lock.json": '"reso' 'lved": "https:' '//x/y.tgz"\n'}, 1),
    ]
    for number, (files, expected) in enumerate(cases):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
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
