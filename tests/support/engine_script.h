// A recogniser for tests that does what it is told: gives a text, fails so many times, holds still until released or
// aborted. It reads the whole recording, as engines do. Thread safe.
#ifndef TESTS_SUPPORT_ENGINE_SCRIPT_H
#define TESTS_SUPPORT_ENGINE_SCRIPT_H

#include "asr/asr.h"

#include <pthread.h>

struct engine_script {
	struct ts_asr engine; // first: pass &script.engine
	pthread_mutex_t lock;
	pthread_cond_t changed;

	// Set before runs start (or with the lock).
	const char *text;          // of the one segment; NULL: none
	const char *language_only; // NULL: any language
	unsigned fail_times;       // that many runs fail first
	enum ts_err fail_with;
	bool hold; // runs stand still after the first samples
	bool deaf; // and do not listen to their abort flag

	// What happened.
	unsigned runs, running, aborted;
	int64_t samples; // read by the last run
};

void engine_script_init(struct engine_script *script, const char *text);
void engine_script_finish(struct engine_script *script); // no run may be going on

// Lets held runs go on.
void engine_script_release(struct engine_script *script);
// Waits until so many runs stand held. Fails the test after a generous time.
void engine_script_wait_held(struct engine_script *script, unsigned count);

#endif
