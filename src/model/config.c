/* config.c: the members of a config, row by row, and what shapes a model may have. */
#include <string.h>

#include "model_impl.h"

#define CODES_MAX ((int64_t)1 << 31) /* of a matrix */

const bal_config_row bal_config_rows[BAL_N_CONFIG_ROWS] = {
#define ROW(name, member, kind, low, high) \
    {#name, BAL_CONFIG_##kind, offsetof(bal_model_config, member), low, high},
    BAL_CONFIG_LIST(ROW)
#undef ROW
};

/* A member of 4 or 8 bytes without a row would be missed by everything that goes through them. */
#define BYTES(name, member, kind, low, high) +sizeof((bal_model_config *)0)->member
_Static_assert(sizeof(bal_model_config) - (0 BAL_CONFIG_LIST(BYTES)) < sizeof(int64_t),
               "BAL_CONFIG_LIST lacks a member of bal_model_config");
#undef BYTES

static const char *const feature_words[] = {
#define WORD(name, bit, word) [bit] = word,
    BAL_FEATURE_LIST(WORD)
#undef WORD
};
static const char *const activation_words[] = {[BAL_ACT_RELU] = "relu",
                                               [BAL_ACT_GELU] = "gelu",
                                               [BAL_ACT_GELU_TANH] = "gelu_tanh",
                                               [BAL_ACT_SILU] = "silu"};
static const char *const pairs_words[] = {"adjacent", "halves"};
static const char *const rope_words[] = {"plain", "linear", "llama3"};

/* Words by the bit of a set, or by the value of an enumeration. */
static const struct words {
    const char *const *at;
    unsigned n;
} words_of[] = {
#define WORDS(array)                        \
    {                                       \
        array, sizeof array / sizeof *array \
    }
    [BAL_CONFIG_FEATURES] = WORDS(feature_words),
    [BAL_CONFIG_ACTIVATION] = WORDS(activation_words),
    [BAL_CONFIG_ROPE_PAIRS] = WORDS(pairs_words),
    [BAL_CONFIG_ROPE_KIND] = WORDS(rope_words),
#undef WORDS
};

static void print_set(bal_config_kind kind, unsigned set, char *text, size_t n_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (unsigned i = 0; i < words_of[kind].n && used < n_bytes; ++i)
        if ((set >> i & 1) != 0)
            used += (size_t)snprintf(text + used, n_bytes - used, "%s%s", used > 0 ? " " : "",
                                     words_of[kind].at[i]);
}

static bool parse_set(bal_config_kind kind, const char *text, unsigned *set)
{
    *set = 0;
    while (*text != 0) {
        size_t n = strcspn(text, " ");
        unsigned i = 0;
        while (i < words_of[kind].n &&
               (strlen(words_of[kind].at[i]) != n || memcmp(words_of[kind].at[i], text, n) != 0))
            ++i;
        if (i == words_of[kind].n) return false;
        *set |= 1u << i;
        text += n + (text[n] == ' ');
    }
    return true;
}

void bal_features_print(unsigned features, char *text, size_t n_bytes)
{
    print_set(BAL_CONFIG_FEATURES, features, text, n_bytes);
}

/* Where a row's member is; those with words are unsigned, or enumerations of that size. */
static const char *member(const bal_config_row *row, const bal_model_config *config)
{
    return (const char *)config + row->offset;
}

void bal_config_print(const bal_config_row *row, const bal_model_config *config,
                      char text[BAL_CONFIG_WORDS_BYTES])
{
    unsigned value;
    memcpy(&value, member(row, config), sizeof value);
    print_set(row->kind, row->kind == BAL_CONFIG_FEATURES ? value : 1u << value, text,
              BAL_CONFIG_WORDS_BYTES);
}

void bal_config_choices(const bal_config_row *row, char text[BAL_CONFIG_WORDS_BYTES])
{
    print_set(row->kind, ~0u, text, BAL_CONFIG_WORDS_BYTES);
}

bool bal_config_parse(const bal_config_row *row, const char *text, bal_model_config *config)
{
    unsigned value;
    if (!parse_set(row->kind, text, &value)) return false;
    if (row->kind != BAL_CONFIG_FEATURES) {
        if (__builtin_popcount(value) != 1) return false;
        value = (unsigned)__builtin_ctz(value);
    }
    memcpy((char *)config + row->offset, &value, sizeof value);
    return true;
}

static bal_status check_ranges(const bal_model_config *c, const char *origin)
{
    for (const bal_config_row *row = bal_config_rows; row < bal_config_rows + BAL_N_CONFIG_ROWS;
         ++row) {
        double value;
        int64_t size;
        if (row->kind == BAL_CONFIG_REAL) {
            memcpy(&value, member(row, c), sizeof value);
        } else if (row->kind == BAL_CONFIG_SIZE) {
            memcpy(&size, member(row, c), sizeof size);
            value = (double)size;
        } else {
            continue;
        }
        if (!(value >= row->low && value <= row->high)) /* or no number */
            return bal_fail(BAL_ERR_INPUT, "%s: %s is %.10g; expected %.10g to %.10g", origin,
                            row->name, value, row->low, row->high);
    }
    return BAL_OK;
}

static bal_status check_heads(const bal_model_config *c, const char *origin)
{
    if (c->n_heads % c->n_kv_heads != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld heads are not a multiple of %lld key-value heads",
                        origin, (long long)c->n_heads, (long long)c->n_kv_heads);
    if (c->embed.n_positions == 0 && c->head_dim % 2 != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: head_dim is %lld; expected an even number, for rotary positions",
                        origin, (long long)c->head_dim);
    if (c->n_heads * c->head_dim > BAL_COLS_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld heads of %lld are wider than %d", origin,
                        (long long)c->n_heads, (long long)c->head_dim, BAL_COLS_MAX);
    return BAL_OK;
}

static bal_status check_matrices(const bal_model_config *c, const char *origin)
{
    const struct {
        const char *name;
        int64_t n_rows, n_cols;
    } matrices[] = {
        {"a feed-forward matrix", c->hidden, c->dim},
        {"a query matrix", c->n_heads * c->head_dim, c->dim},
        {"a projection", bal_embed_dim(c), c->dim},
        {"an embedding", c->n_vocab, bal_embed_dim(c)},
        {"a table of positions", c->embed.n_positions, c->dim},
        {"a table of token types", c->embed.n_types, c->dim},
    };
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; ++i)
        if (matrices[i].n_rows > CODES_MAX / matrices[i].n_cols)
            return bal_fail(BAL_ERR_INPUT, "%s: %s of %lld x %lld is too large", origin,
                            matrices[i].name, (long long)matrices[i].n_rows,
                            (long long)matrices[i].n_cols);
    if ((c->features & BAL_HEAD_DENSE) != 0 && bal_embed_dim(c) != c->dim)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a head with a dense layer and an embedding of width "
                        "%lld; expected the model's, %lld",
                        origin, (long long)c->embed.dim, (long long)c->dim);
    return BAL_OK;
}

