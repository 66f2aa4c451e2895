// The state of one transfer, shared by http.c (which drives it) and http_transfer.c (which sets libcurl up for one
// hop and answers its callbacks). Private to this room.
#ifndef TS_NET_HTTP_TRANSFER_H
#define TS_NET_HTTP_TRANSFER_H

#include "net/http.h"
#include "net/http_head.h"
#include "net/url.h"

#include <curl/curl.h>

struct ts_http_transfer {
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

// Makes the handles of one hop, which goes to t->url by t->pinned and no other address.
enum ts_err ts_http_transfer_open(struct ts_http_transfer *t) TS_MUST_USE;
void ts_http_transfer_close(struct ts_http_transfer *t); // the handles; what was read stays

// Whether the response so far has a 2xx status.
bool ts_http_transfer_succeeded(const struct ts_http_transfer *t);

#endif
