/* charsmap.c: SentencePiece's normalizer: its map of strings, and its handling of spaces.
 * Source: google/sentencepiece, src/normalizer.cc; s-yata/darts-clone for the trie's units. */
#include <string.h>

#include "text_impl.h"

#define TEXT_BYTES_MAX 256 /* of the replacement of one string */

bal_status bal_charsmap_read(bal_tokenizer *tokenizer, const void *bytes, size_t n_bytes)
{
    bal_charsmap map = {.units = bal_keep(tokenizer, bytes, n_bytes)};
    uint32_t trie_bytes;
    if (map.units == NULL) return BAL_ERR_MEMORY;
    bool whole = n_bytes > sizeof trie_bytes;
    if (whole) {
        memcpy(&trie_bytes, map.units, sizeof trie_bytes);
        map.units += sizeof trie_bytes;
        n_bytes -= sizeof trie_bytes;
        whole = trie_bytes % 4 == 0 && trie_bytes > 0 && trie_bytes < n_bytes;
    }
    if (whole) {
        map.n_units = trie_bytes / 4;
        map.texts = map.units + trie_bytes;
        map.n_texts = n_bytes - trie_bytes;
    }
    for (size_t at = 0, n; whole && at < map.n_texts; at += n + 1) {
        n = strnlen(map.texts + at, map.n_texts - at);
        whole = n <= TEXT_BYTES_MAX && n < map.n_texts - at;
    }
    if (!whole)
        return bal_fail(BAL_ERR_INPUT,
                        "%s: precompiled_charsmap is damaged; expected a trie and texts of at most "
                        "%d bytes, each ended by a 0",
                        tokenizer->origin, TEXT_BYTES_MAX);
    tokenizer->subword.charsmap = map;
    return BAL_OK;
}

static uint32_t unit_at(const bal_charsmap *map, size_t place)
{
    uint32_t unit = 0;
    if (place < map->n_units) memcpy(&unit, map->units + 4 * place, sizeof unit);
    return unit;
}

static size_t offset_of(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & 512) >> 6); }

/* The longest string of the map at the start of text, and its text. @return its bytes, 0: none */
static size_t find(const bal_charsmap *map, const char *text, size_t n_bytes, size_t *value)
{
    size_t found = 0, place = offset_of(unit_at(map, 0));
    for (size_t i = 0; i < n_bytes && map->n_units > 0; ++i) {
        unsigned char byte = (unsigned char)text[i];
        place ^= byte;
        uint32_t unit = unit_at(map, place);
        if (place >= map->n_units || (unit & 0x800000ffu) != byte) break;
        place ^= offset_of(unit);
        if ((unit & 256) == 0) continue; /* no string ends here */
        found = i + 1;
        *value = unit_at(map, place) & 0x7fffffffu;
    }
    return found;
}

/* Replace the start of text. @return how many of its bytes are replaced */
static size_t next(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                   const char **normal, size_t *n_normal)
{
    const bal_charsmap *map = &tokenizer->subword.charsmap;
    bool whole;
    size_t value = 0, n = bal_unit_bytes(tokenizer, text, n_bytes, &whole);
    size_t n_found = whole ? 0 : find(map, text, n_bytes, &value);
    *normal = text;
    *n_normal = n;
    if (n_found == 0 || value >= map->n_texts) return n;
    *normal = map->texts + value;
    *n_normal = strlen(*normal); /* all of them end */
    return n_found;
}

bal_status bal_sentencepiece_normalize(const bal_tokenizer *tokenizer, const bal_step *step,
                                       const bal_bytes *text, bal_bytes *out)
{
    const char *normal, *space = step->content;
    size_t at = 0, n, n_normal, n_space = step->n_content;
    while (step->cleanup && at < text->n) {
        n = next(tokenizer, text->data + at, text->n - at, &normal, &n_normal);
        if (n_normal != 1 || normal[0] != ' ') break;
        at += n;
    }
    if (at == text->n) return BAL_OK;
    if (step->front) BAL_TRY(bal_bytes_add(out, space, n_space));
    for (bool after_space = step->cleanup; at < text->n; at += n) {
        n = next(tokenizer, text->data + at, text->n - at, &normal, &n_normal);
        while (after_space && n_normal > 0 && normal[0] == ' ') ++normal, --n_normal;
        for (size_t i = 0; i < n_normal; ++i)
            BAL_TRY(normal[i] == ' ' ? bal_bytes_add(out, space, n_space)
                                     : bal_bytes_add(out, normal + i, 1));
        if (n_normal > 0) after_space = step->cleanup && normal[n_normal - 1] == ' ';
    }
    /* also removes what looks like a space at the end */
    while (step->cleanup && out->n >= n_space &&
           memcmp(out->data + out->n - n_space, space, n_space) == 0)
        out->n -= n_space;
    return step->back ? bal_bytes_add(out, space, n_space) : BAL_OK;
}
