/* SPDX-License-Identifier: MIT */
#include "limiter.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define MS  UINT64_C(1000000)
#define S   (1000 * MS)

/* ---- what is worth a trim ---- */

#define PERCENT_FLOOR_BYTES (4 * MIB)   /* as Go's smallest heap: nothing that is smaller is trimmed by percentage */
#define WORTH_BYTES         (512 * KIB) /* PRESSURE and QUIET, at least … */
#define WORTH_PART          100 /* … and a hundredth of what is resident: allocators keep some for themselves */
#define LIMIT_WORTH_PART    32  /* LIMIT: this part of the usage */
#define CHANGE_PART         8   /* what makes a heap another one: an eighth of it, at least the floor above */

/* ---- the time that reclaim may take ----
 * Leaky buckets, as Go's gcCPULimiter: filled by time spent, drained by wall time, never below empty, so that a long
 * calm earns no credit. No trim begins while a bucket is full. Unlike Go's assists, a trim cannot be cut short, so what
 * it overdraws is not dropped, but has to drain: over every window, all reclaim takes at most a quarter of it, the
 * capacity, and one trim; what nobody needs in a hurry a fiftieth, its capacity, and one trim.
 *
 * The capacities are the shares of Go's window of 2 s. One trim of any length is possible after a calm; short ones one
 * after another for half a second where it is urgent and for 40 ms where it is not. */
#define URGENT_SHARE         4  /* one in so many nanoseconds of wall time: 25 % */
#define ELECTIVE_SHARE       50 /* 2 % */
#define URGENT_CAPACITY_NS   (2 * S / URGENT_SHARE)
#define ELECTIVE_CAPACITY_NS (2 * S / ELECTIVE_SHARE)
#define LONGEST_COST_NS      (60 * S) /* of one trim: what took longer was stopped meanwhile */

/* A page that was given back and is used again costs a fault, with a zeroed page: 0.2 to 0.5 µs on today's machines.
 * It is the program that pays, later, so it is counted in advance, as if all were used again. */
#define FAULT_NS   250
#define PAGE_BYTES 4096

/* ---- learning ---- */

#define FIRST_BACKOFF_NS    (1 * S) /* after a futile trim, doubled by each further one */
#define LONGEST_BACKOFF_NS  (300 * S)
#define SHORTEST_BACKOFF_NS (100 * MS) /* and however the heap has changed since */
#define REGRET_NS           (5 * S) /* what a PERCENT trim returned was needed after all, if it is back by then … */
#define REGRET_OF(returned) ((returned) / 4 * 3) /* … for the most part */
#define QUIET_NS            (2 * S)
#define QUIET_PART          256        /* quiet: no more than this part of what is resident … */
#define QUIET_BYTES         (64 * KIB) /* … or than this is allocated or freed */

/* ---- looking ---- */

#define LOOK_NS          50000           /* CPU time of one look: the files of /proc and of the cgroup */
#define SHORTEST_LOOK_NS (LOOK_NS * 100) /* so that looks take 1 % of the time at most */
#define NEAR_LOOK_NS     (100 * MS)      /* past the limit, or less than a 16th below it */
#define NEAR_PART        16
#define LONGEST_LOOK_NS  (1 * S)
#define LOOKS_AHEAD      4       /* so many fit in until usage is there, going on as it does */
#define GROWTH_HELD_NS   (1 * S) /* a growth is believed in for about so long after it has stopped */
#define LEAST_LOOK_BYTES (256 * KIB)
#define URGENT_NS        (100 * MS) /* a trim of a large heap takes that long, on a busy machine */

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* value * factor, within what a uint64_t holds */
static uint64_t times(uint64_t value, double factor)
{
    double product = (double)value * factor;
    return product >= 0x1p64 ? UINT64_MAX : (uint64_t)product;
}

/* What the readings say in the light of the last trim. */
struct view {
    uint64_t retained_bytes;
    uint64_t returnable_bytes;
    uint64_t hoped_bytes;  /* what a trim may return at best */
    uint64_t change_bytes; /* so much makes it another heap */
    bool is_stale;
};

static struct view view_of(const struct mw_limiter *limiter, const struct mw_limiter_readings *readings)
{
    struct view view = {.retained_bytes = less(readings->resident_bytes, readings->live_bytes),
                        .change_bytes = most(readings->resident_bytes / CHANGE_PART, PERCENT_FLOOR_BYTES)};
    uint64_t allocated_bytes = less(readings->allocated_bytes, limiter->trimmed_allocated_bytes);
    uint64_t fallen_bytes = less(limiter->highest_live_bytes, readings->live_bytes);
    view.returnable_bytes = less(view.retained_bytes, limiter->kept_bytes);
    view.is_stale = !limiter->has_trimmed || most(allocated_bytes, fallen_bytes) > view.change_bytes;
    view.hoped_bytes = view.is_stale ? view.retained_bytes : view.returnable_bytes;
    return view;
}

