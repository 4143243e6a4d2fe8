/* tokenizer.c: a tokenizer, made from the files of a folder. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "read_impl.h"

/* The first of these that exists is read; merges.txt belongs to vocab.json. */
static const char *const main_files[] = {"tokenizer.json", "tokenizer.model", "vocab.json",
                                         "vocab.txt", "tokenizer.bin"};

/* tokenizer.bin, also under the names of llama2.c's samples, such as tok512.bin. */
static bool is_llama2c(const char *name)
{
    size_t n = strlen(name);
    return n >= 7 && strncmp(name, "tok", 3) == 0 && strcmp(name + n - 4, ".bin") == 0;
}

bool bal_tokenizer_reads(const char *name)
{
    static const char *const others[] = {
        "merges.txt",          "tokenizer_config.json",  "special_tokens_map.json",
        "added_tokens.json",   "generation_config.json", "config.json",
        "chat_template.jinja", "chat_template.json"};
    for (size_t i = 0; i < sizeof main_files / sizeof *main_files; ++i)
        if (strcmp(name, main_files[i]) == 0) return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        if (strcmp(name, others[i]) == 0) return true;
    return is_llama2c(name);
}

static bal_status read_file(bal_tokenizer *tokenizer, const bal_named_bytes *file,
                            const bal_files *files, const bal_side *side)
{
    const bal_named_bytes *merges = bal_files_find(files, "merges.txt");
    if (strcmp(file->name, "tokenizer.json") == 0) return bal_hf_read(tokenizer, file);
    if (strcmp(file->name, "tokenizer.model") == 0)
        return bal_sentencepiece_read(tokenizer, file, side);
    if (strcmp(file->name, "vocab.txt") == 0) return bal_vocab_txt_read(tokenizer, file, side);
    if (is_llama2c(file->name)) return bal_llama2c_read(tokenizer, file);
    if (merges == NULL)
        return bal_fail(BAL_ERR_INPUT, "%s: has no merges.txt beside it", tokenizer->origin);
    return bal_vocab_and_merges_read(tokenizer, file, merges, side);
}

static bal_status read_files(bal_tokenizer *tokenizer, const bal_files *files, const char *origin)
{
    const bal_named_bytes *file = NULL;
    bal_side side = {0};
    char place[512];
    for (size_t i = 0; i < sizeof main_files / sizeof *main_files && file == NULL; ++i)
        file = bal_files_find(files, main_files[i]);
    for (int i = 0; i < files->n && file == NULL; ++i)
        if (is_llama2c(files->at[i].name)) file = &files->at[i];
    if (file == NULL)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: has no tokenizer; expected tokenizer.json, tokenizer.model, "
                        "vocab.json with merges.txt, vocab.txt or tokenizer.bin",
                        origin);
    snprintf(place, sizeof place, "%.400s/%s", origin, file->name);
    tokenizer->origin = place;
    for (int i = 0; i < files->n; ++i) tokenizer->n_source += files->at[i].n_bytes;
    bal_status status = bal_side_read(files, origin, &side);
    if (status == BAL_OK) status = read_file(tokenizer, file, files, &side);
    if (status == BAL_OK) status = bal_side_apply(tokenizer, &side);
    bal_side_clear(&side);
    tokenizer->origin = NULL;
    return status;
}

bal_status bal_tokenizer_create(const bal_files *files, int64_t n_vocab, const char *origin,
                                bal_tokenizer **tokenizer)
{
    assert(files != NULL && origin != NULL && tokenizer != NULL);
    if (n_vocab < 1 || n_vocab > INT32_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: the model has %lld tokens; expected 1 to 2^31 - 1",
                        origin, (long long)n_vocab);
    bal_status status = BAL_ERR_MEMORY;
    bal_tokenizer *t = bal_alloc(1, sizeof *t);
    if (t == NULL) goto done;
    t->kind = BAL_TOKENIZER_HF;
    t->vocab.n_ids = n_vocab;
    t->subword.unknown = -1;
    t->subword.prefix = t->subword.suffix = "";
    memset(t->specials.ids, 0xff, sizeof t->specials.ids);
    memset(t->subword.byte_ids, 0xff, sizeof t->subword.byte_ids);
    status = read_files(t, files, origin);
    if (status != BAL_OK) goto done;
    *tokenizer = t;
    t = NULL;
done:
    bal_tokenizer_destroy(&t);
    if (status == BAL_ERR_MEMORY)
        return bal_fail(status, "%s: not enough memory for this tokenizer", origin);
    return status;
}

static void clear_steps(bal_steps *steps)
{
    for (int i = 0; i < steps->n; ++i) bal_pattern_destroy(&steps->step[i].pattern);
}

void bal_tokenizer_destroy(bal_tokenizer **tokenizer)
{
    bal_tokenizer *t = *tokenizer;
    *tokenizer = NULL;
    if (t == NULL) return;
    for (int i = 0; i < BAL_ADDED_LISTS; ++i) {
        for (size_t j = 0; j < t->added[i].n; ++j) free(t->added[i].at[j].pattern.data);
        free(t->added[i].at);
    }
    clear_steps(&t->normalizer);
    clear_steps(&t->splits);
    clear_steps(&t->decoder);
    free(t->vocab.merges);
    free(t->vocab.ids);
    free(t->vocab.tokens);
    bal_blocks_free(t->blocks);
    free(t);
}

int64_t bal_tokenizer_n_vocab(const bal_tokenizer *tokenizer) { return tokenizer->vocab.n_tokens; }

int32_t bal_tokenizer_special(const bal_tokenizer *tokenizer, bal_special kind)
{
    return tokenizer->specials.ids[kind];
}

bool bal_tokenizer_ends(const bal_tokenizer *tokenizer, int32_t id)
{
    bool ends = id >= 0 && id == tokenizer->specials.ids[BAL_SPECIAL_EOS];
    for (int i = 0; i < tokenizer->specials.n_ends; ++i) ends |= id == tokenizer->specials.ends[i];
    return ends;
}

const int32_t *bal_tokenizer_prefix(const bal_tokenizer *tokenizer, int64_t *n)
{
    *n = tokenizer->specials.n_before;
    return tokenizer->specials.before;
}

const int32_t *bal_tokenizer_suffix(const bal_tokenizer *tokenizer, int64_t *n)
{
    *n = tokenizer->specials.n_after;
    return tokenizer->specials.after;
}
