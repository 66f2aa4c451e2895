#!/usr/bin/env bash
# Builds a release build and runs the benchmarks in it, one table each (docs/benchmarks.md). Media is made once, from
# flite's voice, and kept in the build folder. Refuses to compare numbers of different machines: it names this one.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
cd "$TS_ROOT"

usage() {
  cat <<END
Usage: bench/run.sh [--quick] [--long] [--check] [--runs=N] [--dir=FOLDER] [--no-install]

  --quick       fewer jobs, once, and ten minutes of media instead of sixty
  --long        also sixty minutes with pocketsphinx (a quarter of an hour of computing)
  --check       status 1 when a bar is missed
  --runs=N      the overhead is measured N times (3)
  --dir=FOLDER  where the database lies while it is measured: on the disk that counts (build-bench)
  --no-install  does not install missing packages
END
}

jobs=100 runs=3 long='' quick='' check=() folder='' install=yes
for argument in "$@"; do
  case $argument in
    --quick) jobs=20 runs=1 quick=yes ;;
    --long) long=yes ;;
    --check) check=(--check) ;;
    --runs=*) runs=${argument#*=} ;;
    --dir=*) folder=$(cd "${argument#*=}" && pwd -P) || ts_die "there is no folder ${argument#*=}" ;;
    --no-install) install='' ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) ts_die "unknown argument '$argument' (see --help)" ;;
  esac
done
case $runs in '' | *[!0-9]* | 0) ts_die "--runs wants a number from 1" ;; esac

[ -z "$install" ] || { ts_install_groups build && ts_install ffmpeg flite; }
for program in meson ninja ffmpeg flite; do
  command -v "$program" >/dev/null 2>&1 || ts_die "$program is not installed"
done

build='build-bench'
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { ts_setup "$build" --buildtype=release && ts_build "$build" bench/bench_overhead bench/bench_memory; } >"$log" 2>&1; then
  cat "$log" >&2
  ts_die "the release build failed"
fi
folder=${folder:-$TS_ROOT/$build}
media=$TS_ROOT/$build/media
mkdir -p "$media"

# make_media SECONDS FILE: moving picture (H.264) and speech that repeats (AAC). A minute is encoded, longer is copied.
make_media() {
  [ ! -s "$2" ] || return 0
  [ -s "$media/speech.wav" ] || flite -voice slt -f samples/hello.txt -o "$media/speech.wav"
  local source=(-stream_loop -1 -i "$media/speech.wav" -f lavfi -i "testsrc2=size=320x180:rate=10"
    -map 1:v -map 0:a -c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac -ar 44100 -b:a 64k -t "$1")
  if [ "$1" -gt 60 ]; then
    make_media 60 "$media/1-minute.mp4"
    source=(-stream_loop $(($1 / 60 - 1)) -i "$media/1-minute.mp4" -c copy)
  fi
  ffmpeg -nostdin -v error -y "${source[@]}" "$2.part.mp4"
  mv "$2.part.mp4" "$2"
}
make_media 1 "$media/1-second.mp4"
make_media 60 "$media/1-minute.mp4"
make_media 600 "$media/10-minutes.mp4"
[ -n "$quick" ] || make_media 3600 "$media/60-minutes.mp4"

ts_head "Machine"
ts_say "$(nproc) CPUs, $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r)"
ts_say "load before: $(cut -d' ' -f1-3 /proc/loadavg); database on $(stat -f -c %T "$folder")"

status=0
for ((run = 1; run <= runs; run++)); do
  ts_head "Overhead, run $run of $runs"
  "$build/bench/bench_overhead" "${check[@]}" --jobs="$jobs" --dir="$folder" "$media/1-second.mp4" || status=$?
  [ "$status" -le 1 ] || exit "$status"
done

ts_head "Memory"
cases=("null:$media/1-minute.mp4" "null:$media/10-minutes.mp4")
[ -n "$quick" ] || cases+=("null:$media/60-minutes.mp4" "pocketsphinx:$media/1-minute.mp4" "pocketsphinx:$media/10-minutes.mp4")
[ -z "$long" ] || { make_media 3600 "$media/60-minutes.mp4" && cases+=("pocketsphinx:$media/60-minutes.mp4"); }
"$build/bench/bench_memory" "${check[@]}" --dir="$folder" "${cases[@]}" || status=$?
exit "$status"
