// The store and the queue that the configuration asks for.
#ifndef TS_BIN_WIRING_STORE_H
#define TS_BIN_WIRING_STORE_H

#include "bin/wiring.h"
#include "queue/queue.h"
#include "store/store.h"

enum ts_err ts_wiring_store(const struct ts_program *program, const struct ts_paths *paths, struct ts_store **out,
                            struct ts_error *error) TS_MUST_USE;

// The queue_open of workers and APIs; ctx is the store.
enum ts_err ts_wiring_queue(void *ctx, struct ts_queue **out, struct ts_error *error);

#endif
