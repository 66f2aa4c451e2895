// Media of a job as an open file. Remote media is fetched into the attempt's own temporary folder; local media is
// opened where it lies. Refuses anything that is not a regular file, and what is too large.
#include "worker/source.h"

#include "base/mem.h"
#include "net/fetch.h"
#include "net/url.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Tries inside one attempt of a job: a broken connection is resumed; a server that is down is the job's retry.
#define FETCH_TRIES 3

static enum ts_err check_size(const struct ts_job_source_options *options, int fd, struct ts_error *error)
{
	struct stat info;

	if (fstat(fd, &info) != 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't look at the media file");
	if (!S_ISREG(info.st_mode))
		return ts_fail(error, TS_ERR_INVALID, "the media is not a regular file");
	if (options->max_bytes && (uint64_t)info.st_size > options->max_bytes)
		return ts_fail(error, TS_ERR_MEDIA_TOO_LARGE, "the media has %" PRIu64 " bytes; at most %" PRIu64 " are taken",
		               (uint64_t)info.st_size, options->max_bytes);
	return TS_OK;
}

static enum ts_err checked(const struct ts_job_source_options *options, int fd, int *out_fd, struct ts_error *error)
{
	enum ts_err err = check_size(options, fd, error);

	if (err != TS_OK) {
		close(fd);
		return err;
	}
	*out_fd = fd;
	return TS_OK;
}

static bool is_plain_relative(const char *path)
{
	return path[0] != '\0' && path[0] != '/' && strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0 &&
	       !strstr(path, "/../") && !(strlen(path) >= 3 && strcmp(path + strlen(path) - 3, "/..") == 0);
}

static enum ts_err open_upload(const struct ts_job_source_options *options, const char *upload_id, int *out_fd,
                               struct ts_error *error)
{
	struct ts_upload upload = {0};
	enum ts_err err = ts_store_upload_get(options->store, upload_id, &upload, error);

	if (err == TS_ERR_NOT_FOUND)
		return ts_fail_field(error, TS_ERR_NOT_FOUND, "upload_id", "the upload is gone");
	if (err != TS_OK)
		return err;
	TS_AUTOFREE char *path =
	    is_plain_relative(upload.path) ? ts_asprintf("%s/%s", options->upload_dir, upload.path) : NULL;
	bool plain = is_plain_relative(upload.path);
	ts_upload_finish(&upload);
	if (!plain)
		return ts_fail(error, TS_ERR_INVALID, "the upload's path leads out of the upload folder");
	if (!path)
		return ts_fail_nomem(error);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return ts_fail_field(error, TS_ERR_NOT_FOUND, "upload_id", "the uploaded file is gone");
	if (fd < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't open the uploaded file");
	return checked(options, fd, out_fd, error);
}

static enum ts_err fetch(const struct ts_job_source_options *options, const char *url, int *out_fd,
                         struct ts_error *error)
{
	TS_AUTOFREE char *path = ts_asprintf("%s/media", options->temp_dir);

	if (!path)
		return ts_fail_nomem(error);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return ts_fail_errno(error, TS_ERR_IO, errno, "can't make a temporary file for the media");
	struct ts_fetch_options fetching = {
	    .guard = options->media_guard,
	    .max_bytes = options->max_bytes,
	    .deadline_ms = options->fetch_timeout_ms,
	    .stall_timeout_ms = options->fetch_stall_ms,
	    .max_tries = FETCH_TRIES,
	    .max_redirects = options->fetch_max_redirects,
	    .abort = options->abort,
	    .log = options->log,
	};
	enum ts_err err = ts_fetch(url, fd, &fetching, error);
	if (err != TS_OK) {
		close(fd);
		return err;
	}
	return checked(options, fd, out_fd, error);
}

static enum ts_err open_url(const struct ts_job_source_options *options, const char *text, int *out_fd,
                            struct ts_error *error)
{
	static const char *const schemes[] = {"http", "https", "file", NULL};
	TS_AUTOURL struct ts_url url = {0};
	int fd;

	if (strncmp(text, "s3://", 5) == 0)
		return ts_fail_field(error, TS_ERR_UNSUPPORTED, "media_url",
		                     "s3:// media is not supported; give an http(s) URL");
	TS_TRY(ts_url_parse(text, schemes, &url, error));
	if (strcmp(url.scheme, "file") != 0)
		return fetch(options, text, out_fd, error);
	TS_TRY(ts_url_open_file(&url, options->media_file_root, &fd, error));
	return checked(options, fd, out_fd, error);
}

enum ts_err ts_job_source_open(const struct ts_job_source_options *options, const struct ts_job *job, int *out_fd,
                               struct ts_error *error)
{
	TS_AUTOFREE char *url = NULL;

	if (job->upload_id)
		return open_upload(options, job->upload_id, out_fd, error);
	if (job->media_url)
		return open_url(options, job->media_url, out_fd, error);
	if (!options->media_url_template || !*options->media_url_template)
		return ts_fail_field(error, TS_ERR_INVALID, "media_url",
		                     "the job names no media, and MEDIA_URL_TEMPLATE is not set to derive it from video_id");
	TS_TRY(ts_url_expand(options->media_url_template, "video_id", job->video_id, &url, error));
	return open_url(options, url, out_fd, error);
}
