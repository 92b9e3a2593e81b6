/* SPDX-License-Identifier: MIT */
#include "http_library.h"

#include <dlfcn.h>

#define LIBRARY "libmicrohttpd.so.12"

struct mw_http_library mw_http_library;

bool mw_http_library_load(struct mw_error *error)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return mw_error_set(error, 0, "there is no HTTP server: %s", dlerror());
#define FIND_FUNCTION(function)                                                                                        \
    mw_http_library.function = (__typeof__(&function))dlsym(library, #function);                                       \
    if (!mw_http_library.function)                                                                                     \
        return mw_error_set(error, 0, "there is no HTTP server: " LIBRARY " has no " #function);
    MW_HTTP_LIBRARY_FUNCTIONS(FIND_FUNCTION)
#undef FIND_FUNCTION
    return true;
}
