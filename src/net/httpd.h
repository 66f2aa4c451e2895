// A thread that runs one libmicrohttpd daemon, and ends before that is stopped. libmicrohttpd's own threads see a stop
// in the middle of a request: 0.9.75 then reads a response that it did not take (a malformed request that comes while
// the service stops would crash it), and aborts when a thread leaves the listener at the same moment.
#ifndef TS_NET_HTTPD_H
#define TS_NET_HTTPD_H

#include "base/err.h"

#include <microhttpd.h>

// The daemon's event loop is ours: no MHD_USE_INTERNAL_POLLING_THREAD among further flags, and no thread pool.
#define TS_HTTPD_FLAGS MHD_USE_EPOLL

struct ts_httpd;

enum ts_err ts_httpd_create(struct ts_httpd **out, struct ts_error *error) TS_MUST_USE;
// Takes the daemon over, also when it fails.
enum ts_err ts_httpd_start(struct ts_httpd *httpd, struct MHD_Daemon *daemon, struct ts_error *error) TS_MUST_USE;
// Needed after MHD_resume_connection: nothing else tells the daemon. This and the next are for any thread.
void ts_httpd_wake(struct ts_httpd *httpd);
// Soon no more connections are accepted; the daemon's listening socket is closed.
void ts_httpd_quiesce(struct ts_httpd *httpd);
// Ends the thread and stops the daemon, which closes what is open. No connection may be suspended. NULL-safe.
void ts_httpd_destroy(struct ts_httpd *httpd);

#endif
