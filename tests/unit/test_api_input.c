// The API over HTTP: each kind of bad input gets its status and a problem that names the field, and the server goes on
// serving others.
#include "api_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#define MINIMAL "{\"video_id\": \"v1\"}"

// The server still works; called at the end of each test.
static void still_serves(const struct api_fixture *f)
{
	char id[TS_UUID_SIZE];
	api_submit(f, MINIMAL, id);
}

static void bad_bodies(void **state)
{
	struct api_fixture *f = *state;
	const struct {
		const char *json, *slug, *field;
	} cases[] = {
	    {"", "invalid-json", NULL},
	    {" ", "invalid-json", NULL},
	    {"{", "invalid-json", NULL},
	    {"[]", "invalid-json", NULL},
	    {"\"v1\"", "invalid-json", NULL},
	    {"{\"video_id\": \"v1\"} x", "invalid-json", NULL},
	    {"{\"video_id\": \"v1\", \"user_id\": }", "invalid-json", "user_id"},
	    {"{\"video_id\": \"\xff\"}", "invalid-json", "video_id"},
	    {"{\"video_id\": \"\\ud800\"}", "invalid-json", "video_id"},
	    {"{\"video_id\": \"a\", \"video_id\": \"b\"}", "invalid-json", "video_id"},
	    {"{\"video_id\": \"a\\u0000b\"}", "invalid-field", "video_id"},
	    {"{\"video_id\": \"a\\nb\"}", "invalid-field", "video_id"},
	    {"{\"video_id\": \"\"}", "invalid-field", "video_id"},
	    {"{\"video_id\": 7}", "invalid-field", "video_id"},
	    {"{\"video_id\": null}", "missing-field", "video_id"},
	    {"{}", "missing-field", "video_id"},
	    {"{\"user_id\": \"u\"}", "missing-field", "video_id"},
	    {"{\"video_id\": \"v\", \"videoId\": \"v\"}", "unknown-field", "videoId"},
	    {"{\"video_id\": \"v\", \"user_id\": [\"u\"]}", "invalid-field", "user_id"},
	    {"{\"video_id\": \"v\", \"callback_url\": \"ftp://x/\"}", "invalid-field", "callback_url"},
	    {"{\"video_id\": \"v\", \"callback_url\": \"not a url\"}", "invalid-field", "callback_url"},
	    {"{\"video_id\": \"v\", \"callback_url\": \"/relative\"}", "invalid-field", "callback_url"},
	    {"{\"video_id\": \"v\", \"callback_url\": true}", "invalid-field", "callback_url"},
	    {"{\"video_id\": \"v\", \"media_url\": \"file:///etc/passwd\"}", "invalid-field", "media_url"},
	    {"{\"video_id\": \"v\", \"media_url\": \"http://\"}", "invalid-field", "media_url"},
	    {"{\"video_id\": \"v\", \"upload_id\": \"42\"}", "invalid-field", "upload_id"},
	    {"{\"video_id\": \"v\", \"upload_id\": \"" UNKNOWN_ID "\"}", "invalid-field", "upload_id"},
	    {"{\"video_id\": \"v\", \"upload_id\": \"" UNKNOWN_ID "\", \"media_url\": \"http://a/b\"}", "invalid-field",
	     "upload_id"},
	    {"{\"video_id\": \"v\", \"language\": \"english\"}", "invalid-field", "language"},
	    {"{\"video_id\": \"v\", \"language\": \"EN\"}", "invalid-field", "language"},
	    {"{\"video_id\": \"v\", \"metadata\": []}", "invalid-field", "metadata"},
	    {"{\"video_id\": \"v\", \"metadata\": {\"a\": \"\\u0000\"}}", "invalid-field", "metadata"},
	    {"{\"video_id\": \"v\", \"priority\": \"urgent\"}", "invalid-field", "priority"},
	    {"{\"video_id\": \"v\", \"priority\": 1}", "invalid-field", "priority"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer;
		http_post(f, JOBS, cases[i].json, &answer);
		assert_problem(&answer, 400, cases[i].slug, cases[i].field);
	}
	still_serves(f);
}

static void long_fields(void **state)
{
	struct api_fixture *f = *state;
	static char json[60000], text[20000];
	static const struct {
		const char *format;
		size_t length;
		const char *field; // NULL: accepted
	} cases[] = {
	    {"{\"video_id\": \"%s\"}", 200, NULL},
	    {"{\"video_id\": \"%s\"}", 201, "video_id"},
	    {"{\"video_id\": \"v\", \"user_id\": \"%s\"}", 201, "user_id"},
	    {"{\"video_id\": \"v\", \"callback_url\": \"http://h/%s\"}", 2039, NULL},
	    {"{\"video_id\": \"v\", \"callback_url\": \"http://h/%s\"}", 2040, "callback_url"},
	    {"{\"video_id\": \"v\", \"media_url\": \"http://h/%s\"}", 2040, "media_url"},
	    {"{\"video_id\": \"v\", \"metadata\": {\"k\":\"%s\"}}", 8192 - 8, NULL},
	    {"{\"video_id\": \"v\", \"metadata\": {\"k\":\"%s\"}}", 8192 - 7, "metadata"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer;
		memset(text, 'a', cases[i].length);
		text[cases[i].length] = '\0';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(json, sizeof json, cases[i].format, text);
#pragma GCC diagnostic pop
		http_post(f, JOBS, json, &answer);
		if (cases[i].field)
			assert_problem(&answer, 400, "invalid-field", cases[i].field);
		else
			assert_status(&answer, 202);
	}
}

static void body_over_the_limit(void **state)
{
	struct api_fixture *f = *state;
	static char body[70000];
	AUTOANSWER struct answer sized = {0}, waiting = {0}, chunked = {0};

	memset(body, ' ', sizeof body);
	http_raw(f, "POST", JOBS, AUTH JSON_TYPE, body, sizeof body, &sized);
	assert_problem(&sized, 413, "body-too-large", NULL);

	// Who waits for "100 Continue" is told before sending anything.
	int fd = client_open(f);
	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE
	               "Expect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n");
	client_read(fd, &waiting);
	assert_problem(&waiting, 413, "body-too-large", NULL);
	close(fd);

	// Without a length the limit is found while reading.
	fd = client_open(f);
	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 70; i++) {
		client_say(fd, "400\r\n");
		client_send(fd, body, 1024);
		client_say(fd, "\r\n");
	}
	client_say(fd, "0\r\n\r\n");
	client_read(fd, &chunked);
	assert_problem(&chunked, 413, "body-too-large", NULL);
	close(fd);
	still_serves(f);
}

