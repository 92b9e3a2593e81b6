#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What memwatch-run promises inside a container. To be sourced by `run`, on the machine that the containers run on: each
# scenario starts some, and looks at them from inside and from outside. One line a scenario: ok, FAIL, or NOT RUN HERE.
#
# SC2016: programs in single quotes expand in the shell they are for. SC2154: names of `run` and common.sh. SC2317:
# scenarios are called by name.
# shellcheck disable=SC2016,SC2154,SC2317

# shellcheck source=tests/vm/words.sh
source "$here/../vm/words.sh"
work=$top/scenario
own=$hierarchy/$parent
memwatch=/memwatch/agent/memwatch
inside=/sys/fs/cgroup/memory # where containers have the hierarchy
whole_tree=(--volume "$hierarchy:$inside:rw")
name=memwatch-container-test-$$
no_group='no memory cgroup can be used \(cannot make the cgroup .*: Read-only file system\): the kernel enforces no limit'
shared_limit="was killed by the kernel's OOM killer at the limit of the cgroup that it shares"
own_limit="was killed by the kernel's OOM killer at its own limit after .*: limit 60 MiB \\($LIMIT_BYTES bytes\\)"

# ---- more words, of containers ----

# Runs a command in a new container to its end: $status, $work/out and $work/err.
try() { # OPTION... -- COMMAND...
    split "$@"
    status=0
    (cd "$work" && engine "$DEADLINE_S" run --rm --name "$name" --cgroup-parent "/$parent" "${run_options[@]}" \
        "${options[@]}" --rootfs "$root" "${command[@]}") >"$work/out" 2>"$work/err" </dev/null || status=$?
}

# Starts it: $launched is the process to wait for. It ends when $work/in is closed, if it reads that.
start() { # OPTION... -- COMMAND...
    split "$@"
    mkfifo "$work/in"
    (cd "$work" && exec "${engine[@]}" run --rm --interactive --name "$name" --cgroup-parent "/$parent" \
        "${run_options[@]}" "${options[@]}" --rootfs "$root" "${command[@]}") >"$work/out" 2>"$work/err" <"$work/in" &
    launched=$!
    exec {input}>"$work/in"
}

finish() { # waits for what `start` started: $status
    exec {input}>&-
    await "the container ends" ended "$launched"
    status=0
    wait "$launched" || status=$?
}

split() { # OPTION... -- COMMAND...: into these
    options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    command=("$@")
}

within() { # COMMAND...: in the container that `start` started
    engine "$DEADLINE_S" exec "$name" "$@"
}

# The first process of the container, as numbered here.
first_process() {
    engine "$ASK_DEADLINE_S" inspect --format '{{.State.Pid}}' "$name"
}

groups() { # that launchers have made below those of the containers, or beside these
    find "$own" "$hierarchy"/memwatch-1-[0-9]* -type d -name 'memwatch-[0-9]*-[0-9]*' 2>/dev/null
}

has_group() { [[ $(groups) ]]; }

expect_nothing_left() {
    local left
    left=$(groups)
    [[ ! $left ]] || fail "left behind: $left"
}

expect_limit_by() { # GROUP
    expect_said 1 "limit 60 MiB \\($LIMIT_BYTES bytes\\) by cgroup v1 $1/memwatch-1-1\$"
}

expect_post_mortem() {
    grep -qE '^ +main leak\.c:[0-9]+' "$work/err" || fail "nobody is named who held the memory"
}

# ---- no group of its own: the hierarchy is read-only, as it is by default ----

the_limit_is_held_in_the_process_where_no_group_can_be_had() {
    try --memory 100m -- "$launcher" --limit 60M "$leak" 1000
    expect_status 1 # as malloc has failed
    expect_said 1 "$no_group; past 60 MiB the program's allocations fail"
    expect_said 1 'exited with status 1 after .*: in the cgroup that it shares: limit 100 MiB \(104857600 bytes\), .*no OOM kill'
    grep -q 'leak: Cannot allocate memory' "$work/err" || fail "leak met no limit"
}

