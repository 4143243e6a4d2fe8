/* cmd_inspect.c: ballot inspect */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "ballot/hub.h"
#include "ballot/quant.h"
#include "cli_impl.h"

typedef struct arguments {
    bal_common common;
    const char *path;
    bool verify;
} arguments;

static const struct argp_option options[] = {
    {"verify", 'v', NULL, 0, "check every byte against its checksums; damage is exit code 3", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
        case 'v':
            a->verify = true;
            return 0;
        case ARGP_KEY_ARG:
            return bal_take_once(state, "file", arg, &a->path);
        case ARGP_KEY_END:
            if (a->path == NULL) argp_error(state, "a file is missing");
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

static json_t *member_json(const bal_config_row *row, const bal_model_config *config)
{
    const void *member = (const char *)config + row->offset;
    char words[BAL_CONFIG_WORDS_BYTES];
    switch (row->kind) {
        case BAL_CONFIG_SIZE:
            return json_integer(*(const int64_t *)member);
        case BAL_CONFIG_REAL:
            return json_real(*(const double *)member);
        case BAL_CONFIG_FLAG:
            return json_boolean(*(const bool *)member);
        default:
            bal_config_print(row, config, words);
            return json_string(words);
    }
}

static json_t *model_json(const bal_model *model)
{
    json_t *shape = json_object();
    for (int i = 0; i < BAL_N_CONFIG_ROWS; ++i)
        json_object_set_new(shape, bal_config_rows[i].name,
                            member_json(&bal_config_rows[i], bal_model_shape(model)));
    json_t *tensors = json_array();
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        const bal_tensor *t = &bal_model_tensors(model)->at[i];
        json_t *sizes = t->role == BAL_MATRIX
                            ? json_pack("[I, I]", (json_int_t)t->n_rows, (json_int_t)t->n_cols)
                            : json_pack("[I]", (json_int_t)t->n_cols);
        json_array_append_new(tensors, json_pack("{s:s, s:s, s:o}", "name", t->name, "format",
                                                 bal_format_name(t->format), "shape", sizes));
    }
    return json_pack("{s:o, s:o}", "config", shape, "tensors", tensors);
}

static void print_model(const bal_model *model)
{
    const bal_model_config *c = bal_model_shape(model);
    int64_t n = 0;
    for (int i = 0; i < bal_model_tensors(model)->n; ++i)
        n += bal_tensor_n(&bal_model_tensors(model)->at[i]);
    printf(
        "model        %lld layers of %lld (hidden %lld), %lld heads of %lld, %lld key-value "
        "heads, vocabulary %lld%s, at most %lld tokens\n",
        (long long)c->n_layers, (long long)c->dim, (long long)c->hidden, (long long)c->n_heads,
        (long long)c->head_dim, (long long)c->n_kv_heads, (long long)c->n_vocab,
        c->tied_head ? " (tied head)" : "", (long long)c->max_tokens);
    char features[256];
    bal_features_print(c->features, features, sizeof features);
    if (features[0] != 0) printf("otherwise    than a LLaMA: %s\n", features);
    if (c->window > 0) printf("window       %lld tokens\n", (long long)c->window);
    printf("values       %lld\n\n%-48s %-6s %s\n", (long long)n, "tensor", "format", "shape");
    for (int i = 0; i < bal_model_tensors(model)->n; ++i) {
        const bal_tensor *t = &bal_model_tensors(model)->at[i];
        printf("%-48s %-6s ", t->name, bal_format_name(t->format));
        if (t->role == BAL_MATRIX) printf("%lld x ", (long long)t->n_rows);
        printf("%lld\n", (long long)t->n_cols);
    }
}

/* Names of what the rule remembers. */
static json_t *states_json(const bal_states *states)
{
    json_t *names = json_array();
    for (int i = 0; i < states->n; ++i)
        json_array_append_new(names, bal_json_text(states->at[i].name));
    return names;
}

/* Of the task file; null: a text. */
static json_t *task_json(uint64_t hash)
{
    char hex[17];
    return hash == 0 ? json_null() : json_string(bal_hex(hash, hex));
}

static void print_task(uint64_t hash)
{
    char hex[17];
    if (hash != 0) printf("task         %s\n", bal_hex(hash, hex));
}

static bal_status inspect_checkpoint(bal_context *context, const arguments *a)
{
    bal_snapshot snapshot; /* reading verifies every byte; with its states, the fingerprint too */
    BAL_TRY(bal_checkpoint_read(a->path, true, &snapshot));
    bal_status status = BAL_OK;
    char hex[17];
    bal_hex(snapshot.fingerprint, hex);
    if (a->common.json) {
        json_t *object = model_json(snapshot.model);
        json_object_set_new(object, "kind", json_string("checkpoint"));
        json_object_set_new(object, "step", json_integer(snapshot.step));
        json_object_set_new(object, "steps", json_integer(snapshot.id.n_steps));
        json_object_set_new(object, "slots", json_integer(snapshot.id.n_slots));
        json_object_set_new(object, "seed", json_integer((json_int_t)snapshot.id.seed));
        json_object_set_new(object, "fingerprint", json_string(hex));
        json_object_set_new(object, "task_hash", task_json(snapshot.id.task_hash));
        json_object_set_new(object, "kernels", bal_json_text(snapshot.isa));
        json_object_set_new(
            object, "dev_loss_nats",
            isnan(snapshot.dev_loss_nats) ? json_null() : json_real(snapshot.dev_loss_nats));
        if (snapshot.base.path[0] != 0)
            json_object_set_new(object, "base", bal_json_text(snapshot.base.path));
        json_object_set_new(object, "verified", json_true());
        json_object_set_new(object, "optimizer", states_json(&snapshot.states));
        status = bal_print_json(context, object);
    } else {
        printf("checkpoint   step %lld of %lld, every checksum right\n", (long long)snapshot.step,
               (long long)snapshot.id.n_steps);
        printf("fingerprint  %s\nkernels      %s\noptimizer   ", hex, snapshot.isa);
        for (int i = 0; i < snapshot.states.n; ++i) printf(" %s", snapshot.states.at[i].name);
        printf("%s\n", snapshot.states.n == 0 ? " remembers nothing" : "");
        print_task(snapshot.id.task_hash);
        if (snapshot.base.path[0] != 0)
            printf("base         %s reads the prompts\n", snapshot.base.path);
        if (!isnan(snapshot.dev_loss_nats))
            printf("dev loss     %.4f nats per %s\n", snapshot.dev_loss_nats,
                   snapshot.id.task_hash != 0 ? "row" : "token");
        print_model(snapshot.model);
    }
    bal_snapshot_clear(&snapshot);
    return status;
}

static bal_status inspect_journal(bal_context *context, const arguments *a)
{
    bal_journal *journal = NULL;
    BAL_TRY(bal_journal_open(a->path, false, &journal)); /* walks the whole chain of hashes */
    const bal_run_id *id = bal_journal_id(journal);
    int64_t tail = bal_journal_tail(journal);
    bal_status status = BAL_OK;
    char job[17], base[17], data[17];
    bal_hex(id->job_hash, job);
    bal_hex(id->base_hash, base);
    bal_hex(id->data_hash, data);
    if (a->common.json) {
        status = bal_print_json(
            context,
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:o, s:I}", "kind", "journal",
                      "step", (json_int_t)bal_journal_n(journal), "steps", (json_int_t)id->n_steps,
                      "slots", (json_int_t)id->n_slots, "seed", (json_int_t)id->seed,
                      "stream_version", (json_int_t)id->stream_version, "job_hash", job,
                      "base_fingerprint", base, "data_hash", data, "task_hash",
                      task_json(id->task_hash), "torn_bytes", (json_int_t)tail));
    } else {
        printf(
            "journal      %lld of %lld steps, %d slots, seed %llu, streams of version %u\n"
            "job          %s\nbase         %s\ndata         %s\n",
            (long long)bal_journal_n(journal), (long long)id->n_steps, id->n_slots,
            (unsigned long long)id->seed, id->stream_version, job, base, data);
        print_task(id->task_hash);
    }
    if (status == BAL_OK && tail > 0) {
        status = bal_fail(BAL_ERR_INPUT,
                          "%s: %lld bytes after step %lld are torn or damaged; the "
                          "steps before are whole",
                          a->path, (long long)tail, (long long)bal_journal_n(journal));
        if (!a->verify) {
            bal_log(BAL_LOG_WARN, "%s", bal_failure());
            status = BAL_OK;
        }
    }
    bal_journal_close(&journal);
    return status;
}