/* A trim that returns no more was futile. */
static uint64_t worth_bytes(enum mw_limiter_reason reason, const struct mw_limiter_readings *readings)
{
    return reason == MW_LIMITER_LIMIT ? readings->usage_bytes / LIMIT_WORTH_PART
                                      : most(WORTH_BYTES, readings->resident_bytes / WORTH_PART);
}

/* GOGC */
static uint64_t percent_bytes(const struct mw_limiter_readings *readings)
{
    return most(PERCENT_FLOOR_BYTES, times(readings->live_bytes, (double)readings->percent / 100));
}

/* A trim that promises no more is not begun. */
static uint64_t threshold_bytes(enum mw_limiter_reason reason, const struct mw_limiter_readings *readings)
{
    return reason == MW_LIMITER_PERCENT ? percent_bytes(readings) : worth_bytes(reason, readings);
}

/* ---- time goes by ---- */

/* The buckets drain, and usage has grown so fast since the last look. */
static void pass_time(struct mw_limiter *limiter, uint64_t usage_bytes, uint64_t now_ns)
{
    uint64_t elapsed_ns = less(now_ns, limiter->looked_ns);
    if (!elapsed_ns)
        return;
    if (limiter->has_looked) {
        double growth = (double)less(usage_bytes, limiter->usage_bytes) / (double)elapsed_ns;
        double held = limiter->growth_bytes_per_ns / (1 + (double)elapsed_ns / GROWTH_HELD_NS);
        limiter->growth_bytes_per_ns = growth > held ? growth : held;
    }
    limiter->spent_ns = less(limiter->spent_ns, elapsed_ns / URGENT_SHARE);
    limiter->elective_spent_ns = less(limiter->elective_spent_ns, elapsed_ns / ELECTIVE_SHARE);
    limiter->looked_ns = now_ns;
}

/* ---- learning ---- */

static uint64_t longer(uint64_t wait_ns)
{
    return wait_ns ? least(wait_ns * 2, LONGEST_BACKOFF_NS) : FIRST_BACKOFF_NS;
}

static void futile(struct mw_limiter_backoff *backoff, uint64_t now_ns)
{
    backoff->wait_ns = longer(backoff->wait_ns);
    backoff->not_before_ns = sum(now_ns, backoff->wait_ns);
}

/* What was futile may be worth it now: somebody wishes for something else, or much has come free. */
static void see_change(struct mw_limiter *limiter, const struct mw_limiter_readings *readings, const struct view *view)
{
    if (readings->limit_bytes != limiter->limit_bytes || readings->percent != limiter->percent) {
        limiter->known = (struct mw_limiter_backoff){0};
        limiter->hoped = (struct mw_limiter_backoff){0};
    } else if (view->returnable_bytes > view->change_bytes) {
        uint64_t soon_ns = sum(limiter->trimmed_ns, SHORTEST_BACKOFF_NS);
        limiter->known = (struct mw_limiter_backoff){.not_before_ns = least(limiter->known.not_before_ns, soon_ns)};
    }
    limiter->limit_bytes = readings->limit_bytes;
    limiter->percent = readings->percent;
    limiter->highest_live_bytes = most(limiter->highest_live_bytes, readings->live_bytes);
    /* The program has filled some of what was kept: freed again, that may be returnable. Where more is live than
     * resident, nothing is known of what is retained. */
    if (readings->live_bytes <= readings->resident_bytes)
        limiter->kept_bytes = least(limiter->kept_bytes, view->retained_bytes);
}

/* A heap that rises and falls has much to return at each ebb, and wants it back with the flood. Where that is seen, the
 * next PERCENT trim waits until the memory has lain idle for longer than it did the last time: soon longer than an ebb,
 * so that there is none, while a heap that has shrunk for good is still trimmed, after such a time. */
static void see_regret(struct mw_limiter *limiter, uint64_t resident_bytes, uint64_t now_ns)
{
    if (!limiter->regret_until_ns)
        return;
    if (resident_bytes > limiter->regret_beyond_bytes && now_ns <= limiter->regret_until_ns) {
        limiter->patience_ns = longer(limiter->patience_ns);
        futile(&limiter->hoped, now_ns);
    } else if (now_ns > limiter->regret_until_ns) {
        limiter->patience_ns = limiter->patience_ns > FIRST_BACKOFF_NS ? limiter->patience_ns / 2 : 0;
    } else {
        return;
    }
    limiter->regret_until_ns = 0;
}

/* Since when is so much returnable? */
static void see_percent(struct mw_limiter *limiter, const struct mw_limiter_readings *readings, const struct view *view,
                        uint64_t now_ns)
{
    bool was_over = limiter->is_over;
    limiter->is_over = readings->percent >= 0 && view->returnable_bytes > percent_bytes(readings);
    if (!was_over)
        limiter->over_since_ns = now_ns;
}

