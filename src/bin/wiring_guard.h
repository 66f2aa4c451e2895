// Guards of outgoing requests from the configuration: the allow list, and the server that the operator named anyway.
#ifndef TS_BIN_WIRING_GUARD_H
#define TS_BIN_WIRING_GUARD_H

#include "net/netguard.h"

// `allowed` is the value of the list called `name`. `own` is a URL of the configuration ("" : none) whose host and port
// are allowed besides; with {video_id} in its host, which callers could so choose, it allows nothing.
enum ts_err ts_wiring_guard(const char *name, const char *allowed, const char *own, struct ts_netguard **out,
                            struct ts_error *error) TS_MUST_USE;

#endif
