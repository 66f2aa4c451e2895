// Between the parent's side of decoding (media.c, launch.c, pool.c) and the decoder child: descriptors, arguments, and
// what a template is asked. Not for other rooms.
#ifndef TS_MEDIA_CHILD_H
#define TS_MEDIA_CHILD_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define TS_CHILD_ARGUMENT "--ts-media-decoder" // argv[1]
#define TS_CHILD_INPUT_FD 3                    // the media, a regular file; or a socket: then it is a template
#define TS_CHILD_OUTPUT_FD 4                   // frames, a pipe
// argv[2..]: memory limit in bytes, CPU seconds, longest audio in samples, process id of the parent.
#define TS_CHILD_ARGC 6

struct ts_child_limits {
	uint64_t memory_bytes; // 0: none
	uint64_t cpu_seconds;  // 0: none
	uint64_t samples_max;
};

// A template is a child that decodes nothing itself: it has loaded the codecs' libraries, and makes a copy of itself
// for each request. A request is one packet of struct ts_child_limits with two descriptors (SCM_RIGHTS): media, frames.
// The answer is one packet of int32_t: process id of the copy, or minus the errno why there is none. The copy is a
// child of the template's parent (CLONE_PARENT), which kills and reaps it like one that it started itself.
#define TS_CHILD_REQUEST_FDS 2

// Serves requests on TS_CHILD_INPUT_FD. Returns TS_OK only in a copy, with the descriptors in place and *out_limits
// those of its request; TS_ERR_ABORTED when the parent needs no more.
enum ts_err ts_child_template(struct ts_child_limits *out_limits, struct ts_error *error) TS_MUST_USE;

#endif
