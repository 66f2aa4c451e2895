// A recogniser that recognises nothing: it takes the samples as fast as they come and gives one word. What is left of
// a job's time and memory is the service's own. Built into the benchmarks only.
#ifndef BENCH_NULL_ENGINE_H
#define BENCH_NULL_ENGINE_H

#include "asr/asr.h"

struct bench_null_engine {
	struct ts_asr asr; // first: pass &engine.asr
	// When the last run was called and when its last sample was in; monotonic ns. May lie in shared memory. NULL: none.
	_Atomic int64_t *begun_ns, *drained_ns;
};

// Nothing to destroy.
void bench_null_engine_init(struct bench_null_engine *engine);

// Monotonic ns, the clock of the two times above.
int64_t bench_now_ns(void);

#endif
