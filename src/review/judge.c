#include "review/judge.h"

int work_judge(const struct root *root, const struct sandbox *sandbox, const struct glance *glance,
	       enum work *ret, struct error *err)
{
	(void)root;
	(void)sandbox;
	(void)err;
	*ret = glance->work;
	return 0;
}
