/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU backend finds out about its host, from made-up files: memory and control groups,
 * processors and ranks beside this one, its name; and its regions of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "backend/cpu/cpu.h"
#include "scratch_folder.h"

/* ---- A host of files ---- */

static void make_folders(const char *path)
{
    char folder[512];
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        (void)mkdir(folder, 0700);
    }
}

static void put(void **state, const char *name, const char *text)
{
    make_folders(scratch_path(state, name));
    assert_non_null(scratch_write(state, name, text, strlen(text)));
}

static const char *root_of(void **state)
{
    return ((struct scratch_folder *)*state)->path;
}

static void expect_bytes(void **state, int64_t total, int64_t free_bytes)
{
    int64_t found_total, found_free;
    assert_int_equal(cpu_host_memory_below(root_of(state), &found_total, &found_free), STATUS_OK);
    assert_int_equal(found_total, total);
    assert_int_equal(found_free, free_bytes);
}

static void memory_without_groups(void **state)
{
    int64_t total, free_bytes;
    assert_int_equal(cpu_host_memory_below(root_of(state), &total, &free_bytes), STATUS_IO);
    assert_string_equal(status_message(), "/proc/meminfo: no MemTotal and MemAvailable");
    put(state, "proc/meminfo", "MemTotal:  4000 kB\nMemFree: 7 kB\n");
    assert_int_equal(cpu_host_memory_below(root_of(state), &total, &free_bytes), STATUS_IO);
    put(state, "proc/meminfo", "MemTotal:  4000 kB\nMemFree: 7 kB\nMemAvailable: 1000 kB\n");
    expect_bytes(state, 4096000, 1024000);
    put(state, "proc/meminfo", "MemAvailable: 0 kB\nMemTotal: 0 kB\n");
    expect_bytes(state, 0, 0);
    assert_int_equal(cpu_host_memory(&total, &free_bytes), STATUS_OK); /* of this host */
    assert_true(total > 0 && free_bytes >= 0 && free_bytes <= total);
}

/* Version 2: every group from this process's up to the top limits it. */
static void memory_of_unified_groups(void **state)
{
    put(state, "proc/meminfo", "MemTotal: 4000 kB\nMemAvailable: 1000 kB\n");
    put(state, "proc/self/cgroup", "0::/jobs/one\n");
    expect_bytes(state, 4096000, 1024000); /* there are no such files */
    put(state, "sys/fs/cgroup/jobs/one/memory.max", "2000000\n");
    expect_bytes(state, 4096000, 1024000); /* a limit alone says nothing */
    put(state, "sys/fs/cgroup/jobs/one/memory.current", "1500000\n");
    expect_bytes(state, 2000000, 500000);
    put(state, "sys/fs/cgroup/jobs/one/memory.stat", "anon 5\ninactive_file 300000\nother 1\n");
    expect_bytes(state, 2000000, 800000); /* what can be dropped counts as free */
    put(state, "sys/fs/cgroup/jobs/memory.max", "max\n");
    put(state, "sys/fs/cgroup/jobs/memory.current", "100\n");
    expect_bytes(state, 2000000, 800000); /* no limit */
    put(state, "sys/fs/cgroup/memory.max", "3000000\n");
    put(state, "sys/fs/cgroup/memory.current", "2900000\n");
    expect_bytes(state, 2000000, 100000); /* the top leaves less */
    put(state, "sys/fs/cgroup/memory.current", "3900000\n");
    expect_bytes(state, 2000000, 0); /* more in use than there may be */
    put(state, "sys/fs/cgroup/memory.max", "1900000\n");
    put(state, "sys/fs/cgroup/memory.current", "0\n");
    expect_bytes(state, 1900000, 800000);
}

