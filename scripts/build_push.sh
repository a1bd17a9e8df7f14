#!/usr/bin/env bash
# Build the images, push them where asked, and write down what came out.
set -euo pipefail
# docker ends a build that Ctrl-C stops with an exit code of its own: without this, the next image would be built.
trap 'exit 130' INT

usage() {
  cat <<'TEXT'
usage: scripts/build_push.sh [--push] [--registry HOST[:PORT][/PATH]] [--tag TAG]... [--platform P] [--wheelhouse DIR]
                             [--base IMAGE] [--json FILE] [--dry-run] [image...]

Builds images/<image>/Dockerfile as flts-<image>:kfp with BuildKit, for the images named or for all of them; what has
not changed comes from the cache. Each image also gets the tag <short commit>, with -dirty where its sources are not
committed.

  --push            push to the registry, with retries
  --registry HOST   tag HOST[:PORT][/PATH]/flts-<image> as well; --push needs it
  --tag TAG         one more tag, beside kfp and the commit's; may be repeated
  --platform P      platform to build for, such as linux/amd64; default: this machine's
  --wheelhouse DIR  install from the wheels in DIR instead of an index: they are copied to wheelhouse/, and builds use
                    whatever lies there (scripts/wheelhouse.sh fills it)
  --base IMAGE      Python 3.11 image to build on; default: python:3.11-slim-bookworm
  --json FILE       where to write each image's tags, digest, size and commit; default: build/images.json. Images that
                    are not built this time, or fail, keep the entries that they have there.
  --dry-run         print the commands, run none
  -h, --help        show this help

Environment: DOCKER (the client; default: docker), TORCH=cuda (the GPU variant; default: cpu), TORCH_INDEX_URL (the
index that torch comes from when there is no wheelhouse), SOURCE_URL (where the sources are, for the labels; default:
the repository of the GitHub workflow, or else git's remote origin), BUILD_FLAGS (more flags for docker build).

Exit code: 0 when every image is built (and pushed), 1 when one is not, 2 for wrong arguments or without an engine.
TEXT
}

fail() {
  echo "build_push.sh: $1" >&2
  exit 2
}

add_once() { # a value, to the array with that name
  local -n array=$1
  [[ " ${array[*]} " == *" $2 "* ]] || array+=("$2")
}

check_registry() { # the grammar of image references; see the reference package of the OCI distribution project
  local label='[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?' part='[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*'
  [[ $1 =~ ^$label(\.$label)*(:([0-9]{1,5}))?(/$part)*$ ]] ||
    fail "--registry: $1 is not HOST[:PORT][/PATH], with the path in lower case and without https://"
  local port=${BASH_REMATCH[5]}
  [[ -z $port ]] || ((10#$port >= 1 && 10#$port <= 65535)) || fail "--registry: port $port of $1 is not in 1..65535"
}

web_address() { # the web form of a repository's address, without secrets; nothing for a local folder
  sed -nE 's|^(https?://)([^/]*@)?|\1|; s|^ssh://([^/]*@)?([^/:]+)(:[0-9]+)?/|https://\2/|
    s|^[^/@]+@([^/:]+):/?|https://\1/|; s/[?#].*//; s|(\.git)?/*$||; \|^https?://[^[:space:]]+$|p' <<<"$1"
}

root=$(cd "$(dirname "$0")/.." && pwd)
all_images=("$root"/images/*/Dockerfile)
all_images=("${all_images[@]%/Dockerfile}")
all_images=("${all_images[@]##*/}")
readonly root all_images push_attempts=4
docker=${DOCKER:-docker}
torch=${TORCH:-cpu}
push='' registry='' platform='' wheelhouse='' base='' json=$root/build/images.json dry_run=''
tags=(kfp)
images=()

while (($#)); do
  case $1 in
    --push) push=1 ;;
    --dry-run) dry_run=1 ;;
    -h | --help) usage; exit 0 ;;
    --registry | --tag | --platform | --wheelhouse | --base | --json)
      [[ -n ${2-} && $2 != -* ]] || fail "$1 needs a value; --help explains it"
      case $1 in
        --registry) registry=${2%/} && check_registry "$registry" ;;
        --tag)
          [[ $2 =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] ||
            fail "--tag: $2 is not a tag: at most 128 letters, digits, _ . - that begin with none of . -"
          add_once tags "$2"
          ;;
        --platform) platform=$2 ;;
        --wheelhouse)
          wheelhouse=$(cd "$2" 2>/dev/null && pwd) || fail "--wheelhouse: $2 is not a folder"
          [[ -n $(find "$wheelhouse" -name '*.whl' -print -quit) ]] || fail "--wheelhouse: $2 has no wheels"
          ;;
        --base) base=$2 ;;
        --json)
          [[ $2 != */ && ! -d $2 ]] || fail "--json: $2 is a folder"
          json=$(cd "$(dirname "$2")" 2>/dev/null && pwd)/${2##*/} || fail "--json: no folder $(dirname "$2")"
          ;;
      esac
      shift
      ;;
    -*) fail "$1 is not an option; --help lists them" ;;
    *)
      [[ " ${all_images[*]} " == *" $1 "* ]] || fail "$1 is not an image; they are: ${all_images[*]}"
      add_once images "$1"
      ;;
  esac
  shift
done

