#!/usr/bin/env bash
# Provides target/sandbox/machines/{plain,ray,wheels}: what the sandbox's machines are booted from.
#
#   plain    a root filesystem as of a plain EC2 image: systemd, sshd, cloud-init, Python
#   wheels   simple/, a package index of plain files (PEP 503) with Ray and what the training job needs
#   ray      a layer to be stacked over plain: the same packages, installed in /opt/ray
#
# Each is made once, into ${XDG_CACHE_HOME:-~/.cache}/rayward/<hash of what it is made from>, beside its place, and then
# renamed. Where that is not possible, it says so, and there are none.
set -euo pipefail
# shellcheck source=deploy/sandbox/tools/cache.sh
source "$(dirname "$0")/cache.sh"

image=$repository/deploy/sandbox/machines/image
python=$installed/venv/bin/python
# A machine's users read what is made here, whatever the person keeps private.
umask 022
# In MiB; all of it is 1.7 GiB, and a build has some of it twice.
space=4096

enough_space() {
    local free
    free=$(($(stat --file-system --format='%a * %S / 1048576' "$1")))
    ((free >= space)) ||
        die "making the machines' images takes $space MiB, and $1 has $free MiB left. Older versions of the sandbox's" \
            "programs and images are in ${1%/*}: any folder there can be deleted."
}

# In namespaces of its own: mounts are seen by nobody else, and all of it ends when this script does, even by SIGKILL.
contained() {
    setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child --mount-proc -- "$@"
}

# make_in CACHE NAME COMMAND [ARGUMENT...]: runs COMMAND FOLDER ARGUMENT..., and the folder becomes CACHE/NAME.
# The steps are one chain because `logged` calls this in a condition, where errexit does not hold.
make_in() {
    local place=$1/$2 new=$1/.$2.new command=$3
    shift 3
    rm -rf --one-file-system "$new" &&
        mkdir -p "$new/tree" "$new/tmp" &&
        TMPDIR=$new/tmp contained "$command" "$new/tree" "$@" &&
        chmod 0755 "$new/tree" &&
        mv --no-target-directory "$new/tree" "$place" &&
        rm -rf --one-file-system "$new"
}

# provide NAME CACHE WHAT USUALLY COMMAND [ARGUMENT...]
provide() {
    local name=$1 cache=$2 what=$3 usually=$4 started=$SECONDS
    shift 4
    if [[ ! -d $cache/$name ]]; then
        lock_cache "$cache" "$what"
        # The run that was waited for may have made it.
        if [[ ! -d $cache/$name ]]; then
            enough_space "$cache"
            say "making $what (usually $usually, once for this machine)"
            logged "$logs/image-$name.log" "making $what" make_in "$cache" "$name" "$@"
            say "made $what in $((SECONDS - started)) s"
        fi
    fi
    ln -sfn "$cache/$name" "$installed/machines/$name"
}

if ! machines_possible; then
    say "the sandbox has no machines here, only their records: machines need root on Debian or Ubuntu"
    exit 0
fi

mkdir -p "$installed/machines"
mapfile -t files < <(find "$image/files" -type f | LC_ALL=C sort)
plain=$(cache_for "$image/plain.sh" "${files[@]}" /etc/os-release)
wheels=$(cache_for "$image/wheels.sh" "$image/requirements.lock" <(echo "$plain"))
ray=$(cache_for "$image/ray.sh" <(echo "$wheels"))

provide plain "$plain" "the plain image of machines" "a minute" "$image/plain.sh"
provide wheels "$wheels" "the machines' package index" "half a minute" "$image/wheels.sh" "$plain/plain" "$python"
provide ray "$ray" "the image of machines with Ray" "half a minute" "$image/ray.sh" "$plain/plain" "$wheels/wheels"