the_containers_limit_is_named() {
    try --memory 60m -- "$launcher" --restart=no "$leak" 1000
    expect_status 137
    expect_said 1 "$shared_limit .*: in the cgroup that it shares: limit 60 MiB \\($LIMIT_BYTES bytes\\), .*1 OOM kill"
    expect_post_mortem
}

the_launcher_outlives_the_containers_limit() {
    try --memory 60m -- "$launcher" --start-limit 1 --restart-delay 10ms "$leak" 1000
    expect_status 137
    expect_said 2 "$shared_limit .*1 OOM kill"
    expect_said 1 'restart 1 of at most 1 in '
    try --memory 60m -- "$launcher" bash -c '"$0" 1000; echo "survived $?"' "$leak"
    expect_status 0
    grep -q '^survived 137$' "$work/out" || fail "the program did not live on"
    expect_said 1 'exited with status 0 after .*, 1 OOM kill \(of a process that it had started, at the limit of the cgroup that it shares'
    expect_post_mortem
}

insisting_on_a_group_fails_in_one_line() {
    try -- "$launcher" --limit 60M --limit-mode cgroup echo started
    expect_status 125
    expect_said 1 '^memwatch-run: --limit-mode=cgroup cannot be had: cannot make the cgroup .*: Read-only file system$'
    [[ $(wc -l <"$work/err") = 1 && ! -s $work/out ]] || fail "that is not all: $(cat "$work/out" "$work/err")"
}

a_user_without_root_is_limited_and_watched() {
    try --user 1000 --memory 100m -- "$launcher" --limit 60M "$leak" 1000
    expect_status 1
    expect_said 1 "$no_group"
    try --user 1000 --memory 60m -- "$launcher" --restart=no "$leak" 1000
    expect_status 137
    expect_said 1 "$shared_limit .*1 OOM kill"
    expect_post_mortem
}

# ---- a group below the container's own, where the hierarchy can be written ----

a_group_in_a_privileged_container_holds_the_limit() {
    local namespace
    for namespace in host private; do
        try --privileged --cgroupns "$namespace" -- "$launcher" --limit 60M --restart=no "$leak" 1000
        expect_status 137
        expect_limit_by "$inside"
        expect_said 1 "$own_limit, peak .*, 1 OOM kill"
        expect_peaks_at_limit
        expect_post_mortem
        expect_nothing_left
    done
}

# The whole tree covers the container's own, in one namespace of cgroups or seen from within another.
a_group_in_the_machines_tree_is_below_the_containers() {
    local namespace
    for namespace in host private; do
        try "${whole_tree[@]}" --cgroupns "$namespace" -- "$launcher" --limit 60M --restart=no "$leak" 1000
        expect_status 137
        expect_limit_by "$inside/$parent/libpod-[0-9a-f]*"
        expect_said 1 "$own_limit, peak .*, 1 OOM kill"
        expect_peaks_at_limit
        expect_nothing_left
    done
}

the_containers_limit_is_not_escaped_by_a_group() {
    local namespace
    for namespace in host private; do
        try --memory 40m "${whole_tree[@]}" --cgroupns "$namespace" -- "$launcher" --limit 60M --restart=no "$leak" 1000
        expect_status 137
        expect_said 1 'the limit asked for was 60 MiB; the groups above allow no more'
        expect_said 1 "OOM killer at the limit of the cgroup $inside/$parent/libpod-[0-9a-f]*, 40 MiB \\(41943040 bytes\\), after"
    done
    # of what stands above the container's group nothing can be known here
    try --memory 40m --privileged -- "$launcher" --limit 60M --restart=no "$leak" 1000
    expect_status 137
    expect_said 1 "OOM killer at the limit of the cgroup $inside, 40 MiB \\(41943040 bytes\\) or at the limit of a cgroup above what can be seen here"
}

