# Shared by tools/run and tools/test: brings the machine and the build up to date, silently when nothing is to be done.
# Sourced, not run. All messages go to stderr; what a build says is kept in build/PRESET.log and shown when it fails.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# The packages of tools/packages whose first column is one of the arguments.
packages_for() {
  local what name rest
  while read -r what name rest; do
    [[ " $* " == *" $what "* ]] && printf '%s\n' "$name"
  done <"$root/tools/packages"
  return 0
}

# The arguments that are not installed.
missing_packages() {
  local name status installed=" "
  while read -r status name; do
    [[ $status == ii ]] && installed+="$name "
  done < <(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null)
  for name in "$@"; do
    [[ $installed == *" $name "* ]] || printf '%s\n' "$name"
  done
}

# install WHAT…: installs the packages of these kinds that are missing.
install() {
  local wanted missing as_root=() log=$root/build/packages.log
  mapfile -t wanted < <(packages_for "$@")
  if ! command -v dpkg-query >/dev/null; then
    command -v cmake ninja c++ >/dev/null || die "no Debian here; install what these packages hold: ${wanted[*]}"
    return 0
  fi
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "these packages are missing, and there is no sudo: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  mkdir -p "$root/build"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y)
  { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    die "the packages could not be installed; the whole story is in ${log#"$root/"}"
  }
}

# build PRESET [-DOPTION=VALUE…] [TARGET…]: configures if needed and builds, with one line of progress once it takes more
# than a moment.
build() {
  local preset=$1 directory=$root/build/$1 log=$root/build/$1.log options=()
  shift
  while [[ ${1-} == -D* ]]; do
    options+=("$1")
    shift
  done
  mkdir -p "$root/build"
  (
    cd "$root"
    [[ -f $directory/build.ninja && ${#options[@]} == 0 ]] || cmake --preset "$preset" "${options[@]}"
    cmake --build --preset "$preset" ${1:+--target "$@"}
  ) >"$log" 2>&1 &
  local job=$! tick=0 line shown=
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.05
    ((++tick % 20)) && continue
    if [[ -t 2 ]]; then
      line=$(grep -o '^\[[0-9]*/[0-9]*\]' "$log" | tail -n 1)
      printf '\r%s: building %s %s ' "${0##*/}" "$preset" "$line" >&2
    elif [[ -z $shown ]]; then
      say "building $preset"
    fi
    shown=1
  done
  [[ $shown && -t 2 ]] && printf '\r\033[K' >&2
  wait "$job" || {
    grep -v '^\[[0-9]*/[0-9]*\] \(Building\|Linking\|Generating\)' "$log" | tail -n 60 >&2
    die "the build failed; the whole story is in ${log#"$root/"}"
  }
}
