/*
 * inside: where jib's own parts are found in every sandbox, by those who build its root and by
 * those who write configuration for programs in it.
 */
#pragma once

#define INSIDE_GUEST "/run/jib/guest"
/* The guest under the name by which it answers git's fsmonitor queries. */
#define INSIDE_FSMONITOR "/run/jib/fsmonitor"
