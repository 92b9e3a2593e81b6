#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What memwatch-run and the library promise of memory cgroups, tried on a real kernel. Runs as root in the virtual
# machine that `run` boots; the arguments are the memory controller's version there, v1 or v2, and how many times more
# those of the verdicts are to be run. One line a scenario: ok, FAIL, or n/a where that version has nothing of the kind.
#
# The machine is emulated and slow: deadlines are generous, and nothing is asserted of times.
#
# SC2016: programs in single quotes expand in the shell they are for. SC2317: scenarios are called by name.
# shellcheck disable=SC2016,SC2317
set -u

version=$1
repeat=${2:-0}
case $version in
v1) top=/sys/fs/cgroup/memory limit_file=memory.limit_in_bytes own_line=:memory:/ ;;
v2) top=/sys/fs/cgroup limit_file=memory.max own_line=0::/ ;;
*) echo "FAIL there is no version $version" && exit 2 ;;
esac
# shellcheck source=tests/vm/words.sh
source /memwatch/words.sh
wave=/memwatch/examples/wave
arenas=/memwatch/arenas
library=/memwatch/preload/libmemwatch.so
NOT_HERE=77 # a scenario's status

# ---- more words, of a machine where we are root ----

not_here() { # the scenario is of what this version does not have
    exit "$NOT_HERE"
}

# Runs a command to its end: $status, $work/out and $work/err.
try() {
    status=0
    timeout -k 10 "$DEADLINE_S" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}

# The same, from a shell in that group.
try_within() { # GROUP COMMAND...
    local group=$1
    shift
    try bash -c 'echo 0 >"$0/cgroup.procs" || exit; "$@"; exit $?' "$group" "$@"
}

# The directory of the group that the caller is in; for the programs under test.
own_group() {
    local line
    line=$(grep "$own_line" /proc/self/cgroup) && echo "$top/${line#*"$own_line"}"
}
export top own_line
export -f own_group

# v2: lets the groups below one have limits. v1 always does.
pass_memory_on() { # DIRECTORY
    [[ $version = v1 ]] || echo +memory >"$1/cgroup.subtree_control" || fail "no memory controller below $1"
}

make_group() { # DIRECTORY: at the top
    pass_memory_on "$top"
    mkdir "$1" || fail "no group $1"
}

# Starts memwatch-run: $launched is its process, $group its group, once the program is in it.
start() {
    "$launcher" "$@" >"$work/out" 2>"$work/err" </dev/null &
    launched=$!
    group=$top/memwatch-$launched-1
    await "the program is in its group" grep -q . "$group/cgroup.procs"
}

finish() { # waits for what `start` started: $status
    await "memwatch-run ends" ended "$launched"
    status=0
    wait "$launched" || status=$?
}

expect_limit_by() { # PARENT: the limit stands, by the right version, in a group below that one
    expect_said 1 "limit 60 MiB \\($LIMIT_BYTES bytes\\) by cgroup $version $1/memwatch-[0-9]+-[0-9]+\$"
}

expect_nothing_left() {
    local left
    left=$(find "$top" -type d -name 'memwatch-*')
    [[ ! $left ]] || fail "left behind: $left"
}

# ---- scenarios: each in a subshell, which `fail` ends ----

no_restart_where_none_is_wanted() {
    try "$launcher" --limit 60M --restart=no "$leak" 1000
    expect_status 137
    expect_said 1 "killed by the kernel's OOM killer"
    expect_said 0 'restart [0-9]'
}

program_is_in_the_group_from_its_start() {
    try "$launcher" --limit 60M cat /proc/self/cgroup
    expect_status 0
    expect_limit_by "$top"
    grep -q "${own_line}memwatch-" "$work/out" || fail "not in the group: $(<"$work/out")"
    try "$launcher" --limit 60M --restart=no "$leak" 1000000 # as fast as it can
    expect_status 137
    expect_said 1 "OOM killer at its own limit after .*: limit 60 MiB .*, 1 OOM kill, "
    expect_peaks_at_limit
}

