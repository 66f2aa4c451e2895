// What a back end of the store implements. Only store.c and the back ends include this.
#ifndef TS_STORE_STORE_OPS_H
#define TS_STORE_STORE_OPS_H

#include "store/store.h"

// Every member is mandatory (ts_store_init asserts it). store.c has checked arguments that mean the same to all back
// ends; the rest of each contract is store.h's.
struct ts_store_ops {
	const char *name;
	enum ts_err (*submit)(struct ts_store *, const struct ts_submit *, struct ts_job *, bool *, struct ts_error *);
	enum ts_err (*get)(struct ts_store *, const char *, struct ts_job *, struct ts_error *);
	enum ts_err (*list)(struct ts_store *, const struct ts_job_filter *, struct ts_job_page *, struct ts_error *);
	enum ts_err (*counts)(struct ts_store *, struct ts_store_counts *, struct ts_error *);
	enum ts_err (*transcript)(struct ts_store *, const char *, struct ts_transcript *, struct ts_error *);
	enum ts_err (*wait_change)(struct ts_store *, uint64_t *, int64_t, const atomic_bool *, struct ts_error *);
	void (*wake)(struct ts_store *);
	enum ts_err (*cancel)(struct ts_store *, const char *, struct ts_job *, struct ts_error *);
	enum ts_err (*retry)(struct ts_store *, const char *, struct ts_job *, struct ts_error *);
	enum ts_err (*remove)(struct ts_store *, const char *, struct ts_error *);
	enum ts_err (*outbox_claim)(struct ts_store *, int64_t, struct ts_outbox_item *, size_t, size_t *,
	                            struct ts_error *);
	enum ts_err (*outbox_done)(struct ts_store *, const struct ts_outbox_item *, size_t, struct ts_error *);
	enum ts_err (*claim)(struct ts_store *, const char *, const char *, int64_t, struct ts_job *, struct ts_lease *,
	                     struct ts_error *);
	enum ts_err (*heartbeat)(struct ts_store *, const struct ts_lease *, int64_t, const struct ts_progress *,
	                         struct ts_error *);
	enum ts_err (*lease_check)(struct ts_store *, const struct ts_lease *, struct ts_error *);
	enum ts_err (*release)(struct ts_store *, const struct ts_lease *, struct ts_error *);
	enum ts_err (*fail)(struct ts_store *, const struct ts_lease *, const struct ts_error *, int64_t,
	                    enum ts_job_state *, struct ts_error *);
	enum ts_err (*finish)(struct ts_store *, const struct ts_lease *, const struct ts_transcript *, struct ts_error *);
	enum ts_err (*reap)(struct ts_store *, int64_t, struct ts_reaped *, struct ts_error *);
	enum ts_err (*retire)(struct ts_store *, int64_t, unsigned, int64_t *, struct ts_error *);
	enum ts_err (*delivery_claim)(struct ts_store *, int64_t, struct ts_delivery *, int64_t *, struct ts_error *);
	enum ts_err (*delivery_record)(struct ts_store *, const struct ts_delivery *, const struct ts_delivery_attempt *,
	                               enum ts_delivery_outcome, int64_t, struct ts_error *);
	enum ts_err (*deliveries)(struct ts_store *, const char *, struct ts_delivery_list *, struct ts_error *);
	enum ts_err (*redeliver)(struct ts_store *, const char *, int64_t, struct ts_error *);
	enum ts_err (*upload_create)(struct ts_store *, struct ts_upload *, struct ts_error *);
	enum ts_err (*upload_get)(struct ts_store *, const char *, struct ts_upload *, struct ts_error *);
	enum ts_err (*uploads_expired)(struct ts_store *, struct ts_upload *, size_t, size_t *, struct ts_error *);
	enum ts_err (*upload_forget)(struct ts_store *, const char *, struct ts_error *);
	enum ts_err (*ping)(struct ts_store *, struct ts_error *);
	void (*close)(struct ts_store *);
};

// First member of every back end's handle.
struct ts_store {
	const struct ts_store_ops *ops;
};

void ts_store_init(struct ts_store *store, const struct ts_store_ops *ops);

// The opaque cursor of a page: the position of its last job.
#define TS_CURSOR_LENGTH 48
char *ts_cursor_write(const struct ts_job *last) TS_MUST_USE; // NULL: out of memory
// Strict. NULL cursor: the position before the newest. TS_ERR_INVALID field "cursor".
enum ts_err ts_cursor_read(const char *cursor, int64_t *out_created_at, char out_id[TS_UUID_SIZE],
                           struct ts_error *error) TS_MUST_USE;

#endif
