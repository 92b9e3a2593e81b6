/* SPDX-License-Identifier: MIT */
#include "verdict.h"

#include <signal.h>
#include <stdio.h>

#include "check.h"
#include "json.h"

/* Wait statuses as waitpid tells them. */
#define EXITED(status) ((status) << 8)
#define KILLED(signal) (signal)
#define DUMPED(signal) ((signal) | 0x80)
#define MIB            UINT64_C(1048576)
#define RAN_1_2_S      UINT64_C(1200000000)
#define NONE           MW_COUNT_UNKNOWN

/* A level of v2 where a kernel tells everything: calls for its own limit, calls below too, kills, group kills. */
#define V2(calls, all_calls, killed, at_once)                                                                          \
    {                                                                                                                  \
        .local_ooms = (calls), .ooms = (all_calls), .kills = (killed), .group_kills = (at_once),                       \
        .limit_bytes = 60 * MIB, .swap_limit_bytes = NONE, .swap_peak_bytes = NONE                                     \
    }

/* A level of v1: calls for its own limit, that limit met, that of memory and swap met, kills (of level 0 only). */
#define V1(calls, met, met_swap, killed)                                                                               \
    {                                                                                                                  \
        .local_ooms = (calls), .ooms = NONE, .kills = (killed), .group_kills = NONE, .limit_hits = (met),              \
        .swap_hits = (met_swap), .limit_bytes = 60 * MIB, .swap_limit_bytes = 60 * MIB, .swap_peak_bytes = 20 * MIB    \
    }

/* A machine that was short of memory, or not. */
#define SHORT .sees_top = true, .machine_stalls = 9, .machine_kills = 9
#define AMPLE .sees_top = true, .machine_stalls = 0, .machine_kills = 9

static struct mw_verdict_facts facts_of(int wait_status, struct mw_group_counts happened)
{
    struct mw_verdict_facts facts = {
        .program = "app",
        .pid = 7,
        .wait_status = wait_status,
        .ran_ns = RAN_1_2_S,
        .happened = happened,
        .has_group = happened.version != 0,
        .cgroup = {.version = happened.version, .top_length = 3, .dir = "/cg/outer/middle/own"},
        .limit_bytes = 60 * MIB,
        .peak_bytes = 60 * MIB,
        .working_set_bytes = 4096,
    };
    return facts;
}

/* The origins as one text: "own-limit" or "ancestor-limit 1, machine". */
static const char *origins_text(const struct mw_verdict *verdict)
{
    static char text[512];
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < verdict->origin_count; i++) {
        const struct mw_oom_origin *origin = &verdict->origins[i];
        length +=
            (size_t)snprintf(text + length, sizeof text - length, "%s%s", i ? ", " : "", mw_cause_word(origin->cause));
        if (origin->level)
            length += (size_t)snprintf(text + length, sizeof text - length, " %u", origin->level);
    }
    return text;
}

struct origin_case {
    const char *what;
    struct mw_group_counts happened; /* but for the version and the number of levels */
    const char *cause;
    const char *origins;
};

/* Of a program that was killed by SIGKILL. */
static void check_origins(int version, const struct origin_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct mw_verdict_facts facts = facts_of(KILLED(SIGKILL), cases[i].happened);
        facts.happened.version = facts.cgroup.version = version;
        while (facts.happened.levels[facts.happened.level_count].limit_bytes)
            facts.happened.level_count++;
        struct mw_verdict verdict = mw_verdict(&facts);
        CHECK_TEXT(cases[i].what, origins_text(&verdict), cases[i].origins);
        CHECK_TEXT(cases[i].what, mw_cause_word(verdict.cause), cases[i].cause);
    }
}

