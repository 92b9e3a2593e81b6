/* SPDX-License-Identifier: MIT
 *
 * The limiter in charge of ten thousand heaps: random programs over an allocator that retains, trims that return some
 * of it and take their time, looks when the limiter asks for them or at times of its own. What has to hold holds at
 * every look. The seed is fixed.
 */
#include "limiter.h"

#include "check.h"

#define MS    UINT64_C(1000000)
#define S     (1000 * MS)
#define KIB   UINT64_C(1024)
#define MIB   (1024 * KIB)
#define GIB   (1024 * MIB)
#define OFF   (-1)
#define FLOOR (4 * MIB)

#define LARGEST (40 * GIB) /* heap */

#define TRACES 10000
#define LOOKS  800 /* each */

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_below(uint64_t end)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % end;
}

static uint64_t random_between(uint64_t first, uint64_t last)
{
    return first + random_below(last - first + 1);
}

static double random_part(void)
{
    return (double)random_below(1 << 20) / (1 << 20);
}

static bool chance(double part)
{
    return random_part() < part;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t part_of(uint64_t bytes, double part)
{
    return (uint64_t)((double)bytes * part);
}

/* ---- a heap ---- */

struct heap {
    uint64_t live_bytes;
    uint64_t touched_bytes;   /* of those */
    uint64_t free_bytes;      /* retained, and a trim can return it */
    uint64_t fragments_bytes; /* retained, and it cannot */
    uint64_t static_bytes;
    uint64_t allocated_bytes;
    uint64_t joined_bytes; /* fragments that have become free since the last trim */
    /* its nature */
    double touches;   /* this part of what is allocated */
    double fragments; /* this part of what is freed becomes */
    double unmaps;    /* this part of what is freed is returned at once */
    double yields;    /* this part of what is free a trim returns; the rest turns out to be fragments */
    uint64_t trim_ns_per_mib;
};

static uint64_t resident_bytes(const struct heap *heap)
{
    return heap->touched_bytes + heap->free_bytes + heap->fragments_bytes + heap->static_bytes;
}

static void allocate(struct heap *heap, uint64_t bytes)
{
    bytes = least(bytes, less(LARGEST, heap->live_bytes));
    /* As the heap is turned over, fragments grow together. */
    double turned_over = (double)bytes / (double)(resident_bytes(heap) + 1);
    uint64_t joined = part_of(heap->fragments_bytes, turned_over < 1 ? turned_over : 1);
    heap->fragments_bytes -= joined;
    heap->free_bytes += joined;
    heap->joined_bytes += joined;
    uint64_t touched = part_of(bytes, heap->touches);
    uint64_t from_free = least(heap->free_bytes, touched);
    uint64_t from_fragments = least(heap->fragments_bytes, (touched - from_free) / 2);
    heap->free_bytes -= from_free;
    heap->fragments_bytes -= from_fragments;
    heap->touched_bytes += touched;
    heap->live_bytes += bytes;
    heap->allocated_bytes += bytes;
}

static void release(struct heap *heap, uint64_t bytes)
{
    bytes = least(bytes, heap->live_bytes);
    uint64_t touched = bytes == heap->live_bytes
                           ? heap->touched_bytes
                           : part_of(heap->touched_bytes, (double)bytes / (double)heap->live_bytes);
    heap->live_bytes -= bytes;
    heap->touched_bytes -= touched;
    touched -= part_of(touched, heap->unmaps);
    heap->fragments_bytes += part_of(touched, heap->fragments);
    heap->free_bytes += touched - part_of(touched, heap->fragments);
}

static void resize(struct heap *heap, uint64_t live_bytes)
{
    if (live_bytes > heap->live_bytes)
        allocate(heap, live_bytes - heap->live_bytes);
    else
        release(heap, heap->live_bytes - live_bytes);
}

/* Returns what it takes. */
static uint64_t trim(struct heap *heap)
{
    uint64_t returned = part_of(heap->free_bytes, heap->yields);
    uint64_t pause_ns = 50000 + resident_bytes(heap) / MIB * heap->trim_ns_per_mib;
    heap->fragments_bytes += heap->free_bytes - returned;
    heap->free_bytes = 0;
    heap->joined_bytes = 0;
    return pause_ns;
}

/* ---- a program ---- */

enum behaviour { IDLE, CHURN, GROW, SHRINK, EBB_AND_FLOOD, PINNED, DROP, BEHAVIOURS };

struct program {
    struct heap heap;
    enum behaviour behaviour;
    uint64_t until_ns;
    uint64_t since_ns;
    double rate; /* bytes/ns */
    uint64_t low_bytes;
    uint64_t high_bytes;
    uint64_t period_ns;
    uint64_t others_bytes; /* beside the heap */
};

static void choose_behaviour(struct program *program, uint64_t size_bytes, uint64_t now_ns)
{
    program->behaviour = (enum behaviour)random_below(BEHAVIOURS);
    program->since_ns = now_ns;
    program->until_ns = now_ns + (random_between(1, 60) * S >> random_below(8));
    program->rate = (double)size_bytes / (double)(random_between(1, 100) * S) * (chance(0.2) ? 50 : 1);
    program->low_bytes = part_of(size_bytes, random_part() / 2);
    program->high_bytes = program->low_bytes + part_of(size_bytes, random_part() / 2);
    program->period_ns = random_between(1, 100) * (chance(0.5) ? 10 * MS : 200 * MS);
}

static void live_on(struct program *program, uint64_t limit_bytes, uint64_t now_ns, uint64_t elapsed_ns)
{
    struct heap *heap = &program->heap;
    uint64_t bytes = part_of(least(elapsed_ns, 10 * S), program->rate);
    switch (program->behaviour) {
    case CHURN:
        release(heap, bytes);
        allocate(heap, bytes);
        break;
    case GROW:
        allocate(heap, bytes);
        break;
    case SHRINK:
        release(heap, bytes);
        break;
    case EBB_AND_FLOOD:
        resize(heap, (now_ns - program->since_ns) / program->period_ns % 2 ? program->high_bytes : program->low_bytes);
        break;
    case PINNED: /* around the limit */
        release(heap, bytes);
        allocate(heap, bytes + less(limit_bytes, resident_bytes(heap) + program->others_bytes));
        break;
    case DROP:
        resize(heap, least(heap->live_bytes, program->low_bytes));
        break;
    default:
        break;
    }
}

/* ---- what has to hold ---- */

/* Over every window: spent <= share * window + capacity, and one trim, which cannot be cut short. In other words, what
 * is spent less the share of the time that went by has never risen from its lowest so far by more than that. */
struct account {
    double share;
    double capacity_ns;
    double spent_ns;
    double lowest_ns;
};

static void charge(struct account *account, uint64_t cost_ns, uint64_t now_ns)
{
    double before_ns = account->spent_ns - account->share * (double)now_ns;
    if (before_ns < account->lowest_ns)
        account->lowest_ns = before_ns;
    account->spent_ns += (double)cost_ns;
    double excess_ns = before_ns - account->lowest_ns;
    if (excess_ns > account->capacity_ns)
        fail_msg("a trim began though %.0f ns were overspent at %.2f", excess_ns - account->capacity_ns,
                 account->share);
}

struct world {
    struct program program;
    struct mw_limiter limiter;
    struct mw_limiter_readings readings;
    uint64_t now_ns;
    uint64_t started_ns;
    bool is_group;       /* the limit is the cgroup's */
    bool looks_as_asked; /* or at times of its own */
    bool serves_late;    /* trims wait for the program to come by */
    struct account all;
    struct account elective;
    uint64_t longest_cost_ns;
    /* since the last trim */
    bool was_futile;
    uint64_t lowest_retained_bytes;
    uint64_t highest_live_bytes;
    uint64_t allocated_bytes;
    /* since when there is much, or something, to return past the limit; 0: there is not */
    uint64_t much_since_ns;
    uint64_t some_since_ns;
    uint64_t looks;
    unsigned trims[MW_LIMITER_PRESSURE + 1];
};

static unsigned trims[MW_LIMITER_PRESSURE + 1]; /* of all worlds */

static void read_heap(struct world *world)
{
    const struct program *program = &world->program;
    struct mw_limiter_readings *readings = &world->readings;
    readings->live_bytes = program->heap.live_bytes;
    readings->allocated_bytes = program->heap.allocated_bytes;
    readings->resident_bytes = resident_bytes(&program->heap);
    readings->usage_bytes = readings->resident_bytes + program->others_bytes;
    readings->ceiling_bytes = world->is_group ? readings->limit_bytes / 9 * 10 : 0;
    uint64_t retained = less(readings->resident_bytes, readings->live_bytes);
    if (readings->live_bytes <= readings->resident_bytes)
        world->lowest_retained_bytes = least(world->lowest_retained_bytes, retained);
    world->highest_live_bytes = most(world->highest_live_bytes, readings->live_bytes);
}

static uint64_t change_bytes(const struct world *world)
{
    return most(world->readings.resident_bytes / 8, FLOOR);
}

/* What is retained and was not so after the last trim, as far as it can be seen. */
static uint64_t visible_bytes(const struct world *world)
{
    return less(less(world->readings.resident_bytes, world->readings.live_bytes), world->lowest_retained_bytes);
}

static void check_deadline(const char *what, bool is_so, bool rests, uint64_t bound_ns, uint64_t *since_ns,
                           uint64_t now_ns)
{
    if (!is_so || !rests)
        *since_ns = 0;
    else if (!*since_ns)
        *since_ns = now_ns;
    else if (now_ns - *since_ns > bound_ns)
        fail_msg("%s to return past the limit for %llu ms", what, (unsigned long long)((now_ns - *since_ns) / MS));
}

/* Past the limit with something to return it rests while a bucket is overdrawn, which drains at a quarter of the time:
 * four times the longest trim; and for the shortest back-off, where the heap is another one, or else for the longest.
 */
static void check_limit(struct world *world, bool rests)
{
    const struct mw_limiter_readings *readings = &world->readings;
    bool is_past = readings->limit_bytes && readings->usage_bytes > readings->limit_bytes;
    uint64_t visible = visible_bytes(world);
    uint64_t bucket_ns = 4 * world->longest_cost_ns;
    bool is_some = is_past && visible > readings->usage_bytes / 32;
    check_deadline("much", is_some && visible > change_bytes(world), rests, bucket_ns + 100 * MS, &world->much_since_ns,
                   world->now_ns);
    check_deadline("something", is_some, rests, bucket_ns + 300 * S, &world->some_since_ns, world->now_ns);
}

static void check_futile_is_not_repeated(const struct world *world)
{
    const struct mw_limiter_readings *readings = &world->readings;
    bool is_changed = visible_bytes(world) > least(readings->usage_bytes / 32, 512 * KIB) ||
                      readings->allocated_bytes - world->allocated_bytes > change_bytes(world) ||
                      world->highest_live_bytes - readings->live_bytes > change_bytes(world);
    if (world->was_futile && !is_changed)
        fail_msg("a futile trim is repeated, and nothing has changed");
}

static void serve(struct world *world, enum mw_limiter_reason reason)
{
    struct mw_limiter_readings before = world->readings;
    check_futile_is_not_repeated(world);
    if (world->serves_late) { /* the program goes on, and nobody looks */
        uint64_t late_ns = random_below(2 * S);
        world->now_ns += late_ns;
        live_on(&world->program, world->readings.limit_bytes, world->now_ns, late_ns);
        read_heap(world);
        before.resident_bytes = world->readings.resident_bytes; /* the trim's own measure */
    }
    uint64_t pause_ns = trim(&world->program.heap);
    read_heap(world);
    uint64_t returned = less(before.resident_bytes, world->readings.resident_bytes);
    uint64_t cost_ns = pause_ns + returned / 4096 * 250;
    charge(&world->all, cost_ns, world->now_ns);
    if (reason == MW_LIMITER_PERCENT || reason == MW_LIMITER_QUIET)
        charge(&world->elective, cost_ns, world->now_ns);
    world->now_ns += pause_ns;
    world->longest_cost_ns = most(world->longest_cost_ns, cost_ns);
    mw_limiter_trimmed(&world->limiter, reason, &before, &world->readings, pause_ns, world->now_ns);
    world->was_futile = returned <= 4096;
    world->lowest_retained_bytes = less(world->readings.resident_bytes, world->readings.live_bytes);
    world->highest_live_bytes = world->readings.live_bytes;
    world->allocated_bytes = world->readings.allocated_bytes;
    world->trims[reason]++;
    trims[reason]++;
}

/* One look, and the time until the next. */
static void look(struct world *world)
{
    read_heap(world);
    struct mw_limiter_decision decision = mw_limiter_step(&world->limiter, &world->readings, world->now_ns);
    bool rests = decision.reason == MW_LIMITER_NONE;
    world->looks++;
    if (!rests && world->readings.percent < 0 && !world->readings.limit_bytes)
        fail_msg("a trim, though all is off");
    check_limit(world, rests);
    if (!rests)
        serve(world, decision.reason);
    uint64_t elapsed_ns = world->looks_as_asked ? decision.next_look_ns : random_between(10 * MS, S);
    world->now_ns += elapsed_ns;
    live_on(&world->program, world->readings.limit_bytes, world->now_ns, elapsed_ns);
}

/* ---- random worlds ---- */

static struct world random_world(uint64_t size_bytes)
{
    static const int percents[] = {OFF, 0, 25, 100, 100, 100, 400};
    struct world world = {
        .all = {.share = 1 / 4.0, .capacity_ns = 500e6},
        .elective = {.share = 1 / 50.0, .capacity_ns = 40e6},
        .now_ns = random_below(1000 * S),
        .is_group = chance(0.5),
        .looks_as_asked = chance(0.7),
        .serves_late = chance(0.2),
        .lowest_retained_bytes = 0,
    };
    world.started_ns = world.now_ns;
    world.all.lowest_ns = -world.all.share * (double)world.now_ns;
    world.elective.lowest_ns = -world.elective.share * (double)world.now_ns;
    world.readings.percent = percents[random_below(COUNT(percents))];
    world.readings.limit_bytes = chance(0.5) ? part_of(size_bytes, 0.1 + random_part()) : 0;
    world.program.others_bytes = part_of(size_bytes, random_part() / 10);
    world.program.heap = (struct heap){
        .static_bytes = part_of(size_bytes, chance(0.2) ? random_part() : 0.01),
        .touches = chance(0.1) ? random_part() : 1,
        .fragments = chance(0.5) ? random_part() / 2 : 0.02,
        .unmaps = chance(0.2) ? random_part() : 0,
        .yields = chance(0.1) ? 0 : 0.5 + random_part() / 2,
        .trim_ns_per_mib = chance(0.1) ? 30000 : random_below(3000),
    };
    resize(&world.program.heap, part_of(size_bytes, random_part()));
    return world;
}

static void change_wishes(struct world *world, uint64_t size_bytes)
{
    if (chance(0.5))
        world->readings.limit_bytes = chance(0.3) ? 0 : part_of(size_bytes, 0.1 + random_part());
    else
        world->readings.percent = chance(0.3) ? OFF : (int)random_below(300);
}

/* Left alone for as long as the buckets and the back-off may make it wait, a program ends within 1 % of what a trim
 * would leave. What the limiter cannot see: untouched blocks, and fragments that have grown together since the last
 * trim, for which the heap has to be an eighth another one first. */
static void check_quiet(struct world *world)
{
    const struct heap *heap = &world->program.heap;
    world->program.behaviour = IDLE;
    if (world->readings.percent < 0)
        return;
    world->looks_as_asked = false;
    uint64_t until_ns = world->now_ns + 310 * S + 50 * world->longest_cost_ns;
    while (world->now_ns < until_ns) {
        world->now_ns += 500 * MS;
        look(world);
    }
    uint64_t resident = resident_bytes(heap);
    bool is_stale = heap->allocated_bytes - world->allocated_bytes > change_bytes(world);
    uint64_t unseen = heap->live_bytes - heap->touched_bytes + (is_stale ? 0 : heap->joined_bytes);
    uint64_t left = part_of(heap->free_bytes, heap->yields);
    if (resident > FLOOR && left > most(resident / 100, 512 * KIB) + unseen)
        fail_msg("quiet, and %llu KiB of %llu are retained that a trim would return", (unsigned long long)(left / KIB),
                 (unsigned long long)(resident / KIB));
}

static void what_holds_for_ten_thousand_programs(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TRACES; i++) {
        random_state = i;
        uint64_t size_bytes = (MIB << random_below(16)) + random_below(MIB); /* to 32 GiB */
        struct world world = random_world(size_bytes);
        for (unsigned k = 0; k < LOOKS; k++) {
            if (world.now_ns >= world.program.until_ns)
                choose_behaviour(&world.program, size_bytes, world.now_ns);
            if (chance(0.002))
                change_wishes(&world, size_bytes);
            if (chance(0.001))
                world.now_ns += random_below(3600 * S); /* stopped, and woken */
            world.readings.is_under_pressure = chance(0.05);
            look(&world);
        }
        world.readings.is_under_pressure = false;
        if (i % 4 == 0)
            check_quiet(&world);
        if (world.looks > (world.now_ns - world.started_ns) / (5 * MS) + 1)
            fail_msg("looks took more than 1 %% of the time");
    }
    for (enum mw_limiter_reason reason = MW_LIMITER_PERCENT; reason <= MW_LIMITER_PRESSURE; reason++)
        CHECK("all reasons were there", trims[reason] > TRACES / 4);
    assert_int_equal(trims[MW_LIMITER_NONE], 0);
}