// The answer comes although the client would send for ever.
static void endless_body(void **state)
{
	struct api_fixture *f = *state;
	static char block[65536];
	AUTOANSWER struct answer answer = {0};
	int fd = client_open(f);
	uint64_t sent = 0;

	memset(block, ' ', sizeof block);
	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE "Transfer-Encoding: chunked\r\n\r\n");
	while (sent < (UINT64_C(3) << 20) && client_say(fd, "10000\r\n") && client_send(fd, block, sizeof block) &&
	       client_say(fd, "\r\n"))
		sent += sizeof block;
	client_read(fd, &answer);
	assert_problem(&answer, 413, "body-too-large", NULL);
	assert_true(client_is_closed(fd));
	close(fd);
	still_serves(f);
}

static void chunked_and_expecting_bodies_are_accepted(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer chunked = {0}, go_on = {0}, expected = {0};
	int fd = client_open(f);

	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE "Transfer-Encoding: chunked\r\n\r\n"
	               "8\r\n{\"video_\r\n7\r\nid\":\"v\"\r\n1\r\n}\r\n0\r\n\r\n");
	client_read(fd, &chunked);
	assert_status(&chunked, 202);
	// The same connection goes on.
	client_say(fd, "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE
	               "Expect: 100-continue\r\nContent-Length: 18\r\n\r\n");
	client_read(fd, &go_on);
	assert_status(&go_on, 100);
	client_say(fd, MINIMAL);
	client_read(fd, &expected);
	assert_status(&expected, 202);
	close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer a = {0}, b = {0}, c = {0};
	int fd = client_open(f);

	client_say(fd, "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n"
	               "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE "Content-Length: 18\r\n\r\n" MINIMAL
	               "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n");
	client_read(fd, &a);
	client_read(fd, &b);
	client_read(fd, &c);
	assert_status(&a, 200);
	assert_status(&b, 202);
	assert_problem(&c, 404, "unknown-path", NULL);
	close(fd);
}

