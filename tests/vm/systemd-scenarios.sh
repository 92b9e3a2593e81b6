#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Limits without root, by the user's systemd manager. Runs as root in the virtual machine that `run-systemd` boots, and
# there mostly as the user "tester", who has a manager; the user "stranger" has none. One line a scenario.
#
# The machine is emulated and slow: deadlines are generous, and nothing is asserted of times.
#
# SC2016: programs in single quotes expand in the shell they are for. SC2317: scenarios are called by name.
# shellcheck disable=SC2016,SC2317
set -u

# shellcheck source=tests/vm/words.sh
source /memwatch/words.sh
export launcher leak
manager=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service
scope_pattern="$manager/[^ ]*/memwatch-[0-9]+\\.scope"
ROOM_BYTES=$((64 * 1024 * 1024)) # what memwatch-run's scope may hold beyond the program

# ---- more words, of a machine where we are a user ----

# Runs a program as tester in a session of its own, as after a login: $status, $work/out and $work/err. In its group
# nobody but systemd may make groups.
try() { # PROGRAM_FOR_SH
    status=0
    timeout -k 10 "$DEADLINE_S" su -l tester -c "export launcher=$launcher leak=$leak; $1" \
        >"$work/out" 2>"$work/err" </dev/null || status=$?
}

# As a user without a session, and so without a manager.
try_stranger() { # PROGRAM_FOR_SH
    status=0
    timeout -k 10 "$DEADLINE_S" setpriv --reuid stranger --regid stranger --init-groups bash -c "$1" \
        >"$work/out" 2>"$work/err" </dev/null || status=$?
}

manage() { # systemctl --user, for tester
    setpriv --reuid tester --regid tester --init-groups env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user "$@"
}

