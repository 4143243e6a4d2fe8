/* cmd_quantize.c: ballot quantize */
#include <stdlib.h>
#include <string.h>

#include "ballot/quant.h"
#include "cli_impl.h"

typedef struct arguments {
    bal_common common;
    const char *model, *out, *text;
} arguments;

static const struct argp_option options[] = {
    {"output", 'o', "OUT.h5", 0, "checkpoint to write (required); it must not exist", 0},
    {"format", 'f', "FORMAT", 0,
     "round to i8, i4 or nf4, the last two with :32, :64 or :128 columns that share a factor "
     "(default: that of the job, else i8)",
     0},
    {"text", 't', "FILE", 0,
     "round for a text like those that the model will read: with the least squared error, columns "
     "that it makes large counting more, and outliers of activations moved into the weights",
     0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'o':
            a->out = arg;
            return 0;
        case 'f':
            return bal_take_format(state, arg, &a->common.formats);
        case 't':
            a->text = arg;
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "model", arg, &a->model);
        case ARGP_KEY_END:
            if (a->model == NULL) argp_error(state, "a model is missing");
            if (a->out == NULL) argp_error(state, "-o OUT.h5 is missing");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static void print_tensors(const bal_model *model, const bal_rounding *rounding)
{
    printf("%-48s %-7s %-14s %10s %10s %10s\n", "tensor", "format", "shape", "rms", "error",
           "greatest");
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        const bal_tensor *t = &bal_model_tensors(model)->at[i];
        char shape[48], format[24];
        if (t->role == BAL_GAIN) continue;
        snprintf(format, sizeof format, t->group > 0 ? "%s:%d" : "%s", bal_format_name(t->format),
                 t->group);
        if (t->role == BAL_MATRIX)
            snprintf(shape, sizeof shape, "%lldx%lld", (long long)t->n_rows, (long long)t->n_cols);
        else
            snprintf(shape, sizeof shape, "%lld", (long long)t->n_cols);
        double percent = rounding[i].rms > 0.0 ? 100.0 / rounding[i].rms : 0.0; /* zeros stay */
        printf("%-48s %-7s %-14s %10.3g %8.3f %% %8.3f %%\n", t->name, format, shape,
               rounding[i].rms, percent * rounding[i].error, percent * rounding[i].greatest);
    }
}

static json_t *tensors_json(const bal_model *model, const bal_rounding *rounding)
{
    json_t *list = json_array();
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        const bal_tensor *t = &bal_model_tensors(model)->at[i];
        if (t->role == BAL_GAIN) continue;
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:i, s:I, s:I, s:f, s:f, s:f}", "name", t->name, "format",
                            bal_format_name(t->format), "group", t->group, "n_rows",
                            (json_int_t)t->n_rows, "n_cols", (json_int_t)t->n_cols, "rms",
                            rounding[i].rms, "rms_error", rounding[i].error, "max_error",
                            rounding[i].greatest));
    }
    return list;
}

static bal_status report(bal_context *context, const arguments *a, const bal_model *model,
                         const bal_states *states, const bal_rounding *rounding,
                         uint64_t fingerprint)
{
    char hex[17];
    bal_hex(fingerprint, hex);
    if (a->common.json)
        return bal_print_json(
            context, json_pack("{s:o, s:s, s:o}", "output", bal_json_text(a->out), "fingerprint",
                               hex, "tensors", tensors_json(model, rounding)));
    const bal_tensors *tensors = bal_model_tensors(model);
    print_tensors(model, rounding);
    printf(
        "\n%s: %.1f MiB of codes, carries and scales, fingerprint %s\n"
        "error and greatest: root mean square and largest change of a weight, of the root mean "
        "square of the tensor's weights\n",
        a->out,
        (double)(bal_tensors_bytes(tensors) + bal_states_bytes(states, tensors)) / 1048576.0, hex);
    return BAL_OK;
}

static bal_status quantize(bal_context *context, const arguments *a, const bal_job *job,
                           bal_bundle *bundle, bal_fill *fill)
{
    bal_formats formats = bal_common_source(&a->common, job).formats;
    if (formats.matrices == BAL_F32)
        return bal_fail(BAL_ERR_ARG, "--format=f32: expected i8, i4 or nf4");
    BAL_TRY(bal_check_output(a->out));
    if (a->text != NULL) {
        BAL_TRY(bal_calibrate(a->model, a->text, job, &a->common.machine, &fill->balance));
        formats.rounding = BAL_ROUND_FOR_TEXT;
    }
    *fill->states = bal_job_states(job);
    BAL_TRY(bal_source_round(a->model, &formats, bundle, fill));
    uint64_t print = 0;
    bal_run_id id = {.stream_version = BAL_STREAM_VERSION, .n_slots = 1, .n_steps = 1};
    id.base_hash = bal_states_fingerprint(fill->states, bal_model_tensors(bundle->model));
    BAL_TRY(bal_write_checkpoint(a->out, 0, bundle, fill->states, &id, job, &a->common.machine,
                                 &print));
    return report(context, a, bundle->model, fill->states, fill->rounding, print);
}

bal_status bal_command_quantize(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "MODEL",
        .doc =
            "Round a model to its lattice and write it as a checkpoint that can be trained, "
            "evaluated and exported; print what rounding changed in each tensor. MODEL "
            "is " BAL_MODEL_WORDS
            ".\v"
            "Formats and rounding are those of [model] in the job or given with -s, as -s "
            "model.codes=i4 "
            "-s model.group=32 -s \"model.formats=*embed*=i8\". Tensors are read some rows at a "
            "time: memory is that of codes and carries, and of a checkpoint's codes.",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT};
    bal_parse(context, &argp, "jsiJ", argc, argv, &a.common);
    if (bal_leaves_to_rank_0(context)) return BAL_OK;
    bal_job_source source = {0};
    bal_bundle bundle = {0};
    bal_states states = {0};
    bal_fill fill = {.states = &states};
    bal_status status = bal_job_read(bal_comm_alone(), a.common.job, a.common.overrides,
                                     a.common.n_overrides, NULL, &source);
    if (status == BAL_OK) status = bal_isa_check(&a.common);
    if (status == BAL_OK) status = quantize(context, &a, &source.job, &bundle, &fill);
    free(fill.rounding);
    bal_balance_destroy(&fill.balance);
    bal_bundle_clear(&bundle);
    bal_states_clear(&states);
    bal_job_source_clear(&source);
    return status;
}
