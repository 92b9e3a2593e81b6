/* SPDX-License-Identifier: MIT
 *
 * libmicrohttpd, loaded when it is wanted: linked, it and what it needs would double the start of every command, the
 * post-mortem's too, which may have little memory left.
 *
 * To be loaded once, before anything is called; from then on any thread.
 */
#ifndef MW_HTTP_LIBRARY_H
#define MW_HTTP_LIBRARY_H

#include <microhttpd.h>
#include <stdbool.h>

#include "error.h"

/* X(function): what is used of it. */
#define MW_HTTP_LIBRARY_FUNCTIONS(X)                                                                                   \
    X(MHD_start_daemon)                                                                                                \
    X(MHD_stop_daemon)                                                                                                 \
    X(MHD_get_daemon_info)                                                                                             \
    X(MHD_add_connection)                                                                                              \
    X(MHD_run)                                                                                                         \
    X(MHD_get_timeout)                                                                                                 \
    X(MHD_get_connection_info)                                                                                         \
    X(MHD_get_connection_values)                                                                                       \
    X(MHD_lookup_connection_value)                                                                                     \
    X(MHD_suspend_connection)                                                                                          \
    X(MHD_resume_connection)                                                                                           \
    X(MHD_create_response_from_buffer)                                                                                 \
    X(MHD_create_response_from_buffer_with_free_callback_cls)                                                          \
    X(MHD_create_response_from_fd)                                                                                     \
    X(MHD_add_response_header)                                                                                         \
    X(MHD_queue_response)                                                                                              \
    X(MHD_destroy_response)

struct mw_http_library {
#define MW_HTTP_LIBRARY_POINTER(function) __typeof__(&function) function;
    MW_HTTP_LIBRARY_FUNCTIONS(MW_HTTP_LIBRARY_POINTER)
#undef MW_HTTP_LIBRARY_POINTER
};
extern struct mw_http_library mw_http_library;

/* False: *error says why. */
bool mw_http_library_load(struct mw_error *error);

#endif
