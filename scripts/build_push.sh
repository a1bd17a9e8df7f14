#!/usr/bin/env bash
# Build the stages' images, push them where asked, and write down what came out.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/build_push.sh [--push] [--registry HOST[/PATH]] [--tag TAG]... [--platform P] [--wheelhouse DIR]
                             [--base IMAGE] [--json FILE] [--dry-run] [stage...]

Builds flts-<stage>:kfp with BuildKit, for the stages named or all six; what has not changed comes from the cache.
Each image also gets the tag <short commit>, with -dirty where what it is built from is not committed.

  --push            push to the registry, with retries
  --registry HOST   tag HOST[/PATH]/flts-<stage> as well; --push needs it
  --tag TAG         one more tag, beside kfp and the commit's; may be repeated
  --platform P      platform to build for, such as linux/amd64; default: this machine's
  --wheelhouse DIR  folder of wheels to install from instead of an index: they are put into wheelhouse/
                    (scripts/wheelhouse.sh downloads them; what lies in wheelhouse/ is used in any case)
  --base IMAGE      Python 3.11 image to build on; default: python:3.11-slim-bookworm
  --json FILE       where to write each image's tags, digest, size and commit; default: build/images.json
  --dry-run         print the commands, run none
  -h, --help        show this help

Environment: DOCKER (the client; default: docker), TORCH=cuda (the GPU variant; default: cpu), TORCH_INDEX_URL (the index
that torch comes from where there is no wheelhouse), BUILD_FLAGS (more flags for docker build).

Exit code: 0 when every image is built (and pushed), 1 when one is not, 2 for wrong arguments.
TEXT
}

fail() {
  echo "build_push.sh: $1" >&2
  exit 2
}

# Those that share most come one after another.
readonly all_stages=(preprocess eval train-prophet train-gru train-lstm inference)
readonly push_attempts=4
docker=${DOCKER:-docker}
push='' registry='' platform='' wheelhouse='' base='' json='' dry_run=''
tags=(kfp)
stages=()

while (($#)); do
  case $1 in
    --push) push=1 ;;
    --dry-run) dry_run=1 ;;
    -h | --help) usage; exit 0 ;;
    --registry | --tag | --platform | --wheelhouse | --base | --json)
      (($# > 1)) && [[ $2 != -* ]] || fail "$1 needs a value; --help explains it"
      case $1 in
        --registry) registry=${2%/} ;;
        --tag) tags+=("$2") ;;
        --platform) platform=$2 ;;
        --wheelhouse) wheelhouse=$(cd "$2" 2>/dev/null && pwd) || fail "--wheelhouse: $2 is not a folder" ;;
        --base) base=$2 ;;
        --json) json=$(cd "$(dirname "$2")" 2>/dev/null && pwd)/${2##*/} || fail "--json: no folder $(dirname "$2")" ;;
      esac
      shift
      ;;
    -*) fail "$1 is not an option; --help lists them" ;;
    *)
      [[ " ${all_stages[*]} " == *" $1 "* ]] || fail "$1 is not a stage; they are: ${all_stages[*]}"
      stages+=("$1")
      ;;
  esac
  shift
done

