#!/usr/bin/env bash
# Create a virtual environment with the first Python >= 3.11 that can: make_venv.sh DIRECTORY
set -euo pipefail
target=${1:?usage: make_venv.sh DIRECTORY}

is_recent() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}
has_pip() {
  "$target/bin/python" -m pip --version >/dev/null 2>&1
}

if [ -x "$target/bin/python" ] && is_recent "$target/bin/python" && has_pip; then
  exit 0
fi

# PYTHON, when set, is the only candidate: a silent second choice would hide the mistake.
for python in ${PYTHON:-python3 python python3.13 python3.12 python3.11 python3.14}; do
  is_recent "$python" || continue
  # Debian splits ensurepip into python3-venv, so `venv` may fail where virtualenv or uv works.
  for maker in "$python -m venv" "$python -m virtualenv" "uv venv --seed --python $python"; do
    rm -rf "$target"
    if $maker "$target" >/dev/null 2>&1 && has_pip; then
      echo "made $target with $("$target/bin/python" --version)" >&2
      exit 0
    fi
  done
done

rm -rf "$target"
echo "No way to make $target: install Python 3.11 or newer with its venv module" \
  "(Debian: python3-venv), or set PYTHON=/path/to/python3.11." >&2
exit 1
