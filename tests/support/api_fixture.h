// The API on a loopback port over a real SQLite store and queue, and an HTTP client of raw sockets that can also speak
// badly: send what it likes, in pieces, or stop half-way.
#ifndef TS_TESTS_API_FIXTURE_H
#define TS_TESTS_API_FIXTURE_H

#include "unit.h"

#include "api/api.h"
#include "base/mem.h"
#include "queue/queue_store.h"
#include "store/store_sqlite.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define API_KEY "sesame-key-1"
#define JOBS "/api/v1/transcriptions"
#define UNKNOWN_ID "01890000-0000-7000-8000-000000000000"

struct api_fixture {
	char dir[128], db[160], uploads[160];
	struct ts_store *store;
	struct ts_queue *queue; // the test's own handle
	struct ts_api_options options;
	struct ts_api *api;
	uint16_t port;
	struct ts_log_sink sink;
	struct ts_error error;
};

static inline enum ts_err api_open_queue(void *ctx, struct ts_queue **out, struct ts_error *error)
{
	const struct ts_queue_store_options options = {.store = ctx};
	return ts_queue_store_open(&options, out, error);
}

static inline struct ts_store *api_open_store(struct api_fixture *f)
{
	const struct ts_store_sqlite_options options = {
	    .path = f->db, .clock = ts_clock_system(), .public_url = "", .migrate = true};
	struct ts_store *store = NULL;

	assert_ok(ts_store_sqlite_open(&options, &store, &f->error), &f->error);
	return store;
}

