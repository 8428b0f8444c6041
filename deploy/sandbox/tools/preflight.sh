#!/usr/bin/env bash
# preflight.sh [COMMAND=PACKAGE...]: checks that this machine has what the sandbox needs, and says in one message all
# that is missing and how to get it. Arguments name further commands and the Debian packages that hold them.
# As root on Debian or Ubuntu it installs missing packages itself.
set -euo pipefail
# shellcheck source=deploy/sandbox/tools/cache.sh
source "$(dirname "$0")/cache.sh"

missing=()
packages=()

at_least() { [[ $(printf '%s\n' "$1" "$2" | sort --version-sort | head -n 1) == "$1" ]]; }

need_package() {
    [[ " ${packages[*]} " == *" $1 "* ]] || packages+=("$1")
}

check_packages() {
    packages=()
    local need needs=(ip=iproute2 unshare=util-linux nsenter=util-linux setpriv=util-linux flock=util-linux
        pkill=procps openssl=openssl cc=build-essential "$@")
    if machines_possible; then
        needs+=(mmdebstrap=mmdebstrap systemd-nspawn=systemd-container nft=nftables mkfs.ext4=e2fsprogs
            sysctl=procps)
    fi
    for need in "${needs[@]}"; do
        command -v "${need%%=*}" >/dev/null || need_package "${need##*=}"
    done
    # Debian splits what `python3 -m venv` needs from Python itself.
    if command -v python3 >/dev/null; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || need_package python3-venv
    else
        need_package python3-venv
    fi
}

# As root on a Debian, missing packages are no question.
install_packages() {
    ((${#packages[@]} > 0 && EUID == 0)) && command -v apt-get >/dev/null || return 0
    say "installing Debian packages: ${packages[*]} (usually under a minute)"
    export DEBIAN_FRONTEND=noninteractive
    logged "$logs/apt-get.log" "apt-get update" apt-get update
    logged "$logs/apt-get.log" "apt-get install" apt-get install --yes --no-install-recommends "${packages[@]}"
}

check_rust() {
    local wanted found
    wanted=$(awk -F'"' '/^rust-version/ {print $2}' "$repository/Cargo.toml")
    if ! found=$(cd "$repository" && rustc --version 2>/dev/null | awk '{print $2}') || [[ -z $found ]] ||
        ! cargo --version >/dev/null 2>&1; then
        missing+=("Rust $wanted or newer, with cargo: https://rustup.rs")
    elif ! at_least "$wanted" "$found"; then
        missing+=("Rust $wanted or newer, here is $found: rustup update stable")
    elif ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        missing+=("rustfmt and clippy: rustup component add rustfmt clippy")
    fi
}

check_go() {
    local wanted=1.21 found
    # Not needed when nothing has to be built.
    "$here/build.sh" --present && return
    # From this version on, Go fetches the newer one that go.mod asks for.
    if ! found=$(go env GOVERSION 2>/dev/null); then
        missing+=("Go $wanted or newer, which builds the control plane: https://go.dev/dl")
    elif ! at_least "$wanted" "${found#go}"; then
        missing+=("Go $wanted or newer, here is ${found#go}: https://go.dev/dl")
    fi
}

check_python() {
    local wanted=3.11 found
    found=$(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null) || return 0
    at_least "$wanted" "$found" || missing+=("Python $wanted or newer as python3, here is $found")
}

check_boundary() {
    # Without its programs, which are in packages, it cannot be tried.
    ((${#packages[@]} == 0)) || return 0
    if "$here/../inside" true 2>/dev/null; then
        check_machines
        return
    fi
    if ((EUID == 0)); then
        missing+=("the right to make namespaces: a container has it when it is started with --privileged")
    else
        missing+=("namespaces for ordinary users: run make as root, or, as root, once:
    sysctl -w kernel.apparmor_restrict_unprivileged_userns=0    (Ubuntu)
    sysctl -w kernel.unprivileged_userns_clone=1                (older Debian)")
    fi
}

# What machines need of the kernel: control groups of their own, which can be ended as one, and layered file systems.
check_machines() {
    machines_possible || return 0
    # shellcheck disable=SC2016  # expanded inside
    "$here/../inside" bash -c '
        set -e
        group=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)/rayward-preflight-$$
        mkdir "$group"
        trap "rmdir $group" EXIT
        [[ -e $group/cgroup.kill ]]' 2>/dev/null ||
        missing+=("control groups of version 2 that can be written to: Linux 5.14 or newer; a container has them when
    it is started with --privileged")
    # shellcheck disable=SC2016
    "$here/../inside" bash -c '
        cd /run && mkdir lower upper work all &&
            mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay all' 2>/dev/null ||
        missing+=("overlay file systems: modprobe overlay")
}

[[ $(uname -s) == Linux ]] || die "the sandbox is made of Linux namespaces: use a Linux machine, or a virtual one"
check_packages "$@"
install_packages
check_packages "$@"
((${#packages[@]} == 0)) || missing+=("packages; on Debian or Ubuntu: sudo apt-get install ${packages[*]}")
check_rust
check_go
check_python
check_boundary

if ((${#missing[@]} > 0)); then
    printf 'This machine lacks what the sandbox needs:\n' >&2
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
fi