static bal_status inspect_model(bal_context *context, const arguments *a)
{
    bal_bundle bundle;
    BAL_TRY(bal_hub_outline(a->path, &(bal_formats){.matrices = BAL_F32}, &bundle));
    bal_status status = BAL_OK;
    if (a->common.json) {
        json_t *object = model_json(bundle.model);
        json_object_set_new(object, "kind", json_string(bal_hub_kind(a->path)));
        status = bal_print_json(context, object);
    } else {
        printf("folder       %s\n", bal_hub_kind(a->path));
        print_model(bundle.model);
    }
    bal_bundle_clear(&bundle);
    return status;
}

static bool is_journal(const char *path)
{
    char start[8] = "";
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    bool yes =
        fread(start, 1, sizeof start, file) == sizeof start && memcmp(start, "BALLOTJ", 7) == 0;
    fclose(file);
    const char *dot = strrchr(path, '.');
    return yes || (dot != NULL && strcmp(dot, ".journal") == 0);
}

bal_status bal_command_inspect(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "FILE",
        .doc = "Say what is in FILE: a journal, or " BAL_MODEL_WORDS ".",
    };
    arguments a = {.common = BAL_COMMON_DEFAULT};
    bal_parse(context, &argp, "J", argc, argv, &a.common);
    if (bal_leaves_to_rank_0(context)) return BAL_OK;
    char found[BAL_SOURCE_PATH_BYTES];
    BAL_TRY(bal_source_resolve(a.path, found));
    if (strcmp(found, a.path) != 0) bal_log(BAL_LOG_SAY, "the model is %s", found);
    a.path = found;
    const char *dot = strrchr(a.path, '.');
    if (bal_checkpoint_recognizes(a.path) || (dot != NULL && strcmp(dot, ".h5") == 0))
        return inspect_checkpoint(context, &a);
    return is_journal(a.path) ? inspect_journal(context, &a) : inspect_model(context, &a);
}
