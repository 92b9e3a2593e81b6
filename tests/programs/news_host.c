/* SPDX-License-Identifier: MIT
 *
 * A program in C for the library of news.cpp: linked with it, loading it, or holding it in itself.
 */
#include <dlfcn.h>
#include <string.h>

#include "check.h"

int main(int argc, char **argv)
{
    int (*news)(int, char **);
    void *library = dlopen(NEWS_LIBRARY, RTLD_NOW);
    CHECK(library, "%s", dlerror());
    void *found = dlsym(library, "news");
    CHECK(found, "%s", dlerror());
    memcpy(&news, &found, sizeof found);
    return news(argc, argv);
}
