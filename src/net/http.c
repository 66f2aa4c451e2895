// One transfer on libcurl's multi interface, which returns often enough to poll the abort flag. Names are
// resolved and judged by netguard; libcurl is given the addresses under a name that exists nowhere else and
// every socket is compared with them once more, so that it cannot reach anything that was not judged.
#include "net/http.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "net/http_head.h"
#include "net/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define POLL_MS 100
#define CONNECT_TIMEOUT_MS 10000
#define STALL_TIMEOUT_MS 30000
#define PIN_NAME "pinned.invalid" // RFC 2606: never in the DNS

static const char *const schemes[] = {"http", "https", NULL};

struct transfer {
	const struct ts_http_request *request;
	struct ts_url url;
	char *where; // host[:port] for messages
	bool own_origin;
	bool follow; // a redirect response is not the final one

	struct ts_addresses pinned;
	struct ts_http_head head;
	struct ts_http_response *response;
	size_t error_length;

	struct ts_error *error;
	enum ts_err failure; // of a callback, with *error filled
	bool redirected;     // to head.location, which is to be followed
	bool enough;         // what came suffices: a redirect's headers, an error's beginning
	bool connected;

	int64_t connect_deadline; // monotonic ms
	int64_t deadline;         // INT64_MAX: none
	int64_t stall_ms;
	int64_t last_moved_ms;
	int64_t window_start_ms;
	uint64_t window_bytes;
	uint64_t moved; // bytes up and down so far, as libcurl counts

	CURL *easy;
	CURLM *multi;
	struct curl_slist *headers;
	struct curl_slist *resolve;
	struct curl_slist *connect_to;
	curl_mime *mime;
};

static int64_t now_ms(void)
{
	return ts_mono_ms(ts_clock_system());
}

enum ts_err ts_http_global_init(struct ts_error *error)
{
	CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);

	if (rc != CURLE_OK)
		return ts_fail(error, TS_ERR_INTERNAL, "the HTTP library cannot start: %s", curl_easy_strerror(rc));
	signal(SIGPIPE, SIG_IGN);
	return TS_OK;
}

// --- What libcurl calls back ---

static void note_bytes(struct transfer *t, uint64_t count)
{
	if (count == 0)
		return;
	t->last_moved_ms = now_ms();
	t->window_bytes += count;
}

static int on_progress(void *ctx, curl_off_t down_total TS_UNUSED, curl_off_t down, curl_off_t up_total TS_UNUSED,
                       curl_off_t up)
{
	struct transfer *t = ctx;
	uint64_t moved = (uint64_t)down + (uint64_t)up;

	if (moved > t->moved)
		note_bytes(t, moved - t->moved);
	t->moved = moved;
	return 0;
}

static int on_ready(void *ctx, char *ip TS_UNUSED, char *local_ip TS_UNUSED, int port TS_UNUSED,
                    int local_port TS_UNUSED)
{
	struct transfer *t = ctx;

	t->connected = true;
	t->last_moved_ms = t->window_start_ms = now_ms();
	return CURL_PREREQFUNC_OK;
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr *b)
{
	struct sockaddr_in a4;
	struct sockaddr_in b4;
	struct sockaddr_in6 a6;
	struct sockaddr_in6 b6;

	if (a->ss_family != b->sa_family)
		return false;
	if (a->ss_family == AF_INET) {
		memcpy(&a4, a, sizeof a4);
		memcpy(&b4, b, sizeof b4);
		return a4.sin_port == b4.sin_port && a4.sin_addr.s_addr == b4.sin_addr.s_addr;
	}
	memcpy(&a6, a, sizeof a6);
	memcpy(&b6, b, sizeof b6);
	return a6.sin6_port == b6.sin6_port && memcmp(&a6.sin6_addr, &b6.sin6_addr, sizeof a6.sin6_addr) == 0;
}

static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = ctx;

	if (purpose == CURLSOCKTYPE_IPCXN)
		for (size_t i = 0; i < t->pinned.count; i++)
			if (same_address(&t->pinned.address[i], &address->addr))
				return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	t->failure =
	    ts_fail(t->error, TS_ERR_NET_FORBIDDEN, "connection to an address of %s that was not checked", t->where);
	return CURL_SOCKET_BAD;
}

static bool is_success(const struct transfer *t)
{
	return t->response->status >= 200 && t->response->status < 300;
}

