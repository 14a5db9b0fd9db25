/*
 * batch_calls.c
 *	  Which function calls may be predicted in batches.
 *
 * A function is known by its C symbol, so that renaming or moving it changes
 * nothing; what has been looked up is kept by OID until pg_proc changes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "batch.h"
#include "batch_walk.h"

typedef struct KnownFunction
{
	Oid oid; /* the key */
	NeuralCallKind kind;
} KnownFunction;

static const struct
{
	const char *symbol;
	NeuralCallKind kind;
} family[] = {
	{"neural_predict", NEURAL_CALL_TABLE},
	{"neural_classify", NEURAL_CALL_TABLE},
	{"neural_predict_proba", NEURAL_CALL_TABLE},
	{"neural_predict_proba_label", NEURAL_CALL_TABLE},
	{"neural_predict_as", NEURAL_CALL_CAST},
	{"neural_predict_all", NEURAL_CALL_TABLE},
	{"neural_embed", NEURAL_CALL_TABLE},
	{"neural_predict_array", NEURAL_CALL_ARRAY},
	{"neural_predict_with", NEURAL_CALL_VALUE},
	{"neural_classify_with", NEURAL_CALL_VALUE},
	{"neural_predict_proba_with", NEURAL_CALL_VALUE},
};

static HTAB *known = NULL;
static bool known_stale = false;

static void
functions_changed(Datum arg, int cache, uint32 hash)
{
	known_stale = true;
}

static NeuralCallKind
look_up(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	NeuralCallKind kind = NEURAL_CALL_NONE;
	Form_pg_proc form;

	if (!HeapTupleIsValid(tuple))
		return NEURAL_CALL_NONE;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	/* one with settings of its own is called by another, which has its state */
	if (form->prolang == ClanguageId && !form->proretset && !form->prosecdef &&
		heap_attisnull(tuple, Anum_pg_proc_proconfig, NULL))
	{
		bool no_symbol, no_library;
		Datum symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc,
									   &no_symbol),
			  library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin,
										&no_library);

		if (!no_symbol && !no_library &&
			strcmp(TextDatumGetCString(library), "$libdir/neural") == 0)
			for (int i = 0; i < (int) lengthof(family); i++)
				if (strcmp(TextDatumGetCString(symbol), family[i].symbol) == 0)
					kind = family[i].kind;
	}
	ReleaseSysCache(tuple);
	return kind;
}

NeuralCallKind
neural_call_kind(Oid function)
{
	KnownFunction *f;
	NeuralCallKind kind;

	if (function < FirstNormalObjectId)
		return NEURAL_CALL_NONE;
	if (known == NULL)
	{
		HASHCTL ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(KnownFunction);
		known =
			hash_create("neural functions", 64, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterSyscacheCallback(PROCOID, functions_changed, (Datum) 0);
	}
	if (known_stale)
	{
		HASH_SEQ_STATUS scan;

		hash_seq_init(&scan, known);
		while ((f = hash_seq_search(&scan)) != NULL)
			hash_search(known, &f->oid, HASH_REMOVE, NULL);
		known_stale = false;
	}
	f = hash_search(known, &function, HASH_FIND, NULL);
	if (f != NULL)
		return f->kind;
	kind = look_up(function);
	f = hash_search(known, &function, HASH_ENTER, NULL);
	f->kind = kind;
	return kind;
}

/* The same for every row of a scan. */
static bool
is_fixed(Node *node)
{
	if (IsA(node, RelabelType))
		return is_fixed((Node *) ((RelabelType *) node)->arg);
	/* if that fails, it does for the first row, whose call is made */
	if (IsA(node, CoerceToDomain))
		return is_fixed((Node *) ((CoerceToDomain *) node)->arg);
	return IsA(node, Const) || IsA(node, Param);
}

static bool
is_safe_function(Oid function)
{
	return OidIsValid(function) && get_func_leakproof(function) &&
		   func_volatile(function) != PROVOLATILE_VOLATILE &&
		   !get_func_retset(function);
}

/* Expressions of which each part may stand; what is not here might fail. */
static bool
may_fail_walker(Node *node, void *unused)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_Param:
		case T_CaseTestExpr:
			return false;
		case T_List:
		case T_TargetEntry:
		case T_RelabelType:
		case T_RowExpr:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CoalesceExpr:
			break;
		case T_ArrayExpr:
			if (((ArrayExpr *) node)->multidims)
				return true;
			break;
		case T_FuncExpr:
			if (!is_safe_function(((FuncExpr *) node)->funcid))
				return true;
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			set_opfuncid((OpExpr *) node);
			if (!is_safe_function(((OpExpr *) node)->opfuncid))
				return true;
			break;
		case T_ScalarArrayOpExpr:
			set_sa_opfuncid((ScalarArrayOpExpr *) node);
			if (!is_safe_function(((ScalarArrayOpExpr *) node)->opfuncid))
				return true;
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, may_fail_walker, NULL);
}

