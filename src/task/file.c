/* file.c: a task file: sections of key = value. */
#include <stdlib.h>
#include <string.h>

#include "ballot/ini.h"
#include "task_impl.h"

#define PROMPT_MAX 4096

/** What some keys are for alone. */
typedef enum use { ALL, JSON_ROWS, COLUMNS, TSV_ROWS, CHOSEN, WRITTEN, N_USES } use;

static const char *const use_words[N_USES] = {[JSON_ROWS] = "rows of jsonl and json",
                                              [COLUMNS] = "rows of tsv and csv",
                                              [TSV_ROWS] = "rows of tsv",
                                              [CHOSEN] = "candidates to choose from",
                                              [WRITTEN] = "answers to write"};

/** Keys that a section has once, or that go on if they are given again. [fields] has any. */
static const struct key {
    const char *section, *name;
    use use;
    bool goes_on;
} keys[] = {
    {"rows", "format", ALL, false},
    {"rows", "train", ALL, false},
    {"rows", "dev", ALL, false},
    {"rows", "test", ALL, false},
    {"rows", "columns", COLUMNS, false},
    {"rows", "separator", TSV_ROWS, false},
    {"rows", "each", JSON_ROWS, false},
    {"answer", "label", ALL, false},
    {"answer", "labels", ALL, false},
    {"answer", "metric", ALL, false},
    {"answer", "score", CHOSEN, false},
    {"answer", "stop", WRITTEN, false},
    {"answer", "tokens", WRITTEN, false},
    {"splits", "train", ALL, false},
    {"splits", "dev", ALL, false},
    {"splits", "test", ALL, false},
    {"template", "prompt", ALL, true},
    {"template", "neutral", ALL, true},
    {"template", "candidates", ALL, false},
    {"template", "answers", ALL, false},
    {"template", "between", ALL, false},
};
#define N_KEYS ((int)(sizeof keys / sizeof *keys))

/** What the reader of a file is at. */
typedef struct reader {
    bal_task_file *file;
    const char *wording; /* that is wanted */
    bool found;
    bal_names names;
    bal_place place;
    const char *value;
    char section[64];
    int line[N_KEYS]; /* of each; of those of a template, in this section; 0: it is not given */
    bool again;       /* the key at hand was given before, and goes on */
} reader;

static bal_status fail(const reader *r, const char *what, const char *key, const char *expected)
{
    return bal_fail(BAL_ERR_INPUT, "%s:%d: %s%s: expected %s", r->place.path, r->place.line, what,
                    key, expected);
}

static char *copy_of(reader *r, const char *text, size_t n)
{
    char *copy = bal_arena_take(&r->file->arena, n + 1);
    if (copy == NULL)
        bal_fail(BAL_ERR_MEMORY, "no memory for %s", r->place.path);
    else
        memcpy(copy, text, n);
    return copy;
}

/* The string that starts with a quote at *at, which goes to what follows its end. */
static bal_status read_quoted(reader *r, const char **at, char *copy)
{
    static const char letters[] = "nt\"\\;{}", meant[] = "\n\t\"\\;{}";
    size_t n = 0;
    const char *c = *at + 1;
    for (; *c != 0 && *c != '"'; ++c) {
        copy[n++] = *c;
        if (*c != '\\') continue;
        const char *letter = c[1] == 0 ? NULL : strchr(letters, c[1]);
        if (letter == NULL)
            return fail(r, "\\ before another character", "",
                        "\\n, \\t, \\\", \\\\, \\;, \\{ or \\}");
        n -= *letter != '{' && *letter != '}'; /* that of a brace is left to the template */
        copy[n++] = meant[letter - letters];
        ++c;
    }
    copy[n] = 0;
    if (*c == 0)
        return fail(r, "a quote is not closed", "",
                    "\"...\"; within it, \\\" and \\; (not \" ;\")");
    *at = c + 1;
    return BAL_OK;
}

/* The next word of a list: in quotes, or as it is up to a comma. *at: what follows its comma, or
 * NULL. */
