/*
 * source.c
 *	  What a training or an evaluation reads: looking it up, checking it.
 */
#include "source.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/varlena.h"

/*
 * --- opening ---
 */

/* Whether the text begins as a query does, rather than as a name. */
static bool
looks_like_query(const char *s)
{
	static const char *const words[] = {"select", "with", "values", "table"};

	while (isspace((unsigned char) *s))
		s++;
	if (*s == '(' || *s == '-' || *s == '/' || *s == ';')
		return true;
	for (int i = 0; i < (int) lengthof(words); i++)
	{
		size_t n = strlen(words[i]);

		if (pg_strncasecmp(s, words[i], n) == 0 &&
			(isspace((unsigned char) s[n]) || strchr("(*'\";/-", s[n])) &&
			s[n] != '\0')
			return true;
	}
	return false;
}

/* A copy of desc without dropped columns; map[i] is the new number. */
static TupleDesc
live_columns(TupleDesc desc, int *map)
{
	TupleDesc live;
	int n = 0;

	for (int i = 0; i < desc->natts; i++)
		map[i + 1] = TupleDescAttr(desc, i)->attisdropped ? 0 : ++n;
	live = CreateTemplateTupleDesc(n);
	for (int i = 0; i < desc->natts; i++)
		if (map[i + 1] > 0)
			TupleDescCopyEntry(live, map[i + 1], desc, i + 1);
	return live;
}

static void
not_one_select(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("data must be the name of a table or view, or one SELECT "
					"statement"),
			 errhint("Put double quotes inside of the string around a name "
					 "that needs them; prepare anything else in a view.")));
}

/* Whether there are words, as in a statement, outside of quotes. */
static bool
has_words(const char *s)
{
	bool quoted = false;

	while (isspace((unsigned char) *s))
		s++;
	for (; *s != '\0'; s++)
	{
		if (*s == '"')
			quoted = !quoted;
		else if (!quoted && isspace((unsigned char) *s))
			return strspn(s, " \t\r\n") < strlen(s);
	}
	return false;
}

static void
open_relation(NeuralSource *s)
{
	RangeVar *name = makeRangeVarFromNameList(neural_name_list(s->text));
	Relation rel;
	Bitmapset *key;
	int *map;
	int i = -1;

	s->relid = RangeVarGetRelid(name, AccessShareLock, false);
	rel = relation_open(s->relid, NoLock);
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("\"%s\" is not a table or view",
								   RelationGetRelationName(rel))));
	}
	map = palloc0((rel->rd_att->natts + 1) * sizeof(int));
	s->desc = live_columns(rel->rd_att, map);
	key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	while ((i = bms_next_member(key, i)) >= 0)
	{
		int attnum = i + FirstLowInvalidHeapAttributeNumber;

		if (attnum > 0)
			s->key = bms_add_member(s->key, map[attnum]);
	}
	s->from = quote_qualified_identifier(
		get_namespace_name(RelationGetNamespace(rel)),
		RelationGetRelationName(rel));
	relation_close(rel, NoLock); /* keep the lock */
}

static void
check_names(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(NameStr(TupleDescAttr(desc, i)->attname),
					   NameStr(TupleDescAttr(desc, j)->attname)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("column \"%s\" occurs more than once in data",
								NameStr(TupleDescAttr(desc, i)->attname)),
						 errhint("Give one of them another name with AS.")));
}

/* A position in the text is not one in the statement that gave the text. */
static void
query_error(void *arg)
{
	int position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(arg);
	}
}

static bool
locks_rows(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, locks_rows, context);
	return ((Query *) node)->rowMarks != NIL ||
		   ((Query *) node)->hasModifyingCTE ||
		   query_tree_walker((Query *) node, locks_rows, context, 0);
}

void
neural_source_check_query(Node *query)
{
	if (locks_rows(query, NULL))
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("the query must only read")));
}

static void
open_query(NeuralSource *s)
{
	ErrorContextCallback callback;
	List *parsed;
	RawStmt *raw;
	Query *query;
	const char *begin;
	int len;

	callback.callback = query_error;
	callback.arg = (void *) s->text;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	parsed = raw_parser(s->text, RAW_PARSE_DEFAULT);
	if (list_length(parsed) != 1)
		not_one_select();
	raw = linitial_node(RawStmt, parsed);
	if (!IsA(raw->stmt, SelectStmt))
		not_one_select();
	/* the statement alone, without a semicolon after it */
	begin = s->text + raw->stmt_location;
	len = raw->stmt_len > 0 ? raw->stmt_len : (int) strlen(begin);
	s->from = psprintf("(%.*s\n) AS data", len, begin);

	query = parse_analyze_fixedparams(raw, s->text, NULL, 0, NULL);
	error_context_stack = callback.previous;
	if (query->commandType != CMD_SELECT || query->utilityStmt != NULL)
		not_one_select();
	neural_source_check_query((Node *) query);
	s->desc = ExecCleanTypeFromTL(query->targetList);
	check_names(s->desc);
}

NeuralSource *
neural_source_open(const char *data)
{
	NeuralSource *s = palloc0(sizeof(*s));

	s->text = pstrdup(data);
	if (looks_like_query(data))
		open_query(s);
	else if (has_words(data))
		not_one_select();
	else
		open_relation(s);
	if (s->desc->natts == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("data has no columns")));
	return s;
}

NeuralSource *
neural_source_of_rows(Tuplestorestate *rows, TupleDesc desc)
{
	NeuralSource *s = palloc0(sizeof(*s));

	s->rows = rows;
	s->desc = desc;
	return s;
}

/*
 * --- columns ---
 */

int
neural_source_column(const NeuralSource *s, const char *name)
{
	for (int i = 0; i < s->desc->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(s->desc, i);

		if (!a->attisdropped && strcmp(NameStr(a->attname), name) == 0)
			return i + 1;
	}
	return 0;
}

void
neural_source_no_column(const NeuralSource *s, const char *name)
{
	const char **names = palloc0((s->desc->natts + 1) * sizeof(char *));
	const char *near;
	int n = 0;

	for (int i = 0; i < s->desc->natts; i++)
		if (!TupleDescAttr(s->desc, i)->attisdropped)
			names[n++] = NameStr(TupleDescAttr(s->desc, i)->attname);
	near = nn_did_you_mean(name, names);
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
					errmsg("data has no column \"%s\"", name),
					near ? errhint("Did you mean \"%s\"?", near) : 0));
}
