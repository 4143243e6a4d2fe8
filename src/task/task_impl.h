/* task_impl.h: from a task file and rows to texts and tokens. */
#ifndef BALLOT_TASK_IMPL_H
#define BALLOT_TASK_IMPL_H

#include "ballot/task.h"

/* memory.c */

/** Bytes that grow; the owner frees bytes. {0}: none. */
typedef struct bal_buffer {
    char *bytes;
    size_t n, capacity;
} bal_buffer;
/** Append bytes; after that, bytes is not NULL even of none. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_buffer_add(bal_buffer *buffer, const void *bytes, size_t n);
/** Make room for n elements in an array of *capacity. @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_task_grow(void *array, int64_t *capacity, int64_t n, size_t element_bytes);
/** Pieces of memory that are freed together. {0}: none. */
typedef struct bal_arena {
    struct bal_arena_piece *last;
} bal_arena;
/** n_bytes zeroed bytes; NULL: no memory. */
void *bal_arena_take(bal_arena *arena, size_t n_bytes);
void bal_arena_clear(bal_arena *arena);

/** Bytes of somebody else. */
typedef struct bal_span {
    const char *at;
    size_t n;
} bal_span;

/** Where a sentence says that something stands: "FILE:LINE". */
typedef struct bal_place {
    const char *path;
    int line;
} bal_place;

/* rows.c: rows as texts, whatever file they come from */

/** What a task needs of a row: a name, and where it stands in a row. */
typedef struct bal_field {
    const char *name;
    const char *path; /* a column's name, or keys of JSON: "passage.questions[].question" */
} bal_field;

typedef enum bal_row_format {
    BAL_ROWS_TSV,
    BAL_ROWS_CSV,
    BAL_ROWS_JSONL,
    BAL_ROWS_JSON
} bal_row_format;

/** How a file holds rows. */
typedef struct bal_row_form {
    bal_row_format format;
    int n_columns; /* 0: the first line names them */
    const char **columns;
    char separator;   /* of TSV; 0: a tab, and every column ends there */
    const char *each; /* of JSON: "": a row is the document, or the line */
    int n_fields;
    bal_field *fields;
} bal_row_form;

/** The rows of a file: of each row and field a list of texts, which has one unless the path of the
 *  field has a [] that `each` has not. */
