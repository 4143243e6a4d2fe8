/* cmd_export.c: ballot export */
#include <string.h>

#include "ballot/hub.h"
#include "ballot/source.h"
#include "cli_impl.h"

typedef struct arguments {
    bal_common common;
    const char *model, *to;
    bal_export_options options;
    bal_export_gguf gguf;
    bool folder_options, gguf_options;
} arguments;

static const struct argp_option options[] = {
    {"dtype", 'd', "TYPE", 0, "type of the weights: f32 (default), bf16 or f16", 0},
    {"base", 'b', "FOLDER", 0,
     "the folder that the checkpoint was quantized from: tensors that have not changed since are "
     "copied from it, byte for byte, with its names",
     0},
    {"gguf", 'g', "TYPE", 0, "type of the matrices in a GGUF file: q8_0 (default), q4_0 or f16", 0},
    {0}};

/* The place of a word in a list that ends with NULL, -1: it is not there. */
static int find_word(const char *const *words, const char *word)
{
    for (int i = 0; words[i] != NULL; ++i)
        if (strcmp(words[i], word) == 0) return i;
    return -1;
}

static const char *const dtypes[] = {
    [BAL_EXPORT_F32] = "f32", [BAL_EXPORT_BF16] = "bf16", [BAL_EXPORT_F16] = "f16", NULL};
static const char *const gguf_types[] = {[BAL_EXPORT_GGUF_Q8_0] = "q8_0",
                                         [BAL_EXPORT_GGUF_Q4_0] = "q4_0",
                                         [BAL_EXPORT_GGUF_F16] = "f16",
                                         NULL};

static bool is_gguf(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

static void check(const arguments *a, struct argp_state *state)
{
    if (a->to == NULL) argp_error(state, "a model and a folder or a .gguf file are needed");
    if (is_gguf(a->to) && a->folder_options)
        argp_error(state, "--dtype and --base are for folders; for %s: --gguf", a->to);
    if (!is_gguf(a->to) && a->gguf_options)
        argp_error(state, "--gguf is for files that end in .gguf; found %s", a->to);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    int found;
    switch (key) {
        case 'd':
            if ((found = find_word(dtypes, arg)) < 0)
                argp_error(state, "--dtype=%s: expected f32, bf16 or f16", arg);
            a->options.dtype = (bal_export_dtype)found;
            a->folder_options = true;
            return 0;
        case 'b':
            a->options.base = arg;
            a->folder_options = true;
            return 0;
        case 'g':
            if ((found = find_word(gguf_types, arg)) < 0)
                argp_error(state, "--gguf=%s: expected q8_0, q4_0 or f16", arg);
            a->gguf = (bal_export_gguf)found;
            a->gguf_options = true;
            return 0;
        case ARGP_KEY_ARG:
            if (a->model == NULL)
                a->model = arg;
            else if (a->to == NULL)
                a->to = arg;
            else
                argp_error(state, "more than a model and where to: %s", arg);
            return 0;
        case ARGP_KEY_END:
            check(a, state);
            return 0;
        default:
            return ARGP_ERR_UNKNOWN;
    }
}

/* Files of tokenizers come along as they are, and llama2.c has its own kind. */
static void tell_tokenizer(const bal_files *files, const char *to)
{
    for (int i = 0; i < files->n; ++i)
        if (strncmp(files->at[i].name, "tok", 3) == 0 && strstr(files->at[i].name, ".bin") != NULL)
            bal_log(
                BAL_LOG_WARN,
                "%s: transformers does not read %s, the tokenizer of llama2.c: take tokens from "
                "ballot, or export to a .gguf file, which has the tokenizer in it",
                to, files->at[i].name);
}

/* A model whose prompts its base reads: a folder with both, and a file that says so. */
static bal_status export_both(const bal_bundle *bundle, const bal_export_options *how,
                              const char *to)
{
    static const char note[] = "{\"base\": \"base\"}\n";
    bal_bundle base = {
        .model = bundle->base, .tokenizer = bundle->tokenizer, .files = bundle->files};
    char folder[BAL_SOURCE_PATH_BYTES];
    BAL_TRY(bal_path_in(to, "base", folder));
    BAL_TRY(bal_hub_export(bundle, how, to));
    BAL_TRY(bal_hub_export(&base, how, folder));
    BAL_TRY(bal_publish(to, BAL_BASE_FILE, note, strlen(note)));
    bal_log(BAL_LOG_WARN,
            "%s: prompts are read by the model in %s, and answers from the last token of the "
            "prompt on by the model beside it: ballot does so, by %s; other programs do not",
            to, folder, BAL_BASE_FILE);
    return BAL_OK;
}

static bal_status export_gguf(const bal_bundle *bundle, const arguments *a)
{
    if (bundle->base == NULL) return bal_hub_export_gguf(bundle, a->gguf, a->to);
    return bal_fail(BAL_ERR_CONFIG,
                    "%s: was tuned with vote.positions = answer, so that another model reads its "
                    "prompts: a GGUF file has one model; export it to a folder, which has both",
                    a->model);
}

bal_status bal_command_export(bal_context *context, int argc, char **argv)
{
    const struct argp argp = {
        .options = options,
        .parser = parse,
        .args_doc = "MODEL DIR\nMODEL FILE.gguf",
        .doc =
            "Write a model, dequantized, as a Hugging Face folder of its family, which "
            "transformers loads, or as a GGUF file, which llama.cpp loads. MODEL "
            "is " BAL_MODEL_WORDS
            ".\v"
            "A folder has model.safetensors, config.json and the files of the tokenizer as "
            "they came. With --base, a tensor is copied if its codes, scales and factors "
            "are those that quantizing the base gives now and its gains are 0: a checkpoint "
            "that was not trained becomes its base again. Nothing is overwritten. A model tuned "
            "with vote.positions=answer becomes a folder with another in it, base, which reads the "
            "prompts, and " BAL_BASE_FILE ", by which ballot knows.",
    };
    arguments a = {0};
    bal_parse(context, &argp, "", argc, argv, &a.common);
    if (bal_leaves_to_rank_0(context)) return BAL_OK;
    bal_bundle bundle = {0};
    char base[BAL_SOURCE_PATH_BYTES];
    if (a.options.base != NULL) BAL_TRY(bal_source_resolve(a.options.base, base));
    if (a.options.base != NULL) a.options.base = base;
    bal_source_options as_it_is = {
        .formats = {.matrices = BAL_F32}, .keep_formats = true, .base = a.options.base};
    bal_status status = bal_source_open(a.model, &as_it_is, &bundle);
    if (status == BAL_OK)
        status = is_gguf(a.to)         ? export_gguf(&bundle, &a)
                 : bundle.base != NULL ? export_both(&bundle, &a.options, a.to)
                                       : bal_hub_export(&bundle, &a.options, a.to);
    if (status == BAL_OK) bal_log(BAL_LOG_SAY, "%s: written from %s", a.to, a.model);
    if (status == BAL_OK && is_gguf(a.to) && bal_model_shape(bundle.model)->window > 0)
        bal_log(BAL_LOG_WARN,
                "%s: llama.cpp ignores the sliding window of this family: its results differ from "
                "the model's for texts of more than %lld tokens",
                a.to, (long long)bal_model_shape(bundle.model)->window);
    if (status == BAL_OK && !is_gguf(a.to)) tell_tokenizer(&bundle.files, a.to);
    bal_bundle_clear(&bundle);
    return status;
}