static void wrong_or_missing_key(void **state)
{
	struct api_fixture *f = *state;
	static const char *const bad[] = {
	    "",
	    "Authorization: \r\n",
	    "Authorization: Bearer\r\n",
	    "Authorization: Bearer \r\n",
	    "Authorization: Bearer wrong\r\n",
	    "Authorization: Bearer " API_KEY "x\r\n",
	    "Authorization: Bearer " API_KEY ",other-key\r\n",
	    "Authorization: Basic c2VzYW1lOg==\r\n",
	    "Authorization: " API_KEY "\r\n",
	    "Authorization: Bearerx " API_KEY "\r\n",
	};
	char value[128];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		AUTOANSWER struct answer get = {0}, post = {0};
		char headers[256];
		http_raw(f, "GET", JOBS, bad[i], NULL, 0, &get);
		assert_problem(&get, 401, "unauthorized", "Authorization");
		assert_true(answer_header(&get, "WWW-Authenticate", value, sizeof value));
		assert_string_equal(value, "Bearer realm=\"transcription\"");
		snprintf(headers, sizeof headers, "%s" JSON_TYPE, bad[i]);
		http_raw(f, "POST", JOBS, headers, MINIMAL, strlen(MINIMAL), &post);
		assert_problem(&post, 401, "unauthorized", "Authorization");
	}
	static const char *const good[] = {AUTH, "Authorization: bearer other-key\r\n",
	                                   "authorization:  BEARER   other-key \r\n"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		AUTOANSWER struct answer get;
		http_raw(f, "GET", JOBS, good[i], NULL, 0, &get);
		assert_status(&get, 200);
	}
}

static void without_keys_everybody_may(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer get = {0};

	api_down(f);
	api_prepare(f);
	f->options.api_keys = "";
	api_up(f);
	http_raw(f, "GET", JOBS, "", NULL, 0, &get);
	assert_status(&get, 200);
}

static void wrong_paths_and_methods(void **state)
{
	struct api_fixture *f = *state;
	static const struct {
		const char *method, *target;
		int status;
		const char *allow;
	} cases[] = {
	    {"GET", "/nowhere", 404, NULL},
	    {"GET", "/api/v1/transcriptions/", 404, NULL},
	    {"GET", "/api/v1//transcriptions", 404, NULL},
	    {"GET", "//health/live", 404, NULL},
	    {"GET", "/health/live/", 404, NULL},
	    {"GET", "/health/../metrics", 404, NULL},
	    {"GET", "/api/v1/transcriptions/" UNKNOWN_ID "/nothing", 404, NULL},
	    {"GET", "/%zz", 404, NULL},
	    {"PUT", JOBS, 405, "POST, GET, HEAD"},
	    {"PATCH", JOBS "/" UNKNOWN_ID, 405, "GET, HEAD, DELETE"},
	    {"OPTIONS", JOBS, 405, "POST, GET, HEAD"},
	    {"FROB", "/health/live", 405, "GET, HEAD"},
	    {"get", "/health/live", 405, "GET, HEAD"},
	    {"GET", JOBS "/" UNKNOWN_ID "/cancel", 405, "POST"},
	    {"POST", "/metrics", 405, "GET, HEAD"},
	};
	char value[128];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer;
		http_raw(f, cases[i].method, cases[i].target, AUTH, NULL, 0, &answer);
		assert_problem(&answer, cases[i].status, cases[i].status == 404 ? "unknown-path" : "method-not-allowed", NULL);
		assert_int_equal(cases[i].allow != NULL, answer_header(&answer, "Allow", value, sizeof value));
		if (cases[i].allow)
			assert_string_equal(value, cases[i].allow);
	}
	AUTOANSWER struct answer head = {0}, absolute = {0}, encoded = {0};
	http_raw(f, "HEAD", "/health/live", "", NULL, 0, &head);
	assert_status(&head, 200);
	http_raw(f, "GET", "http://somewhere.example/health/live", "", NULL, 0, &absolute);
	assert_status(&absolute, 200);
	http_raw(f, "GET", "/health/%6cive", "", NULL, 0, &encoded);
	assert_status(&encoded, 200);
}

