/* fault_record.c: whatever call of a journal, a checkpoint or the lock fails, and whenever the
 * process or the machine stops, what is on disk is the state before or the state after, whole; what
 * was reported as done is there; and the same work can be done again.
 * BALLOT_FAULT_SEEDS: how many outcomes of a power loss are tried at each call. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "child.h"
#include "samples.h"

enum { ENTRIES = 3 }; /* that a journal ends with */

/* A piece of work on a folder. */
typedef struct work {
    const char *name;
    void (*prepare)(const char *dir);
    bal_status (*act)(const char *dir, report *r);   /* to the end from wherever it was left */
    bool (*check)(const char *dir, const report *r); /* r: what the child was told */
    int n_names;                                     /* in the folder once all is done */
} work;

static const char *in(const char *dir, const char *name)
{
    static char path[PATH_MAX];
    CU_ASSERT_FATAL(snprintf(path, sizeof path, "%s/%s", dir, name) < PATH_MAX);
    return path;
}

static void empty(const char *dir)
{
    DIR *stream = opendir(dir);
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_type == DT_REG) unlink(in(dir, entry->d_name));
    }
    closedir(stream);
}

static int count_names(const char *dir)
{
    int n = 0;
    DIR *stream = opendir(dir);
    while (readdir(stream) != NULL) ++n;
    closedir(stream);
    return n - 2; /* without . and .. */
}

/* ---- the journal ---- */

static bal_status append_to_the_end(const char *dir, report *r)
{
    bal_journal *journal = NULL;
    bal_status status =
        access(in(dir, "journal"), F_OK) == 0
            ? bal_journal_open(in(dir, "journal"), true, &journal)
            : bal_journal_create(in(dir, "journal"), &sample_id, sample_form, &journal);
    if (status != BAL_OK) return status;
    while (bal_journal_n(journal) < ENTRIES) {
        uint64_t bits[WORDS];
        bal_journal_entry entry = sample_entry(bal_journal_n(journal), bits);
        status = bal_journal_append(journal, &entry);
        /* "nothing was added": the same journal takes the entry when the fault is over */
        if (status != BAL_OK) status = bal_journal_append(journal, &entry);
        if (status != BAL_OK) break;
        r->n_done = (int)bal_journal_n(journal);
    }
    bal_journal_close(&journal);
    return status;
}

static bool journal_is_whole(const char *dir, const report *r)
{
    bal_journal *journal = NULL;
    if (access(in(dir, "journal"), F_OK) != 0) return r->n_done == 0;
    if (bal_journal_open(in(dir, "journal"), false, &journal) != BAL_OK) return false;
    int64_t n = bal_journal_n(journal);
    bool whole = n >= r->n_done && n <= ENTRIES && entries_are_right(journal);
    bal_journal_close(&journal);
    return whole;
}

/* Two entries and half of a third. */
static void leave_a_torn_tail(const char *dir)
{
    report r = {0};
    bal_journal *journal = NULL;
    CU_ASSERT_EQUAL_FATAL(append_to_the_end(dir, &r), BAL_OK);
    CU_ASSERT_EQUAL_FATAL(truncate(in(dir, "journal"), 128 + 5 * (12 + WORDS) * 4), 0);
    CU_ASSERT_EQUAL_FATAL(bal_journal_open(in(dir, "journal"), false, &journal), BAL_OK);
    CU_ASSERT(bal_journal_n(journal) == 2 && bal_journal_tail(journal) > 0);
    bal_journal_close(&journal);
}

static bool two_or_more(const char *dir, const report *r)
{
    report told = *r;
    if (told.n_done < 2) told.n_done = 2; /* they were there before */
    return journal_is_whole(dir, &told);
}

/* ---- the checkpoint ---- */

static bal_snapshot snapshots[2]; /* before and after */

static void make_snapshots(void)
{
    for (int i = 0; i < 2; ++i)
        if (snapshots[i].model == NULL) snapshots[i] = sample_snapshot(3 + i);
}

