// What the files of the worker share: its state, its slots and the runs in them. Private to src/worker.
//
// Threads: one dispatcher (dispatch.c), one a slot (run.c), one for leases (lease.c), some for callbacks (deliver.c),
// one for housekeeping (house.c). One lock guards what is marked; nobody calls the store, the network or the engine
// with the lock held. Every wait is on `changed` or in the store, so that all of them end at once when told.
#ifndef TS_WORKER_WORKER_PRIV_H
#define TS_WORKER_WORKER_PRIV_H

#include "worker/worker.h"

#include <pthread.h>
#include <stdatomic.h>

#define TS_WORKER_DELIVERERS 4
#define TS_TRACE_ID_SIZE 33

// Why a run was told to stop. The first reason stays.
enum ts_run_stop {
	TS_RUN_GOES_ON,
	TS_RUN_FENCED,     // cancelled, deleted or taken by another worker
	TS_RUN_STORE_LOST, // the lease ran out while the store did not answer
	TS_RUN_TIMEOUT,    // TRANSCRIPTION_TIMEOUT_SECONDS
	TS_RUN_SHUTDOWN,   // hand it back
};

enum ts_run_stage { TS_STAGE_FETCHING, TS_STAGE_DECODING, TS_STAGE_TRANSCRIBING, TS_STAGE_STORING };

// One attempt of one job. job and lease do not change while it runs; the atomics are shared with the lease thread.
struct ts_run {
	struct ts_job job;
	struct ts_lease lease;
	int64_t claimed_mono; // before the claim: the lease lasts at least from here
	int64_t claimed_wall;
	atomic_bool abort; // what decoder, fetch and engine poll
	atomic_int stop;   // enum ts_run_stop
	atomic_int stage;  // enum ts_run_stage
	_Atomic int64_t audio_ms;
	_Atomic int64_t duration_ms;
};

enum ts_slot_state { TS_SLOT_FREE, TS_SLOT_TAKEN, TS_SLOT_READY, TS_SLOT_RUNNING };

struct ts_slot {
	struct ts_worker *worker;
	pthread_t thread;
	bool has_thread;
	enum ts_slot_state state; // lock
	uint64_t generation;      // lock: counts the runs, so that a late verdict never meets the next run
	struct ts_run run;

	// The lease thread's own.
	uint64_t watched;  // generation
	int64_t beat_mono; // of the last heartbeat that reached the store
	int64_t beat_audio_ms;
	int beat_stage;
	bool beat_failing;
};

struct ts_worker {
	struct ts_worker_options options;
	pthread_mutex_t lock;
	pthread_cond_t changed; // CLOCK_MONOTONIC; broadcast at every change of what the lock guards
	struct ts_slot *slots;
	struct ts_media_pool *pool; // gives the decoders; NULL: each is started by itself

	pthread_t dispatcher, leases, house;
	pthread_t deliverers[TS_WORKER_DELIVERERS];
	bool has_dispatcher, has_leases, has_house;
	unsigned deliverer_count;

	struct ts_queue *queue;    // lock: the dispatcher's, so that a stop can wake it; NULL: none
	atomic_bool draining;      // no new claims
	atomic_bool quit;          // leases, house and deliverers end
	atomic_bool deliver_abort; // transfers under way are cut short
	bool slots_quit;           // lock
	bool stopped;              // ts_worker_stop is through

	pthread_mutex_t deliver_lead;  // held by the one deliverer that waits for the next callback
	unsigned deliveries_in_flight; // lock
	uint64_t finals_written;       // lock: states written that may have made a delivery due
	uint64_t finals_settled;       // lock: the leader has since found nothing more due

	_Atomic unsigned busy;
	_Atomic uint64_t claimed, completed, failed, retried, released, lost;
	_Atomic uint64_t deliveries_ok, deliveries_failed;
	_Atomic int64_t audio_ms, recognition_ms;
};

// --- worker.c ---

// Waits on `changed` up to timeout_ms (real time); the lock is held by the caller. False: timed out.
bool ts_worker_wait(struct ts_worker *worker, int64_t timeout_ms);
// Takes the lock and waits until *until is set or timeout_ms have passed.
void ts_worker_pause(struct ts_worker *worker, int64_t timeout_ms, const atomic_bool *until);
int64_t ts_worker_backoff(int64_t base_ms, int64_t max_ms, unsigned failures); // without jitter

// --- run.c ---

void *ts_slot_main(void *arg); // struct ts_slot *
// Tells the run to stop, for the first reason given.
void ts_run_stop(struct ts_run *run, enum ts_run_stop reason);
const char *ts_run_stage_name(int stage);

// --- the other threads ---

void *ts_dispatch_main(void *arg); // struct ts_worker *
void *ts_lease_main(void *arg);    // struct ts_worker *
void *ts_deliver_main(void *arg);  // struct ts_worker *
void *ts_house_main(void *arg);    // struct ts_worker *

#endif
