/*-------------------------------------------------------------------------
 *
 * table_options.c
 *	  The options and policies that a caller gives as jsonb.
 *
 * An option or a value that is not known is an error that lists what is: an
 * option that was silently ignored would be a rule that silently does not hold.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "merge/decide.h"
#include "registry/table_options.h"
#include "utils/builtins.h"

#define KNOWN_POLICIES	"\"lww\", \"orset\", \"counter\", \"max\", \"min\", \"first_writer\", \"server_wins\", \"manual\""

typedef struct JsonPair
{
	char	   *key;
	JsonbValue	value;
} JsonPair;

static JsonPair *object_pairs(Jsonb *json, const char *what, int *npairs);
static char *string_value(const JsonPair *pair, const char *what);
static char *choice(const JsonPair *pair, const char *known,
					const char *const *values);
static void parse_policy(const JsonPair *pair, TablePolicy *policy);
static bool is_empty(Jsonb *options);

void
table_options_parse(Jsonb *json, TableOptions *options)
{
	static const char *const on_delete[] = {"delete_wins", "update_wins", NULL};
	static const char *const mode[] = {"merge", "append_only", NULL};
	static const char *const consistency[] = {"relaxed", "strong", NULL};
	static const char *const audit[] = {"full", "outcomes", "conflicts", "off", NULL};
	int			npairs;
	JsonPair   *pairs = object_pairs(json, "options", &npairs);
	int			i;

	options->wire_name = NULL;
	options->on_delete = "delete_wins";
	options->mode = "merge";
	options->consistency = "relaxed";
	options->audit = "outcomes";
	for (i = 0; i < npairs; i++)
	{
		if (strcmp(pairs[i].key, "on_delete") == 0)
			options->on_delete = choice(&pairs[i],
										"\"delete_wins\", \"update_wins\"",
										on_delete);
		else if (strcmp(pairs[i].key, "mode") == 0)
			options->mode = choice(&pairs[i], "\"merge\", \"append_only\"",
								   mode);
		else if (strcmp(pairs[i].key, "consistency") == 0)
			options->consistency = choice(&pairs[i],
										  "\"relaxed\", \"strong\"",
										  consistency);
		else if (strcmp(pairs[i].key, "audit") == 0)
			options->audit = choice(&pairs[i],
									"\"full\", \"outcomes\", \"conflicts\", \"off\"",
									audit);
		else if (strcmp(pairs[i].key, "name") == 0)
		{
			options->wire_name = string_value(&pairs[i], "option");
			if (options->wire_name[0] == '\0')
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("option \"name\" must not be empty")));
		}
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized option \"%s\"", pairs[i].key),
					 errhint("The options are \"on_delete\", \"mode\", \"consistency\", \"audit\" and \"name\".")));
	}
}

TablePolicy *
table_policies_parse(Jsonb *json, int *npolicies)
{
	JsonPair   *pairs = object_pairs(json, "policies", npolicies);
	TablePolicy *policies = palloc(Max(*npolicies, 1) * sizeof(TablePolicy));
	int			i;

	for (i = 0; i < *npolicies; i++)
	{
		parse_policy(&pairs[i], &policies[i]);
		table_policy_check_options(policies[i].policy, policies[i].options);
	}
	return policies;
}

static void
parse_policy(const JsonPair *pair, TablePolicy *policy)
{
	policy->column = pair->key;
	policy->options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														 CStringGetDatum("{}")));
	if (pair->value.type == jbvBinary)
	{
		Jsonb	   *object = JsonbValueToJsonb(unconstify(JsonbValue *, &pair->value));
		int			npairs;
		JsonPair   *pairs = object_pairs(object, "policies", &npairs);
		int			i;

		policy->policy = NULL;
		for (i = 0; i < npairs; i++)
		{
			if (strcmp(pairs[i].key, "policy") == 0)
				policy->policy = string_value(&pairs[i], "policy of column");
		}
		if (policy->policy == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("policy of column \"%s\" is missing", pair->key),
					 errhint("Write {\"column\": \"policy\"} or {\"column\": {\"policy\": \"policy\"}}.")));
		policy->options =
			DatumGetJsonbP(DirectFunctionCall2(jsonb_delete,
											   JsonbPGetDatum(object),
											   CStringGetTextDatum("policy")));
	}
	else
		policy->policy = string_value(pair, "policy of column");
}

void
table_policy_check_options(const char *policy, Jsonb *options)
{
	if (sync_policy_by_name(policy) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized policy \"%s\"", policy),
				 errhint("The policies are " KNOWN_POLICIES ".")));
	if (!is_empty(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy \"%s\" has no options", policy)));
}

static bool
is_empty(Jsonb *options)
{
	return JB_ROOT_IS_OBJECT(options) && JB_ROOT_COUNT(options) == 0;
}

/*
 * The keys and values of an object; NULL counts as an empty one.
 */
static JsonPair *
object_pairs(Jsonb *json, const char *what, int *npairs)
{
	JsonPair   *pairs;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;

	*npairs = 0;
	if (json == NULL)
		return NULL;
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", what)));

	pairs = palloc(Max(JB_ROOT_COUNT(json), 1) * sizeof(JsonPair));
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			pairs[*npairs].key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			pairs[(*npairs)++].value = value;
	}
	return pairs;
}

static char *
string_value(const JsonPair *pair, const char *what)
{
	if (pair->value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s \"%s\" must be a string", what, pair->key)));
	return pnstrdup(pair->value.val.string.val, pair->value.val.string.len);
}

/* One of the values known. */
static char *
choice(const JsonPair *pair, const char *known, const char *const *values)
{
	char	   *value = string_value(pair, "option");

	for (; *values != NULL; values++)
	{
		if (strcmp(value, *values) == 0)
			return value;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("value \"%s\" of option \"%s\" is not supported",
					value, pair->key),
			 errhint("Supported: %s.", known)));
	return NULL;				/* keep compiler quiet */
}
