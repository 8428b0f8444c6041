# shellcheck shell=bash
# What the scripts of this folder share: where things go, and how they speak. Sourced, never run.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../../.." && pwd)
# Links to whatever is used, wherever it came from: what the Makefile and the tests look at.
installed=$repository/target/sandbox
logs=$repository/target/logs
mkdir -p "$installed" "$logs"

say() { printf '  %s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Whether the sandbox can have machines here: they are made of Debian's or Ubuntu's packages, by root.
machines_possible() { ((EUID == 0)) && [[ -e /etc/debian_version ]]; }

# cache_for FILE...: the folder that belongs to exactly these lock files.
cache_for() {
    printf '%s/rayward/%s' "${XDG_CACHE_HOME:-$HOME/.cache}" "$(cat "$@" | sha256sum | cut -c1-16)"
}

# lock_cache FOLDER WHAT: makes the folder and keeps every other run out of it until this one ends.
lock_cache() {
    mkdir -p "$1"
    exec {cache_lock}>"$1/lock"
    if ! flock --nonblock "$cache_lock"; then
        say "another run is making $2; waiting for it"
        flock "$cache_lock"
    fi
}

# logged LOG WHAT COMMAND...: runs it with all output in the log, and shows the end of the log when it fails.
logged() {
    local log=$1 what=$2
    shift 2
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die "$what failed; the whole log is $log"
    fi
}