static void on_head_complete(struct transfer *t)
{
	const struct ts_http_request *request = t->request;
	struct ts_http_response *response = t->response;

	if (t->follow && ts_http_status_redirects(response->status) && (t->head.location[0] || t->head.location_too_long)) {
		t->redirected = t->enough = true;
		return;
	}
	if (request->begin) {
		t->failure = request->begin(request->ctx, response, t->error);
		if (t->failure != TS_OK)
			return;
	}
	if (is_success(t) && request->max_bytes && response->content_length > 0 &&
	    (uint64_t)response->content_length > request->max_bytes && strcmp(request->method, "HEAD") != 0)
		t->failure =
		    ts_fail(t->error, TS_ERR_MEDIA_TOO_LARGE, "%s announces %" PRId64 " bytes; at most %" PRIu64 " are allowed",
		            t->where, response->content_length, request->max_bytes);
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	struct ts_error why = {0};
	bool was_complete = t->head.complete;

	if (t->enough || t->failure != TS_OK)
		return 0;
	note_bytes(t, size * count);
	enum ts_err err = ts_http_head_line(&t->head, line, size * count, &why);
	if (err != TS_OK) {
		t->failure = ts_fail(t->error, err, "%s sent an unusable answer: %s", t->where, why.message);
		return 0;
	}
	if (t->head.complete && !was_complete)
		on_head_complete(t);
	return t->enough || t->failure != TS_OK ? 0 : size * count;
}

static void keep_error_body(struct transfer *t, const char *bytes, size_t length)
{
	struct ts_http_response *response = t->response;
	size_t room = sizeof response->error_body - 1 - t->error_length;

	t->enough = length > room;
	length = length < room ? length : room;
	memcpy(response->error_body + t->error_length, bytes, length);
	for (size_t i = t->error_length; i < t->error_length + length; i++)
		if (response->error_body[i] == '\0')
			response->error_body[i] = ' ';
	t->error_length += length;
	response->error_body[t->error_length] = '\0';
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	const struct ts_http_request *request = t->request;
	size_t length = size * count;

	if (t->enough || t->failure != TS_OK)
		return 0;
	if (!is_success(t)) {
		keep_error_body(t, bytes, length);
		return t->enough ? 0 : length;
	}
	if (request->max_bytes && length > request->max_bytes - t->response->received) {
		t->failure = ts_fail(t->error, TS_ERR_MEDIA_TOO_LARGE, "%s sent more than the %" PRIu64 " bytes allowed",
		                     t->where, request->max_bytes);
		return 0;
	}
	if (request->write)
		t->failure = request->write(request->ctx, bytes, length, t->error);
	if (t->failure != TS_OK)
		return 0;
	t->response->received += length;
	return length;
}

// --- Setting up ---

struct part_reader {
	const struct ts_http_part *part;
	size_t at;
};

static size_t read_part(char *buffer, size_t size, size_t count, void *ctx)
{
	struct part_reader *reader = ctx;
	size_t left = reader->part->length - reader->at;
	size_t length = size * count < left ? size * count : left;

	if (length)
		memcpy(buffer, (const char *)reader->part->data + reader->at, length);
	reader->at += length;
	return length;
}

static int seek_part(void *ctx, curl_off_t offset, int origin)
{
	struct part_reader *reader = ctx;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > reader->part->length)
		return CURL_SEEKFUNC_CANTSEEK;
	reader->at = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static bool add_part(struct transfer *t, const struct ts_http_part *part)
{
	curl_mimepart *mime = curl_mime_addpart(t->mime);
	struct part_reader *reader = ts_calloc(1, sizeof *reader);

	if (!mime || !reader) {
		ts_free(reader);
		return false;
	}
	reader->part = part;
	// From here on libcurl frees the reader.
	return curl_mime_data_cb(mime, (curl_off_t)part->length, read_part, seek_part, ts_free, reader) == CURLE_OK &&
	       curl_mime_name(mime, part->name) == CURLE_OK && curl_mime_filename(mime, part->filename) == CURLE_OK &&
	       (!part->type || curl_mime_type(mime, part->type) == CURLE_OK);
}

static bool add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer)
		*list = longer;
	return longer != NULL;
}

// Headers that say nothing about who asks.
static bool may_leave_origin(const char *line)
{
	return strncasecmp(line, "accept", 6) == 0 || strncasecmp(line, "user-agent:", 11) == 0 ||
	       strncasecmp(line, "traceparent:", 12) == 0;
}

