/* text_impl.h: the parts of a tokenizer and their functions. Every kind of file is read into the
 * same parts: text -> added tokens cut out -> normalizer -> pre-tokenizer -> model -> ids, and
 * ids -> tokens -> decoder -> text. */
#ifndef BALLOT_TEXT_IMPL_H
#define BALLOT_TEXT_IMPL_H

#include "ballot/text.h"

/* bytes.c */

/* Growing bytes; data is NULL while room is 0. */
typedef struct bal_bytes {
    char *data;
    size_t n, room;
} bal_bytes;
/** Append n bytes. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_bytes_add(bal_bytes *bytes, const void *from, size_t n);

/* A text as consecutive pieces. */
typedef struct bal_pieces {
    bal_bytes text;
    size_t *ends; /* [n] where each piece ends in text */
    size_t n, room;
    bool at_start; /* the first piece starts where the whole text starts */
} bal_pieces;
/** End a piece at the end of the text so far. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_pieces_end(bal_pieces *pieces);
/** Append a piece, unless it is empty. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_pieces_add(bal_pieces *pieces, const void *from, size_t n);
/** The piece at an index and its length. */
const char *bal_pieces_at(const bal_pieces *pieces, size_t index, size_t *n_bytes);
void bal_pieces_empty(bal_pieces *pieces);
void bal_pieces_clear(bal_pieces *pieces);

/* Ids that grow. */
typedef struct bal_ids {
    int32_t *data;
    int64_t n;
    size_t room;
} bal_ids;
/** Make room for n more. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_ids_reserve(bal_ids *ids, int64_t n);
bal_status bal_ids_add(bal_ids *ids, int32_t id);

/* letters.c */

/** The byte that "<0xAB>" stands for; -1 if bytes have another form. */
int bal_byte_token(const char *bytes, size_t n_bytes);
/** Append the letters that byte-level tokenizers write for bytes, in UTF-8. @return BAL_OK;
 *  BAL_ERR_MEMORY. Source: openai/gpt-2, encoder.py, bytes_to_unicode. */
bal_status bal_letters_add(const char *text, size_t n_bytes, bal_bytes *out);
/** The byte that such a character stands for; -1: it is no such character. */
int bal_byte_of_letter(int32_t character);

/* unicode.c */

/** The last character of text; n_bytes > 0. @return its bytes. */
size_t bal_last_character(const char *text, size_t n_bytes, int32_t *character);
size_t bal_put_character(char *to, int32_t character);
bool bal_is_space(int32_t character);       /* White_Space */
bool bal_is_word(int32_t character);        /* \w of Rust's regex */
bool bal_is_numeric(int32_t character);     /* N */
bool bal_is_punctuation(int32_t character); /* P, and the symbols of ASCII */
bool bal_is_mark(int32_t character);        /* M */
bool bal_is_nonspacing(int32_t character);  /* Mn */
bool bal_is_control(int32_t character);     /* Cc, Cf, Co */
bool bal_is_chinese(int32_t character);     /* as BERT says */
/** Lower case of a character, at most two characters. @return their number. */
int bal_lower(int32_t character, int32_t lower[2]);
typedef enum bal_form { BAL_NFC, BAL_NFD, BAL_NFKC, BAL_NFKD } bal_form;
/** Append the normal form of text; invalid bytes are kept. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_unicode_normalize(bal_form form, const char *text, size_t n_bytes, bal_bytes *out);

/* pattern.c */

/* A part of a text that a pattern matched, or one between two of these. */
typedef struct bal_text_span {
    size_t start, end;
    bool match;
} bal_text_span;
typedef struct bal_text_spans {
    bal_text_span *at;
    size_t n, room;
} bal_text_spans;

typedef struct bal_pattern bal_pattern; /* a compiled regular expression */
typedef struct bal_matcher bal_matcher; /* what matching needs, for one thread */
/**
 * Compile a pattern in the syntax of Oniguruma for Ruby, as the tokenizers library has them.
 * @param origin, part  for the message
 * @return BAL_OK; BAL_ERR_INPUT: damaged, or with a meaning that is unknown here; BAL_ERR_MEMORY.
 */
bal_status bal_pattern_create(const char *origin, const char *part, const char *pattern,
                              size_t n_bytes, bal_pattern **compiled);
void bal_pattern_destroy(bal_pattern **pattern);
void bal_matcher_destroy(bal_matcher **matcher); /* NULL is fine */
/** Spans of all matches and of the text between them, in order, covering text. Matches may be
 * empty. *matcher is made if it is NULL. @return BAL_OK; BAL_ERR_INPUT: the pattern needs too many
 *  steps; BAL_ERR_MEMORY. */
