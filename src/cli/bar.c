#include "cli/bar.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/output.h"

enum { PATIENCE_MS = 500, REDRAW_MS = 100, BAR_WIDTH = 20, MARK_WIDTH = 4, COLUMNS = 80 };

static const char start_of_line[] = "\r";
static const char rest_erased[] = "\033[K";
static const char erased[] = "\r\033[K";

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/* A signal ends the program while the line is there: its disposition is the default again. */
static void erase_and_end(int number)
{
	ssize_t ignored = write(STDERR_FILENO, erased, sizeof erased - 1);

	(void)ignored;
	raise(number); /* blocked until this returns */
}

static void watch_endings(void)
{
	struct sigaction before;
	struct sigaction action = {.sa_handler = erase_and_end,
				   .sa_flags = (int)SA_RESETHAND | SA_RESTART};

	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		if (sigaction(ending[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
			sigaction(ending[i], &action, NULL);
}

static void unwatch_endings(void)
{
	struct sigaction now;

	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler == erase_and_end)
			signal(ending[i], SIG_DFL);
}

/* "[####    ]  50%"; the mark goes to and fro in "[  ====  ]" when nothing is counted. */
static void add_gauge(struct bar *bar, unsigned long done, unsigned long total, struct str *ret)
{
	enum { WAYS = BAR_WIDTH - MARK_WIDTH };
	unsigned int at = bar->turn++ % (2 * WAYS);

	if (total) {
		unsigned int full = (unsigned int)((double)done / (double)total * BAR_WIDTH);

		str_add(ret, " [");
		for (unsigned int i = 0; i < BAR_WIDTH; i++)
			str_add_char(ret, i < full ? '#' : ' ');
		str_addf(ret, "] %3u%%", (unsigned int)((double)done / (double)total * 100));
	} else if (done) {
		str_addf(ret, " %lu", done);
	} else {
		if (at > WAYS)
			at = 2 * WAYS - at;
		str_addf(ret, " [%*s====%*s]", (int)at, "", (int)(WAYS - at), "");
	}
}

/* As much of the text as fits. What is not ASCII may take two columns, and is taken to. */
static void add_cut(struct str *ret, const struct str *text, size_t columns)
{
	for (size_t i = 0, used = 0; i < text->len;) {
		unsigned char first = (unsigned char)text->s[i];
		size_t len = 1;

		while (first >= 0x80 && ((unsigned char)text->s[i + len] & 0xc0) == 0x80)
			len++;
		used += first < 0x80 ? 1 : 2;
		if (used > columns)
			return;
		str_add_bytes(ret, text->s + i, len);
		i += len;
	}
}

void bar_draw(struct bar *bar, uint64_t now, size_t columns, const char *what, unsigned long done,
	      unsigned long total, struct str *ret)
{
	autostr struct str text = STR_INIT;
	autostr struct str gauge = STR_INIT;

	if (now - bar->began < PATIENCE_MS || (bar->drawn && now - bar->drawn < REDRAW_MS) ||
	    columns < 2)
		return;
	bar->drawn = now;
	str_add(&text, "jib: ");
	str_add_escaped(&text, what, strlen(what));
	add_gauge(bar, total && done > total ? total : done, total, &gauge);
	str_add(ret, start_of_line);
	/* The last column stays free: some terminals go to the next line when it is written. */
	columns--;
	if (gauge.len + strlen("jib: ") > columns) {
		add_cut(ret, &text, columns);
	} else {
		add_cut(ret, &text, columns - gauge.len);
		str_add(ret, gauge.s);
	}
	str_add(ret, rest_erased);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static size_t columns_of(int fd)
{
	struct winsize size;

	return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : COLUMNS;
}

static void step(void *data, const char *what, unsigned long done, unsigned long total)
{
	struct bar *bar = data;
	autostr struct str text = STR_INIT;
	bool first = !bar->drawn;

	if (bar->fd < 0)
		return;
	bar_draw(bar, now_ms(), columns_of(bar->fd), what, done, total, &text);
	if (!text.len)
		return;
	if (first)
		watch_endings();
	/* A terminal that has gone is not what the work is for. */
	if (write_all(bar->fd, text.s, text.len) < 0) {
		unwatch_endings();
		bar->fd = -1;
	}
}

void bar_begin(struct bar *ret)
{
	const char *term = getenv("TERM");
	bool draws =
		!output_is_quiet() && isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);

	*ret = (struct bar){
		.fd = draws ? STDERR_FILENO : -1,
		.to = {.step = step, .data = ret},
		.began = now_ms(),
	};
}

const struct progress *bar_progress(const struct bar *bar)
{
	return bar->fd >= 0 ? &bar->to : NULL;
}

void bar_end(struct bar *bar)
{
	int fd = bar->fd;

	bar->fd = -1;
	if (fd < 0 || !bar->drawn)
		return;
	unwatch_endings();
	if (write_all(fd, erased, sizeof erased - 1) < 0)
		return;
}