/* Since when is nothing worth a mention allocated or freed? A new such time begins after each that was. */
static void see_quiet(struct mw_limiter *limiter, const struct mw_limiter_readings *readings, uint64_t now_ns)
{
    uint64_t hardly_bytes = most(readings->resident_bytes / QUIET_PART, QUIET_BYTES);
    uint64_t live_bytes = readings->live_bytes;
    if (limiter->has_looked && less(readings->allocated_bytes, limiter->quiet_allocated_bytes) <= hardly_bytes &&
        less(live_bytes, limiter->quiet_live_bytes) <= hardly_bytes &&
        less(limiter->quiet_live_bytes, live_bytes) <= hardly_bytes)
        return;
    limiter->quiet_since_ns = now_ns;
    limiter->quiet_allocated_bytes = readings->allocated_bytes;
    limiter->quiet_live_bytes = live_bytes;
    limiter->is_quiet_served = false;
}

/* ---- deciding ---- */

static bool is_due(const struct mw_limiter *limiter, enum mw_limiter_reason reason,
                   const struct mw_limiter_readings *readings, const struct view *view, uint64_t now_ns)
{
    uint64_t threshold = threshold_bytes(reason, readings);
    if (view->returnable_bytes > threshold)
        return now_ns >= limiter->known.not_before_ns;
    /* Past the limit even what seems to be live is worth a try, for untouched blocks hide what is retained. */
    bool is_hopeful = view->hoped_bytes > threshold || (reason == MW_LIMITER_LIMIT && view->is_stale);
    return is_hopeful && now_ns >= limiter->hoped.not_before_ns;
}

static enum mw_limiter_reason reason_to_trim(const struct mw_limiter *limiter,
                                             const struct mw_limiter_readings *readings, const struct view *view,
                                             uint64_t now_ns)
{
    bool is_past = readings->limit_bytes && readings->usage_bytes > readings->limit_bytes;
    bool is_percent = readings->percent >= 0;
    if (limiter->spent_ns >= URGENT_CAPACITY_NS)
        return MW_LIMITER_NONE;
    if (is_past && is_due(limiter, MW_LIMITER_LIMIT, readings, view, now_ns))
        return MW_LIMITER_LIMIT;
    if (readings->resident_bytes <= PERCENT_FLOOR_BYTES)
        return MW_LIMITER_NONE;
    if (readings->is_under_pressure && (is_percent || readings->limit_bytes) &&
        is_due(limiter, MW_LIMITER_PRESSURE, readings, view, now_ns))
        return MW_LIMITER_PRESSURE;
    if (!is_percent || limiter->elective_spent_ns >= ELECTIVE_CAPACITY_NS)
        return MW_LIMITER_NONE;
    if ((!limiter->is_over || now_ns - limiter->over_since_ns >= limiter->patience_ns) &&
        is_due(limiter, MW_LIMITER_PERCENT, readings, view, now_ns))
        return MW_LIMITER_PERCENT;
    if (now_ns - limiter->quiet_since_ns >= QUIET_NS && !limiter->is_quiet_served &&
        is_due(limiter, MW_LIMITER_QUIET, readings, view, now_ns))
        return MW_LIMITER_QUIET;
    return MW_LIMITER_NONE;
}

/* The sooner, the sooner usage will be where it should not. */
static uint64_t next_look_ns(const struct mw_limiter *limiter, const struct mw_limiter_readings *readings)
{
    if (!readings->limit_bytes)
        return LONGEST_LOOK_NS;
    bool is_past = readings->usage_bytes > readings->limit_bytes;
    bool is_near = readings->usage_bytes > readings->limit_bytes - readings->limit_bytes / NEAR_PART;
    uint64_t longest_ns = is_near ? NEAR_LOOK_NS : LONGEST_LOOK_NS;
    if (is_past && !readings->ceiling_bytes)
        return longest_ns;
    uint64_t margin_bytes = less(is_past ? readings->ceiling_bytes : readings->limit_bytes, readings->usage_bytes);
    double look_ns = (double)margin_bytes / LOOKS_AHEAD;
    if (look_ns >= limiter->growth_bytes_per_ns * (double)longest_ns)
        return longest_ns;
    return most((uint64_t)(look_ns / limiter->growth_bytes_per_ns), SHORTEST_LOOK_NS);
}

/* Time does not tell how soon that is: a program that has been calm may fill what is left between two looks. */
static uint64_t look_after_bytes(const struct mw_limiter_readings *readings)
{
    uint64_t bound = readings->usage_bytes > readings->limit_bytes ? readings->ceiling_bytes : readings->limit_bytes;
    if (!readings->limit_bytes || !bound)
        return UINT64_MAX;
    return most(less(bound, readings->usage_bytes) / LOOKS_AHEAD, LEAST_LOOK_BYTES);
}

