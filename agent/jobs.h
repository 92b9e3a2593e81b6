/* SPDX-License-Identifier: MIT
 *
 * Work in a child process of its own: what takes long, takes much memory, or reads what strangers have made (debug
 * information), so that neither time nor memory nor a crash is the server's.
 *
 * The child has nothing of the server's open but the file for its result, gets less of the CPU, ends with the server,
 * and is what the kernel takes first where memory runs out. One thread.
 */
#ifndef MW_JOBS_H
#define MW_JOBS_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "loop.h"

/* In the child: writes its result, or a sentence where it fails, into fd. Returns 0 to 255, the caller's to give a
 * meaning; MW_JOB_DIED is not one. */
typedef int mw_job_work(const void *context, int fd);

#define MW_JOB_DIED (-1) /* it crashed, or took too much time or memory */

/* The file, which is the receiver's then, and its length; and what the work returned. */
typedef void mw_job_done(void *context, int result, int fd, size_t bytes);

struct mw_jobs;
struct mw_job;

/* NULL: *error says why. */
struct mw_jobs *mw_jobs_new(int loop, struct mw_error *error);
void mw_jobs_free(struct mw_jobs *jobs); /* when none is left */

/* NULL: *error says why. The work's context need live no longer than the call. */
struct mw_job *mw_job_start(struct mw_jobs *jobs, mw_job_work *work, const void *work_context, mw_job_done *done,
                            void *done_context, struct mw_error *error);

/* In the child, before it does what takes memory or CPU time: waits until fewer than MW_JOBS_AT_ONCE do so. */
#define MW_JOBS_AT_ONCE 2
void mw_job_wait_for_turn(void);

/* Ends it; done is not called. */
void mw_job_cancel(struct mw_job *job);

#endif
