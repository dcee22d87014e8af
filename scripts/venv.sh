# Sourced by the other scripts: makes .venv from a lock file, once, and again when that changes.
# Needs bash, git's checkout, and Python 3.11 or later; uses uv where it is installed.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
python=$venv/bin/python

die() {
  printf '%s\n' "$@" >&2
  exit 1
}

# Prints the path of a Python that will do: new enough, and able to make environments.
find_python() {
  local candidate found= old=
  for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python3.14; do
    # Running it is the only test: a shim of a version manager may stand for nothing.
    if ! "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate" >/dev/null 2>&1 && old="$old $candidate"
      continue
    fi
    if "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
    found=$candidate
  done
  if [ -n "$found" ]; then
    die "$found cannot make virtual environments: its module venv or ensurepip is missing." \
      "On Debian and Ubuntu: apt install python3-venv"
  fi
  die "Instabot needs Python 3.11 or later${old:+; too old or broken:$old}." \
    "Install one (on Debian and Ubuntu: apt install python3 python3-venv), or name it: PYTHON=/path/to/python3"
}

# What .venv was made from; the folder's own path counts, since scripts in .venv hold it.
stamp_of() {
  cd "$root" && cksum "requirements/$1.lock" requirements/build.lock pyproject.toml && printf '%s\n' "$1" "$root"
}

fresh() {
  [ -f "$venv/stamp-$1" ] && [ -x "$python" ] && [ "$(cat "$venv/stamp-$1")" = "$2" ]
}

# One at a time: a folder is made or not, on every system; its owner's number is in it.
lock() {
  local owner waited=
  until mkdir "$root/.venv.lock" 2>/dev/null; do
    owner=$(cat "$root/.venv.lock/pid" 2>/dev/null || true)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
      rm -rf "$root/.venv.lock" # its owner was killed
      continue
    fi
    [ -n "$waited" ] || echo "waiting for another set-up of .venv (process ${owner:-?})" >&2
    waited=yes
    sleep 0.2
  done
  echo $$ >"$root/.venv.lock/pid"
  trap 'rm -rf "$root/.venv.lock"' EXIT
}

unlock() {
  rm -rf "$root/.venv.lock"
  trap - EXIT
}

make_venv() {
  local log=$1
  # A folder that was moved holds scripts that name the old place.
  if [ "$(cat "$venv/root" 2>/dev/null || echo "$root")" != "$root" ]; then
    rm -rf "$venv"
  fi
  if [ -x "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    return
  fi
  rm -rf "$venv"
  if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --seed --python '>=3.11' "$venv" >>"$log" 2>&1
  else
    local base
    base=$(find_python) || exit 1
    "$base" -m venv "$venv" >>"$log" 2>&1
  fi && printf '%s\n' "$root" >"$venv/root"
}

pip_install() {
  if command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --python "$python" "$@"
  else
    "$python" -m pip --disable-pip-version-check install --quiet --no-input "$@"
  fi
}

install() {
  pip_install --require-hashes -r "$root/requirements/$1.lock" &&
    pip_install --require-hashes -r "$root/requirements/build.lock" &&
    pip_install --no-deps --no-build-isolation -e "$root"
}

# set_up main|dev: afterwards $python has what requirements/$1.lock names, and Instabot itself.
set_up() {
  local stamp log
  stamp=$(stamp_of "$1")
  if fresh "$1" "$stamp"; then return; fi
  lock
  if ! fresh "$1" "$stamp"; then # another may have done it while we waited
    log=$root/.venv-setup.log
    : >"$log"
    echo "setting up .venv from requirements/$1.lock, once; this takes a minute" >&2
    if ! { make_venv "$log" && rm -f "$venv"/stamp-* && install "$1" >>"$log" 2>&1; }; then
      tail -n 15 "$log" >&2
      die "The set-up failed; the whole story is in $log." \
        "Check the network, then run this again. To start over: rm -rf $venv"
    fi
    printf '%s\n' "$stamp" >"$venv/stamp-$1"
    # The test set holds everything of the main one.
    [ "$1" = main ] || stamp_of main >"$venv/stamp-main"
    rm -f "$log"
  fi
  unlock
}