static bool is_urgent(const struct mw_limiter *limiter, const struct mw_limiter_readings *readings)
{
    uint64_t margin_bytes = less(readings->ceiling_bytes, readings->usage_bytes);
    return readings->ceiling_bytes && (margin_bytes < less(readings->ceiling_bytes, readings->limit_bytes) / 2 ||
                                       (double)margin_bytes < limiter->growth_bytes_per_ns * URGENT_NS);
}

static uint64_t next_trim_bytes(const struct mw_limiter *limiter, const struct mw_limiter_readings *readings)
{
    uint64_t stays = sum(readings->live_bytes, limiter->kept_bytes);
    uint64_t by_percent = readings->percent < 0 ? UINT64_MAX : sum(stays, percent_bytes(readings));
    if (!readings->limit_bytes)
        return by_percent;
    /* Past the limit, and what can be returned is worth it: whichever comes later. */
    uint64_t at_limit = less(sum(readings->resident_bytes, less(readings->limit_bytes, readings->usage_bytes)),
                             less(readings->usage_bytes, readings->limit_bytes));
    uint64_t worth = sum(stays, worth_bytes(MW_LIMITER_LIMIT, readings));
    return least(by_percent, most(at_limit, worth));
}

struct mw_limiter_decision mw_limiter_step(struct mw_limiter *limiter, const struct mw_limiter_readings *readings,
                                           uint64_t now_ns)
{
    now_ns = most(now_ns, limiter->looked_ns);
    pass_time(limiter, readings->usage_bytes, now_ns);
    struct view view = view_of(limiter, readings);
    see_change(limiter, readings, &view);
    see_regret(limiter, readings->resident_bytes, now_ns);
    see_percent(limiter, readings, &view, now_ns);
    see_quiet(limiter, readings, now_ns);
    limiter->has_looked = true;
    limiter->usage_bytes = readings->usage_bytes;
    enum mw_limiter_reason reason = reason_to_trim(limiter, readings, &view, now_ns);
    return (struct mw_limiter_decision){
        .reason = reason,
        .is_urgent = reason == MW_LIMITER_LIMIT && is_urgent(limiter, readings),
        .next_look_ns = next_look_ns(limiter, readings),
        .look_after_bytes = look_after_bytes(readings),
        .next_trim_bytes = next_trim_bytes(limiter, readings),
    };
}

void mw_limiter_trimmed(struct mw_limiter *limiter, enum mw_limiter_reason reason,
                        const struct mw_limiter_readings *before, const struct mw_limiter_readings *after,
                        uint64_t cpu_ns, uint64_t now_ns)
{
    uint64_t known_bytes = view_of(limiter, before).returnable_bytes;
    bool was_known = known_bytes > threshold_bytes(reason, before);
    uint64_t returned_bytes = less(before->resident_bytes, after->resident_bytes);
    /* A try is for more than was known. */
    bool is_futile = returned_bytes <= sum(worth_bytes(reason, before), was_known ? 0 : known_bytes);
    bool is_elective = reason == MW_LIMITER_PERCENT || reason == MW_LIMITER_QUIET;

    now_ns = most(now_ns, limiter->looked_ns);
    pass_time(limiter, after->usage_bytes, now_ns);
    limiter->usage_bytes = after->usage_bytes;
    limiter->has_trimmed = true;
    limiter->trimmed_ns = now_ns;
    limiter->trimmed_allocated_bytes = after->allocated_bytes;
    limiter->kept_bytes = less(after->resident_bytes, after->live_bytes);
    limiter->highest_live_bytes = after->live_bytes;
    limiter->is_over = false;
    limiter->regret_until_ns = 0; /* whatever is seen from now on is another trim's doing */
    if (reason == MW_LIMITER_NONE)
        return;

    uint64_t cost_ns = least(sum(cpu_ns, returned_bytes / PAGE_BYTES * FAULT_NS), LONGEST_COST_NS);
    limiter->spent_ns = sum(limiter->spent_ns, cost_ns);
    if (is_elective)
        limiter->elective_spent_ns = sum(limiter->elective_spent_ns, cost_ns);

    struct mw_limiter_backoff *backoff = was_known ? &limiter->known : &limiter->hoped;
    if (is_futile)
        futile(backoff, now_ns);
    else
        *backoff = (struct mw_limiter_backoff){0};
    if (reason == MW_LIMITER_PERCENT && !is_futile) {
        limiter->regret_until_ns = sum(now_ns, REGRET_NS);
        limiter->regret_beyond_bytes = sum(after->resident_bytes, REGRET_OF(returned_bytes));
    }
    if (reason == MW_LIMITER_QUIET)
        limiter->is_quiet_served = true;
}