the_program_is_in_the_group_as_seen_from_outside() {
    local group
    start --privileged -- "$launcher" --limit 60M sleep 1000
    await "the program is in its group" has_group
    group=$(groups)
    [[ $group =~ ^$own/libpod-[0-9a-f]+/memwatch-1-1$ ]] || fail "the group is elsewhere: $group"
    await "the program is in its group" grep -q . "$group/cgroup.procs"
    [[ $(<"$group/memory.limit_in_bytes") = "$LIMIT_BYTES" ]] || fail "the limit is not in force"
    [[ $(ps -o comm= -p "$(<"$group/cgroup.procs")") = sleep ]] || fail "the program is not in its group"
    engine "$DEADLINE_S" kill --signal TERM "$name" >"$work/kill" 2>&1
    finish
    expect_status 143
}

# Looked at while the container lives on: at its end the runtime removes what is below its group.
nothing_is_left_of_a_launcher_that_has_ended() {
    local options
    for options in --privileged "${whole_tree[*]}"; do
        rm -f "$work/in"
        # shellcheck disable=SC2086 # words
        start $options -- sh -c '"$0" --limit 60M --restart=no "$1" 1000; echo "ended with $?"; read -r line' "$launcher" "$leak"
        await "the launcher has ended" grep -q '^ended with 137$' "$work/out"
        [[ $(echo "$own"/libpod-*) != *\** ]] || fail "the container has ended too"
        expect_nothing_left
        finish
    done
}

nothing_is_left_of_a_container_that_is_killed() {
    local options
    for options in --privileged "${whole_tree[*]}"; do
        rm -f "$work/in"
        # shellcheck disable=SC2086 # words
        start $options -- "$launcher" --limit 60M sleep 1000
        await "the program is in its group" has_group
        engine "$DEADLINE_S" kill --signal KILL "$name" >"$work/kill" 2>&1
        finish
        expect_status 137
        await "the group is gone" eval '! has_group'
    done
}

# ---- the first process, and the second ----

passes() { # STATUS ARGUMENT...
    try -- "$launcher" --restart=no "${@:2}"
    [[ $status -eq $1 ]] || fail "status $1 expected of: ${*:2}"
}

exit_statuses_pass_through_the_first_process() {
    passes 0 true
    passes 3 sh -c 'exit 3'
    passes 125 --no-such-option
    passes 126 /etc/passwd
    passes 127 no-such-program
    passes 139 sh -c 'kill -SEGV $$'
    passes 143 sh -c 'kill -TERM $$'
    passes 137 sh -c 'kill -KILL $$'
}

zombies() { # of a process
    local child
    for child in $(<"/proc/$1/task/$1/children"); do
        grep -q '^State:.Z' "/proc/$child/status" 2>/dev/null && echo "$child"
    done
}

has_no_zombies() { [[ ! $(zombies "$1") ]]; }

# $first is the container's first process, $second the launcher where that is another.
expect_orphans_to_be_reaped() { # OPTION...
    local first second
    start "$@" -- "$launcher" --restart=no /memwatch/orphans 2000 100
    await "the orphans have been made" grep -q 'all have ended' "$work/out"
    first=$(first_process)
    await "all orphans are reaped" has_no_zombies "$first"
    for second in $(<"/proc/$first/task/$first/children"); do
        await "all orphans are reaped" has_no_zombies "$second"
    done
    finish
    expect_status 0
}

orphans_are_reaped_by_the_first_process() {
    expect_orphans_to_be_reaped
}

stopping_reaches_the_program() {
    start "$@" -- "$launcher" --limit 60M --restart=always sh -c 'trap "echo asked; exit 9" TERM; echo ready; while :; do sleep 0.1; done'
    await "the program runs" grep -q ready "$work/out"
    engine "$DEADLINE_S" stop --time 30 "$name" >"$work/stop" 2>&1
    finish
    expect_status 9
    grep -q '^asked$' "$work/out" || fail "the program was not asked"
    expect_said 1 'exited with status 9 after '
    expect_said 0 'restart [0-9]'
}

