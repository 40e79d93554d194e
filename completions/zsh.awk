# In single quotes, and without what _arguments or _describe would take for its own.
function quoted(text) {
	gsub(/\\/, "\\\\", text)
	gsub(/\[/, "\\[", text)
	gsub(/\]/, "\\]", text)
	gsub(/:/, "\\:", text)
	gsub(/'/, "'\\''", text)
	return text
}

function action(what) {
	if (what ~ /^=/)
		return "(" substr(what, 2) ")"
	if (what == "directory")
		return "_directories"
	if (what == "file")
		return "_files"
	if (what == "variable")
		return "_parameters -g \"*export*\""
	if (what == "sandbox")
		return "_jib_sandboxes"
	return " "
}

function option(name, i,    text) {
	text = "'[" quoted(help[name, i]) "]"
	if (value[name, i] != "")
		text = text ":" quoted(argument[name, i]) ":" action(value[name, i])
	text = text "'"
	# "+": its value may follow at once; "=": or after "=".
	if (letter[name, i] == "")
		return (repeatable[name, i] ? "'*'" : "") long[name, i] (value[name, i] != "" ? "=" : "") text
	return (repeatable[name, i] ? "'*'" : "'(" letter[name, i] " " long[name, i] ")'") \
		"{" letter[name, i] (value[name, i] != "" ? "+" : "") "," \
		long[name, i] (value[name, i] != "" ? "=" : "") "}" text
}

END {
	print "#compdef jib"
	print "# Completion of jib for zsh. Made from `jib --table`; do not edit."
	print ""
	print "_jib_commands() {"
	print "\tlocal -a commands=("
	for (c = 1; c <= count; c++)
		printf "\t\t'%s:%s'\n", command[c], quoted(summary[command[c]])
	print "\t)"
	print "\t_describe command commands"
	print "}"
	print ""
	print "# The options of a command and what stands after its name, for _arguments."
	print "_jib_table() {"
	print "\tcase $1 in"
	for (c = 1; c <= count; c++) {
		name = command[c]
		printf "\t%s)\n\t\truns=%d\n\t\ttable=(\n", name, runs[name]
		for (i = 1; i <= options[name]; i++)
			print "\t\t\t" option(name, i)
		places_count = split(places[name], at, " ")
		for (i = 1; i <= places_count; i++)
			if (at[i + 1] == "...") {
				print "\t\t\t'*:" at[i] ":" action(at[i]) "'"
				break
			} else {
				print "\t\t\t'" i "::" at[i] ":" action(at[i]) "'"
			}
		print "\t\t)\n\t\t;;"
	}
	print "\t*) return 1 ;;"
	print "\tesac"
	print "}"
}
