#include "kernel/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"

int proc_read(const char *path, size_t max, struct str *ret, struct error *err)
{
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, "cannot read %s", path);
	if (read_all(fd, max, ret, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

long proc_read_number(const char *path)
{
	autostr struct str text = STR_INIT;
	char *end;

	if (proc_read(path, 4096, &text, NULL) < 0)
		return -1;
	errno = 0;
	long number = strtol(text.s, &end, 10);

	return end == text.s || errno ? -1 : number;
}
