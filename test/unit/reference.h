/*
 * reference.h
 *	  Numbers and files that the scripts in test/reference share with tests.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "check.h"

/* Between -1 and 1, without visible order; formula.py has the same. */
__attribute__((unused)) static double
phase(double a, int i)
{
	return sin(a + 0.73 * i + 0.011 * i * i);
}

/* Open a file of test/reference: argv[1], or from the directory of tests. */
__attribute__((unused)) static FILE *
reference_open(int argc, char **argv, const char *name)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "reference/%s", name);
	f = fopen(argc > 1 ? argv[1] : path, "r");
	if (f == NULL)
		check(false, "cannot open %s", argc > 1 ? argv[1] : path);
	return f;
}

/* Whether two numbers agree, relative to their size or to 1. */
__attribute__((unused)) static bool
near(double a, double b, double tolerance)
{
	if (isnan(a) || isnan(b))
		return isnan(a) && isnan(b);
	return fabs(a - b) <= tolerance * fmax(1, fmax(fabs(a), fabs(b)));
}

#endif /* REFERENCE_H */
