/* calibrate.c: what a text makes the matrices of a model read. */
#include "ballot/balance.h"
#include "ballot/source.h"
#include "cli_impl.h"

#define TOKENS 16384 /* at most, in batches spread over the text */

static bal_status read_text(const bal_job *job, const bal_dataset *text, bal_forward *forward,
                            bal_balance *balance)
{
    bal_batch batch = {0};
    int64_t n_batches = (text->n_examples + job->data.batch - 1) / job->data.batch;
    int64_t most = TOKENS / (job->data.batch * job->data.context) + 1;
    int64_t n = n_batches < most ? n_batches : most;
    bal_status status = bal_batch_init(&batch, bal_dataset_room(text, job->data.batch));
    for (int64_t i = 0; i < n && status == BAL_OK; ++i) {
        int64_t first = i * n_batches / n * job->data.batch, left = text->n_examples - first;
        bal_dataset_take(text, first, left < job->data.batch ? left : job->data.batch, &batch);
        status = bal_balance_read(balance, forward, &batch);
    }
    bal_batch_clear(&batch);
    return status;
}

bal_status bal_calibrate(const char *model, const char *text, const bal_job *job,
                         const bal_machine *machine, bal_balance **balance)
{
    bal_bundle bundle = {0};
    bal_dataset dataset = {0};
    bal_forward *forward = NULL;
    bal_source_options how = {.formats = {.matrices = BAL_I8}, .keep_formats = true};
    bal_status status = bal_source_open(model, &how, &bundle);
    if (status == BAL_OK) status = bal_job_open_text(job, text, &bundle, &dataset);
    if (status == BAL_OK) status = bal_balance_create(bundle.model, balance);
    if (status == BAL_OK)
        status = bal_forward_create(bundle.model, machine->kernels,
                                    bal_dataset_room(&dataset, job->data.batch).tokens,
                                    job->data.context, &forward);
    if (status == BAL_OK) status = read_text(job, &dataset, forward, *balance);
    if (status != BAL_OK) bal_balance_destroy(balance);
    bal_forward_destroy(&forward);
    bal_dataset_clear(&dataset);
    bal_bundle_clear(&bundle);
    return status;
}
