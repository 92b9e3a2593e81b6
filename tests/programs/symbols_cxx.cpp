// SPDX-License-Identifier: MIT
//
// As symbols.c, in names of C++.
#include <cstdint>
#include <cstdio>
#include <link.h>
#include <string>

namespace shop
{

static std::uintptr_t bias;

static __attribute__((noinline)) void mark(const char *label, unsigned line)
{
    std::printf("%s %lx %u\n", label,
                static_cast<unsigned long>(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)) - bias), line);
}

template <typename T> struct Shelf {
    __attribute__((noinline)) void put(const T &item)
    {
        mark("method", __LINE__);
        count += static_cast<unsigned>(item.size());
    }
    volatile unsigned count = 0;
};

} // namespace shop

int main()
{
    dl_iterate_phdr(
        [](struct dl_phdr_info *info, std::size_t, void *) {
            shop::bias = info->dlpi_addr;
            return 1;
        },
        nullptr);
    shop::Shelf<std::string> shelf;
    shelf.put("x");
    return 0;
}
