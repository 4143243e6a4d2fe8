/* formats.h: bal_formats as a list. */
#ifndef BALLOT_FORMATS_H
#define BALLOT_FORMATS_H

#include "ballot/model.h"

#define BAL_FORMAT_CHOICES_MAX 64

typedef struct bal_format_choice {
    const char *pattern;
    bal_format format;
    int group;
    bool matched;
} bal_format_choice;

typedef struct bal_format_list {
    const bal_formats *formats;
    int n;
    bal_format_choice choices[BAL_FORMAT_CHOICES_MAX + 1];
    char text[BAL_FORMATS_BYTES];
} bal_format_list;

/** @return BAL_OK; BAL_ERR_CONFIG: formats->patterns is no list of patterns. */
bal_status bal_format_list_init(bal_format_list *list, const bal_formats *formats);
/** Format and group of a matrix; its pattern, if it has one, has matched. */
void bal_format_list_find(bal_format_list *list, const char *name, bal_format *format, int *group);
/** @return BAL_OK; BAL_ERR_CONFIG: a pattern has matched nothing. */
bal_status bal_format_list_check(const bal_format_list *list);

#endif