static bal_status check_positions(const bal_model_config *c, const char *origin)
{
    int64_t n = c->embed.n_positions, offset = c->embed.position_offset;
    if (n > 0 && n - offset < c->max_tokens)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %lld learned positions, the first of a text number %lld; expected "
                        "enough for %lld tokens",
                        origin, (long long)n, (long long)offset, (long long)c->max_tokens);
    const bal_rope *rope = &c->rope;
    if (rope->kind != BAL_ROPE_PLAIN && rope->factor < 1.0)
        return bal_fail(BAL_ERR_INPUT, "%s: rope_factor is %g; expected at least 1", origin,
                        rope->factor);
    if (rope->kind != BAL_ROPE_LLAMA3) return BAL_OK;
    if (!(rope->low > 0.0 && rope->high > rope->low))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: rope_low and rope_high are %g and %g; expected 0 < rope_low < "
                        "rope_high",
                        origin, rope->low, rope->high);
    if (rope->original < 1.0)
        return bal_fail(BAL_ERR_INPUT, "%s: rope_original is %g; expected at least 1", origin,
                        rope->original);
    return BAL_OK;
}

bal_status bal_model_config_check(const bal_model_config *c, const char *origin)
{
    BAL_TRY(check_ranges(c, origin));
    BAL_TRY(check_heads(c, origin));
    BAL_TRY(check_matrices(c, origin));
    BAL_TRY(check_positions(c, origin));
    if (!(c->norm_eps > 0.0 && c->norm_eps < 1.0))
        return bal_fail(BAL_ERR_INPUT, "%s: norm_eps is %g; expected above 0 and below 1", origin,
                        c->norm_eps);
    return BAL_OK;
}

bool bal_model_config_same(const bal_model_config *a, const bal_model_config *b)
{
#define SAME(name, member, kind, low, high) &&memcmp(&a->member, &b->member, sizeof a->member) == 0
    return true BAL_CONFIG_LIST(SAME);
#undef SAME
}
