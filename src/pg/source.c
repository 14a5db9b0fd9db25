/*
 * source.c
 *	  The rows that a training or an evaluation reads.
 *
 * The order of the rows decides the result of a training, so they are read
 * without parallel workers and without synchronized scans: the same table
 * gives the same model.
 */
#include "source.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "cells.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/varlena.h"

/* Hands rows to a NeuralRowCallback. */
typedef struct RowReceiver
{
	DestReceiver pub;
	NeuralRowCallback row;
	void *arg;
	MemoryContext context; /* of what one row needs */
} RowReceiver;

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

/* Whether there is a FOR UPDATE, in a subquery or a rewritten view perhaps. */
static bool
locks_rows(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, locks_rows, context);
	return ((Query *) node)->rowMarks != NIL ||
		   query_tree_walker((Query *) node, locks_rows, context, 0);
}

static void
only_reads(void)
{
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
	if (query->hasModifyingCTE || locks_rows((Node *) query, NULL))
		only_reads();
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

/*
 * --- reading ---
 */

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *r = (RowReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	slot_getallattrs(slot);
	r->row(r->arg, slot->tts_values, slot->tts_isnull);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->context);
	return true;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receiver_nothing(DestReceiver *self)
{
}

static void
init_receiver(RowReceiver *r, NeuralRowCallback row, void *arg)
{
	memset(r, 0, sizeof(*r));
	r->pub.receiveSlot = receive_row;
	r->pub.rStartup = receiver_startup;
	r->pub.rShutdown = receiver_nothing;
	r->pub.rDestroy = receiver_nothing;
	r->pub.mydest = DestTuplestore;
	r->row = row;
	r->arg = arg;
	r->context = AllocSetContextCreate(CurrentMemoryContext, "neural row",
									   ALLOCSET_DEFAULT_SIZES);
}

/* Rows held already: bring the wanted columns into order. */
static void
run_rows(const NeuralSource *s, List *columns, RowReceiver *r)
{
	TupleTableSlot *slot =
		MakeSingleTupleTableSlot(s->desc, &TTSOpsMinimalTuple);
	int n = list_length(columns);
	Datum *values = palloc(n * sizeof(Datum));
	bool *nulls = palloc(n * sizeof(bool));

	tuplestore_rescan(s->rows);
	while (tuplestore_gettupleslot(s->rows, true, false, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(r->context);
		ListCell *lc;
		int i = 0;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		foreach (lc, columns)
		{
			values[i] = slot->tts_values[lfirst_int(lc) - 1];
			nulls[i++] = slot->tts_isnull[lfirst_int(lc) - 1];
		}
		r->row(r->arg, values, nulls);
		MemoryContextSwitchTo(old);
		MemoryContextReset(r->context);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* The relation that was locked must be the one that was planned. */
static void
check_planned(const NeuralSource *s, SPIPlanPtr plan)
{
	bool found = !OidIsValid(s->relid);
	ListCell *lc;

	foreach (lc, SPI_plan_get_plan_sources(plan))
	{
		CachedPlanSource *source = lfirst(lc);

		if (locks_rows((Node *) source->query_list, NULL))
			only_reads();
		found |= list_member_oid(source->relationOids, s->relid);
	}
	if (found)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" was replaced while it was being read", s->text)));
}

static void
run_query(const NeuralSource *s, const char *sql, DestReceiver *dest)
{
	SPIExecuteOptions options;
	SPIPlanPtr plan;
	int nest_level = NewGUCNestLevel();

	(void) set_config_option("synchronize_seqscans", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	plan = SPI_prepare(sql, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	check_planned(s, plan);
	memset(&options, 0, sizeof(options));
	options.read_only = true;
	options.dest = dest;
	/* SPI_OK_UTILITY, as the rows do not go to SPI */
	if (SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "SPI_execute_plan_extended failed: %s",
			 SPI_result_code_string(SPI_result));
	AtEOXact_GUC(true, nest_level);
}

void
neural_source_run(const NeuralSource *s, List *columns, NeuralRowCallback row,
				  void *arg)
{
	RowReceiver receiver;
	StringInfoData sql;
	ListCell *lc;

	init_receiver(&receiver, row, arg);
	if (s->rows != NULL)
		run_rows(s, columns, &receiver);
	else
	{
		initStringInfo(&sql);
		appendStringInfoString(&sql, "SELECT");
		foreach (lc, columns)
		{
			Form_pg_attribute a = TupleDescAttr(s->desc, lfirst_int(lc) - 1);

			appendStringInfo(&sql, "%s%s",
							 foreach_current_index(lc) > 0 ? ", " : " ",
							 quote_identifier(NameStr(a->attname)));
		}
		appendStringInfo(&sql, " FROM %s", s->from);
		SPI_connect();
		run_query(s, sql.data, &receiver.pub);
		SPI_finish();
	}
	MemoryContextDelete(receiver.context);
}

/*
 * --- the length of an array column ---
 */

typedef struct FirstLength
{
	Oid type;
	int length; /* -1: there was no row */
} FirstLength;

static void
note_length(void *arg, const Datum *values, const bool *nulls)
{
	FirstLength *first = arg;

	first->length = Max(first->length, 0);
	if (first->length == 0 && !nulls[0])
		first->length = neural_cell_length(first->type, values[0]);
}

int
neural_source_length(const NeuralSource *s, int column)
{
	Form_pg_attribute a = TupleDescAttr(s->desc, column - 1);
	FirstLength first = {a->atttypid, -1};
	RowReceiver receiver;
	bool array = OidIsValid(get_element_type(getBaseType(a->atttypid)));

	init_receiver(&receiver, note_length, &first);
	if (s->rows != NULL)
		run_rows(s, list_make1_int(column), &receiver);
	else
	{
		const char *name = quote_identifier(NameStr(a->attname));

		SPI_connect();
		run_query(
			s,
			psprintf("SELECT %s FROM %s WHERE %s%s%s LIMIT 1", name, s->from,
					 array ? "pg_catalog.cardinality(" : "", name,
					 array ? ") OPERATOR(pg_catalog.>) 0" : " IS NOT NULL"),
			&receiver.pub);
		/* no elements, or no rows at all */
		if (first.length < 0)
			run_query(s, psprintf("SELECT %s FROM %s LIMIT 1", name, s->from),
					  &receiver.pub);
		SPI_finish();
	}
	MemoryContextDelete(receiver.context);
	return first.length;
}
