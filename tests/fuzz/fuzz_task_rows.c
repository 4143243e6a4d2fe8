/* fuzz_task_rows.c: any bytes as rows, after a byte that says in which form: texts or a sentence,
 * never a crash. Every text that was read is asked for. */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "task/task_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* A task for each form, with filters and lists. */
static const char *const tasks[] = {
    "[rows]\nformat = tsv\n",
    "[rows]\nformat = csv\n",
    "[rows]\nformat = tsv\nseparator = \" \"\ncolumns = label, text\n",
    "[rows]\nformat = jsonl\n[fields]\ntext = a[].b\n",
    "[rows]\nformat = jsonl\neach = p.q[].r[]\n[fields]\ntext = p.q[].t\nlabel = p.q[].r[].l\n",
    "[rows]\nformat = json\neach = [].q[]\n[fields]\ntext = [].t[1]\nlabel = [].q[].l[]\n",
};
#define N_TASKS (sizeof tasks / sizeof *tasks)

static bal_status read_task(const char *form, bal_task_file *file)
{
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "%s[answer]\nlabel = \"{label|before(:)|trim}\"\nlabels = 0, 1\n[template]\n"
                     "prompt = \"{label|map(0=x,1=y)} {label|lower_word|upper_first} \"\n"
                     "candidates = \"{text|no_end(.)}\", \"{text|after(e)|lower}\"\n",
                     form);
    return bal_task_file_read("task.ini", text, (size_t)n, "", file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    if (n_bytes == 0) return 0;
    char path[64];
    int fd = memfd_create("rows", 0);
    if (fd < 0 || bal_write_all(fd, bytes + 1, n_bytes - 1, "rows") != BAL_OK) return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bal_task_file file;
    bal_rows rows = {0};
    bal_status status = read_task(tasks[bytes[0] % N_TASKS], &file);
    if (status != BAL_OK) __builtin_trap();
    status = bal_rows_open(path, &file.form, &rows);
    if (status == BAL_OK && rows.n == 0) __builtin_trap();
    for (int64_t i = 0; i < rows.n && status == BAL_OK; ++i) {
        bal_asked asked;
        bal_row_ask(&file, &rows, i, &file.wording.prompt, &asked);
        bal_asked_clear(&asked);
    }
    bal_rows_clear(&rows);
    bal_task_file_clear(&file);
    close(fd);
    return 0;
}
