#!/usr/bin/env bash
# Download the wheels that the images install, so that they build without an index.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/wheelhouse.sh [DIR]

Downloads the packages pinned in images/locks/*.txt and deploy/dev/*/lock.txt into DIR, with the pip of .venv. By default
DIR is wheelhouse/, which git ignores; scripts/build_push.sh and scripts/dev_images.sh install from it.

Environment: TORCH=cuda (the GPU variant of torch; default: cpu), TORCH_INDEX_URL (the index that torch comes from),
PYTHON (a Python 3.11 with pip; default: .venv/bin/python).
TEXT
}

fail() {
  echo "wheelhouse.sh: $1" >&2
  exit 2
}

case ${1-} in
  -h | --help) usage; exit 0 ;;
  -*) fail "$1 is not an option; see --help" ;;
esac
(($# <= 1)) || fail "one folder at most, not $#"
torch=${TORCH:-cpu}
[[ $torch == cpu || $torch == cuda ]] || fail "TORCH is cpu or cuda, not '$torch'"
directory=${1:+$(realpath -m "$1")}
cd "$(dirname "$0")/.."
directory=${directory:-$PWD/wheelhouse}
python=${PYTHON:-.venv/bin/python}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
  fail "$python is not a Python 3.11, which the images run and pip downloads for; make venv makes one"

download() {
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$directory" "$@"
}

mkdir -p "$directory"
for lock in images/locks/*.txt deploy/dev/*/lock.txt; do
  [[ $lock != */torch-* || $lock == */torch-$torch.txt ]] || continue
  grep -v '^torch==' "$lock" | download --require-hashes -r /dev/stdin
done
download ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep '^torch==' "images/locks/torch-$torch.txt")"
echo "$directory: $(find "$directory" -name '*.whl' | wc -l) wheels, $(du -sm "$directory" | cut -f1) MB"
