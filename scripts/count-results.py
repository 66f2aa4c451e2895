#!/usr/bin/env python3
"""Counts test cases: `count-results.py junit FILE` (of meson) or `count-results.py tap FILE` (of node --test).
Prints "PASSED FAILED", then a line for each failed case.
"""
import re
import sys
import xml.etree.ElementTree


def junit(path):
    passed, failed = 0, []
    for suite in xml.etree.ElementTree.parse(path).getroot().iter("testsuite"):
        bad = 0
        for case in suite.iter("testcase"):
            name = f"{suite.get('name')}: {case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(name)
                bad += 1
            elif case.find("skipped") is None:
                passed += 1
        # A program that crashed or timed out after its last finished case has an error but no case for it.
        expected = int(suite.get("failures") or 0) + int(suite.get("errors") or 0)
        if expected and not bad:
            failed.append(f"{suite.get('name')}: did not finish")
    return passed, failed


def tap(path):
    totals, failed = {}, []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            match = re.match(r"# (pass|fail|cancelled) (\d+)$", line)
            if match:
                totals[match.group(1)] = int(match.group(2))
            match = re.match(r"\s*not ok \d+ - (.*)$", line)
            if match:
                failed.append(match.group(1))
    count = totals.get("fail", 0) + totals.get("cancelled", 0)
    if "pass" not in totals:
        failed.append("the run did not finish")
        count += 1
    return totals.get("pass", 0), (failed + ["?"] * count)[:count] if count else []


def main():
    passed, failed = {"junit": junit, "tap": tap}[sys.argv[1]](sys.argv[2])
    print(passed, len(failed))
    for name in failed:
        print(f"failed: {name}")


if __name__ == "__main__":
    main()
