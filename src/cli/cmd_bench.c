/* cmd_bench.c: ballot bench */
#include <stdlib.h>
#include <string.h>

#include "ballot/bench.h"
#include "cli_impl.h"

enum { KEY_TOKENS = 256, KEY_CONTEXT, KEY_SHARE, KEY_PRODUCT };

typedef struct arguments {
    bal_common common;
    const char *shape;
    bal_model_config config;
    int64_t n_tokens, context;
    bool share;
    const char *of_shape; /* an option that was given and belongs to --shape */
    int64_t product[3];   /* m, n, k of the one product to measure; or zeros: the table */
} arguments;

static const struct argp_option options[] = {
    {"shape", 'm', "NAME", 0, "a whole step of a model of that shape: opt-125m, llama-1b, llama-7b",
     0},
    {"tokens", KEY_TOKENS, "N", 0, "tokens per probe of --shape (default: 512)", 0},
    {"context", KEY_CONTEXT, "N", 0, "tokens per sequence of --shape (default: 128)", 0},
    {"product", KEY_PRODUCT, "M,N,K", 0, "one product alone: M tokens by [N, K] codes", 0},
    {"share", KEY_SHARE, "node|rank", 0, "one model per node or per rank (default: node)", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'm':
            if (!bal_bench_shape(arg, &a->config))
                argp_error(state, "--shape=%s: expected opt-125m, llama-1b or llama-7b", arg);
            a->shape = arg;
            return 0;
        case KEY_TOKENS:
            a->n_tokens = bal_take_int(state, a->of_shape = "tokens", arg, 1, 1048576);
            return 0;
        case KEY_CONTEXT:
            a->context = bal_take_int(state, a->of_shape = "context", arg, 1, 1048576);
            return 0;
        case KEY_SHARE:
            if (strcmp(arg, "node") != 0 && strcmp(arg, "rank") != 0)
                argp_error(state, "--share=%s: expected node or rank", arg);
            a->of_shape = "share";
            a->share = arg[0] == 'n';
            return 0;
        case KEY_PRODUCT: {
            long long m, n, k;
            char more;
            if (sscanf(arg, "%lld,%lld,%lld%c", &m, &n, &k, &more) != 3 || m < 1 || n < 1 ||
                k < 1 || m > 65536 || n > 65536 || k > BAL_COLS_MAX)
                argp_error(state, "--product=%s: expected M,N,K, each from 1 to 65536", arg);
            memcpy(a->product, (int64_t[]){m, n, k}, sizeof a->product);
            return 0;
        }
        case ARGP_KEY_END:
            if (a->shape != NULL && a->product[0] != 0)
                argp_error(state, "--shape and --product: expected one of them");
            if (a->shape == NULL && a->of_shape != NULL)
                argp_error(state, "--%s is of a step: give --shape as well", a->of_shape);
            if (a->shape != NULL &&
                (a->n_tokens % a->context != 0 || a->context > a->config.max_tokens))
                argp_error(state,
                           "%lld tokens in sequences of %lld; expected a multiple of the context, "
                           "which is at most %lld",
                           (long long)a->n_tokens, (long long)a->context,
                           (long long)a->config.max_tokens);
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static bal_status bench_shape(bal_context *context, const arguments *a)
{
    bal_bench_step step;
    int n_ranks = bal_comm_size(context->comm);
    double ballot = 0.0;
    BAL_TRY(bal_bench_steps(context->comm, a->common.machine.kernels, &a->config,
                            a->n_tokens / a->context, a->context, a->share, &step));
    BAL_TRY(bal_bench_ballot(context->comm, 256, &ballot));
    double probes = n_ranks / step.probe_seconds, clock = bal_bench_clock();
    double cycles = step.update_seconds * clock / (double)step.n_codes;
    double peak = bal_bench_peak(a->common.machine.kernels);
    if (a->common.json)
        return bal_print_json(
            context,
            json_pack("{s:s, s:s, s:i, s:b, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
                      "s:f, s:f, s:I, s:I}",
                      "shape", a->shape, "isa", a->common.machine.kernels->name, "ranks", n_ranks,
                      "shared", step.shared, "codes", (json_int_t)step.n_codes, "tokens",
                      (json_int_t)a->n_tokens, "sequences", (json_int_t)(a->n_tokens / a->context),
                      "probes_per_second", probes, "seconds_per_probe", step.probe_seconds,
                      "share_products", step.share_products, "share_moves", step.share_moves,
                      "share_of_peak", step.share_of_peak, "pair_ratio", step.pair_ratio,
                      "team_ratio", step.team_ratio, "update_seconds", step.update_seconds,
                      "update_cycles_per_code", cycles, "ballot_seconds", ballot, "model_bytes",
                      (json_int_t)step.model_bytes, "pss_bytes", (json_int_t)step.pss_bytes));
    if (!context->prints) return BAL_OK;
    printf("%s: %.1f M codes, %d rank%s, %s, kernels %s, %lld x %lld tokens per probe\n", a->shape,
           1e-6 * (double)step.n_codes, n_ranks, n_ranks == 1 ? "" : "s",
           n_ranks == 1  ? "one model"
           : step.shared ? "one model per node"
                         : "a model per rank",
           a->common.machine.kernels->name, (long long)(a->n_tokens / a->context),
           (long long)a->context);
    printf("probe      %10.4f s on each rank, %.2f per second in all\n", step.probe_seconds,
           probes);
    printf(
        "           %9.1f %% in products, %.1f %% in moving codes; %.1f %% of the peak of %.0f "
        "Gop/s\n",
        100.0 * step.share_products, 100.0 * step.share_moves, 100.0 * step.share_of_peak,
        1e-9 * peak);
    printf("           %9.3f of two passes at the codes alone; one-sided, %.3f of that per slot\n",
           step.pair_ratio, step.team_ratio / 2.0);
    printf("update     %10.4f s by 256 votes, %.2f cycles per code at %.2f GHz\n",
           step.update_seconds, cycles, 1e-9 * clock);
    printf("ballot     %10.1f us for 256 votes\n", 1e6 * ballot);
    printf("memory     %10.1f MiB a copy of codes, carries and scales",
           (double)step.model_bytes / 1048576.0);
    if (step.pss_bytes >= 0)
        printf("; %.1f MiB resident in all (PSS)", (double)step.pss_bytes / 1048576.0);
    printf("\n");
    return BAL_OK;
}

static const char *const format_names[] = {"i8", "i4", "nf4"};

/* Measure a product in all formats, print it or add it to rows. */
static bal_status bench_product(const arguments *a, bool prints, int64_t m, int64_t n, int64_t k,
                                json_t *rows)
{
    const bal_kernels *kernels = a->common.machine.kernels;
    bal_bench_product p[3];
    BAL_TRY(bal_bench_products(kernels, m, n, k, p));
    for (int f = 0; f < 3; ++f) {
        if (prints)
            printf("%5lld %5lld %5lld %4s %9.0f %6.1f %% %15.3f %9.3f\n", (long long)m,
                   (long long)n, (long long)k, format_names[f], p[f].gops, 100.0 * p[f].share,
                   p[f].pair_ratio, p[f].i8_ratio);
        json_array_append_new(
            rows, json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "isa", kernels->name,
                            "format", format_names[f], "m", (json_int_t)m, "n", (json_int_t)n, "k",
                            (json_int_t)k, "gops", p[f].gops, "share_of_peak", p[f].share,
                            "pair_ratio", p[f].pair_ratio, "i8_ratio", p[f].i8_ratio));
    }
    if (prints) fflush(stdout);
    return BAL_OK;
}

static bal_status bench_products(const arguments *a, bool prints, json_t *rows)
{
    static const int64_t shapes[][2] = {
        {768, 768}, {2048, 768}, {768, 2048}, {2048, 2048}, {4096, 4096}};
    static const int64_t tokens[] = {16, 64, 256, 1024};
    if (prints)
        printf("%5s %5s %5s %4s %9s %8s %15s %9s\n", "m", "n", "k", "code", "Gop/s", "of peak",
               "pair / 2 plain", "pair / i8");
    if (a->product[0] != 0)
        return bench_product(a, prints, a->product[0], a->product[1], a->product[2], rows);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; ++s)
        for (size_t t = 0; t < sizeof tokens / sizeof *tokens; ++t)
            BAL_TRY(bench_product(a, prints, tokens[t], shapes[s][0], shapes[s][1], rows));
    return BAL_OK;
}

