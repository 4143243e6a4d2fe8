/* core_memory.c: allocation that overflow cannot fool; the hash that stands in files. */
#include <stdlib.h>
#include <sys/utsname.h>

#include "ballot/core.h"
#include "suite.h"

static void test_memory_is_zeroed_and_aligned(void)
{
    static const size_t counts[] = {0, 1, 63, 64, 65, 1000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; ++i)
        for (size_t bytes = 1; bytes <= 8; bytes *= 2) {
            uint8_t *memory = bal_alloc(counts[i], bytes);
            CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
            CU_ASSERT_EQUAL((uintptr_t)memory % 64, 0);
            for (size_t at = 0; at < counts[i] * bytes; ++at) {
                CU_ASSERT_EQUAL(memory[at], 0);
                memory[at] = 0xAA; /* what the next allocation may be given again */
            }
            free(memory);
        }
}

static void test_sizes_that_overflow_are_refused(void)
{
    /* volatile: the compiler shall not warn of the sizes that it can see through */
    volatile size_t bad[][2] = {{SIZE_MAX, 2},
                                {SIZE_MAX / 2 + 1, 2}, /* the product is 0 */
                                {SIZE_MAX / 8 + 2, 8}, /* the product is 8 */
                                {SIZE_MAX, 1},         /* rounding up to 64 would overflow */
                                {SIZE_MAX - 62, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i)
        CU_ASSERT_PTR_NULL(bal_alloc(bad[i][0], bad[i][1]));
}

static void test_the_hash_is_xxh3_64(void)
{
    /* bytes i * i + 7 * i modulo 256, by python-xxhash 3: xxh3_64_intdigest(bytes, seed) */
    static const struct {
        size_t n_bytes;
        uint64_t hash, seeded; /* seed 0, and 0x9e3779b97f4a7c15 */
    } known[] = {
        {0, 0x2d06800538d394c2u, 0x602b0e2cd6662c8bu},
        {1, 0xc44bdff4074eecdbu, 0x062b185e4e01441au},
        {4, 0xe8dbf7d35c51ddeeu, 0x6bd4c610db437ecfu},
        {16, 0x1568bb66fcc8bd6du, 0xb125df51bc1be5dau},
        {17, 0x0eb03e0421a17545u, 0x24d359f82539239eu},
        {240, 0x8e126d39279542b5u, 0xd8b5e1a6c4c79078u},
        {241, 0x2d6873b128d3f478u, 0x913b1be6bb897720u},
        {2000, 0x4d28d4a449634f90u, 0xbf088faffa429dc6u},
    };
    uint8_t bytes[2000];
    for (unsigned i = 0; i < sizeof bytes; ++i) bytes[i] = (uint8_t)(i * i + 7 * i);
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i) {
        CU_ASSERT_EQUAL(bal_hash(bytes, known[i].n_bytes, 0), known[i].hash);
        CU_ASSERT_EQUAL(bal_hash(bytes, known[i].n_bytes, 0x9e3779b97f4a7c15u), known[i].seeded);
    }
}

static void test_the_clock_does_not_go_back(void)
{
    double last = bal_seconds();
    for (int i = 0; i < 1000; ++i) {
        double now = bal_seconds();
        CU_ASSERT(now >= last);
        last = now;
    }
}

static void test_the_median_is_in_the_middle(void)
{
    double odd[] = {5, -1, 3, 100, 2}, even[] = {4, 1, 3, 2}, one[] = {7};
    CU_ASSERT_EQUAL(bal_median(odd, 5), 3);
    CU_ASSERT_EQUAL(bal_median(even, 4), 3); /* the upper of the two */
    CU_ASSERT_EQUAL(bal_median(one, 1), 7);
}

static void test_the_machine_has_its_name(void)
{
    struct utsname system;
    char name[BAL_HOST_BYTES];
    CU_ASSERT_EQUAL_FATAL(uname(&system), 0);
    bal_host_name(name);
    CU_ASSERT_STRING_EQUAL(name, system.nodename[0] != 0 ? system.nodename : "unknown");
}

static void test_the_peak_remembers_what_was_there(void)
{
    enum { N_BYTES = 64 << 20 };
    int64_t before = bal_memory_peak(), rss, pss;
    if (!bal_memory_resident(&rss, &pss)) return; /* the system does not say */
    free(bal_alloc(N_BYTES, 1));
    CU_ASSERT(bal_memory_peak() >= before + N_BYTES - (rss - pss) - (8 << 20));
}

const char bal_suite_name[] = "core_memory";
const bal_test bal_suite_tests[] = {
    {"memory is zeroed and aligned", test_memory_is_zeroed_and_aligned},
    {"sizes that overflow are refused", test_sizes_that_overflow_are_refused},
    {"the hash is XXH3-64", test_the_hash_is_xxh3_64},
    {"the clock does not go back", test_the_clock_does_not_go_back},
    {"the median is in the middle", test_the_median_is_in_the_middle},
    {"the machine has its name", test_the_machine_has_its_name},
    {"the peak of memory remembers what was there", test_the_peak_remembers_what_was_there},
    {NULL, NULL},
};