static enum ts_err check_header(const char *line, struct ts_error *error)
{
	size_t name = strspn(line, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

	if (name == 0 || line[name] != ':' || strpbrk(line, "\r\n"))
		return ts_fail(error, TS_ERR_INVALID, "a request header must be one line of the form \"Name: value\"");
	return TS_OK;
}

static enum ts_err add_headers(struct transfer *t)
{
	const struct ts_http_request *request = t->request;
	bool has_type = false;
	bool has_body = request->body || request->part_count;
	char range[48];

	for (size_t i = 0; request->headers && request->headers[i]; i++) {
		const char *line = request->headers[i];
		TS_TRY(check_header(line, t->error));
		if (!t->own_origin && !may_leave_origin(line))
			continue;
		has_type |= strncasecmp(line, "content-type:", 13) == 0;
		if (!add_line(&t->headers, line))
			return ts_fail_nomem(t->error);
	}
	// libcurl would wait a second for a 100 that many servers never send, and name the body a form.
	if (!add_line(&t->headers, "Expect:") ||
	    (has_body && !has_type && !request->part_count && !add_line(&t->headers, "Content-Type:")))
		return ts_fail_nomem(t->error);
	if (request->resume_from == 0)
		return TS_OK;
	snprintf(range, sizeof range, "Range: bytes=%" PRIu64 "-", request->resume_from);
	if (!add_line(&t->headers, range))
		return ts_fail_nomem(t->error);
	if (!request->if_range)
		return TS_OK;
	TS_AUTOFREE char *line = ts_asprintf("If-Range: %s", request->if_range);
	if (!line)
		return ts_fail_nomem(t->error);
	TS_TRY(check_header(line, t->error));
	return add_line(&t->headers, line) ? TS_OK : ts_fail_nomem(t->error);
}

static bool add_pins(struct transfer *t)
{
	TS_AUTOBUF struct ts_buf line = {0};
	char connect_to[64];

	ts_buf_init(&line, 2048);
	ts_buf_printf(&line, "%s:%u:", PIN_NAME, (unsigned)t->url.port);
	for (size_t i = 0; i < t->pinned.count; i++) {
		char host[INET6_ADDRSTRLEN] = "";
		bool ipv6 = t->pinned.address[i].ss_family == AF_INET6;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
		memcpy(&in4, &t->pinned.address[i], sizeof in4);
		memcpy(&in6, &t->pinned.address[i], sizeof in6);
		inet_ntop(ipv6 ? AF_INET6 : AF_INET, ipv6 ? (const void *)&in6.sin6_addr : (const void *)&in4.sin_addr, host,
		          sizeof host);
		ts_buf_printf(&line, "%s%s%s%s", i ? "," : "", ipv6 ? "[" : "", host, ipv6 ? "]" : "");
	}
	snprintf(connect_to, sizeof connect_to, "::%s:%u", PIN_NAME, (unsigned)t->url.port);
	return ts_buf_status(&line, NULL) == TS_OK && add_line(&t->resolve, ts_buf_str(&line)) &&
	       add_line(&t->connect_to, connect_to);
}

#define SET(option, value) (ok = ok && curl_easy_setopt(t->easy, (option), (value)) == CURLE_OK)

static bool set_method(struct transfer *t)
{
	const struct ts_http_request *request = t->request;
	bool ok = true;

	if (request->part_count) {
		t->mime = curl_mime_init(t->easy);
		ok = t->mime != NULL;
		for (size_t i = 0; ok && i < request->part_count; i++)
			ok = add_part(t, &request->parts[i]);
		SET(CURLOPT_MIMEPOST, t->mime);
	} else if (request->body) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
		SET(CURLOPT_POSTFIELDS, (const char *)request->body);
	} else if (strcmp(request->method, "HEAD") == 0) {
		SET(CURLOPT_NOBODY, 1L);
	} else if (strcmp(request->method, "POST") == 0 || strcmp(request->method, "PUT") == 0) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)0);
		SET(CURLOPT_POSTFIELDS, "");
	}
	SET(CURLOPT_CUSTOMREQUEST, request->method);
	return ok;
}

static bool set_options(struct transfer *t, const char *url)
{
	bool ok = true;
	int64_t connect_ms = t->connect_deadline - now_ms();

	SET(CURLOPT_URL, url);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms > 1 ? connect_ms : 1));
	SET(CURLOPT_BUFFERSIZE, 128L * 1024);
	SET(CURLOPT_USERAGENT, "transcription/" TS_VERSION);
	SET(CURLOPT_HTTPHEADER, t->headers);
	SET(CURLOPT_RESOLVE, t->resolve);
	SET(CURLOPT_CONNECT_TO, t->connect_to);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
	SET(CURLOPT_OPENSOCKETDATA, t);
	SET(CURLOPT_PREREQFUNCTION, on_ready);
	SET(CURLOPT_PREREQDATA, t);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, t);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, t);
	return ok && set_method(t);
}

