/* SPDX-License-Identifier: MIT
 *
 * org.freedesktop.systemd1(5) has the manager's methods, systemd.resource-control(5) the properties.
 */
#include "scope_bus.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>

#include "scope_text.h"
#include "syscall.h"

#define LIBRARY     "libsystemd.so.0"
#define DESTINATION "org.freedesktop.systemd1"
#define MANAGER     "/org/freedesktop/systemd1"
#define INTERFACE   "org.freedesktop.systemd1.Manager"
#define DEADLINE_US (MW_SCOPE_DEADLINE_S * UINT64_C(1000000))

/* X(function): what is used of libsystemd. */
#define BUS_FUNCTIONS(X)                                                                                               \
    X(sd_bus_new)                                                                                                      \
    X(sd_bus_set_address)                                                                                              \
    X(sd_bus_set_bus_client)                                                                                           \
    X(sd_bus_start)                                                                                                    \
    X(sd_bus_get_fd)                                                                                                   \
    X(sd_bus_match_signal)                                                                                             \
    X(sd_bus_message_new_method_call)                                                                                  \
    X(sd_bus_message_set_auto_start)                                                                                   \
    X(sd_bus_message_append)                                                                                           \
    X(sd_bus_message_open_container)                                                                                   \
    X(sd_bus_message_close_container)                                                                                  \
    X(sd_bus_message_read)                                                                                             \
    X(sd_bus_call)                                                                                                     \
    X(sd_bus_process)                                                                                                  \
    X(sd_bus_wait)

static struct {
#define FUNCTION_POINTER(function) __typeof__(&function) function;
    BUS_FUNCTIONS(FUNCTION_POINTER)
#undef FUNCTION_POINTER
} bus_library;

static bool load_library(struct mw_error *error)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return mw_error_set(error, 0, "systemd cannot be asked: %s", dlerror());
#define FIND_FUNCTION(function)                                                                                        \
    bus_library.function = (__typeof__(&function))dlsym(library, #function);                                           \
    if (!bus_library.function)                                                                                         \
        return mw_error_set(error, 0, "systemd cannot be asked: " LIBRARY " has no " #function);
    BUS_FUNCTIONS(FIND_FUNCTION)
#undef FIND_FUNCTION
    return true;
}

/* The numbers of processes mean something to the manager only if it counts them as we do. */
static bool counts_processes_as_we_do(sd_bus *bus, struct mw_error *error)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(bus_library.sd_bus_get_fd(bus), SOL_SOCKET, SO_PEERCRED, &peer, &size))
        return mw_error_set(error, errno, "cannot tell who listens for systemd");
    return peer.pid > 0 || mw_error_set(error, 0,
                                        "the systemd manager is not of this container (another namespace of "
                                        "process ids)");
}

static bool connect_to(const struct mw_scope_socket *socket, sd_bus **bus, struct mw_error *error)
{
    char address[sizeof socket->path * 3 + 16];
    struct mw_text text = MW_TEXT(address);
    mw_scope_address(&text, socket->path);
    int result = bus_library.sd_bus_new(bus);
    if (result >= 0)
        result = bus_library.sd_bus_set_address(*bus, address);
    if (result >= 0 && socket->is_bus)
        result = bus_library.sd_bus_set_bus_client(*bus, 1);
    if (result >= 0)
        result = bus_library.sd_bus_start(*bus);
    if (result < 0)
        return mw_error_set(error, -result, "cannot reach systemd at %s", socket->path);
    return counts_processes_as_we_do(*bus, error);
}

/* Calls and takes the reply, NULL where none is wanted. */
static bool call(sd_bus *bus, sd_bus_message *message, const char *unit, sd_bus_message **reply, struct mw_error *error)
{
    sd_bus_error refusal = SD_BUS_ERROR_NULL;
    int result = bus_library.sd_bus_message_set_auto_start(message, 0);
    if (result >= 0)
        result = bus_library.sd_bus_call(bus, message, DEADLINE_US, &refusal, reply);
    if (result >= 0)
        return true;
    if (refusal.name)
        return mw_scope_refusal(error, refusal.name, refusal.message ? refusal.message : "", unit);
    return mw_error_set(error, -result, "systemd cannot be asked for %s", unit);
}

static int append_bytes(sd_bus_message *message, const char *property, uint64_t bytes)
{
    return bytes == MW_SCOPE_NO_LIMIT ? 0 : bus_library.sd_bus_message_append(message, "(sv)", property, "t", bytes);
}

/* Delegates nothing but the memory controller: each one that is asked for is turned on for all groups on the way down,
 * and the scheduler's cost time. */
static int append_properties(sd_bus_message *message, const struct mw_scope_request *request)
{
    int result = bus_library.sd_bus_message_append(
        message, "(sv)(sv)(sv)(sv)", "Description", "s", request->description, "PIDs", "au", 1, (uint32_t)request->pid,
        "DelegateControllers", "as", 1, "memory", "CollectMode", "s", "inactive-or-failed");
    if (result >= 0)
        result = append_bytes(message, "MemoryMax", request->limit_bytes);
    if (result >= 0)
        result = append_bytes(message, "MemoryHigh", request->high_bytes);
    if (result >= 0)
        result = append_bytes(message, "MemorySwapMax", request->swap_bytes);
    return result;
}

