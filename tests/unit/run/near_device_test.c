/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of the NUMA node that a rank runs on, with a sysfs of the test's own. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "run/ranks/near_device.h"

static char sys[64];

static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

static void write_text(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", sys, name);
    make_folders(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int make_sys(void **state)
{
    (void)state;
    snprintf(sys, sizeof sys, "/tmp/sluice_near.XXXXXX");
    return mkdtemp(sys) == NULL;
}

static int remove_sys(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", sys);
    return system(command);
}

static void device_node_is_that_of_its_address(void **state)
{
    (void)state;
    write_text("bus/pci/devices/0000:1b:00.0/numa_node", "1\n");
    write_text("bus/pci/devices/0000:2b:00.0/numa_node", "-1\n");
    write_text("bus/pci/devices/0000:3b:00.0/numa_node", "x\n");
    assert_int_equal(near_device_node(sys, "0000:1B:00.0"), 1); /* as CUDA writes it */
    assert_int_equal(near_device_node(sys, "0000:1b:00.0"), 1);
    assert_int_equal(near_device_node(sys, "0000:2b:00.0"), NEAR_ANYWHERE);
    assert_int_equal(near_device_node(sys, "0000:3b:00.0"), NEAR_ANYWHERE);
    assert_int_equal(near_device_node(sys, "0000:4b:00.0"), NEAR_ANYWHERE);
    char longest[600];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(near_device_node(sys, longest), NEAR_ANYWHERE);
}

/* One processor that this thread may use, and one that is none. */
static int first_allowed(void)
{
    cpu_set_t own;
    assert_int_equal(sched_getaffinity(0, sizeof own, &own), 0);
    int processor = 0;
    while (!CPU_ISSET(processor, &own)) {
        processor++;
    }
    return processor;
}

static void own_node_is_the_one_with_allowed_processors(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    const int own = first_allowed();
    char list[64];
    assert_int_equal(near_own_node(sys), NEAR_ANYWHERE); /* nothing is known */
    CPU_ZERO(&one);
    CPU_SET(own, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    write_text("devices/system/node/online", "0,2\n");
    write_text("devices/system/node/node0/cpulist", "1000-1001\n");
    snprintf(list, sizeof list, "%d,1002-1003\n", own);
    write_text("devices/system/node/node2/cpulist", list);
    assert_int_equal(near_own_node(sys), 2);
    write_text("devices/system/node/node0/cpulist", list); /* it may run on either */
    assert_int_equal(near_own_node(sys), NEAR_ANYWHERE);
    static const char *const wrong[] = {"", "a", "3-", "3-1", "-2", "0-99999", "1;2"};
    write_text("devices/system/node/online", "2\n");
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        write_text("devices/system/node/node2/cpulist", wrong[i]);
        assert_int_equal(near_own_node(sys), NEAR_ANYWHERE);
    }
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void staying_narrows_to_the_nodes_processors(void **state)
{
    (void)state;
    cpu_set_t before, now;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    const int own = first_allowed();
    char list[64];
    snprintf(list, sizeof list, "%d\n", own);
    write_text("devices/system/node/node1/cpulist", list);
    write_text("devices/system/node/node3/cpulist", "1023\n");
    assert_false(near_stay(sys, NEAR_ANYWHERE));
    assert_false(near_stay(sys, 3)); /* none of it may be used */
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_true(CPU_EQUAL(&before, &now));
    assert_true(near_stay(sys, 1));
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_int_equal(CPU_COUNT(&now), 1);
    assert_true(CPU_ISSET(own, &now));
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void each_rank_takes_a_device_of_its_node(void **state)
{
    (void)state;
    enum { A = NEAR_ANYWHERE };
    static const struct {
        int ranks, rank_nodes[4], devices, device_nodes[4], wanted[4];
    } cases[] = {
        {4, {A, A, A, A}, 4, {0, 0, 1, 1}, {0, 1, 2, 3}}, /* nothing binds them */
        {4, {1, 1, 0, 0}, 4, {0, 0, 1, 1}, {2, 3, 0, 1}},
        {4, {0, 1, 0, 1}, 4, {0, 0, 1, 1}, {0, 2, 1, 3}},
        {4, {A, 0, A, 1}, 4, {0, 0, 1, 1}, {1, 0, 3, 2}},
        {2, {1, 1}, 4, {0, 0, 1, 1}, {2, 3}},
        {3, {1, 1, 1}, 4, {0, 0, 1, 1}, {2, 3, 0}}, /* more than the node has */
        {2, {0, 1}, 2, {A, A}, {0, 1}},             /* devices that tell nothing */
        {4, {1, 1, 0, 0}, 2, {0, 1}, {0, 1, 0, 1}}, /* shared: in order */
        {2, {1, 0}, 1, {0}, {0, 0}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int got[4];
        near_devices_assign(cases[i].rank_nodes, cases[i].ranks, cases[i].device_nodes,
                            cases[i].devices, got);
        assert_memory_equal(got, cases[i].wanted, (size_t)cases[i].ranks * sizeof *got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(device_node_is_that_of_its_address, make_sys, remove_sys),
        cmocka_unit_test_setup_teardown(own_node_is_the_one_with_allowed_processors, make_sys,
                                        remove_sys),
        cmocka_unit_test_setup_teardown(staying_narrows_to_the_nodes_processors, make_sys,
                                        remove_sys),
        cmocka_unit_test(each_rank_takes_a_device_of_its_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