static void other_media_types(void **state)
{
	struct api_fixture *f = *state;
	static const struct {
		const char *headers;
		int status;
		const char *slug, *field;
	} cases[] = {
	    {"", 415, "unsupported-media-type", "Content-Type"},
	    {"Content-Type: text/plain\r\n", 415, "unsupported-media-type", "Content-Type"},
	    {"Content-Type: application/x-www-form-urlencoded\r\n", 415, "unsupported-media-type", "Content-Type"},
	    {"Content-Type: application/json; charset=latin1\r\n", 415, "unsupported-media-type", "Content-Type"},
	    {"Content-Type: application/json;;; charset\r\n", 415, "unsupported-media-type", "Content-Type"},
	    {JSON_TYPE "Content-Encoding: gzip\r\n", 415, "unsupported-media-type", "Content-Encoding"},
	    {"Content-Type: multipart/form-data\r\n", 400, "invalid-multipart", "Content-Type"},
	    {"Content-Type: multipart/form-data; boundary=\"\"\r\n", 400, "invalid-multipart", "Content-Type"},
	};
	AUTOANSWER struct answer charset = {0};
	char headers[256];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer;
		snprintf(headers, sizeof headers, AUTH "%s", cases[i].headers);
		http_raw(f, "POST", JOBS, headers, MINIMAL, strlen(MINIMAL), &answer);
		assert_problem(&answer, cases[i].status, cases[i].slug, cases[i].field);
	}
	http_raw(f, "POST", JOBS, AUTH "Content-Type: Application/JSON; charset=\"UTF-8\"\r\n", MINIMAL, strlen(MINIMAL),
	         &charset);
	assert_status(&charset, 202);
}

static void bodies_where_none_belongs(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer get = {0}, cancel = {0};
	char id[TS_UUID_SIZE], target[128];

	http_raw(f, "GET", "/health/live", JSON_TYPE, "{}", 2, &get);
	assert_problem(&get, 400, "unexpected-body", NULL);
	api_submit(f, MINIMAL, id);
	snprintf(target, sizeof target, JOBS "/%s/cancel", id);
	http_raw(f, "POST", target, AUTH JSON_TYPE, "{}", 2, &cancel);
	assert_problem(&cancel, 400, "unexpected-body", NULL);
}

static void unknown_query_parameters(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer post = {0}, get = {0};
	char id[TS_UUID_SIZE], target[128];

	http_post(f, JOBS "?dry_run=1", MINIMAL, &post);
	assert_problem(&post, 400, "unknown-parameter", "dry_run");
	api_submit(f, MINIMAL, id);
	snprintf(target, sizeof target, JOBS "/%s?fields=id", id);
	http_get(f, target, &get);
	assert_problem(&get, 400, "unknown-parameter", "fields");
}

static void send_headers(int fd, unsigned count, const char *value)
{
	char line[512];

	client_say(fd, "GET /health/live HTTP/1.1\r\nHost: h\r\n");
	for (unsigned i = 0; i < count; i++) {
		snprintf(line, sizeof line, "X-Header-%u: %s\r\n", i, value);
		if (!client_say(fd, line))
			return;
	}
	client_say(fd, "\r\n");
}

