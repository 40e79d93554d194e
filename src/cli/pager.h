/*
 * pager: where a command writes what may be long.
 *
 *   autopager struct pager pager = PAGER_INIT;
 *
 *   pager_start(&config, "diff", !no_pager, &pager, err);
 *   while (... there is more ...)
 *           if (pager_write(&pager, bytes, len, err))  (1: nobody reads on)
 *                   break;
 *   pager_finish(&pager, err);
 *
 * When stdout is a terminal it is the pager that git would start: GIT_PAGER, pager.NAME, core.pager,
 * PAGER, else less; with LESS=FRX and LV=-c unless these are set. None for "cat", nothing, a
 * pager.NAME that is false, and one that cannot be started. There is no shell: the value is split
 * at blanks, and one that only a shell understands (quotes, pipes, variables) is replaced by less.
 *
 * The configuration is the user's own, see colour.h. While a pager runs, interrupts from the
 * keyboard are its own affair, and jib goes on; they end it without one.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/process.h"
#include "base/str.h"
#include "git/config.h"

struct pager {
	int fd;	    /* to write to; stdout itself when there is no pager */
	bool paged; /* there is one, see output_coloured() */
	struct process process;
	struct sigaction interrupt, quit, pipe; /* as they were before */
};

#define PAGER_INIT                                                \
	{                                                         \
		.fd = -1, .paged = false, .process = PROCESS_INIT \
	}

int pager_start(const struct config *config, const char *name, bool wanted, struct pager *ret,
		struct error *err);
/* 1 when the reader, a pager or what is behind a pipe, has gone: no failure. */
int pager_write(struct pager *pager, const void *bytes, size_t len, struct error *err);
/* Waits until the user has quit it; accepts one that is finished. Its status does not matter. */
int pager_finish(struct pager *pager, struct error *err);
void pager_release(struct pager *pager);
#define autopager __attribute__((cleanup(pager_release)))

/* The words of the pager that these settings ask for; none when there is to be none. For the test. */
void pager_words(const struct config *config, const char *name, struct strv *ret);
