/* SPDX-License-Identifier: MIT */
#include "gzip.h"

#include <stdint.h>
#include <zlib.h>

#include "memory.h"

bool mw_gzip(const void *plain, size_t plain_bytes, enum mw_gzip_effort effort, void **bytes, size_t *count,
             struct mw_error *error)
{
    z_stream stream = {0};
    enum { GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };
    int level = effort == MW_GZIP_FAST ? Z_BEST_SPEED : Z_DEFAULT_COMPRESSION;
    if (plain_bytes > UINT32_MAX ||
        deflateInit2(&stream, level, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return mw_error_set(error, 0, "%zu bytes cannot be compressed", plain_bytes);
    size_t capacity_bytes = deflateBound(&stream, plain_bytes);
    *bytes = mw_memory_new(capacity_bytes, 1);
    stream.next_in = (Bytef *)plain;
    stream.avail_in = (uInt)plain_bytes;
    stream.next_out = *bytes;
    stream.avail_out = (uInt)capacity_bytes;
    int result = deflate(&stream, Z_FINISH);
    *count = stream.total_out;
    deflateEnd(&stream);
    if (result == Z_STREAM_END)
        return true;
    free(*bytes);
    return mw_error_set(error, 0, "%zu bytes cannot be compressed", plain_bytes);
}
