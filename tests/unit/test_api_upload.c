// The API over HTTP: files as multipart/form-data.
#include "api_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/select.h>

#define FORM AUTH "Content-Type: multipart/form-data; boundary=XyZ\r\n"
#define PART(name) "--XyZ\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define FILE_PART \
	"--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"talk.mp4\"\r\nContent-Type: video/mp4\r\n\r\n"
#define END "\r\n--XyZ--\r\n"

static void post_form(const struct api_fixture *f, const char *body, struct answer *out)
{
	http_raw(f, "POST", JOBS, FORM, body, strlen(body), out);
}

static void read_upload(struct api_fixture *f, const char *id, struct ts_upload *out, char *text, size_t size)
{
	char path[512];

	assert_ok(ts_store_upload_get(f->store, id, out, &f->error), &f->error);
	snprintf(path, sizeof path, "%s/%s", f->uploads, out->path);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

static void file_and_fields_make_a_job(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0};
	struct ts_upload upload = {0};
	char text[256];

	post_form(f,
	          PART("video_id") "v1\r\n" PART("user_id") "\xc3\xbc\r\n" PART(
	              "metadata") "{\"a\": [1]}\r\n" FILE_PART "first\r\n--Xy\r\n--\r\nlast" END,
	          &answer);
	assert_status(&answer, 202);
	assert_string_equal(text_of(&answer, "video_id"), "v1");
	assert_string_equal(text_of(&answer, "user_id"), "\xc3\xbc");
	assert_true(json_is_array(json_object_get(json_object_get(answer.json, "metadata"), "a")));
	read_upload(f, text_of(&answer, "upload_id"), &upload, text, sizeof text);
	assert_string_equal(text, "first\r\n--Xy\r\n--\r\nlast");
	assert_string_equal(upload.filename, "talk.mp4");
	assert_string_equal(upload.user_id, "\xc3\xbc");
	assert_int_equal(upload.size, strlen(text));
	ts_upload_finish(&upload);
	assert_int_equal(1, api_upload_files(f));
}

static void fields_alone_are_enough(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0};

	post_form(f, PART("video_id") "v1\r\n" PART("media_url") "https://media.example/v.mp4" END, &answer);
	assert_status(&answer, 202);
	assert_string_equal(text_of(&answer, "media_url"), "https://media.example/v.mp4");
	assert_int_equal(0, api_upload_files(f));
}

static void bad_forms(void **state)
{
	struct api_fixture *f = *state;
	static const struct {
		const char *body;
		int status;
		const char *slug, *field;
	} cases[] = {
	    {FILE_PART "data" END, 400, "missing-field", "video_id"},
	    {PART("video_id") "v\r\n" FILE_PART "data"
	                      "\r\n" FILE_PART "data" END,
	     400, "invalid-multipart", "file"},
	    {PART("video_id") "v\r\n" PART("video_id") "v" END, 400, "invalid-multipart", "video_id"},
	    {PART("video_id") "v\r\n" PART("title") "t" END, 400, "unknown-field", "title"},
	    {PART("video_id") "v\r\n" PART("file") "data" END, 400, "invalid-multipart", "file"},
	    {PART("video_id") "v\r\n" PART("media_url") "http://h/\r\n" FILE_PART "data" END, 400, "invalid-field",
	     "media_url"},
	    {PART("video_id") "v\r\n" FILE_PART END, 400, "invalid-field", "file"},
	    {PART("video_id") "v\r\n" PART("metadata") "{\"a\":" END, 400, "invalid-field", "metadata"},
	    {PART("video_id") "v\r\n" PART("metadata") "[]" END, 400, "invalid-field", "metadata"},
	    {PART("video_id") "\xff" END, 400, "invalid-field", "video_id"},
	    {PART("video_id") "v\r\n--XyZ\r\nContent-Disposition: form-data; name=\"user_id\"; filename=\"u\"\r\n\r\nx" END,
	     400, "invalid-multipart", "user_id"},
	    {PART("video_id") "v", 400, "invalid-multipart", NULL},
	    {"", 400, "invalid-multipart", NULL},
	    {"nonsense", 400, "invalid-multipart", NULL},
	    {"--XyZ\r\n\r\nno header" END, 400, "invalid-multipart", NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer;
		post_form(f, cases[i].body, &answer);
		assert_problem(&answer, cases[i].status, cases[i].slug, cases[i].field);
		assert_int_equal(0, api_upload_files(f));
	}
}

static void file_over_the_limit(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0}, ahead = {0};
	static char body[300000];

	api_down(f);
	api_prepare(f);
	f->options.max_upload_bytes = 100000;
	api_up(f);
	int head = snprintf(body, sizeof body, "%s", PART("video_id") "v\r\n" FILE_PART);
	memset(body + head, 'x', 200000);
	memcpy(body + head + 200000, END, strlen(END));
	http_raw(f, "POST", JOBS, FORM, body, (size_t)head + 200000 + strlen(END), &answer);
	assert_problem(&answer, 413, "body-too-large", "file");
	assert_int_equal(0, api_upload_files(f));

	int fd = client_open(f);
	client_say(fd,
	           "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" FORM "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n");
	client_read(fd, &ahead);
	assert_problem(&ahead, 413, "body-too-large", "file");
	close(fd);
}

