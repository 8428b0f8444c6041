#!/usr/bin/env bash
# ray.sh LAYER PLAIN WHEELS: makes the layer that, stacked over the image PLAIN, gives the image with Ray: the virtual
# environment /opt/ray, of the packages of requirements.lock out of the index WHEELS.
# Runs in a mount and process namespace of its own (see machine-images.sh).
set -euo pipefail
image=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
layer=$1
plain=$2
wheels=$3

# Over the plain image only in this namespace: nothing is written into it.
mkdir -p "$layer/opt/ray"
mount -t tmpfs tmpfs "$plain/mnt"
mkdir "$plain/mnt/wheels" "$plain/mnt/tmp"
mount --bind -o ro "$wheels" "$plain/mnt/wheels"
cp "$image/requirements.lock" "$plain/mnt/"
mount -t tmpfs tmpfs "$plain/opt"
mkdir "$plain/opt/ray"
mount --bind "$layer/opt/ray" "$plain/opt/ray"
mount -t proc proc "$plain/proc"
mount --rbind /dev "$plain/dev"

in_image() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt TMPDIR=/mnt/tmp chroot "$plain" "$@"; }
in_image python3 -m venv /opt/ray
# By the pages' links, so that nothing but the index and the lock decides; compiled afterwards, on all processors.
in_image /opt/ray/bin/python -m pip install --isolated --no-cache-dir --no-compile --no-deps \
    --index-url file:///mnt/wheels/simple --requirement /mnt/requirements.lock
in_image /opt/ray/bin/python -m pip check
in_image /opt/ray/bin/python -m compileall -q -j 0 /opt/ray/lib ||
    echo "some files are for other versions of Python: they are compiled, or refused, when they are imported"
