/*
 * job.h
 *	  Trainings in the background.
 *
 * A job is a row of neural.job and a background worker.  The worker connects
 * as the role that asked for it, waits until the transaction that did so has
 * ended, and finds the row or, after a rollback, does not.
 *
 * Who works is told by locks, not by the row, because locks end with the
 * process.  Each job has one, held by its worker from its start to its end.
 * Each of the neural.max_workers places that there are in the cluster has one:
 * the session that asks takes it until its transaction ends, which is what the
 * worker waits for, and then the worker has it.
 */
#ifndef NEURAL_JOB_H
#define NEURAL_JOB_H

#include "neural.h"

#include "storage/lock.h"

/* What a worker is given; must fit into bgw_extra. */
typedef struct NeuralJobStart
{
	Oid database, role;
	int place;
	int64 job;
} NeuralJobStart;

/*
 * Advisory locks of numbers that SQL cannot name: pg_advisory_lock knows the
 * classes 1 and 2.
 */
extern void neural_job_tag(LOCKTAG *tag, int64 job);
extern void neural_place_tag(LOCKTAG *tag, int place);

/*
 * neural_sql_begin for statements on neural.job, which row security guards
 * even where the role has turned it off.
 */
extern int neural_job_sql_begin(void);

/* The background worker; found by its name. */
extern PGDLLEXPORT void neural_job_main(Datum arg);

#endif /* NEURAL_JOB_H */
