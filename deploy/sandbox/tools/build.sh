#!/usr/bin/env bash
# Provides etcd, kube-apiserver, kube-controller-manager, kubectl and helm in target/sandbox/bin.
#
# In this order: a program in $KUBEBUILDER_ASSETS; kubectl and helm of a fitting version on the PATH; one that was built
# earlier; a build from go.mod, once, into ${XDG_CACHE_HOME:-~/.cache}/rayward/<hash of go.mod and go.sum>/bin.
# With --present it does nothing but to say, by its exit code, whether all are there without a build.
set -euo pipefail
# shellcheck source=deploy/sandbox/tools/cache.sh
source "$(dirname "$0")/cache.sh"

# The version that go.mod pins for a module.
pinned() { awk -v module="$1" '$1 == module && $2 ~ /^v/ {print $2; exit}' "$here/go.mod"; }

kubernetes=$(pinned k8s.io/kubernetes)
helm=$(pinned helm.sh/helm/v4)
kubernetes_minor=$(cut -d. -f2 <<<"$kubernetes")
cache=$(cache_for "$here/go.mod" "$here/go.sum")

# A kubectl is supported one minor version either side of its API server.
kubectl_fits() {
    local minor
    minor=$("$1" version --client -o json 2>/dev/null | grep -o '"minor": *"[0-9]*' | grep -o '[0-9]*$') || return 1
    ((minor >= kubernetes_minor - 1 && minor <= kubernetes_minor + 1))
}

helm_fits() { [[ $("$1" version --short 2>/dev/null) == "${helm%%.*}."* ]]; }

# The program of this name that need not be built, if there is one.
present() {
    local name=$1 found
    if [[ -x ${KUBEBUILDER_ASSETS:-}/$name && -n ${KUBEBUILDER_ASSETS:-} ]]; then
        echo "$KUBEBUILDER_ASSETS/$name"
    elif [[ $name == kubectl || $name == helm ]] && found=$(command -v "$name") && "${name}_fits" "$found"; then
        echo "$found"
    elif [[ -x $cache/bin/$name ]]; then
        echo "$cache/bin/$name"
    else
        return 1
    fi
}

# build NAME PACKAGE USUALLY: into a file beside its place and then renamed, so that a half-built one is never used.
build() {
    local name=$1 package=$2 usually=$3 started=$SECONDS
    local version=k8s.io/component-base/version
    say "building $name (usually $usually, once for this machine)"
    cd "$here"
    # In the flags from the first build on: a chart's kubeVersion refuses a server that says v0.0.0.
    local flags=(-s -w "-X=$version.gitVersion=$kubernetes" "-X=$version.gitMajor=1"
        "-X=$version.gitMinor=$kubernetes_minor" "-X=helm.sh/helm/v4/internal/version.version=$helm")
    logged "$logs/build-$name.log" "building $name" \
        go build -mod=readonly -trimpath -ldflags "${flags[*]}" -o "$cache/bin/.$name.new" "$package"
    mv "$cache/bin/.$name.new" "$cache/bin/$name"
    say "built $name in $((SECONDS - started)) s"
}

# provide NAME PACKAGE USUALLY
provide() {
    local name=$1 path
    if ! path=$(present "$name"); then
        # Kept until this script ends.
        [[ -n ${cache_lock:-} ]] || lock_cache "$cache" "the control plane's programs"
        mkdir -p "$cache/bin"
        # The run that was waited for may have built it.
        [[ -x $cache/bin/$name ]] || build "$@"
        path=$cache/bin/$name
    fi
    ln -sfn "$path" "$installed/bin/$name"
}

if [[ ${1:-} == --present ]]; then
    for name in etcd kube-apiserver kube-controller-manager kubectl helm; do
        present "$name" >/dev/null || exit 1
    done
    exit 0
fi

mkdir -p "$installed/bin"
provide etcd go.etcd.io/etcd/server/v3 "half a minute"
provide kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "4 minutes"
provide kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "1 minute"
provide kubectl k8s.io/kubernetes/cmd/kubectl "half a minute"
provide helm helm.sh/helm/v4/cmd/helm "1 to 2 minutes"
