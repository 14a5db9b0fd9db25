/*
 * settings.c
 *	  The settings of a session that decide what a training does.
 *
 * search_path is kept as the schemas that it stands for now: "$user" would be
 * somebody else later, and a schema that does not exist yet could be made by
 * anybody.  The temporary schema comes last, explicitly, so that nothing in it
 * can take the place of a table.
 */
#include "settings.h"

#include "catalog/namespace.h"
#include "json.h"
#include "lib/stringinfo.h"
#include "training.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

static const char *const names[] = {"TimeZone", "DateStyle", "IntervalStyle",
									"neural.train_seconds"};

static const char *
search_path_text(void)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, fetch_search_path(false))
	{
		const char *name = get_namespace_name(lfirst_oid(lc));

		if (name != NULL && !isAnyTempNamespace(lfirst_oid(lc)))
			appendStringInfo(&s, "%s, ", quote_identifier(name));
	}
	appendStringInfoString(&s, "pg_temp");
	return s.data;
}

const char *
neural_settings_json(void)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	neural_append_text(&s, "search_path", search_path_text());
	for (int i = 0; i < (int) lengthof(names); i++)
		neural_append_text(&s, names[i],
						   GetConfigOption(names[i], false, false));
	appendStringInfoChar(&s, '}');
	return s.data;
}

static void
apply(Jsonb *settings, const char *name)
{
	JsonbValue *value = neural_json_member(settings, name);

	if (value == NULL || value->type != jbvString)
		return;
	(void) set_config_option(
		name, pnstrdup(value->val.string.val, value->val.string.len),
		PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
neural_settings_apply(Jsonb *settings)
{
	if (settings == NULL || !JB_ROOT_IS_OBJECT(settings))
		return;
	apply(settings, "search_path");
	for (int i = 0; i < (int) lengthof(names); i++)
		apply(settings, names[i]);
}
