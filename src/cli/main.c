#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/output.h"

enum { USAGE = 2 };

static int print(struct str *text)
{
	autoerror struct error err = ERROR_INIT;
	int result = output_text(text->s, &err);

	if (result < 0)
		output_error(&err, false);
	return result < 0;
}

static int overview(void)
{
	autostr struct str text = STR_INIT;

	command_overview(&text);
	return print(&text);
}

static int help(const struct command *command)
{
	autostr struct str text = STR_INIT;

	command_help(command, &text);
	return print(&text);
}

static int special(const char *word, int argc, char **argv)
{
	autostr struct str text = STR_INIT;

	if (strcmp(word, "--version") == 0) {
		str_add(&text, "jib " JIB_VERSION "\n");
		return print(&text);
	}
	if (strcmp(word, "--table") == 0) { /* for completions and tests */
		command_table(&text);
		return print(&text);
	}
	if (strcmp(word, "help") == 0 && argc > 0 && command_find(argv[0]))
		return help(command_find(argv[0]));
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
		return overview();
	return -1;
}

static bool wants_json(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

static int run(const struct command *command, int argc, char **argv)
{
	autoerror struct error err = ERROR_INIT;
	struct invocation invocation;
	bool json = wants_json(argc, argv);

	if (invocation_parse(command, argc, argv, &invocation, &err) < 0) {
		output_error(&err, json);
		return command->failure == 1 ? USAGE : command->failure;
	}
	if (invocation.help) {
		invocation_release(&invocation);
		return help(command);
	}
	int status = command->run(&invocation, &err);

	invocation_release(&invocation);
	/* A command may fail with a status of its own: it returns that and an error. */
	if (error_is_set(&err))
		output_error(&err, json);
	if (status >= 0)
		return status;
	return command->failure == 1 && err.code == ERR_USAGE ? USAGE : command->failure;
}

/* A directory that is opened in the place of a closed stream would be taken for that stream. */
static bool open_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/*
 * A parent may have left SIGCHLD ignored, and then children vanish without a status; or signals
 * blocked, and then nothing ends this process.
 */
static void reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_DFL);
}

int main(int argc, char **argv)
{
	enum { FAILED = 125 };

	reset_signals();
	/* Layers are shared: what git and jib make there is not for the eyes of who came first alone. */
	caller_umask = umask(022);
	if (!open_streams())
		return FAILED;
	if (argc < 2) {
		overview();
		return USAGE;
	}
	const struct command *command = command_find(argv[1]);

	if (command)
		return run(command, argc - 2, argv + 2);
	int status = special(argv[1], argc - 2, argv + 2);

	if (status >= 0)
		return status;
	autoerror struct error err = ERROR_INIT;

	error_set(&err, ERR_USAGE, "there is no command \"%s\"", argv[1]);
	error_hint(&err, "`jib --help` lists the commands");
	output_error(&err, wants_json(argc - 2, argv + 2));
	return USAGE;
}