typedef struct bal_rows {
    const char *path;         /* borrowed */
    const bal_row_form *form; /* borrowed */
    int64_t n, capacity;
    int64_t *line;  /* [n]; of JSON the number of the row */
    int64_t *first; /* [n * n_fields + 1] the first text of each list */
    int64_t n_lists, lists_capacity;
    int64_t *end; /* [n_texts] of each text, in bytes */
    int64_t n_texts, texts_capacity;
    bal_buffer bytes;
} bal_rows;
void bal_rows_clear(bal_rows *rows);
/** How many texts a field of a row has. */
int64_t bal_rows_count(const bal_rows *rows, int64_t row, int field);
/** One of them; borrowed. */
bal_span bal_rows_text(const bal_rows *rows, int64_t row, int field, int64_t k);
/** A failure that starts with where the row stands. */
bal_status bal_rows_fail(const bal_rows *rows, int64_t row, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For readers: a row is begun, then each field is given its texts and ended, in order. */
bal_status bal_rows_begin(bal_rows *rows, int64_t line);
bal_status bal_rows_add(bal_rows *rows, const char *text, size_t n_bytes);
bal_status bal_rows_end(bal_rows *rows);

/* columns.c, objects.c: readers */
bal_status bal_rows_read_columns(const char *text, size_t n_bytes, bal_rows *rows);
bal_status bal_rows_read_objects(const char *text, size_t n_bytes, bal_rows *rows);

/* read.c */
/** Read all rows of a file. Release with bal_rows_clear, also after a failure.
 *  @return BAL_OK; BAL_ERR_INPUT: missing, a row that does not parse, or one without a field;
 *          BAL_ERR_MEMORY. */
bal_status bal_rows_open(const char *path, const bal_row_form *form, bal_rows *rows);

/* template.c */

/** What is done to a field's text: a row of the list in filters.c. */
typedef struct bal_filter {
    const struct bal_filter_kind *kind;
    bal_span word; /* what stands in its brackets */
} bal_filter;

/** A piece of a template: text as it is, or a field. */
typedef struct bal_piece {
    bal_span text;
    int field; /* -1: none */
    int n_filters;
    bal_filter *filters;
} bal_piece;

typedef struct bal_template {
    int n;
    bal_piece *pieces; /* [n] */
} bal_template;

/** Names of fields to their numbers: finds a field, or adds one whose path is its name. */
typedef struct bal_names {
    bal_arena *arena;
    bal_row_form *form;
    int64_t capacity; /* of form->fields */
} bal_names;
bal_status bal_names_find(bal_names *names, bal_span name, int *field);

/** Make a template of text with {field|filter|filter(word)}; \{ is a brace.
 *  @return BAL_OK; BAL_ERR_INPUT: no such filter, a brace that is not closed; BAL_ERR_MEMORY. */
bal_status bal_template_make(bal_place place, const char *text, bal_names *names,
                             bal_template *made);
/** Has it a field? */
bool bal_template_varies(const bal_template *made);
/** How many texts it gives of a row: as many as its longest list of a field. */
int64_t bal_template_count(const bal_template *made, const bal_rows *rows, int64_t row);
/** Append the k-th of these texts. @return BAL_OK; BAL_ERR_INPUT: a field that a filter has nothing
 *  to say of, or lists of different lengths; BAL_ERR_MEMORY. */
bal_status bal_template_fill(const bal_template *made, const bal_rows *rows, int64_t row, int64_t k,
                             bal_buffer *text);

/* filters.c */

/** Find "name" or "name(word)". @return BAL_OK; BAL_ERR_INPUT. */
bal_status bal_filter_find(bal_place place, bal_span words, bal_filter *filter);
/** Apply it to the bytes of a buffer from `from` on. @return BAL_OK; BAL_ERR_INPUT with a sentence
 *  on its own; BAL_ERR_MEMORY. */
bal_status bal_filter_apply(const bal_filter *filter, bal_buffer *text, size_t from);

/* file.c */

/** A way to ask: a [template] section, or a [template NAME]. */
typedef struct bal_wording {
    const char *prompt_text, *neutral_text; /* NULL: none */
    bal_template prompt, neutral;
    int n_candidates, n_answers;        /* one of them is 0 */
    bal_template *candidates, *answers; /* answers are all right */
    const char *between;                /* demonstrations */
} bal_wording;

/** A task file. */
typedef struct bal_task_file {
    bal_arena arena;
    const char *path;
    bal_row_form form;
    const char *rows[BAL_N_SPLITS]; /* paths; NULL: none */
    int64_t n[BAL_N_SPLITS];
    bal_template label; /* without pieces: answers are written */
    int n_labels;
    const char **labels;
    bool same_answers; /* of every row: candidate i is labels[i] */
    bal_metric metric;
    bal_task_score score;
    const char *stop;
    int64_t n_new; /* tokens of an answer */
    bal_wording wording;
    uint64_t hash; /* of the file's bytes */
} bal_task_file;
/** Read a task file, with [template wording]; "": [template]. Release with bal_task_file_clear,
 * also after a failure. @return BAL_OK; BAL_ERR_INPUT; BAL_ERR_MEMORY. */
bal_status bal_task_file_open(const char *path, const char *wording, bal_task_file *file);
/** The same of bytes. */
bal_status bal_task_file_read(const char *path, const void *bytes, size_t n_bytes,
                              const char *wording, bal_task_file *file);
void bal_task_file_clear(bal_task_file *file);

/* ask.c */

/** The label of a row. @return BAL_OK; BAL_ERR_INPUT: it is not in the list. */
bal_status bal_row_label(const bal_task_file *file, const bal_rows *rows, int64_t row, int *label);
/** A row as texts, with one of the prompts of the wording. Release with bal_asked_clear, also after
 *  a failure. @return as bal_task_ask. */
bal_status bal_row_ask(const bal_task_file *file, const bal_rows *rows, int64_t row,
                       const bal_template *prompt, bal_asked *asked);

/* splits.c */

/** Shuffle n elements by a seed; the same on every machine. */
void bal_shuffle(int64_t *elements, int64_t n, uint64_t seed);
/** Choose n_wanted of the first *n elements, so that each label comes as often, as far as it can,
 *  and close the gaps that they leave. @param label  of each element, [element] */
void bal_choose_balanced(int64_t *elements, int64_t *n, const int32_t *label, int n_labels,
                         int64_t n_wanted, int64_t *chosen);

/* task.c */

/** A task that is open. */
struct bal_task {
    bal_task_file file;
    char *path;
    bal_task_score score;
    int64_t shots;
    bal_rows rows[BAL_N_SPLITS]; /* of the files that are open */
    char *rows_path[BAL_N_SPLITS];
    int32_t *label[BAL_N_SPLITS]; /* of the rows of each file; 0 where answers are written */
    bal_split from[BAL_N_SPLITS]; /* whose file the rows of a split stand in */
    int64_t *index[BAL_N_SPLITS]; /* [n[split]] rows of that file, in its order */
    int64_t n[BAL_N_SPLITS];
    bal_buffer demonstrations; /* ends with a 0, if there are any */
};

/* encode.c */

/** Examples as tokens. Each has parts: its prompt, its answers, then, if calibrated, the neutral
 *  prompt and the answers after that. */
typedef struct bal_encoded {
    int64_t n, capacity;
    int64_t *first_part; /* [n + 1] */
    int32_t *right;      /* [n] */
    int64_t n_parts, parts_capacity, rights_capacity;
    int64_t *end; /* [n_parts] of each part, in tokens */
    int64_t n_tokens, tokens_capacity;
    int32_t *tokens;
    int64_t n_common; /* tokens that each prompt begins with, the demonstrations */
    bool calibrated;
    bal_batch_size room; /* of an example at most, without what is common */
    int64_t n_bytes;     /* of the texts */
} bal_encoded;
/** Encode a split. Release with bal_encoded_clear, also after a failure. @return as
 *  bal_task_dataset. */
bal_status bal_encode(const bal_task *task, const bal_tokenizer *tokenizer, bal_split split,
                      int64_t context, bal_encoded *encoded);
void bal_encoded_clear(bal_encoded *encoded);
/** A part of an example; the n tokens are borrowed. */
const int32_t *bal_encoded_part(const bal_encoded *encoded, int64_t example, int64_t part,
                                int64_t *n);

/* written.c */

/** What answers that are written are graded with. */
typedef struct bal_written {
    const bal_task *task;
    const bal_tokenizer *tokenizer;
    bal_split split;
    int64_t n_vocab;
    bool *ends; /* [n_vocab] tokens that end an answer */
} bal_written;
bal_status bal_written_init(bal_written *written, const bal_task *task,
                            const bal_tokenizer *tokenizer, bal_split split);
void bal_written_clear(bal_written *written);
/** Does a token end an answer: has it the text that does, or is it the end of a text? */
bool bal_written_ends(const bal_written *written, int32_t token);
/** The best grade of an answer beside each that is right, up to the text that ends it.
 *  @return BAL_OK; BAL_ERR_MEMORY. */
bal_status bal_written_grade(const bal_written *written, int64_t index, const int32_t *tokens,
                             int64_t n, bal_grade *grade);

#endif
