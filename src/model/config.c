/* config.c: what shapes a model may have, and the words for its features. */
#include <string.h>

#include "model_impl.h"

#define SIZE_MAX_OF_A_MODEL (1 << 30)
#define LAYERS_MAX 4096

static const char *const feature_words[] = {
#define BAL_FEATURE_WORD(name, bit, word) [bit] = word,
    BAL_FEATURE_LIST(BAL_FEATURE_WORD)
#undef BAL_FEATURE_WORD
};
#define N_FEATURES (sizeof feature_words / sizeof *feature_words)

void bal_features_print(unsigned features, char *text, size_t n_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < N_FEATURES && used < n_bytes; ++i)
        if ((features >> i & 1) != 0)
            used += (size_t)snprintf(text + used, n_bytes - used, "%s%s", used > 0 ? " " : "",
                                     feature_words[i]);
}

bool bal_features_parse(const char *text, unsigned *features)
{
    *features = 0;
    while (*text != 0) {
        size_t n = strcspn(text, " "), i = 0;
        while (i < N_FEATURES &&
               (strlen(feature_words[i]) != n || memcmp(feature_words[i], text, n) != 0))
            ++i;
        if (i == N_FEATURES) return false;
        *features |= 1u << i;
        text += n + (text[n] == ' ');
    }
    return true;
}

/* Numbers of the scaling of rotary angles. */
static bal_status check_rope(const bal_model_config *c, const char *origin)
{
    if (!(c->rope_base >= 1.0 && c->rope_base <= 1e12))
        return bal_fail(BAL_ERR_INPUT, "%s: rope_base is %g; expected 1 to 1e12", origin,
                        c->rope_base);
    if (c->rope_kind == BAL_ROPE_PLAIN) return BAL_OK;
    if (!(c->rope_factor >= 1.0 && c->rope_factor <= 1e6))
        return bal_fail(BAL_ERR_INPUT, "%s: rope_factor is %g; expected 1 to 1e6", origin,
                        c->rope_factor);
    if (c->rope_kind != BAL_ROPE_LLAMA3) return BAL_OK;
    if (!(c->rope_low > 0.0 && c->rope_high > c->rope_low && c->rope_high <= 1e6))
        return bal_fail(BAL_ERR_INPUT,
                        "%s: rope_low and rope_high are %g and %g; expected 0 < rope_low < "
                        "rope_high <= 1e6",
                        origin, c->rope_low, c->rope_high);
    if (!(c->rope_original >= 1.0 && c->rope_original <= SIZE_MAX_OF_A_MODEL))
        return bal_fail(BAL_ERR_INPUT, "%s: rope_original is %g; expected 1 to %d", origin,
                        c->rope_original, SIZE_MAX_OF_A_MODEL);
    return BAL_OK;
}

