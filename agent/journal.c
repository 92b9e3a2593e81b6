/* SPDX-License-Identifier: MIT */
#include "journal.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <syslog.h>

/* sd_journal_stream_fd(3) */
typedef int stream_function(const char *identifier, int priority, int has_level_prefix);

int mw_journal_open(const char *identifier, struct mw_error *error)
{
    void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
    stream_function *stream = library ? (stream_function *)dlsym(library, "sd_journal_stream_fd") : NULL;
    int fd = -1;
    if (!stream) {
        mw_error_set(error, 0, "--log: the journal needs libsystemd.so.0, which is not to be had");
    } else {
        fd = stream(identifier, LOG_INFO, 0);
        if (fd < 0)
            mw_error_set(error, -fd, "--log: no journal takes lines here");
        else
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    if (library)
        dlclose(library);
    return fd < 0 ? -1 : fd;
}
