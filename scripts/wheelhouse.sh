#!/usr/bin/env bash
# Download the wheels that the images install into a folder, so that they build without an index.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/wheelhouse.sh [--torch cpu|cuda] [DIR]

Downloads what images/locks/*.txt pin, with the pip of .venv, into DIR (default: wheelhouse/, which git ignores and
scripts/build_push.sh installs from). cpu (default) or cuda chooses torch's lock; TORCH_INDEX_URL, where it is set,
is the index that torch itself comes from.
TEXT
}

torch=cpu
directory=
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --torch) torch=${2-}; shift ;;
    -*) echo "wheelhouse.sh: $1 is not an option; --help lists them" >&2; exit 2 ;;
    *) directory=$(realpath -m "$1") ;;
  esac
  shift
done
[[ $torch == cpu || $torch == cuda ]] || { echo "wheelhouse.sh: --torch is cpu or cuda, got '$torch'" >&2; exit 2; }
cd "$(dirname "$0")/.."
directory=${directory:-$PWD/wheelhouse}
python=${PYTHON:-.venv/bin/python}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
  { echo "wheelhouse.sh: the images run Python 3.11, and pip downloads for its own Python: $python is another" >&2; exit 2; }

download() {
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$directory" "$@"
}

mkdir -p "$directory"
for lock in base numeric tracking holidays prophet "torch-$torch"; do
  grep -v '^torch==' "images/locks/$lock.txt" | download --require-hashes -r /dev/stdin
done
download ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$(grep '^torch==' "images/locks/torch-$torch.txt")"
echo "$directory: $(find "$directory" -name '*.whl' | wc -l) wheels, $(du -sm "$directory" | cut -f1) MB"
