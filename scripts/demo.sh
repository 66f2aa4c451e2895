#!/usr/bin/env bash
# From a fresh machine to a transcript: installs what is missing, builds, starts the service, sends it a sample video
# over HTTP and shows what comes back. Leaves nothing running; the transcript's files stay in out/.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<END
Usage: scripts/demo.sh [VIDEO]

Transcribes VIDEO (default: the sample in samples/) through the real service on a loopback port of its own.
END
}

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*) ts_die "unknown argument $1 (see --help)" ;;
esac
[ $# -le 1 ] || ts_die "one video at a time (see --help)"

if [ $# -eq 1 ]; then
  media=$(realpath -e -- "$1" 2>/dev/null) || ts_die "there is no file $1"
else
  samples=("$TS_ROOT"/samples/*.mp4)
  media=${samples[0]}
  [ -f "$media" ] || ts_die "samples/ holds no video"
fi

ts_install_groups build

work=$(mktemp -d "${TMPDIR:-/tmp}/transcription demo.XXXXXX")
service=
finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "$service" ] && kill -TERM "$service" 2>/dev/null; then
    wait "$service" 2>/dev/null || ts_say "the service ended with status $?" >&2
  fi
  if [ "$status" -ne 0 ] && [ -s "$work/service.log" ]; then
    ts_say "the end of the service's log:" >&2
    tail -n 20 "$work/service.log" >&2
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ts_say "building"
if ! { ts_setup build && ts_build build src/bin/transcription src/bin/transcription-api src/bin/transcription-worker; } \
  >"$work/build.log" 2>&1; then
  tail -n 40 "$work/build.log" >&2
  ts_die "the build failed"
fi

# A port nobody uses, a key and a signing secret, for this run only.
read -r port key secret < <(python3 -c '
import base64, secrets, socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1], secrets.token_urlsafe(24), "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())')

mkdir "$work/data"
env -i PATH="$PATH" HOME="${HOME:-/}" LC_ALL="$LC_ALL" \
  HOST=127.0.0.1 PORT="$port" PUBLIC_URL="http://127.0.0.1:$port" LOCAL_STORAGE_PATH="$work/data" \
  SERVICE_API_KEY="$key" CALLBACK_SECRET="$secret" CALLBACK_ALLOWED_HOSTS=127.0.0.1 ENGINE=pocketsphinx \
  "$TS_ROOT/build/src/bin/transcription" serve >"$work/service.log" 2>&1 &
service=$!

PYTHONDONTWRITEBYTECODE=1 python3 "$TS_ROOT/scripts/demo.py" \
  --url "http://127.0.0.1:$port" --key="$key" --secret="$secret" --pid "$service" --out "$TS_ROOT/out" "$media"

kill -TERM "$service"
wait "$service" || {
  status=$?
  service=
  ts_die "the service ended with status $status"
}
service=
ts_head "Done"
ts_say "  the service has stopped; run your own with ${ts_bold}build/src/bin/transcription serve${ts_off}"
