/* SPDX-License-Identifier: Apache-2.0 */
/* When a thread looks before it sleeps. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "protocol/spin.h"

static int cpus(void)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	return CPU_COUNT(&set);
}

static void need_two_cpus(void)
{
	if (cpus() < 2) {
		print_message("needs two CPUs\n");
		skip();
	}
}

/* How many waits are slept through until the next one is looked through. */
static unsigned slept(struct proto_spin *spin)
{
	unsigned count = 0;

	while (!proto_spin_begin(spin, 0))
		count++;
	return count;
}

static void a_wait_in_vain_makes_the_next_ones_sleep(void **state)
{
	struct proto_spin spin = { 0 };

	need_two_cpus();
	for (unsigned expected = 0; expected < PROTO_SPIN_PAUSE_MAX; expected = expected == 0 ? 1 : expected * 2) {
		assert_int_equal(slept(&spin), expected);
		proto_spin_end(&spin, false);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(slept(&spin), PROTO_SPIN_PAUSE_MAX);
		proto_spin_end(&spin, false);
	}
	for (unsigned expected = PROTO_SPIN_PAUSE_MAX; expected > 0; expected /= 2) {
		assert_int_equal(slept(&spin), expected);
		proto_spin_end(&spin, true);
	}
	assert_int_equal(slept(&spin), 0);
	proto_spin_end(&spin, true);
}

static void looking_ends(void **state)
{
	struct proto_spin spin = { 0 };

	need_two_cpus();
	assert_true(proto_spin_begin(&spin, 0));
	while (proto_spin_again(&spin))
		;
	proto_spin_end(&spin, false);
}

static void nobody_looks_while_others_are_at_work(void **state)
{
	struct proto_spin spin = { 0 };

	need_two_cpus();
	assert_false(proto_spin_begin(&spin, 1));
	assert_true(proto_spin_begin(&spin, 0));
	proto_spin_end(&spin, true);
}

static void half_the_cpus_are_left_alone(void **state)
{
	struct proto_spin spin = { 0 };
	int most = cpus() / 2;

	need_two_cpus();
	for (int i = 0; i < most; i++)
		assert_true(proto_spin_begin(&spin, 0));
	assert_false(proto_spin_begin(&spin, 0));
	for (int i = 0; i < most; i++)
		proto_spin_end(&spin, true);
	assert_true(proto_spin_begin(&spin, 0));
	proto_spin_end(&spin, true);
}

/* In a process of its own, since CPUs are counted once. */
static void nobody_looks_on_a_single_cpu(void **state)
{
	struct proto_spin spin = { 0 };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		cpu_set_t set, one;

		CPU_ZERO(&one);
		if (sched_getaffinity(0, sizeof(set), &set) < 0)
			_exit(2);
		for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
			if (CPU_ISSET(i, &set))
				CPU_SET(i, &one);
		if (sched_setaffinity(0, sizeof(one), &one) < 0)
			_exit(2);
		_exit(proto_spin_begin(&spin, 0) ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: it must not find the CPUs counted. */
		cmocka_unit_test(nobody_looks_on_a_single_cpu),
		cmocka_unit_test(a_wait_in_vain_makes_the_next_ones_sleep),
		cmocka_unit_test(looking_ends),
		cmocka_unit_test(nobody_looks_while_others_are_at_work),
		cmocka_unit_test(half_the_cpus_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
