#!/usr/bin/env bash
# Write images/locks/*.txt: what each layer of the images installs, in the versions of locks/dev.txt, with hashes.
# A layer leaves out what the layers under it have. `make lock` runs this; so does whoever changes an extra.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

resolve() { # names and versions of everything that the arguments ask for
  "$uv" pip compile --quiet --no-header --no-annotate --no-emit-index-url --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --constraint locks/dev.txt "$@"
}

# Usage: layer NAME "LAYERS UNDER IT" ARGUMENTS OF resolve...
layer() {
  local name=$1 below=$2 under
  shift 2
  resolve "$@" | sort >"$scratch/$name.all"
  for under in $below; do cat "$scratch/$under.all"; done | sort -u >"$scratch/below"
  comm -23 "$scratch/$name.all" "$scratch/below" >"$scratch/$name.in"
  {
    echo "# Written by scripts/image_locks.sh: change pyproject.toml or locks/dev.txt, and run make lock."
    # PyTorch's builds for CPU and CUDA have one version and different files: no hash fits both.
    grep '^torch==' "$scratch/$name.in" || true
    grep -v '^torch==' "$scratch/$name.in" >"$scratch/hashed.in"
    resolve --no-config --no-deps --generate-hashes "$scratch/hashed.in"
  } >"$scratch/$name.txt"
  mv "$scratch/$name.txt" "images/locks/$name.txt"
}

mkdir -p images/locks
layer base "" --extra s3 pyproject.toml
layer numeric base --extra numeric pyproject.toml
layer tracking "base numeric" --extra tracking pyproject.toml
layer holidays "base numeric tracking" --extra holidays pyproject.toml
layer prophet "base numeric tracking" --extra prophet pyproject.toml
layer torch-cpu "base numeric tracking" --extra torch pyproject.toml
# Without the project's configuration, which says that torch needs no CUDA, but for what it says of uplot-python.
{ echo 'dependency-metadata = ['; grep 'name = "uplot-python"' pyproject.toml; echo ']'; } >"$scratch/uv.toml"
layer torch-cuda "base numeric tracking" --config-file "$scratch/uv.toml" --extra torch pyproject.toml
