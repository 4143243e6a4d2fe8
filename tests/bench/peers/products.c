/* products.c: matrix products as a user would get them from a library, on one thread.
 * OpenBLAS sgemm and oneDNN int8 matmul (weights in the library's own layout, converted before),
 * with int32 results, and with float results under one scale per output channel.
 * Usage: peer_products [--isa avx512] [--rounds N]; prints one JSON object. avx512 keeps oneDNN to
 * VNNI, as ballot's level of that name; without it oneDNN takes the best there is, AMX included. */
#include <cblas.h>
#include <dnnl.h>
#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_ROUNDS 101
#define MIN_SAMPLE_S 2e-3 /* a timing repeats small products until it lasts so long */
#define TRY(dnnl_call) try_dnnl(dnnl_call, #dnnl_call)
#define N_OF(array) (int)(sizeof(array) / sizeof *(array))
#define WEIGHT_SCALE(n) (0.001f * (float)(1 + (n) % 7))

static const int tokens[] = {16, 64, 256, 1024};
static const int shapes[][2] = {/* outputs, inputs; the first three are a model's of width 768 */
                                {768, 768},
                                {2048, 768},
                                {768, 2048},
                                {2048, 2048},
                                {4096, 4096}};
enum { MAX_TOKENS = 1024, MAX_SIDE = 4096 };

static const struct kind {
    const char *library, *types;
    dnnl_data_type_t src, dst; /* of oneDNN */
} kinds[] = {{"openblas", "f32 f32 f32", dnnl_data_type_undef, dnnl_data_type_undef},
             {"onednn", "u8 s8 s32", dnnl_u8, dnnl_s32},
             {"onednn", "s8 s8 s32", dnnl_s8, dnnl_s32},
             {"onednn", "u8 s8 f32", dnnl_u8, dnnl_f32},
             {"onednn", "s8 s8 f32", dnnl_s8, dnnl_f32}};

struct product {
    const struct kind *kind;
    int m, n, k, repeats;
    dnnl_primitive_t primitive; /* NULL: sgemm */
    dnnl_memory_t src, weights, dst;
    char implementation[64];
    double gops[MAX_ROUNDS];
};

/* Shared by all products: x [m, k] and w [n, k], the same small integers in every type. */
static int8_t *x_i8, *w_i8; /* x is never negative: the same bytes serve as u8 */
static float *x_f32, *w_f32;
static void *y;

static void try_dnnl(dnnl_status_t status, const char *call)
{
    if (status == dnnl_success) return;
    fprintf(stderr, "peer_products: oneDNN refused %s (status %d)\n", call, (int)status);
    exit(1);
}

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL) {
        fprintf(stderr, "peer_products: no memory for %zu bytes\n", bytes);
        exit(4);
    }
    return memory;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fill(int8_t *i8, float *f32, size_t n, int low, int high)
{
    static uint64_t state = 1;
    for (size_t i = 0; i < n; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        i8[i] = (int8_t)(low + (int)((state >> 33) % (uint64_t)(high - low + 1)));
        f32[i] = (float)i8[i];
    }
}

