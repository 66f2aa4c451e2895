#!/usr/bin/env bash
# Installs what is missing, builds in every configuration that matters and runs every test and check.
# Ends with "N passed, N failed"; the exit status is 0 only when nothing failed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$TS_ROOT"

# NAME and what it does, in the order in which lanes start; two run side by side.
lanes=(
  "gcc          gcc, warnings are errors, all unit, contract, property and corpus tests"
  "format       clang-format leaves the tree as it is"
  "includes     include arrows point only downwards"
  "tree         links of the documentation, no fixed waits in tests, no unfinished marks"
  "cleanup      no function leaves an owned variable before it has made it"
  "shellcheck   every shell script"
  "asan         address and undefined-behaviour sanitizers, the same tests"
  "system       the real programs over HTTP"
  "demo         scripts/demo.sh, from build to callback"
  "clang        clang, warnings are errors, all tests"
  "tsan         thread sanitizer, the same tests"
  "tidy         clang-tidy"
  "fuzz         every fuzz target for some seconds (FUZZ_SECONDS=10)"
  "valgrind     memcheck over the unit and contract tests"
  "system-asan  the real programs, built with the address sanitizer"
)

usage() {
  cat <<END
Usage: scripts/test.sh [--lane NAME]... [--list] [--no-install] [--help]

Runs every lane, or those named. The log of a lane lies in build-logs/NAME.log.
END
}

list() {
  printf '%s\n' "${lanes[@]}"
}

chosen=()
install=yes
while [ $# -gt 0 ]; do
  case $1 in
    --lane)
      [ $# -ge 2 ] || ts_die "--lane wants a name (see --list)"
      list | cut -d' ' -f1 | grep -qx -- "$2" || ts_die "there is no lane $2 (see --list)"
      chosen+=("$2")
      shift
      ;;
    --list)
      list
      exit 0
      ;;
    --no-install) install=no ;;
    -h | --help)
      usage
      printf '\nLanes:\n'
      list | sed 's/^/  /'
      exit 0
      ;;
    *) ts_die "unknown argument $1 (see --help)" ;;
  esac
  shift
done
[ "${#chosen[@]}" -gt 0 ] || mapfile -t chosen < <(list | cut -d' ' -f1)

logs=$TS_ROOT/build-logs
mkdir -p "$logs"

# --- what lanes are made of ---

# build FOLDER CC [meson options]: one lane at a time per folder, since several need the same one.
build() {
  local folder=$1 cc=$2
  shift 2
  (
    flock 9
    CC=$cc ts_setup "$folder" "$@" && ts_build "$folder"
  ) 9>"$logs/$folder.lock"
}

build_gcc() { build build-gcc gcc -Dwerror=true; }
build_clang() { build build-clang clang -Dwerror=true; }
# Sanitizers change what the optimiser sees, and with it which warnings it invents: those are the plain lanes' matter.
# An uninitialised variable holds a pattern there, not the zero that hides the mistake.
instrumented=(-Doptimization=1 -Dc_args=-ftrivial-auto-var-init=pattern)
build_asan() { build build-asan gcc -Db_sanitize=address,undefined "${instrumented[@]}"; }

