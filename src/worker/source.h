// How a job becomes an open file: its upload, its media_url (http, https, file), or the URL made from its video_id.
#ifndef TS_WORKER_SOURCE_H
#define TS_WORKER_SOURCE_H

#include "base/log.h"
#include "core/job.h"
#include "net/netguard.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdint.h>

struct ts_job_source_options {
	struct ts_store *store;         // uploads
	const char *upload_dir;         // files of uploads
	const char *temp_dir;           // of this attempt: what is fetched goes there
	const char *media_url_template; // NULL: none
	const char *media_file_root;    // NULL: file:// refused
	const struct ts_netguard *media_guard;
	uint64_t max_bytes;
	int64_t fetch_timeout_ms, fetch_stall_ms;
	unsigned fetch_max_redirects;
	const atomic_bool *abort;
	const struct ts_log *log;
};

// *out_fd: a regular file, read-only use; the caller closes it. Errors: TS_ERR_INVALID (nothing names the media, or
// badly), TS_ERR_NOT_FOUND (upload or file gone), TS_ERR_MEDIA_TOO_LARGE, TS_ERR_UNSUPPORTED (scheme), those of
// ts_fetch, ts_url_open_file and the store.
enum ts_err ts_job_source_open(const struct ts_job_source_options *options, const struct ts_job *job, int *out_fd,
                               struct ts_error *error) TS_MUST_USE;

#endif
