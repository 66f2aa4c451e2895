// Drives a transfer on libcurl's multi interface, which returns often enough to poll the abort flag, hop by hop:
// each URL is parsed, resolved and judged by netguard before anything is connected.
#include "net/http.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "net/http_transfer.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#define POLL_MS 100
#define CONNECT_TIMEOUT_MS 10000
#define STALL_TIMEOUT_MS 30000

static const char *const schemes[] = {"http", "https", NULL};

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

// The status of a refusal tells more than how its body ends: time running out over that body is no failure.
static bool refusal_is_known(struct ts_http_transfer *t)
{
	t->enough = t->enough || (t->head.complete && !ts_http_transfer_succeeded(t));
	return t->enough;
}

static enum ts_err check_time(struct ts_http_transfer *t)
{
	int64_t now = now_ms();
	const atomic_bool *abort = t->request->abort;

	if (abort && atomic_load(abort))
		return ts_fail(t->error, TS_ERR_ABORTED, "transfer from %s was aborted", t->where);
	if (now >= t->deadline && refusal_is_known(t))
		return TS_OK;
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
	if (silent && refusal_is_known(t))
		return TS_OK;
	if (silent)
		return ts_fail(t->error, TS_ERR_TIMEOUT, "transfer from %s stalled for %" PRId64 " ms", t->where, t->stall_ms);
	return TS_OK;
}

static enum ts_err drive(struct ts_http_transfer *t, CURLcode *out_result)
{
	int running = 1;
	int left;

	if (curl_multi_add_handle(t->multi, t->easy) != CURLM_OK)
		return ts_fail_nomem(t->error);
	while (running && !t->enough) {
		CURLMcode rc = curl_multi_perform(t->multi, &running);
		if (rc == CURLM_OK && running && !t->enough) {
			TS_TRY(check_time(t));
			int64_t wait = t->deadline - now_ms();
			rc = curl_multi_poll(t->multi, NULL, 0, (int)(wait > POLL_MS ? POLL_MS : wait > 0 ? wait : 0), NULL);
		}
		if (rc == CURLM_OUT_OF_MEMORY)
			return ts_fail_nomem(t->error);
		if (rc != CURLM_OK)
			return ts_fail(t->error, TS_ERR_INTERNAL, "transfer from %s: %s", t->where, curl_multi_strerror(rc));
	}
	*out_result = CURLE_OK;
	if (t->enough)
		return TS_OK;
	const CURLMsg *message = curl_multi_info_read(t->multi, &left);
	if (!message || message->msg != CURLMSG_DONE)
		return ts_fail(t->error, TS_ERR_INTERNAL, "transfer from %s ended without a result", t->where);
	*out_result = message->data.result;
	return TS_OK;
}

static enum ts_err judge_result(struct ts_http_transfer *t, CURLcode result)
{
	struct ts_error *error = t->error;

	if (t->failure != TS_OK)
		return t->failure;
	if (result == CURLE_OK || t->enough)
		return TS_OK;
	if (refusal_is_known(t))
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

static enum ts_err resolve(struct ts_http_transfer *t)
{
	int64_t now = now_ms();
	int64_t timeout = t->connect_deadline < t->deadline ? t->connect_deadline - now : t->deadline - now;

	return ts_netguard_resolve_within(t->request->guard, t->url.host, t->url.port, timeout > 1 ? timeout : 1,
	                                  t->request->abort, &t->pinned, t->error);
}

static void finish_transfer(struct ts_http_transfer *t)
{
	ts_http_transfer_close(t);
	ts_url_finish(&t->url);
	ts_free(t->where);
}

static enum ts_err perform_hop(struct ts_http_transfer *t)
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
	if (!t->where)
		return ts_fail_nomem(t->error);
	t->connect_deadline = now_ms() + connect_ms;
	TS_TRY(check_time(t));
	TS_TRY(resolve(t));
	TS_TRY(ts_http_transfer_open(t));
	TS_TRY(drive(t, &result));
	return judge_result(t, result);
}

// Moves on to the target of a redirect.
static enum ts_err redirect(struct ts_http_transfer *t)
{
	struct ts_url next = {0};
	struct ts_error why = {0};

	if (t->head.location_too_long)
		return ts_fail(t->error, TS_ERR_NET_UNREACHABLE, "%s redirects to a URL that is too long", t->where);
	enum ts_err err = ts_http_redirect_target(&t->url, t->head.location, &next, &why);
	if (err != TS_OK)
		return ts_fail(t->error, err, "%s redirects to a URL that %s", t->where, why.message);
	if (!ts_url_same_origin(&t->url, &next))
		t->own_origin = false;
	ts_url_finish(&t->url);
	t->url = next;
	return TS_OK;
}

enum ts_err ts_http_perform(const struct ts_http_request *request, struct ts_http_response *response,
                            struct ts_error *error)
{
	TS_CLEANUP(finish_transfer)
	struct ts_http_transfer t = {
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
		ts_http_transfer_close(&t);
	}
	// A cut in the middle of a character would make the text invalid.
	size_t length = strlen(response->error_body);
	if (length == sizeof response->error_body - 1)
		response->error_body[ts_utf8_cut(response->error_body, length, length - 4)] = '\0';
	return TS_OK;
}
