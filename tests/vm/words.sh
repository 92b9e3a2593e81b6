#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What the scenarios in both machines, and those in containers, are written with. To be sourced by them; a scenario ends
# well, or calls `fail`. Their own `try` and `start` leave what there is to look at: $status, $work/out and $work/err.
#
# SC2034: these are for them. SC2154: status is theirs.
# shellcheck disable=SC2034,SC2154

launcher=/memwatch/agent/memwatch-run
leak=/memwatch/examples/leak
work=/tmp/scenario
LIMIT_BYTES=62914560       # 60M
BATCH_BYTES=$((64 * 4096)) # the kernel charges in batches: the peak may fall short of the limit by one
DEADLINE_S=60

said() { # what memwatch-run said, not what the library did
    grep '^memwatch-run: ' "$work/err"
}

fail() {
    echo "$*; status ${status-none}; said: $(said)"
    exit 1
}

await() { # WHAT COMMAND...: until the command succeeds
    local what=$1 end=$((SECONDS + DEADLINE_S))
    shift
    until "$@" 2>/dev/null; do
        ((SECONDS < end)) || fail "waited in vain: $what"
        sleep 0.1
    done
}

ended() { ! kill -0 "$1"; }

expect_status() {
    [[ $status -eq $1 ]] || fail "status $1 expected"
}

expect_said() { # TIMES PATTERN
    local times
    times=$(said | grep -cE -- "$2")
    [[ $times -eq $1 ]] || fail "expected $1 times, found $times: $2"
}

expect_peaks_at_limit() {
    local peak peaks
    peaks=$(said | sed -n 's/.*peak [^(]*(\([0-9]*\) bytes.*/\1/p')
    [[ $peaks ]] || fail "no peak is told"
    for peak in $peaks; do
        ((peak <= LIMIT_BYTES && peak >= LIMIT_BYTES - BATCH_BYTES)) || fail "peak $peak"
    done
}
