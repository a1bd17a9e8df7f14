#!/bin/sh
# Install one lock into /app, the virtual environment of every image, without what a running stage does not need.
# Runs only inside `docker build`: wheels come from the mounted wheelhouse, or from the index when that is empty.
# The installed files do not depend on when or where they are built: no time stamps, directory order or random seeds.
set -eu
umask 022
export LC_ALL=C PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
export PIP_NO_INPUT=1 PIP_CACHE_DIR=/mnt/cache
packages=/app/lib/python3.11/site-packages
marker=$(mktemp)
epoch=1980-01-01T00:00:00Z

compile() { # "unchecked": every file has the same time, and nobody edits code in an image
  python3 -m compileall -q -f --invalidation-mode unchecked-hash "$@"
}

install() {
  # shellcheck disable=SC2086 # $source is words
  /mnt/tools/bin/python -m pip --python /app/bin/python install --quiet --no-deps --no-compile \
    --only-binary :all: $source "$@"
}

if [ ! -d /app ]; then
  python3 -m venv --without-pip /app
  rm -rf /app/bin/activate* /app/bin/Activate* /app/include
  # The public Python image leaves its standard library uncompiled, and no stage may write there.
  stdlib=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
  if [ ! -d "$stdlib/__pycache__" ]; then
    compile -x '/(site|dist)-packages/|/(idlelib|lib2to3|test|tests|turtledemo)/' "$stdlib"
    find "$stdlib" -cnewer "$marker" -exec touch -hcd "$epoch" {} +
  fi
fi

if ls /mnt/wheelhouse/*.whl >/dev/null 2>&1; then source="--no-index --find-links /mnt/wheelhouse"; else source=""; fi

# torch has no hash in the locks (its CPU and CUDA builds share a version), and may have an index of its own.
if torch=$(grep '^torch==' /mnt/lock.txt); then
  grep -v '^torch==' /mnt/lock.txt >/tmp/others.txt
  install --require-hashes -r /tmp/others.txt
  [ -n "$source" ] || [ -z "${TORCH_INDEX_URL-}" ] || source="--index-url $TORCH_INDEX_URL"
  install "$torch"
else
  install --require-hashes -r /mnt/lock.txt
fi

# Packages' commands are for people at a prompt; only Python itself stays in bin/.
find /app/bin -type f -delete
# Tests, headers, and what compiles against them. torch.testing is no test: importing torch needs even its inner part.
find "$packages" -depth -type d \( -name tests -o -name test -o -name include \) -exec rm -rf {} +
rm -f "$packages/torch/testing/_internal/py312_intrinsics.py" # a test for later Pythons; this one cannot compile it
find "$packages" -type f \( -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.c' -o -name '*.cpp' -o -name '*.cc' \
  -o -name '*.cu' -o -name '*.cuh' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyx' -o -name '*.pyi' \) -delete
# torch/bin holds test programs and protoc; importing torch needs only torch_shm_manager.
[ ! -d "$packages/torch/bin" ] || find "$packages/torch/bin" -type f ! -name torch_shm_manager -delete
# CmdStan's sources and build tools: fits need only the compiled model and its thread library.
find "$packages" -path '*/stan_model/cmdstan-*' -type f ! -name 'libtbb*.so*' ! -name makefile -delete
find "$packages" -path '*/stan_model/cmdstan-*' -depth -type d -empty -delete

# Neither LightGBM's wheel nor the base has an OpenMP runtime: LD_LIBRARY_PATH leads to the one that torch, where it is
# installed, or another package has. All of a process then use the same one.
if [ -d "$packages/lightgbm" ] && [ ! -e /app/lib/libgomp.so.1 ]; then
  openmp=$(find "$packages/torch/lib" "$packages/pykdtree.libs" -name 'libgomp*.so.1*' 2>/dev/null | head -n 1)
  ln -s "${openmp:?is missing}" /app/lib/libgomp.so.1
fi

# Files that lower layers compiled stay untouched: written again, they would be in this layer too.
find "$packages" -name '*.py' -cnewer "$marker" | sort >/tmp/modules.txt
compile -i /tmp/modules.txt
find /app -cnewer "$marker" -exec touch -hcd "$epoch" {} +