static void write_the_first(const char *dir)
{
    CU_ASSERT_EQUAL_FATAL(bal_checkpoint_write(dir, "step.h5", &snapshots[0]), BAL_OK);
}

static bal_status write_the_second(const char *dir, report *r)
{
    bal_status status = bal_checkpoint_write(dir, "step.h5", &snapshots[1]);
    r->n_done = status == BAL_OK;
    return status;
}

/* Which of the two it is; -1: neither, whole. */
static int which(const char *path)
{
    bal_snapshot s = {0};
    if (bal_checkpoint_verify(path) != BAL_OK || bal_checkpoint_read(path, true, &s) != BAL_OK)
        return -1;
    int i = s.step == 4;
    if (bal_states_fingerprint(&s.states, bal_model_tensors(s.model)) != snapshots[i].fingerprint)
        i = -1;
    bal_snapshot_clear(&s);
    return i;
}

static bool first_or_second(const char *dir, const report *r)
{
    return which(in(dir, "step.h5")) >= r->n_done;
}

static bool none_or_second(const char *dir, const report *r)
{
    if (access(in(dir, "step.h5"), F_OK) != 0) return r->n_done == 0;
    return which(in(dir, "step.h5")) == 1;
}

/* ---- a small file ---- */

static void publish_before(const char *dir)
{
    CU_ASSERT_EQUAL_FATAL(bal_publish(dir, "LATEST", "before\n", 7), BAL_OK);
}

static bal_status publish_after(const char *dir, report *r)
{
    bal_status status = bal_publish(dir, "LATEST", "afterwards\n", 11);
    r->n_done = status == BAL_OK;
    return status;
}

static bool before_or_after(const char *dir, const report *r)
{
    bal_mapping file;
    if (bal_mapping_open(in(dir, "LATEST"), &file) != BAL_OK) return false;
    bool after = file.n_bytes == 11 && memcmp(file.data, "afterwards\n", 11) == 0;
    bool before = file.n_bytes == 7 && memcmp(file.data, "before\n", 7) == 0;
    bal_mapping_close(&file);
    return after || (before && r->n_done == 0);
}

/* ---- the lock ---- */

static uint64_t generation_in(const char *dir)
{
    char text[513] = "";
    uint64_t n = 0;
    FILE *stream = fopen(in(dir, "run.lock"), "re");
    if (stream == NULL) return 0;
    size_t got = fread(text, 1, 512, stream);
    fclose(stream);
    text[got] = '\0';
    const char *line = strstr(text, "generation ");
    if (line != NULL) sscanf(line, "generation %" SCNu64, &n);
    return n;
}

/* That somebody was told is his. A lock file that was torn while it was taken says none. */
static int last_generation;

static void take_it_often(const char *dir)
{
    for (int i = 0; i < 5; ++i) {
        bal_lock *lock = NULL;
        CU_ASSERT_EQUAL_FATAL(bal_lock_take(dir, &lock), BAL_OK);
        bal_lock_release(&lock);
    }
    last_generation = 5;
}

static bal_status take_it(const char *dir, report *r)
{
    bal_lock *lock = NULL;
    bal_status status = bal_lock_take(dir, &lock);
    if (status == BAL_OK) r->n_done = (int)generation_in(dir);
    if (status == BAL_OK) status = bal_lock_check(lock);
    bal_lock_release(&lock);
    return status;
}

/* Whoever was told that it has the run, has it in a generation of its own. */
static bool generation_grew(const char *dir, const report *r)
{
    if (r->n_done == 0) return true;
    if (r->n_done <= last_generation || generation_in(dir) < (uint64_t)r->n_done) return false;
    last_generation = r->n_done;
    return true;
}

static void nothing(const char *dir) { (void)dir; }

static const work works[] = {
    {"a journal from its creation", nothing, append_to_the_end, journal_is_whole, 1},
    {"a journal with a torn tail", leave_a_torn_tail, append_to_the_end, two_or_more, 1},
    {"a first checkpoint", nothing, write_the_second, none_or_second, 1},
    {"a checkpoint in place of another", write_the_first, write_the_second, first_or_second, 1},
    {"a published file", publish_before, publish_after, before_or_after, 1},
    {"the lock", take_it_often, take_it, generation_grew, 1},
};

