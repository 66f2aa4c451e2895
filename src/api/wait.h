// Long polls: connections that wait, suspended, for a job to end. One thread follows the store's changes and resumes
// whoever has something to hear. Thread safe.
#ifndef TS_API_WAIT_H
#define TS_API_WAIT_H

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "store/store.h"

#include <stdbool.h>

struct MHD_Connection;
struct ts_httpd;
struct ts_waiters;

// Embedded in a request. All members belong to wait.c.
struct ts_waiter {
	struct MHD_Connection *connection;
	struct ts_httpd *httpd;
	char job_id[TS_UUID_SIZE];
	int64_t since, deadline; // monotonic
	bool waiting;            // in the list
	bool waited;             // has been in the list: the next run answers
	struct ts_waiter *next, *prev;
};

enum ts_err ts_waiters_start(struct ts_store *store, const struct ts_clock *clock, const struct ts_log *log,
                             struct ts_waiters **out, struct ts_error *error) TS_MUST_USE;
void ts_waiters_destroy(struct ts_waiters *waiters); // NULL-safe; nobody may be waiting (see drain)

// On the connection's own thread, inside the access handler: suspends it until the job is final or gone, the deadline
// passes or the server drains. False: draining, nothing happened.
bool ts_waiters_add(struct ts_waiters *waiters, struct ts_waiter *waiter, struct MHD_Connection *connection,
                    struct ts_httpd *httpd, const char *job_id, int64_t timeout_ms);
// Takes a waiter that is still waiting off the list, without resuming it (its request is ending).
void ts_waiters_forget(struct ts_waiters *waiters, struct ts_waiter *waiter);
void ts_waiters_expire(struct ts_waiters *waiters); // resumes those past their deadline
void ts_waiters_drain(struct ts_waiters *waiters);  // resumes all; from now on nobody waits
unsigned ts_waiters_count(struct ts_waiters *waiters);

#endif
