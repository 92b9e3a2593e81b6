// SPDX-License-Identifier: MIT
//
// The sites of sites.c that allocate by operator new.
#include <cstddef>

#include "sites.h"

namespace {

struct item {
    void *next;
    unsigned char rest[312];
};

} // namespace

SITE void site_operator_new(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, new item);
}

SITE void site_operator_new_array(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, new std::max_align_t[2000]);
}
