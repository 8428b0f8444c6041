#!/usr/bin/env bash
# Provides target/sandbox/venv: the Python that runs the stand-in for AWS, with the packages of its requirements.lock.
# Made once, into ${XDG_CACHE_HOME:-~/.cache}/rayward/<hash of the lock>/venv.
set -euo pipefail
# shellcheck source=deploy/sandbox/tools/cache.sh
source "$(dirname "$0")/cache.sh"

requirements=$repository/deploy/sandbox/aws/requirements.lock
cache=$(cache_for "$requirements")
venv=$cache/venv
# Written last: a virtual environment cannot be moved into place, so it is made there.
complete=$venv/complete

install_packages() {
    rm -rf "$venv"
    python3 -m venv "$venv" && "$venv/bin/python" -m pip install --disable-pip-version-check -r "$requirements"
}

if [[ ! -e $complete ]]; then
    lock_cache "$cache" "the Python packages"
    if [[ ! -e $complete ]]; then
        started=$SECONDS
        say "installing the Python packages of the AWS stand-in (usually half a minute, once for this machine)"
        logged "$logs/venv.log" "installing the Python packages" install_packages
        touch "$complete"
        say "installed the Python packages in $((SECONDS - started)) s"
    fi
fi
ln -sfn "$venv" "$installed/venv"
