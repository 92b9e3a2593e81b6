/* SPDX-License-Identifier: MIT */
#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "syscall.h"

#define NICER             10
#define MOST_CPU_SECONDS  120
#define MOST_RESULT_BYTES (256U << 20)

struct mw_jobs {
    int loop;
    int turns; /* a file, of which each byte is a turn: a child that ends, however it does, has it locked no more */
};

/* Where the child has them. */
enum { CHILD_RESULT = STDERR_FILENO + 1, CHILD_TURNS };

struct mw_job {
    struct mw_jobs *jobs;
    struct mw_loop_source ended; /* of its pidfd */
    pid_t pid;
    int pidfd;
    int result;
    mw_job_done *done;
    void *done_context;
};

/* ---- in the child ---- */

/* Only these two, and what the server was started with. */
static void close_all_but(int result, int turns)
{
    int copy = fcntl(turns, F_DUPFD, CHILD_TURNS + 1); /* neither is then in the other's place */
    int result_copy = fcntl(result, F_DUPFD, CHILD_TURNS + 1);
    dup2(result_copy, CHILD_RESULT);
    dup2(copy, CHILD_TURNS);
    close_range(CHILD_TURNS + 1, ~0U, 0);
}

void mw_job_wait_for_turn(void)
{
    struct flock turn = {.l_type = F_WRLCK, .l_len = 1};
    for (turn.l_start = 0; turn.l_start < MW_JOBS_AT_ONCE; turn.l_start++)
        if (fcntl(CHILD_TURNS, F_SETLK, &turn) == 0)
            return;
    turn.l_start = getpid() % MW_JOBS_AT_ONCE;
    while (fcntl(CHILD_TURNS, F_SETLKW, &turn) && errno == EINTR)
        ;
}

static void settle_down(pid_t parent)
{
    static const struct rlimit cpu = {MOST_CPU_SECONDS, MOST_CPU_SECONDS};
    static const struct rlimit file = {MOST_RESULT_BYTES, MOST_RESULT_BYTES};
    static const struct rlimit core = {0, 0};
    sigset_t none;
    sigemptyset(&none);
    for (int signal_number = 1; signal_number < _NSIG; signal_number++)
        signal(signal_number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it has ended before that was set */
        _exit(1);
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER);
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_FSIZE, &file);
    setrlimit(RLIMIT_CORE, &core);
    int score = mw_sys_open("/proc/self/oom_score_adj", O_WRONLY, 0);
    mw_sys_write(score, "1000", 4); /* where it cannot be had, it is as any other process */
    mw_sys_close(score);
}

/* ---- in the server ---- */

static void free_job(struct mw_job *job)
{
    mw_loop_remove(job->jobs->loop, &job->ended);
    if (job->pidfd >= 0)
        close(job->pidfd);
    if (job->result >= 0)
        close(job->result);
    free(job);
}

static void on_ended(void *context)
{
    struct mw_job *job = context;
    struct stat st = {0};
    int status = 0;
    if (waitpid(job->pid, &status, 0) != job->pid || fstat(job->result, &st))
        status = SIGKILL;
    int result = job->result;
    job->result = -1;
    job->done(job->done_context, WIFEXITED(status) ? WEXITSTATUS(status) : MW_JOB_DIED, result, (size_t)st.st_size);
    free_job(job);
}

/* A descriptor that the child still holds would stand in the server's epoll sets after the server has closed it. So the
 * server goes on only once the child has closed them all: the pipe among them. */
static pid_t fork_apart(const struct mw_job *job, mw_job_work *work, const void *context)
{
    int all_closed[2];
    char none;
    pid_t parent = getpid();
    if (pipe2(all_closed, O_CLOEXEC))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        close_all_but(job->result, job->jobs->turns);
        settle_down(parent);
        _exit(work(context, CHILD_RESULT));
    }
    int cause = errno;
    close(all_closed[1]);
    if (pid > 0)
        while (read(all_closed[0], &none, 1) < 0 && errno == EINTR)
            ;
    close(all_closed[0]);
    errno = cause;
    return pid;
}

struct mw_jobs *mw_jobs_new(int loop, struct mw_error *error)
{
    struct mw_jobs *jobs = mw_memory_new(1, sizeof *jobs);
    *jobs = (struct mw_jobs){.loop = loop, .turns = memfd_create("memwatch-turns", MFD_CLOEXEC)};
    if (jobs->turns >= 0)
        return jobs;
    mw_error_set(error, errno, "cannot make a file in memory");
    free(jobs);
    return NULL;
}

void mw_jobs_free(struct mw_jobs *jobs)
{
    close(jobs->turns);
    free(jobs);
}

struct mw_job *mw_job_start(struct mw_jobs *jobs, mw_job_work *work, const void *work_context, mw_job_done *done,
                            void *done_context, struct mw_error *error)
{
    struct mw_job *job = mw_memory_new(1, sizeof *job);
    *job = (struct mw_job){.jobs = jobs, .ended = {.fd = -1}, .pidfd = -1, .done = done, .done_context = done_context};
    job->result = memfd_create("memwatch-result", MFD_CLOEXEC);
    job->pid = job->result < 0 ? -1 : fork_apart(job, work, work_context);
    if (job->pid < 0) {
        mw_error_set(error, errno, "cannot start a process for it");
        free_job(job);
        return NULL;
    }
    job->pidfd = (int)mw_syscall6(SYS_pidfd_open, job->pid, 0, 0, 0, 0, 0);
    if (job->pidfd >= 0 && mw_loop_add(jobs->loop, &job->ended, job->pidfd, EPOLLIN, on_ended, job) == 0)
        return job;
    mw_error_set(error, 0, "cannot follow a process of its own");
    mw_job_cancel(job);
    return NULL;
}

void mw_job_cancel(struct mw_job *job)
{
    kill(job->pid, SIGKILL);
    waitpid(job->pid, NULL, 0);
    free_job(job);
}
