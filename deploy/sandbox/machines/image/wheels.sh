#!/usr/bin/env bash
# wheels.sh FOLDER PLAIN PYTHON: makes FOLDER/simple, a package index with the wheels of requirements.lock for the
# Python of the image PLAIN, fetched by the pip of PYTHON with this machine's own settings.
set -euo pipefail
image=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1
plain=$2
python=$3

# pip fetches for another Python when it is told the platforms that one accepts.
version=$(chroot "$plain" python3 -c 'import platform; print(platform.python_version())')
libc=$(chroot "$plain" python3 -c 'import platform; print(platform.libc_ver()[1].split(".")[1])')
machine=$(uname -m)
platforms=("manylinux2014_$machine" "manylinux1_$machine" "linux_$machine")
for ((minor = libc; minor >= 5; minor--)); do platforms+=("manylinux_2_${minor}_$machine"); done

"$python" -m pip download --disable-pip-version-check --no-deps --only-binary=:all: --python-version "$version" \
    "${platforms[@]/#/--platform=}" --dest "$TMPDIR/wheels" --requirement "$image/requirements.lock"

# The pages that PEP 503 asks for: one that names the projects, and one for each that names its wheels.
link() { printf '<a href="%s">%s</a><br>\n' "$1" "$2"; }
simple=$folder/simple
mkdir "$simple"
cd "$TMPDIR/wheels"
for wheel in *.whl; do
    project=$(tr '[:upper:]_.' '[:lower:]--' <<<"${wheel%%-*}")
    digest=$(sha256sum "$wheel")
    mkdir "$simple/$project"
    mv "$wheel" "$simple/$project/"
    link "$wheel#sha256=${digest%% *}" "$wheel" >"$simple/$project/index.html"
    link "$project/" "$project" >>"$simple/index.html"
done
