/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Deltas that devices submit, to be merged later.
 *
 * The device asks for the answer some time later, or never; and may push or
 * submit the same again meanwhile.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

void
submit(Device *device)
{
	long long	first;
	long long	last;
	char	   *delta = device_delta(device, chance(50) ? 1 + below(4) : 1000, &first, &last);
	Rows	   *rows;

	if (delta == NULL || device->is_revoked || sim.nsubmissions == 64)
		return;
	note("device %d submits %lld to %lld: %s", device->n, first, last, delta);
	count("submit");
	rows = ask(sim.client, 1, "SELECT sync_submit_delta($1)", delta);
	if (rows == NULL)
	{
		call_failed("submit");
		return;
	}
	sim.submissions[sim.nsubmissions++] = (Submission) {device, VALUE(rows, 0, 0), first, last};
}

/* Ask for an answer.  It counts only if nothing else has settled these changes. */
void
fetch_submission(void)
{
	int			i;
	Submission	s;
	Rows	   *answer;

	if (sim.nsubmissions == 0)
		return;
	i = below(sim.nsubmissions);
	s = sim.submissions[i];
	if (s.device->is_waiting)
		return;
	answer = ask(sim.client, 1, "SELECT status, acked_seq, outcomes, corrections, hlc FROM sync_submission($1)", s.id);
	if (answer == NULL && strcmp(error_state, "42704") == 0 && s.device->answered >= s.last)
	{
		note("the answer to %lld to %lld is gone, since device %d has acknowledged it", s.first, s.last, s.device->n);
		sim.submissions[i] = sim.submissions[--sim.nsubmissions];
		return;
	}
	if (answer == NULL)
	{
		call_failed("submission");
		return;
	}
	note("device %d asks for the answer to %lld to %lld: %s, %s, corrections %s", s.device->n, s.first, s.last,
		 VALUE(answer, 0, 0), VALUE(answer, 0, 2), VALUE(answer, 0, 3));
	if (strcmp(VALUE(answer, 0, 0), "pending") == 0)
		return;
	if (s.device->settled + 1 == s.first)
		device_answer(s.device, s.first, s.last, answer);
	sim.submissions[i] = sim.submissions[--sim.nsubmissions];
}

void
forget_submissions(const Device *device)
{
	int			n = 0;

	for (int i = 0; i < sim.nsubmissions; i++)
	{
		if (sim.submissions[i].device != device)
			sim.submissions[n++] = sim.submissions[i];
	}
	sim.nsubmissions = n;
}

/* Merge what was submitted, one delta at a time; at most so many. */
void
process_queue(int max)
{
	while (max-- > 0)
	{
		long long	begun_ms = wall_ms();
		Rows	   *rows = ask(control, 0, "SELECT processed, failed FROM sync_process_queue(1)");

		sim.moment++;
		if (rows == NULL)
		{
			call_failed("process queue");
			return;
		}
		note("the queue is processed: %s merged, %s failed", VALUE(rows, 0, 0), VALUE(rows, 0, 1));
		if (atoi(VALUE(rows, 0, 1)) > 0)
			count("submission fails");
		if (atoi(VALUE(rows, 0, 0)) == 0)
			return;
		count("submission merged");
		for (int d = 0; d < sim.ndevices; d++)
			learn_stored(sim.devices[d], begun_ms);
	}
}

bool
has_submitted(const Device *device)
{
	return must(control, form("SELECT 1 FROM offline_sync.queue WHERE device = %s AND state <> 'answered'", quote(device->id)))->n > 0;
}
