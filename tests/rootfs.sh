#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What is tried, in a root file system of its own. To be sourced; the caller has the directory $root.
#
# SC2154: root is theirs.
# shellcheck disable=SC2154

# Copies a program to a place in it, and what the dynamic loader needs for it to the same places as here.
add_program() { # FILE PLACE
    local library
    install -D "$1" "$root$2"
    while read -r library; do
        [[ -e $root$library ]] || install -D "$library" "$root$library"
    done < <(ldd "$1" 2>/dev/null | grep --only-matching '/[^ ]*' || true)
}