static void version_2_tells_the_limit(void **state)
{
    static const struct origin_case cases[] = {
        {"own", {.levels = {V2(1, 1, 1, 0), V2(0, 1, 1, 0)}, AMPLE}, "own-limit", "own-limit"},
        {"own, the machine short as well",
         {.levels = {V2(1, 1, 1, 0), V2(0, 1, 1, 0)}, SHORT},
         "own-limit",
         "own-limit"},
        {"own, called thrice by three threads",
         {.levels = {V2(3, 3, 1, 0), V2(0, 3, 1, 0)}, SHORT},
         "own-limit",
         "own-limit"},
        {"a whole group", {.levels = {V2(1, 1, 2, 1), V2(0, 1, 2, 1)}, SHORT}, "own-limit", "own-limit"},
        {"the parent's", {.levels = {V2(0, 0, 1, 0), V2(1, 1, 1, 0)}, SHORT}, "ancestor-limit", "ancestor-limit 1"},
        {"the grandparent's",
         {.levels = {V2(0, 0, 1, 0), V2(0, 0, 1, 0), V2(2, 2, 1, 0)}, SHORT},
         "ancestor-limit",
         "ancestor-limit 2"},
        {"own or the parent's",
         {.levels = {V2(1, 1, 1, 0), V2(1, 2, 1, 0)}, AMPLE},
         "oom",
         "own-limit, ancestor-limit 1"},
        {"the machine", {.levels = {V2(0, 0, 1, 0), V2(0, 0, 1, 0)}, SHORT}, "machine", "machine"},
        {"the machine, how short is not known",
         {.levels = {V2(0, 0, 1, 0)}, .sees_top = true, .machine_stalls = NONE},
         "machine",
         "machine"},
        {"nobody was short (sysrq-f)", {.levels = {V2(0, 0, 1, 0), V2(0, 0, 1, 0)}, AMPLE}, "oom", ""},
        {"above what is visible",
         {.levels = {V2(0, 0, 1, 0)}, .sees_top = false, .machine_stalls = 0},
         "hidden-limit",
         "hidden-limit"},
        {"above, or the machine",
         {.levels = {V2(0, 0, 1, 0)}, .sees_top = false, .machine_stalls = 1},
         "oom",
         "hidden-limit, machine"},
        {"a child's by the own limit, then by the machine",
         {.levels = {V2(1, 1, 2, 0), V2(0, 1, 2, 0)}, SHORT},
         "oom",
         "own-limit, machine"},
        {"a sibling's by the parent's limit, ours by the machine",
         {.levels = {V2(0, 0, 1, 0), V2(1, 1, 2, 0)}, SHORT},
         "oom",
         "ancestor-limit 1, machine"},
        {"two by the parent's limit, the machine short",
         {.levels = {V2(0, 0, 1, 0), V2(2, 2, 2, 0)}, SHORT},
         "ancestor-limit",
         "ancestor-limit 1"},
        {"a group of its own making",
         {.levels = {V2(0, 1, 1, 0), V2(0, 1, 1, 0)}, SHORT},
         "inner-limit",
         "inner-limit"},
        {"that or the own", {.levels = {V2(1, 2, 1, 0), V2(0, 2, 1, 0)}, SHORT}, "oom", "own-limit, inner-limit"},
        {"not known of the parent",
         {.levels = {V2(1, 1, 1, 0), V2(NONE, 2, 1, 0)}, AMPLE},
         "oom",
         "own-limit, ancestor-limit 1"},
        {"killed from outside", {.levels = {V2(0, 0, 0, 0), V2(0, 0, 0, 0)}, SHORT}, "killed", ""},
        {"killed from outside, the own limit called and killed none",
         {.levels = {V2(1, 1, 0, 0), V2(0, 1, 0, 0)}, SHORT},
         "killed",
         ""},
        {"killed from outside, a sibling by the parent's limit",
         {.levels = {V2(0, 0, 0, 0), V2(1, 1, 1, 0)}, SHORT},
         "killed",
         ""},
        {"kills are not counted", {.levels = {V2(1, 1, NONE, 0)}, SHORT}, "killed-or-oom", ""},
        {"kills are not counted, and the machine has counted none",
         {.levels = {V2(1, 1, NONE, 0)}, .machine_kills = 0},
         "killed",
         ""},
        {"huge", {.levels = {V2(NONE - 1, NONE - 1, NONE - 1, NONE - 1)}, AMPLE}, "own-limit", "own-limit"},
    };
    (void)state;
    check_origins(2, cases, COUNT(cases));
}