// Waits until the folder holds `count` files.
static void await_files(const struct api_fixture *f, unsigned count)
{
	struct timeval moment = {.tv_usec = 1000};
	int64_t end = ts_mono_ms(ts_clock_system()) + 20000;

	while (api_upload_files(f) != count) {
		assert_true(ts_mono_ms(ts_clock_system()) < end);
		select(0, NULL, NULL, NULL, &moment);
		moment.tv_usec = 1000;
	}
}

static void aborted_upload_leaves_nothing(void **state)
{
	struct api_fixture *f = *state;
	struct ts_job_page page = {0};
	const struct ts_job_filter filter = {.limit = 10};
	int fd = client_open(f);

	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" FORM
	               "Content-Length: 100000\r\n\r\n" PART("video_id") "v\r\n" FILE_PART "the beginning");
	await_files(f, 1);
	close(fd);
	await_files(f, 0);
	assert_ok(ts_store_list(f->store, &filter, &page, &f->error), &f->error);
	assert_int_equal(0, page.count);
	ts_job_page_finish(&page);
}

static void unknown_field_is_told_before_the_file_ends(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0};
	static char block[65536];
	int fd = client_open(f);

	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" FORM
	               "Content-Length: 4000000\r\n\r\n" PART("title") "t\r\n" FILE_PART);
	for (int i = 0; i < 24 && client_send(fd, block, sizeof block); i++)
		;
	// Not nearly the whole body has been sent.
	client_read(fd, &answer);
	assert_problem(&answer, 400, "unknown-field", "title");
	assert_true(client_is_closed(fd));
	close(fd);
	assert_int_equal(0, api_upload_files(f));
}

static void repeated_upload_is_replayed(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer first = {0}, again = {0}, other = {0};
	static const char body[] = PART("video_id") "v\r\n" FILE_PART "data" END;
	static const char changed[] = PART("video_id") "v\r\n" FILE_PART "DATA" END;

	http_raw(f, "POST", JOBS, FORM "Idempotency-Key: up-1\r\n", body, sizeof body - 1, &first);
	assert_status(&first, 202);
	http_raw(f, "POST", JOBS, FORM "Idempotency-Key: up-1\r\n", body, sizeof body - 1, &again);
	assert_status(&again, 202);
	assert_string_equal(text_of(&again, "id"), text_of(&first, "id"));
	assert_string_equal(text_of(&again, "upload_id"), text_of(&first, "upload_id"));
	http_raw(f, "POST", JOBS, FORM "Idempotency-Key: up-1\r\n", changed, sizeof changed - 1, &other);
	assert_problem(&other, 422, "idempotency-conflict", "Idempotency-Key");
	assert_int_equal(1, api_upload_files(f)); // only the first one's
}

static void upload_in_use_cannot_be_taken(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer first = {0}, second = {0};
	char json[256];

	post_form(f, PART("video_id") "v\r\n" FILE_PART "data" END, &first);
	assert_status(&first, 202);
	snprintf(json, sizeof json, "{\"video_id\": \"w\", \"upload_id\": \"%s\"}", text_of(&first, "upload_id"));
	http_post(f, JOBS, json, &second);
	assert_problem(&second, 409, "upload-in-use", "upload_id");
}

static void leftovers_are_swept_at_the_start(void **state)
{
	struct api_fixture *f = *state;
	char dead[512], written[512], other[512];
	int fds[3];

	api_down(f);
	api_prepare(f);
	snprintf(dead, sizeof dead, "%s/" UNKNOWN_ID ".part", f->uploads);
	snprintf(written, sizeof written, "%s/01890000-0000-7000-8000-000000000001.part", f->uploads);
	snprintf(other, sizeof other, "%s/keep.me", f->uploads);
	const char *const paths[] = {dead, written, other};
	for (size_t i = 0; i < 3; i++) {
		fds[i] = open(paths[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fds[i] >= 0);
	}
	// Another process's upload, which goes on: its lock is held through another open file description.
	assert_int_equal(0, flock(fds[1], LOCK_EX | LOCK_NB));
	api_up(f);
	assert_int_equal(-1, access(dead, F_OK)); // however young it is
	assert_int_equal(0, access(written, F_OK));
	assert_int_equal(0, access(other, F_OK));
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
}

// A second API over the same folder starts while an upload comes in.
static void running_upload_is_not_swept(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer answer = {0};
	struct ts_api *second = NULL;
	char head[256];
	const char *body = PART("video_id") "v\r\n" FILE_PART "data";

	int fd = client_open(f);
	snprintf(head, sizeof head, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" FORM "Content-Length: %zu\r\n\r\n",
	         strlen(body) + strlen(END));
	client_say(fd, head);
	client_say(fd, body);
	while (api_upload_files(f) == 0)
		sched_yield();
	assert_ok(ts_api_start(&f->options, &second, &f->error), &f->error);
	ts_api_destroy(second);
	assert_int_equal(1, api_upload_files(f));
	client_say(fd, END);
	client_read(fd, &answer);
	assert_status(&answer, 202);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    api_test(file_and_fields_make_a_job),
	    api_test(fields_alone_are_enough),
	    api_test(bad_forms),
	    api_test(file_over_the_limit),
	    api_test(aborted_upload_leaves_nothing),
	    api_test(unknown_field_is_told_before_the_file_ends),
	    api_test(repeated_upload_is_replayed),
	    api_test(upload_in_use_cannot_be_taken),
	    api_test(leftovers_are_swept_at_the_start),
	    api_test(running_upload_is_not_swept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
