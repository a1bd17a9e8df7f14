#!/bin/sh
# install.sh NAME: install deploy/dev/NAME/lock.txt into /opt. Runs only inside `docker build`: wheels come from the
# mounted wheelhouse, or from the index when that is empty.
set -eu
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1
if ls /mnt/wheelhouse/*.whl >/dev/null 2>&1; then source="--no-index --find-links /mnt/wheelhouse"; else source=""; fi
python3 -m venv /opt
# shellcheck disable=SC2086 # $source is words
/opt/bin/pip install --quiet --no-deps --only-binary :all: --require-hashes $source -r "/mnt/dev/$1/lock.txt"