bal_status bal_pattern_find(const bal_pattern *pattern, bal_matcher **matcher, const char *text,
                            size_t n_bytes, bal_text_spans *spans);
/** The same for characters of a class, and for a nonempty string. */
bal_status bal_class_find(bool (*is)(int32_t), const char *text, size_t n_bytes,
                          bal_text_spans *spans);
bal_status bal_string_find(const char *string, size_t n_string, const char *text, size_t n_bytes,
                           bal_text_spans *spans);

/* steps: normalizer.c, pretokenizer.c, decoder.c */

typedef enum bal_step_kind {
    BAL_STEP_PREPEND, /* content before a nonempty text */
    BAL_STEP_REPLACE, /* every match of the pattern becomes content */
    BAL_STEP_FORM,    /* a Unicode normal form */
    BAL_STEP_LOWER,
    BAL_STEP_STRIP, /* white space at the ends is removed */
    BAL_STEP_STRIP_ACCENTS,
    BAL_STEP_CLEAN,         /* BERT: no control characters, one kind of space */
    BAL_STEP_CHINESE,       /* BERT: spaces around Chinese characters */
    BAL_STEP_NONSPACING,    /* BERT: nonspacing marks are removed */
    BAL_STEP_LETTERS,       /* bytes become the letters of byte-level tokenizers */
    BAL_STEP_SENTENCEPIECE, /* spaces as in SentencePiece */

    BAL_STEP_SPLIT,        /* at the matches of the pattern or class */
    BAL_STEP_PREFIX_SPACE, /* a space before pieces without one */
    BAL_STEP_METASPACE,

    BAL_STEP_DECODE_LETTERS,
    BAL_STEP_DECODE_BYTES, /* "<0xAB>" becomes that byte; adjacent ones become one piece */
    BAL_STEP_DECODE_FUSE,  /* all pieces become one */
    BAL_STEP_DECODE_STRIP, /* up to n_front and n_back copies of content are cut off the ends */
    BAL_STEP_DECODE_METASPACE,
    BAL_STEP_DECODE_WORDPIECE,
    BAL_STEP_DECODE_SUFFIX, /* content, which ends a word, becomes a space */
    BAL_STEP_DECODE_SENTENCEPIECE,
} bal_step_kind;

/* What happens to the matches of a Split. */
typedef enum bal_behavior {
    BAL_SPLIT_REMOVED,
    BAL_SPLIT_ISOLATED,
    BAL_SPLIT_MERGED_WITH_PREVIOUS,
    BAL_SPLIT_MERGED_WITH_NEXT,
    BAL_SPLIT_CONTIGUOUS,
} bal_behavior;
typedef enum bal_prepend { BAL_PREPEND_ALWAYS, BAL_PREPEND_FIRST, BAL_PREPEND_NEVER } bal_prepend;

#define BAL_STEPS_MAX 32
#define BAL_STEP_BYTES_MAX 64 /* of a string that is found or inserted */

typedef struct bal_step {
    bal_step_kind kind;
    const char *string, *content; /* string: what is found, if there is no pattern */
    size_t n_string, n_content;
    bal_pattern *pattern;
    bool (*is)(int32_t); /* a class instead */
    bal_form form;
    bal_behavior behavior;
    bal_prepend prepend;
    bool invert, front, back, cleanup; /* back: also split of Metaspace */
    int64_t n_front, n_back;
} bal_step;
typedef struct bal_steps {
    bal_step step[BAL_STEPS_MAX];
    int n;
} bal_steps;
/** Append a step. NULL, with a message, if there are too many. */
bal_step *bal_steps_next(bal_steps *steps, const char *origin, const char *part);

/* vocabulary.c, added.c */

typedef struct bal_token {
    const char *bytes; /* as spelled in the file; NULL: no token has this id */
    const char *shown; /* what the decoder sees instead; NULL: bytes */
    uint32_t n_bytes, n_shown;
    float score;
    bool special; /* decodes to nothing */
    bool hidden;  /* never found in a text */
    bool whole;   /* SentencePiece: user-defined, never merged */
} bal_token;

/* A token that is cut out of a text first; sorted by the bytes of the patterns. */
typedef struct bal_added {
    bal_bytes pattern;
    int32_t id;
    bool single_word, lstrip, rstrip;
} bal_added;
typedef struct bal_added_list {
    bal_added *at;
    size_t n;
    bool may_start[256];
} bal_added_list;

typedef enum bal_added_kind {
    BAL_ADDED_RAW,        /* found before the normalizer */
    BAL_ADDED_NORMALIZED, /* found after it */
    BAL_ADDED_PIECES,     /* user-defined pieces of SentencePiece, found by its model */
    BAL_ADDED_LISTS,
} bal_added_kind;

