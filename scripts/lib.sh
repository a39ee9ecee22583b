# Shared by the scripts of this folder: where the project is, how they speak, private apt.
# Source it; it changes nothing but variables and functions.
# shellcheck shell=bash

aero_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
aero_cache=${AERO_CACHE_DIR:-$aero_root/.cache}
aero_build=${AERO_BUILD_DIR:-$aero_root/build}

# step "what": one line of progress, with the seconds since the script began.
step() {
  printf '[%4ds] %s\n' "$SECONDS" "$*" >&2
}

# die "why": ends the script with one clear sentence.
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# usage_from_header FILE: prints the comment block that opens the file, as its --help.
usage_from_header() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//;t print;b;:print;p}' "$1"
}

# as_root COMMAND…: runs it as root, through sudo where needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    die "needs root to run '$*': start it as root, or install sudo"
  fi
}

# private_apt DIR "deb|deb-src" "amd64 i386": writes DIR/apt.conf, an apt configuration of its own
# (own lists, state and cache, sources derived from this machine's), so that the machine's apt
# and dpkg stay untouched. Use: apt-get -c DIR/apt.conf …
private_apt() {
  local dir=$1 type=$2 architectures=$3 file
  mkdir -p "$dir"/{lists/partial,cache/archives/partial,state,parts}
  : >"$dir/status"
  rm -f "$dir"/parts/*
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    grep -q 'debian-archive-keyring' "$file" || continue
    sed -e "s/^Types:.*/Types: $type/" -e '/^Architectures:/d' "$file" \
      >"$dir/parts/$(basename "$file")"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -e "$file" ] || continue
    sed -n "s/^deb \(.*debian.*\)/$type \1/p" "$file" >"$dir/parts/$(basename "$file" .list).list"
  done
  {
    printf 'Dir::State "%s/state";\nDir::State::lists "%s/lists";\n' "$dir" "$dir"
    printf 'Dir::State::status "%s/status";\nDir::Cache "%s/cache";\n' "$dir" "$dir"
    printf 'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "%s/parts";\n' "$dir"
    printf 'APT::Architectures {'
    printf ' "%s";' $architectures
    printf ' };\nAPT::Sandbox::User "";\nAcquire::Languages "none";\n'
  } >"$dir/apt.conf"
}
