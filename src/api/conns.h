// The connections and their deadlines. libmicrohttpd's own timeout only measures silence; a client that drips a byte
// now and then would hold its connection for ever. Here the head, the body and the goodbye each have to be done in
// time, and who is late is told so (408) and cut off. Thread safe.
#ifndef TS_API_CONNS_H
#define TS_API_CONNS_H

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

enum ts_conn_state {
	TS_CONN_IDLE,   // waiting for a request: cut silently when late
	TS_CONN_HEAD,   // the request line is in
	TS_CONN_BODY,   // the body is coming
	TS_CONN_BUSY,   // ours: no deadline
	TS_CONN_LINGER, // answered: until the client has taken it, or has stopped sending what nobody wants
	TS_CONN_CUT     // shut down; libmicrohttpd will notice and close it
};

struct ts_conn;
struct ts_conns;

enum ts_err ts_conns_create(const struct ts_clock *clock, int64_t head_timeout_ms, struct ts_conns **out,
                            struct ts_error *error) TS_MUST_USE;
void ts_conns_destroy(struct ts_conns *conns); // NULL-safe; no connection may be left

struct ts_conn *ts_conns_add(struct ts_conns *conns, int fd);       // NULL: memory is out
void ts_conns_remove(struct ts_conns *conns, struct ts_conn *conn); // NULL-safe; the descriptor is still open

// Moves on unless the connection is CUT or answered already: then false, and nothing may be sent.
bool ts_conn_enter(struct ts_conns *conns, struct ts_conn *conn, enum ts_conn_state state, int64_t timeout_ms);
// The request line is in: keeps its query as sent.
void ts_conn_begins(struct ts_conns *conns, struct ts_conn *conn, const char *target);
// The query of the request that is being read, without "?", "" when there is none; NULL: memory was out. Only for the
// connection's own thread, until the next request begins.
const char *ts_conn_query(const struct ts_conn *conn);
// Writes a whole response past libmicrohttpd and half-closes, then lingers for timeout_ms: for a client that must be
// told before it has finished sending.
void ts_conn_answer(struct ts_conns *conns, struct ts_conn *conn, const char *response, size_t length,
                    int64_t timeout_ms);
// The same for a request that libmicrohttpd is about to close: the client's bytes are taken for linger_ms longer, as
// closing a socket with unread data would destroy the answer on its way.
void ts_conn_refuse(struct ts_conns *conns, struct ts_conn *conn, unsigned status, const char *response,
                    int64_t linger_ms);
// The status it was refused with; 0: it was not. This and the next are for the connection's own thread.
unsigned ts_conn_refused(const struct ts_conn *conn);
bool ts_conn_has_request(const struct ts_conn *conn); // in the middle of a body
// The connection whose request libmicrohttpd, on the calling thread, just found unusable and is about to answer in its
// own words: it names none where it says so. NULL: more than one may be meant. large: for its size.
struct ts_conn *ts_conns_at_fault(struct ts_conns *conns, bool large);
bool ts_conn_is_cut(struct ts_conns *conns, struct ts_conn *conn);

// Cuts off whoever is late; the number of connections that need further calls. Called often by the ticker.
unsigned ts_conns_sweep(struct ts_conns *conns);
unsigned ts_conns_count(struct ts_conns *conns);

// A complete response with Connection: close, owned by the caller; NULL when memory is out.
char *ts_conn_response(unsigned status, const char *reason, const char *type, const char *request_id, const char *body);

#endif