static void version_1_tells_the_limit(void **state)
{
    static const struct origin_case cases[] = {
        {"own", {.levels = {V1(1, 7, 0, 1), V1(0, 0, 0, NONE)}, SHORT}, "own-limit", "own-limit"},
        {"own, the parent's met by its cache",
         {.levels = {V1(1, 7, 0, 1), V1(0, 99, 0, NONE)}, SHORT},
         "own-limit",
         "own-limit"},
        {"own, of memory and swap",
         {.levels = {V1(1, 0, 7, 1), V1(0, 0, 0, NONE)}, SHORT},
         "own-swap-limit",
         "own-swap-limit"},
        {"the same where the kernel leaves its failcnt at 0",
         {.levels = {V1(1, 0, 0, 1), V1(0, 0, 0, NONE)}, SHORT},
         "own-swap-limit",
         "own-swap-limit"},
        {"both were met", {.levels = {V1(1, 3, 7, 1)}, SHORT}, "oom", "own-limit, own-swap-limit"},
        {"the parent's", {.levels = {V1(0, 0, 0, 1), V1(1, 8, 0, NONE)}, SHORT}, "ancestor-limit", "ancestor-limit 1"},
        {"the parent's, the own met by its cache",
         {.levels = {V1(0, 55, 0, 1), V1(1, 8, 0, NONE)}, SHORT},
         "ancestor-limit",
         "ancestor-limit 1"},
        {"the parent's of memory and swap",
         {.levels = {V1(0, 0, 0, 1), V1(1, 0, 8, NONE)}, SHORT},
         "ancestor-swap-limit",
         "ancestor-swap-limit 1"},
        {"the machine", {.levels = {V1(0, 0, 0, 1), V1(0, 0, 0, NONE)}, SHORT}, "machine", "machine"},
        {"the machine, limits met by cache",
         {.levels = {V1(0, 9, 0, 1), V1(0, 9, 0, NONE)}, SHORT},
         "machine",
         "machine"},
        {"two kills, one call, the machine short", {.levels = {V1(1, 9, 0, 2)}, SHORT}, "oom", "own-limit, machine"},
        {"two kills, one call, and it was not", {.levels = {V1(1, 9, 0, 2)}, AMPLE}, "own-limit", "own-limit"},
        {"a group of its own making",
         {.levels = {V1(0, 0, 0, 1)}, AMPLE, .inner_limit_hits = 4},
         "inner-limit",
         "inner-limit"},
        {"killed from outside", {.levels = {V1(0, 9, 0, 0), V1(1, 9, 0, NONE)}, SHORT}, "killed", ""},
        {"no notices: own", {.levels = {V1(NONE, 7, 0, 1), V1(NONE, 0, 0, NONE)}, AMPLE}, "own-limit", "own-limit"},
        {"no notices: own or the machine",
         {.levels = {V1(NONE, 7, 0, 1), V1(NONE, 0, 0, NONE)}, SHORT},
         "oom",
         "own-limit, machine"},
        {"no notices: own or the parent's",
         {.levels = {V1(NONE, 7, 0, 1), V1(NONE, 1, 0, NONE)}, AMPLE},
         "oom",
         "own-limit, ancestor-limit 1"},
        {"no notices: of memory and swap", {.levels = {V1(NONE, 0, 7, 1)}, AMPLE}, "own-swap-limit", "own-swap-limit"},
        {"no notices, in a container",
         {.levels = {V1(NONE, 7, 0, 1)}, .machine_stalls = 0},
         "oom",
         "own-limit, hidden-limit"},
        {"notices, in a container", {.levels = {V1(1, 0, 0, 1)}, .machine_stalls = 9}, "hidden-limit", "hidden-limit"},
        {"nothing is known", {.levels = {V1(NONE, NONE, NONE, 1)}, AMPLE}, "oom", ""},
    };
    (void)state;
    check_origins(1, cases, COUNT(cases));
}

/* What the kernel has counted when its limit of 60 MiB had the OOM killer called, and it took one or more. */
static struct mw_group_counts own_kills(uint64_t kills)
{
    return (struct mw_group_counts){
        .version = 2, .level_count = 2, .levels = {V2(kills, kills, kills, 0), V2(0, kills, kills, 0)}, AMPLE};
}

static struct mw_group_counts ancestors_kill(void)
{
    struct mw_group_counts happened = {
        .version = 2, .level_count = 3, .levels = {V2(0, 0, 1, 0), V2(0, 0, 1, 0), V2(1, 1, 1, 0)}, AMPLE};
    happened.levels[2].limit_bytes = 40 * MIB;
    return happened;
}

static struct mw_group_counts swap_kill(void)
{
    return (struct mw_group_counts){.version = 1, .level_count = 1, .levels = {V1(1, 0, 7, 1)}, AMPLE};
}

