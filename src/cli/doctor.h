/* doctor.h: what ballot doctor finds out, and what it makes of it. */
#ifndef BALLOT_DOCTOR_H
#define BALLOT_DOCTOR_H

#include "ballot/estimate.h"
#include "cli_impl.h"
#include "host.h"

/** Limits of a process, bytes; -1: none. */
typedef struct bal_limits {
    int64_t locked, file_size, memory;
} bal_limits;

/** What a rank knows of itself. Plain words, which ranks send to each other. */
typedef struct bal_facts {
    bal_host host;
    char mpi[64], kernels[16];
    int64_t node;          /* see bal_comm_node */
    uint64_t program, job; /* hashes; 0: no job was given */
    int64_t n_threads;     /* of BLAS */
    bal_limits limits;
    int64_t has_infiniband;
    double shared_free;   /* bytes that ranks of the node may share; below 0: none can be had */
    double clock;         /* seconds since 1970, read between two gatherings */
    int64_t sees_run;     /* of the file that rank 0 made in the run directory */
    int64_t was_kept_out; /* by rank 0's lock of it */
    int64_t slurm_rank, slurm_tasks; /* what Slurm says of this process; -1: nothing */
    int64_t program_bytes;           /* resident */
} bal_facts;
_Static_assert(sizeof(bal_facts) % 8 == 0, "ranks send words");

/** The run directory, as rank 0 found it. */
typedef struct bal_run_look {
    char where[4096];   /* the directory, or the one in which it will be made; "": none was given */
    char failure[1024]; /* "": none */
    char kind[32];      /* of its file system */
    double sync_seconds; /* of one record, median */
    double free_bytes;
    bool exists;
    bool is_remote; /* other machines may have it too */
} bal_run_look;

/** What all the checks look at. */
typedef struct bal_findings {
    int size;
    const bal_facts *ranks;                     /* [size] */
    const double *clock_offsets, *clock_errors; /* [size] seconds against rank 0 */
    const bal_job *job;                         /* NULL: none */
    bal_estimate needs;                         /* of the job: model, work, files; the rest 0 */
    bal_run_look run;
} bal_findings;

typedef enum bal_verdict { BAL_GOOD, BAL_WARN, BAL_BAD } bal_verdict;
extern const char *const bal_verdict_names[]; /* "ok", "warn", "fail" */

typedef struct bal_check {
    const char *name;
    bal_verdict verdict;
    char text[1024]; /* what was found and, unless it is good, what to do */
} bal_check;

#define BAL_CHECKS_MAX 24
/** Look at everything, one check after the other; their number. Local. */
int bal_doctor_check(const bal_findings *findings, bal_check checks[BAL_CHECKS_MAX]);

/**
 * Try the run directory: rank 0 writes and syncs n_bytes a few times as the journal does, in the
 * directory or where it will be made, and all ranks look for that file and its lock. Collective;
 * what fails is a finding. @param facts  sees_run and was_kept_out are set
 */
bal_status bal_doctor_look(bal_comm *comm, const char *dir, int64_t n_bytes, bal_run_look *look,
                           bal_facts *facts);

/* doctor_run.c */

/** Say what limits a run. Local. @return BAL_OK; errors of bal_journal_open and bal_job_read. */
bal_status bal_doctor_run(const bal_context *context, const char *run, bool json);

#endif