# A program that does not listen is killed by the launcher, which lives to say so, before the engine kills all of it.
stopping_ends_a_deaf_program_in_time() {
    start --privileged -- "$launcher" --limit 60M --stop-timeout 300ms sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
    await "the program runs" grep -q ready "$work/out"
    engine "$DEADLINE_S" stop --time 30 "$name" >"$work/stop" 2>&1
    finish
    expect_status 137
    expect_said 1 'has not ended within 300 ms of being asked to: it is killed$'
    expect_said 1 'was killed by signal 9 \(SIGKILL\), not by the OOM killer, '
}

need_init() {
    command -v catatonit >/dev/null || not_here "the package catatonit is not installed"
}

an_init_above_the_launcher_changes_nothing() {
    need_init
    try --init -- "$launcher" --restart=no sh -c 'exit 7'
    expect_status 7
    try --init --memory 60m -- "$launcher" --restart=no "$leak" 1000
    expect_status 137
    # the init is in the container's group too: whose process was taken is not known for certain
    expect_said 1 '1 OOM kill \(of some process, at the limit of the cgroup that it shares'
    expect_post_mortem
    expect_orphans_to_be_reaped --init
    rm "$work/in"
    stopping_reaches_the_program --init
}

# ---- watching inside a container, and from outside ----

the_program_is_seen_inside_and_from_outside() {
    local user number
    for user in 0 1000; do
        rm -f "$work/in"
        start --user "$user" -- "$launcher" "$leak" 1
        await "the program is seen inside" eval 'within "$memwatch" ps | grep -q " leak "'
        number=$(within "$memwatch" ps | awk '$2 == "leak" { print $1 }')
        await "its figures are seen inside" eval "within '$memwatch' stats $number | grep -q '^Alloc '"
        number=$("$build/agent/memwatch" ps | awk '$2 == "leak" { print $1 }' | parents_child "$(first_process)")
        [[ $number ]] || fail "it is not seen from outside: $("$build/agent/memwatch" ps)"
        "$build/agent/memwatch" stats "$number" >"$work/stats" 2>&1
        grep -q '^Alloc ' "$work/stats" || fail "its figures are not seen from outside: $(<"$work/stats")"
        "$build/agent/memwatch" profile --text "$number" >"$work/profile" 2>&1
        engine "$DEADLINE_S" kill --signal TERM "$name" >"$work/kill" 2>&1
        finish
        expect_status 143
    done
}

parents_child() { # PARENT: of the numbers read, the one whose parent that is
    local number
    while read -r number; do
        [[ $(ps -o ppid= -p "$number" | tr -d ' ') = "$1" ]] && echo "$number"
    done
}

watched() { # OPTION...: a leak up to 60 MiB, by podman with these
    try "$@" --memory 60m --env MEMWATCH_INTERVAL=100ms -- "$launcher" --restart=no "$leak" 100
    expect_status 137
    expect_said 1 "$shared_limit .*1 OOM kill"
    grep -q '^memwatch\[[0-9]*\]: Alloc = ' "$work/err" || fail "it is not watched"
}

little_shared_memory_does_no_harm() {
    watched --shm-size 64k
    grep -qE '^missing for want of room: .*stacks$' "$work/err" || fail "what is missing is not told"
    watched --shm-size 256k
    expect_post_mortem
}

no_shared_memory_does_no_harm() {
    watched --ipc none
}

a_read_only_root_does_no_harm() {
    watched --read-only --read-only-tmpfs=false
    expect_post_mortem
}

# ---- runc alone ----