passes() { # STATUS ARGUMENT...
    local expected=$1
    shift
    try "$launcher" --limit 60M "$@"
    [[ $status -eq $expected ]] || fail "status $expected expected of: $*"
    expect_nothing_left
}

exit_statuses_pass_through() {
    : >"$work/plain-file"
    passes 0 true
    passes 1 false
    passes 3 sh -c 'exit 3'
    passes 255 sh -c 'exit 255'
    passes 125 --no-such-option
    passes 125 --limit=nonsense true
    passes 126 "$work/plain-file"
    passes 126 "$work"
    passes 127 no-such-program
    passes 127 "$work/no-such-file"
    passes 134 sh -c 'kill -ABRT $$'
    passes 139 sh -c 'kill -SEGV $$'
    passes 143 sh -c 'kill -TERM $$'
}

a_leak_is_told_of_before_it_is_killed() {
    try "$launcher" --limit 60M --restart=no "$leak" 10
    expect_status 137
    expect_said 1 'is near its limit: [0-9.]+ MiB of 60 MiB in use \((9[5-9]|100)\.[0-9] %\), growing by '
    said | grep -A1 'is near its limit' | grep -q 'killed by the kernel' || fail "the kill is not what follows"
}

wake_ups() { # of memwatch-run
    awk '/ctxt_switches/ {n += $2} END {print n}' "/proc/$launched/status"
}

while_nothing_moves_it_hardly_wakes() { # v1: the kernel tells; v2: it looks, ever more seldom
    start --limit 60M sleep 1000
    sleep 8 # 1 + 2 + 4 s, and then it is to rest for 8
    local before after most=1
    before=$(wake_ups)
    sleep 6
    after=$(wake_ups)
    [[ $version = v1 ]] && most=0
    ((after - before <= most)) || fail "woke up $((after - before)) times"
    kill "$launched"
    finish
}

descendants_left_behind_are_ended() {
    try "$launcher" --limit 60M sh -c 'sleep 1000 & sleep 1000 & exit 4'
    expect_status 4
    expect_said 1 '2 processes that it left behind were ended$'
    expect_nothing_left
    try "$launcher" --limit 60M sh -c 'trap "" TERM; sleep 1000 & exit 5' # deaf to the polite request
    expect_status 5
    expect_said 1 '1 process that it left behind was ended$'
    ! pidof sleep >/dev/null || fail "still running: $(pidof sleep)"
}

groups_made_by_the_program_are_counted_and_removed() {
    try "$launcher" --limit 60M bash -c '
        below=$(own_group)/below/further
        mkdir -p "$below"
        (echo 0 >"$below/cgroup.procs" && exec "$0" 1000) || echo "leak ended with $?"
        sleep 1000 &
        echo $! >"$below/cgroup.procs" && exit 4' "$leak"
    expect_status 4
    grep -q '^leak ended with 137$' "$work/out" || fail "leak was not killed: $(<"$work/out")"
    expect_said 1 'exited with status 4 after .*, 1 OOM kill \(of a process that it had started, at its own limit\), '
    expect_said 1 '1 process that it left behind was ended$'
}

starts_from_a_group_with_processes() {
    local parent=$top/a
    make_group "$parent"
    try_within "$parent" "$launcher" --limit 60M --restart=no "$leak" 1000
    rmdir "$parent"
    expect_status 137
    expect_said 1 "killed by the kernel's OOM killer at its own limit after .*: limit 60 MiB"
    expect_peaks_at_limit
    [[ $version = v1 ]] || parent=$top # v2 has no processes beside groups with controllers: it stands beside
    expect_limit_by "$parent"
}

# Also where the program's group stands beside the launcher's own.
limit_of_the_own_group_is_not_escaped() {
    local own=$top/own where
    make_group "$own"
    echo 40M >"$own/$limit_file"
    try_within "$own" "$launcher" --limit 60M --restart=no "$leak" 1000
    rmdir "$own"
    expect_status 137
    expect_said 1 "limit 40 MiB \\(41943040 bytes\\) by cgroup $version "
    # v1: below it; v2: beside it, with the same limit for its own
    [[ $version = v1 ]] && where="the limit of the cgroup $own, 40 MiB \\(41943040 bytes\\)," || where='its own limit'
    expect_said 1 "killed by the kernel's OOM killer at $where after .*: limit 40 MiB \\(41943040 bytes\\), peak .*, 1 OOM kill, "
}

