END {
	print "# Completion of jib for bash. Made from `jib --table`; do not edit."
	print ""
	print "# What a command has: its options, what stands after its name, whether a command follows."
	print "_jib_table() {"
	print "\tcase $1 in"
	for (c = 1; c <= count; c++) {
		name = command[c]
		all = ""
		for (i = 1; i <= options[name]; i++)
			all = all long[name, i] (letter[name, i] ? " " letter[name, i] : "") " "
		printf "\t%s) options='%s--help' places='%s' runs=%d ;;\n", name, all,
			places[name], runs[name]
	}
	print "\t*) return 1 ;;"
	print "\tesac"
	print "}"
	print ""
	print "# What an option of a command takes; fails when it takes nothing."
	print "_jib_value() {"
	print "\tcase $1:$2 in"
	for (c = 1; c <= count; c++) {
		name = command[c]
		for (i = 1; i <= options[name]; i++)
			if (value[name, i] != "") {
				pattern = name ":" long[name, i]
				if (letter[name, i])
					pattern = pattern " | " name ":" letter[name, i]
				printf "\t%s) echo '%s' ;;\n", pattern, value[name, i]
			}
	}
	print "\t*) return 1 ;;"
	print "\tesac"
	print "}"
	print ""
	printf "_jib_commands='"
	for (c = 1; c <= count; c++)
		printf "%s%s", (c > 1 ? " " : ""), command[c]
	print "'"
}
