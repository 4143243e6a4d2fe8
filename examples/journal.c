/* journal RUN/ballots.journal: what a run did, step by step: the loss of its mini-batches, and how
 * many slots voted for their direction and against it. */
#include "need.h"

static void print_step(const bal_journal *journal, const bal_journal_entry *entry)
{
    const bal_totals *totals = &entry->totals;
    bal_ballot_shape shape = bal_journal_ballot(journal);
    int n_points = bal_journal_form_of(journal).n_points; /* passes in which a token was scored */
    int n_for = 0, n_against = 0;
    for (int slot = 0; slot < shape.n_slots; ++slot) {
        int vote = bal_ballot_vote(shape, entry->bits, slot);
        n_for += vote > 0;
        n_against += vote < 0;
    }
    double tokens = n_points * (double)totals->n_tokens;
    printf("%6lld  %9.4f  %5d  %7d  %5d", (long long)entry->step,
           (double)totals->loss / tokens / BAL_LOSS_UNITS_PER_NAT, n_for, n_against,
           shape.n_slots - n_for - n_against);
    if (entry->dev_loss >= 0)
        printf("  %8.4f",
               (double)entry->dev_loss / (double)entry->dev_tokens / BAL_LOSS_UNITS_PER_NAT);
    printf("\n");
}

int main(int argc, char **argv)
{
    if (argc != 2) need(bal_fail(BAL_ERR_ARG, "usage: journal RUN/ballots.journal"));
    bal_journal *journal = NULL;
    need(bal_journal_open(argv[1], false, &journal)); /* read only */
    const bal_run_id *id = bal_journal_id(journal);
    printf("%lld of %lld steps of %d votes, seed %llu\n", (long long)bal_journal_n(journal),
           (long long)id->n_steps, id->n_slots, (unsigned long long)id->seed);
    printf("  step  mean loss    for  against  other  dev loss\n");
    for (int64_t i = 0; i < bal_journal_n(journal); ++i) {
        bal_journal_entry entry;
        need(bal_journal_read(journal, i, &entry));
        print_step(journal, &entry);
    }
    bal_journal_close(&journal);
    return 0;
}
