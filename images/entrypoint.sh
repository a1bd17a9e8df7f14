#!/bin/sh
# entrypoint.sh STAGE [WORD...]: run the words if the first is a command on PATH (`sh`, `flts-eval`), else STAGE
# with them.
set -eu
stage=$1
shift
case ${1--} in
  -*) ;;
  *) if [ -n "$(command -v "$1")" ]; then exec "$@"; fi ;;
esac
exec "$stage" "$@"
