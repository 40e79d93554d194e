#include "base/spawn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/memory.h"

void spawn_encode(const struct spawn *spawn, struct packet *packet)
{
	packet_put_u32(packet, spawn->terminal);
	packet_put_u32(packet, spawn->rows);
	packet_put_u32(packet, spawn->columns);
	packet_put_u32(packet, spawn->linger);
	packet_put_string(packet, spawn->directory);
	packet_put_string(packet, spawn->fallback);
	packet_put_strings(packet, spawn->argv.items);
	packet_put_strings(packet, spawn->env.items);
}

int spawn_decode(struct packet *packet, struct spawn *ret, struct error *err)
{
	autospawn struct spawn spawn = {0};
	const char *directory, *fallback;

	if (packet_get_u32(packet, &spawn.terminal, err) < 0 ||
	    packet_get_u32(packet, &spawn.rows, err) < 0 ||
	    packet_get_u32(packet, &spawn.columns, err) < 0 ||
	    packet_get_u32(packet, &spawn.linger, err) < 0 ||
	    packet_get_string(packet, &directory, err) < 0 ||
	    packet_get_string(packet, &fallback, err) < 0 ||
	    packet_get_strings(packet, &spawn.argv, err) < 0 ||
	    packet_get_strings(packet, &spawn.env, err) < 0)
		return -1;
	if (spawn.argv.len == 0 || spawn.terminal > 7)
		return error_set(err, ERR_PROTOCOL, "malformed message");
	spawn.directory = xstrdup(directory);
	spawn.fallback = xstrdup(fallback);
	*ret = spawn;
	spawn = (struct spawn){0};
	return 0;
}

void spawn_release(struct spawn *spawn)
{
	free(spawn->directory);
	free(spawn->fallback);
	strv_release(&spawn->argv);
	strv_release(&spawn->env);
	*spawn = (struct spawn){0};
}

int exit_status_of(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int exit_status_of_failure(int number)
{
	switch (number) {
	case ENOENT:
	case ENOTDIR:
		return 127;
	case EACCES:
	case ENOEXEC:
	case EISDIR:
	case EPERM:
		return 126;
	default:
		return 125;
	}
}
