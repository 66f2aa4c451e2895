// How a job becomes an open file: uploads, URLs of each scheme, the template; and what is refused.
#include "worker/source.h"

#include "base/mem.h"
#include "rig.h"
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	struct rig rig;
	struct ts_job_source_options options;
	struct ts_netguard *strict;
	atomic_bool abort;
};

static int set_up(void **state)
{
	static struct fixture fixture;

	rig_open(&fixture.rig);
	atomic_store(&fixture.abort, false);
	fixture.options = (struct ts_job_source_options){
	    .store = fixture.rig.store,
	    .upload_dir = fixture.rig.uploads,
	    .temp_dir = fixture.rig.temp,
	    .media_file_root = fixture.rig.media,
	    .media_guard = fixture.rig.guard,
	    .max_bytes = 1 << 20,
	    .fetch_timeout_ms = 20000,
	    .fetch_stall_ms = 10000,
	    .fetch_max_redirects = 3,
	    .abort = &fixture.abort,
	};
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char path[128];

	snprintf(path, sizeof path, "%s/media", fixture->rig.temp);
	unlink(path); // the caller's folder: the worker removes it with its content
	rig_close(&fixture->rig);
	return 0;
}

static enum ts_err open_job(struct fixture *fixture, const char *media_url, const char *upload_id, const char *video_id,
                            off_t *out_size, struct ts_error *error)
{
	struct ts_job job;
	struct stat info;
	int fd = -1;

	ts_job_init(&job);
	TS_AUTOFREE char *url = ts_strdup(media_url), *upload = ts_strdup(upload_id), *video = ts_strdup(video_id);
	job.media_url = url;
	job.upload_id = upload;
	job.video_id = video;
	TS_TRY(ts_job_source_open(&fixture->options, &job, &fd, error));
	assert_int_equal(fstat(fd, &info), 0);
	close(fd);
	*out_size = info.st_size;
	return TS_OK;
}

#define WAV_BYTES (44 + 32000)

static void file_url(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char url[512];
	off_t size;

	rig_file_url(&fixture->rig, url);
	assert_ok(open_job(fixture, url, NULL, "v", &size, &error), &error);
	assert_int_equal(size, WAV_BYTES);
}

static void file_url_outside_the_root_or_without_root(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char url[512];
	off_t size;

	assert_err(open_job(fixture, "file:///etc/passwd", NULL, "v", &size, &error), TS_ERR_NET_FORBIDDEN);
	fixture->options.media_file_root = NULL;
	rig_file_url(&fixture->rig, url);
	assert_int_not_equal(open_job(fixture, url, NULL, "v", &size, &error), TS_OK);
}

static void fetched(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char url[512];
	off_t size;

	rig_url(&fixture->rig, "/media.wav", url);
	assert_ok(open_job(fixture, url, NULL, "v", &size, &error), &error);
	assert_int_equal(size, WAV_BYTES);
}

static void from_the_template(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char url[512];
	off_t size;

	rig_url(&fixture->rig, "/{video_id}.wav", url);
	fixture->options.media_url_template = url;
	assert_ok(open_job(fixture, NULL, NULL, "media", &size, &error), &error);
	assert_int_equal(size, WAV_BYTES);
}

static void nothing_names_the_media(void **state)
{
	struct ts_error error = {0};
	off_t size;

	assert_err(open_job(*state, NULL, NULL, "v", &size, &error), TS_ERR_INVALID);
	assert_contains(error.message, "MEDIA_URL_TEMPLATE");
}

static void not_found_on_the_server(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char url[512];
	off_t size;

	rig_url(&fixture->rig, "/nothing", url);
	assert_err(open_job(fixture, url, NULL, "v", &size, &error), TS_ERR_NET_STATUS);
	assert_contains(error.message, "404");
}

static void too_large(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char url[512];
	off_t size;

	rig_url(&fixture->rig, "/big", url);
	assert_err(open_job(fixture, url, NULL, "v", &size, &error), TS_ERR_MEDIA_TOO_LARGE);
	fixture->options.max_bytes = 100;
	rig_file_url(&fixture->rig, url);
	assert_err(open_job(fixture, url, NULL, "v", &size, &error), TS_ERR_MEDIA_TOO_LARGE);
}

