// Decodes any media file FFmpeg reads into 16 kHz mono float samples, in a jailed child process: media is
// hostile, so the child has rlimits, a seccomp filter, no network and no files beyond its two descriptors, and
// its death is one clear error. Streaming: memory does not grow with the file's length.
// The child is the calling program itself, executed again: a program that decodes calls ts_media_child_main
// first thing in its main().
#ifndef TS_MEDIA_MEDIA_H
#define TS_MEDIA_MEDIA_H

#include "base/err.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define TS_MEDIA_SAMPLE_RATE 16000 // Hz, of everything read

struct ts_media_pool;

struct ts_media_options {
	struct ts_media_pool *pool; // gives the child; NULL: it is started when asked for
	const char *child_path;     // program to execute as the child; NULL: /proc/self/exe
	uint64_t memory_bytes;      // address space of the child; 0: 1 GiB; about 200 MiB are the libraries'
	int64_t stall_timeout_ms;   // no frame from the child for that long is TS_ERR_TIMEOUT; 0: 60 s
	int64_t max_duration_ms;    // longer audio is TS_ERR_MEDIA_TOO_LARGE; 0: 24 h
	const atomic_bool *abort;   // NULL: none; polled at least every 200 ms
	const struct ts_log *log;   // decoder's warnings at debug level; NULL: none
};

struct ts_media_info {
	char container[64];  // FFmpeg's short name, "mov,mp4,m4a,3gp,3g2,mj2"
	char codec[32];      // of the audio stream, "aac"
	int64_t duration_ms; // as declared by the file; 0: unknown
	int32_t channels;
	int32_t sample_rate; // of the stream, Hz
};

// One decoding. Used by one thread at a time; any number may run side by side. The thread that opened it must live
// until it is closed: the kernel kills the child when that thread ends, so that no death of ours leaves it behind.
// The program must not reap children that it did not start (waitpid(-1)).
struct ts_media;

// If argv asks for the decoder child (how ts_media_open starts it), runs it and does not return; malformed arguments
// set *out_status and return true; otherwise returns false at once. Call before anything else in main():
// if (ts_media_child_main(argc, argv, &status)) return status;
_Bool ts_media_child_main(int argc, char **argv, int *out_status);

// Starts decoding the regular file fd (borrowed until close; its offset is not used). *out_info is filled once the
// child has found the best audio stream. Errors: TS_ERR_MEDIA_NOT_MEDIA, _NO_AUDIO, _ENCRYPTED, _UNSUPPORTED (codec),
// _TRUNCATED (index missing), _CRASHED, TS_ERR_TIMEOUT, TS_ERR_ABORTED, TS_ERR_IO.
enum ts_err ts_media_open(int fd, const struct ts_media_options *options, struct ts_media **out,
                          struct ts_media_info *out_info, struct ts_error *error) TS_MUST_USE;

// Reads up to `capacity` samples in [-1, 1]; *out_count = 0 at the end. Besides the errors of open:
// TS_ERR_MEDIA_TRUNCATED when the stream ends well before its declared length or with damaged data only.
enum ts_err ts_media_read(struct ts_media *media, float *samples, size_t capacity, size_t *out_count,
                          struct ts_error *error) TS_MUST_USE;

// Milliseconds of audio read so far.
int64_t ts_media_position_ms(const struct ts_media *media);

// Ends the child (kills it when still running), frees. NULL-safe.
void ts_media_close(struct ts_media *media);

// Keeps one process that has loaded the codecs' libraries (longer work than decoding a short file) and makes a copy of
// itself for each open: its template. It never reads media; each copy has its own jail and the limits of its open, and
// dies alone. Copies share the template's address layout, as forked processes do. Of the options only child_path
// counts, for all that is opened with the pool. Thread safe. The kernel ends the template and its copies with the thread
// that started it: threads that create or refill must outlive the decodings.
enum ts_err ts_media_pool_create(const struct ts_media_options *options, struct ts_media_pool **out,
                                 struct ts_error *error) TS_MUST_USE;
// Starts the template again when it has died; until then each open starts a child by itself.
void ts_media_pool_refill(struct ts_media_pool *pool);  // NULL-safe
void ts_media_pool_destroy(struct ts_media_pool *pool); // NULL-safe

#endif