library_shows_the_cgroup() {
    MEMWATCH_INTERVAL=200ms try "$launcher" --limit 60M "$leak" 20 20
    expect_status 0
    grep -qE '^memwatch\[[0-9]+\]: Alloc = .* Cgroup = [0-9.]+ MiB of 60\.0 MiB$' "$work/err" ||
        fail "no such line, but: $(grep -v '^memwatch-run: ' "$work/err" | tail -n 1)"
}

library_tells_the_cgroup_in_json() {
    MEMWATCH_INTERVAL=200ms MEMWATCH_FORMAT=json MEMWATCH_OUTPUT=$work/lines \
        try "$launcher" --limit 60M bash -c '"$0" 1000; sleep 2; exit 0' "$leak"
    expect_status 0
    local line member members=("\"CgroupLimit\":$LIMIT_BYTES," '"CgroupUsage":[1-9]' '"CgroupWorkingSet":[1-9]'
        '"CgroupPeak":62[0-9]{6},' '"CgroupOOMKills":1,')
    if [[ $version = v2 ]]; then
        [[ -e $top/memory.pressure || -e /proc/pressure/memory ]] || fail "this kernel has no PSI"
        members+=('"Pressure":(0|1|0\.[0-9]+),')
    fi
    line=$(grep '"Comm":"bash".*"Alloc":' "$work/lines" | tail -n 1)
    for member in "${members[@]}"; do
        [[ $line =~ $member ]] || fail "no $member in: ${line%%,\"PauseNs\"*}"
    done
}

library_trims_near_the_limit() {
    # At its height wave holds 15 ticks of 10 MiB, about 154 MiB in all: past 90 % of 165 MiB, and not 165.
    MEMWATCH_INTERVAL=200ms MEMWATCH_LIMIT=90% try "$launcher" --limit 165M "$wave" 60 50
    expect_status 0
    expect_said 1 'exited with status 0 .*, no OOM kill, '
    grep -qE '^memwatch\[[0-9]+\]: past the limit of 14[89][.0-9]* MiB, trim: [1-9][.0-9]* MiB came back in ' \
        "$work/err" || fail "no such trim, but: $(grep -E 'trim: |Cgroup' "$work/err" | tail -n 2)"
}

without_privilege_it_still_runs() {
    try su nobody -c "$launcher --limit 60M sh -c 'echo limit \$MEMWATCH_HARD_LIMIT; exit 7'"
    expect_status 7
    expect_said 1 'no memory cgroup can be used \(.*Permission denied\): the kernel enforces no limit; past 60 MiB'
    grep -q "^limit $LIMIT_BYTES\$" "$work/out" || fail "the library is not told the limit: $(<"$work/out")"
    try su nobody -c "$launcher --limit 60M sh -c 'kill -9 \$\$'"
    expect_status 137
    expect_said 0 "killed by the kernel's OOM killer"
}

# v2: a group that can be made but not entered, since its maker may not move processes out of where it is itself. (v1
# asks only whether the new group may be written.)
without_the_right_to_enter_it_still_runs() {
    local given=$top/given
    make_group "$given"
    pass_memory_on "$given"
    mkdir "$given/inner"
    chown nobody "$given" "$given/inner"
    try_within "$given/inner" su nobody -c "$launcher --limit 60M sh -c 'exit 7'"
    expect_status 7
    [[ $version = v1 ]] || expect_said 1 'no memory cgroup can be used \(.*Permission denied\)'
    find "$given" -depth -type d -exec rmdir {} \;
}