((${#images[@]})) || images=("${all_images[@]}")
[[ -z $push || -n $registry ]] || fail "--push needs --registry HOST[:PORT][/PATH]"
[[ $torch == cpu || $torch == cuda ]] || fail "TORCH is cpu or cuda, not '$torch'"
cd "$root"
command -v python3 >/dev/null || fail "python3 is not a command here, and writes $json"
python3 scripts/images_json.py check "$json" || fail "--json: $json was not written by this script; move it away"
commit=$(git rev-parse HEAD 2>/dev/null) || fail "images are labelled with their commit, and git finds none in $root"
short=$(git rev-parse --short=12 HEAD)
[[ -z $(git status --porcelain -- flts images .dockerignore) ]] || short+=-dirty commit+=-dirty
add_once tags "$short"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' flts/version.py)
read -r epoch created < <(TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format='%ct %cd')
source=${SOURCE_URL:-${GITHUB_REPOSITORY:+${GITHUB_SERVER_URL-}/$GITHUB_REPOSITORY}}
source=$(web_address "${source:-$(git remote get-url origin 2>/dev/null)}")
[[ -n $source || -z ${SOURCE_URL-} ]] || fail "SOURCE_URL is not an address like https://HOST/PATH or git@HOST:PATH"
labels=("version=$version" "revision=$commit" "created=$created"
  ${source:+"source=$source" "url=$source" "documentation=$source#readme"})

run() { # a command, or print it in a dry run
  if [[ -n $dry_run ]]; then
    printf '%q ' "$@" && echo
  else
    "$@"
  fi
}

base_digest() { # the digest of an image in its registry; nothing for one that was only built here, or in a dry run
  [[ -z $dry_run ]] || return 0
  # BuildKit uses the engine's own copy of a base, but a copy that BuildKit pulls itself is not listed by the engine.
  "$docker" image inspect "$1" >/dev/null 2>&1 ||
    "$docker" pull ${platform:+--platform "$platform"} "$1" >&2 || return 0
  "$docker" image inspect "$1" | python3 scripts/images_json.py digest "$1"
}

build() {
  local image=$1 file=images/$1/Dockerfile tag name digest
  name=${base:-$(sed -n 's/^ARG BASE_IMAGE=//p' "$file")}
  digest=$(base_digest "$name") || return
  local all_labels=("${labels[@]}" "base.name=$name" ${digest:+"base.digest=$digest"})
  local command=("$docker" build --file "$file" --progress plain --build-arg "SOURCE_DATE_EPOCH=$epoch"
    "${all_labels[@]/#/--label=org.opencontainers.image.}")
  [[ -z $base ]] || command+=(--build-arg "BASE_IMAGE=$base")
  [[ -z $platform ]] || command+=(--platform "$platform")
  if grep -q '^ARG TORCH=' "$file"; then
    command+=(--build-arg "TORCH=$torch" --build-arg "TORCH_INDEX_URL=${TORCH_INDEX_URL-}")
  fi
  [[ -z $registry ]] || for tag in "${tags[@]}"; do command+=(--tag "$registry/flts-$image:$tag"); done
  for tag in "${tags[@]}"; do command+=(--tag "flts-$image:$tag"); done
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

if [[ -z $dry_run ]]; then
  command -v "$docker" >/dev/null || fail "$docker is not a command here: install Docker, or name its client in DOCKER"
  timeout 30 "$docker" version >/dev/null 2>&1 ||
    fail "no container engine answers $docker: start it, or see with '$docker version' why not"
  mkdir -p build/logs
  [[ -w ${json%/*} ]] || fail "--json: ${json%/*} is not writable"
fi
if [[ -n $wheelhouse && $wheelhouse != "$root/wheelhouse" ]]; then
  run find "$wheelhouse" -name '*.whl' -exec cp -u {} wheelhouse/ \;
fi

# What is recorded comes from `image inspect`: Docker 20.10 has no --metadata-file, and the file of newer versions has
# neither the size nor, as it is written before the push, the registry's digest.
rows=() failed=0
for image in "${images[@]}"; do
  if [[ -n $dry_run ]]; then
    build "$image"
    [[ -z $push ]] || push_all "$image"
    continue
  fi
  log=build/logs/$image.log started=$SECONDS size='' reference=${registry:+$registry/}flts-$image
  echo "$image: building, log in $log" >&2
  if ! build "$image" >"$log" 2>&1; then
    state='NOT BUILT'
  elif [[ -n $push ]] && ! push_all "$image" >>"$log" 2>&1; then
    state='NOT PUSHED'
  elif ! inspected=$("$docker" image inspect "$reference:kfp" 2>>"$log"); then
    state='NOT LOADED'
  elif ! size=$(python3 scripts/images_json.py record "$json" "$image" "$reference" "$commit" "${tags[@]}" \
    <<<"$inspected" 2>>"$log"); then
    state='NOT LISTED'
  else
    [[ -n $push ]] && state=pushed || state=built
  fi
  if [[ $state == NOT* ]]; then
    failed=$((failed + 1))
    tail -n 15 "$log" >&2
    echo "$image: $state, see $log" >&2
  fi
  rows+=("$(printf '%-14s %-10s %6s MB %5s s  %s' "$image" "$state" "${size:--}" $((SECONDS - started)) \
    "$reference:{$(IFS=, && echo "${tags[*]}")}")")
done
[[ -z $dry_run ]] || exit 0

printf '%s\n' "${rows[@]}"
((failed == ${#images[@]})) || echo "written to $json"
((failed == 0)) || exit 1
