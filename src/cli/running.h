/*
 * running: a sandbox from its start to what becomes of it at its end; shared by `run` and
 * `exec`.
 */
#pragma once

#include "base/spawn.h"
#include "git/config.h"
#include "run/plan.h"
#include "store/root.h"
#include "store/sandbox.h"

struct running {
	struct root root;
	struct sandbox sandbox;
	struct config config;
	struct plan plan;
	struct spawn spawn;
	int lease;
	bool created; /* by this command: without any change it leaves nothing behind */
	bool discard; /* --rm */
	bool linger;  /* until the commands that join are done too */
};

#define RUNNING_INIT                                                                           \
	{                                                                                      \
		.root = ROOT_INIT, .sandbox = SANDBOX_INIT, .config = CONFIG_INIT, .lease = -1 \
	}

void running_release(struct running *running);
#define autorunning __attribute__((cleanup(running_release)))

/* Takes back a sandbox that this command has created and cannot start. */
void running_undo(struct running *running);

/* Runs the command here; returns its exit status, or -1. */
int running_foreground(struct running *running, struct error *err);

/* Runs it in the background; returns 0 as soon as it runs. */
int running_detach(struct running *running, struct error *err);
