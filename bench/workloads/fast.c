/* SPDX-License-Identifier: MIT
 *
 * fast PAIRS: malloc and free of one small size, which is what an allocator does best.
 */
#include "workload.h"

int main(int argc, char **argv)
{
    for (uint64_t left = number(argc, argv, 1, 1000); left; left--)
        free(allocate(64));
}
