/* SPDX-License-Identifier: MIT
 *
 * memwatch serve, where it was built without libmicrohttpd.
 */
#include "commands.h"

int mw_command_serve(int argc, char **argv)
{
    struct mw_error error;
    (void)argc;
    (void)argv;
    mw_error_set(&error, 0, "serve is not in this build: it was built without libmicrohttpd");
    return mw_command_failed(&error);
}
