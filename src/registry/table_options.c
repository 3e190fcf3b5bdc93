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

#include "miscadmin.h"
#include "registry/custom_function.h"
#include "registry/table_options.h"
#include "utils/builtins.h"

#define KNOWN_POLICIES	"\"lww\", \"orset\", \"counter\", \"max\", \"min\", \"first_writer\", \"json\", \"server_wins\", \"priority\", \"manual\", \"custom\", \"opaque\""

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
static void parse_order(const JsonPair *pair, SyncRule *rule);
static void refuse_option(const char *policy, const char *known, const char *name);

void
table_options_parse(Jsonb *json, TableOptions *options)
{
	static const char *const on_delete[] = {"delete_wins", "update_wins", "lww", NULL};
	static const char *const mode[] = {"merge", "append_only", NULL};
	static const char *const consistency[] = {"relaxed", "strong", NULL};
	static const char *const audit[] = {"full", "outcomes", "conflicts", "off", NULL};
	int			npairs;
	JsonPair   *pairs = object_pairs(json, "options", &npairs);
	int			i;

	for (i = 0; i < npairs; i++)
	{
		if (strcmp(pairs[i].key, "on_delete") == 0)
			options->on_delete = choice(&pairs[i],
										"\"delete_wins\", \"update_wins\", \"lww\"",
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
		table_rule_parse(policies[i].policy, policies[i].options, &policies[i].rule);
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
table_rule_parse(const char *policy, Jsonb *options, SyncRule *rule)
{
	int			number = sync_policy_by_name(policy);
	int			npairs;
	JsonPair   *pairs = object_pairs(options, "options", &npairs);

	if (number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized policy \"%s\"", policy),
				 errhint("The policies are " KNOWN_POLICIES ".")));
	memset(rule, 0, sizeof(SyncRule));
	rule->policy = number;
	for (int i = 0; i < npairs; i++)
	{
		if (rule->policy == POLICY_PRIORITY && strcmp(pairs[i].key, "order") == 0)
			parse_order(&pairs[i], rule);
		else if (rule->policy == POLICY_CUSTOM &&
				 strcmp(pairs[i].key, "function") == 0)
		{
			rule->function = string_value(&pairs[i], "option");
			custom_function_check_name(rule->function);
		}
		else
			refuse_option(policy, rule->policy == POLICY_PRIORITY ? "order" :
						  rule->policy == POLICY_CUSTOM ? "function" : NULL,
						  pairs[i].key);
	}
	if (rule->policy == POLICY_PRIORITY && rule->nclasses == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy \"priority\" needs the option \"order\""),
				 errhint("Write {\"order\": [\"manager\", \"worker\"]}: device classes, highest first.")));
	if (rule->policy == POLICY_CUSTOM && rule->function == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy \"custom\" needs the option \"function\""),
				 errhint("Write {\"function\": \"schema.name\"}.")));
}

/* ["manager", "worker"]: device classes, highest first. */
static void
parse_order(const JsonPair *pair, SyncRule *rule)
{
	JsonbContainer *list = pair->value.type == jbvBinary ?
	pair->value.val.binary.data : NULL;
	int			nclasses = list != NULL && JsonContainerIsArray(list) ?
	JsonContainerSize(list) : 0;

	if (nclasses == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a non-empty array of strings", pair->key)));
	rule->classes = palloc(nclasses * sizeof(char *));
	for (int i = 0; i < nclasses; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(list, i);

		if (element->type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be a non-empty array of strings",
							pair->key)));
		CHECK_FOR_INTERRUPTS();
		rule->classes[i] = pnstrdup(element->val.string.val, element->val.string.len);
		for (int j = 0; j < i; j++)
		{
			if (strcmp(rule->classes[i], rule->classes[j]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("device class \"%s\" is twice in option \"%s\"",
								rule->classes[i], pair->key)));
		}
	}
	rule->nclasses = nclasses;
}

/* An option that the policy does not have; known: the one that it does, or NULL. */
static void
refuse_option(const char *policy, const char *known, const char *name)
{
	if (known == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy \"%s\" has no options", policy)));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\" of policy \"%s\"", name, policy),
			 errhint("Its option is \"%s\".", known)));
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
				 errmsg("%s must be a JSON object", what),
				 errhint("For example '{\"name\": \"value\"}', or '{}' for none.")));

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
