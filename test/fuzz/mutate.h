/*
 * mutate.h
 *	  Random changes to texts of the little language.
 *
 * A program fills seeds[] with texts that are right, then asks for texts that
 * are nearly so.
 */
#ifndef MUTATE_H
#define MUTATE_H

#include "../unit/check.h"

#define MAX_SEEDS 1024
#define MAX_TEXT  512

static const char *const pieces[] = {
	"(",  ")",	"[",	"]",		",",	  ";",		 ":",
	"=",  "->", "-1",	"0",		"1e9",	  "1048576", "0.5",
	"a",  "b",	"relu", "dense(3)", "add(a)", "input",	 "true",
	"\"", "'",	"\n",	"\xC3\xA9", "((",	  "_"};

#define NPIECES (sizeof(pieces) / sizeof(pieces[0]))

static const char *seeds[MAX_SEEDS];
static uint32_t nseeds;

__attribute__((unused)) static void
add_seeds(const char *const *texts)
{
	for (; texts != NULL && *texts != NULL && nseeds < MAX_SEEDS; texts++)
		seeds[nseeds++] = *texts;
}

__attribute__((unused)) static void
append(char *text, const char *from, size_t n)
{
	size_t at = strlen(text), room = MAX_TEXT - 1 - at;

	n = strnlen(from, n < room ? n : room);
	memcpy(text + at, from, n);
	text[at + n] = '\0';
}

/* Whole numbers below a limit, one after the other. */
typedef struct dice
{
	nn_key key;
	uint64_t thrown;
} dice;

static uint32_t
throw_dice(dice *d, size_t limit)
{
	return nn_random_below(d->key, d->thrown++, (uint32_t) limit);
}

/* A seed with a piece replaced, inserted, removed, or taken from another. */
__attribute__((unused)) static void
mutate(nn_key key, char *text)
{
	dice d = {key, 0};
	char old[MAX_TEXT];

	text[0] = '\0';
	old[0] = '\0';
	append(text, seeds[throw_dice(&d, nseeds)], MAX_TEXT);
	for (uint32_t times = 1 + throw_dice(&d, 4); times > 0; times--)
	{
		size_t len = strlen(text), cut = throw_dice(&d, len + 1),
			   most = throw_dice(&d, 2) == 0 ? 2 : len - cut + 1,
			   end = cut + throw_dice(&d, most);
		const char *piece = pieces[throw_dice(&d, NPIECES)];

		if (end > len)
			end = len;
		memcpy(old, text, len + 1);
		text[cut] = '\0';
		switch (throw_dice(&d, 4))
		{
			case 0:
				append(text, piece, strlen(piece));
				break;
			case 1:
				piece = seeds[throw_dice(&d, nseeds)];
				append(text, piece, throw_dice(&d, strlen(piece) + 1));
				break;
			case 2:
				append(text, old + cut, end - cut);
				append(text, old + cut, end - cut);
				break;
			default:
				break;
		}
		append(text, old + end, len - end);
	}
}

#endif /* MUTATE_H */
