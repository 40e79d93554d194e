# Reads `jib --table`; read by each SHELL.awk before itself, which prints from its END:
#
#   count, command[1..count], summary[NAME]
#   options[NAME]             how many; with I in 1..options[NAME]:
#     long[NAME, I] letter[NAME, I] (or "") help[NAME, I] repeatable[NAME, I]
#     value[NAME, I]          what it takes: "" nothing, directory, file, variable, text, or
#                             "=" and its words: "=none host"
#   places[NAME]              what stands where, in words: sandbox (an existing one),
#                             directory, other; "..." at the end repeats the last
#   runs[NAME]                whether a command follows "--"

BEGIN { FS = "\t" }

function kind(argument) {
	if (argument ~ /^[a-z]+([|][a-z]+)+$/) {
		gsub(/[|]/, " ", argument)
		return "=" argument
	}
	if (argument == "")
		return ""
	if (argument == "DIR")
		return "directory"
	if (argument ~ /^SRC/)
		return "file"
	if (argument ~ /^NAME/)
		return "variable"
	return "text"
}

function place(name, word) {
	# The name of a sandbox that is about to be made is nobody's to complete.
	if (word ~ /NAME/)
		return name == "new" ? "other" : "sandbox"
	return word ~ /DIR/ ? "directory" : "other"
}

$1 == "command" {
	command[++count] = $2
	summary[$2] = $4
	options[$2] = 0
	runs[$2] = $3 ~ /-- CMD/
	words = split($3, word, " ")
	places[$2] = ""
	for (i = 1; i <= words && word[i] ~ /^[[]?(NAME|DIR)[]]?([.][.][.])?$/; i++) {
		places[$2] = places[$2] (i > 1 ? " " : "") place($2, word[i])
		if (word[i] ~ /[.][.][.]$/)
			places[$2] = places[$2] " ..."
	}
}

$1 == "option" {
	i = ++options[$2]
	long[$2, i] = $3
	letter[$2, i] = $4
	value[$2, i] = kind($5)
	argument[$2, i] = $5
	help[$2, i] = $6
	repeatable[$2, i] = $6 ~ /repeatable/
}
