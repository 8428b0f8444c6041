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

# This machine's sources for its own release, of either format: one a line, and one a paragraph. Those that other
# vendors keep for their own programs are not wanted.
sources() {
    local release=$1 folder=$2 suites="$1(-updates|-security)?"
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        grep -E "^deb .*[[:space:]]${suites}[[:space:]]+(.*[[:space:]])?main" >"$folder/lines.list" || true
    # With an empty line after each file: it ends a paragraph.
    find /etc/apt/sources.list.d -name '*.sources' -exec cat {} \; -exec echo \; | grep -v '^#' |
        awk -v suites="(^|\n)Suites:([^\n]*[[:blank:]])?$suites([[:blank:]]|\n|$)" '
            BEGIN {RS = ""; ORS = "\n\n"}
            $0 ~ suites && /(^|\n)Types:[^\n]*deb([[:blank:]]|\n|$)/ && /(^|\n)Components:[^\n]*main/ &&
                tolower($0) !~ /(^|\n)enabled: *(no|false)/' >"$folder/paragraphs.sources" || true
    find "$folder" -type f -size +0
}

# How this machine reaches its sources: proxies, certificates, time-outs; not which further files it fetches.
access() { apt-config dump Acquire | grep -vE '^Acquire::(IndexTargets|Changelogs|GzipIndexes|Languages)'; }

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mkdir "$TMPDIR/sources"
mapfile -t mirrors < <(sources "$release" "$TMPDIR/sources")
if ((${#mirrors[@]} == 0)); then
    echo "no source of this machine's release, $release, is in /etc/apt/sources.list or /etc/apt/sources.list.d" >&2
    exit 1
fi
access >"$TMPDIR/access"
mmdebstrap --mode=root --variant=minbase --aptopt="$TMPDIR/access" --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$(IFS=, && echo "${packages[*]}")" "$release" "$root" "${mirrors[@]}"

# What one machine has and an image has not, and what is this machine's alone. With a DHCP client there, cloud-init
# waits for an answer to it.
rm -f "$root"/etc/{hostname,resolv.conf} "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" \
    "$root"/etc/apt/{sources.list,sources.list.d/*,apt.conf.d/99mmdebstrap} "$root/usr/sbin/dhclient"
: >"$root/etc/machine-id"

while IFS= read -r -d '' file; do
    install -D --mode=0644 "$image/files/$file" "$root/$file"
done < <(cd "$image/files" && find . -type f -print0)
for unit in "${masked[@]}"; do ln -sfn /dev/null "$root/etc/systemd/system/$unit"; done
