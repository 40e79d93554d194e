/*
 * plan-git: what git is told in a sandbox by the user's and the machine's configuration.
 */
#pragma once

#include "git/config.h"
#include "run/plan.h"

/*
 * A system configuration for git inside: the user's identity, aliases and ways of looking at
 * files. The files of patterns that the user's configuration names, or git would take, lie beside
 * it. `top` is what relative names of them are relative to.
 */
int plan_set_git(struct plan *plan, const struct config *config, const char *top,
		 struct error *err);
