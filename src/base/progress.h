/*
 * progress: how far something that takes long has come, for whoever may want to show it.
 *
 * What does the work calls progress_step() whenever it has done a part, as often as it likes: who
 * shows it draws no more than eyes can follow, and nothing of what is over in a moment. `what` is
 * for the user ("copying the files of 1a2b3c"), without a full stop, and is only looked at
 * during the call. A `total` of 0 is unknown: then `done` is a count; and 0 of 0 says no more than
 * that it goes on.
 */
#pragma once

#include <stddef.h>

struct progress {
	void (*step)(void *data, const char *what, unsigned long done, unsigned long total);
	void *data;
};

/* `progress` may be NULL. */
static inline void progress_step(const struct progress *progress, const char *what,
				 unsigned long done, unsigned long total)
{
	if (progress && progress->step)
		progress->step(progress->data, what, done, total);
}