/* What is not a product: the update and the ballot. */
static bal_status bench_rest(bal_context *context, const arguments *a, double clock, json_t *object)
{
    const bal_kernels *kernels = a->common.machine.kernels;
    bal_bench_update near, far;
    double ballot = 0.0;
    int n_ranks = bal_comm_size(context->comm);
    bal_status status = bal_bench_updates(kernels, 1 << 20, &near);
    if (status == BAL_OK) status = bal_bench_updates(kernels, 1 << 26, &far);
    BAL_TRY(bal_comm_agree(context->comm, status));
    BAL_TRY(bal_bench_ballot(context->comm, 256, &ballot));
    double cached = near.walsh_seconds / (double)near.n_codes;
    double walsh = far.walsh_seconds / (double)far.n_codes;
    double ones = far.independent_seconds / (double)far.n_codes;
    double wide = far.wide_seconds / (double)far.n_codes;
    double weighted = far.weighted_seconds / (double)far.n_codes;
    json_object_set_new(
        object, "update",
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "cycles_per_code", walsh * clock,
                  "ns_per_code", 1e9 * walsh, "cycles_per_code_cached", cached * clock,
                  "cycles_per_code_independent", ones * clock, "cycles_per_code_wide", wide * clock,
                  "ns_per_code_wide", 1e9 * wide, "cycles_per_code_wide_8_bits", weighted * clock));
    json_object_set_new(object, "ballot",
                        json_pack("{s:f, s:i}", "seconds_per_allreduce", ballot, "ranks", n_ranks));
    if (a->common.json || !context->prints) return BAL_OK;
    printf(
        "update by 256 votes, cycles per code: walsh %.2f (%.2f with %lld codes), "
        "independent %.2f\n",
        walsh * clock, cached * clock, (long long)near.n_codes, ones * clock);
    printf("update by 65,536 votes, cycles per code: %.2f; of 8 bits %.2f\n", wide * clock,
           weighted * clock);
    printf("ballot of 256 votes over %d rank%s: %.1f us\n", n_ranks, n_ranks == 1 ? "" : "s",
           1e6 * ballot);
    return BAL_OK;
}

