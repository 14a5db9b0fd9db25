/*
 * train_options.c
 *	  What a training was asked for.
 *
 * Most options are lines of a table; those with a structure of their own have
 * a function each.  A name that is not in the table is an error, with the name
 * that was probably meant.
 */
#include "train_options.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/numeric.h"

typedef enum OptionType
{
	OPTION_TEXT,   /* const char * */
	OPTION_LIST,   /* List * of char * */
	OPTION_NUMBER, /* double */
	OPTION_INT,	   /* int */
	OPTION_BIGINT, /* int64 */
	OPTION_SWITCH, /* int */
	OPTION_SPECIAL /* read() */
} OptionType;

typedef struct Option
{
	const char *name;
	OptionType type;
	size_t offset;
	double min, max;
	void (*read)(NeuralTrainOptions *o, JsonbValue *v);
} Option;

static void read_target(NeuralTrainOptions *o, JsonbValue *v);
static void read_validation(NeuralTrainOptions *o, JsonbValue *v);
static void read_columns(NeuralTrainOptions *o, JsonbValue *v);
static void read_early_stopping(NeuralTrainOptions *o, JsonbValue *v);
static void read_class_weight(NeuralTrainOptions *o, JsonbValue *v);

#define AT(member) offsetof(NeuralTrainOptions, member)

static const Option options[] = {
	{"target", OPTION_SPECIAL, AT(targets), 0, 0, read_target},
	{"targets", OPTION_LIST, AT(targets)},
	{"features", OPTION_LIST, AT(features)},
	{"task", OPTION_TEXT, AT(task)},
	{"layers", OPTION_TEXT, AT(layers)},
	{"loss", OPTION_TEXT, AT(loss)},
	{"optimizer", OPTION_TEXT, AT(optimizer)},
	{"learning_rate", OPTION_NUMBER, AT(learning_rate), 1e-12, 1e6},
	{"epochs", OPTION_INT, AT(epochs), 1, 1000000},
	{"batch_size", OPTION_INT, AT(batch_size), 1, 1 << 20},
	{"validation", OPTION_SPECIAL, AT(validation), 0, 0, read_validation},
	{"seed", OPTION_BIGINT, AT(seed)},
	{"device", OPTION_TEXT, AT(device)},
	{"columns", OPTION_SPECIAL, AT(columns), 0, 0, read_columns},
	{"exclude", OPTION_LIST, AT(exclude)},
	{"keep_features", OPTION_LIST, AT(keep_features)},
	{"schedule", OPTION_TEXT, AT(schedule)},
	{"l1", OPTION_NUMBER, AT(l1), 0, 1e6},
	{"l2", OPTION_NUMBER, AT(l2), 0, 1e6},
	{"weight_decay", OPTION_NUMBER, AT(weight_decay), 0, 1e6},
	{"clipnorm", OPTION_NUMBER, AT(clipnorm), 0, 1e30},
	{"clipvalue", OPTION_NUMBER, AT(clipvalue), 0, 1e30},
	{"global_clipnorm", OPTION_NUMBER, AT(global_clipnorm), 0, 1e30},
	{"early_stopping", OPTION_SPECIAL, AT(patience), 0, 0, read_early_stopping},
	{"class_weight", OPTION_SPECIAL, AT(class_weights), 0, 0,
	 read_class_weight},
	{"sample_weight", OPTION_TEXT, AT(sample_weight)},
	{"label_smoothing", OPTION_NUMBER, AT(label_smoothing), 0, 0.99},
	{"activate", OPTION_TEXT, AT(activate)},
	{"time_zone", OPTION_TEXT, AT(time_zone)},
	{"precision", OPTION_TEXT, AT(precision)},
	{"threads", OPTION_INT, AT(threads), 1, 64},
	{"max_seconds", OPTION_NUMBER, AT(max_seconds), 0.001, 1e9},
	{"metric", OPTION_TEXT, AT(metric)},
	{"restore_best", OPTION_SWITCH, AT(restore_best)},
	{"shuffle", OPTION_SWITCH, AT(shuffle)},
	{"target_scale", OPTION_SWITCH, AT(target_scale)},
	{"clamp", OPTION_SWITCH, AT(clamp)},
	{"date_differences", OPTION_SWITCH, AT(date_differences)},
	{"note", OPTION_TEXT, AT(note)},
};