/* Version 1: its own names and folder, and only the controller of memory counts. */
static void memory_of_separate_groups(void **state)
{
    put(state, "proc/meminfo", "MemTotal: 4000 kB\nMemAvailable: 1000 kB\n");
    put(state, "proc/self/cgroup", "nonsense\n7:cpu:/slow\n5:memory:/jobs\n3:freezer:/x\n");
    put(state, "sys/fs/cgroup/memory/slow/memory.limit_in_bytes", "1\n");
    put(state, "sys/fs/cgroup/memory/slow/memory.usage_in_bytes", "0\n");
    put(state, "sys/fs/cgroup/slow/memory.max", "1\n");
    put(state, "sys/fs/cgroup/slow/memory.current", "0\n");
    expect_bytes(state, 4096000, 1024000);
    put(state, "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "3000000\n");
    put(state, "sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "2500000\n");
    put(state, "sys/fs/cgroup/memory/jobs/memory.stat",
        "inactive_file 77\ntotal_inactive_file 1000\n");
    expect_bytes(state, 3000000, 501000);
    put(state, "sys/fs/cgroup/memory/memory.limit_in_bytes", "2900000\n");
    put(state, "sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
    expect_bytes(state, 2900000, 501000);
}

/* ---- Processors ---- */

static const char *const rank_counts[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS",
                                          "PMI_LOCAL_SIZE"};

static void no_ranks(void)
{
    for (size_t i = 0; i < COUNT_OF(rank_counts); i++) {
        unsetenv(rank_counts[i]);
    }
}

static void processors_are_shared(void **state)
{
    const char *root = root_of(state);
    no_ranks();
    assert_int_equal(cpu_host_share(root, 12, false), 12);
    assert_int_equal(cpu_host_share(root, 0, false), 1);
    for (size_t i = 0; i < COUNT_OF(rank_counts); i++) {
        setenv(rank_counts[i], "4", 1);
        assert_int_equal(cpu_host_share(root, 12, false), 3);
        assert_int_equal(cpu_host_share(root, 12, true), 12); /* they have their own */
        assert_int_equal(cpu_host_share(root, 3, false), 1);
        no_ranks();
    }
    setenv(rank_counts[2], "2", 1); /* the first that is said counts, and only if it is a number */
    setenv(rank_counts[1], "3", 1);
    setenv(rank_counts[0], "some", 1);
    assert_int_equal(cpu_host_share(root, 12, false), 4);
    setenv(rank_counts[0], "1048576", 1);
    assert_int_equal(cpu_host_share(root, 12, false), 4);
    setenv(rank_counts[0], "-2", 1);
    assert_int_equal(cpu_host_share(root, 12, false), 4);
    setenv(rank_counts[0], "1048575", 1);
    assert_int_equal(cpu_host_share(root, 12, false), 1);
    no_ranks();
}

static void quotas(void **state)
{
    const char *root = root_of(state);
    no_ranks();
    static const struct {
        const char *text;
        int share;
    } cases[] = {{"max 100000\n", 12},     {"200000 100000\n", 2},   {"200001 100000\n", 3},
                 {"100000 100000\n", 1},   {"1 100000\n", 1},        {"1200000 100000\n", 12},
                 {"1300000 100000\n", 12}, {"1100000 100000\n", 11}, {"0 100000\n", 12},
                 {"200000 0\n", 12},       {"200000\n", 12},         {"", 12},
                 {"9000000000000 1\n", 12}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put(state, "sys/fs/cgroup/cpu.max", cases[i].text);
        assert_int_equal(cpu_host_share(root, 12, false), cases[i].share);
    }
    put(state, "sys/fs/cgroup/cpu.max", "800000 100000\n");
    setenv("PMI_LOCAL_SIZE", "2", 1);
    assert_int_equal(cpu_host_share(root, 12, false), 4); /* what is granted is shared */
    no_ranks();
}

static void threads_as_the_environment_says(void **state)
{
    (void)state;
    const char *before = getenv("OMP_NUM_THREADS");
    char *kept = before != NULL ? strdup(before) : NULL;
    unsetenv("OMP_NUM_THREADS");
    no_ranks();
    assert_true(cpu_host_threads() >= 1);
    setenv("PMI_LOCAL_SIZE", "1000000", 1);
    const int alone = cpu_host_threads();
    assert_true(alone >= 1);
    no_ranks();
    if (kept != NULL) {
        setenv("OMP_NUM_THREADS", kept, 1);
        assert_true(cpu_host_threads() >= 1);
    }
    free(kept);
}

static void names(void **state)
{
    char name[24];
    cpu_host_name_below(root_of(state), name, sizeof name);
    assert_string_equal(name, "CPU");
    put(state, "proc/cpuinfo",
        "processor : 0\nmodel : 4\nmodel name\t: Abacus 9\nmodel name : B\n");
    cpu_host_name_below(root_of(state), name, sizeof name);
    assert_string_equal(name, "Abacus 9");
    put(state, "proc/cpuinfo", "model name without\nmodel name : An abacus of very many beads\n");
    cpu_host_name_below(root_of(state), name, sizeof name);
    assert_string_equal(name, "An abacus of very many ");
    cpu_host_name(name, sizeof name);
    assert_true(name[0] != '\0' && strchr(name, '\n') == NULL);
}

/* ---- Regions ---- */

static void regions_are_zeroed_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, (4 << 20) - 1, 4 << 20, (4 << 20) + 1};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct cpu_region region;
        assert_int_equal(cpu_region_create(&region, sizes[i], "a test"), STATUS_OK);
        assert_non_null(region.data);
        assert_int_equal(region.bytes, sizes[i]);
        assert_int_equal((uintptr_t)region.data % 64, 0);
        unsigned char *bytes = region.data;
        for (size_t j = 0; j < sizes[i]; j += j < 128 || j + 128 > sizes[i] ? 1 : 61) {
            assert_int_equal(bytes[j], 0);
            bytes[j] = 1;
        }
        cpu_region_destroy(&region);
        assert_null(region.data);
        assert_int_equal(region.bytes, 0);
    }
}

