/*
 * error.c
 *	  How the engine reports failure.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

/*
 * Format into a buffer of fixed size.  A message that is too long is cut
 * before a character of UTF-8, not within one: the server would reject that.
 */
__attribute__((format(printf, 3, 0))) static void
format(char *buf, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(buf, size, fmt, ap);
	size_t end;

	if (n < 0)
		buf[0] = '\0';
	if (n < 0 || (size_t) n < size)
		return;
	end = size - 1;
	while (end > 0 && ((unsigned char) buf[end - 1] & 0xC0) == 0x80)
		end--;
	if (end > 0 && (unsigned char) buf[end - 1] >= 0xC0)
		end--;
	else
		end = size - 1;
	buf[end] = '\0';
}

bool
nn_fail_at(nn_error *err, const char *file, int line, const char *func,
		   nn_code code, const char *fmt, ...)
{
	va_list ap;

	err->code = code;
	err->file = file;
	err->line = line;
	err->func = func;
	err->detail[0] = '\0';
	err->hint[0] = '\0';
	va_start(ap, fmt);
	format(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return false;
}

bool
nn_detail(nn_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(err->detail, sizeof(err->detail), fmt, ap);
	va_end(ap);
	return false;
}

bool
nn_hint(nn_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(err->hint, sizeof(err->hint), fmt, ap);
	va_end(ap);
	return false;
}

/* A name without case and underscores; returns its length, cut at size. */
static int
fold(const char *name, char *out, int size)
{
	int n = 0;

	for (; *name != '\0' && n < size; name++)
	{
		if (*name == '_')
			continue;
		out[n++] = *name >= 'A' && *name <= 'Z' ? *name + 'a' - 'A' : *name;
	}
	return n;
}

/*
 * Edit distance where swapping two neighbours is one edit, as it is the most
 * frequent slip of the finger.
 */
static int
distance(const char *a, int na, const char *b, int nb)
{
	int d[NN_NAME_SIZE + 1][NN_NAME_SIZE + 1];

	for (int i = 0; i <= na; i++)
		d[i][0] = i;
	for (int j = 0; j <= nb; j++)
		d[0][j] = j;
	for (int i = 1; i <= na; i++)
		for (int j = 1; j <= nb; j++)
		{
			int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
				a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[na][nb];
}

const char *
nn_did_you_mean(const char *name, const char *const *list)
{
	char a[NN_NAME_SIZE];
	int na = fold(name, a, sizeof(a));
	int nearest = 1 + na / 4; /* more than this is another word */
	const char *found = NULL;

	for (; *list != NULL; list++)
	{
		char b[NN_NAME_SIZE];
		int nb = fold(*list, b, sizeof(b));
		int d = distance(a, na, b, nb);

		if (d < na && (found == NULL ? d <= nearest : d < nearest))
		{
			nearest = d;
			found = *list;
		}
	}
	return found;
}