((${#stages[@]})) || stages=("${all_stages[@]}")
[[ -z $push || -n $registry ]] || fail "--push needs --registry HOST[/PATH]"
[[ -z $registry || $registry =~ ^[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$ ]] ||
  fail "--registry: $registry is not HOST[:PORT][/PATH], lower case and without https://"
cd "$(dirname "$0")/.."
json=${json:-$PWD/build/images.json}
commit=$(git rev-parse HEAD) || fail "this is not a git checkout: images are labelled with their commit"
short=$(git rev-parse --short=12 HEAD)
[[ -z $(git status --porcelain -- flts images .dockerignore) ]] || short+=-dirty commit+=-dirty
tags+=("$short")
for tag in "${tags[@]}"; do
  [[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || fail "--tag: $tag is not a tag: letters, digits, _ . - are"
done
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' flts/__init__.py)
epoch=$(git log -1 --format=%ct)
created=$(TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)

run() { # a command, or its text where nothing is to be run
  if [[ -n $dry_run ]]; then
    printf '%q ' "$@" && echo
  else
    "$@"
  fi
}

references() { # of a stage: every name that its image gets, the registry's first
  local tag
  [[ -z $registry ]] || for tag in "${tags[@]}"; do echo "$registry/flts-$1:$tag"; done
  for tag in "${tags[@]}"; do echo "flts-$1:$tag"; done
}

build() {
  local stage=$1 reference
  local command=("$docker" build --file "images/$stage/Dockerfile" --progress plain
    --build-arg "VERSION=$version" --build-arg "REVISION=$commit" --build-arg "CREATED=$created"
    --build-arg "SOURCE_DATE_EPOCH=$epoch")
  [[ -z $base ]] || command+=(--build-arg "BASE_IMAGE=$base")
  [[ -z $platform ]] || command+=(--platform "$platform")
  case $stage in
    train-gru | train-lstm | inference)
      command+=(--build-arg "TORCH=${TORCH:-cpu}" --build-arg "TORCH_INDEX_URL=${TORCH_INDEX_URL-}")
      ;;
  esac
  while read -r reference; do command+=(--tag "$reference"); done < <(references "$stage")
  # shellcheck disable=SC2206 # flags are words
  command+=(${BUILD_FLAGS-})
  run env DOCKER_BUILDKIT=1 "${command[@]}" .
}

push_one() { # a reference, tried again after 1, 2 and 4 s
  local attempt
  for ((attempt = 1; ; attempt++)); do
    run "$docker" push "$1" && return
    ((attempt < push_attempts)) || return 1
    sleep $((1 << (attempt - 1)))
  done
}

push_all() {
  local tag
  for tag in "${tags[@]}"; do push_one "$registry/flts-$1:$tag" || return 1; done
}

inspect() { "$docker" image inspect --format "$2" "$1"; }

describe() { # one image as JSON; the values hold no character that JSON would escape
  local stage=$1 reference=${registry:+$registry/}flts-$1 digest
  digest=$(inspect "$reference:kfp" '{{range .RepoDigests}}{{println .}}{{end}}' | sed -n "s|^$reference@||p" | head -n 1)
  [[ -z $digest ]] && digest=null || digest="\"$digest\""
  printf '  "%s": {"image": "%s", "tags": [' "$stage" "$reference"
  printf '"%s"' "${tags[0]}"
  printf ', "%s"' "${tags[@]:1}"
  printf '], "digest": %s, "id": "%s", "size": %s, "commit": "%s"}' "$digest" \
    "$(inspect "$reference:kfp" '{{.Id}}')" "$(inspect "$reference:kfp" '{{.Size}}')" "$commit"
}

if [[ -n $wheelhouse && $wheelhouse != "$PWD/wheelhouse" ]]; then
  run find "$wheelhouse" -name '*.whl' -exec cp -u {} wheelhouse/ \;
fi
mkdir -p build/logs "$(dirname "$json")"
rows=() entries=() failed=0
for stage in "${all_stages[@]}"; do
  [[ " ${stages[*]} " == *" $stage "* ]] || continue
  if [[ -n $dry_run ]]; then
    build "$stage"
    [[ -z $push ]] || push_all "$stage"
    continue
  fi
  log=build/logs/$stage.log
  started=$SECONDS state=built
  echo "$stage: building, log in $log" >&2
  if ! build "$stage" >"$log" 2>&1; then
    state='NOT BUILT'
  elif [[ -n $push ]]; then
    state=pushed
    push_all "$stage" >>"$log" 2>&1 || state='NOT PUSHED'
  fi
  size=-
  if [[ $state == NOT* ]]; then
    failed=1
    tail -n 15 "$log" >&2
  else
    entries+=("$(describe "$stage")")
    size=$(($(inspect "flts-$stage:kfp" '{{.Size}}') / 1000000))
  fi
  rows+=("$(printf '%-14s %-10s %6s MB %5s s  %s' "$stage" "$state" "$size" $((SECONDS - started)) \
    "${registry:+$registry/}flts-$stage:{$(IFS=, && echo "${tags[*]}")}")")
done
[[ -z $dry_run ]] || exit 0

{
  echo '{'
  for ((i = 0; i < ${#entries[@]}; i++)); do
    ((i == 0)) || echo ','
    printf '%s' "${entries[i]}"
  done
  printf '\n}\n'
} >"$json.tmp"
mv "$json.tmp" "$json"
printf '%s\n' "${rows[@]}"
echo "written to $json"
exit $failed