static void plan(struct product *p, dnnl_engine_t engine, dnnl_stream_t stream)
{
    dnnl_dims_t src_dims = {p->m, p->k}, weight_dims = {p->k, p->n}, dst_dims = {p->m, p->n};
    dnnl_memory_desc_t src, plain, best, dst;
    TRY(dnnl_memory_desc_init_by_tag(&src, 2, src_dims, p->kind->src, dnnl_ab));
    TRY(dnnl_memory_desc_init_by_tag(&plain, 2, weight_dims, dnnl_s8, dnnl_ba)); /* w is [n, k] */
    TRY(dnnl_memory_desc_init_by_tag(&best, 2, weight_dims, dnnl_s8, dnnl_format_tag_any));
    TRY(dnnl_memory_desc_init_by_tag(&dst, 2, dst_dims, p->kind->dst, dnnl_ab));

    dnnl_primitive_attr_t attributes;
    TRY(dnnl_primitive_attr_create(&attributes));
    if (p->kind->dst == dnnl_f32) {
        float scales[MAX_SIDE];
        for (int n = 0; n < p->n; ++n) scales[n] = WEIGHT_SCALE(n);
        TRY(dnnl_primitive_attr_set_output_scales(attributes, p->n, 1 << 1, scales));
    }
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_desc_t described;
    const char *name = "";
    TRY(dnnl_matmul_desc_init(&matmul, &src, &best, NULL, &dst));
    TRY(dnnl_primitive_desc_create(&described, &matmul, attributes, engine, NULL));
    TRY(dnnl_primitive_desc_query(described, dnnl_query_impl_info_str, 0, &name));
    snprintf(p->implementation, sizeof p->implementation, "%s", name);
    TRY(dnnl_primitive_create(&p->primitive, described));

    dnnl_memory_t given;
    dnnl_primitive_desc_t reorder_described;
    dnnl_primitive_t reorder;
    best = *dnnl_primitive_desc_query_md(described, dnnl_query_weights_md, 0);
    TRY(dnnl_memory_create(&given, &plain, engine, w_i8));
    TRY(dnnl_memory_create(&p->weights, &best, engine, DNNL_MEMORY_ALLOCATE));
    TRY(dnnl_reorder_primitive_desc_create(&reorder_described, &plain, engine, &best, engine,
                                           NULL));
    TRY(dnnl_primitive_create(&reorder, reorder_described));
    TRY(dnnl_primitive_execute(
        reorder, stream, 2,
        (dnnl_exec_arg_t[]){{DNNL_ARG_FROM, given}, {DNNL_ARG_TO, p->weights}}));
    TRY(dnnl_stream_wait(stream));
    TRY(dnnl_memory_create(&p->src, &src, engine, x_i8));
    TRY(dnnl_memory_create(&p->dst, &dst, engine, y));
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(reorder_described);
    dnnl_memory_destroy(given);
    dnnl_primitive_desc_destroy(described);
    dnnl_primitive_attr_destroy(attributes);
}

static void multiply(const struct product *p, dnnl_stream_t stream)
{
    if (p->primitive == NULL) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, p->m, p->n, p->k, 1.0f, x_f32, p->k,
                    w_f32, p->k, 0.0f, y, p->n);
        return;
    }
    TRY(dnnl_primitive_execute(
        p->primitive, stream, 3,
        (dnnl_exec_arg_t[]){
            {DNNL_ARG_SRC, p->src}, {DNNL_ARG_WEIGHTS, p->weights}, {DNNL_ARG_DST, p->dst}}));
    TRY(dnnl_stream_wait(stream));
}

/* A fast wrong answer is no peer: compare some results with plain C. */
static bool is_right(const struct product *p)
{
    for (int i = 0; i < 17; ++i) {
        int row = i * (p->m - 1) / 16, n = (i * 7919) % p->n;
        int32_t sum = 0;
        for (int k = 0; k < p->k; ++k) sum += x_i8[row * p->k + k] * w_i8[n * p->k + k];
        size_t at = (size_t)row * (size_t)p->n + (size_t)n;
        double found =
            p->kind->dst == dnnl_s32 ? (double)((int32_t *)y)[at] : (double)((float *)y)[at];
        double scale = p->kind->dst == dnnl_f32 ? WEIGHT_SCALE(n) : 1.0;
        double off = found - scale * sum; /* float sums of these integers are exact below 2^24 */
        if (off > 1e-6 * scale * abs(sum) || -off > 1e-6 * scale * abs(sum)) return false;
    }
    return true;
}

static double seconds_of(const struct product *p, int repeats, dnnl_stream_t stream)
{
    double start = now();
    for (int i = 0; i < repeats; ++i) multiply(p, stream);
    return (now() - start) / repeats;
}

