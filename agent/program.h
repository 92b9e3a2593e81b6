/* SPDX-License-Identifier: MIT
 *
 * What a program is, looked at before it is started: can the library be preloaded into it, and if not, why not?
 *
 * A script is looked through to its interpreter, #!/usr/bin/env too. Nothing here decides whether the program runs:
 * that is the kernel's, at exec, and what cannot be read (a program that may only be executed) is taken for one that
 * can be watched. Only regular files are opened. Any thread; no allocation; some ten system calls.
 */
#ifndef MW_PROGRAM_H
#define MW_PROGRAM_H

#include <limits.h>
#include <stdbool.h>

#include "error.h"
#include "text.h"

/* X(NAME, keeps, predicate): keeps: LD_PRELOAD stays as it would be, because it does no harm there and the program's
 * children may be watched; else the loader would complain, or fail. */
/* clang-format off */
#define MW_PROGRAM_VERDICTS(X) \
    X(WATCHED,   true,  "can be watched") \
    X(STATIC,    true,  "is statically linked") \
    X(SECURE,    true,  "gains privileges as it starts (setuid, setgid or file capabilities), so that its loader preloads nothing") \
    X(FOREIGN,   false, "is made for another machine") \
    X(MUSL,      false, "is linked with musl, whose loader cannot load a library that is made for glibc") \
    X(LOADER,    false, "has a loader that is not glibc's") \
    X(SANITIZER, false, "is built with a sanitizer, whose runtime has to be the first library")
/* clang-format on */

enum mw_program_verdict {
#define MW_PROGRAM_VERDICT(NAME, keeps, predicate) MW_PROGRAM_##NAME,
    MW_PROGRAM_VERDICTS(MW_PROGRAM_VERDICT)
#undef MW_PROGRAM_VERDICT
};

struct mw_program {
    enum mw_program_verdict verdict;
    bool is_interpreted;
    char path[PATH_MAX];    /* of the file that the verdict is of: the program, or its interpreter */
    char missing[PATH_MAX]; /* "": nothing; else the interpreter or loader that it names and that is not there */
    char machine[32];       /* with FOREIGN */
};

/* Examines what execvp would start of that name: `path_variable` is PATH, NULL where there is none. False: nothing can
 * be started, *error says why, with ENOENT or EACCES. */
bool mw_program_examine(const char *name, const char *path_variable, struct mw_program *out, struct mw_error *error);

/* May LD_PRELOAD hold the library for it? `preloaded` is what LD_PRELOAD holds (or NULL): behind it the verdict is
 * SANITIZER where it names the runtime of one, which has to come first. */
bool mw_program_keeps_preload(struct mw_program *program, const char *preloaded);

/* Appends "NAME is statically linked", say. */
void mw_program_text(struct mw_text *text, const struct mw_program *program, const char *name);

#endif