static void too_many_headers(void **state)
{
	struct api_fixture *f = *state;
	static char long_value[1000];
	AUTOANSWER struct answer some = {0}, many = {0}, large = {0}, flood = {0};

	int fd = client_open(f);
	send_headers(fd, 99, "x"); // and Host
	client_read(fd, &some);
	assert_status(&some, 200);
	close(fd);
	fd = client_open(f);
	send_headers(fd, 100, "x");
	client_read(fd, &many);
	assert_problem(&many, 431, "headers-too-large", NULL);
	close(fd);
	memset(long_value, 'v', sizeof long_value - 1);
	fd = client_open(f);
	client_say(fd, "GET /health/live HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < 70; i++) {
		client_say(fd, "X-Long: ");
		client_say(fd, long_value);
		client_say(fd, "\r\n");
	}
	client_say(fd, "\r\n");
	client_read(fd, &large);
	assert_problem(&large, 431, "headers-too-large", NULL);
	close(fd);
	// Ten thousand do not even fit the memory of a connection: they are refused while they come in.
	fd = client_open(f);
	send_headers(fd, 10000, "x");
	client_read(fd, &flood);
	assert_problem(&flood, 431, "headers-too-large", NULL);
	assert_true(client_is_closed(fd));
	close(fd);
	still_serves(f);
}

// However much else goes on, and on a connection that has served requests before.
static void flood_of_headers_among_others(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer first = {0}, flood = {0};
	int others[3];

	api_down(f);
	api_prepare(f);
	f->options.threads = 1; // all on one thread
	api_up(f);
	for (size_t i = 0; i < 3; i++) { // in the middle of the request line, of the header, of the body
		static const char *const parts[] = {"GET /hea", "GET /health/live HTTP/1.1\r\nHost: h\r\nX-A: ",
		                                    "POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE
		                                    "Content-Length: 48\r\n\r\n{\"video_id\""};
		others[i] = client_open(f);
		client_say(others[i], parts[i]);
	}
	int fd = client_open(f);
	client_say(fd, "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n");
	client_read(fd, &first);
	assert_status(&first, 200);
	send_headers(fd, 10000, "x");
	client_read(fd, &flood);
	assert_problem(&flood, 431, "headers-too-large", NULL);
	close(fd);
	client_say(others[0], "lth/live HTTP/1.1\r\nHost: h\r\n\r\n");
	client_say(others[1], "b\r\n\r\n");
	client_say(others[2], ":\"v\",\"media_url\":\"http://h.example/\"}");
	for (size_t i = 0; i < 3; i++) {
		AUTOANSWER struct answer answer;
		client_read(others[i], &answer);
		assert_status(&answer, i < 2 ? 200 : 202);
		close(others[i]);
	}
}

// It can't be told who is meant when several requests are half way: nobody is answered for another.
static void nobody_is_blamed_for_another(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer bad = {0}, good = {0}, piped = {0}, second = {0};
	char text[256];

	api_down(f);
	api_prepare(f);
	f->options.threads = 1;
	api_up(f);
	int slow = client_open(f);
	client_say(slow, "GET /health/live HTTP/1.1\r\n");
	still_serves(f); // by now that is read
	int fd = client_open(f);
	client_say(fd, "GET /health/live HTTP/1.1\r\n\r\n"); // no Host
	assert_true(recv(fd, text, 12, MSG_WAITALL) == 12 && memcmp(text, "HTTP/1.1 400", 12) == 0);
	close(fd);
	// The bad request came in one piece with a good one, so that only the slow client has sent bytes since.
	fd = client_open(f);
	client_say(fd, "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\nGET /health/live HTTP/1.1\r\n\r\n");
	client_read(fd, &piped);
	assert_status(&piped, 200);
	assert_true(recv(fd, text, 12, MSG_WAITALL) == 12 && memcmp(text, "HTTP/1.1 400", 12) == 0);
	close(fd);
	client_say(slow, "Host: h\r\n\r\n");
	client_read(slow, &good);
	assert_status(&good, 200);
	// Alone, it is told.
	client_say(slow, "GET /health/live HTTP/1.1\r\nHost: h\r\n\r\nGET /health/live HTTP/1.1\r\n\r\n");
	client_read(slow, &second);
	assert_status(&second, 200);
	client_read(slow, &bad);
	assert_problem(&bad, 400, "malformed-request", "Host");
	close(slow);
}

