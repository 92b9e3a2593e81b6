/* SPDX-License-Identifier: MIT
 *
 * By which name people know who is listened to.
 */
#ifndef MW_TEST_PRESSURE_SOURCE_H
#define MW_TEST_PRESSURE_SOURCE_H

#include "pressure.h"

static inline const char *source_name(const struct mw_pressure *pressure)
{
    static const char *const names[] = {
#define SOURCE_NAME(NAME, text) [MW_SEGMENT_PRESSURE_##NAME] = text,
        MW_SEGMENT_PRESSURE_SOURCES(SOURCE_NAME)
#undef SOURCE_NAME
    };
    return names[pressure->source];
}

#endif
