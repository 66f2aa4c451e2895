#!/usr/bin/env python3
"""Writes the numbered migrations given as C: embed_sql.py OUTPUT SYMBOL FILE..."""

import hashlib
import os
import re
import sys


def main():
    output, symbol, files = sys.argv[1], sys.argv[2], sys.argv[3:]
    lines = ["// Written by embed_sql.py from the migrations; the checksum is of the file's bytes.",
             '#include "store/migration.h"', ""]
    rows = []
    for expected, path in enumerate(sorted(files, key=os.path.basename), start=1):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", os.path.basename(path))
        if not match or int(match.group(1)) != expected:
            sys.exit(f"{path}: migrations are named NNNN_name.sql and numbered without gaps (expected {expected:04})")
        with open(path, "rb") as source:
            data = source.read()
        numbers = ",".join(str(byte) for byte in data) + ",0"
        lines.append(f"static const char sql_{expected}[] = {{{numbers}}};")
        rows.append(f'    {{{expected}, "{match.group(2)}", "{hashlib.sha256(data).hexdigest()}", sql_{expected}}},')
    lines += ["", f"const struct ts_migration {symbol}[] = {{", *rows, "};",
              f"const int {symbol}_count = {len(rows)};", ""]
    with open(output, "w", encoding="utf-8") as target:
        target.write("\n".join(lines))


if __name__ == "__main__":
    main()
