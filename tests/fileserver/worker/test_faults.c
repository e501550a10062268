/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every operation with every system call and allocation beneath it failing once, one after the other: the guest gets
 * that error, or the operation is done; nothing is half done on the host, nothing leaks, and the next try works.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/cleanup.h"
#include "protocol/faults.h"
#include "tests/fileserver/worker/scene.h"

enum { FAULT_ERRNO = EREMOTEIO /* what nothing else here answers with */, ORDINARY_USER = 65534 };

static void arm(const char *rules)
{
	char error[256];

	if (faults_arm(rules, error, sizeof(error)) < 0)
		fail_msg("%s", error);
}

/* The host's trees without a fault: before the operation, after it, after its first step. */
struct pictures {
	char *before, *after, *stripped;
};

/* Both ends of a lane are in this process: the points of the channel are the test's own, too. */
static bool is_worker(unsigned point)
{
	return strncmp(faults_name(point), "worker.", 7) == 0;
}

static unsigned problems;

static void problem(const struct scene_operation *operation, const char *rule, int result, const char *what)
{
	problems++;
	print_error("%s with %s: result %d\n%s\n", operation->name, rule, result, what);
}

static bool is_right(const struct scene_operation *operation, const struct pictures *pictures, int result, bool last,
                     const char *now)
{
	if (result == 0)
		return strcmp(now, pictures->after) == 0;
	if (strcmp(now, pictures->before) == 0)
		return true;
	if ((operation->flags & SCENE_STRIPS_FIRST) != 0 && strcmp(now, pictures->stripped) == 0)
		return true;
	return (operation->flags & SCENE_ANSWERS_LAST) != 0 && last && strcmp(now, pictures->after) == 0;
}

/*
 * One point of one operation fails the n-th of the times that it is passed. False: it was not passed so often this
 * time, since what was looked at longer than a tick ago is remembered.
 */
static bool try_fault(const struct scene_operation *operation, unsigned point, unsigned long n, unsigned long times,
                      const struct pictures *pictures)
{
	_cleanup_free_ char *now = NULL, *again = NULL;
	bool last = point == FAULTS_WORKER_STAT && n >= times;
	struct scene scene;
	char rule[96];
	bool fired;
	int r;

	scene_begin(&scene);
	scene.raw->host_error = FAULT_ERRNO;
	snprintf(rule, sizeof(rule), "%s:%lu:EREMOTEIO", faults_name(point), n);
	arm(rule);
	r = operation->run(&scene);
	fired = faults_fired() == 1;
	arm("");
	if (!fired)
		assert_int_equal(r, 0);
	scene_check(&scene);
	now = scene_picture(&scene);
	/* Without memory it is that, whatever the reason; without the owner's bits it stays denied. */
	if (r != 0 && r != -FAULT_ERRNO && r != -ENOMEM && (r != -EACCES || point != FAULTS_WORKER_LIFT))
		problem(operation, rule, r, "another error");
	if (!is_right(operation, pictures, r, last, now))
		problem(operation, rule, r, now);
	if (r < 0) {
		r = operation->run(&scene);
		if (r != 0)
			problem(operation, rule, r, "at the second try");
		scene_check(&scene);
		again = scene_picture(&scene);
		if (strcmp(again, pictures->after) != 0)
			problem(operation, rule, r, again);
	}
	scene_end(&scene);
	return fired;
}

/* Runs it without a fault. What the tree is after it; before it in *ret_before; how often each point was passed. */
static char *run_once(const struct scene_operation *operation, char **ret_before, unsigned long passed[FAULTS_COUNT])
{
	struct scene scene;
	char *after;
	int r;

	scene_begin(&scene);
	scene.raw->host_error = FAULT_ERRNO;
	*ret_before = scene_picture(&scene);
	arm("");
	r = operation->run(&scene);
	if (r != 0)
		fail_msg("%s without a fault: %d", operation->name, r);
	for (unsigned i = 0; i < FAULTS_COUNT; i++)
		passed[i] = faults_passed(i);
	scene_check(&scene);
	after = scene_picture(&scene);
	scene_end(&scene);
	return after;
}