static void only_a_sigkill_with_an_oom_kill_counted_is_the_oom_killers(void **state)
{
    // NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order that one reads
    static const struct {
        const char *what;
        int wait_status;
        uint64_t kills;
        bool is_shared;
        bool has_others;
        const char *cause;
    } cases[] = {
        {"exit 0", EXITED(0), 0, false, false, "exited"},
        {"exit 1, a child taken", EXITED(1), 1, false, false, "exited"},
        {"exit 137 proves nothing", EXITED(137), 1, false, false, "exited"},
        {"OOM", KILLED(SIGKILL), 1, false, false, "own-limit"},
        {"crash, a child taken", KILLED(SIGSEGV), 1, false, false, "crashed"},
        {"crash with core", DUMPED(SIGABRT), 0, false, false, "crashed"},
        {"SIGTERM, a child taken", KILLED(SIGTERM), 2, false, false, "signalled"},
        {"SIGQUIT with core", DUMPED(SIGQUIT), 0, false, false, "signalled"},
        {"shared with nobody else", KILLED(SIGKILL), 1, true, false, "own-limit"},
        {"shared, somebody was taken", KILLED(SIGKILL), 1, true, true, "killed-or-oom"},
        {"shared, nobody was taken", KILLED(SIGKILL), 0, true, true, "killed"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_verdict_facts facts = facts_of(cases[i].wait_status, own_kills(cases[i].kills));
        facts.is_shared = cases[i].is_shared;
        facts.has_others = cases[i].has_others;
        CHECK_TEXT(cases[i].what, mw_cause_word(mw_verdict(&facts).cause), cases[i].cause);
    }
}

static void without_a_group_only_the_machines_count_can_rule_an_oom_kill_out(void **state)
{
    (void)state;
    struct mw_verdict_facts facts = facts_of(KILLED(SIGKILL), (struct mw_group_counts){.machine_kills = NONE});
    assert_int_equal(mw_verdict(&facts).cause, MW_CAUSE_KILLED_OR_OOM);
    facts.happened.machine_kills = 1;
    assert_int_equal(mw_verdict(&facts).cause, MW_CAUSE_KILLED_OR_OOM);
    facts.happened.machine_kills = 0;
    assert_int_equal(mw_verdict(&facts).cause, MW_CAUSE_KILLED);
}

static void exit_statuses_are_the_programs_own_or_128_plus_the_signal(void **state)
{
    (void)state;
    for (int status = 0; status < 256; status++)
        assert_int_equal(mw_verdict_exit_status(EXITED(status)), status);
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        assert_int_equal(mw_verdict_exit_status(KILLED(signal)), 128 + signal);
        assert_int_equal(mw_verdict_exit_status(DUMPED(signal)), 128 + signal);
    }
}

/* Of a process that is no child of ours: no signal is made up for it, but the kills in its group are told. */
static void without_a_status_the_end_alone_is_known(void **state)
{
    char buffer[2048];
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    for (unsigned kills = 0; kills < 2; kills++) {
        struct mw_verdict_facts facts = facts_of(0, own_kills(kills));
        facts.has_no_status = true;
        text.length = 0;
        assert_int_equal(mw_verdict(&facts).cause, MW_CAUSE_ENDED);
        assert_int_equal(mw_verdict(&facts).oom_kills, kills);
        mw_verdict_text(&text, &facts);
        CHECK_HAS("text", buffer, "app (pid 7) has ended, with what status is not known, after 1.2 s: limit 60 MiB");
        CHECK_HAS("text", buffer,
                  kills ? "1 OOM kill (of it or of a process that it had started, at its own limit)"
                        : ", no OOM kill, ");
        text.length = 0;
        mw_verdict_json(&text, &facts);
        assert_true(json_is_valid(buffer));
        assert_null(json_member(buffer, "ExitStatus"));
        assert_null(json_member(buffer, "Signal"));
    }
}

static void check_text(const char *what, const struct mw_verdict_facts *facts, const char *due)
{
    char buffer[1024];
    struct mw_text text = MW_TEXT(buffer);
    mw_verdict_text(&text, facts);
    CHECK(what, !text.truncated);
    CHECK_TEXT(what, buffer, due);
}

#define SIXTY "60 MiB (62914560 bytes)"
#define REST  ": limit " SIXTY ", peak " SIXTY ", "
#define END   ", working set at the end 4 KiB (4096 bytes)"