// --- Running ---

static enum ts_err check_time(struct transfer *t)
{
	int64_t now = now_ms();
	const atomic_bool *abort = t->request->abort;

	if (abort && atomic_load(abort))
		return ts_fail(t->error, TS_ERR_ABORTED, "transfer from %s was aborted", t->where);
	if (now >= t->deadline)
		return ts_fail(t->error, TS_ERR_TIMEOUT, "transfer from %s did not end within %" PRId64 " ms", t->where,
		               t->request->deadline_ms);
	if (!t->connected)
		return TS_OK;
	bool silent = now - t->last_moved_ms >= t->stall_ms;
	if (now - t->window_start_ms >= t->stall_ms) {
		silent = silent || t->window_bytes < (uint64_t)(t->stall_ms / 1000);
		t->window_start_ms = now;
		t->window_bytes = 0;
	}
	if (silent)
		return ts_fail(t->error, TS_ERR_TIMEOUT, "transfer from %s stalled for %" PRId64 " ms", t->where, t->stall_ms);
	return TS_OK;
}

static enum ts_err drive(struct transfer *t, CURLcode *out_result)
{
	int running = 1;
	int left;

	if (curl_multi_add_handle(t->multi, t->easy) != CURLM_OK)
		return ts_fail_nomem(t->error);
	while (running) {
		CURLMcode rc = curl_multi_perform(t->multi, &running);
		if (rc == CURLM_OK && running) {
			TS_TRY(check_time(t));
			int64_t wait = t->deadline - now_ms();
			rc = curl_multi_poll(t->multi, NULL, 0, (int)(wait > POLL_MS ? POLL_MS : wait > 0 ? wait : 0), NULL);
		}
		if (rc == CURLM_OUT_OF_MEMORY)
			return ts_fail_nomem(t->error);
		if (rc != CURLM_OK)
			return ts_fail(t->error, TS_ERR_INTERNAL, "transfer from %s: %s", t->where, curl_multi_strerror(rc));
	}
	const CURLMsg *message = curl_multi_info_read(t->multi, &left);
	if (!message || message->msg != CURLMSG_DONE)
		return ts_fail(t->error, TS_ERR_INTERNAL, "transfer from %s ended without a result", t->where);
	*out_result = message->data.result;
	return TS_OK;
}

static enum ts_err judge_result(struct transfer *t, CURLcode result)
{
	struct ts_error *error = t->error;

	if (t->failure != TS_OK)
		return t->failure;
	if (result == CURLE_OK || t->enough)
		return TS_OK;
	// The status of a refusal tells more than how its body ended.
	if (t->head.complete && !is_success(t))
		return TS_OK;
	// libcurl 7.88 says "out of memory" when one header line outgrows its buffer.
	if (result == CURLE_OUT_OF_MEMORY && t->connected && !t->head.complete)
		return ts_fail(error, TS_ERR_LIMIT, "%s sent a header line that is too long", t->where);
	// libcurl has about a hundred codes; these are told apart, the others share one sentence.
	if (result == CURLE_OUT_OF_MEMORY)
		return ts_fail_nomem(error);
	if (t->head.complete)
		return ts_fail(error, TS_ERR_NET_INCOMPLETE, "%s broke off after %" PRIu64 " bytes of the body%s", t->where,
		               t->response->received, t->response->content_length >= 0 ? ", before its announced length" : "");
	if (result == CURLE_OPERATION_TIMEDOUT)
		return ts_fail(error, TS_ERR_TIMEOUT, "connection to %s was not made in time", t->where);
	if (result == CURLE_COULDNT_CONNECT)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "connection to %s was refused or has no route", t->where);
	if (result == CURLE_PEER_FAILED_VERIFICATION)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "TLS certificate of %s could not be verified", t->where);
	if (result == CURLE_GOT_NOTHING)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "%s closed the connection without an answer", t->where);
	if (result == CURLE_UNSUPPORTED_PROTOCOL || result == CURLE_WEIRD_SERVER_REPLY)
		return ts_fail(error, TS_ERR_NET_UNREACHABLE, "%s did not answer with valid HTTP", t->where);
	return ts_fail(error, TS_ERR_NET_UNREACHABLE, "request to %s failed: %s", t->where, curl_easy_strerror(result));
}