static void private_address(void **state)
{
	struct fixture *fixture = *state;
	struct ts_netguard *strict;
	struct ts_error error = {0};
	char url[512];
	off_t size;

	assert_ok(ts_netguard_create("", &strict, &error), &error);
	fixture->options.media_guard = strict;
	rig_url(&fixture->rig, "/media.wav", url);
	assert_err(open_job(fixture, url, NULL, "v", &size, &error), TS_ERR_NET_FORBIDDEN);
	assert_int_equal(http_server_requests(fixture->rig.server), 0);
	ts_netguard_destroy(strict);
}

static void other_schemes(void **state)
{
	struct ts_error error = {0};
	off_t size;

	assert_err(open_job(*state, "ftp://example.com/a", NULL, "v", &size, &error), TS_ERR_INVALID);
	assert_err(open_job(*state, "s3://bucket/a", NULL, "v", &size, &error), TS_ERR_UNSUPPORTED);
}

static void aborted(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char url[512];
	off_t size;

	atomic_store(&fixture->abort, true);
	rig_url(&fixture->rig, "/stall", url);
	assert_err(open_job(fixture, url, NULL, "v", &size, &error), TS_ERR_ABORTED);
}

static void add_upload(struct fixture *fixture, const char *path, char id[TS_UUID_SIZE])
{
	TS_AUTOFREE char *own = ts_strdup(path);
	struct ts_upload upload = {.path = own, .size = 10, .expires_at = RIG_START_MS + 3600000};
	struct ts_error error = {0};

	assert_ok(ts_store_upload_create(fixture->rig.store, &upload, &error), &error);
	snprintf(id, TS_UUID_SIZE, "%s", upload.id);
}

static void upload(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE], path[256];
	off_t size;

	snprintf(path, sizeof path, "%s/one.wav", fixture->rig.uploads);
	rig_write_wav(path, 160);
	add_upload(fixture, "one.wav", id);
	assert_ok(open_job(fixture, NULL, id, "v", &size, &error), &error);
	assert_int_equal(size, 44 + 320);
}

static void upload_that_is_gone(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE];
	off_t size;

	assert_err(open_job(fixture, NULL, "01890a5d-ac96-774b-bcce-b302099a8057", "v", &size, &error), TS_ERR_NOT_FOUND);
	assert_string_equal(error.field, "upload_id");
	add_upload(fixture, "gone.wav", id);
	assert_err(open_job(fixture, NULL, id, "v", &size, &error), TS_ERR_NOT_FOUND);
}

static void upload_that_leads_elsewhere(void **state)
{
	static const char *const paths[] = {"../db", "/etc/passwd", "a/../../db", ".."};
	struct fixture *fixture = *state;
	char id[TS_UUID_SIZE], link[256];
	off_t size;

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		struct ts_error error = {0};
		add_upload(fixture, paths[i], id);
		assert_err(open_job(fixture, NULL, id, "v", &size, &error), TS_ERR_INVALID);
	}
	struct ts_error error = {0};
	snprintf(link, sizeof link, "%s/link", fixture->rig.uploads);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	add_upload(fixture, "link", id);
	assert_err(open_job(fixture, NULL, id, "v", &size, &error), TS_ERR_IO);
}

static void upload_that_is_no_file(void **state)
{
	struct fixture *fixture = *state;
	struct ts_error error = {0};
	char id[TS_UUID_SIZE], path[256];
	off_t size;

	snprintf(path, sizeof path, "%s/pipe", fixture->rig.uploads);
	assert_int_equal(mkfifo(path, 0600), 0);
	add_upload(fixture, "pipe", id);
	assert_err(open_job(fixture, NULL, id, "v", &size, &error), TS_ERR_INVALID);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(file_url),
	    CASE(file_url_outside_the_root_or_without_root),
	    CASE(fetched),
	    CASE(from_the_template),
	    CASE(nothing_names_the_media),
	    CASE(not_found_on_the_server),
	    CASE(too_large),
	    CASE(private_address),
	    CASE(other_schemes),
	    CASE(aborted),
	    CASE(upload),
	    CASE(upload_that_is_gone),
	    CASE(upload_that_leads_elsewhere),
	    CASE(upload_that_is_no_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
