/* SPDX-License-Identifier: MIT
 *
 * Base64. Pure; any thread, async-signal-safe, errno is left alone.
 */
#ifndef MW_BASE64_H
#define MW_BASE64_H

#include <stddef.h>

/* Base64 (RFC 4648, chapter 4), strictly: whole groups of four, padded, no other characters, no stray bits.
 * Returns how many bytes were decoded; -EINVAL, or -EMSGSIZE where they are more than capacity_bytes. */
long mw_base64_decode(const char *base64, char *out, size_t capacity_bytes);

#endif