delegated_group_serves_without_privilege() {
    local delegated=$top/delegated
    make_group "$delegated"
    pass_memory_on "$delegated"
    mkdir "$delegated/inner"
    chown nobody "$delegated" "$delegated"/cgroup.* "$delegated/inner" "$delegated/inner"/cgroup.*
    try_within "$delegated/inner" su nobody -c "$launcher --limit 60M --restart=no $leak 1000"
    rmdir "$delegated/inner" "$delegated"
    expect_status 137
    expect_said 1 "limit 60 MiB .* by cgroup $version $delegated/"
    expect_said 1 "killed by the kernel's OOM killer at its own limit after .*: limit 60 MiB"
}

swappiness_is_set_or_its_lack_told() {
    try "$launcher" --limit 60M --swappiness 10 bash -c 'cat "$(own_group)/memory.swappiness"; exit 6'
    expect_status 6
    if [[ $version = v1 ]]; then
        expect_said 0 'swappiness'
        [[ $(<"$work/out") = 10 ]] || fail "swappiness is: $(<"$work/out")"
    else
        expect_said 1 '^memwatch-run: --swappiness has no effect: .*cgroup v2'
    fi
}

# Of the machine's two CPUs the group may keep half a one busy: glibc is told to make eight arenas, not sixteen.
arenas_follow_the_cpu_quota() {
    local group
    if [[ $version = v1 ]]; then
        group=/sys/fs/cgroup/cpu/quota
        mkdir "$group" || fail "no group $group"
        echo 50000 >"$group/cpu.cfs_quota_us" || fail "no quota"
    else
        group=$top/quota
        echo +cpu >"$top/cgroup.subtree_control" || fail "no cpu controller"
        mkdir "$group" || fail "no group $group"
        echo 50000 100000 >"$group/cpu.max" || fail "no quota"
    fi
    try_within "$group" env MEMWATCH_LIMIT=1G MEMWATCH_OUTPUT=none LD_PRELOAD="$library" "$arenas" 40
    [[ $status = 0 && $(<"$work/out") = 'arenas 8' ]] || fail "under a limit: $(<"$work/out")"
    try_within "$group" env MEMWATCH_LIMIT=off MEMWATCH_OUTPUT=none LD_PRELOAD="$library" "$arenas" 40
    [[ $status = 0 && $(<"$work/out") = 'arenas 16' ]] || fail "without: $(<"$work/out")"
    rmdir "$group"
    [[ $version = v1 ]] || echo -cpu >"$top/cgroup.subtree_control"
}

sigterm_is_passed_on() {
    start --limit 60M --restart=always sleep 1000
    kill -TERM "$launched"
    finish
    expect_status 143
    expect_said 1 'was killed by signal 15 \(SIGTERM\) after '
    expect_said 0 'restart [0-9]'
    [[ ! -e $group ]] || fail "the group is still there"
}

# ---- the further limits, how they are asked for, and stopping ----

# Runs a program under a limit of 60M and that option, which prints these files of its group.
print_of_group() { # "FILE..." OPTION...
    try "$launcher" --limit 60M "${@:2}" bash -c 'cd "$(own_group)" && cat $0' "$1"
    expect_status 0
}

expect_printed() { # LINE...
    [[ $(<"$work/out") = "$(printf '%s\n' "$@")" ]] || fail "expected $*, found: $(<"$work/out")"
}

high_is_set() {
    [[ $version = v2 ]] || not_here # v1 has no such file
    print_of_group 'memory.high memory.max' --high 50M
    expect_printed 52428800 "$LIMIT_BYTES"
    print_of_group memory.high --high 90%
    expect_printed $((LIMIT_BYTES * 9 / 10 / 4096 * 4096))
    expect_said 0 'has no effect'
    print_of_group memory.high
    expect_printed max
}

swap_is_limited() {
    if [[ $version = v2 ]]; then
        print_of_group memory.swap.max --swap 0
        expect_printed 0
        print_of_group memory.swap.max --swap 4M
        expect_printed 4194304
        print_of_group memory.swap.max
        expect_printed max
    else # of memory and swap together
        print_of_group memory.memsw.limit_in_bytes --swap 0
        expect_printed "$LIMIT_BYTES"
        print_of_group memory.memsw.limit_in_bytes --swap 4M
        expect_printed $((LIMIT_BYTES + 4194304))
    fi
    expect_said 0 'has no effect'
}