static const char *const activate_names[] = {"better", "always", "never", NULL};

void
neural_train_options_init(NeuralTrainOptions *o)
{
	memset(o, 0, sizeof(*o));
	for (int i = 0; i < (int) lengthof(options); i++)
	{
		void *at = (char *) o + options[i].offset;

		if (options[i].type == OPTION_NUMBER)
			*(double *) at = NAN;
		else if (options[i].type == OPTION_SWITCH)
			*(int *) at = -1;
	}
	o->seed = 1;
}

/*
 * --- values ---
 */

static void
wrong_type(const char *name, const char *wanted)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("option \"%s\" must be %s", name, wanted)));
}

static char *
text_value(const char *name, JsonbValue *v)
{
	if (v->type != jbvString)
		wrong_type(name, "a string");
	return pnstrdup(v->val.string.val, v->val.string.len);
}

static double
number_value(const char *name, JsonbValue *v)
{
	if (v->type != jbvNumeric)
		wrong_type(name, "a number");
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(v->val.numeric)));
}

static int64
whole_value(const char *name, JsonbValue *v)
{
	double x = number_value(name, v);

	if (x != floor(x))
		wrong_type(name, "a whole number");
	/* all have narrower ranges, which are checked elsewhere */
	return (int64) Max(Min(x, PG_INT32_MAX), PG_INT32_MIN);
}

static int64
bigint_value(const char *name, JsonbValue *v)
{
	(void) whole_value(name, v);
	return DatumGetInt64(
		DirectFunctionCall1(numeric_int8, NumericGetDatum(v->val.numeric)));
}

static bool
bool_value(const char *name, JsonbValue *v)
{
	if (v->type != jbvBool)
		wrong_type(name, "true or false");
	return v->val.boolean;
}

static bool
is_object(JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data);
}

static List *
list_value(const char *name, JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	List *list = NIL;

	if (v->type == jbvString)
		return list_make1(text_value(name, v));
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		wrong_type(name, "a string or an array of strings");
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			list = lappend(list, text_value(name, &item));
	return list;
}

/* The text of a scalar as it stands in an encoder's arguments. */
static char *
scalar_text(const char *name, JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return text_value(name, v);
		case jbvBool:
			return pstrdup(v->val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(
				numeric_out, NumericGetDatum(v->val.numeric)));
		default:
			wrong_type(name, "a string, a number, true or false");
	}
	return NULL;
}

/* The next key and value of an object. */
static bool
next_pair(JsonbIterator **it, char **key, JsonbValue *value)
{
	JsonbValue k;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(it, &k, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		*key = pnstrdup(k.val.string.val, k.val.string.len);
		(void) JsonbIteratorNext(it, value, true);
		return true;
	}
	return false;
}

static void
unknown_name(const char *what, const char *name, const char *const *names)
{
	const char *near = nn_did_you_mean(name, names);

	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unrecognized %s \"%s\"", what, name),
					near ? errhint("Did you mean \"%s\"?", near) : 0));
}

/*
 * --- options with a structure ---
 */

static void
read_target(NeuralTrainOptions *o, JsonbValue *v)
{
	o->targets = list_make1(text_value("target", v));
}

static void
read_validation(NeuralTrainOptions *o, JsonbValue *v)
{
	o->validation = scalar_text("validation", v);
}

static int
shape_value(const char *column, JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	int64 length = 1;

	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data))
		wrong_type("shape", "an array of numbers");
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		int64 n;

		if (token != WJB_ELEM)
			continue;
		n = whole_value("shape", &item);
		if (n < 1 || n > NN_MAX_UNITS || length * n > NN_MAX_UNITS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("shape of column \"%s\" is out of range", column),
					 errdetail("A row of it must have 1 to %d numbers.",
							   NN_MAX_UNITS)));
		length *= n;
	}
	return (int) length;
}