# run_meson FOLDER LOGBASE [meson test options]: runs tests and hands their counts in.
run_meson() {
  local folder=$TS_ROOT/$1 base=$2 status=0 counts
  shift 2
  rm -f "$folder/meson-logs/$base"*.junit.xml
  meson test -C "$folder" --no-rebuild --print-errorlogs --logbase "$base" "$@" || status=$?
  # A wrapper's name becomes part of the file's.
  local results=("$folder/meson-logs/$base"*.junit.xml)
  if [ ! -s "${results[0]}" ]; then
    report 0 1
    return
  fi
  counts=$("$TS_ROOT/scripts/count-results.py" junit "${results[0]}")
  printf '%s\n' "$counts"
  read -r passed failed <<<"$(head -n 1 <<<"$counts")"
  # Whatever the counting overlooked, meson's own verdict holds.
  [ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
  report "$passed" "$failed"
}

# run_node FOLDER SLOW: the system tests against the programs of that build folder, with SLOW times the patience.
run_node() {
  local folder=$TS_ROOT/$1 slow=$2 tap=$logs/$lane.tap counts options=(--test) status=0
  (
    flock 9
    cd "$TS_ROOT/tests/system"
    if ! cmp -s package-lock.json node_modules/.installed; then
      npm ci --no-audit --no-fund && cp package-lock.json node_modules/.installed
    fi
  ) 9>"$logs/npm.lock" || return 1
  if node --help | grep -q -- --test-concurrency; then
    options+=(--test-concurrency=2)
  fi
  if node --help | grep -q -- --test-reporter; then
    options+=(--test-reporter=tap)
  fi
  TRANSCRIPTION_BIN=$folder/src/bin TRANSCRIPTION_SLOW=$slow node "${options[@]}" "$TS_ROOT"/tests/system/*.test.mjs >"$tap" || status=$?
  cat "$tap"
  counts=$("$TS_ROOT/scripts/count-results.py" tap "$tap")
  printf '%s\n' "$counts"
  read -r passed failed <<<"$(head -n 1 <<<"$counts")"
  [ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
  report "$passed" "$failed"
}

# report PASSED FAILED
report() { printf '%s %s\n' "$1" "$2" >"$logs/$lane.result"; }

# check COMMAND...: a check that either holds or does not.
check() { if "$@"; then report 1 0; else report 0 1; fi; }

c_files() { git ls-files --cached --others --exclude-standard -- "$@"; }

# --- the lanes ---

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1:allocator_may_return_null=1
export TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1:second_deadlock_stack=1:suppressions="'$TS_ROOT/scripts/tsan.supp'"
export LSAN_OPTIONS=suppressions="'$TS_ROOT/scripts/lsan.supp'":print_suppressions=0

lane_gcc() { build_gcc && run_meson build-gcc testlog; }
lane_clang() { build_clang && run_meson build-clang testlog; }
lane_asan() { build_asan && run_meson build-asan testlog -t 5; }
lane_tsan() {
  build build-tsan clang -Db_sanitize=thread -Db_lundef=false "${instrumented[@]}" && run_meson build-tsan testlog -t 10
}

# Memcheck follows neither into the jailed decoder (its system call filter) nor into programs that start themselves again,
# and recognising and encoding are too slow under it.
valgrind_leaves_out='^(test_media|test_jail|test_pipeline|test_encode|test_deliver$|test_lease$|test_worker|test_supervise|test_pocketsphinx|test_asr$|test_openai$)'
lane_valgrind() {
  local tests
  build_gcc || return 1
  mapfile -t tests < <(meson test -C build-gcc --list --suite unit --suite contract 2>/dev/null |
    sed -n 's/^.* \/ //p' | grep -vE "$valgrind_leaves_out")
  run_meson build-gcc valgrind -t 20 \
    --wrap "valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite" \
    "${tests[@]}"
}
lane_system() { build_gcc && run_node build-gcc 1; }
lane_system-asan() { build_asan && run_node build-asan 3; }

lane_demo() { check env NO_COLOR=1 scripts/demo.sh; }

lane_format() {
  local files
  mapfile -t files < <(c_files '*.c' '*.h')
  check clang-format --dry-run -Werror "${files[@]}"
}

lane_includes() {
  scripts/check-includes.py --self-test || return 1
  check scripts/check-includes.py
}

lane_tree() {
  scripts/check-tree.py --self-test || return 1
  check scripts/check-tree.py
}

lane_cleanup() {
  scripts/check-cleanup.py --self-test || return 1
  check scripts/check-cleanup.py
}

lane_shellcheck() {
  local files
  mapfile -t files < <(c_files '*.sh' .ci/run)
  check shellcheck -x "${files[@]}"
}

lane_tidy() {
  local passed=0 failed=0 status file files
  # Only the commands of the compiler are needed, not what it makes.
  (
    flock 9
    CC=clang ts_setup build-clang -Dwerror=true
  ) 9>"$logs/build-clang.lock" || return 1
  mapfile -t files < <(c_files 'src/**.c')
  # One line a file: its status and its name.
  # shellcheck disable=SC2016
  while read -r status file; do
    if [ "$status" = 0 ]; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
      cat "$logs/tidy-${file//\//_}.log"
    fi
    rm -f "$logs/tidy-${file//\//_}.log"
  done < <(printf '%s\0' "${files[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c \
    'log=$1/tidy-${2//\//_}.log; clang-tidy -p build-clang --quiet --warnings-as-errors="*" "$2" >"$log" 2>&1; echo "$? $2"' - "$logs" {})
  report "$passed" "$failed"
}

lane_fuzz() {
  local passed=0 failed=0 target name work
  (
    flock 9
    CC=clang ts_setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 || exit 1
    mapfile -t names < <(fuzz_targets)
    [ "${#names[@]}" -eq 0 ] || ts_build build-fuzz "${names[@]}"
  ) 9>"$logs/build-fuzz.lock" || return 1
  while read -r target; do
    name=$(basename "$target")
    work=$TS_ROOT/build-fuzz/run/$name
    rm -rf "$work" && mkdir -p "$work"
    for folder in "tests/fuzz/corpus/$name" "tests/fuzz/regression/$name"; do
      [ ! -d "$folder" ] || cp "$folder"/* "$work"/
    done
    printf '\n== %s\n' "$name"
    if "build-fuzz/$target" -max_total_time="${FUZZ_SECONDS:-10}" -timeout=20 -rss_limit_mb=4096 -max_len=65536 \
      -verbosity=0 -artifact_prefix="$logs/$name-" "$work"; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
    fi
  done < <(fuzz_targets)
  report "$passed" "$failed"
}

# Paths of the fuzz programs below build-fuzz, one a line.
fuzz_targets() {
  meson introspect --targets build-fuzz | python3 -c '
import json, os, sys
root = os.path.realpath("build-fuzz")
for target in json.load(sys.stdin):
    if target["name"].startswith("fuzz_") and target["type"] == "executable":
        print(os.path.relpath(os.path.realpath(target["filename"][0]), root))'
}

# --- running them ---

[ "$install" = no ] || ts_install_groups build test

declare -A name_of=() started=()
total_passed=0 total_failed=0
failures=()
begun=$SECONDS

# Whatever ends this script ends its lanes, which are process groups of their own.
stop_lanes() {
  local pid
  for pid in "${!name_of[@]}"; do
    kill -TERM -- "-$pid" 2>/dev/null || true
  done
}
trap stop_lanes EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start_lane() {
  local lane=$1
  rm -f "$logs/$lane.result"
  set -m
  (
    set +m
    trap - EXIT INT TERM
    if ! "lane_$lane"; then
      [ -s "$logs/$lane.result" ] || report 0 1
    fi
  ) >"$logs/$lane.log" 2>&1 </dev/null &
  set +m
  name_of[$!]=$lane
  started[$lane]=$SECONDS
}

finish_lane() {
  local pid=$1 lane passed=0 failed=1 mark colour
  lane=${name_of[$pid]}
  unset "name_of[$pid]"
  [ ! -s "$logs/$lane.result" ] || read -r passed failed <"$logs/$lane.result"
  if [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]; then
    mark=ok colour=$ts_green
  else
    # A lane that ran nothing has proved nothing.
    [ "$failed" -gt 0 ] || failed=1
    mark=FAIL colour=$ts_red
    failures+=("$lane")
  fi
  total_passed=$((total_passed + passed))
  total_failed=$((total_failed + failed))
  printf '%s%-4s%s  %-12s %5d passed  %3d failed  %4d s\n' \
    "$colour" "$mark" "$ts_off" "$lane" "$passed" "$failed" $((SECONDS - started[$lane]))
  if [ "$mark" = FAIL ]; then
    printf '%s\n' "      the end of build-logs/$lane.log:"
    { grep -E '^failed: ' "$logs/$lane.log" || true; tail -n 40 "$logs/$lane.log"; } | sed 's/^/      /'
  fi
}

for lane in "${chosen[@]}"; do
  while [ "${#name_of[@]}" -ge 2 ]; do
    wait -n -p done_pid "${!name_of[@]}" || true
    finish_lane "$done_pid"
  done
  start_lane "$lane"
done
while [ "${#name_of[@]}" -gt 0 ]; do
  wait -n -p done_pid "${!name_of[@]}" || true
  finish_lane "$done_pid"
done

printf '\n%d lanes in %d min %02d s' "${#chosen[@]}" $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60))
[ "${#failures[@]}" -eq 0 ] || printf '; failed: %s' "${failures[*]}"
printf '\n%d passed, %d failed\n' "$total_passed" "$total_failed"
[ "$total_failed" -eq 0 ]
