#include "store/json.h"

json_t *json_strings(const struct strv *v)
{
	json_t *array = json_array();

	for (size_t i = 0; i < v->len; i++)
		json_array_append_new(array, json_string(v->items[i]));
	return array;
}
