/* fuzz_task_file.c: any bytes as a task file: a task or a sentence, never a crash. */
#include <stdint.h>

#include "task/task_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char *const wordings[] = {"", "plain"};
    for (int i = 0; i < 2; ++i) {
        bal_task_file file;
        bal_status status = bal_task_file_read("task.ini", bytes, n_bytes, wordings[i], &file);
        if (status == BAL_OK && file.wording.prompt.n == 0) __builtin_trap();
        bal_task_file_clear(&file);
    }
    return 0;
}