/* StartTransientUnit(name, mode, properties, other units) */
static int make_request(sd_bus *bus, const struct mw_scope_request *request, sd_bus_message **message)
{
    int result =
        bus_library.sd_bus_message_new_method_call(bus, message, DESTINATION, MANAGER, INTERFACE, "StartTransientUnit");
    if (result >= 0)
        result = bus_library.sd_bus_message_append(*message, "ss", request->unit, "fail");
    if (result >= 0)
        result = bus_library.sd_bus_message_open_container(*message, 'a', "(sv)");
    if (result >= 0)
        result = append_properties(*message, request);
    if (result >= 0)
        result = bus_library.sd_bus_message_close_container(*message);
    if (result >= 0)
        result = bus_library.sd_bus_message_append(*message, "a(sa(sv))", 0);
    return result;
}

/* The job that was begun, and how it ended. */
struct job {
    const char *path; /* NULL: not known yet */
    char result[64];  /* empty: it has not ended */
};

/* JobRemoved(id, job, unit, result) */
static int job_removed(sd_bus_message *message, void *context, sd_bus_error *refusal)
{
    struct job *job = context;
    uint32_t id;
    const char *path;
    const char *unit;
    const char *result;
    (void)refusal;
    if (bus_library.sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) >= 0 && job->path &&
        strcmp(path, job->path) == 0) {
        struct mw_text text = MW_TEXT(job->result);
        mw_text_string(&text, result);
    }
    return 0;
}

/* Asks the manager to tell of its jobs; one that is spoken to without a bus does so unasked. */
static bool subscribe(sd_bus *bus, const struct mw_scope_request *request, struct job *job, struct mw_error *error)
{
    sd_bus_message *message;
    int result = bus_library.sd_bus_match_signal(bus, NULL, request->socket->is_bus ? DESTINATION : NULL, MANAGER,
                                                 INTERFACE, "JobRemoved", job_removed, job);
    if (result >= 0)
        result =
            bus_library.sd_bus_message_new_method_call(bus, &message, DESTINATION, MANAGER, INTERFACE, "Subscribe");
    if (result < 0)
        return mw_error_set(error, -result, "systemd cannot be asked for %s", request->unit);
    return !request->socket->is_bus || call(bus, message, request->unit, NULL, error);
}

static bool await_job(sd_bus *bus, const struct mw_scope_request *request, struct job *job, struct mw_error *error)
{
    uint64_t end_ns = mw_clock_ns(CLOCK_MONOTONIC) + DEADLINE_US * 1000;
    while (!*job->result) {
        int result = bus_library.sd_bus_process(bus, NULL);
        uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
        if (result == 0 && now_ns < end_ns)
            result = bus_library.sd_bus_wait(bus, (end_ns - now_ns) / 1000 + 1);
        else if (result == 0)
            result = -ETIMEDOUT;
        if (result < 0 && result != -EINTR)
            return mw_error_set(error, -result, "systemd does not say what has become of %s", request->unit);
    }
    return mw_scope_job_result(error, job->result, request->unit);
}

bool mw_scope_bus_start(const struct mw_scope_request *request, struct mw_error *error)
{
    sd_bus *bus = NULL;
    sd_bus_message *message = NULL;
    sd_bus_message *reply = NULL;
    struct job job = {0};
    if (!load_library(error) || !connect_to(request->socket, &bus, error) || !subscribe(bus, request, &job, error))
        return false;
    int result = make_request(bus, request, &message);
    if (result < 0)
        return mw_error_set(error, -result, "systemd cannot be asked for %s", request->unit);
    if (!call(bus, message, request->unit, &reply, error))
        return false;
    result = bus_library.sd_bus_message_read(reply, "o", &job.path);
    if (result < 0)
        return mw_error_set(error, -result, "systemd's answer is not understood");
    return await_job(bus, request, &job, error);
}

/* AttachProcessesToUnit(name, subgroup, processes) */
static int make_move(sd_bus *bus, const struct mw_scope_request *request, sd_bus_message **message)
{
    int result = bus_library.sd_bus_message_new_method_call(bus, message, DESTINATION, MANAGER, INTERFACE,
                                                            "AttachProcessesToUnit");
    if (result >= 0)
        result = bus_library.sd_bus_message_append(*message, "ss", request->unit, request->subgroup);
    if (result >= 0)
        result = bus_library.sd_bus_message_open_container(*message, 'a', "u");
    for (unsigned i = 0; result >= 0 && i < request->pid_count; i++)
        result = bus_library.sd_bus_message_append(*message, "u", (uint32_t)request->pids[i]);
    if (result >= 0)
        result = bus_library.sd_bus_message_close_container(*message);
    return result;
}

bool mw_scope_bus_take_in(const struct mw_scope_request *request, struct mw_error *error)
{
    sd_bus *bus = NULL;
    sd_bus_message *message = NULL;
    sd_bus_message *reply = NULL;
    if (!load_library(error) || !connect_to(request->socket, &bus, error))
        return false;
    int result = make_move(bus, request, &message);
    if (result < 0)
        return mw_error_set(error, -result, "systemd cannot be asked to move processes to %s", request->unit);
    return call(bus, message, request->unit, &reply, error);
}