/* ---- every call ---- */

static char dir[PATH_MAX];
static report *told;

/* Do the work under a plan in a child, and look at what it left. *n_calls: how many there were. */
static bool survives(const work *w, const bal_fault_plan *plan, int64_t *n_calls)
{
    report again = {0};
    empty(dir);
    w->prepare(dir);
    int code = run_child(plan, dir, w->act, told);
    bool killed = code == BAL_FAULT_KILLED;
    *n_calls = told->n_calls;
    if (killed && told->n_done == 0) last_generation = 0;
    bool ended = killed ? plan->effect >= BAL_FAULT_KILL : code == 0;
    bool whole = ended && w->check(dir, told);
    bool goes_on = whole && w->act(dir, &again) == BAL_OK && w->check(dir, &again);
    bool tidy = goes_on && count_names(dir) == w->n_names;
    if (tidy) return true;
    printf("\n    %s, call %" PRId64 "%s of %#x, effect %d, errno %d, seed %" PRIu64
           ": exit code %d, status %d \"%s\"%s",
           w->name, plan->at, plan->on ? " and on" : "", plan->calls, plan->effect, plan->error,
           plan->seed, code, told->status, told->sentence,
           !ended    ? ""
           : !whole  ? ", not whole"
           : goes_on ? ", something was left in the folder"
                     : ", and not to be continued");
    return false;
}

/* The work with each of its calls going wrong. Returns how many calls there are. */
static int64_t try_every_call(const work *w, bal_fault_plan plan, bool expected(bal_status status))
{
    int64_t n = 0, unused;
    int n_bad = 0;
    plan.at = INT64_MAX;
    CU_ASSERT_FATAL(survives(w, &plan, &n) && told->status == BAL_OK);
    for (plan.at = 1; plan.at <= n; ++plan.at) {
        bool good = survives(w, &plan, &unused);
        if (good && expected != NULL && !expected(told->status)) {
            printf("\n    %s, call %" PRId64 ": status %d \"%s\"", w->name, plan.at, told->status,
                   told->sentence);
            good = false;
        }
        n_bad += !good;
    }
    CU_ASSERT_EQUAL(n_bad, 0);
    return n;
}

static void begin(void)
{
    make_snapshots();
    if (told == NULL) told = make_report();
    snprintf(dir, sizeof dir, "%s", bal_test_dir("work"));
    bal_log_enable(false);
}

static bool is_ok(bal_status status) { return status == BAL_OK; }
static bool is_ok_or_io(bal_status status) { return status == BAL_OK || status == BAL_ERR_IO; }
static bool is_ok_or_memory(bal_status status)
{
    return status == BAL_OK || status == BAL_ERR_MEMORY;
}

#define EACH_WORK(w) for (const work *w = works; w < works + sizeof works / sizeof *works; ++w)

static void test_killed_at_every_call(void)
{
    int64_t n = 0;
    begin();
    EACH_WORK(w)
    n += try_every_call(w, (bal_fault_plan){.calls = BAL_FAULT_FILES, .effect = BAL_FAULT_KILL},
                        NULL);
    printf(" %" PRId64 " calls ", n);
}

static void test_without_power_at_every_call(void)
{
    int64_t n = 0;
    long n_seeds = setting("BALLOT_FAULT_SEEDS", 2);
    begin();
    for (long seed = 0; seed < n_seeds; ++seed) EACH_WORK(w)
    n += try_every_call(
        w,
        (bal_fault_plan){
            .calls = BAL_FAULT_FILES, .effect = BAL_FAULT_POWER, .seed = (uint64_t)seed},
        NULL);
    printf(" %" PRId64 " losses ", n);
}

