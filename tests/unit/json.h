/* SPDX-License-Identifier: MIT
 *
 * A strict reader of JSON (RFC 8259), written for the tests alone so that what memwatch prints is judged by another
 * hand. A value is a pointer to its first character within a terminated text; nothing is allocated.
 */
#ifndef MW_JSON_H
#define MW_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is the text one value, of well-formed UTF-8, with nothing behind it but white space? */
bool json_is_valid(const char *text);

/* A member of an object, an element of an array; NULL: none. Of a member that stands twice: NULL. */
const char *json_member(const char *object, const char *name);
const char *json_element(const char *array, size_t index);
size_t json_length(const char *array);

bool json_u64(const char *value, uint64_t *out);
bool json_double(const char *value, double *out);

/* Decodes a string to UTF-8, terminated. Returns its length, or -1: no string, or too long. */
long json_string(const char *value, char *out, size_t capacity_bytes);

#endif
