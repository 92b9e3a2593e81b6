/* SPDX-License-Identifier: MIT
 *
 * The adapters over functions that only note what they are asked; and over the allocator of this very process, which
 * the scenarios preload: MEMWATCH_TEST_ALLOCATOR is its name then.
 */
#include "allocators.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "text.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_OTHER_MALLOC true
#else
#define HAS_OTHER_MALLOC false
#endif

/* ---- which are found, and which are asked ---- */

static const char *const *beneath_names;
static const char *const *beside_names;

static void do_nothing(void)
{
}

static void *look_up(const char *const *names, const char *name)
{
    static void *something;
    void (*function)(void) = do_nothing;
    memcpy(&something, &function, sizeof something);
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return something;
    return NULL;
}

static void *beneath(const char *name)
{
    return look_up(beneath_names, name);
}

static void *beside(const char *name)
{
    return look_up(beside_names, name);
}

static void add_word(struct mw_text *words, const char *word)
{
    mw_text_string(words, words->length ? " " : "");
    mw_text_string(words, word);
}

#define MOST_NAMES 8

static void what_is_there_is_found_and_what_is_used_is_asked(void **state)
{
    static const struct {
        const char *label;
        const char *beneath[MOST_NAMES];
        const char *beside[MOST_NAMES];
        const char *with;    /* who is asked where allocations pass through us, in order */
        const char *without; /* and where none does */
    } cases[] = {
        {"glibc alone", {"malloc_trim", "mallinfo2", "mallopt"}, {0}, "glibc", ""},
        {"jemalloc beneath", {"mallctl"}, {"malloc_trim"}, "jemalloc", ""},
        {"tcmalloc beneath", {"MallocExtension_ReleaseFreeMemory"}, {"malloc_trim"}, "tcmalloc", ""},
        {"Google's, which has a malloc_trim too",
         {"malloc_trim", "MallocExtension_Internal_ReleaseMemoryToSystem"},
         {"malloc_trim"},
         "tcmalloc",
         ""},
        {"Google's C++",
         {"malloc_trim", "_ZN8tcmalloc15MallocExtension21ReleaseMemoryToSystemEm"},
         {0},
         "tcmalloc",
         ""},
        {"mimalloc beneath", {"mi_collect", "mi_process_info"}, {"malloc_trim"}, "mimalloc", ""},
        {"nothing known", {0}, {0}, "", ""},
        {"nothing known above glibc", {0}, {"malloc_trim", "mallinfo2"}, "", ""},
        {"jemalloc in the program", {"malloc_trim"}, {"mallctl"}, "glibc", "jemalloc"},
        {"jemalloc of C in the program", {"malloc_trim"}, {"je_mallctl"}, "glibc jemalloc", "jemalloc"},
        {"jemalloc of Rust in the program", {"malloc_trim"}, {"_rjem_mallctl"}, "glibc jemalloc", "jemalloc"},
        {"mimalloc in the program", {"malloc_trim"}, {"mi_collect"}, "glibc mimalloc", "mimalloc"},
        {"tcmalloc in the program", {"malloc_trim"}, {"MallocExtension_ReleaseFreeMemory"}, "glibc", "tcmalloc"},
        {"one beneath, another linked and idle",
         {"MallocExtension_ReleaseFreeMemory"},
         {"mallctl", "malloc_trim"},
         "tcmalloc",
         "jemalloc"},
        {"only what does not purge", {"mallinfo2", "mi_process_info"}, {"MallocExtension_GetNumericProperty"}, "", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_allocators found;
        beneath_names = cases[i].beneath;
        beside_names = cases[i].beside;
        mw_allocators_find(&found, beneath, beside);
        for (int passes = 0; passes <= 1; passes++) {
            const struct mw_allocator *chosen[MW_ALLOCATORS_AT_ONCE];
            char buffer[64];
            struct mw_text names = MW_TEXT(buffer);
            unsigned count = mw_allocators_choose(&found, passes, chosen);
            for (unsigned k = 0; k < MW_ALLOCATORS_AT_ONCE; k++) {
                CHECK(cases[i].label, !chosen[k] == (k >= count));
                if (chosen[k])
                    add_word(&names, chosen[k]->kind->name);
            }
            CHECK_TEXT(cases[i].label, names.start, passes ? cases[i].with : cases[i].without);
        }
    }
}

static void what_is_not_there_can_do_nothing(void **state)
{
    const struct mw_allocator none = {0};
    struct memwatch_allocator figures;
    (void)state;
    assert_int_equal(mw_allocator_purge(&none), -ENOTSUP);
    assert_int_equal(mw_allocator_cap_arenas(&none, 2), -ENOTSUP);
    assert_false(mw_allocator_read(&none, &figures));
    assert_true(figures.Sys == MW_ALLOCATOR_UNKNOWN && figures.Released == MW_ALLOCATOR_UNKNOWN);
}

/* ---- what they are asked ---- */

static char asked_buffer[512];
static struct mw_text asked; /* words */

static void forget(void)
{
    asked = MW_TEXT(asked_buffer);
}

static void note(const char *what)
{
    add_word(&asked, what);
}

/* As it is called: in functions[0] and on. */
static struct mw_allocator over(const struct mw_allocator_kind *kind, ...)
{
    struct mw_allocator allocator = {.kind = kind};
    va_list functions;
    va_start(functions, kind);
    for (unsigned i = 0; i < MW_ALLOCATOR_SYMBOLS && kind->symbols[i]; i++)
        // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized)
        allocator.functions[i] = va_arg(functions, mw_allocator_function);
    va_end(functions);
    forget();
    return allocator;
}

static int purge_error;

static int fake_mallctl(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes)
{
    static const struct {
        const char *name;
        size_t value;
    } statistics[] = {
        {"stats.allocated", 10000}, {"stats.resident", 25000}, {"stats.mapped", 30000}, {"stats.retained", 70000}};
    note(name);
    if (strcmp(name, "thread.tcache.flush") == 0)
        return EFAULT; /* the thread has none */
    if (strcmp(name, "epoch") == 0)
        return new &&new_bytes == 8 ? 0 : EINVAL;
    if (strcmp(name, "arena.4096.purge") == 0)
        return purge_error;
    for (size_t i = 0; i < COUNT(statistics); i++) {
        if (strcmp(name, statistics[i].name) == 0 && *old_bytes == sizeof(size_t)) {
            memcpy(old, &statistics[i].value, sizeof(size_t));
            return 0;
        }
    }
    return ENOENT;
}

static void jemalloc_is_asked_by_name(void **state)
{
    static const int errors[][2] = {{0, 0}, {ENOENT, -ENOTSUP}, {EAGAIN, -EAGAIN}};
    struct memwatch_allocator figures;
    struct mw_allocator jemalloc = over(&mw_allocator_jemalloc, (mw_allocator_function)fake_mallctl);
    (void)state;
    for (size_t i = 0; i < COUNT(errors); i++) {
        forget();
        purge_error = errors[i][0];
        assert_int_equal(mw_allocator_purge(&jemalloc), errors[i][1]);
        assert_string_equal(asked.start, "thread.tcache.flush arena.4096.purge");
    }
    forget();
    assert_true(mw_allocator_read(&jemalloc, &figures));
    assert_int_equal(strncmp(asked.start, "epoch ", 6), 0); /* before the rest, or that is of the last time */
    assert_int_equal(figures.Sys, 100000);
    assert_int_equal(figures.Resident, 25000);
    assert_int_equal(figures.Inuse, 10000);
    assert_int_equal(figures.Idle, 90000);
    assert_int_equal(figures.Released, 75000);
}

static void fake_release(void)
{
    note("release");
}

static void fake_idle(void)
{
    note("idle");
}

static size_t property_of(const char *name)
{
    static const struct {
        const char *name;
        size_t value;
    } properties[] = {{"generic.heap_size", 1000},
                      {"tcmalloc.pageheap_unmapped_bytes", 600},
                      {"generic.virtual_memory_used", 1100},
                      {"generic.physical_memory_used", 480},
                      {"generic.current_allocated_bytes", 300}};
    for (size_t i = 0; i < COUNT(properties); i++)
        if (strcmp(name, properties[i].name) == 0)
            return properties[i].value;
    return 0;
}

static int fake_property(const char *name, size_t *value)
{
    *value = property_of(name);
    return *value != 0;
}

static size_t fake_release_some(size_t bytes)
{
    note(bytes >= (size_t)1 << 62 ? "release all" : "release some");
    return 0;
}

static bool fake_property_counted(const char *name, size_t name_bytes, size_t *value)
{
    *value = property_of(name);
    return *value && name_bytes == strlen(name);
}

static void both_tcmallocs_are_asked(void **state)
{
    struct memwatch_allocator figures;
    struct mw_allocator allocator =
        over(&mw_allocator_tcmalloc, fake_release, (mw_allocator_function)fake_property, fake_idle);
    (void)state;
    assert_int_equal(mw_allocator_purge(&allocator), 0);
    assert_string_equal(asked.start, "idle release");
    assert_true(mw_allocator_read(&allocator, &figures));
    assert_int_equal(figures.Sys, 1000);
    assert_int_equal(figures.Resident, 400);
    assert_int_equal(figures.Inuse, 300);
    assert_int_equal(figures.Idle, 700);
    assert_int_equal(figures.Released, 600);

    allocator = over(&mw_allocator_tcmalloc, fake_release, NULL, NULL); /* an old one */
    assert_int_equal(mw_allocator_purge(&allocator), 0);
    assert_string_equal(asked.start, "release");
    assert_false(mw_allocator_read(&allocator, &figures));

    allocator = over(&mw_allocator_google, (mw_allocator_function)fake_release_some,
                     (mw_allocator_function)fake_property_counted);
    assert_int_equal(mw_allocator_purge(&allocator), 0);
    assert_string_equal(asked.start, "release all");
    assert_true(mw_allocator_read(&allocator, &figures));
    assert_int_equal(figures.Sys, 1100);
    assert_int_equal(figures.Resident, 480);
    assert_int_equal(figures.Idle, 800);
    assert_int_equal(figures.Released, 620);

    allocator = over(&mw_allocator_google_cxx, (mw_allocator_function)fake_release_some);
    assert_int_equal(mw_allocator_purge(&allocator), 0);
    assert_string_equal(asked.start, "release all");
    assert_false(mw_allocator_read(&allocator, &figures));
}

static void fake_collect(bool force)
{
    note(force ? "collect all" : "collect");
}

static void fake_info(size_t *elapsed, size_t *user, size_t *system, size_t *rss, size_t *peak_rss, size_t *commit,
                      size_t *peak_commit, size_t *faults)
{
    size_t *const others[] = {elapsed, user, system, rss, peak_rss, peak_commit, faults};
    for (size_t i = 0; i < COUNT(others); i++)
        if (others[i])
            *others[i] = 1;
    *commit = 4096;
}

static void mimalloc_is_asked(void **state)
{
    struct memwatch_allocator figures;
    struct mw_allocator mimalloc =
        over(&mw_allocator_mimalloc, (mw_allocator_function)fake_collect, (mw_allocator_function)fake_info);
    (void)state;
    assert_int_equal(mw_allocator_purge(&mimalloc), 0);
    assert_string_equal(asked.start, "collect all");
    assert_true(mw_allocator_read(&mimalloc, &figures));
    assert_int_equal(figures.Resident, 4096);
    assert_true(figures.Inuse == MW_ALLOCATOR_UNKNOWN);
}

/* ---- arenas ---- */

static void arenas_follow_the_cpus_that_may_be_used(void **state)
{
    static const struct {
        const char *label;
        uint64_t quota_us;
        uint64_t period_us;
        unsigned online;
        unsigned arenas;
    } cases[] = {
        {"no quota", 0, 0, 8, 64},
        {"no quota, a period", 0, 100000, 8, 64},
        {"half a CPU", 50000, 100000, 64, 8},
        {"a whole one", 100000, 100000, 64, 8},
        {"one and a bit", 100001, 100000, 64, 16},
        {"two and a half", 250000, 100000, 64, 24},
        {"another period", 30000, 10000, 64, 24},
        {"more than there are", 6400000, 100000, 4, 32},
        {"the least quota", 1, 1000000, 64, 8},
        {"a huge one", UINT64_MAX, 1, 4, 32},
        {"a period of 0", 100000, 0, 4, 32},
        {"nobody knows", 0, 0, 0, 8},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_U64(cases[i].label, mw_allocator_arenas_for(cases[i].quota_us, cases[i].period_us, cases[i].online),
                  cases[i].arenas);
}

static int mallopt_result;

static int fake_mallopt(int parameter, int value)
{
    char text[32];
    snprintf(text, sizeof text, "%d=%d", parameter, value);
    note(text);
    return mallopt_result;
}

static void arenas_are_capped_by_mallopt(void **state)
{
    static const int results[][2] = {{1, 0}, {0, -EINVAL}};
    (void)state;
    for (size_t i = 0; i < COUNT(results); i++) {
        struct mw_allocator glibc = over(&mw_allocator_glibc, NULL, NULL, (mw_allocator_function)fake_mallopt);
        mallopt_result = results[i][0];
        assert_int_equal(mw_allocator_cap_arenas(&glibc, 4), results[i][1]);
        assert_string_equal(asked.start, "-8=4");
    }
    struct mw_allocator jemalloc = over(&mw_allocator_jemalloc, (mw_allocator_function)fake_mallctl);
    assert_int_equal(mw_allocator_cap_arenas(&jemalloc, 4), -ENOTSUP);
}

/* ---- the real thing ---- */

static void *anywhere(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

static void *nowhere(const char *name)
{
    (void)name;
    return NULL;
}

#define BLOCKS      300000
#define BLOCK_BYTES 200
#define WHOLE_BYTES ((uint64_t)BLOCKS * BLOCK_BYTES)

static void *volatile blocks[BLOCKS];

/* Handed out and freed, but for one in 3000; the books are to follow. */
static void its_own_figures_follow_what_happens(void **state)
{
    const char *name = getenv("MEMWATCH_TEST_ALLOCATOR");
    struct mw_allocators found;
    struct memwatch_allocator start;
    struct memwatch_allocator full;
    struct memwatch_allocator empty;
    struct memwatch_allocator purged;
    (void)state;
    if (HAS_OTHER_MALLOC)
        skip();
    mw_allocators_find(&found, anywhere, nowhere);
    assert_non_null(found.beneath.kind);
    assert_string_equal(found.beneath.kind->name, name ? name : "glibc");
    assert_true(mw_allocator_read(&found.beneath, &start));
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, BLOCK_BYTES);
    }
    mw_allocator_read(&found.beneath, &full);
    for (size_t i = 0; i < BLOCKS; i++)
        if (i % 3000)
            free(blocks[i]);
    mw_allocator_read(&found.beneath, &empty);
    assert_int_equal(mw_allocator_purge(&found.beneath), 0);
    mw_allocator_read(&found.beneath, &purged);
    if (full.Inuse != MW_ALLOCATOR_UNKNOWN) {
        assert_true(full.Inuse - start.Inuse >= WHOLE_BYTES);
        assert_true(full.Inuse - start.Inuse < WHOLE_BYTES * 5 / 4);
        assert_true(empty.Inuse < start.Inuse + WHOLE_BYTES / 20);
        assert_true(full.Sys >= full.Inuse);
        assert_true(empty.Idle > WHOLE_BYTES * 9 / 10);
    }
    if (full.Idle != MW_ALLOCATOR_UNKNOWN)
        assert_true(full.Sys == full.Inuse + full.Idle && purged.Sys == purged.Inuse + purged.Idle);
    if (full.Resident != MW_ALLOCATOR_UNKNOWN)
        assert_true(full.Resident > WHOLE_BYTES);
    if (full.Released != MW_ALLOCATOR_UNKNOWN) {
        const struct memwatch_allocator *all[] = {&start, &full, &empty, &purged};
        for (size_t i = 0; i < COUNT(all); i++) {
            assert_true(all[i]->Sys == all[i]->Resident + all[i]->Released);
            assert_true(all[i]->Released <= all[i]->Idle);
        }
        assert_true(empty.Resident - purged.Resident > WHOLE_BYTES / 2);
        assert_true(purged.Released - empty.Released == empty.Resident - purged.Resident);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_own_figures_follow_what_happens), /* while nothing else has been allocated */
        cmocka_unit_test(what_is_there_is_found_and_what_is_used_is_asked),
        cmocka_unit_test(what_is_not_there_can_do_nothing),
        cmocka_unit_test(jemalloc_is_asked_by_name),
        cmocka_unit_test(both_tcmallocs_are_asked),
        cmocka_unit_test(mimalloc_is_asked),
        cmocka_unit_test(arenas_follow_the_cpus_that_may_be_used),
        cmocka_unit_test(arenas_are_capped_by_mallopt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