static int by_size(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

int main(int argc, char **argv)
{
    const char *isa = "best";
    int rounds = 7;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--isa") == 0 && strcmp(value, "avx512") == 0)
            isa = value;
        else if (strcmp(argv[i], "--rounds") == 0 && atoi(value) >= 1 && atoi(value) <= MAX_ROUNDS)
            rounds = atoi(value);
        else {
            fprintf(stderr,
                    "peer_products: unknown %s %s; usage: peer_products [--isa avx512] "
                    "[--rounds 1..%d]\n",
                    argv[i], value, MAX_ROUNDS);
            return 2;
        }
    }
    if (strcmp(isa, "avx512") == 0) TRY(dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_vnni));
    omp_set_num_threads(1);
    openblas_set_num_threads(1);

    const size_t n_x = (size_t)MAX_TOKENS * MAX_SIDE, n_w = (size_t)MAX_SIDE * MAX_SIDE;
    x_i8 = allocate(n_x), x_f32 = allocate(n_x * sizeof(float));
    w_i8 = allocate(n_w), w_f32 = allocate(n_w * sizeof(float));
    y = allocate(n_x * sizeof(float));
    fill(x_i8, x_f32, n_x, 0, 15);
    fill(w_i8, w_f32, n_w, -120, 120);

    dnnl_engine_t engine;
    dnnl_stream_t stream;
    TRY(dnnl_engine_create(&engine, dnnl_cpu, 0));
    TRY(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    static struct product products[N_OF(kinds) * N_OF(shapes) * N_OF(tokens)];
    int n_products = 0;
    for (int s = 0; s < N_OF(shapes); ++s)
        for (int t = 0; t < N_OF(tokens); ++t)
            for (int i = 0; i < N_OF(kinds); ++i) {
                struct product *p = &products[n_products++];
                p->kind = &kinds[i], p->m = tokens[t], p->n = shapes[s][0], p->k = shapes[s][1];
                if (p->kind->src == dnnl_data_type_undef)
                    snprintf(p->implementation, sizeof p->implementation, "%s",
                             openblas_get_corename());
                else
                    plan(p, engine, stream);
                multiply(p, stream);
                if (!is_right(p)) {
                    fprintf(stderr, "peer_products: %s %s: wrong result at %d x %d x %d\n",
                            p->kind->library, p->kind->types, p->m, p->n, p->k);
                    return 1;
                }
                p->repeats = 1 + (int)(MIN_SAMPLE_S / seconds_of(p, 1, stream));
            }
    for (int round = 0; round < rounds; ++round) /* interleaved: a slow second hits all alike */
        for (int i = 0; i < n_products; ++i) {
            struct product *p = &products[i];
            double op = 2.0 * p->m * p->n * p->k;
            p->gops[round] = 1e-9 * op / seconds_of(p, p->repeats, stream);
        }

    const dnnl_version_t *version = dnnl_version();
    printf(
        "{\"isa\": \"%s\", \"onednn\": \"%d.%d.%d\", \"openblas\": \"%s\", \"rounds\": %d,\n"
        " \"products\": [",
        isa, version->major, version->minor, version->patch, openblas_get_config(), rounds);
    for (int i = 0; i < n_products; ++i) {
        struct product *p = &products[i];
        qsort(p->gops, (size_t)rounds, sizeof *p->gops, by_size);
        printf(
            "%s\n  {\"library\": \"%s\", \"types\": \"%s\", \"m\": %d, \"n\": %d, \"k\": %d, "
            "\"gops\": %.2f, \"implementation\": \"%s\"}",
            i ? "," : "", p->kind->library, p->kind->types, p->m, p->n, p->k, p->gops[rounds / 2],
            p->implementation);
    }
    printf("\n ]}\n");
    return fflush(stdout) == 0 ? 0 : 1;
}