typedef struct bal_merge {
    int32_t left, right, merged; /* left < 0: an empty place in the table */
    uint32_t priority;           /* lowest first */
} bal_merge;

typedef enum bal_subword_kind {
    BAL_SUBWORD_BPE,       /* merges of pairs of ids */
    BAL_SUBWORD_WORDPIECE, /* longest token first */
    BAL_SUBWORD_SP_BPE,    /* SentencePiece: merges of strings by the score of their union */
    BAL_SUBWORD_SP_UNIGRAM,
    BAL_SUBWORD_SP_CHAR,
} bal_subword_kind;

typedef enum bal_tokenizer_kind {
    BAL_TOKENIZER_LLAMA2C,
    BAL_TOKENIZER_HF,
    BAL_TOKENIZER_SENTENCEPIECE,
} bal_tokenizer_kind;

/* SentencePiece: a map of strings, as a double-array trie of little-endian units. Its values are
 * places in the texts, each of which ends with a 0. */
typedef struct bal_charsmap {
    const char *units, *texts;
    size_t n_units, n_texts; /* n_units 0: no string changes */
} bal_charsmap;

#define BAL_AFFIX_MAX 16 /* tokens that a post-processor adds before or after a text */

#define BAL_ENDS_MAX 16

/* Tokens by id and by string, merges by pair. */
typedef struct bal_vocab {
    int64_t n_ids;     /* of the model */
    int64_t n_tokens;  /* highest id + 1; at most n_ids */
    bal_token *tokens; /* [n_tokens] */
    size_t longest;    /* bytes of the longest token */
    int32_t *ids;      /* hash table from strings to the lowest id; -1: empty */
    size_t ids_mask;
    bal_merge *merges; /* hash table from (left, right) */
    size_t merges_mask;
} bal_vocab;

/* How a word becomes tokens. */
typedef struct bal_subword {
    bal_subword_kind kind;
    const char *prefix, *suffix; /* of what continues and of what ends a word; "": none */
    size_t n_prefix, n_suffix;
    int64_t word_max;      /* longest word, in characters, that WordPiece cuts */
    int32_t byte_ids[256]; /* byte tokens; -1: none */
    int32_t unknown;       /* -1: none */
    bool fuse_unknown, ignore_merges;
    float lowest_score;       /* of normal tokens */
    const char *unknown_text; /* SentencePiece: what the unknown token decodes to */
    size_t n_unknown_text;
    bal_charsmap charsmap;
} bal_subword;

/* Tokens with a special meaning, and those that are added around a text. */
typedef struct bal_specials {
    int32_t ids[BAL_SPECIAL_MASK + 1]; /* -1: none */
    int32_t ends[BAL_ENDS_MAX];        /* tokens that end a text, besides the end token */
    int n_ends;
    int32_t before[BAL_AFFIX_MAX], after[BAL_AFFIX_MAX];
    int64_t n_before, n_after;
    bool fixed_affixes; /* add_bos_token does not change them */
} bal_specials;

struct bal_tokenizer {
    bal_tokenizer_kind kind;
    const char *origin;       /* of the file being read */
    size_t n_source;          /* bytes of all files: limits what they may ask for */
    struct bal_block *blocks; /* kept strings */
    bal_vocab vocab;
    bal_subword subword;
    bal_specials specials;
    bal_added_list added[BAL_ADDED_LISTS];
    bal_steps normalizer, splits, decoder;
    bool join_with_spaces; /* no decoder */
};

/** Copy a string; the copy lives as long as the tokenizer. NULL: no memory. */
const char *bal_keep(bal_tokenizer *tokenizer, const char *string, size_t n_bytes);
void bal_blocks_free(struct bal_block *block);

/* A word as merging sees it: its symbols in the order of the text. */
typedef struct bal_symbol {
    int32_t id; /* -1: unknown */
    int32_t previous, next;
    int32_t start, n_bytes; /* n_bytes 0: merged into an earlier symbol */
    bool whole;             /* never merged */
} bal_symbol;
/* A merge that was possible when it was queued. */
typedef struct bal_candidate {
    uint64_t order; /* priority, then position of the left symbol */
    int32_t merged;
} bal_candidate;
/* The best way to a place of the text. */
typedef struct bal_path {
    int32_t id, start; /* start -1: no way yet */
    float score;
} bal_path;
typedef struct bal_word bal_word; /* the cached tokens of a short word */

