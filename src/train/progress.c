/* progress.c: what a person sees of a run. */
#include <inttypes.h>
#include <math.h>
#include <unistd.h>

#include "train_impl.h"

static void clock_text(double seconds, char text[32])
{
    int s = (int)fmin(seconds + 0.5, 3.6e6 - 1);
    if (s >= 3600)
        snprintf(text, 32, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%d:%02d", s / 60, s % 60);
}

void bal_clock_charge(bal_clock *clock, bal_phase phase)
{
    double now = bal_seconds();
    clock->step_seconds[phase] += now - clock->lap;
    clock->seconds[phase] += now - clock->lap;
    clock->lap = now;
}

/* The score of a task comes first. */
static void print_score(const bal_score *score, const char *before, char *text, size_t n_bytes)
{
    int n = snprintf(text, n_bytes, "%s", before);
    if (score->merit >= 0)
        n += snprintf(text + n, n_bytes - (size_t)n, "%.2f %%, loss ",
                      100 * bal_merit(score->merit));
    snprintf(text + n, n_bytes - (size_t)n, "%.4f", bal_score_nats(score));
}

static void print_dev(const bal_record *record)
{
    char dev[48], best[48];
    bool is_task = record->dev_score.merit >= 0;
    print_score(&record->dev_score, "", dev, sizeof dev);
    print_score(&record->best_score, "", best, sizeof best);
    printf("%-16s %s%s", is_task ? "dev" : "dev loss", dev, is_task ? "" : " nats per token");
    if (record->best_score.n_tokens > 0)
        printf(", best %s after step %lld (best.h5)", best, (long long)record->best_step);
}

void bal_progress(bal_run *run, bool important)
{
    if (!run->writes) return;
    double now = bal_seconds();
    bool terminal = isatty(STDERR_FILENO) == 1;
    if (!important && now - run->clock.last_line < (terminal ? 0.2 : 30.0)) return;
    run->clock.last_line = now;
    char eta[32] = "?", loss[32] = "", dev[48] = "", rate[64] = "";
    double elapsed = now - run->clock.started;
    if (run->step > run->clock.first_step)
        clock_text(elapsed / (double)(run->step - run->clock.first_step) *
                       (double)(run->job->run.steps - run->step),
                   eta);
    bal_metrics_row last;
    int64_t n = bal_metrics_n(run->record.metrics);
    if (n > 0 && bal_metrics_get(run->record.metrics, n - 1, &last) == BAL_OK) {
        snprintf(loss, sizeof loss, "  loss %.3f", last.loss_nats);
        snprintf(rate, sizeof rate, "  agree %2.0f %%  %.1f probes/s", 100.0 * last.agreement,
                 (double)run->clock.n_probes / elapsed);
    }
    if (run->record.dev_score.n_tokens > 0)
        print_score(&run->record.dev_score, "  dev ", dev, sizeof dev);
    char line[256];
    snprintf(line, sizeof line, "step %lld/%lld%s%s%s  ETA %s", (long long)run->step,
             (long long)run->job->run.steps, loss, dev, rate, eta);
    if (terminal && !important)
        fprintf(stderr, "\r\033[K%s", line);
    else
        fprintf(stderr, "%s%s\n", terminal ? "\r\033[K" : "", line);
    fflush(stderr);
}

/* Who abstained, and what audits found. */
static void print_ranks(const bal_run *run)
{
    int64_t n = 0;
    int size = bal_comm_size(run->comm);
    for (int rank = 0; rank < size; ++rank) n += run->clock.abstained[rank];
    if (n > 0) printf("abstained        %lld slots:", (long long)n);
    for (int rank = 0; rank < size && n > 0; ++rank)
        if (run->clock.abstained[rank] > 0)
            printf(" rank %d %lld", rank, (long long)run->clock.abstained[rank]);
    if (n > 0) printf("\n");
    if (run->audit.n_audits > 0)
        printf("audits           %lld ballots checked, %lld ranks accused\n",
               (long long)run->audit.n_audits, (long long)run->audit.n_accused);
}

bal_status bal_progress_table(bal_run *run)
{
    uint64_t fingerprint;
    int n_ranks = bal_comm_size(run->comm);
    int64_t peak[2] = {bal_memory_peak(), 0};
    if (run->writes) peak[1] = peak[0];
    BAL_TRY(bal_comm_sum(run->comm, peak, 2));
    BAL_TRY(bal_replica_fingerprint(run->replica.shared, run->replica.tensors, &run->replica.states,
                                    &fingerprint));
    if (!run->writes) return BAL_OK;
    double elapsed = bal_seconds() - run->clock.started, other = elapsed;
    int64_t steps = run->step - run->clock.first_step;
    printf("\nphase        seconds   share   (rank 0)\n");
    for (int phase = 0; phase < BAL_N_PHASES; ++phase) {
        printf("%-10s %9.2f  %5.1f %%\n", bal_phase_name((bal_phase)phase),
               run->clock.seconds[phase], 100.0 * run->clock.seconds[phase] / elapsed);
        other -= run->clock.seconds[phase];
    }
    printf("%-10s %9.2f  %5.1f %%\n%-10s %9.2f\n", "other", other, 100.0 * other / elapsed, "total",
           elapsed);
    printf("\nsteps            %lld of %lld\n", (long long)run->step,
           (long long)run->job->run.steps);
    if (steps > 0)
        printf("probes           %lld, %.1f per second, %.1f per second and rank\n",
               (long long)run->clock.n_probes, (double)run->clock.n_probes / elapsed,
               (double)run->clock.n_probes / elapsed / n_ranks);
    print_ranks(run);
    if (steps > 0)
        printf("%s           %.0f per second, each forward pass counted\n",
               bal_job_has_task(run->job) ? "rows  " : "tokens",
               bal_job_way(run->job).n_points * (double)run->clock.n_tokens / elapsed);
    printf("bytes per step   %lld sent by each of %d rank%s: ballot of %lld slots, 8 to agree\n",
           (long long)bal_job_step_bytes(run->job), n_ranks, n_ranks == 1 ? "" : "s",
           (long long)run->job->vote.slots);
    printf(
        "peak memory      %.1f MiB on rank 0, %.1f MiB on all ranks; mapped files included, the "
        "shared model once\n",
        (double)peak[1] / 1048576, (double)peak[0] / 1048576);
    if (run->record.dev_score.n_tokens > 0) print_dev(&run->record);
    printf("\nfingerprint      %016llx\n", (unsigned long long)fingerprint);
    return BAL_OK;
}