oom_group_kills_all_at_once() {
    [[ $version = v2 ]] || not_here # v1 knows no such thing
    try "$launcher" --limit 60M --restart=no --oom-group yes bash -c '
        cat "$(own_group)/memory.oom.group"; sleep 1000 & "$0" 1000; echo survived' "$leak"
    expect_status 137
    expect_printed 1
    # one that the kernel has killed may take a moment to be gone, and be said to have been left behind
    expect_said 1 'OOM killer at its own limit after .*, [2-9] OOM kills at once, as memory.oom.group asks, '
    ! pidof sleep >/dev/null || fail "still running: $(pidof sleep)"
    print_of_group memory.oom.group
    expect_printed 0
}

group_is_made_below_the_one_named() {
    local parent=$top/named place
    make_group "$parent"
    for place in "$parent" /named named; do
        try "$launcher" --limit 60M --cgroup "$place" cat /proc/self/cgroup
        expect_status 0
        expect_limit_by "$parent"
        grep -q "${own_line}named/memwatch-" "$work/out" || fail "not in the group: $(<"$work/out")"
    done
    rmdir "$parent" || fail "something is left in $parent"
    try "$launcher" --limit 60M --cgroup /named true
    expect_status 125
    expect_said 1 '--cgroup cannot be had: /named is no memory cgroup that exists'
}

all_that_does_not_stop_in_time_is_killed() {
    start --limit 60M --restart=always --stop-timeout 100ms \
        sh -c 'trap "" TERM; sleep 1000 & echo ready; while :; do wait; done'
    await "the program is deaf" grep -q ready "$work/out"
    kill -TERM "$launched"
    finish
    expect_status 137
    expect_said 1 'has not ended within 100 ms of being asked to: it is killed$'
    expect_said 1 'was killed by signal 9 \(SIGKILL\), not by the OOM killer, '
    expect_said 0 'restart [0-9]'
    ! pidof sleep >/dev/null || fail "still running: $(pidof sleep)"
}

# ---- of what runs already ----

# Starts a program of its own, as no child of memwatch-run: $running is its process.
run_beside() { # COMMAND...
    "$@" >/dev/null 2>&1 </dev/null &
    running=$!
}

expect_group_of_running() { # PATH_BELOW_TOP
    grep -qE "${own_line}$1\$" "/proc/$running/cgroup" || fail "it is in $(grep "$own_line" "/proc/$running/cgroup")"
}

running_process_is_limited() {
    local who="leak \\(pid [0-9]+\\)" how=", 1 OOM kill"
    run_beside "$leak" 30
    start --attach "$running" --limit 60M
    finish
    expect_status 137
    # this kernel tells the status only to who is quicker than the parent
    expect_said 1 "$who (was killed by the kernel's OOM killer at its own|has ended, with what status is not known,) .*$how"
    if [[ $version = v1 ]]; then # its charges come along
        expect_said 1 "$who: limit 60 MiB .*; of the .* that it holds now \\(RSS\\) .* count here, the rest in $top\$"
        expect_said 0 'were held before it was attached'
    else
        expect_said 1 "$who: limit 60 MiB .*; the .* that it holds now \\(RSS\\) stay charged to $top and do not count: "
        expect_said 1 'besides, .* were held before it was attached and did not count$'
    fi
    expect_peaks_at_limit
}

# Whoever holds more than the limit can be limited all the same.
running_process_may_hold_more_than_the_limit() {
    run_beside "$leak" 60
    await "it holds more" eval '(($(sed -n "s/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p" /proc/$running/status) > 40000))'
    kill -STOP "$running"
    start --attach "$running" --limit 20M
    await "it is told" grep -q "(pid $running): limit" "$work/err"
    expect_said 1 'stay charged to .* and do not count: the limit is met at about '
    kill -TERM "$launched"
    finish
    expect_status 0
    kill -KILL "$running"
}

