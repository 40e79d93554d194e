/*
 * init: process 1 of a sandbox.
 *
 * It starts commands on request of the monitor, over the control socket, and reports how they
 * end; it reaps whatever is orphaned. It holds no rights that its children do not have. The
 * sandbox ends with the first command: init exits, and the kernel kills what is left in the
 * pid namespace. It also exits when the monitor is gone.
 */
#pragma once

/*
 * Serves until the first command ends or the monitor is gone; returns init's exit status. `names`
 * as in base/upper.h.
 */
int init_serve(int control, char *const *names);
