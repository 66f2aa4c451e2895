// Between media.c and pool.c. Not for other rooms.
#ifndef TS_MEDIA_POOL_H
#define TS_MEDIA_POOL_H

#include "media/child.h"
#include "media/media.h"

#include <stdbool.h>
#include <sys/types.h>

// A child for this media from the template; both descriptors stay the caller's. False: there is no template, or it
// does not answer; the caller starts one itself.
bool ts_media_pool_start(struct ts_media_pool *pool, const struct ts_child_limits *limits, int media, int frames,
                         pid_t *out_pid);

#endif
