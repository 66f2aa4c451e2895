#!/usr/bin/env bash
# Builds and runs every bench, one table each (docs/benchmarks.md says what they measure). Run it on an idle machine.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

ts_install_groups build
ts_install ffmpeg
ts_setup build >/dev/null
ts_build build >/dev/null
export BUILD=$TS_ROOT/build PYTHONDONTWRITEBYTECODE=1

ts_head "A job beyond recognition"
python3 "$TS_ROOT/bench/overhead.py"
ts_head "Peak memory"
python3 "$TS_ROOT/bench/memory.py"
