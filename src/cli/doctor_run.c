/* doctor_run.c: ballot doctor RUN: what limits a run, and what to do about it. */
#include <math.h>

#include "doctor.h"

static json_t *number(double value) { return isnan(value) ? json_null() : json_real(value); }

static bal_status print(const bal_context *context, bool json, const bal_signs *signs)
{
    bal_limit limit = bal_limit_of(signs);
    if (json)
        return bal_print_json(
            context,
            json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "limit",
                      bal_limit_sentence(limit), "advice", bal_limit_advice(limit), "slope",
                      number(signs->slope), "share", number(signs->share), "share_error",
                      number(signs->share_error), "rise", number(signs->rise), "rise_error",
                      number(signs->rise_error), "scale", number(exp(signs->scale)), "scale_error",
                      number(signs->scale_error)));
    printf("%s\n%s\n", bal_limit_sentence(limit), bal_limit_advice(limit));
    if (!isnan(signs->slope))
        printf("a direction changes the loss of its mini-batch by %.4f nats per token\n",
               signs->slope);
    if (!isnan(signs->share))
        printf("halves of mini-batches agree on %.1f %% (+-%.1f) of what slots find\n",
               100.0 * signs->share, 100.0 * signs->share_error);
    if (!isnan(signs->rise))
        printf("curvature raises the loss of a perturbed model by %.4f nats per token (+-%.4f)\n",
               signs->rise, signs->rise_error);
    if (!isnan(signs->scale))
        printf(
            "the last search found the lowest loss at %.2f (+-%.0f %%) of the way from the base\n",
            exp(signs->scale), 100.0 * signs->scale_error);
    return BAL_OK;
}

bal_status bal_doctor_run(const bal_context *context, const char *run, bool json)
{
    char path[BAL_PATH_BYTES], job[BAL_PATH_BYTES];
    bal_job_source source = {0};
    bal_journal *journal = NULL;
    bal_signs signs;
    bal_run_path(run, "job.ini", job);
    bal_run_path(run, "ballots.journal", path);
    bal_status status = bal_journal_open(path, false, &journal);
    if (status == BAL_OK && bal_journal_n(journal) == 0)
        status = bal_fail(BAL_ERR_CONFIG, "%s: the run has not taken a step yet", run);
    if (status == BAL_OK) status = bal_job_read(bal_comm_alone(), job, NULL, 0, run, &source);
    if (status == BAL_OK) status = bal_signs_read(&source.job, journal, &signs);
    if (status == BAL_OK) status = print(context, json, &signs);
    bal_journal_close(&journal);
    bal_job_source_clear(&source);
    return status;
}
