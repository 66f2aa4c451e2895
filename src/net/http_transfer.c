// One hop set up on libcurl: it is given the judged addresses under a name that exists nowhere else, every socket
// is compared with them once more, and all that an environment or a server could switch on is off.
#include "net/http_transfer.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define PIN_NAME "pinned.invalid" // RFC 2606: never in the DNS

static int64_t now_ms(void)
{
	return ts_mono_ms(ts_clock_system());
}

// --- What libcurl calls back ---

static void note_bytes(struct ts_http_transfer *t, uint64_t count)
{
	if (count == 0)
		return;
	t->last_moved_ms = now_ms();
	t->window_bytes += count;
}

static int on_progress(void *ctx, curl_off_t down_total TS_UNUSED, curl_off_t down, curl_off_t up_total TS_UNUSED,
                       curl_off_t up)
{
	struct ts_http_transfer *t = ctx;
	uint64_t moved = (uint64_t)down + (uint64_t)up;

	if (moved > t->moved)
		note_bytes(t, moved - t->moved);
	t->moved = moved;
	return 0;
}

static int on_ready(void *ctx, char *ip TS_UNUSED, char *local_ip TS_UNUSED, int port TS_UNUSED,
                    int local_port TS_UNUSED)
{
	struct ts_http_transfer *t = ctx;

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
	struct ts_http_transfer *t = ctx;

	if (purpose == CURLSOCKTYPE_IPCXN)
		for (size_t i = 0; i < t->pinned.count; i++)
			if (same_address(&t->pinned.address[i], &address->addr))
				return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	t->failure =
	    ts_fail(t->error, TS_ERR_NET_FORBIDDEN, "connection to an address of %s that was not checked", t->where);
	return CURL_SOCKET_BAD;
}

bool ts_http_transfer_succeeded(const struct ts_http_transfer *t)
{
	return t->response->status >= 200 && t->response->status < 300;
}

static void on_head_complete(struct ts_http_transfer *t)
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
	if (ts_http_transfer_succeeded(t) && request->max_bytes && response->content_length > 0 &&
	    (uint64_t)response->content_length > request->max_bytes && strcmp(request->method, "HEAD") != 0)
		t->failure =
		    ts_fail(t->error, TS_ERR_MEDIA_TOO_LARGE, "%s announces %" PRId64 " bytes; at most %" PRIu64 " are allowed",
		            t->where, response->content_length, request->max_bytes);
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
	struct ts_http_transfer *t = ctx;
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

static void keep_error_body(struct ts_http_transfer *t, const char *bytes, size_t length)
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
	struct ts_http_transfer *t = ctx;
	const struct ts_http_request *request = t->request;
	size_t length = size * count;

	if (t->enough || t->failure != TS_OK)
		return 0;
	if (!ts_http_transfer_succeeded(t)) {
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

static bool add_part(struct ts_http_transfer *t, const struct ts_http_part *part)
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

static enum ts_err add_headers(struct ts_http_transfer *t)
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

static bool add_pins(struct ts_http_transfer *t)
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

static bool set_method(struct ts_http_transfer *t)
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

static bool set_options(struct ts_http_transfer *t, const char *url)
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

enum ts_err ts_http_transfer_open(struct ts_http_transfer *t)
{
	TS_AUTOFREE char *url = ts_url_format(&t->url);

	if (!url)
		return ts_fail_nomem(t->error);
	TS_TRY(add_headers(t));
	t->easy = curl_easy_init();
	t->multi = curl_multi_init();
	return t->easy && t->multi && add_pins(t) && set_options(t, url) ? TS_OK : ts_fail_nomem(t->error);
}

void ts_http_transfer_close(struct ts_http_transfer *t)
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