/* ---- chosen ones ---- */

static struct world chosen_world(int percent, uint64_t limit_bytes)
{
    struct world world = {
        .all = {.share = 1 / 4.0, .capacity_ns = 500e6},
        .elective = {.share = 1 / 50.0, .capacity_ns = 40e6},
        .looks_as_asked = true,
        .readings = {.percent = percent, .limit_bytes = limit_bytes},
        .program = {.period_ns = 125 * MS,
                    .heap = {.static_bytes = 2 * MIB, .touches = 1, .yields = 1, .trim_ns_per_mib = 100000}},
    };
    random_state = 1;
    return world;
}

/* Ten minutes at the limit with a program that rises past it and falls again four times a second, in a heap of 1 GiB
 * whose trim takes 0.1 s: each time there is something to return, and the bucket is what holds. */
static void pinned_at_the_limit_for_ten_minutes(void **state)
{
    struct world world = chosen_world(100, 900 * MIB);
    (void)state;
    world.program.behaviour = EBB_AND_FLOOD;
    world.program.low_bytes = GIB / 2;
    world.program.high_bytes = GIB;
    while (world.now_ns < 600 * S)
        look(&world);
    double most_ns = 600e9 / 4 + 500e6 + (double)world.longest_cost_ns;
    if (world.all.spent_ns > most_ns || world.all.spent_ns < most_ns / 2)
        fail_msg("%.3f s were spent in %u trims", world.all.spent_ns / 1e9, world.trims[MW_LIMITER_LIMIT]);
}

/* A limit far below what is live, and nothing to return. */
static void a_limit_that_cannot_be_kept(void **state)
{
    struct world world = chosen_world(100, 100 * MIB);
    (void)state;
    allocate(&world.program.heap, GIB);
    world.program.heap.unmaps = 1;
    world.program.behaviour = CHURN;
    world.program.rate = 1;
    while (world.now_ns < 3600 * S)
        look(&world);
    assert_in_range(world.trims[MW_LIMITER_LIMIT], 12, 24);
    assert_in_range(world.looks, 3600, 36000 + 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_holds_for_ten_thousand_programs),
        cmocka_unit_test(pinned_at_the_limit_for_ten_minutes),
        cmocka_unit_test(a_limit_that_cannot_be_kept),
    };
    return cmocka_run_group_tests_name("limiter_simulation", tests, NULL, NULL);
}
