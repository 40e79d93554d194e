#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "kernel/mounts.h"
#include "view/view.h"

int refuse_mounted(const struct sandbox *sandbox, struct error *err)
{
	autofree char *source = sandbox_mount_source(sandbox);
	autofree char *directory = realpath(fd_path(sandbox->fd).s, NULL);
	autofree char *target = NULL;
	int result = mount_find(source, &target, err);

	if (result < 0)
		return -1;
	if (result == 0) {
		error_set(err, ERR_MOUNTED, "the sandbox %s is mounted at %s", sandbox->name,
			  target);
		return error_hint(err, "sudo jib umount %s", target);
	}
	/* One that is removed at this moment has no path any more. */
	result = directory ? mount_find_within(directory, &target, err) : 1;
	if (result != 0)
		return result < 0 ? -1 : 0;
	error_set(err, ERR_MOUNTED, "in the directory of the sandbox %s something is mounted: %s",
		  sandbox->name, target);
	return error_hint(err, "sudo umount %s", target);
}