static bal_status read_word(reader *r, const char **at, const char **word)
{
    const char *from = *at + strspn(*at, " \t"), *end;
    size_t n = strcspn(from, ",");
    char *copy = copy_of(r, from, strlen(from));
    if (copy == NULL) return BAL_ERR_MEMORY;
    *word = copy;
    if (*from == '"') {
        end = from;
        BAL_TRY(read_quoted(r, &end, copy));
        end += strspn(end, " \t");
        if (*end != 0 && *end != ',') return fail(r, "text after a closing quote", "", "a comma");
    } else {
        end = from + n;
        while (n > 0 && (from[n - 1] == ' ' || from[n - 1] == '\t')) --n;
        copy[n] = 0;
        if (n == 0) return fail(r, "a word of the list is empty", "", "\"\" if it shall be so");
    }
    *at = *end == ',' ? end + 1 : NULL;
    return BAL_OK;
}

static bal_status read_list(reader *r, const char ***words, int *n)
{
    int most = 1;
    for (const char *c = r->value; *c != 0; ++c) most += *c == ',';
    *words = bal_arena_take(&r->file->arena, (size_t)most * sizeof **words);
    if (*words == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", r->place.path);
    *n = 0;
    for (const char *at = r->value; at != NULL;) BAL_TRY(read_word(r, &at, &(*words)[(*n)++]));
    return BAL_OK;
}

static bal_status read_text(reader *r, const char **text)
{
    const char *at = r->value;
    if (*at != '"') {
        *text = copy_of(r, at, strlen(at));
        return *text == NULL ? BAL_ERR_MEMORY : BAL_OK;
    }
    BAL_TRY(read_word(r, &at, text));
    return at == NULL ? BAL_OK : fail(r, "several texts", "", "one");
}

static bal_status read_number(reader *r, int64_t min, int64_t max, int64_t *number)
{
    char *end, expected[64];
    long long value = strtoll(r->value, &end, 10);
    *number = value;
    if (end != r->value && *end == 0 && value >= min && value <= max) return BAL_OK;
    snprintf(expected, sizeof expected, "%lld to %lld", (long long)min, (long long)max);
    return fail(r, r->value, "", expected);
}

/* The number of a word in "a b c". */
static bal_status read_choice(reader *r, const char *words, unsigned *choice)
{
    size_t n = strlen(r->value);
    *choice = 0;
    for (const char *at = words; *at != 0; ++*choice) {
        size_t length = strcspn(at, " ");
        if (length == n && memcmp(at, r->value, n) == 0) return BAL_OK;
        at += length + (at[length] == ' ');
    }
    return fail(r, r->value, "", words);
}

/* Can the path of a field be followed? */
static bal_status check_path(reader *r, const char *path, bool is_each)
{
    int n_lists = 0;
    for (const char *c = path; *c != 0;) {
        size_t n = strcspn(c, ".[]"), digits = 0;
        bool dot = *c == '.' && c > path && c[1] != 0 && c[1] != '.' && c[1] != '[';
        if (*c == '[') digits = strspn(c + 1, "0123456789");
        bool list = *c == '[' && c[1 + digits] == ']' && digits < 9 && !(is_each && digits > 0);
        bool key = n > 0 && n < 256 && (c == path || c[-1] == '.');
        if (!dot && !list && !key)
            return fail(r, path, "",
                        "keys with dots between, [] for all of a list, [0] for its first");
        n_lists += list && digits == 0;
        c += dot ? 1 : list ? digits + 2 : n;
    }
    return n_lists < 8 ? BAL_OK : fail(r, path, "", "at most seven []");
}

static bal_status take_rows(reader *r, const char *key)
{
    static const char *const splits[BAL_N_SPLITS] = {"train", "dev", "test"};
    bal_row_form *form = &r->file->form;
    unsigned format;
    const char *separator;
    for (int i = 0; i < BAL_N_SPLITS; ++i)
        if (strcmp(key, splits[i]) == 0) return read_text(r, &r->file->rows[i]);
    if (strcmp(key, "format") == 0) {
        BAL_TRY(read_choice(r, "tsv csv jsonl json", &format));
        form->format = (bal_row_format)format;
        return BAL_OK;
    }
    if (strcmp(key, "columns") == 0) {
        BAL_TRY(read_list(r, &form->columns, &form->n_columns));
        return form->n_columns <= 256 ? BAL_OK : fail(r, key, "", "at most 256");
    }
    if (strcmp(key, "separator") == 0) {
        BAL_TRY(read_text(r, &separator));
        form->separator = separator[0];
        bool one = separator[0] != 0 && separator[1] == 0 && separator[0] != '\n';
        return one ? BAL_OK : fail(r, key, "", "one character in quotes");
    }
    if (strcmp(key, "each") == 0) {
        BAL_TRY(read_text(r, &form->each));
        return check_path(r, form->each, true);
    }
    return fail(r, "rows: ", key, "format, train, dev, test, columns, separator or each");
}

static bal_status take_field(reader *r, const char *key)
{
    const char *path;
    int n = r->file->form.n_fields, field;
    BAL_TRY(read_text(r, &path));
    BAL_TRY(bal_names_find(&r->names, (bal_span){key, strlen(key)}, &field));
    if (field < n) return fail(r, key, "", "a field once, before the templates that use it");
    r->file->form.fields[field].path = path;
    return BAL_OK;
}

static bal_status take_answer(reader *r, const char *key)
{
    bal_task_file *file = r->file;
    unsigned choice;
    const char *label;
    if (strcmp(key, "label") == 0) {
        BAL_TRY(read_text(r, &label));
        return bal_template_make(r->place, label, &r->names, &file->label);
    }
    if (strcmp(key, "labels") == 0) return read_list(r, &file->labels, &file->n_labels);
    if (strcmp(key, "metric") == 0) {
        BAL_TRY(read_choice(r, "accuracy macro_f1 exact_match token_f1", &choice));
        file->metric = (bal_metric)choice;
        return BAL_OK;
    }
    if (strcmp(key, "score") == 0) {
        BAL_TRY(read_choice(r, "sum mean calibrated", &choice));
        file->score = (bal_task_score)(choice + 1);
        return BAL_OK;
    }
    if (strcmp(key, "stop") == 0) return read_text(r, &file->stop);
    if (strcmp(key, "tokens") == 0) return read_number(r, 1, 4096, &file->n_new);
    return fail(r, "answer: ", key, "label, labels, metric, score, stop or tokens");
}

static bal_status take_split(reader *r, const char *key)
{
    static const char *const splits[BAL_N_SPLITS] = {"train", "dev", "test"};
    for (int i = 0; i < BAL_N_SPLITS; ++i)
        if (strcmp(key, splits[i]) == 0) return read_number(r, 1, INT32_MAX, &r->file->n[i]);
    return fail(r, "splits: ", key, "train, dev or test");
}

/* Templates of a list. */
static bal_status read_templates(reader *r, int *n, bal_template **made)
{
    const char **words;
    BAL_TRY(read_list(r, &words, n));
    *made = bal_arena_take(&r->file->arena, (size_t)*n * sizeof **made);
    if (*made == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", r->place.path);
    for (int i = 0; i < *n; ++i)
        BAL_TRY(bal_template_make(r->place, words[i], &r->names, &(*made)[i]));
    return BAL_OK;
}

/* A template; text that is given again goes on. */
static bal_status read_prompt(reader *r, const char **text, bal_template *made)
{
    const char *more, *before = r->again ? *text : "";
    BAL_TRY(read_text(r, &more));
    size_t n = strlen(before), n_more = strlen(more);
    if (n + n_more > PROMPT_MAX) return fail(r, "a prompt", "", "at most 4096 bytes");
    char *whole = bal_arena_take(&r->file->arena, n + n_more + 1);
    if (whole == NULL) return bal_fail(BAL_ERR_MEMORY, "no memory for %s", r->place.path);
    memcpy(whole, before, n);
    memcpy(whole + n, more, n_more);
    *text = whole;
    return bal_template_make(r->place, whole, &r->names, made);
}

static bal_status take_wording(reader *r, const char *key)
{
    bal_wording *w = &r->file->wording;
    if (strcmp(key, "prompt") == 0) return read_prompt(r, &w->prompt_text, &w->prompt);
    if (strcmp(key, "neutral") == 0) return read_prompt(r, &w->neutral_text, &w->neutral);
    if (strcmp(key, "candidates") == 0) return read_templates(r, &w->n_candidates, &w->candidates);
    if (strcmp(key, "answers") == 0) return read_templates(r, &w->n_answers, &w->answers);
    if (strcmp(key, "between") == 0) return read_text(r, &w->between);
    return fail(r, "template: ", key, "prompt, candidates, answers, neutral or between");
}

static bool is_template(const char *section)
{
    return strcmp(section, "template") == 0 || strncmp(section, "template ", 9) == 0;
}

/* Remember the line of a key, which a section has once unless it goes on. */
static bal_status note_key(reader *r, const char *section, const char *key)
{
    const char *kind = is_template(section) ? "template" : section;
    r->again = false;
    for (int i = 0; i < N_KEYS; ++i) {
        if (strcmp(keys[i].section, kind) != 0 || strcmp(keys[i].name, key) != 0) continue;
        r->again = r->line[i] > 0;
        if (r->again && !keys[i].goes_on)
            return bal_fail(BAL_ERR_INPUT, "%s:%d: %s is given twice, on line %d too; keep one",
                            r->place.path, r->place.line, key, r->line[i]);
        r->line[i] = r->place.line;
    }
    return BAL_OK;
}

/* A [template NAME] that is wanted begins as [template] is. */
static void begin_section(reader *r, const char *section)
{
    snprintf(r->section, sizeof r->section, "%s", section);
    for (int i = 0; i < N_KEYS; ++i)
        if (is_template(section) && strcmp(keys[i].section, "template") == 0) r->line[i] = 0;
    if (strncmp(section, "template ", 9) == 0 && strcmp(section + 9, r->wording) == 0)
        r->found = true;
}

static bal_status take_pair(void *user, const char *section, const char *key, const char *value,
                            int line)
{
    reader *r = user;
    r->place.line = line;
    r->value = value;
    if (strcmp(section, r->section) != 0) begin_section(r, section);
    BAL_TRY(note_key(r, section, key));
    if (strcmp(section, "rows") == 0) return take_rows(r, key);
    if (strcmp(section, "fields") == 0) return take_field(r, key);
    if (strcmp(section, "answer") == 0) return take_answer(r, key);
    if (strcmp(section, "splits") == 0) return take_split(r, key);
    if (strcmp(section, "template") == 0 && r->found)
        return fail(r, "section ", section, "it before [template NAME]");
    if (strcmp(section, "template") == 0) return take_wording(r, key);
    if (strncmp(section, "template ", 9) == 0)
        return strcmp(section + 9, r->wording) == 0 ? take_wording(r, key) : BAL_OK;
    return fail(r, "section ", section, "rows, fields, answer, splits, template or template NAME");
}

/* Is there a key that does nothing in such a file? */
static bal_status check_uses(const reader *r)
{
    bal_row_format format = r->file->form.format;
    bool is_json = format == BAL_ROWS_JSONL || format == BAL_ROWS_JSON;
    bool writes = r->file->wording.n_answers > 0;
    const bool is_used[N_USES] = {[ALL] = true,         [JSON_ROWS] = is_json,
                                  [COLUMNS] = !is_json, [TSV_ROWS] = format == BAL_ROWS_TSV,
                                  [CHOSEN] = !writes,   [WRITTEN] = writes};
    for (int i = 0; i < N_KEYS; ++i)
        if (r->line[i] > 0 && !is_used[keys[i].use])
            return bal_fail(BAL_ERR_INPUT,
                            "%s:%d: %s does nothing here: it is for %s; leave it out",
                            r->place.path, r->line[i], keys[i].name, use_words[keys[i].use]);
    return BAL_OK;
}

/* What is amiss in a file whose lines are all right; NULL: nothing. */
static const char *amiss(const bal_task_file *file)
{
    const bal_wording *w = &file->wording;
    bool is_written = file->metric == BAL_METRIC_EXACT_MATCH || file->metric == BAL_METRIC_TOKEN_F1;
    if (w->prompt_text == NULL) return "[template] has no prompt";
    if ((w->n_candidates > 0) == (w->n_answers > 0))
        return "[template] has candidates and answers, or none of them; expected one";
    if (w->n_answers > 0 && (file->n_labels > 0 || file->label.n > 0))
        return "[answer] has labels, but [template] has answers to write";
    if (w->n_candidates > 0 && file->n_labels == 0)
        return "[answer] has no labels, one for each of the candidates";
    if (file->same_answers && file->n_labels != w->n_candidates)
        return "[answer] labels and [template] candidates differ in number";
    if (w->n_candidates == 1 && file->n_labels < 2) return "there is one candidate; expected more";
    if (is_written != (w->n_answers > 0))
        return "[answer] metric does not fit: accuracy and macro_f1 are for candidates, "
               "exact_match and token_f1 for answers";
    if (!is_written && file->score == BAL_TASK_SCORE_CALIBRATED && w->neutral_text == NULL)
        return "[answer] score = calibrated needs a neutral prompt in [template]";
    return NULL;
}

/* What a file need not say. */
static bal_status finish(reader *r)
{
    bal_task_file *file = r->file;
    bal_row_form *form = &file->form;
    bool is_json = form->format == BAL_ROWS_JSONL || form->format == BAL_ROWS_JSON;
    if (r->wording[0] != 0 && !r->found)
        return bal_fail(BAL_ERR_INPUT, "%s: there is no [template %s]", file->path, r->wording);
    file->same_answers = file->wording.n_candidates > 0;
    for (int i = 0; i < file->wording.n_candidates; ++i)
        if (bal_template_varies(&file->wording.candidates[i])) file->same_answers = false;
    const char *what = amiss(file);
    if (what != NULL) return bal_fail(BAL_ERR_INPUT, "%s: %s", file->path, what);
    BAL_TRY(check_uses(r));
    r->place.line = 0;
    if (file->wording.n_candidates > 0 && file->label.n == 0)
        BAL_TRY(bal_template_make(r->place, "{label}", &r->names, &file->label));
    for (int i = 0; i < form->n_fields && is_json; ++i)
        if (check_path(r, form->fields[i].path, false) != BAL_OK)
            return bal_fail(BAL_ERR_INPUT, "%s: the field %s, %s: expected keys with dots between",
                            file->path, form->fields[i].name, form->fields[i].path);
    return BAL_OK;
}

bal_status bal_task_file_read(const char *path, const void *bytes, size_t n_bytes,
                              const char *wording, bal_task_file *file)
{
    *file = (bal_task_file){.path = path,
                            .form = {.each = ""},
                            .n = {1000, 500, 1000},
                            .score = BAL_TASK_SCORE_MEAN,
                            .stop = "\n",
                            .n_new = 50,
                            .wording = {.between = "\n\n"},
                            .hash = bal_hash(bytes, n_bytes, 0)};
    reader r = {.file = file, .wording = wording, .place = {.path = path}};
    r.names = (bal_names){.arena = &file->arena, .form = &file->form};
    BAL_TRY(bal_ini_read(path, "task file", bytes, n_bytes, BAL_ERR_INPUT, take_pair, &r));
    return finish(&r);
}

bal_status bal_task_file_open(const char *path, const char *wording, bal_task_file *file)
{
    *file = (bal_task_file){0};
    bal_mapping text;
    BAL_TRY(bal_mapping_open(path, &text));
    bal_status status = bal_task_file_read(path, text.data, text.n_bytes, wording, file);
    bal_mapping_close(&text);
    return status;
}

void bal_task_file_clear(bal_task_file *file)
{
    free(file->form.fields);
    bal_arena_clear(&file->arena);
    *file = (bal_task_file){0};
}