/* Work space of encoding and decoding; not for two threads at once. */
typedef struct bal_work {
    const bal_tokenizer *tokenizer;
    bal_ids ids;
    bal_bytes normal, spare;
    bal_pieces pieces, spare_pieces;
    bal_text_spans spans;
    bal_matcher *matcher;
    bal_word *words; /* if it remembers any */
    bool remembers;
    bal_symbol *symbols;  /* [n_symbols] */
    bal_candidate *queue; /* [2 * n_symbols], a heap of n_queue */
    bal_path *paths;      /* [n_paths] */
    size_t n_symbols, n_queue, n_paths;
} bal_work;
void bal_work_clear(bal_work *work);

/** Take text through the steps; *at_start becomes false if the start of text is removed.
 *  @return BAL_OK; BAL_ERR_INPUT: a pattern takes too many steps; BAL_ERR_MEMORY. */
bal_status bal_normalize(bal_work *work, const bal_steps *steps, bal_bytes *text, bool *at_start);
/** Append text with step's content in place of its string or pattern. Errors as above. */
bal_status bal_replace(bal_work *work, const bal_step *step, const char *text, size_t n_bytes,
                       bal_bytes *out);
/** SentencePiece's normalizer: its map, then spaces. Each becomes step's content; one is added in
 *  front or at the back; with cleanup, those at the ends and all but one of several are removed.
 * @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_sentencepiece_normalize(const bal_tokenizer *tokenizer, const bal_step *step,
                                       const bal_bytes *text, bal_bytes *out);
/** Keep a precompiled_charsmap. @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_charsmap_read(bal_tokenizer *tokenizer, const void *bytes, size_t n_bytes);
/** Cut work->pieces into smaller pieces. Errors as above. */
bal_status bal_split(bal_work *work);
/** Take work->pieces, one per token, through the decoder. Errors as above. */
bal_status bal_decode(bal_work *work);
/** Append the tokens of one piece. @return BAL_OK; BAL_ERR_INPUT: a character that cannot be
 *  expressed, or a text of 2^31 bytes or more; BAL_ERR_MEMORY. */
bal_status bal_merges_encode(bal_work *work, const char *text, size_t n_bytes);
bal_status bal_wordpiece_encode(bal_work *work, const char *text, size_t n_bytes);
bal_status bal_unigram_encode(bal_work *work, const char *text, size_t n_bytes);
bal_status bal_characters_encode(bal_work *work, const char *text, size_t n_bytes);
/** Higher scores first; -0 and 0 are equal. */
uint32_t bal_score_priority(float score);
/** Steps of the tokenizer that turn bytes into letters. */
int bal_letters_count(const bal_tokenizer *tokenizer);
/** The message for a byte that has no token. @return BAL_ERR_INPUT. */
bal_status bal_refuse_byte(char byte);
/** SentencePiece: the bytes of the user-defined piece, or else of the character, at the start of
 *  text. */
size_t bal_unit_bytes(const bal_tokenizer *tokenizer, const char *text, size_t n_bytes,
                      bool *whole);
/** SentencePiece: append a piece, or what replaces it if it has no id. *unknown: the piece before
 *  was unknown; then both become one token. */
bal_status bal_piece_put(bal_work *work, const char *text, size_t n_bytes, int32_t id,
                         bool *unknown);

/** Index the tokens so far by their strings. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_tokens_index(bal_tokenizer *tokenizer);
/** The lowest id of a string; -1 if it is not a token. */
int32_t bal_tokens_find(const bal_tokenizer *tokenizer, const char *bytes, size_t n_bytes);
/** Give a token to an id that has none. @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_tokens_put(bal_tokenizer *tokenizer, int32_t id, const char *bytes, size_t n_bytes);
/** Make an empty table for n_merges merges. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_merges_create(bal_tokenizer *tokenizer, size_t n_merges);
/** The place of a pair in the table. If left < 0, the pair is missing and may be put there. */
bal_merge *bal_merges_find(const bal_tokenizer *tokenizer, int32_t left, int32_t right);
/** Put a merge of that rank in the table. place names it in messages. */
bal_status bal_merges_put(bal_tokenizer *tokenizer, const char *place, size_t rank,
                          const char *left, size_t n_left, const char *right, size_t n_right);

/** Append an added token, which is found wherever its pattern occurs; bal_added_sort ends the list.
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_added_put(bal_tokenizer *tokenizer, bal_added_kind kind, const char *pattern,
                         size_t n_bytes, bal_added flags);
void bal_added_sort(bal_tokenizer *tokenizer);
/** The longest added token at the start of text. NULL: none. */
const bal_added *bal_added_at(const bal_added_list *list, const char *text, size_t n_bytes);
/** The first added token at or after from, the longest of those there. NULL: none. */
const bal_added *bal_added_find(const bal_added_list *list, const char *text, size_t n_bytes,
                                size_t from, size_t *start);

#endif
