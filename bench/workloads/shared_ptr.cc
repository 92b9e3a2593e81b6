/* SPDX-License-Identifier: MIT
 *
 * shared_ptr COPIES: copies a std::shared_ptr. In a program without threads libstdc++ counts without atomics.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

int main(int argc, char **argv)
{
    std::shared_ptr<int> sources[2] = {std::make_shared<int>(0), std::make_shared<int>(1)};
    std::shared_ptr<int> held[16];
    uint64_t copies = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000;
    for (uint64_t i = 0; i < copies; i++)
        held[i % 16] = sources[i / 16 % 2]; /* always another one */
    std::printf("%ld\n", sources[0].use_count());
}
