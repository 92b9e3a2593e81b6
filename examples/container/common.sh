#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The engine and the base of an image, for `run` here and for tests/container/run. To be sourced; they have a directory
# $work, and are root where they make a base.
#
# SC2034: run_options is for them. SC2154: work is theirs.
# shellcheck disable=SC2034,SC2154

ASK_DEADLINE_S=30
MAKE_BASE_DEADLINE_S=600
CAP_SYS_RESOURCE=24

cache=${XDG_CACHE_HOME:-$HOME/.cache}/memwatch

give_up() {
    echo "$0: $*" >&2
    exit 2
}

# The engine with a deadline.
engine() { # SECONDS ARGUMENT...
    timeout --kill-after=10 "$1" "${engine[@]}" "${@:2}"
}

# Completes podman's command, which is in `engine`, and leaves what its `run` needs besides in `run_options`. False: it
# is not here, or does not work.
choose_podman() {
    local version capabilities
    run_options=(--network none)
    command -v podman >/dev/null || return
    version=$(engine "$ASK_DEADLINE_S" info --format '{{.Host.CgroupsVersion}}' 2>/dev/null) || return
    # crun, podman's first choice, refuses some machines that have the memory controller in cgroup v1
    [[ $version == v1 ]] && command -v runc >/dev/null && engine+=(--runtime runc)
    # podman raises two limits of its containers, which even root may not do without that capability
    capabilities=$(sed -n 's/^CapEff:\s*//p' /proc/self/status)
    ((EUID == 0 && !(16#$capabilities >> CAP_SYS_RESOURCE & 1))) &&
        run_options+=(--ulimit nofile=1024:1024 --ulimit nproc=4096:4096)
    return 0
}

# Makes a tar file of a minimal Debian.
make_base() { # SUITE FILE
    local file mirrors=()
    # those that this machine uses, where they have what we want
    if grep --quiet "^VERSION_CODENAME=$1$" /etc/os-release; then
        for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
            [[ ! -s $file ]] || mirrors=("$file")
        done
    fi
    echo "making a base image with mmdebstrap, once: $2" >&2
    timeout --kill-after=10 "$MAKE_BASE_DEADLINE_S" mmdebstrap --quiet --variant=minbase "$1" "$work/base.tar" \
        "${mirrors[@]}" >"$work/mmdebstrap" 2>&1 || give_up "mmdebstrap failed: $(tail -n 5 "$work/mmdebstrap")"
    mkdir -p "$cache"
    cp "$work/base.tar" "$2.$$"
    rm "$work/base.tar"
    mv "$2.$$" "$2" # whole or not at all, also with two of us at work
}

# Prints the path of a tar file of a minimal Debian.
base_file() { # SUITE
    echo "$cache/base-$1-$(uname -m).tar"
}

# Makes that file where the cache does not have it.
need_base() { # SUITE
    local file
    file=$(base_file "$1")
    [[ -e $file ]] || make_base "$1" "$file"
}
