/*
 * jib-guest: the static program inside a sandbox.
 *
 * One binary, so that one read-only bind brings everything in; the first argument says what it
 * is: `init` is process 1, with the control socket as fd 3.
 */
#include <stdio.h>
#include <string.h>

#include "guest/init.h"

enum { CONTROL = 3 };

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "init") == 0)
		return init_serve(CONTROL);
	fputs("jib-guest is started by jib, inside a sandbox\n", stderr);
	return 2;
}
