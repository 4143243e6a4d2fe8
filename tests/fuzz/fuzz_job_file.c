/* fuzz_job_file.c: any bytes as a job file: a job or a sentence, never a crash. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/cli_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    char path[64];
    int fd = memfd_create("job.ini", 0);
    if (fd < 0 || bal_write_all(fd, bytes, n_bytes, "job.ini") != BAL_OK) return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bal_job_source job, again;
    if (bal_job_read(bal_comm_alone(), path, NULL, 0, NULL, &job) == BAL_OK) {
        /* What was resolved is a job file that resolves to itself. */
        if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0) return -1;
        bal_write_all(fd, job.job.text, strlen(job.job.text), "job.ini");
        bool same = bal_job_read(bal_comm_alone(), path, NULL, 0, NULL, &again) == BAL_OK &&
                    strcmp(again.job.text, job.job.text) == 0;
        if (!same) __builtin_trap();
        bal_job_source_clear(&again);
    }
    bal_job_source_clear(&job);
    close(fd);
    return 0;
}