find_group() { # of the program that $launched has started
    local procs=("$manager"/*/"memwatch-$launched.scope/memwatch-$launched-"*/cgroup.procs)
    grep -q . "${procs[0]}" || return
    group=${procs[0]%/*}
    scope=${group%/*}
}

# Starts memwatch-run in a session of tester's: $launched is its process, $scope its scope's group, $group the
# program's, once the program is in it.
start() { # ARGUMENT_FOR_SH
    su -l tester -c 'echo $$ >'"$work/pid; exec $launcher --limit-mode=systemd $1" >"$work/out" 2>"$work/err" </dev/null &
    session=$!
    await "memwatch-run runs" test -s "$work/pid"
    launched=$(<"$work/pid")
    await "the program is in its group" find_group
}

finish() { # waits for what `start` started: $status
    await "memwatch-run ends" ended "$session"
    status=0
    wait "$session" || status=$?
}

expect_one_line() { # PATTERN
    expect_said 1 "$1"
    [[ $(wc -l <"$work/err") -eq 1 ]] || fail "more than one line"
}

expect_limit_in_scope() { # TIMES
    expect_said "$1" "limit 60 MiB \\($LIMIT_BYTES bytes\\) by cgroup v2 $scope_pattern/memwatch-[0-9]+-[0-9]+\$"
}

nothing_is_left() {
    [[ ! $(find /sys/fs/cgroup -type d -name 'memwatch-*' ! -name 'memwatch-scenarios.service') ]] &&
        [[ ! $(manage list-units --all --no-legend --plain 'memwatch-*') ]]
}

expect_nothing_left() { # systemd removes a scope soon after its last process has ended
    await "no scope and no group is left" nothing_is_left
}

# ---- scenarios: each in a subshell, which `fail` ends; what they print stands beside their name ----

oom_kill_is_told_and_restarted() {
    local verdict="leak \\(pid [0-9]+\\) was killed by the kernel's OOM killer at its own limit after .*: limit 60 MiB"
    verdict+=" \\($LIMIT_BYTES bytes\\), peak [0-9.]+ MiB \\([0-9]+ bytes\\), 1 OOM kill, working set at the end [^;]*"
    try '$launcher --limit-mode systemd --limit 60M --start-limit 1 --restart-delay 10ms $leak 1000'
    expect_status 137
    expect_limit_in_scope 2
    expect_said 2 "$verdict"
    expect_said 1 "$verdict; restart 1 of at most 1 in "
    expect_said 1 "$verdict; not started again"
    expect_peaks_at_limit
}

it_is_found_unasked() {
    try '$launcher --limit 60M --restart no cat /proc/self/cgroup'
    expect_status 0
    expect_limit_in_scope 1
    grep -qE '^0::/.*/memwatch-[0-9]+\.scope/memwatch-[0-9]+-[0-9]+$' "$work/out" || fail "not in the group: $(<"$work/out")"
}

it_is_found_without_the_variable() {
    try 'env -u XDG_RUNTIME_DIR -u DBUS_SESSION_BUS_ADDRESS $launcher --limit-mode systemd --limit 60M true'
    expect_status 0
    expect_limit_in_scope 1
}

it_is_found_without_a_message_bus() {
    mv /run/user/1000/bus /run/user/1000/no-bus
    try '$launcher --limit-mode systemd --limit 60M true'
    mv /run/user/1000/no-bus /run/user/1000/bus
    expect_status 0
    expect_limit_in_scope 1
}

the_first_instructions_are_held() {
    try '$launcher --limit-mode systemd --limit 60M --restart no $leak 1000000' # as fast as it can
    expect_status 137
    expect_said 1 "OOM killer at its own limit after .*: limit 60 MiB .*, 1 OOM kill, working set at the end "
    expect_peaks_at_limit
}

a_child_is_held_and_told_of() {
    try '$launcher --limit-mode systemd --limit 60M sh -c "$leak 1000; echo survived \$?"'
    expect_status 0
    grep -q '^survived 137$' "$work/out" || fail "the program did not live on"
    expect_said 1 'exited with status 0 after .*, 1 OOM kill \(of a process that it had started, at its own limit\), '
}

people_see_the_limit() {
    local expected actual
    start '--limit 60M sleep 1000'
    expected=$(printf '%s\n' CollectMode=inactive-or-failed Delegate=yes DelegateControllers=memory \
        'Description=memwatch-run sleep' "MemoryMax=$((LIMIT_BYTES + ROOM_BYTES))")
    actual=$(manage show -p Description,MemoryMax,Delegate,DelegateControllers,CollectMode "memwatch-$launched.scope" |
        sort)
    [[ $actual == "$expected" ]] || fail "the scope is: $actual"
    [[ $(<"$scope/launcher/cgroup.procs") == "$launched" ]] || fail "the launcher is elsewhere"
    [[ $(<"$group/memory.max") == "$LIMIT_BYTES" ]] || fail "the group's limit: $(<"$group/memory.max")"
    kill -TERM "$launched"
    finish
    expect_status 143
}

the_launcher_stays_small() { # what it loads to speak to systemd is gone
    local rss_kib
    start '--limit 60M sleep 1000'
    ! grep -q libsystemd "/proc/$launched/maps" || fail "libsystemd is loaded"
    rss_kib=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$launched/status")
    ((rss_kib <= 2048)) || fail "its RSS is $rss_kib KiB"
    kill -TERM "$launched"
    finish
    echo "RSS $rss_kib KiB"
}

a_group_within_the_scope_is_no_way_out() {
    try '$launcher --limit-mode systemd --limit 60M --restart no bash -c '\''
        own=/sys/fs/cgroup$(sed -n "s/^0:://p" /proc/self/cgroup)
        echo 0 >$(dirname $own)/launcher/cgroup.procs && exec $leak 1000 200'\'
    expect_status 137
}

nothing_is_left_when_the_launcher_is_killed() {
    start '--limit 60M sleep 1000'
    local program
    program=$(<"$group/cgroup.procs")
    kill -9 "$launched"
    finish
    if kill -0 "$program"; then # it lives on, within its limit
        [[ $(<"$group/memory.max") == "$LIMIT_BYTES" ]] || fail "the group's limit: $(<"$group/memory.max")"
        kill -9 "$program"
    fi
    expect_nothing_left
}

stopping_the_scope_ends_all() {
    start '--limit 60M sleep 1000'
    manage stop "memwatch-$launched.scope"
    finish
    expect_status 143
}

it_serves_from_a_service_of_the_users() {
    try 'systemd-run --user --quiet --pipe --wait --collect $launcher --limit-mode systemd --limit 60M \
        --restart no $leak 1000'
    expect_status 137
    expect_limit_in_scope 1
    expect_peaks_at_limit
}

one_within_another_needs_no_second_scope() {
    try '$launcher --limit-mode systemd --limit 100M $launcher --limit 60M --restart no $leak 1000'
    expect_status 137
    expect_said 1 "limit 100 MiB .* by cgroup v2 $scope_pattern/memwatch-[0-9]+-[0-9]+\$"
    expect_limit_in_scope 1
    expect_said 1 "leak .* OOM killer at its own limit after .*: limit 60 MiB .*, 1 OOM kill, working set at the end "
    [[ $(said | grep -oE "$scope_pattern" | sort -u | wc -l) -eq 1 ]] || fail "there were two scopes"
}

# ---- what is said where it cannot be had ----

journal_has() { # PROCESS PATTERN
    journalctl --quiet --output cat "_PID=$1" | grep -q "$2"
}

lines_go_to_the_journal() {
    try 'MEMWATCH_OUTPUT=none $launcher --log journal --limit 60M sh -c "echo \$PPID; exit 3"'
    expect_status 3
    [[ ! -s $work/err ]] || fail "on standard error: $(<"$work/err")"
    await "the journal has it" journal_has "$(<"$work/out")" 'exited with status 3 '
}

# Which none but systemd can move there, out of the session.
a_running_process_is_taken_into_a_scope() {
    try 'sleep 1000 & process=$!
        $launcher --limit-mode systemd --limit 60M --attach $process & launched=$!
        for i in $(seq 300); do grep "/memwatch-.*/memwatch-" /proc/$process/cgroup && break; sleep 0.1; done
        kill -9 $process; wait $launched; echo "status $?"'
    expect_status 0
    grep -Eq 'user@1000.service/.*/memwatch-[0-9]+\.scope/memwatch-[0-9]+-[0-9]+$' "$work/out" || fail "not there: $(<"$work/out")"
    expect_said 1 "sleep \\(pid [0-9]+\\): limit 60 MiB \\($LIMIT_BYTES bytes\\) by cgroup v2 $manager/.*stay charged to "

}

of_service() { # PROPERTY
    systemctl show -P "$1" memwatch-service.service
}

# A service of which only the main process is listened to, and that is memwatch-run. systemd makes $ of $$.
a_service_becomes_ready_and_stops_through_it() {
    local main
    systemd-run --quiet --unit memwatch-service --service-type notify -p NotifyAccess=main -p WatchdogSec=600 \
        "$launcher" --limit 60M bash -c 'systemd-notify --ready "--status=watchdog $((WATCHDOG_PID == $$$$))"; exec sleep 1000' ||
        fail "the service does not become ready: $(journalctl --quiet --output cat --unit memwatch-service)"
    main=$(of_service MainPID)
    [[ $(of_service ActiveState) == active ]] || fail "it is $(of_service ActiveState)"
    [[ $(of_service StatusText) == 'watchdog 1' ]] || fail "its status is $(of_service StatusText)"
    [[ $(readlink "/proc/$main/exe") == "$launcher" ]] || fail "the main process is $(readlink "/proc/$main/exe")"
    systemctl stop memwatch-service || fail "it does not stop"
    await "memwatch-run has ended" ended "$main"
}

without_a_manager() {
    try_stranger 'unset XDG_RUNTIME_DIR; $launcher --limit-mode systemd --limit 60M true'
    expect_status 125
    expect_one_line 'no systemd manager serves this user: .* in /run/user/1001;'
}

with_the_manager_of_another() {
    try_stranger 'XDG_RUNTIME_DIR=/run/user/1000 $launcher --limit-mode systemd --limit 60M true'
    expect_status 125
    expect_one_line 'no systemd manager serves this user: '
}

with_a_manager_that_does_not_answer() {
    local process
    process=$(systemctl show -P MainPID user@1000.service)
    kill -STOP "$process"
    try '$launcher --limit-mode systemd --limit 60M true'
    kill -CONT "$process"
    expect_status 125
    expect_one_line 'systemd did not answer within 5 seconds'
}

with_a_bus_that_nobody_serves() {
    mv /run/user/1000/bus /run/user/1000/no-bus
    try 'perl -MSocket -e "socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un(\"/run/user/1000/bus\"))"
        $launcher --limit-mode systemd --limit 60M true'
    mv /run/user/1000/no-bus /run/user/1000/bus
    expect_status 125
    expect_one_line 'cannot reach systemd at /run/user/1000/bus: Connection refused'
}

without_the_memory_controller() {
    local unit overrides=/run/systemd/system
    for unit in user@1001 user-runtime-dir@1001; do
        mkdir -p "$overrides/$unit.service.d"
        printf '[Service]\nMemoryAccounting=no\n' >"$overrides/$unit.service.d/memory.conf"
    done
    printf 'Delegate=no\nDelegate=pids\n' >>"$overrides/user@1001.service.d/memory.conf"
    systemctl daemon-reload
    systemctl start user@1001.service
    await "the manager is on its bus" setpriv --reuid stranger --regid stranger --init-groups \
        env XDG_RUNTIME_DIR=/run/user/1001 busctl --user status org.freedesktop.systemd1 >/dev/null
    try_stranger 'XDG_RUNTIME_DIR=/run/user/1001 $launcher --limit-mode systemd --limit 60M true'
    systemctl stop user@1001.service
    expect_status 125
    expect_one_line 'the systemd user manager is not given the memory controller: that takes Delegate=memory'
}

# ---- all of them ----

scenarios=(
    oom_kill_is_told_and_restarted
    it_is_found_unasked
    it_is_found_without_the_variable
    it_is_found_without_a_message_bus
    the_first_instructions_are_held
    a_child_is_held_and_told_of
    people_see_the_limit
    the_launcher_stays_small
    a_group_within_the_scope_is_no_way_out
    nothing_is_left_when_the_launcher_is_killed
    stopping_the_scope_ends_all
    it_serves_from_a_service_of_the_users
    one_within_another_needs_no_second_scope
    lines_go_to_the_journal
    a_running_process_is_taken_into_a_scope
    a_service_becomes_ready_and_stops_through_it
    without_a_manager
    with_the_manager_of_another
    with_a_manager_that_does_not_answer
    with_a_bus_that_nobody_serves
    without_the_memory_controller
)

# The bus may be there before the manager is on it.
manager_is_on_the_bus() {
    setpriv --reuid tester --regid tester --init-groups env XDG_RUNTIME_DIR=/run/user/1000 busctl --user call \
        org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus NameHasOwner s org.freedesktop.systemd1 |
        grep -q true
}

mkdir -p "$work"
: >"$work/err" # for `fail`
await "the user's manager is on the bus" manager_is_on_the_bus
failures=0
for scenario in "${scenarios[@]}"; do
    rm -rf "$work"
    mkdir -m 777 "$work"
    : >"$work/err"
    if detail=$("$scenario" 2>&1 && expect_nothing_left 2>&1); then
        echo "ok systemd $scenario${detail:+ ($detail)}"
    else
        echo "FAIL systemd $scenario: ${detail//$'\n'/ | }"
        failures=$((failures + 1))
        manage kill --signal KILL 'memwatch-*.scope' 2>/dev/null # not to disturb the next
    fi
done
exit $((failures > 0))
