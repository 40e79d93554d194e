#include "cli/ask.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

/* The first letter of a line; 'q' at the end of the input. */
static char read_answer(void)
{
	char first = '\0', c;
	ssize_t n;

	while ((n = read(STDIN_FILENO, &c, 1)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return 'q';
		if (c == '\n')
			return first;
		if (!first && c != ' ' && c != '\t')
			first = c;
	}
	return first ? first : 'q';
}

static int show(const char *question, struct error *err)
{
	autostr struct str text = STR_INIT;

	str_add_escaped(&text, question, strlen(question));
	str_add(&text, " [y,n,a,d,q,?] ");
	if (write_all(STDERR_FILENO, text.s, text.len) < 0)
		return error_errno(err, "cannot ask");
	return 0;
}

int ask(struct ask *ask, const char *question, bool *ret, struct error *err)
{
	static const char help[] =
		"y: yes; n: no; a: yes to this and all that follow; d: no to this "
		"and all that follow; q: quit, nothing is done\n";

	while (!ask->rest) {
		if (show(question, err) < 0)
			return -1;
		char answer = read_answer();

		switch (answer) {
		case 'y':
		case 'n':
			*ret = answer == 'y';
			return 0;
		case 'a':
		case 'd':
			ask->rest = answer;
			break;
		case 'q':
			return error_set(err, ERR_QUIT, "nothing was done");
		default:
			if (write_all(STDERR_FILENO, help, strlen(help)) < 0)
				return error_errno(err, "cannot ask");
		}
	}
	*ret = ask->rest == 'a';
	return 0;
}