static void
read_column(NeuralTrainOptions *o, const char *name, JsonbValue *v)
{
	NeuralColumnOption *c = palloc0(sizeof(*c));
	JsonbIterator *it;
	JsonbValue value;
	char *key;

	c->name = name;
	if (v->type == jbvString)
		c->encode = text_value(name, v);
	else if (!is_object(v))
		wrong_type(name, "an object of settings or an encoder");
	else
	{
		it = JsonbIteratorInit(v->val.binary.data);
		while (next_pair(&it, &key, &value))
		{
			if (strcmp(key, "encode") == 0)
				c->encode = text_value(key, &value);
			else if (strcmp(key, "shape") == 0)
				c->length = shape_value(name, &value);
			else
			{
				NeuralSetting *s = palloc(sizeof(*s));

				s->key = key;
				s->value = scalar_text(key, &value);
				c->settings = lappend(c->settings, s);
			}
		}
	}
	o->columns = lappend(o->columns, c);
}

static void
read_columns(NeuralTrainOptions *o, JsonbValue *v)
{
	JsonbIterator *it;
	JsonbValue value;
	char *key;

	if (!is_object(v))
		wrong_type("columns", "an object with a key for each column");
	it = JsonbIteratorInit(v->val.binary.data);
	while (next_pair(&it, &key, &value))
		read_column(o, key, &value);
}

/* Keras' EarlyStopping, or its patience alone. */
static void
read_early_stopping(NeuralTrainOptions *o, JsonbValue *v)
{
	static const char *const names[] = {"patience", "min_delta", "monitor",
										"restore_best_weights", NULL};
	JsonbIterator *it;
	JsonbValue value;
	char *key;

	o->early_stopping = true;
	o->patience = 10;
	if (v->type == jbvNumeric)
		o->patience = (int) whole_value("early_stopping", v);
	else if (v->type == jbvBool)
		o->early_stopping = v->val.boolean;
	else if (!is_object(v))
		wrong_type("early_stopping", "an object or a number of epochs");
	else
	{
		it = JsonbIteratorInit(v->val.binary.data);
		while (next_pair(&it, &key, &value))
		{
			if (strcmp(key, "patience") == 0)
				o->patience = (int) whole_value(key, &value);
			else if (strcmp(key, "min_delta") == 0)
				o->min_delta = fabs(number_value(key, &value));
			else if (strcmp(key, "monitor") == 0)
				o->monitor = text_value(key, &value);
			else if (strcmp(key, "restore_best_weights") == 0)
				o->restore_best = bool_value(key, &value);
			else
				unknown_name("setting of early_stopping", key, names);
		}
	}
	if (o->patience < 0)
		wrong_type("patience", "zero or more");
}

static void
read_class_weight(NeuralTrainOptions *o, JsonbValue *v)
{
	JsonbIterator *it;
	JsonbValue value;
	char *key;

	if (v->type == jbvString)
	{
		const char *s = text_value("class_weight", v);

		if (strcmp(s, "balanced") != 0)
			wrong_type("class_weight",
					   "\"balanced\" or an object with a number for each "
					   "class");
		o->balanced = true;
		return;
	}
	if (!is_object(v))
		wrong_type("class_weight",
				   "\"balanced\" or an object with a number for each class");
	it = JsonbIteratorInit(v->val.binary.data);
	while (next_pair(&it, &key, &value))
	{
		NeuralClassWeight *w = palloc0(sizeof(*w));

		w->label = key;
		w->weight = number_value(key, &value);
		if (!(w->weight >= 0 && w->weight <= 1e6))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("weight of class \"%s\" is out of range", key),
					 errdetail("It must be from 0 to 1000000.")));
		o->class_weights = lappend(o->class_weights, w);
	}
}

/*
 * --- all of them ---
 */