# Runs a command to its end in a bundle, with a limit on its group and the cgroup hierarchies as said.
try_bundle() { # LIMIT_BYTES ro|rw COMMAND...
    local bundle=$work/bundle arguments
    arguments=$(printf ', "%s"' "${@:3}")
    mkdir -p "$bundle"
    cat >"$bundle/config.json" <<END
{
    "ociVersion": "1.0.0",
    "process": {
        "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": [${arguments#, }],
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    },
    "root": {"path": "$root", "readonly": true},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "nodev", "noexec", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "nodev", "noexec", "$2"]}
    ],
    "linux": {
        "cgroupsPath": "/$parent/$name", "resources": {"memory": {"limit": $1}},
        "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]
    }
}
END
    status=0
    timeout --kill-after=10 "$DEADLINE_S" runc --root "$work/runc" run --bundle "$bundle" "$name" \
        >"$work/out" 2>"$work/err" </dev/null || status=$?
}

runc_alone_read_only() {
    try_bundle "$LIMIT_BYTES" ro "$launcher" --restart=no --limit 100M "$leak" 1000
    expect_status 137
    expect_said 1 "$no_group"
    expect_said 1 "$shared_limit .*: in the cgroup that it shares: limit 60 MiB \\($LIMIT_BYTES bytes\\), .*1 OOM kill"
    expect_post_mortem
}

runc_alone_writable() {
    try_bundle 104857600 rw "$launcher" --restart=no --limit 60M "$leak" 1000
    expect_status 137
    expect_limit_by "$inside"
    expect_said 1 "$own_limit, peak .*, 1 OOM kill"
    expect_peaks_at_limit
    expect_post_mortem
}

# ---- all of them ----

with_runc=(
    runc_alone_read_only
    runc_alone_writable
)
with_podman=(
    the_limit_is_held_in_the_process_where_no_group_can_be_had
    the_containers_limit_is_named
    the_launcher_outlives_the_containers_limit
    insisting_on_a_group_fails_in_one_line
    a_user_without_root_is_limited_and_watched
    a_group_in_a_privileged_container_holds_the_limit
    a_group_in_the_machines_tree_is_below_the_containers
    the_containers_limit_is_not_escaped_by_a_group
    the_program_is_in_the_group_as_seen_from_outside
    nothing_is_left_of_a_launcher_that_has_ended
    nothing_is_left_of_a_container_that_is_killed
    exit_statuses_pass_through_the_first_process
    orphans_are_reaped_by_the_first_process
    stopping_reaches_the_program
    stopping_ends_a_deaf_program_in_time
    an_init_above_the_launcher_changes_nothing
    the_program_is_seen_inside_and_from_outside
    little_shared_memory_does_no_harm
    no_shared_memory_does_no_harm
    a_read_only_root_does_no_harm
)
NOT_HERE=77 # a scenario's status
passed=0
failures=0

not_here() { # WHY
    echo "$*"
    exit "$NOT_HERE"
}

run_scenario() { # NAME
    local detail outcome=0
    rm -rf "$work"
    mkdir "$work"
    : >"$work/err"
    detail=$( ("$1" && expect_nothing_left) 2>&1) || outcome=$?
    [[ $podman_misses ]] || engine "$ASK_DEADLINE_S" rm --force --all --time 0 >"$top/rm" 2>&1
    groups | sort --reverse | xargs --no-run-if-empty rmdir # so that the next one finds nothing of this one
    detail=${detail//$'\n'/ | }
    case $outcome in
    0)
        echo "ok container $1"
        passed=$((passed + 1))
        ;;
    "$NOT_HERE") echo "NOT RUN HERE: container $1: $detail" ;;
    *)
        echo "FAIL container $1: $detail"
        failures=$((failures + 1))
        ;;
    esac
}

# Fails where one has.
run_all() {
    local scenario
    for scenario in "${with_runc[@]}"; do
        run_scenario "$scenario"
    done
    for scenario in "${with_podman[@]}"; do
        if [[ $podman_misses ]]; then
            echo "NOT RUN HERE: container $scenario: $podman_misses"
        else
            run_scenario "$scenario"
        fi
    done
    echo "container: $passed scenarios passed, $failures failed"
    ((failures == 0))
}
