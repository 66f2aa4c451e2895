// The queue that the configuration asks for.
#ifndef TS_BIN_WIRING_QUEUE_H
#define TS_BIN_WIRING_QUEUE_H

#include "queue/queue.h"

// The queue_open of workers and APIs; ctx is the store.
enum ts_err ts_wiring_queue(void *ctx, struct ts_queue **out, struct ts_error *error);

#endif
