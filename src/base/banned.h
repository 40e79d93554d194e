/*
 * banned: functions that this code base does not use, as compile errors.
 *
 * Force-included into every translation unit (`-include base/banned.h`). Each of them has
 * an argument that no caller gets right for ever: an unbounded destination, a shell, hidden
 * static state.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gets
#pragma GCC poison system popen mktemp tmpnam tempnam
#pragma GCC poison asctime ctime localtime gmtime
#pragma GCC poison atoi atol atoll
