/* formats.c: which format each matrix of a model has. */
#include <fnmatch.h>
#include <string.h>

#include "formats.h"

bool bal_format_read(const char *text, bal_format *format, int *group)
{
    char name[16];
    const char *colon = strchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : strlen(text);
    if (n >= sizeof name) return false;
    memcpy(name, text, n);
    name[n] = 0;
    if (!bal_format_parse(name, format)) return false;
    if (colon == NULL) return true;
    *group = strcmp(colon, ":32") == 0 ? 32 : strcmp(colon, ":64") == 0 ? 64 : 128;
    return bal_format_is_nibbles(*format) && (*group != 128 || strcmp(colon, ":128") == 0);
}

bal_status bal_format_list_init(bal_format_list *list, const bal_formats *formats)
{
    *list = (bal_format_list){.formats = formats};
    char *rest = NULL;
    snprintf(list->text, sizeof list->text, "%s", formats->patterns);
    for (char *word = strtok_r(list->text, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        char *equals = strrchr(word, '=');
        bal_format_choice *choice = &list->choices[list->n];
        *choice = (bal_format_choice){.pattern = word, .group = formats->group};
        if (list->n == BAL_FORMAT_CHOICES_MAX)
            return bal_fail(BAL_ERR_CONFIG, "[model] formats has more than %d patterns",
                            BAL_FORMAT_CHOICES_MAX);
        if (equals == NULL || equals == word ||
            !bal_format_read(equals + 1, &choice->format, &choice->group) ||
            choice->format == BAL_F32 || choice->format == BAL_I16)
            return bal_fail(
                BAL_ERR_CONFIG,
                "[model] formats: \"%s\"; expected PATTERN=i8, PATTERN=i4 or PATTERN=nf4. After "
                "the last two, :32, :64 or :128 says how many columns share a factor",
                word);
        *equals = 0;
        ++list->n;
    }
    return BAL_OK;
}

static bool matches(const char *pattern, const char *name)
{
    if (strcmp(pattern, "embedding") == 0)
        return fnmatch("model.embed_*", name, 0) == 0 || fnmatch("lm_head.*", name, 0) == 0;
    return fnmatch(pattern, name, 0) == 0;
}

void bal_format_list_find(bal_format_list *list, const char *name, bal_format *format, int *group)
{
    *format = list->formats->matrices;
    *group = list->formats->group;
    if (*format == BAL_F32) return;
    for (int i = 0; i < list->n; ++i)
        if (matches(list->choices[i].pattern, name)) {
            list->choices[i].matched = true;
            *format = list->choices[i].format;
            *group = list->choices[i].group;
            return;
        }
}

bal_status bal_format_list_check(const bal_format_list *list)
{
    for (int i = 0; i < list->n && list->formats->matrices != BAL_F32; ++i)
        if (!list->choices[i].matched)
            return bal_fail(BAL_ERR_CONFIG,
                            "[model] formats: %s matches no matrix that earlier patterns have "
                            "left; see the names with: ballot inspect MODEL",
                            list->choices[i].pattern);
    return BAL_OK;
}