/* Returns how many faults there were. */
static unsigned sweep(const struct scene_operation *operation)
{
	unsigned long passed[FAULTS_COUNT];
	struct pictures pictures;
	unsigned faults = 0;

	pictures.stripped = run_once(&scene_strip, &pictures.before, passed);
	free(pictures.before);
	pictures.after = run_once(operation, &pictures.before, passed);
	for (unsigned i = 0; i < FAULTS_COUNT; i++)
		for (unsigned long n = 1; is_worker(i) && n <= passed[i]; n++)
			faults += try_fault(operation, i, n, passed[i], &pictures) ? 1 : 0;
	free(pictures.before);
	free(pictures.after);
	free(pictures.stripped);
	return faults;
}

static void sweep_all(const struct scene_setting *wanted)
{
	unsigned faults = 0;

	scene_setting = *wanted;
	problems = 0;
	for (size_t i = 0; i < scene_operations_count; i++)
		faults += sweep(&scene_operations[i]);
	print_message("# %u faults in %zu operations\n", faults, scene_operations_count);
	assert_true(faults > 4 * scene_operations_count);
	assert_int_equal(problems, 0);
}

static void no_fault_leaves_anything_half_done(void **state)
{
	sweep_all(&(struct scene_setting){ .user = geteuid(), .file = 0755, .directory = 0755 });
}

static void nor_where_real_owners_are_shown(void **state)
{
	sweep_all(&(struct scene_setting){
	        .flags = PROTO_HELLO_OWNER_HOST, .user = geteuid(), .file = 0755, .directory = 0755 });
}

static void nor_where_the_owners_own_bits_are_in_the_way(void **state)
{
	if (geteuid() != 0)
		skip(); /* the host's tree could not be looked at */
	sweep_all(&(struct scene_setting){ .user = ORDINARY_USER, .file = 0111, .directory = 0 });
}

/* An operation by its name, with a rule that it gets over. */
static void succeeds(const char *name, const char *rule)
{
	struct scene scene;
	int r = -ENOSYS;

	scene_setting = (struct scene_setting){ .user = geteuid(), .file = 0755, .directory = 0755 };
	scene_begin(&scene);
	scene.raw->host_error = FAULT_ERRNO;
	/* The record of what was looked at longer than a tick ago is not read again, unless it has changed since. */
	assert_int_equal(utimensat(scene.share->host, "other", NULL, 0), 0);
	arm(rule);
	for (size_t i = 0; i < scene_operations_count; i++)
		if (strcmp(scene_operations[i].name, name) == 0)
			r = scene_operations[i].run(&scene);
	if (r != 0 || faults_fired() == 0)
		fail_msg("%s with %s: %d, %u faults", name, rule, r, faults_fired());
	arm("");
	scene_check(&scene);
	scene_end(&scene);
}

static void a_call_that_a_signal_interrupts_is_made_again(void **state)
{
	succeeds("read_data", "worker.read:1:EINTR");
	succeeds("write_data", "worker.write:1:EINTR");
	succeeds("copy", "worker.copy:1:EINTR");
	succeeds("set_size", "worker.truncate:1:EINTR");
	succeeds("open_file", "worker.reopen:1:EINTR");
	/* EAGAIN: a rename came in between. */
	succeeds("look_up_directory", "worker.open:1:EINTR,worker.open:2:EAGAIN");
	succeeds("get_attributes", "channel.receive:1+:short=3,channel.receive:2:EINTR,channel.send:1:EINTR");
}

static void short_calls_are_completed(void **state)
{
	succeeds("read_data", "worker.read:1+:short=2,channel.send:1+:short=5,channel.receive:1+:short=1");
	succeeds("write_data", "worker.write:1+:short=1,channel.receive:1+:short=2");
}

static void a_removed_directory_is_empty(void **state)
{
	succeeds("list", "worker.list:1:ENOENT");
}

/* Kernels before 6.13 have no calls by directory and name. The last test: the worker asks for them no more. */
static void records_are_read_without_the_calls_by_name(void **state)
{
	succeeds("look_up_file", "worker.listxattr:1:ENOSYS");
	no_fault_leaves_anything_half_done(state);
	nor_where_the_owners_own_bits_are_in_the_way(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_fault_leaves_anything_half_done),
		cmocka_unit_test(nor_where_real_owners_are_shown),
		cmocka_unit_test(nor_where_the_owners_own_bits_are_in_the_way),
		cmocka_unit_test(a_call_that_a_signal_interrupts_is_made_again),
		cmocka_unit_test(short_calls_are_completed),
		cmocka_unit_test(a_removed_directory_is_empty),
		cmocka_unit_test(records_are_read_without_the_calls_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
