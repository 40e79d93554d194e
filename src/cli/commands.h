/*
 * commands: the commands themselves, one file each; command.c puts them into the table.
 */
#pragma once

#include "cli/command.h"

extern const struct command cmd_attach;
extern const struct command cmd_checkpoint;
extern const struct command cmd_diff;
extern const struct command cmd_doctor;
extern const struct command cmd_du;
extern const struct command cmd_exec;
extern const struct command cmd_fork;
extern const struct command cmd_gc;
extern const struct command cmd_log;
extern const struct command cmd_logs;
extern const struct command cmd_ls;
extern const struct command cmd_mount;
extern const struct command cmd_new;
extern const struct command cmd_persist;
extern const struct command cmd_rm;
extern const struct command cmd_rollback;
extern const struct command cmd_run;
extern const struct command cmd_show;
extern const struct command cmd_status;
extern const struct command cmd_stop;
extern const struct command cmd_umount;
