#include "snapshot/take.h"

#include <string.h>

#include "base/memory.h"
#include "snapshot/layers.h"
#include "snapshot/modules.h"

enum { TRIES = 5 };

void taken_release(struct taken *taken)
{
	pin_release(&taken->pin);
	local_release(&taken->local);
	free(taken->modules);
	*taken = (struct taken){0};
}

/* Another commit's files over the same git layer. */
static int switch_commit(const struct root *root, const struct take_request *request,
			 struct pin *pin, struct error *err)
{
	autoconfig struct config settings = CONFIG_INIT;
	struct repository_head head = {0};

	if (repository_resolve(request->repository, request->from, &head, err) < 0)
		return -1;
	repository_head_release(&pin->head);
	pin->head = head;
	strv_release(&pin->tree);
	if (config_read_all(request->repository->top, &settings, err) < 0)
		return -1;
	return tree_layers(root, request->repository, &pin->head, &settings, request->progress,
			   &pin->tree, &pin->holds, err);
}

static int take_parts(const struct root *root, const struct take_request *request,
		      struct taken *taken, struct error *err)
{
	struct local_status status = LOCAL_STATUS_INIT;
	autostrv struct strv masked = STRV_INIT, left_out = STRV_INIT;
	const struct modules_request modules = {
		.root = root,
		.repository = request->repository,
		.head = &taken->pin.head,
		.wishes = request->wishes,
		.progress = request->progress,
		.masked = &masked,
		.left_out = &left_out,
	};
	const struct local_request local = {
		.root = root,
		.repository = request->repository,
		.head = &taken->pin.head,
		.switched = request->from != NULL,
		.location = request->location,
		.excludes_file = taken->pin.excludes_file,
		.tree = &taken->pin.tree,
		.git_id = taken->pin.git.items[0],
		.wishes = request->wishes,
	};

	if (!request->wishes->clean &&
	    local_start(request->repository, request->wishes, &status, err) < 0)
		return -1;
	int result = modules_layer(&modules, &taken->modules, err);

	if (result == 0)
		result = local_capture(&local, &status, &taken->local, err);
	local_abandon(&status);
	if (result == 0) {
		strv_add_all(&taken->local.masked, &masked);
		strv_add_all(&taken->local.left_out, &left_out);
	}
	return result;
}

/* 0; 1 when one is gone. */
static int hold_parts(const struct root *root, struct taken *taken, struct error *err)
{
	const char *const ids[] = {taken->modules, taken->local.id};

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		int result = ids[i] ? layer_holds_add(root, ids[i], &taken->pin.holds, err) : 0;

		if (result != 0)
			return result;
	}
	return 0;
}

/* 0; 1 when the repository has changed meanwhile. */
static int try_to_take(const struct root *root, const struct take_request *request,
		       struct pin *recalled, struct taken *ret, struct error *err)
{
	autotaken struct taken taken = {0};
	int result;

	if (recalled) {
		taken.pin = *recalled;
		*recalled = (struct pin){0};
	} else if (pin_repository(root, request->repository, request->progress, &taken.pin, err) <
		   0) {
		return -1;
	}
	if (request->from && switch_commit(root, request, &taken.pin, err) < 0)
		return -1;
	if (take_parts(root, request, &taken, err) < 0) {
		struct error ignored = ERROR_INIT;

		/* What was compared with the commit was compared with another one. */
		result = pin_is_current(request->repository, &taken.pin, &ignored);
		error_clear(&ignored);
		if (result != 0)
			return -1;
		error_clear(err);
		return 1;
	}
	result = hold_parts(root, &taken, err);
	if (result != 0)
		return result;
	/* Of a clean one all is known already. */
	result = request->wishes->clean ? 1 : pin_is_current(request->repository, &taken.pin, err);
	if (result <= 0)
		return result < 0 ? -1 : 1;
	*ret = taken;
	taken = (struct taken){0};
	return 0;
}

int take_repository(const struct root *root, const struct take_request *request,
		    struct pin *recalled, struct taken *ret, struct error *err)
{
	for (int i = 0; i < TRIES; i++) {
		int result = try_to_take(root, request, recalled, ret, err);

		if (result <= 0)
			return result;
		recalled = NULL;
	}
	return pin_unstable(request->repository, err);
}
