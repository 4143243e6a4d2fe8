/* status.c: status codes, the message of the last failure, log lines. */
#include <string.h>

#include "ballot/core.h"

static char failure[1024];
static bool log_on;

int bal_status_exit_code(bal_status status)
{
    static const int codes[] = {
#define BAL_STATUS_CODE(name, code, words) code,
        BAL_STATUS_LIST(BAL_STATUS_CODE)
#undef BAL_STATUS_CODE
    };
    return codes[status];
}

const char *bal_status_words(bal_status status)
{
    static const char *const all_words[] = {
#define BAL_STATUS_WORDS(name, code, words) words,
        BAL_STATUS_LIST(BAL_STATUS_WORDS)
#undef BAL_STATUS_WORDS
    };
    return all_words[status];
}

bal_status bal_fail(bal_status status, const char *format, ...)
{
    char text[sizeof failure]; /* an argument may be the last failure itself */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (unsigned char *c = (unsigned char *)text; *c != 0; ++c)
        if (*c < ' ' || *c == 127) *c = '?'; /* bytes of a file must not control the terminal */
    memcpy(failure, text, sizeof failure);
    return status;
}

const char *bal_failure(void) { return failure; }

void bal_log_enable(bool on) { log_on = on; }

void bal_log(bal_log_level level, const char *format, ...)
{
    if (!log_on) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s%s\n", level == BAL_LOG_WARN ? "warning: " : "", text);
}
