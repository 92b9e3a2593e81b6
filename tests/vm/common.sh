#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What `run` and `run-systemd` share: the kernel, the machine, its report. To be sourced; they make the directory $work.
#
# SC2154: work and image are theirs. SC2034: here is for them.
# shellcheck disable=SC2154,SC2034

VM_DEADLINE_S=600
DOWNLOAD_DEADLINE_S=300
KERNEL_METAPACKAGE=linux-image-cloud-amd64

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/memwatch

give_up() {
    echo "tests/vm/$(basename "$0"): $*" >&2
    exit 2
}

require() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || give_up "$1 is missing: install the package $2"
}

# Prints the path of a Debian kernel, downloaded where the cache does not have it.
kernel() {
    local package
    package=$(LC_ALL=C apt-cache depends "$KERNEL_METAPACKAGE" 2>/dev/null | sed -n '/^ *Depends: /{s///p;q}' || true)
    [[ $package ]] || give_up "apt does not know $KERNEL_METAPACKAGE: run apt-get update"
    local image=$cache/$package.vmlinuz
    if [[ ! -e $image ]]; then
        local unpacked=$work/kernel
        mkdir -p "$cache" "$unpacked"
        echo "tests/vm: downloading $package" >&2
        (cd "$unpacked" && timeout "$DOWNLOAD_DEADLINE_S" apt-get --quiet=2 download "$package" >"$work/download" 2>&1) ||
            give_up "$package cannot be downloaded: $(tail -n 1 "$work/download")"
        dpkg-deb --fsys-tarfile "$unpacked"/*.deb | tar --extract --directory "$unpacked" --wildcards './boot/vmlinuz-*'
        cp "$unpacked"/boot/vmlinuz-* "$image.$$"
        mv "$image.$$" "$image" # whole or not at all, also with two of us at work
        rm -r "$unpacked"
    fi
    echo "$image"
}

# Boots the kernel $image, with the second serial port into $work/NAME.log and the console into $work/NAME.console.
# Becomes the process of the machine, so that ending it ends the machine.
machine() { # NAME KERNEL_ARGUMENTS QEMU_OPTION...
    exec timeout --kill-after=10 "$VM_DEADLINE_S" qemu-system-x86_64 -accel tcg -cpu max,-cx16 -smp 2 -nodefaults \
        -no-reboot -display none -serial "file:$work/$1.console" -serial "file:$work/$1.log" -kernel "$image" -append \
        "console=ttyS0 quiet panic=-1 psi=1 mitigations=off nokaslr tsc=reliable $2" "${@:3}" </dev/null >&2
}

# Prints what the guest said. Fails unless it came to its end and all was well.
report() { # VERSION QEMU_STATUS
    local log=$work/$1.log
    [[ -e $log ]] || : >"$log"
    tr -d '\r' <"$log" | sed '/^end /d'
    if ! grep --quiet '^end ' "$log"; then
        echo "FAIL $1 the scenarios did not come to their end (qemu's status: $2); the console's last lines:"
        tail -n 20 "$work/$1.console" 2>/dev/null | sed 's/^/    /' || true
        return 1
    fi
    echo "$1: $(grep --count '^ok ' "$log" || true) scenarios passed, $(grep --count '^FAIL ' "$log" || true) failed"
    grep --quiet '^end 0' "$log"
}

[[ $(uname -m) = x86_64 ]] || give_up "the kernel is for x86_64, and so must be the programs"
require qemu-system-x86_64 qemu-system-x86
require dpkg-deb dpkg
require apt-cache apt