static void test_a_full_disk_or_a_failing_one_at_every_call(void)
{
    const int errors[] = {ENOSPC, EIO};
    int64_t n = 0;
    begin();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; ++i)
        for (int on = 0; on < 2; ++on) EACH_WORK(w)
    n += try_every_call(w,
                        (bal_fault_plan){.calls = BAL_FAULT_WRITE | BAL_FAULT_SYNC |
                                                  BAL_FAULT_NAME | BAL_FAULT_CLOSE,
                                         .on = on,
                                         .effect = BAL_FAULT_ERRNO,
                                         .error = errors[i]},
                        is_ok_or_io);
    printf(" %" PRId64 " failures ", n);
}

static void test_files_that_cannot_be_opened_or_read(void)
{
    int64_t n = 0;
    begin();
    for (int on = 0; on < 2; ++on) EACH_WORK(w)
    n += try_every_call(w,
                        (bal_fault_plan){.calls = BAL_FAULT_OPEN | BAL_FAULT_READ,
                                         .on = on,
                                         .effect = BAL_FAULT_ERRNO,
                                         .error = EIO},
                        NULL);
    printf(" %" PRId64 " failures ", n);
}

static void test_interrupted_and_short_transfers_are_completed(void)
{
    const bal_fault_plan plans[] = {
        {.calls = BAL_FAULT_READ | BAL_FAULT_WRITE, .effect = BAL_FAULT_SHORT},
        {.calls = BAL_FAULT_READ | BAL_FAULT_WRITE | BAL_FAULT_SYNC,
         .effect = BAL_FAULT_ERRNO,
         .error = EINTR}};
    int64_t n = 0;
    begin();
    for (int i = 0; i < 2; ++i) EACH_WORK(w)
    n += try_every_call(w, plans[i], is_ok);
    printf(" %" PRId64 " calls ", n);
}

static void test_no_memory_at_every_allocation(void)
{
    int64_t n = 0;
    begin();
    for (int on = 0; on < 2; ++on) EACH_WORK(w)
    n += try_every_call(
        w,
        (bal_fault_plan){
            .calls = BAL_FAULT_ALLOC, .on = on, .effect = BAL_FAULT_ERRNO, .error = ENOMEM},
        is_ok_or_memory);
    printf(" %" PRId64 " failures ", n);
}

/* ---- torn files ---- */

typedef struct bytes {
    unsigned char *at;
    size_t n;
} bytes;

static bytes read_whole(const char *path)
{
    bal_mapping file;
    CU_ASSERT_EQUAL_FATAL(bal_mapping_open(path, &file), BAL_OK);
    bytes b = {malloc(file.n_bytes), file.n_bytes};
    memcpy(b.at, file.data, b.n);
    bal_mapping_close(&file);
    return b;
}

static void write_whole(const char *path, const void *start, size_t n)
{
    FILE *stream = fopen(path, "wbe");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stream);
    CU_ASSERT_EQUAL_FATAL(fwrite(start, 1, n, stream), n);
    CU_ASSERT_EQUAL_FATAL(fclose(stream), 0);
}

