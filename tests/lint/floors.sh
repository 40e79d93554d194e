#!/bin/sh
# Keeps the rooms of src/ apart. Prints "FILE:LINE: RULE: WHAT" for every breach:
#
#   floor    a room includes only what stands to the right of it in the table below
#   include  a project header is included as "room/file.h"
#   voice    a library neither prints nor exits: only cli, guest, gateway, and the programs of
#            the build (*-generate.c) may. Writing to a given descriptor is fine, and so is
#            _exit in a forked child
#   banned   more calls of the kind that src/base/banned.h makes errors
#
# usage: floors.sh [TREE]
set -eu
cd "${1:-$(dirname "$0")/../..}"

# The table of the architecture. Every room may include itself.
export rooms='
base
kernel    base
git       base
store     base
snapshot  base git store
view      base kernel store
run       base kernel store view
review    base git store snapshot view run
gateway   base git store run
engine    base store view
guest     base
cli       base kernel git store snapshot view run review gateway engine guest
'

# shellcheck disable=SC2016 # an awk program
check='
BEGIN {
	count = split(ENVIRON["rooms"], lines, "\n")
	for (i = 1; i <= count; i++) {
		words = split(lines[i], word, " ")
		if (!words)
			continue
		is_room[word[1]] = 1
		may[word[1], word[1]] = 1
		for (w = 2; w <= words; w++)
			may[word[1], word[w]] = 1
	}

	# \047 is the apostrophe, which this program cannot hold
	token = "\"([^\"\\\\]|\\\\.)*\"|\047([^\047\\\\]|\\\\.)*\047|//|/[*]"

	# No letter before a name, and no "." or "->" either: a member is not the C library.
	start = "(^|[^A-Za-z0-9_.>])"
	prints = start "(printf|vprintf|puts|putchar|perror|exit|quick_exit)[ \t]*[(]"
	stream = start "(fprintf|vfprintf|fputs|fputc|putc|fwrite)[ \t]*[(].*(stdout|stderr)"
	banned = start "(alloca|strdupa|strndupa|atof|rand|srand|wordexp|getwd|readdir_r)[ \t]*[(]"
}

function breach(rule, what) {
	printf "%s:%d: %s: %s\n", FILENAME, FNR, rule, what
	breaches++
}

# the line without comments and without what strings hold
function code(line,    kept, found) {
	kept = ""
	for (;;) {
		if (in_comment) {
			if (!(found = index(line, "*/")))
				return kept
			line = substr(line, found + 2)
			in_comment = 0
		}
		if (!match(line, token))
			return kept line
		kept = kept substr(line, 1, RSTART - 1) " "
		found = substr(line, RSTART, 2)
		line = substr(line, RSTART + RLENGTH)
		if (found == "//")
			return kept
		in_comment = found == "/*"
	}
}

# the name of the function whose call match() has just found
function call(text) {
	text = substr(text, RSTART, RLENGTH)
	sub(/^[^A-Za-z0-9_]/, "", text)
	sub(/[ \t]*[(].*/, "", text)
	return text "()"
}

function check_include(header,    parts, part) {
	parts = split(header, part, "/")
	if (parts < 2)
		breach("include", "\"" header "\" names no room; write \"room/" header "\"")
	else if (!(part[1] in is_room))
		breach("include", "\"" header "\": there is no room " part[1])
	else if (!((room, part[1]) in may))
		breach("floor", room " may not include \"" header "\"")
}

FNR == 1 {
	in_comment = 0
	depth = split(FILENAME, path, "/")
	room = path[2]
	if (depth < 3 || !(room in is_room)) {
		breach("floor", "this file is in none of the rooms of src/")
		nextfile
	}
	may_speak = room == "cli" || room == "guest" || room == "gateway" || FILENAME ~ /-generate[.]c$/
}

!in_comment && /^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, quoted, "\"")
	check_include(quoted[2])
}

{
	text = code($0)
	if (!may_speak && (match(text, prints) || match(text, stream)))
		breach("voice", room " neither prints nor exits, here with " call(text))
	if (match(text, banned))
		breach("banned", "take a safer call than " call(text))
}

END { exit breaches > 0 }
'

find src -name '*.[ch]' -exec awk "$check" {} +
