/* SPDX-License-Identifier: MIT
 *
 * A process and its child, that have a heap in common and then go their own ways. Each says what its sites hold, a line
 * a site with its pid in front, and waits to be killed.
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "check.h"
#include "sites.h"

#define BLOCKS 3000

static struct site before = {.name = "site_before_fork"};
static struct site parents = {.name = "site_in_parent"};
static struct site childs = {.name = "site_in_child"};

static SITE void site_before_fork(unsigned blocks)
{
    while (blocks--)
        site_keep(&before, malloc(700));
}

static SITE void site_in_parent(unsigned blocks)
{
    while (blocks--)
        site_keep(&parents, malloc(500));
}

static SITE void site_in_child(unsigned blocks)
{
    while (blocks--)
        site_keep(&childs, malloc(900));
}

static void free_some(struct site *site, unsigned blocks)
{
    while (blocks--)
        free(site_let_go(site));
}

static void tell(void)
{
    const struct site *const sites[] = {&before, &parents, &childs};
    for (unsigned i = 0; i < 3; i++)
        dprintf(STDOUT_FILENO, "%d %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (int)getpid(), sites[i]->name,
                sites[i]->live_bytes, sites[i]->live_blocks, sites[i]->allocated_bytes, sites[i]->allocated_blocks);
}

int main(void)
{
    site_before_fork(BLOCKS);
    pid_t child = fork();
    CHECK(child >= 0, "fork");
    if (child) {
        site_in_parent(BLOCKS);
        free_some(&before, BLOCKS / 3);
    } else {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        site_in_child(2 * BLOCKS);
        free_some(&before, BLOCKS / 2);
        free_some(&childs, BLOCKS / 4);
    }
    tell();
    for (;;)
        pause();
}