static void test_the_last_four_records_torn_at_every_byte(void)
{
    enum { N = 8, RECORD = (12 + WORDS) * 8 };
    bal_journal *journal = NULL;
    int n_bad = 0, n_tried = 0;
    begin();
    const char *path = in(dir, "journal");
    CU_ASSERT_EQUAL_FATAL(bal_journal_create(path, &sample_id, sample_form, &journal), BAL_OK);
    for (int step = 0; step < N; ++step) {
        uint64_t bits[WORDS];
        bal_journal_entry entry = sample_entry(step, bits);
        CU_ASSERT_EQUAL_FATAL(bal_journal_append(journal, &entry), BAL_OK);
    }
    bal_journal_close(&journal);
    bytes whole = read_whole(path);
    unsigned char *torn = malloc(whole.n);
    CU_ASSERT_EQUAL_FATAL(whole.n, 128 + N * RECORD);
    for (size_t cut = whole.n - 4 * RECORD; cut < whole.n; ++cut)
        for (int how = 0; how < 4; ++how, ++n_tried) {
            /* short; the rest zeros; the rest other bytes; or the rest of the record there alone */
            size_t first = (cut - 128) / RECORD, end = 128 + (first + 1) * RECORD, n = whole.n;
            uint64_t random = cut;
            memcpy(torn, whole.at, whole.n);
            if (how == 0) n = cut;
            for (size_t at = cut; how == 1 && at < n; ++at) torn[at] = 0;
            for (size_t at = cut; how == 2 && at < n; ++at)
                torn[at] = (unsigned char)bal_test_random(&random);
            for (size_t at = end - RECORD; how == 3 && at <= cut; ++at) torn[at] = 0;
            bool same = n == whole.n && memcmp(torn, whole.at, n) == 0;
            write_whole(path, torn, n);
            bool good = bal_journal_open(path, true, &journal) == BAL_OK &&
                        bal_journal_n(journal) >= (same ? N : (int64_t)first) &&
                        entries_are_right(journal);
            /* A record counts in spite of it only where its bytes were what was torn off. */
            size_t intact = 128;
            while (intact < n && torn[intact] == whole.at[intact]) ++intact;
            good = good && bal_journal_n(journal) == (int64_t)((intact - 128) / RECORD);
            if (journal != NULL) bal_journal_close(&journal);
            if (!good) printf("\n    cut at byte %zu, how %d", cut, how);
            n_bad += !good;
        }
    CU_ASSERT_EQUAL(n_bad, 0);
    printf(" %d tears ", n_tried);
    free(whole.at);
    free(torn);
}

static void test_a_checkpoint_torn_at_every_sector(void)
{
    int n_bad = 0, n_tried = 0;
    begin();
    const char *path = in(dir, "step.h5");
    bytes old, whole;
    write_the_first(dir);
    old = read_whole(path);
    CU_ASSERT_EQUAL_FATAL(write_the_second(dir, told), BAL_OK);
    whole = read_whole(path);
    unsigned char *torn = malloc(whole.n);
    for (size_t cut = 0; cut < whole.n; cut += 512)
        for (int how = 0; how < 5; ++how) {
            /* short; zeros after; zeros before; another checkpoint after, or before */
            size_t n = how == 0 ? cut : whole.n;
            for (size_t at = 0; at < whole.n; ++at) {
                bool behind = at >= cut;
                unsigned char other = how >= 3 && at < old.n ? old.at[at] : 0;
                torn[at] = behind == (how == 1 || how == 3) ? other : whole.at[at];
            }
            if (how == 0) memcpy(torn, whole.at, n);
            if (n == whole.n && memcmp(torn, whole.at, n) == 0) continue;
            if (n == old.n && memcmp(torn, old.at, n) == 0) continue;
            write_whole(path, torn, n);
            bal_snapshot s = {0};
            bool good = bal_checkpoint_verify(path) == BAL_ERR_INPUT &&
                        bal_checkpoint_read(path, true, &s) == BAL_ERR_INPUT;
            ++n_tried;
            if (!good) printf("\n    cut at byte %zu, how %d", cut, how);
            n_bad += !good;
        }
    CU_ASSERT_EQUAL(n_bad, 0);
    printf(" %d tears ", n_tried);
    free(old.at);
    free(whole.at);
    free(torn);
}

static void forget(void)
{
    for (int i = 0; i < 2; ++i) bal_snapshot_clear(&snapshots[i]);
}

int bal_suite_end(void)
{
    forget();
    return 0;
}

const char bal_suite_name[] = "fault: journal, checkpoint and lock";
const bal_test bal_suite_tests[] = {
    {"killed at every call", test_killed_at_every_call},
    {"without power at every call", test_without_power_at_every_call},
    {"a full disk or a failing one at every call", test_a_full_disk_or_a_failing_one_at_every_call},
    {"files that cannot be opened or read", test_files_that_cannot_be_opened_or_read},
    {"interrupted and short transfers are completed",
     test_interrupted_and_short_transfers_are_completed},
    {"no memory at every allocation", test_no_memory_at_every_allocation},
    {"the last four records torn at every byte", test_the_last_four_records_torn_at_every_byte},
    {"a checkpoint torn at every sector", test_a_checkpoint_torn_at_every_sector},
    {NULL, NULL},
};
