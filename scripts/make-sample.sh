#!/usr/bin/env bash
# Makes samples/hello.mp4: a moving test picture (H.264) and speech (AAC) that flite's slt voice reads from
# samples/hello.txt. The words of that text are what the system tests expect back.
# Refuses anything that changes from run to run: no dates, no names of programs, one encoder thread.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
'') ;;
-h | --help)
  ts_say "usage: ${0##*/}"
  ts_say "Makes samples/hello.mp4 anew from samples/hello.txt (needs flite and ffmpeg)."
  exit 0
  ;;
*) ts_die "takes no arguments" ;;
esac
for program in flite ffmpeg ffprobe; do
  command -v "$program" >/dev/null 2>&1 || ts_die "$program is not installed (apt-get install flite ffmpeg)"
done

samples=$TS_ROOT/samples
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A little slower than the voice's own pace: how people speak to a camera.
flite -voice slt --setf duration_stretch=1.15 -f "$samples/hello.txt" -o "$work/speech.wav"
seconds=$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$work/speech.wav")
# filter_units takes out the encoder's own description of itself.
ffmpeg -nostdin -v error -y \
  -f lavfi -i "testsrc2=size=640x360:rate=15:duration=$seconds" -i "$work/speech.wav" \
  -map 0:v -map 1:a -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
  -c:v libx264 -threads 1 -preset veryslow -crf 34 -g 75 -pix_fmt yuv420p -bsf:v filter_units=remove_types=6 \
  -c:a aac -b:a 64k -ar 44100 -ac 1 -movflags +faststart "$work/hello.mp4"
mv "$work/hello.mp4" "$samples/hello.mp4"
chmod 644 "$samples/hello.mp4"
ts_say "samples/hello.mp4: $seconds s, $(stat -c %s "$samples/hello.mp4") bytes"
