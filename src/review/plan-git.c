#include "review/plan-git.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/str.h"
#include "snapshot/settings.h"

int plan_set_git(struct plan *plan, const struct config *config, const char *top, struct error *err)
{
	autofree char *excludes = settings_file(config, "core.excludesfile", "ignore", top);
	autofree char *attributes = settings_file(config, "core.attributesfile", "attributes", top);
	autostr struct str text = STR_INIT;
	autostr struct str ignore = STR_INIT;
	autostr struct str rules = STR_INIT;

	if (settings_patterns(excludes, &ignore, err) < 0 ||
	    settings_patterns("/etc/gitattributes", &rules, err) < 0 ||
	    settings_patterns(attributes, &rules, err) < 0)
		return -1;
	str_add(&text, "# Made by jib from the host's git configuration at each start.\n");
	settings_global(config, &text);
	if (ignore.len)
		config_write_item(&text, "core.excludesFile", "/etc/gitignore");
	if (rules.len)
		config_write_item(&text, "core.attributesFile", "/etc/gitattributes");
	free(plan->git_config);
	plan->git_config = str_take(&text);
	plan->git_ignore = ignore.len ? str_take(&ignore) : NULL;
	plan->git_attributes = rules.len ? str_take(&rules) : NULL;
	return 0;
}
