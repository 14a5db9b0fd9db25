/*
 * compat.h
 *	  The only file that looks at PG_VERSION_NUM.
 */
#ifndef NEURAL_COMPAT_H
#define NEURAL_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "neural needs PostgreSQL 15 or later"
#endif

/*
 * Only what the server looks up by name is visible outside of the library.
 * Before 16 neither PGDLLEXPORT nor PG_FUNCTION_INFO_V1 knew of that.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#include "fmgr.h"
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname)                                          \
	extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS);                       \
	extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_,             \
														funcname)(void);       \
	const Pg_finfo_record *CppConcat(pg_finfo_, funcname)(void)                \
	{                                                                          \
		static const Pg_finfo_record my_finfo = {1};                           \
		return &my_finfo;                                                      \
	}                                                                          \
	extern int no_such_variable
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"

#define pg_namespace_aclcheck(oid, role, mode)                                 \
	object_aclcheck(NamespaceRelationId, (oid), (role), (mode))
#define pg_class_ownercheck(oid, role)                                         \
	object_ownercheck(RelationRelationId, (oid), (role))
#define neural_name_list(text) stringToQualifiedNameList((text), NULL)
#else
#define neural_name_list(text) stringToQualifiedNameList(text)
#endif

/* Since 18 a query that runs to its end does not say so beforehand. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"

#define pg_attribute_noreturn() __attribute__((noreturn))
#define NEURAL_RUN_ONCE_PARAM
#define NEURAL_RUN_ONCE
#define neural_executor_run(query, direction, count)                           \
	ExecutorRun((query), (direction), (count))
#else
#define NEURAL_RUN_ONCE_PARAM , bool execute_once
#define NEURAL_RUN_ONCE		  , execute_once
#define neural_executor_run(query, direction, count)                           \
	ExecutorRun((query), (direction), (count), true)
#endif

#if PG_VERSION_NUM >= 170000
#define neural_lxid() (MyProc->vxid.lxid)
#else
#define neural_lxid() (MyProc->lxid)
#endif

/* What makes JSON and takes it apart is no function any more. */
#if PG_VERSION_NUM >= 170000
#define neural_is_json(node)                                                   \
	(IsA((node), JsonConstructorExpr) || IsA((node), JsonExpr))
#elif PG_VERSION_NUM >= 160000
#define neural_is_json(node) IsA((node), JsonConstructorExpr)
#else
#define neural_is_json(node) false
#endif

#endif /* NEURAL_COMPAT_H */