bal_status bal_model_config_check(const bal_model_config *c, const char *origin)
{
    const struct {
        const char *name;
        int64_t value, min, max;
    } sizes[] = {
        {"dim", c->dim, 1, BAL_COLS_MAX},
        {"hidden", c->hidden, 1, BAL_COLS_MAX},
        {"n_layers", c->n_layers, 1, LAYERS_MAX},
        {"n_heads", c->n_heads, 1, BAL_COLS_MAX},
        {"n_kv_heads", c->n_kv_heads, 1, c->n_heads},
        {"head_dim", c->head_dim, 1, BAL_HEAD_DIM_MAX},
        {"n_vocab", c->n_vocab, 1, SIZE_MAX_OF_A_MODEL},
        {"max_tokens", c->max_tokens, 1, SIZE_MAX_OF_A_MODEL},
        {"embed_dim", c->embed_dim, 0, BAL_COLS_MAX},
        {"n_positions", c->n_positions, 0, SIZE_MAX_OF_A_MODEL},
        {"position_offset", c->position_offset, 0, SIZE_MAX_OF_A_MODEL},
        {"n_types", c->n_types, 0, BAL_COLS_MAX},
        {"window", c->window, 0, SIZE_MAX_OF_A_MODEL},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i)
        if (sizes[i].value < sizes[i].min || sizes[i].value > sizes[i].max)
            return bal_fail(BAL_ERR_INPUT, "%s: %s is %lld; expected %lld to %lld", origin,
                            sizes[i].name, (long long)sizes[i].value, (long long)sizes[i].min,
                            (long long)sizes[i].max);
    if (c->n_heads % c->n_kv_heads != 0)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld heads are no multiple of %lld key-value heads",
                        origin, (long long)c->n_heads, (long long)c->n_kv_heads);
    if (c->n_positions == 0 && c->head_dim % 2 != 0)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: head_dim is %lld; expected an even number, for rotary positions",
                        origin, (long long)c->head_dim);
    if (c->n_heads * c->head_dim > BAL_COLS_MAX)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld heads of %lld are wider than %d", origin,
                        (long long)c->n_heads, (long long)c->head_dim, BAL_COLS_MAX);
    int64_t q_width = c->n_heads * c->head_dim, tallest = c->hidden > q_width ? c->hidden : q_width;
    if (bal_embed_dim(c) > tallest) tallest = bal_embed_dim(c);
    if (c->n_types > tallest) tallest = c->n_types;
    if ((c->features & BAL_HEAD_DENSE) != 0 && c->dim > tallest) tallest = c->dim;
    if (tallest > ((int64_t)1 << 31) / c->dim)
        return bal_fail(BAL_ERR_INPUT, "%s: a matrix of %lld x %lld is too large", origin,
                        (long long)tallest, (long long)c->dim);
    if (c->n_vocab > ((int64_t)1 << 31) / bal_embed_dim(c))
        return bal_fail(BAL_ERR_INPUT, "%s: an embedding of %lld x %lld is too large", origin,
                        (long long)c->n_vocab, (long long)bal_embed_dim(c));
    if (c->n_positions > ((int64_t)1 << 31) / c->dim)
        return bal_fail(BAL_ERR_INPUT, "%s: %lld x %lld learned positions are too many", origin,
                        (long long)c->n_positions, (long long)c->dim);
    if (c->n_positions > 0 && c->n_positions - c->position_offset < c->max_tokens)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: %lld learned positions, the first of a text number %lld; expected "
                        "enough for %lld tokens",
                        origin, (long long)c->n_positions, (long long)c->position_offset,
                        (long long)c->max_tokens);
    if ((c->features & BAL_HEAD_DENSE) != 0 && bal_embed_dim(c) != c->dim)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: a head with a dense layer and an embedding of width "
                        "%lld; expected the model's, %lld",
                        origin, (long long)c->embed_dim, (long long)c->dim);
    BAL_TRY(check_rope(c, origin));
    if (!(c->norm_eps > 0.0 && c->norm_eps < 1.0))
        return bal_fail(BAL_ERR_INPUT, "%s: norm_eps is %g; expected above 0 and below 1", origin,
                        c->norm_eps);
    return BAL_OK;
}

bool bal_model_config_same(const bal_model_config *a, const bal_model_config *b)
{
    const int64_t sizes[2][13] = {
        {a->dim, a->hidden, a->n_layers, a->n_heads, a->n_kv_heads, a->head_dim, a->n_vocab,
         a->max_tokens, a->embed_dim, a->n_positions, a->position_offset, a->n_types, a->window},
        {b->dim, b->hidden, b->n_layers, b->n_heads, b->n_kv_heads, b->head_dim, b->n_vocab,
         b->max_tokens, b->embed_dim, b->n_positions, b->position_offset, b->n_types, b->window}};
    const double reals[2][6] = {
        {a->rope_base, a->rope_factor, a->rope_low, a->rope_high, a->rope_original, a->norm_eps},
        {b->rope_base, b->rope_factor, b->rope_low, b->rope_high, b->rope_original, b->norm_eps}};
    return memcmp(sizes[0], sizes[1], sizeof *sizes) == 0 &&
           memcmp(reals[0], reals[1], sizeof *reals) == 0 && a->features == b->features &&
           a->activation == b->activation && a->tied_head == b->tied_head &&
           a->rope_pairs == b->rope_pairs && a->rope_kind == b->rope_kind;
}
