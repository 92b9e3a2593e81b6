/* SPDX-License-Identifier: MIT */
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "fileio.h"
#include "group.h"
#include "scope_bus.h"
#include "scope_text.h"

#define DEADLINE_NS (MW_SCOPE_DEADLINE_S * UINT64_C(1000000000))
#define LEAF        "launcher"

/* ---- where to ask ---- */

static bool find_in(const char *root, const char *directory, const char *name, bool is_bus, struct mw_scope_socket *out)
{
    struct stat status;
    int length = snprintf(out->path, sizeof out->path, "%s%s/%s", root, directory, name);
    out->is_bus = is_bus;
    return length > 0 && (size_t)length < sizeof out->path && stat(out->path, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* The bus is what systemd promises to serve; where the system has none for users, its own tools speak to the manager.
 */
static bool find_either(const char *root, const char *directory, struct mw_scope_socket *out)
{
    return find_in(root, directory, "bus", true, out) || find_in(root, directory, "systemd/private", false, out);
}

bool mw_scope_find_socket(const char *root, const char *runtime_dir, uid_t user, struct mw_scope_socket *out,
                          struct mw_error *error)
{
    char standard[64];
    snprintf(standard, sizeof standard, "/run/user/%u", (unsigned)user);
    if (runtime_dir && *runtime_dir == '/' && find_either(root, runtime_dir, out))
        return true;
    if (find_either(root, standard, out))
        return true;
    return mw_error_set(
        error, 0,
        "no systemd manager serves this user: there is neither a socket bus nor systemd/private in %s%s%s;"
        " a login session has one, or `loginctl enable-linger`",
        runtime_dir && *runtime_dir ? runtime_dir : "", runtime_dir && *runtime_dir ? " or " : "", standard);
}

bool mw_scope_is_there(void)
{
    struct mw_scope_socket socket = {0};
    struct mw_error ignored;
    return mw_scope_find_socket("", getenv("XDG_RUNTIME_DIR"), getuid(), &socket, &ignored);
}

/* ---- asking ---- */

/* What the asking process tells, in one write. */
struct answer {
    bool is_done;
    struct mw_error error;
};

_Noreturn static void ask(const struct mw_scope_request *request, int answer_fd)
{
    struct answer answer = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    answer.is_done =
        request->subgroup ? mw_scope_bus_take_in(request, &answer.error) : mw_scope_bus_start(request, &answer.error);
    (void)!write(answer_fd, &answer, sizeof answer);
    _exit(0);
}

/* Waits for something to read. False: not before end_ns. */
static bool await_answer(int answer_fd, uint64_t end_ns)
{
    for (;;) {
        uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
        struct pollfd answering = {.fd = answer_fd, .events = POLLIN};
        if (poll(&answering, 1, now_ns < end_ns ? (int)((end_ns - now_ns) / 1000000) + 1 : 0) > 0)
            return true;
        if (now_ns >= end_ns)
            return false;
    }
}

static bool ask_in_child(const struct mw_scope_request *request, struct mw_error *error)
{
    int ends[2];
    struct answer answer = {0};
    uint64_t end_ns = mw_clock_ns(CLOCK_MONOTONIC) + DEADLINE_NS;
    if (pipe2(ends, O_CLOEXEC))
        return mw_error_set(error, errno, "cannot make a pipe");
    pid_t child = fork();
    if (child == 0)
        ask(request, ends[1]);
    close(ends[1]);
    bool is_read = false;
    bool is_in_time = child > 0 && await_answer(ends[0], end_ns);
    if (is_in_time)
        is_read = read(ends[0], &answer, sizeof answer) == (ssize_t)sizeof answer;
    close(ends[0]);
    if (child < 0)
        return mw_error_set(error, errno, "cannot start a process");
    if (!is_read)
        kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    if (!is_in_time)
        return mw_scope_refusal(error, "org.freedesktop.DBus.Error.NoReply", "", request->unit);
    if (!is_read)
        return mw_error_set(error, 0, "the process that asks systemd for a scope has died");
    *error = answer.error;
    return answer.is_done;
}

/* ---- inside ---- */

static bool has_memory_controller(const char *dir)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    char words[512];
    char *rest = words;
    snprintf(path, sizeof path, "%s/cgroup.controllers", dir);
    if (mw_file_read_whole(path, words, sizeof words) < 0)
        return false;
    for (const char *word; (word = strsep(&rest, " \n"));)
        if (strcmp(word, "memory") == 0)
            return true;
    return false;
}

/* Out of the scope's own group, which cannot hold processes and pass a controller on. */
static bool move_to_leaf(const struct mw_cgroup *scope, struct mw_error *error)
{
    const struct mw_group whole = {.cgroup = *scope};
    struct mw_group leaf = whole;
    size_t length = strlen(leaf.cgroup.dir);
    if (length + sizeof "/" LEAF > sizeof leaf.cgroup.dir)
        return mw_error_set(error, ENAMETOOLONG, "%s", leaf.cgroup.dir);
    memcpy(leaf.cgroup.dir + length, "/" LEAF, sizeof "/" LEAF);
    if (mkdir(leaf.cgroup.dir, 0755) && errno != EEXIST)
        return mw_error_set(error, errno, "cannot make the cgroup %s", leaf.cgroup.dir);
    return mw_group_write(&leaf, "cgroup.procs", "0", error) &&
           mw_group_write(&whole, "cgroup.subtree_control", "+memory", error);
}

static bool settle(const char *unit, struct mw_error *error)
{
    struct mw_cgroup own;
    int result = mw_cgroup_find("", "self", &own);
    if (result)
        return mw_error_set(error, -result, "cannot tell which cgroup this process is in");
    const char *name = strrchr(own.dir, '/');
    if (!name || strcmp(name + 1, unit) != 0)
        return mw_error_set(error, 0, "systemd says that this process is in %s, but it is in %s", unit, own.dir);
    if (!has_memory_controller(own.dir))
        return mw_error_set(error, 0,
                            "the systemd user manager is not given the memory controller: that takes "
                            "Delegate=memory for user@.service");
    return move_to_leaf(&own, error);
}

static uint64_t with_room(uint64_t bytes)
{
    return bytes >= MW_SCOPE_NO_LIMIT - MW_SCOPE_ROOM_BYTES ? MW_SCOPE_NO_LIMIT : bytes + MW_SCOPE_ROOM_BYTES;
}

bool mw_scope_enter(const struct mw_scope_wish *wish, struct mw_error *error)
{
    char unit[64];
    char description[256];
    struct mw_scope_socket socket = {0};
    struct mw_cgroup own;
    if (mw_cgroup_find("", "self", &own) == 0 && own.version == 1)
        return mw_error_set(error, 0, "the memory controller is of cgroup v1, which systemd does not delegate");
    if (!mw_scope_find_socket("", getenv("XDG_RUNTIME_DIR"), getuid(), &socket, error))
        return false;
    struct mw_text unit_text = MW_TEXT(unit);
    struct mw_text description_text = MW_TEXT(description);
    mw_scope_unit_name(&unit_text, getpid());
    mw_scope_description(&description_text, wish->command);
    struct mw_scope_request request = {
        .socket = &socket,
        .unit = unit,
        .description = description,
        .pid = getpid(),
        .limit_bytes = with_room(wish->limit_bytes),
        .high_bytes = with_room(wish->high_bytes),
        .swap_bytes = wish->swap_bytes,
    };
    return ask_in_child(&request, error) && settle(unit, error);
}

bool mw_scope_take_in(const char *directory, const pid_t *pids, unsigned count, struct mw_error *error)
{
    char unit[64];
    struct mw_scope_socket socket = {0};
    struct mw_text unit_text = MW_TEXT(unit);
    const char *subgroup = strrchr(directory, '/');
    mw_scope_unit_name(&unit_text, getpid());
    if (!subgroup || !mw_scope_find_socket("", getenv("XDG_RUNTIME_DIR"), getuid(), &socket, error))
        return false;
    struct mw_scope_request request = {
        .socket = &socket, .unit = unit, .subgroup = subgroup, .pids = pids, .pid_count = count};
    return ask_in_child(&request, error);
}
