// The temporary folder of one attempt: TEMP_DIR/JOB.CLAIM, locked (flock) for as long as its process lives, so that a
// sweep at start-up can tell what a dead attempt left behind from what another worker of this machine uses now. Named
// after the claim (ts_lease.fence): attempts are counted anew after a retry, while the last one may still be ending.
#ifndef TS_WORKER_TEMPDIR_H
#define TS_WORKER_TEMPDIR_H

#include "base/err.h"

#include <stdint.h>

struct ts_tempdir {
	char *path; // owned; NULL: none
	int fd;     // of the folder; holds the lock
};

#define TS_TEMPDIR_NONE ((struct ts_tempdir){.path = 0, .fd = -1})

// Makes and locks the folder (0700); what an earlier, dead attempt of the same name left is emptied first.
// TS_ERR_BUSY: a living process uses it. TS_ERR_IO.
enum ts_err ts_tempdir_create(const char *parent, const char *job_id, int64_t claim, struct ts_tempdir *out,
                              struct ts_error *error) TS_MUST_USE;

// Removes the folder with everything in it; NULL-safe, idempotent.
void ts_tempdir_remove(struct ts_tempdir *dir);
#define TS_AUTOTEMPDIR TS_CLEANUP(ts_tempdir_remove)

// Removes the folders of dead attempts below `parent`; nothing but folders named like ours is touched.
enum ts_err ts_tempdir_sweep(const char *parent, unsigned *out_removed, struct ts_error *error) TS_MUST_USE;

#endif
