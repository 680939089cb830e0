/* SPDX-License-Identifier: Apache-2.0 */
/* How AddressSanitizer runs in programs that are built with it.
 *
 * It reads the sizes of thread-local blocks from what lies before them, by the layout that an
 * allocator of its own would leave. Before a library's block lies another library's data, which by
 * chance looks like a size; the search for leaks then reads wherever that leads, and crashes. What
 * such blocks alone point at counts as leaked without this. */

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "intercept_tls_get_addr=0";
}