bool
neural_cannot_fail(Node *node)
{
	return !may_fail_walker(node, NULL);
}

bool
neural_has_exec_param(Node *node)
{
	List *params = NIL;

	neural_collect_params(node, &params);
	return params != NIL;
}

/* What the server brings along tells nobody that it was called. */
static bool
may_tell(Oid function, void *context)
{
	return function >= FirstNormalObjectId ||
		   func_volatile(function) == PROVOLATILE_VOLATILE;
}

/* Types of others are compared and converted by their functions. */
static bool
is_own_type(Oid type)
{
	Oid element = get_element_type(type);

	return (OidIsValid(element) ? element : type) < FirstNormalObjectId;
}

/*
 * What the server brings along calls others' functions for values of others'
 * types: to_jsonb a cast, jsonb_populate_record the checks of a domain.
 */
static bool
is_others_value(Node *node)
{
	Oid type = exprType(node);

	return type == RECORDOID || type == RECORDARRAYOID || !is_own_type(type);
}

static bool
has_others_value(Node *node, List *args)
{
	ListCell *cell;

	if (is_others_value(node))
		return true;
	foreach (cell, args)
		if (is_others_value(lfirst(cell)))
			return true;
	return false;
}

static bool
may_tell_walker(Node *node, void *unused)
{
	if (node == NULL)
		return false;
	if (neural_is_json(node))
		return true;
	switch (nodeTag(node))
	{
		case T_CoerceToDomain:
		case T_SubPlan:
		case T_AlternativeSubPlan:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
			return true;
		case T_FuncExpr:
			if (((FuncExpr *) node)->funcretset ||
				has_others_value(node, ((FuncExpr *) node)->args))
				return true;
			break;
		case T_ArrayCoerceExpr:
		case T_CoerceViaIO:
		case T_MinMaxExpr:
		case T_XmlExpr:
			if (!is_own_type(exprType(node)))
				return true;
			break;
		default:
			break;
	}
	return check_functions_in_node(node, may_tell, NULL) ||
		   expression_tree_walker(node, may_tell_walker, NULL);
}

/*
 * Rows are read ahead of their turn, so what makes them must not be noticed;
 * an error is put off until the turn comes.  The other arguments must be those
 * of every row.
 */
bool
neural_is_batch_call(Node *node)
{
	FuncExpr *f = (FuncExpr *) node;
	NeuralCallKind kind;

	if (node == NULL || !IsA(node, FuncExpr) || list_length(f->args) < 2)
		return false;
	kind = neural_call_kind(f->funcid);
	if (kind == NEURAL_CALL_NONE)
		return false;
	for (int i = 0; i < list_length(f->args); i++)
	{
		Node *arg = list_nth(f->args, i);

		if (i == 1)
		{
			if (!contain_var_clause(arg) ||
				(!neural_cannot_fail(arg) && may_tell_walker(arg, NULL)))
				return false;
		}
		else if (!is_fixed(arg) &&
				 !(i == 0 && kind == NEURAL_CALL_VALUE && IsA(arg, Var)))
			return false;
	}
	return true;
}

static bool
has_call_walker(Node *node, void *unused)
{
	if (node == NULL)
		return false;
	if (neural_is_batch_call(node))
		return true;
	return expression_tree_walker(node, has_call_walker, NULL);
}

bool
neural_has_batch_call(Node *node)
{
	return has_call_walker(node, NULL);
}