static bal_status bench_parts(bal_context *context, const arguments *a)
{
    double clock = bal_bench_clock();
    bool prints = context->prints && !a->common.json;
    json_t *peaks = json_object(), *rows = json_array();
    if (prints) printf("clock %.2f GHz\n", 1e-9 * clock);
    int lowest =
        a->common.machine.kernels == bal_kernels_at(BAL_ISA_REF) ? BAL_ISA_REF : BAL_ISA_AVX2;
    for (int isa = lowest; isa <= (int)bal_isa_best(); ++isa) {
        double peak = 1e-9 * bal_bench_peak(bal_kernels_at((bal_isa)isa));
        json_object_set_new(peaks, bal_kernels_at((bal_isa)isa)->name, json_real(peak));
        if (prints)
            printf("peak of %-7s %8.0f Gop/s, int8 dot products\n",
                   bal_kernels_at((bal_isa)isa)->name, peak);
    }
    json_t *object = json_pack("{s:f, s:o, s:o}", "clock_ghz", 1e-9 * clock, "peak_gops", peaks,
                               "products", rows);
    bal_status status = bal_comm_agree(context->comm, bench_products(a, prints, rows));
    if (status == BAL_OK && a->product[0] == 0) status = bench_rest(context, a, clock, object);
    if (status == BAL_OK && a->common.json) return bal_print_json(context, object);
    json_decref(object);
    return status;
}

bal_status bal_command_bench(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .doc =
            "Measure this machine: the peak rate of its dot products, products by shape and "
            "format, what moving codes adds to a pass, the update, the ballot; or, with "
            "--shape, a whole step.\v"
            "\"of peak\" is the plain pass, codes as they are; \"pair / 2 plain\" a pass at "
            "+ and one at -, random directions included, against two plain ones; \"pair / "
            "i8\" that pair against the pair of int8. Work of one rank is timed by its "
            "processor time, a step by the clock of its slowest rank. Without --shape every "
            "rank measures and rank 0 reports: with one rank per core, the rate of a busy "
            "machine.",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT, .n_tokens = 512, .context = 128, .share = true};
    bal_parse(context, &argp, "iJ", argc, argv, &a.common);
    BAL_TRY(bal_comm_agree(context->comm, bal_isa_check(&a.common)));
    return a.shape != NULL ? bench_shape(context, &a) : bench_parts(context, &a);
}
