/* SPDX-License-Identifier: MIT */
#include "good_size.h"

#include <stdlib.h>
#include <string.h>

#include "real.h"

static size_t (*with_flags)(size_t size, int flags);
static size_t (*plain)(size_t size);

/* tcmalloc gives a block that it samples for itself more than it says. */
static bool samples_itself(void)
{
    const char *parameter = getenv("TCMALLOC_SAMPLE_PARAMETER");
    return parameter && *parameter && strcmp(parameter, "0") != 0;
}

void mw_good_size_start(void)
{
    void *found = samples_itself() ? NULL : mw_real_find_allocators("nallocx"); /* jemalloc, gperftools' tcmalloc */
    if (found)
        memcpy(&with_flags, &found, sizeof found);
    found = mw_real_find_allocators("mi_good_size"); /* mimalloc */
    if (found)
        memcpy(&plain, &found, sizeof found);
}

size_t mw_good_size(size_t size)
{
    return size == 0 ? 0 : with_flags ? with_flags(size, 0) : plain ? plain(size) : 0;
}