static void regions_grow(void **state)
{
    (void)state;
    struct cpu_region region = {0};
    assert_int_equal(cpu_region_grow(&region, 100, "a test"), STATUS_OK);
    ((char *)region.data)[99] = 7;
    void *before = region.data;
    assert_int_equal(cpu_region_grow(&region, 100, "a test"), STATUS_OK);
    assert_int_equal(cpu_region_grow(&region, 50, "a test"), STATUS_OK);
    assert_ptr_equal(region.data, before); /* there is enough */
    assert_int_equal(((char *)region.data)[99], 7);
    assert_int_equal(region.bytes, 100);
    assert_int_equal(cpu_region_grow(&region, 101, "a test"), STATUS_OK);
    assert_int_equal(region.bytes, 101);
    assert_int_equal(((char *)region.data)[99], 0);
    cpu_region_destroy(&region);
    assert_int_equal(cpu_region_grow(&region, 0, "a test"), STATUS_OK);
    assert_non_null(region.data);
    cpu_region_destroy(&region);
}

static void regions_too_large(void **state)
{
    (void)state;
    struct cpu_region region;
    assert_int_equal(cpu_region_create(&region, SIZE_MAX / 2 + 1, "a test"), STATUS_NO_MEMORY);
    assert_string_equal(status_message(), "a test: out of memory for 9223372036854775808 bytes");
    assert_null(region.data);
    assert_int_equal(cpu_region_create(&region, SIZE_MAX / 2, "a test"), STATUS_NO_MEMORY);
    assert_non_null(strstr(status_message(), "a test: 8589934592.0 GiB of host memory, "));
    int64_t total, free_bytes;
    assert_int_equal(cpu_host_memory(&total, &free_bytes), STATUS_OK);
    assert_int_equal(cpu_region_create(&region, (size_t)total + 1, "a test"), STATUS_NO_MEMORY);
}

static void sizes_are_multiplied(void **state)
{
    (void)state;
    size_t bytes = 5;
    assert_int_equal(cpu_size(&bytes, "x", 0), STATUS_OK);
    assert_int_equal(bytes, 1);
    assert_int_equal(cpu_size(&bytes, "x", 3, (size_t)3, (size_t)5, (size_t)7), STATUS_OK);
    assert_int_equal(bytes, 105);
    assert_int_equal(cpu_size(&bytes, "x", 1, (size_t)INT64_MAX), STATUS_OK);
    assert_true(bytes == (size_t)INT64_MAX);
    assert_int_equal(cpu_size(&bytes, "x", 1, (size_t)INT64_MAX + 1), STATUS_LIMIT);
    assert_string_equal(status_message(), "x: more bytes than can be addressed");
    assert_int_equal(cpu_size(&bytes, "x", 3, (size_t)1 << 32, (size_t)1 << 32, (size_t)1),
                     STATUS_LIMIT);
    assert_int_equal(cpu_size(&bytes, "x", 3, (size_t)1 << 33, (size_t)1 << 33, (size_t)0),
                     STATUS_LIMIT);          /* also where nothing comes of it */
    assert_true(bytes == (size_t)INT64_MAX); /* as it was */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory_without_groups, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(memory_of_unified_groups, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(memory_of_separate_groups, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(processors_are_shared, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(quotas, scratch_create, scratch_destroy),
        cmocka_unit_test(threads_as_the_environment_says),
        cmocka_unit_test_setup_teardown(names, scratch_create, scratch_destroy),
        cmocka_unit_test(regions_are_zeroed_and_aligned),
        cmocka_unit_test(regions_grow),
        cmocka_unit_test(regions_too_large),
        cmocka_unit_test(sizes_are_multiplied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
