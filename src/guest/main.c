/*
 * jib-guest: the static program inside a sandbox.
 *
 * One binary, so that one read-only bind brings everything in; the name that it is called by says
 * what it is, or the first argument: `init` is process 1, with the control socket as fd 3.
 */
#include <stdio.h>
#include <string.h>

#include "guest/fsmonitor.h"
#include "guest/init.h"

enum { CONTROL = 3 };

int main(int argc, char **argv)
{
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;

	if (argc && strcmp(slash ? slash + 1 : argv[0], "fsmonitor") == 0)
		return fsmonitor_main(argc, argv);
	if (argc >= 2 && strcmp(argv[1], "init") == 0)
		return init_serve(CONTROL, argv + 2);
	fputs("jib-guest is started by jib, inside a sandbox\n", stderr);
	return 2;
}
