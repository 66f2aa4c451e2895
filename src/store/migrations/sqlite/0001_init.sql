-- The first schema of the embedded store. Times are wall-clock milliseconds, 0 = not yet.
-- Priorities: 0 high, 1 normal, 2 low. Legal changes of jobs.state: core/transitions.def, enforced by the statements.

CREATE TABLE jobs (
	id TEXT NOT NULL PRIMARY KEY,
	video_id TEXT NOT NULL,
	user_id TEXT,
	callback_url TEXT,
	media_url TEXT,
	upload_id TEXT,
	language TEXT,
	metadata TEXT,
	request_id TEXT,
	traceparent TEXT,
	priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),
	state TEXT NOT NULL CHECK (state IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
	attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
	max_attempts INTEGER NOT NULL CHECK (max_attempts > 0),
	fence INTEGER NOT NULL DEFAULT 0, -- claims ever made: unlike attempt it never goes back
	lease_owner TEXT,
	lease_expires_at INTEGER NOT NULL DEFAULT 0,
	not_before INTEGER NOT NULL DEFAULT 0,
	mentioned_at INTEGER NOT NULL DEFAULT 0, -- when its last outbox row became due
	progress REAL NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
	stage TEXT,
	media_duration_ms INTEGER NOT NULL DEFAULT 0,
	error_code TEXT,
	error_message TEXT,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	started_at INTEGER NOT NULL DEFAULT 0,
	finished_at INTEGER NOT NULL DEFAULT 0,
	CHECK ((state = 'processing') = (lease_owner IS NOT NULL)),
	CHECK ((state IN ('completed', 'failed', 'cancelled')) = (finished_at > 0))
) STRICT;
CREATE INDEX jobs_page ON jobs (created_at DESC, id DESC);
CREATE INDEX jobs_user ON jobs (user_id, created_at DESC, id DESC);
CREATE INDEX jobs_video ON jobs (video_id, created_at DESC, id DESC);
CREATE INDEX jobs_state ON jobs (state, created_at DESC, id DESC);
CREATE INDEX jobs_open ON jobs (state, lease_expires_at, mentioned_at) WHERE finished_at = 0;
CREATE INDEX jobs_final ON jobs (finished_at) WHERE finished_at > 0;

CREATE TABLE transcripts (
	job_id TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
	body TEXT NOT NULL, -- core/transcript.h, the stored form
	created_at INTEGER NOT NULL
) STRICT;

-- Messages still to be published: at most one a job. A newer mention gets a new row, so that the end of an older
-- one's publishing never removes it.
CREATE TABLE outbox (
	row INTEGER PRIMARY KEY AUTOINCREMENT,
	job_id TEXT NOT NULL UNIQUE REFERENCES jobs (id) ON DELETE CASCADE,
	priority INTEGER NOT NULL,
	due_at INTEGER NOT NULL,
	lease_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outbox_due ON outbox (due_at);

-- The embedded queue (queue/queue_store.h). No reference to jobs: a message is only a hint.
CREATE TABLE queue_messages (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	job_id TEXT NOT NULL UNIQUE,
	priority INTEGER NOT NULL,
	available_at INTEGER NOT NULL,
	lease_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX queue_messages_order ON queue_messages (priority, id);

CREATE TABLE idempotency (
	key TEXT NOT NULL PRIMARY KEY,
	digest TEXT NOT NULL,
	job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
	expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_job ON idempotency (job_id);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE deliveries (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
	number INTEGER NOT NULL,
	event_id TEXT NOT NULL UNIQUE,
	event_type TEXT NOT NULL,
	url TEXT NOT NULL,
	body TEXT NOT NULL,
	state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
	attempts INTEGER NOT NULL DEFAULT 0,
	next_attempt_at INTEGER NOT NULL,
	lease_until INTEGER NOT NULL DEFAULT 0,
	created_at INTEGER NOT NULL,
	delivered_at INTEGER NOT NULL DEFAULT 0,
	UNIQUE (job_id, number)
) STRICT;
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_failed ON deliveries (state) WHERE state = 'failed';

CREATE TABLE delivery_attempts (
	delivery_id INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
	number INTEGER NOT NULL,
	started_at INTEGER NOT NULL,
	duration_ms INTEGER NOT NULL,
	status INTEGER NOT NULL,
	error TEXT,
	response TEXT,
	PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID;

-- Files beside the store. attached: a job took it; its job gone, job_id is NULL again and the file may go.
CREATE TABLE uploads (
	id TEXT NOT NULL PRIMARY KEY,
	path TEXT NOT NULL,
	filename TEXT,
	user_id TEXT,
	size INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	attached INTEGER NOT NULL DEFAULT 0,
	job_id TEXT REFERENCES jobs (id) ON DELETE SET NULL
) STRICT;
CREATE INDEX uploads_job ON uploads (job_id);
CREATE INDEX uploads_free ON uploads (expires_at) WHERE job_id IS NULL;
