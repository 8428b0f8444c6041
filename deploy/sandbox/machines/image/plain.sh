#!/usr/bin/env bash
# plain.sh ROOT: makes the root filesystem of a machine as EC2 would start it from a plain image: systemd, sshd,
# cloud-init and Python, no Ray. It is of this machine's own release, by its own apt sources and settings.
# Runs in a mount and process namespace of its own (see machine-images.sh).
set -euo pipefail
image=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$1

packages=(
    systemd systemd-sysv dbus libpam-systemd ifupdown iproute2 iputils-ping netbase
    openssh-server openssh-client cloud-init sudo rsync curl ca-certificates procps less
    python3 python3-venv
)

# What never helps in a machine of the sandbox: an `is-system-running` that says `running` is worth something only
# when nothing can fail for want of the internet or of a disk.
masked=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    systemd-networkd.service
)

# This machine's sources for its own release, one line each; those of other vendors are not wanted.
# shellcheck disable=SC2016  # the format is apt's
sources() {
    local release=$1 uri suite component signed trusted options
    while IFS='|' read -r uri suite component signed trusted; do
        [[ $suite =~ ^$release(-updates|-security)?$ && $component =~ ^(main|universe)$ ]] || continue
        options=()
        # What a source does not say is left as it stands in the format.
        [[ $signed == /* ]] && options+=("signed-by=$signed")
        [[ $trusted == yes ]] && options+=(trusted=yes)
        echo "deb ${options[*]:+[${options[*]}] }$uri $suite $component"
    done < <(apt-get indextargets \
        --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(TRUSTED)' 'Created-By: Packages')
}

# How this machine reaches its sources: proxies, certificates, time-outs; not which further files it fetches.
access() { apt-config dump Acquire | grep -vE '^Acquire::(IndexTargets|Changelogs|GzipIndexes|Languages)'; }

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources "$release" >"$TMPDIR/sources"
access >"$TMPDIR/access"
[[ -s $TMPDIR/sources ]] || {
    echo "apt knows no source of this machine's release, $release" >&2
    exit 1
}
mmdebstrap --mode=root --variant=minbase --aptopt="$TMPDIR/access" --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$(IFS=, && echo "${packages[*]}")" "$release" "$root" "$TMPDIR/sources"

# What one machine has and an image has not, and what is this machine's alone. With a DHCP client there, cloud-init
# waits for an answer to it.
rm -f "$root"/etc/{hostname,resolv.conf} "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" \
    "$root"/etc/apt/{sources.list,sources.list.d/*,apt.conf.d/99mmdebstrap} "$root/usr/sbin/dhclient"
: >"$root/etc/machine-id"

while IFS= read -r -d '' file; do
    install -D --mode=0644 "$image/files/$file" "$root/$file"
done < <(cd "$image/files" && find . -type f -print0)
for unit in "${masked[@]}"; do ln -sfn /dev/null "$root/etc/systemd/system/$unit"; done
