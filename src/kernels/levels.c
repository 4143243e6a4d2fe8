/* levels.c: the levels, lowest first; each replaces the kernels that it improves. */
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "kernels_impl.h"

#define N_LEVELS 4

static const char *const level_names[N_LEVELS] = {"ref", "avx2", "avx512", "amx"};

#ifdef __x86_64__
static bool has_amx(void)
{
    enum { AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 }; /* bits of edx, cpuid leaf 7 */
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & AMX_TILE) != 0 &&
           (d & AMX_INT8) != 0 && bal_amx_allowed();
}
#endif

bal_isa bal_isa_best(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        return has_amx() ? BAL_ISA_AMX : BAL_ISA_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return BAL_ISA_AVX2;
#endif
    return BAL_ISA_REF;
}

const bal_kernels *bal_kernels_at(bal_isa isa)
{
    static bal_kernels levels[N_LEVELS];
    bal_kernels *kernels = &levels[isa];
    if (kernels->name != NULL) return kernels;
    bal_panel_add_ref(kernels);
    bal_lanes_add_ref(kernels);
    bal_votes_add_ref(kernels);
    bal_planes_add_ref(kernels);
#ifdef __x86_64__
    if (isa >= BAL_ISA_AVX2) {
        bal_panel_add_avx2(kernels);
        bal_lanes_add_avx2(kernels);
        bal_votes_add_avx2(kernels);
        bal_planes_add_avx2(kernels);
    }
    if (isa >= BAL_ISA_AVX512) {
        bal_panel_add_avx512(kernels);
        bal_lanes_add_avx512(kernels);
        bal_votes_add_avx512(kernels);
        bal_planes_add_avx512(kernels);
    }
    if (isa >= BAL_ISA_AMX) bal_panel_add_amx(kernels);
#endif
    kernels->name = level_names[isa];
    return kernels;
}

bool bal_isa_parse(const char *name, bal_isa *isa)
{
    for (int level = 0; level < N_LEVELS; ++level)
        if (strcmp(name, level_names[level]) == 0) {
            *isa = (bal_isa)level;
            return true;
        }
    return false;
}
