#!/bin/sh
# Prints the completion of jib for a shell: what jib's own table of commands says (SHELL.awk),
# then how that shell completes with it (jib.SHELL).
#
# usage: generate.sh bash|zsh|fish JIB
set -eu
here=$(dirname "$0")
table=$("$2" --table)
printf '%s\n' "$table" | awk -f "$here/table.awk" -f "$here/$1.awk"
cat "$here/jib.$1"
