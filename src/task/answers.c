/* answers.c: how alike two answers are, as the evaluation of SQuAD 1.1 compares them. */
#include <string.h>

#include "ballot/task.h"

static bool is_punctuation(char c)
{
    return c != 0 && strchr("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", c) != NULL;
}

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The next character of a word at *at; 0: the word ends. Punctuation is passed over. */
static char next_character(const char **at)
{
    while (is_punctuation(**at)) ++*at;
    char c = **at;
    if (c == 0 || is_blank(c)) return 0;
    ++*at;
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_word(const char *at, const char *word)
{
    char c;
    do {
        c = next_character(&at);
    } while (c != 0 && c == *word++);
    return c == 0 && *word == 0;
}

/* Past the word at `at`. */
static const char *past(const char *at)
{
    while (next_character(&at) != 0) continue;
    return at;
}

/* The first word from `at` on that counts; NULL: none. */
static const char *find_word(const char *at)
{
    for (; *at != 0; at = past(at)) {
        while (is_blank(*at) || is_punctuation(*at)) ++at;
        bool article = is_word(at, "a") || is_word(at, "an") || is_word(at, "the");
        if (*at != 0 && !article) return at;
    }
    return NULL;
}

static bool same_word(const char *a, const char *b)
{
    char c;
    while ((c = next_character(&a)) == next_character(&b))
        if (c == 0) return true;
    return false;
}

/* How often the word at `word` stands in a text, from its beginning up to the word at `end`. */
static int64_t count(const char *text, const char *word, const char *end)
{
    int64_t n = 0;
    for (const char *at = find_word(text); at != NULL && at != end; at = find_word(past(at)))
        n += same_word(at, word);
    return n;
}

bool bal_answer_exact(const char *answer, const char *right)
{
    const char *a = find_word(answer), *b = find_word(right);
    while (a != NULL && b != NULL && same_word(a, b)) {
        a = find_word(past(a));
        b = find_word(past(b));
    }
    return a == NULL && b == NULL;
}

int64_t bal_answer_f1(const char *answer, const char *right)
{
    int64_t n_answer = 0, n_right = 0, n_shared = 0;
    for (const char *at = find_word(right); at != NULL; at = find_word(past(at))) ++n_right;
    for (const char *at = find_word(answer); at != NULL; at = find_word(past(at))) {
        ++n_answer;
        n_shared += count(answer, at, at) < count(right, at, NULL);
    }
    int64_t n = n_answer + n_right;
    if (n_answer == 0 || n_right == 0) return n == 0 ? BAL_METRIC_ONE : 0;
    return (4 * n_shared * BAL_METRIC_ONE + n) / (2 * n);
}