struct stopper {
	struct ts_api *api;
	int log; // closed when the API has stopped
	atomic_int tid;
};

static void *stop_api(void *arg)
{
	struct stopper *stopper = arg;

	atomic_store(&stopper->tid, (int)syscall(SYS_gettid));
	ts_api_stop(stopper->api, 0);
	close(stopper->log);
	return NULL;
}

static bool rests(int tid)
{
	char path[64], state = '?';

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	FILE *file = fopen(path, "r");
	if (!file)
		return false;
	bool known = fscanf(file, "%*d (%*[^)]) %c", &state) == 1;
	fclose(file);
	return known && state == 'S';
}

static bool accepts(const struct api_fixture *f)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(f->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
	close(fd);
	return connected;
}

// The log is a pipe that is full, so the server's thread rests in the middle of refusing a request until it is read.
static void stop_while_a_request_is_refused(void **state)
{
	struct api_fixture *f = *state;
	static char text[4096];
	int pipe_fds[2];
	pthread_t thread;

	api_down(f);
	api_prepare(f);
	assert_int_equal(0, pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK));
	f->sink.fd = pipe_fds[1];
	f->sink.level = TS_LOG_INFO; // the first that it says is said when the client has been answered
	f->options.log = ts_log_to(&f->sink);
	f->options.threads = 1;
	api_up(f);
	assert_true(fcntl(pipe_fds[1], F_SETPIPE_SZ, (int)sizeof text) >= 0);
	while (write(pipe_fds[1], text, sizeof text) > 0)
		;
	while (write(pipe_fds[1], text, 1) > 0)
		;
	assert_int_equal(0, fcntl(pipe_fds[1], F_SETFL, 0));
	int fd = client_open(f);
	client_say(fd, "GET /health/live HTTP/1.1\r\n\r\n"); // no Host
	assert_true(recv(fd, text, 12, MSG_WAITALL) == 12 && memcmp(text, "HTTP/1.1 400", 12) == 0);
	struct stopper stopper = {.api = f->api, .log = pipe_fds[1]};
	assert_int_equal(0, pthread_create(&thread, NULL, stop_api, &stopper));
	while (accepts(f) || !rests(atomic_load(&stopper.tid)))
		sched_yield();
	assert_int_equal(0, fcntl(pipe_fds[0], F_SETFL, 0));
	while (read(pipe_fds[0], text, sizeof text) > 0)
		;
	pthread_join(thread, NULL);
	close(pipe_fds[0]);
	close(fd);
}

// libmicrohttpd takes parameters apart in the connection's memory, and breaks when that is full: it must not see them.
static void flood_of_parameters(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer many = {0}, some = {0}, large = {0};
	static char target[100000];
	size_t used = (size_t)snprintf(target, sizeof target, JOBS "?limit=1&first=1");

	while (used < 60000)
		used += (size_t)snprintf(target + used, sizeof target - used, "&a%zu", used);
	http_get(f, target, &many);
	assert_problem(&many, 400, "unknown-parameter", "first");
	http_get(f, JOBS "?limit=1&b=2", &some);
	assert_problem(&some, 400, "unknown-parameter", "b");
	memset(target + used, 'x', 70000 - used);
	http_get(f, target, &large);
	assert_problem(&large, 414, "uri-too-long", NULL);
	still_serves(f);
}

