/* SPDX-License-Identifier: MIT
 *
 * Asks a systemd manager for a scope, by sd-bus. scope_bus.c does it, with libsystemd loaded when called;
 * scope_bus_none.c stands in where memwatch is built without.
 */
#ifndef MW_SCOPE_BUS_H
#define MW_SCOPE_BUS_H

#include <stdint.h>
#include <sys/types.h>

#include "error.h"
#include "scope.h"

struct mw_scope_request {
    const struct mw_scope_socket *socket;
    const char *unit;
    const char *description;
    pid_t pid;            /* the process to put into it */
    uint64_t limit_bytes; /* of the scope; MW_SCOPE_NO_LIMIT: none */
    uint64_t high_bytes;
    uint64_t swap_bytes;
    const char *subgroup; /* "/NAME": below the scope that is there already, for these processes */
    const pid_t *pids;
    unsigned pid_count;
};

/* Returns when systemd has done it, or with *error set. Takes no deadline for more than each single wait, and leaves
 * libsystemd loaded: for a process that is of no other use. */
bool mw_scope_bus_start(const struct mw_scope_request *request, struct mw_error *error);

/* The same of moving processes into the scope's subgroup. */
bool mw_scope_bus_take_in(const struct mw_scope_request *request, struct mw_error *error);

#endif