static void the_sentence_says_who_how_and_with_what(void **state)
{
    const struct {
        int wait_status;
        struct mw_group_counts happened;
        const char *due;
    } cases[] = {
        {KILLED(SIGKILL), own_kills(1),
         "app (pid 7) was killed by the kernel's OOM killer at its own limit after 1.2 s" REST "1 OOM kill" END},
        {KILLED(SIGKILL), own_kills(2),
         "app (pid 7) was killed by the kernel's OOM killer at its own limit after 1.2 s" REST "2 OOM kills" END},
        {KILLED(SIGKILL), ancestors_kill(),
         "app (pid 7) was killed by the kernel's OOM killer at the limit of the cgroup /cg/outer, 40 MiB (41943040 "
         "bytes), after 1.2 s" REST "1 OOM kill" END},
        {KILLED(SIGKILL), swap_kill(),
         "app (pid 7) was killed by the kernel's OOM killer at its own limit of memory and swap together, " SIXTY
         ", after 1.2 s" REST "1 OOM kill" END},
        {EXITED(3), own_kills(0), "app (pid 7) exited with status 3 after 1.2 s" REST "no OOM kill" END},
        {EXITED(0), own_kills(1),
         "app (pid 7) exited with status 0 after 1.2 s" REST
         "1 OOM kill (of a process that it had started, at its own limit)" END},
        {DUMPED(SIGSEGV), ancestors_kill(),
         "app (pid 7) crashed with signal 11 (SIGSEGV), core dumped, after 1.2 s" REST
         "1 OOM kill (of a process that it had started, at the limit of the cgroup /cg/outer, 40 MiB (41943040 "
         "bytes))" END},
        {KILLED(SIGBUS), own_kills(0),
         "app (pid 7) crashed with signal 7 (SIGBUS), no core dumped, after 1.2 s" REST "no OOM kill" END},
        {KILLED(SIGTERM), own_kills(0),
         "app (pid 7) was killed by signal 15 (SIGTERM) after 1.2 s" REST "no OOM kill" END},
        {KILLED(SIGKILL), own_kills(0),
         "app (pid 7) was killed by signal 9 (SIGKILL), not by the OOM killer, after 1.2 s" REST "no OOM kill" END},
        {KILLED(SIGKILL),
         {.machine_kills = NONE},
         "app (pid 7) was killed by signal 9 (SIGKILL) (by the OOM killer or not: without a cgroup that is not known) "
         "after 1.2 s"},
        {KILLED(40), {0}, "app (pid 7) was killed by signal 40 after 1.2 s"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_verdict_facts facts = facts_of(cases[i].wait_status, cases[i].happened);
        check_text(cases[i].due, &facts, cases[i].due);
    }
}

static void the_sentence_says_what_else_there_is_to_say(void **state)
{
    (void)state;
    struct mw_verdict_facts facts = facts_of(KILLED(SIGKILL), own_kills(1));
    facts.before_exec = true;
    facts.restarts = 2;
    check_text("before exec", &facts,
               "app (pid 7) was killed by the kernel's OOM killer at its own limit before its first instruction after "
               "1.2 s" REST "1 OOM kill" END ", 2 restarts before");
    facts = facts_of(KILLED(SIGKILL), own_kills(1));
    facts.is_shared = true;
    check_text(
        "shared", &facts,
        "app (pid 7) was killed by the kernel's OOM killer at the limit of the cgroup that it shares after 1.2 s: "
        "in the cgroup that it shares: limit " SIXTY ", 1 OOM kill");
    facts.has_others = true;
    facts.restarts = 1;
    check_text("shared with others", &facts,
               "app (pid 7) was killed by signal 9 (SIGKILL) (by the OOM killer or not: it shares its cgroup, of which "
               "somebody was taken) after 1.2 s: in the cgroup that it shares: limit " SIXTY
               ", 1 OOM kill (of some process, at the limit of the cgroup that it shares), 1 restart before");
    facts = facts_of(KILLED(SIGKILL), own_kills(2));
    facts.happened.levels[0].group_kills = 1;
    facts.happened.version = 2;
    facts.swap_limit_bytes = MIB;
    facts.swap_peak_bytes = 4096;
    facts.peak_bytes = 0;
    facts.limit_bytes = 0;
    facts.working_set_bytes = 0;
    check_text("at once, with swap", &facts,
               "app (pid 7) was killed by the kernel's OOM killer at its own limit after 1.2 s: limit none, swap 1 MiB "
               "(1048576 bytes), peak not known, of swap 4 KiB (4096 bytes), 2 OOM kills at once, as memory.oom.group "
               "asks, working set at the end 0 B");
    facts = facts_of(KILLED(SIGKILL), own_kills(1));
    facts.happened.levels[1].local_ooms = 1;
    check_text("one of two", &facts,
               "app (pid 7) was killed by the kernel's OOM killer at its own limit or at the limit of the cgroup "
               "/cg/outer/middle, " SIXTY " (which of these cannot be told) after 1.2 s" REST "1 OOM kill" END);
    facts.happened.levels[0].local_ooms = facts.happened.levels[1].local_ooms = 0;
    facts.happened.levels[0].ooms = 0;
    check_text("none", &facts,
               "app (pid 7) was killed by the kernel's OOM killer at which limit cannot be told after 1.2 s" REST
               "1 OOM kill" END);
}

static void check_word(const char *json, const char *name, const char *due)
{
    char word[128];
    assert_true(json_string(json_member(json, name), word, sizeof word) >= 0);
    CHECK_TEXT(name, word, due);
}

static void check_number(const char *json, const char *name, uint64_t due)
{
    uint64_t number = ~due;
    CHECK(name, json_u64(json_member(json, name), &number));
    CHECK_U64(name, number, due);
}

static void json_tells_the_same(void **state)
{
    char buffer[4096];
    struct mw_text text = MW_TEXT(buffer);
    struct mw_verdict_facts facts = facts_of(KILLED(SIGKILL), ancestors_kill());
    (void)state;
    facts.program = "a\"b\n\xff";
    facts.restarts = 3;
    mw_verdict_json(&text, &facts);
    assert_true(json_is_valid(buffer));
    assert_null(strchr(buffer, '\n'));
    check_word(buffer, "Cause", "ancestor-limit");
    check_word(buffer, "LimitDirectory", "/cg/outer");
    check_word(buffer, "Cgroup", "/cg/outer/middle/own");
    check_number(buffer, "Pid", 7);
    check_number(buffer, "ExitStatus", 137);
    check_number(buffer, "Signal", SIGKILL);
    check_number(buffer, "RunTimeNs", RAN_1_2_S);
    check_number(buffer, "Restarts", 3);
    check_number(buffer, "Limit", 60 * MIB);
    check_number(buffer, "Peak", 60 * MIB);
    check_number(buffer, "WorkingSet", 4096);
    check_number(buffer, "OOMKills", 1);
    const char *origin = json_element(json_member(buffer, "OOMCauses"), 0);
    check_word(origin, "Directory", "/cg/outer");
    check_number(origin, "Limit", 40 * MIB);
    assert_null(json_member(buffer, "SwapPeak"));
}

static void json_leaves_out_what_is_not_known(void **state)
{
    static const char *const absent[] = {"Signal",    "CoreDumped", "Limit",          "Peak",           "OOMKills",
                                         "OOMCauses", "Cgroup",     "LimitDirectory", "MachineOOMKills"};
    char buffer[4096];
    struct mw_text text = MW_TEXT(buffer);
    struct mw_verdict_facts facts = facts_of(EXITED(5), (struct mw_group_counts){.machine_kills = NONE});
    (void)state;
    mw_verdict_json(&text, &facts);
    assert_true(json_is_valid(buffer));
    check_word(buffer, "Cause", "exited");
    check_number(buffer, "ExitStatus", 5);
    for (size_t i = 0; i < COUNT(absent); i++)
        CHECK(absent[i], !json_member(buffer, absent[i]));
}

static void a_long_name_is_cut_and_terminated(void **state)
{
    char name[600];
    char buffer[64];
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    memset(name, '\xff', sizeof name);
    name[sizeof name - 1] = '\0';
    mw_verdict_text(&text, &(struct mw_verdict_facts){.program = name, .wait_status = EXITED(0)});
    assert_true(text.truncated);
    assert_int_equal(strlen(buffer), sizeof buffer - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_2_tells_the_limit),
        cmocka_unit_test(version_1_tells_the_limit),
        cmocka_unit_test(only_a_sigkill_with_an_oom_kill_counted_is_the_oom_killers),
        cmocka_unit_test(without_a_group_only_the_machines_count_can_rule_an_oom_kill_out),
        cmocka_unit_test(exit_statuses_are_the_programs_own_or_128_plus_the_signal),
        cmocka_unit_test(without_a_status_the_end_alone_is_known),
        cmocka_unit_test(the_sentence_says_who_how_and_with_what),
        cmocka_unit_test(the_sentence_says_what_else_there_is_to_say),
        cmocka_unit_test(json_tells_the_same),
        cmocka_unit_test(json_leaves_out_what_is_not_known),
        cmocka_unit_test(a_long_name_is_cut_and_terminated),
    };
    return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