static void malformed_http(void **state)
{
	struct api_fixture *f = *state;
	static const struct {
		const char *request;
		int status;
		const char *slug, *field;
	} cases[] = {
	    {"GET /health/live HTTP/1.1\r\n\r\n", 400, "malformed-request", "Host"},
	    {"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "invalid-header", "Host"},
	    {"GET /health/live HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400, "malformed-request", NULL},
	    {"GET /health/live HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n", 400, "invalid-header", NULL},
	    {"GET /health/live HTTP/2.0\r\nHost: h\r\n\r\n", 505, "version-not-supported", NULL},
	    {"GET /health/live\r\n\r\n", 400, "malformed-request", NULL},
	    {"GET /health/live HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400, "malformed-request",
	     "Content-Length"},
	    {"GET /health/live HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 413, "body-too-large",
	     "Content-Length"},
	    {"GET /health/live HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400,
	     "invalid-header", "Content-Length"},
	    {"GET /health/live HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	     400, "invalid-header", "Content-Length"},
	    {"GET /health/live HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "malformed-request",
	     "Transfer-Encoding"},
	    // The end of such a body can't be told: nobody waits for it.
	    {"POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE "Transfer-Encoding: gzip, chunked\r\n\r\n", 400,
	     "invalid-header", "Transfer-Encoding"},
	    {"POST " JOBS " HTTP/1.1\r\nHost: h\r\n" AUTH JSON_TYPE
	     "Expect: 100-continue\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
	     400, "invalid-header", "Transfer-Encoding"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		AUTOANSWER struct answer answer;
		int fd = client_open(f);
		client_say(fd, cases[i].request);
		client_read(fd, &answer);
		if (answer.status != cases[i].status)
			print_error("request %zu\n", i);
		assert_problem(&answer, cases[i].status, cases[i].slug, cases[i].field);
		close(fd);
	}
	// What is not even a line gets no answer when it ends.
	int fd = client_open(f);
	client_say(fd, "\x01\x02\x03");
	shutdown(fd, SHUT_WR);
	assert_true(client_is_closed(fd));
	close(fd);
	still_serves(f);
}

static void no_source_of_media(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer bare = {0}, with_url = {0}, with_file = {0};

	api_down(f);
	api_prepare(f);
	f->options.has_media_template = false;
	f->options.has_media_file_root = true;
	api_up(f);
	http_post(f, JOBS, MINIMAL, &bare);
	assert_problem(&bare, 400, "missing-field", "media_url");
	assert_contains(text_of(&bare, "detail"), "MEDIA_URL_TEMPLATE");
	assert_contains(text_of(&bare, "detail"), "VIDEO_PROCESSING_SERVICE_URL");
	http_post(f, JOBS, "{\"video_id\": \"v\", \"media_url\": \"https://media.example/v.mp4\"}", &with_url);
	assert_status(&with_url, 202);
	http_post(f, JOBS, "{\"video_id\": \"v\", \"media_url\": \"file:///videos/v.mp4\"}", &with_file);
	assert_status(&with_file, 202);
}

static enum ts_err only_english(void *ctx, const char *language, struct ts_error *error)
{
	(void)ctx;
	if (strcmp(language, "en") == 0)
		return TS_OK;
	return ts_fail(error, TS_ERR_LANGUAGE, "the engine knows only English (en)");
}

static void language_is_asked_of_the_engine(void **state)
{
	struct api_fixture *f = *state;
	AUTOANSWER struct answer en = {0}, de = {0};

	api_down(f);
	api_prepare(f);
	f->options.check_language = only_english;
	api_up(f);
	http_post(f, JOBS, "{\"video_id\": \"v\", \"language\": \"en\"}", &en);
	assert_status(&en, 202);
	http_post(f, JOBS, "{\"video_id\": \"v\", \"language\": \"de\"}", &de);
	assert_problem(&de, 400, "invalid-field", "language");
	assert_contains(text_of(&de, "detail"), "only English");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    api_test(bad_bodies),
	    api_test(long_fields),
	    api_test(body_over_the_limit),
	    api_test(endless_body),
	    api_test(chunked_and_expecting_bodies_are_accepted),
	    api_test(pipelined_requests_are_answered_in_order),
	    api_test(wrong_or_missing_key),
	    api_test(without_keys_everybody_may),
	    api_test(wrong_paths_and_methods),
	    api_test(other_media_types),
	    api_test(bodies_where_none_belongs),
	    api_test(unknown_query_parameters),
	    api_test(too_many_headers),
	    api_test(flood_of_headers_among_others),
	    api_test(nobody_is_blamed_for_another),
	    api_test(stop_while_a_request_is_refused),
	    api_test(flood_of_parameters),
	    api_test(malformed_http),
	    api_test(no_source_of_media),
	    api_test(language_is_asked_of_the_engine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
