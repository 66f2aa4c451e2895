# shellcheck shell=bash
# Shared by the scripts: where things lie, what must be installed, how to build and how to print.
# Sourced, never run; the caller has set -euo pipefail. Refuses to know about single tests or demos.

TS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export LC_ALL=C.UTF-8

# Colour only for people: a terminal, and NO_COLOR not set.
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  ts_bold=$'\e[1m' ts_dim=$'\e[2m' ts_red=$'\e[31m' ts_green=$'\e[32m' ts_off=$'\e[0m'
else
  ts_bold='' ts_dim='' ts_red='' ts_green='' ts_off=''
fi
export ts_bold ts_dim ts_red ts_green ts_off

ts_say() { printf '%s\n' "$*"; }
ts_head() { printf '\n%s%s%s\n' "$ts_bold" "$*" "$ts_off"; }
ts_die() {
  printf '%s%s: %s%s\n' "$ts_red" "${0##*/}" "$*" "$ts_off" >&2
  exit 1
}

# Names of the packages of the given groups, one a line.
ts_packages() {
  local group name wanted
  while read -r group name; do
    for wanted in "$@"; do
      [ "$group" = "$wanted" ] && printf '%s\n' "$name"
    done
  done <"$TS_ROOT/scripts/packages.txt"
  return 0
}

ts_is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | head -c 9)" = installed ]
}

# Node.js may come from anywhere, so it is looked for as a command of sufficient version.
ts_has_node() {
  local major
  command -v npm >/dev/null 2>&1 || return 1
  major=$(node --version 2>/dev/null) || return 1
  major=${major#v}
  [ "${major%%.*}" -ge 18 ] 2>/dev/null
}

# Installs what is missing of the packages named; when that is not ours to do, prints the line to run and stops.
ts_install() {
  local missing=() name
  for name in "$@"; do
    ts_is_installed "$name" || missing+=("$name")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null 2>&1 ||
    ts_die "these Debian packages are needed, and there is no apt-get here: ${missing[*]}"

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      as_root=(sudo)
    else
      ts_say "Some packages are missing. Run this line as root, then start again:" >&2
      ts_say "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
  fi
  ts_say "installing ${missing[*]}"
  local log
  log=$(mktemp)
  if ! {
    "${as_root[@]}" apt-get update -q &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    ts_die "could not install: ${missing[*]}"
  fi
  rm -f "$log"
}

# ts_install_groups build [test]
ts_install_groups() {
  local names
  mapfile -t names < <(ts_packages "$@")
  case " $* " in
    *" test "*) ts_has_node || names+=(nodejs npm) ;;
  esac
  ts_install "${names[@]}"
}

# ts_setup FOLDER [meson setup options]: configures a build folder below the checkout once; a folder that cannot be
# used (another machine, another checkout, half made) is made anew. CC is taken from the environment.
ts_setup() {
  local folder=$TS_ROOT/$1
  shift
  local stamp="$TS_ROOT|${CC:-}|$*"
  if [ -f "$folder/build.ninja" ] && [ "$(cat "$folder/.setup" 2>/dev/null)" = "$stamp" ]; then
    return 0
  fi
  rm -rf "$folder"
  meson setup "$folder" "$TS_ROOT" "$@" || return 1
  printf '%s' "$stamp" >"$folder/.setup"
}

# ts_build FOLDER [targets]
ts_build() {
  local folder=$TS_ROOT/$1
  shift
  ninja -C "$folder" "$@"
}
