// Between media.c and the decoder child it starts: descriptors and arguments. Not for other rooms.
#ifndef TS_MEDIA_CHILD_H
#define TS_MEDIA_CHILD_H

#include <stddef.h>
#include <stdint.h>

#define TS_CHILD_ARGUMENT "--ts-media-decoder" // argv[1]
#define TS_CHILD_INPUT_FD 3                    // the media, a regular file; or a socket that it comes over
#define TS_CHILD_OUTPUT_FD 4                   // frames, a pipe
// argv[2..]: memory limit in bytes, CPU seconds, longest audio in samples, process id of the parent.
#define TS_CHILD_ARGC 6

#endif