running_process_is_let_go() {
    run_beside sh -c 'sleep 1000 & sleep 1000 & wait'
    await "it has children" grep -q '[0-9] [0-9]' "/proc/$running/task/$running/children"
    start --attach "$running" --limit 60M
    [[ $(<"$group/$limit_file") == "$LIMIT_BYTES" ]] || fail "the limit is $(<"$group/$limit_file")"
    expect_group_of_running 'memwatch-[0-9]+-1'
    kill -TERM "$launched"
    finish
    expect_status 0
    expect_said 1 'and 2 descendants: limit 60 MiB '
    expect_said 1 "let go of .*: 3 processes are back in $top, without the limit\$"
    expect_group_of_running ''
    # shellcheck disable=SC2046 # one word a process
    kill -KILL $(<"/proc/$running/task/$running/children") "$running"
}

running_process_does_not_escape_its_groups_limit() {
    make_group "$top/outer"
    pass_memory_on "$top"
    echo $((LIMIT_BYTES / 2)) >"$top/outer/$limit_file"
    run_beside bash -c "echo 0 >$top/outer/cgroup.procs; exec sleep 1000"
    await "it is there" grep -q outer "/proc/$running/cgroup"
    "$launcher" --attach "$running" --limit 60M >"$work/out" 2>"$work/err" </dev/null &
    launched=$!
    await "it has its limit" grep -q 'allow no more' "$work/err"
    expect_said 1 'limit 30 MiB '
    kill -INT "$launched" # ignored by what a shell starts in the background
    kill -TERM "$launched"
    finish
    expect_status 0
    expect_group_of_running outer
    kill -KILL "$running"
    await "the group is empty" rmdir "$top/outer"
}

# ---- all of them ----

# shellcheck source=tests/vm/verdict-scenarios.sh
source /memwatch/verdict-scenarios.sh
scenarios=(
    "${verdicts[@]}"
    no_restart_where_none_is_wanted
    program_is_in_the_group_from_its_start
    exit_statuses_pass_through
    a_leak_is_told_of_before_it_is_killed
    while_nothing_moves_it_hardly_wakes
    descendants_left_behind_are_ended
    groups_made_by_the_program_are_counted_and_removed
    starts_from_a_group_with_processes
    limit_of_the_own_group_is_not_escaped
    library_shows_the_cgroup
    library_tells_the_cgroup_in_json
    library_trims_near_the_limit
    without_privilege_it_still_runs
    without_the_right_to_enter_it_still_runs
    delegated_group_serves_without_privilege
    swappiness_is_set_or_its_lack_told
    arenas_follow_the_cpu_quota
    sigterm_is_passed_on
    high_is_set
    swap_is_limited
    oom_group_kills_all_at_once
    group_is_made_below_the_one_named
    all_that_does_not_stop_in_time_is_killed
    running_process_is_limited
    running_process_may_hold_more_than_the_limit
    running_process_is_let_go
    running_process_does_not_escape_its_groups_limit
)
failures=0

# $outcome is its status: 0, NOT_HERE, or another where it failed, which has been told.
run_scenario() { # NAME
    local detail
    rm -rf "$work"
    mkdir "$work"
    : >"$work/err"
    outcome=0
    detail=$("$1" 2>&1 && expect_nothing_left 2>&1) || outcome=$?
    if [[ $outcome -ne 0 && $outcome -ne $NOT_HERE ]]; then
        echo "FAIL $version $1: ${detail//$'\n'/ | }"
        failures=$((failures + 1))
    fi
}

repeat_scenario() { # NAME TIMES
    local run wrong=0
    for ((run = 0; run < $2; run++)); do
        run_scenario "$1"
        case $outcome in
        0) ;;
        "$NOT_HERE") return ;;
        *) wrong=$((wrong + 1)) ;;
        esac
    done
    echo "repeated $version $1: $2 times, $wrong wrong"
}

for scenario in "${scenarios[@]}"; do
    run_scenario "$scenario"
    case $outcome in
    0) echo "ok $version $scenario" ;;
    "$NOT_HERE") echo "n/a $version $scenario" ;;
    esac
done
if ((repeat > 0)); then
    for scenario in "${verdicts[@]}"; do
        repeat_scenario "$scenario" "$repeat"
    done
fi
exit $((failures > 0))