// Everything but the server itself; the test may change f->options before api_up.
static inline void api_prepare(struct api_fixture *f)
{
	const char *tmp = getenv("TMPDIR");

	memset(f, 0, sizeof *f);
	snprintf(f->dir, sizeof f->dir, "%.90s/ts-api-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->db, sizeof f->db, "%s/store.db", f->dir);
	snprintf(f->uploads, sizeof f->uploads, "%s/uploads", f->dir);
	assert_int_equal(0, mkdir(f->uploads, 0700));
	f->store = api_open_store(f);
	assert_ok(api_open_queue(f->store, &f->queue, &f->error), &f->error);
	// TS_TEST_LOG=1 shows the server's log.
	f->sink = (struct ts_log_sink){
	    .fd = 2, .level = TS_LOG_DEBUG, .component = "api", .clock = ts_clock_system(), .format = TS_LOG_TEXT};
	f->options = (struct ts_api_options){
	    .host = "127.0.0.1",
	    .threads = 2,
	    .max_connections = 64,
	    .store = f->store,
	    .queue_open = api_open_queue,
	    .queue_ctx = f->store,
	    .clock = ts_clock_system(),
	    .api_keys = API_KEY ", other-key",
	    .public_url = "http://api.example:8002",
	    .upload_dir = f->uploads,
	    .has_media_template = true,
	    .max_body_bytes = 65536,
	    .max_upload_bytes = 4 << 20,
	    .max_headers = 100,
	    .max_header_bytes = 65536,
	    .request_timeout_ms = 20000,
	    .upload_timeout_ms = 20000,
	    .max_wait_ms = 30000,
	    .max_queued = 1000,
	    .upload_ttl_ms = 3600000,
	    .idempotency_ttl_ms = 3600000,
	    .job_max_attempts = 3,
	};
	if (getenv("TS_TEST_LOG"))
		f->options.log = ts_log_to(&f->sink);
}

static inline void api_up(struct api_fixture *f)
{
	assert_ok(ts_api_start(&f->options, &f->api, &f->error), &f->error);
	f->port = ts_api_port(f->api);
	assert_true(f->port > 0);
}

static inline int api_remove(const char *path, const struct stat *st, int flag, struct FTW *walk)
{
	(void)st;
	(void)flag;
	(void)walk;
	return remove(path);
}

static inline void api_down(struct api_fixture *f)
{
	ts_api_destroy(f->api);
	ts_queue_close(f->queue);
	ts_store_close(f->store);
	nftw(f->dir, api_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static inline int api_setup(void **state)
{
	static struct api_fixture fixture;

	api_prepare(&fixture);
	api_up(&fixture);
	*state = &fixture;
	return 0;
}

static inline int api_teardown(void **state)
{
	api_down(*state);
	return 0;
}

#define api_test(function) cmocka_unit_test_setup_teardown(function, api_setup, api_teardown)

// Files in the upload folder.
static inline unsigned api_upload_files(const struct api_fixture *f)
{
	unsigned count = 0;
	const struct dirent *entry;
	DIR *folder = opendir(f->uploads);

	assert_non_null(folder);
	while ((entry = readdir(folder)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(folder);
	return count;
}

// --- the client ---

struct answer {
	int status; // 0: the connection was closed without an answer
	char *head; // status line and headers
	char *body; // NUL-terminated
	size_t length;
	json_t *json; // NULL: the body is not JSON
};

static inline void answer_finish(struct answer *answer)
{
	free(answer->head);
	free(answer->body);
	json_decref(answer->json);
	memset(answer, 0, sizeof *answer);
}
#define AUTOANSWER TS_CLEANUP(answer_finish)

static inline int client_open(const struct api_fixture *f)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(f->port)};
	struct timeval limit = {.tv_sec = 30};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(0, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
	assert_int_equal(0, setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
	assert_int_equal(0, connect(fd, (struct sockaddr *)&address, sizeof address));
	return fd;
}

// False: the server has closed the connection.
static inline bool client_send(int fd, const void *bytes, size_t length)
{
	const char *next = bytes;

	while (length > 0) {
		ssize_t sent = send(fd, next, length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		next += sent;
		length -= (size_t)sent;
	}
	return true;
}

static inline bool client_say(int fd, const char *text)
{
	return client_send(fd, text, strlen(text));
}

// The value of a header of the answer, copied into out; false: absent.
static inline bool answer_header(const struct answer *answer, const char *name, char *out, size_t size)
{
	size_t name_length = strlen(name);

	for (const char *line = answer->head ? strstr(answer->head, "\r\n") : NULL; line; line = strstr(line + 2, "\r\n")) {
		const char *start = line + 2;
		if (strncasecmp(start, name, name_length) == 0 && start[name_length] == ':') {
			start += name_length + 1;
			start += strspn(start, " ");
			snprintf(out, size, "%.*s", (int)strcspn(start, "\r"), start);
			return true;
		}
	}
	return false;
}

// Reads one answer, which must have a Content-Length (or no body). is_head: it has no body in spite of its length.
static inline void client_read_as(int fd, struct answer *out, bool is_head)
{
	size_t capacity = 65536, used = 0;
	char *text = malloc(capacity + 1), *end = NULL, value[64];

	assert_non_null(text);
	memset(out, 0, sizeof *out);
	text[0] = '\0';
	while (!(end = strstr(text, "\r\n\r\n")) && used < capacity) {
		ssize_t got = recv(fd, text + used, 1, 0);
		if (got <= 0)
			break;
		used += (size_t)got;
		text[used] = '\0';
	}
	if (!end) {
		free(text);
		return;
	}
	end[2] = '\0';
	out->head = text;
	assert_int_equal(1, sscanf(text, "HTTP/1.1 %d", &out->status));
	if (!is_head && answer_header(out, "Content-Length", value, sizeof value))
		out->length = strtoul(value, NULL, 10);
	out->body = calloc(1, out->length + 1);
	assert_non_null(out->body);
	for (size_t have = 0; have < out->length;) {
		ssize_t got = recv(fd, out->body + have, out->length - have, 0);
		if (got <= 0)
			fail_msg("the answer ends after %zu of %zu bytes", have, out->length);
		have += (size_t)got;
	}
	out->json = json_loadb(out->body, out->length, JSON_REJECT_DUPLICATES, NULL);
}

static inline void client_read(int fd, struct answer *out)
{
	client_read_as(fd, out, false);
}

// Whether the server closes the connection (having sent nothing more).
static inline bool client_is_closed(int fd)
{
	char c;
	return recv(fd, &c, 1, 0) <= 0;
}

// One request on its own connection. headers: further lines with CRLF; body NULL: none.
static inline void http_raw(const struct api_fixture *f, const char *method, const char *target, const char *headers,
                            const void *body, size_t length, struct answer *out)
{
	int fd = client_open(f);
	char *head = ts_asprintf("%s %s HTTP/1.1\r\nHost: localhost\r\n%s", method, target, headers);
	char size[64] = "\r\n";

	assert_non_null(head);
	if (body)
		snprintf(size, sizeof size, "Content-Length: %zu\r\n\r\n", length);
	client_say(fd, head);
	client_say(fd, size);
	if (body)
		client_send(fd, body, length);
	client_read_as(fd, out, strcmp(method, "HEAD") == 0);
	ts_free(head);
	close(fd);
}

#define AUTH "Authorization: Bearer " API_KEY "\r\n"
#define JSON_TYPE "Content-Type: application/json\r\n"

static inline void http_get(const struct api_fixture *f, const char *target, struct answer *out)
{
	http_raw(f, "GET", target, AUTH, NULL, 0, out);
}

static inline void http_post(const struct api_fixture *f, const char *target, const char *json, struct answer *out)
{
	http_raw(f, "POST", target, json ? AUTH JSON_TYPE : AUTH "Content-Length: 0\r\n", json, json ? strlen(json) : 0,
	         out);
}

static inline const char *text_of(const struct answer *answer, const char *key)
{
	const char *text = json_string_value(json_object_get(answer->json, key));

	if (!text)
		fail_msg("no text \"%s\" in %s", key, answer->body ? answer->body : "(no answer)");
	return text ? text : "";
}

static inline void check_status(const struct answer *answer, int status, const char *file, int line)
{
	if (answer->status != status) {
		print_error("status %d instead of %d: %s\n", answer->status, status, answer->body ? answer->body : "");
		_fail(file, line);
	}
}
#define assert_status(answer, status) check_status((answer), (status), __FILE__, __LINE__)

// The answer is the problem `slug`, whole, and names `field` (NULL: none).
static inline void check_problem(const struct answer *answer, int status, const char *slug, const char *field,
                                 const char *file, int line)
{
	char type[128], value[128];

	check_status(answer, status, file, line);
	snprintf(type, sizeof type, "/problems/%s", slug);
	const char *is_type = json_string_value(json_object_get(answer->json, "type"));
	const char *is_field = json_string_value(json_object_get(answer->json, "field"));
	bool media =
	    answer_header(answer, "Content-Type", value, sizeof value) && strcmp(value, "application/problem+json") == 0;
	if (!media || !is_type || strcmp(is_type, type) != 0 || (field && (!is_field || strcmp(is_field, field) != 0)) ||
	    (!field && is_field) || json_integer_value(json_object_get(answer->json, "status")) != status ||
	    !json_is_string(json_object_get(answer->json, "title")) ||
	    !json_is_string(json_object_get(answer->json, "detail"))) {
		print_error("not the problem %s of field %s: %s\n", slug, field ? field : "(none)", answer->body);
		_fail(file, line);
	}
}
#define assert_problem(answer, status, slug, field) \
	check_problem((answer), (status), (slug), (field), __FILE__, __LINE__)

// --- jobs ---

// Submits over HTTP and leaves the id.
static inline void api_submit(const struct api_fixture *f, const char *json, char id[TS_UUID_SIZE])
{
	AUTOANSWER struct answer answer;

	http_post(f, JOBS, json, &answer);
	assert_status(&answer, 202);
	snprintf(id, TS_UUID_SIZE, "%s", text_of(&answer, "id"));
	assert_true(ts_uuid_is_valid(id));
}

// What a worker would do: claims the job through any handle of the store.
static inline void api_claim(struct api_fixture *f, struct ts_store *store, const char *id, struct ts_lease *lease)
{
	TS_AUTOJOB struct ts_job job;

	ts_job_init(&job);
	assert_ok(ts_store_claim(store, id, "worker-1", 60000, &job, lease, &f->error), &f->error);
}

static inline void api_complete(struct api_fixture *f, struct ts_store *store, const char *id)
{
	static const char *const texts[] = {"Hello, world.", "It <works> & speaks."};
	TS_AUTOTRANSCRIPT struct ts_transcript transcript;
	struct ts_lease lease;

	api_claim(f, store, id, &lease);
	ts_transcript_init(&transcript);
	transcript.language = ts_strdup("en");
	transcript.duration_ms = 4000;
	for (int i = 0; i < 2; i++) {
		struct ts_segment segment;
		ts_segment_init(&segment);
		segment.text = ts_strdup(texts[i]);
		segment.start_ms = 2000 * i;
		segment.end_ms = 2000 * i + 1500;
		assert_ok(ts_transcript_add(&transcript, &segment, &f->error), &f->error);
	}
	assert_ok(ts_store_finish(store, &lease, &transcript, &f->error), &f->error);
}

#endif
