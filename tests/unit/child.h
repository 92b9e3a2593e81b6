/* SPDX-License-Identifier: MIT
 *
 * Something run in a child process, for what may stand still, ends the process or changes it for good.
 */
#ifndef MW_CHILD_H
#define MW_CHILD_H

#define CHILD_DEADLINE_PASSED (-1)

/* Runs body(context) in a child and returns what it returns, 0 to 255; 128 + n where signal n killed it;
 * CHILD_DEADLINE_PASSED where it had to be killed. The body must not use cmocka's assertions: they would run the
 * rest of the tests in the child. */
int run_in_child(int (*body)(void *), void *context);

#endif
