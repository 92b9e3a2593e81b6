#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What is said of a death: one scenario for each cause, to be sourced by scenarios.sh, whose words they use.
#
# SC2016: programs in single quotes expand in the shell they are for. SC2034, SC2154: names that are for scenarios.sh,
# and from there. SC2317: scenarios are called by name.
# shellcheck disable=SC2016,SC2034,SC2154,SC2317

limited_group() { # DIRECTORY LIMIT
    make_group "$1"
    pass_memory_on "$1"
    echo "$2" >"$1/$limit_file" || fail "no limit of $1"
}

oom_kill_is_told_and_restarted() {
    local verdict="leak \\(pid [0-9]+\\) was killed by the kernel's OOM killer at its own limit after .*: limit 60 MiB"
    verdict+=" \\($LIMIT_BYTES bytes\\), peak [0-9.]+ MiB \\([0-9]+ bytes\\), 1 OOM kill, working set at the end [^;]*"
    try "$launcher" --limit 60M --start-limit 2 --restart-delay 10ms "$leak" 1000
    expect_status 137
    expect_said 3 "limit 60 MiB .* by cgroup $version $top/memwatch-"
    expect_said 3 "$verdict"
    expect_said 1 "$verdict; restart 1 of at most 2 in "
    expect_said 1 "$verdict; restart 2 of at most 2 in "
    expect_said 1 "$verdict; not started again"
    expect_peaks_at_limit
}

oom_kill_of_a_descendant_is_told() {
    try "$launcher" --limit 60M bash -c '"$0" 1000; echo "survived $?"' "$leak"
    expect_status 0
    grep -q '^survived 137$' "$work/out" || fail "the program did not live on"
    expect_said 1 'exited with status 0 after .*, 1 OOM kill \(of a process that it had started, at its own limit\), '
    expect_said 0 'restart [0-9]'
}

lower_limit_of_an_ancestor_is_shown() {
    local ancestor=$top/low
    limited_group "$ancestor" 40M
    mkdir "$ancestor/inner"
    try_within "$ancestor/inner" "$launcher" --limit 60M --restart=no "$leak" 1000
    rmdir "$ancestor/inner" "$ancestor"
    expect_status 137
    expect_said 1 "limit 40 MiB \\(41943040 bytes\\) by cgroup $version $ancestor/"
    expect_said 1 'the limit asked for was 60 MiB; the groups above'
    expect_said 1 "OOM killer at the limit of the cgroup $ancestor, 40 MiB \\(41943040 bytes\\), after .*: limit 40 MiB .*, 1 OOM kill, "
}

# Without a limit; and it is the one that the kernel would choose first.
machine_out_of_memory_is_told() {
    try "$launcher" --restart=no bash -c 'echo 1000 >/proc/self/oom_score_adj; exec "$0" 1000' "$leak"
    expect_status 137
    expect_said 1 "killed by the kernel's OOM killer as the whole machine had run out of memory after .*: limit none"
}

kill_from_outside_is_not_called_oom() {
    start --limit 60M sleep 1000
    kill -9 "$(head -n 1 "$group/cgroup.procs")"
    finish
    expect_status 137
    expect_said 1 'was killed by signal 9 \(SIGKILL\), not by the OOM killer, .*, no OOM kill, '
    expect_said 0 "kernel's OOM killer"
    expect_said 0 'restart [0-9]'
}

cgroup_kill_is_not_called_oom() {
    [[ $version = v2 ]] || not_here # v1 has no such file
    start --limit 60M sleep 1000
    echo 1 >"$group/cgroup.kill"
    finish
    expect_status 137
    expect_said 1 'was killed by signal 9 \(SIGKILL\), not by the OOM killer, .*, no OOM kill, '
}

a_siblings_oom_kill_is_not_ours() {
    local parent=$top/family
    limited_group "$parent" 40M
    mkdir "$parent/inner" "$parent/sibling"
    try_within "$parent/inner" "$launcher" --restart=no bash -c '
        (echo 0 >"$1/cgroup.procs" && exec "$0" 1000); kill -9 $$' "$leak" "$parent/sibling"
    find "$parent" -depth -type d -exec rmdir {} \;
    expect_status 137
    expect_said 1 'was killed by signal 9 \(SIGKILL\), not by the OOM killer, .*, no OOM kill, '
}

a_group_killed_at_once_is_one_event() {
    [[ $version = v2 ]] || not_here # v1 knows no such thing
    try "$launcher" --limit 60M --restart=no bash -c 'echo 1 >"$(own_group)/memory.oom.group"; "$0" 1000; exit 0' "$leak"
    expect_status 137
    expect_said 1 'OOM killer at its own limit after .*, [0-9]+ OOM kills at once, as memory.oom.group asks, '
}

limit_of_memory_and_swap_is_told() {
    [[ $version = v1 ]] || not_here # v2 has none
    [[ -e $top/memory.memsw.limit_in_bytes ]] || fail "this kernel does not account for swap"
    try "$launcher" --limit 60M --restart=no bash -c '
        echo 60M >"$(own_group)/memory.memsw.limit_in_bytes"; exec "$0" 1000' "$leak"
    expect_status 137
    expect_said 1 'OOM killer at its own limit of memory and swap together, 60 MiB \([0-9]+ bytes\), after '
}

crash_is_called_one() {
    try "$launcher" --limit 60M sh -c 'kill -SEGV $$'
    expect_status 139
    expect_said 1 'crashed with signal 11 \(SIGSEGV\), .*, no OOM kill, '
}

killed_before_its_first_instruction_is_told() {
    local parent=$top/tiny
    limited_group "$parent" 32K # too little even to become another program
    try "$launcher" --cgroup "$parent" --restart=no true
    rmdir "$parent"
    expect_status 137
    expect_said 1 "OOM killer at the limit of the cgroup $parent, 32 KiB \\(32768 bytes\\), before its first instruction after "
}

# As in a container whose cgroup namespace ends where the limit is.
a_limit_out_of_sight_is_not_called_the_machines() {
    local parent=$top/container
    limited_group "$parent" 40M
    mkdir "$parent/inner"
    try_within "$parent/inner" unshare --cgroup --mount bash -c '
        umount -l "$top" && mount -t "$1" -o "$2" none "$top" && exec "${@:3}"' bash \
        "$([[ $version = v1 ]] && echo cgroup || echo cgroup2)" "$([[ $version = v1 ]] && echo memory || echo rw)" \
        "$launcher" --restart=no "$leak" 1000
    rmdir "$parent/inner" "$parent"
    expect_status 137
    expect_said 1 "at the limit of a cgroup above what can be seen here" # v2: a group that it shares
}

verdicts=(
    oom_kill_is_told_and_restarted
    oom_kill_of_a_descendant_is_told
    lower_limit_of_an_ancestor_is_shown
    machine_out_of_memory_is_told
    kill_from_outside_is_not_called_oom
    cgroup_kill_is_not_called_oom
    a_siblings_oom_kill_is_not_ours
    a_group_killed_at_once_is_one_event
    limit_of_memory_and_swap_is_told
    crash_is_called_one
    killed_before_its_first_instruction_is_told
    a_limit_out_of_sight_is_not_called_the_machines
)