/* Whether an argument has been given already. */
static bool
is_set(const NeuralTrainOptions *o, const Option *p)
{
	const char *at = (const char *) o + p->offset;

	switch (p->type)
	{
		case OPTION_NUMBER:
			return !isnan(*(const double *) at);
		case OPTION_INT:
			return *(const int *) at != 0;
		case OPTION_SWITCH:
			return *(const int *) at != -1;
		case OPTION_BIGINT:
			return o->seed_given;
		case OPTION_SPECIAL:
			/* the others are no arguments */
			return (p->read == read_target || p->read == read_validation) &&
				   *(void *const *) at != NULL;
		default:
			return *(void *const *) at != NULL;
	}
}

static void
out_of_range(const Option *p)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s is out of range", p->name),
			 errdetail("It must be from %.10g to %.10g.", p->min, p->max)));
}

static void
read_option(NeuralTrainOptions *o, const Option *p, JsonbValue *v)
{
	void *at = (char *) o + p->offset;

	if (is_set(o, p))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is given both as an argument and in options",
							   p->name)));
	switch (p->type)
	{
		case OPTION_TEXT:
			*(const char **) at = text_value(p->name, v);
			break;
		case OPTION_LIST:
			*(List **) at = list_value(p->name, v);
			if (at == &o->features && o->features == NIL)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("%s must not be empty", p->name)));
			break;
		case OPTION_NUMBER:
			*(double *) at = number_value(p->name, v);
			break;
		case OPTION_INT:
		{
			int64 n = whole_value(p->name, v);

			if (n < p->min || n > p->max)
				out_of_range(p);
			*(int *) at = (int) n;
			break;
		}
		case OPTION_BIGINT:
			*(int64 *) at = bigint_value(p->name, v);
			break;
		case OPTION_SWITCH:
			*(int *) at = bool_value(p->name, v);
			break;
		case OPTION_SPECIAL:
			p->read(o, v);
			break;
	}
}

void
neural_train_options_read(NeuralTrainOptions *o, Jsonb *object)
{
	JsonbIterator *it;
	JsonbValue value;
	char *key;

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options must be an object")));
	o->object = object;
	it = JsonbIteratorInit(&object->root);
	while (next_pair(&it, &key, &value))
	{
		const Option *found = NULL;

		for (int i = 0; i < (int) lengthof(options); i++)
			if (strcmp(options[i].name, key) == 0)
				found = &options[i];
		if (found == NULL)
		{
			const char *names[lengthof(options) + 1] = {NULL};

			for (int i = 0; i < (int) lengthof(options); i++)
				names[i] = options[i].name;
			unknown_name("option", key, names);
		}
		if (value.type != jbvNull) /* as with arguments: the default */
			read_option(o, found, &value);
	}
}

void
neural_train_options_check(const NeuralTrainOptions *o)
{
	for (int i = 0; i < (int) lengthof(options); i++)
	{
		const Option *p = &options[i];
		const char *at = (const char *) o + p->offset;
		double x = p->type == OPTION_NUMBER ? *(const double *) at
				   : p->type == OPTION_INT	? *(const int *) at
											: NAN;

		if (p->type == OPTION_INT && x == 0)
			continue; /* the default */
		if (x < p->min || x > p->max)
			out_of_range(p);
	}
	if (o->targets == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no target was given"),
				 errhint("Name the column to learn: target => 'column'.")));
	(void) neural_train_activate(o);
}

NeuralActivate
neural_train_activate(const NeuralTrainOptions *o)
{
	if (o->activate == NULL)
		return NEURAL_ACTIVATE_BETTER;
	for (int i = 0; activate_names[i] != NULL; i++)
		if (strcmp(activate_names[i], o->activate) == 0)
			return (NeuralActivate) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized value of activate: \"%s\"", o->activate),
			 errhint("It can be better, always or never.")));
	return NEURAL_ACTIVATE_BETTER;
}

NeuralColumnOption *
neural_column_option(const NeuralTrainOptions *o, const char *column)
{
	ListCell *lc;

	foreach (lc, o->columns)
	{
		NeuralColumnOption *c = lfirst(lc);

		if (strcmp(c->name, column) == 0)
			return c;
	}
	return NULL;
}

bool
neural_list_has(List *names, const char *name)
{
	ListCell *lc;

	foreach (lc, names)
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}