static enum ts_err resolve(struct transfer *t)
{
	int64_t now = now_ms();
	int64_t timeout = t->connect_deadline < t->deadline ? t->connect_deadline - now : t->deadline - now;

	return ts_netguard_resolve_within(t->request->guard, t->url.host, t->url.port, timeout > 1 ? timeout : 1,
	                                  t->request->abort, &t->pinned, t->error);
}

static void finish_hop(struct transfer *t)
{
	if (t->multi && t->easy)
		curl_multi_remove_handle(t->multi, t->easy);
	curl_easy_cleanup(t->easy);
	curl_multi_cleanup(t->multi);
	curl_mime_free(t->mime);
	curl_slist_free_all(t->headers);
	curl_slist_free_all(t->resolve);
	curl_slist_free_all(t->connect_to);
	t->easy = NULL;
	t->multi = NULL;
	t->mime = NULL;
	t->headers = t->resolve = t->connect_to = NULL;
}

static void finish_transfer(struct transfer *t)
{
	finish_hop(t);
	ts_url_finish(&t->url);
	ts_free(t->where);
}

static enum ts_err perform_hop(struct transfer *t)
{
	int64_t connect_ms = t->request->connect_timeout_ms > 0 ? t->request->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	CURLcode result = CURLE_OK;

	t->failure = TS_OK;
	t->enough = t->redirected = t->connected = false;
	t->moved = t->window_bytes = 0;
	t->error_length = 0;
	ts_http_head_begin(&t->head, t->response, ts_wall_ms(ts_clock_system()));
	ts_free(t->where);
	t->where = ts_url_authority(&t->url);
	TS_AUTOFREE char *url = ts_url_format(&t->url);
	if (!t->where || !url)
		return ts_fail_nomem(t->error);
	t->connect_deadline = now_ms() + connect_ms;
	TS_TRY(check_time(t));
	TS_TRY(resolve(t));
	TS_TRY(add_headers(t));
	t->easy = curl_easy_init();
	t->multi = curl_multi_init();
	if (!t->easy || !t->multi || !add_pins(t) || !set_options(t, url))
		return ts_fail_nomem(t->error);
	TS_TRY(drive(t, &result));
	return judge_result(t, result);
}

// Moves on to the target of a redirect.
static enum ts_err redirect(struct transfer *t)
{
	struct ts_url next = {0};
	struct ts_error why = {0};

	if (t->head.location_too_long)
		return ts_fail(t->error, TS_ERR_NET_UNREACHABLE, "%s redirects to a URL that is too long", t->where);
	enum ts_err err = ts_url_join(&t->url, t->head.location, schemes, &next, &why);
	if (err == TS_ERR_NOMEM)
		return ts_fail_nomem(t->error);
	if (err != TS_OK)
		return ts_fail(t->error, TS_ERR_NET_FORBIDDEN, "%s redirects to a URL that %s", t->where, why.message);
	if (strcmp(t->url.scheme, "https") == 0 && strcmp(next.scheme, "http") == 0)
		err = ts_fail(t->error, TS_ERR_NET_FORBIDDEN, "%s redirects from https to http", t->where);
	else if (!ts_url_same_origin(&t->url, &next))
		t->own_origin = false;
	ts_url_finish(&t->url);
	t->url = next;
	return err;
}

enum ts_err ts_http_perform(const struct ts_http_request *request, struct ts_http_response *response,
                            struct ts_error *error)
{
	TS_CLEANUP(finish_transfer)
	struct transfer t = {
	    .request = request, .response = response, .error = error, .own_origin = true, .deadline = INT64_MAX};
	bool redirectable = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
	unsigned redirects = redirectable ? request->max_redirects : 0;

	if (request->deadline_ms > 0)
		t.deadline = now_ms() + request->deadline_ms;
	t.stall_ms = request->stall_timeout_ms > 0 ? request->stall_timeout_ms : STALL_TIMEOUT_MS;
	ts_http_head_begin(&t.head, response, 0);
	TS_TRY(ts_url_parse(request->url, schemes, &t.url, error));
	for (;; redirects--) {
		t.follow = redirects > 0;
		TS_TRY(perform_hop(&t));
		if (!t.redirected)
			break;
		TS_TRY(redirect(&t));
		finish_hop(&t);
	}
	// A cut in the middle of a character would make the text invalid.
	size_t length = strlen(response->error_body);
	if (length == sizeof response->error_body - 1)
		response->error_body[ts_utf8_cut(response->error_body, length, length - 4)] = '\0';
	return TS_OK;
}
