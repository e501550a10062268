/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bindshare-runtime: an OCI runtime in front of runc or crun. Before a container is made, each of its binds is looked
 * at: what is of a share becomes a clone of the share's mount, what is the guest's own stays, all else is refused.
 * Every other command goes straight to the runtime behind it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "guest-fuse/binds/ask.h"
#include "guest-fuse/binds/clones.h"
#include "guest-fuse/binds/decide.h"
#include "guest-fuse/runtime/bundle.h"
#include "guest-fuse/runtime/complain.h"
#include "guest-fuse/runtime/rootless.h"
#include "protocol/cleanup.h"
#include "protocol/document.h"

enum { ERROR_SIZE = BINDS_TEXT_SIZE };

struct runtime {
	struct command command;
	struct guest_config config;
	struct bundle bundle;
	struct clones clones;
	char program[PATH_MAX]; /* of the runtime behind this one */
	bool complained;        /* that ids are not mapped */
};

/* runc or crun. False after a message. */
static bool find_runtime(struct runtime *runtime)
{
	const char *config = runtime->command.config != NULL ? runtime->command.config : GUEST_CONFIG_PATH;
	int r = guest_config_runtime(&runtime->config, runtime->program);

	if (r == 0)
		return true;
	if (runtime->config.runtime != NULL)
		complain(&runtime->command, "error", "the runtime %s cannot be run: %s; see \"runtime\" in %s",
		         runtime->program, strerror(-r), config);
	else
		complain(&runtime->command, "error",
		         "there is neither runc nor crun in PATH: install one, or name it by \"runtime\" in %s",
		         config);
	return false;
}

/* Becomes the runtime. Returns an exit code when that fails. */
static int become_runtime(struct runtime *runtime)
{
	runtime->command.argv[0] = runtime->program;
	(void) execv(runtime->program, runtime->command.argv);
	complain(&runtime->command, "error", "cannot run %s: %s", runtime->program, strerror(errno));
	return 1;
}

/* Runs the runtime and waits for it. Its exit code, as a shell would have it. */
static int run_runtime(struct runtime *runtime)
{
	pid_t pid = fork();
	int status;

	if (pid < 0) {
		complain(&runtime->command, "error", "cannot run %s: %s", runtime->program, strerror(errno));
		return 1;
	}
	if (pid == 0)
		_exit(become_runtime(runtime));
	/* A signal of the terminal goes to both; what the runtime makes of it counts. */
	(void) signal(SIGINT, SIG_IGN);
	(void) signal(SIGQUIT, SIG_IGN);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The binds that are not the guest's own, as a list for guestd. indexes: of them in the bundle. */
static json_t *foreign_sources(const struct runtime *runtime, size_t *indexes, size_t *ret_count)
{
	json_t *sources = json_array();

	*ret_count = 0;
	for (size_t i = 0; i < runtime->bundle.count; i++) {
		const char *source = runtime->bundle.binds[i].source;

		/* What was made for a container before, and is made again from the same bundle, is refused there. */
		if (binds_is_own(&runtime->config, source))
			continue;
		if (json_array_append_new(sources, json_string(source)) < 0) {
			json_decref(sources);
			return NULL;
		}
		indexes[(*ret_count)++] = i;
	}
	return sources;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

/* One bind of a share: a clone in its place. False after a message. */
static bool replace(struct runtime *runtime, struct bundle_bind *bind, const json_t *decision)
{
	const struct clones_source source = {
		.mount = text_of(decision, "mount"),
		.rest = text_of(decision, "rest"),
		.file = strcmp(text_of(decision, "kind"), "file") == 0,
		.recursive = bind->recursive,
		.idmap = json_is_true(json_object_get(decision, "idmap")) && !bind->mapped,
	};
	char path[4096], error[ERROR_SIZE];
	int r = clones_add(&runtime->clones, &source, path, error, sizeof(error));

	if (r < 0) {
		complain(&runtime->command, "error", "Mounts denied: %s", error);
		return false;
	}
	if (r > 0 && !bind->mapped && !runtime->complained) {
		complain(
		        &runtime->command, "warning",
		        "files of %s belong to root in the container, not to its user: this kernel does not map ids of "
		        "FUSE mounts (it takes Linux 6.12), or the share is mounted with permissions=host",
		        bind->source);
		runtime->complained = true;
	}
	return bundle_set_source(bind, path) == 0;
}

/* False: the mount options give shares to another user, for engines of his. */
static bool owned_by_root(const struct guest_config *config)
{
	const char *options = config->mount_options;

	return strncmp(options, "uid=", 4) != 0 && strncmp(options, "gid=", 4) != 0 &&
	       strstr(options, ",uid=") == NULL && strstr(options, ",gid=") == NULL;
}

/* Owners in shares are 0 in the guest: the container's user is to be it. */
static void map_user(struct runtime *runtime)
{
	const struct bundle *bundle = &runtime->bundle;
	int r;

	if (!bundle->user_is_known || (bundle->uid == 0 && bundle->gid == 0) || !owned_by_root(&runtime->config))
		return;
	r = clones_map(&runtime->clones, bundle->uid, bundle->gid);
	if (r < 0) {
		complain(&runtime->command, "warning", "no id map for user %u: %s", bundle->uid, strerror(-r));
		runtime->complained = true;
	}
}

/* Every decision is there; refused ones were told. False after a message. */
static bool replace_all(struct runtime *runtime, const json_t *decisions, const size_t *indexes, size_t count)
{
	bool right = true, any = false;
	char error[ERROR_SIZE];

	for (size_t i = 0; i < count; i++) {
		const json_t *decision = json_array_get(decisions, i);
		const char *verdict = text_of(decision, "verdict");

		any = any || strcmp(verdict, "share") == 0;
		if (strcmp(verdict, "share") == 0 || strcmp(verdict, "own") == 0)
			continue;
		complain(&runtime->command, "error", "%s", text_of(decision, "text"));
		right = false;
	}
	if (!right || !any)
		return right;
	if (clones_begin(&runtime->config, runtime->command.id, runtime->command.bundle, &runtime->clones, error,
	                 sizeof(error)) < 0) {
		complain(&runtime->command, "error", "%s", error);
		return false;
	}
	map_user(runtime);
	for (size_t i = 0; i < count && right; i++) {
		const json_t *decision = json_array_get(decisions, i);

		if (strcmp(text_of(decision, "verdict"), "share") == 0)
			right = replace(runtime, &runtime->bundle.binds[indexes[i]], decision);
	}
	clones_done(&runtime->clones);
	if (right && bundle_write(&runtime->bundle, error, sizeof(error)) < 0) {
		complain(&runtime->command, "error", "%s", error);
		right = false;
	}
	return right;
}

/* Looks at the binds of the bundle that was read. False after a message. */
static bool arrange(struct runtime *runtime)
{
	char path[sizeof(((struct sockaddr_un *) 0)->sun_path)], error[ERROR_SIZE];
	_cleanup_free_ size_t *indexes = calloc(runtime->bundle.count + 1, sizeof(*indexes));
	_cleanup_json_ json_t *sources = NULL, *answer = NULL;
	const char *first;
	size_t count;
	int r;

	sources = indexes == NULL ? NULL : foreign_sources(runtime, indexes, &count);
	if (sources == NULL) {
		complain(&runtime->command, "error", "%s: a source is no text, or there is no memory",
		         runtime->bundle.path);
		return false;
	}
	if (count == 0)
		return true;
	first = json_string_value(json_array_get(sources, 0));
	r = guest_config_socket(&runtime->config, path, error, sizeof(error));
	if (r == 0)
		r = binds_ask_binds(path, json_incref(sources), runtime->config.wait_ms, false, &answer, error,
		                    sizeof(error));
	if (r < 0) {
		complain(&runtime->command, "error", "Mounts denied: The path %s is not known to bindshare, since %s",
		         first, error);
		return false;
	}
	return replace_all(runtime, json_object_get(answer, "binds"), indexes, count);
}

/* create and run. An exit code. */
static int make_container(struct runtime *runtime)
{
	const struct command *command = &runtime->command;
	char error[ERROR_SIZE];
	int code;

	/* Without a name, or with a bad one, the runtime itself says what is wrong. */
	if (!clones_id_is_valid(command->id))
		return become_runtime(runtime);
	if (bundle_read(command->bundle, &runtime->bundle, error, sizeof(error)) < 0) {
		complain(command, "error", "%s", error);
		return 1;
	}
	code = arrange(runtime) ? run_runtime(runtime) : 1;
	if (code != 0 || (command->action == COMMAND_RUN && !command->detach))
		clones_undo(&runtime->config, command->id);
	bundle_done(&runtime->bundle);
	return code;
}

static int delete_container(struct runtime *runtime)
{
	int code = run_runtime(runtime);

	clones_undo(&runtime->config, runtime->command.id);
	return code;
}

/* As the runtime behind this one does it alone. */
static int pass_on(struct runtime *runtime)
{
	const struct command *command = &runtime->command;
	char error[ERROR_SIZE];

	if (guest_config_default(&runtime->config) < 0 || !find_runtime(runtime))
		return 1;
	if ((command->action == COMMAND_CREATE || command->action == COMMAND_RUN) &&
	    bundle_read(command->bundle, &runtime->bundle, error, sizeof(error)) == 0)
		rootless_warn(command, &runtime->bundle);
	return become_runtime(runtime);
}

/* False after a message. */
static bool read_config(struct runtime *runtime)
{
	const char *path = runtime->command.config != NULL ? runtime->command.config : GUEST_CONFIG_PATH;
	char error[ERROR_SIZE];

	if (guest_config_read(path, &runtime->config, error, sizeof(error)) == 0)
		return true;
	if (runtime->command.action == COMMAND_CREATE || runtime->command.action == COMMAND_RUN) {
		complain(&runtime->command, "error", "%s", error);
		return false;
	}
	/* A container that is there can be looked at and ended whatever became of the file. */
	complain(&runtime->command, "warning", "%s", error);
	return guest_config_default(&runtime->config) == 0;
}

int main(int argc, char **argv)
{
	static struct runtime runtime;
	int code;

	if (argc < 1 || command_parse(argv, &runtime.command) < 0)
		return 1;
	if (runtime.command.action == COMMAND_VERSION) {
		printf("bindshare-runtime %s\n", BINDSHARE_VERSION);
		fflush(stdout);
	}
	if (rootless_is_here(runtime.command.config != NULL ? runtime.command.config : GUEST_CONFIG_PATH))
		return pass_on(&runtime);
	if (!read_config(&runtime))
		return 1;
	if (runtime.command.action == COMMAND_SWEEP) {
		printf("%u\n", clones_sweep(&runtime.config));
		return 0;
	}
	if (!find_runtime(&runtime))
		return 1;
	switch (runtime.command.action) {
	case COMMAND_CREATE:
	case COMMAND_RUN:
		code = make_container(&runtime);
		break;
	case COMMAND_DELETE:
		code = delete_container(&runtime);
		break;
	default:
		code = become_runtime(&runtime);
	}
	guest_config_done(&runtime.config);
	return code;
}
