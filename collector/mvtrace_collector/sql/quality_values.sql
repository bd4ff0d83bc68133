-- What each request of one project is worth: a row a request, metric and scorer. From the newest revision
-- of its record, from what its calls cost at the prices of one list, and from the latest score of each
-- name and scorer. What is not known has no row, and is never a 0. The rows are a function of what is
-- stored, whatever came first; {first} and {last} are the ids of a whole hour, or of any other range.
-- The scorer of cost_usd is the digest of the price list, of a score that which gave it, else empty. A
-- score with a name that is, or looks like, that of a derived metric is score:NAME. NAME:given is 1 or 0
-- of every request, for the {wanted} names and for those scored most often. Of an hour's scores 256 names
-- count at most: those that plans name ({planned}), then those that not only voters gave. {sources} are metrics that
-- plans make of others: name, source, one of > < ^ /, and a threshold (of /: a second source), with \x1f between.
WITH
    text -> ifNull(toUInt64OrNull(text), 0) AS nanos,
    name -> if(name IN ('latency_ms', 'log_latency_ms', 'time_to_first_token_ms', 'log_time_to_first_token_ms', 'error', 'refusal', 'tool_failure',
            'input_tokens', 'output_tokens', 'log_output_tokens', 'cost_usd', 'log_cost_usd', 'request')
        OR match(name, '^score:|:given$|:first$|[<>^/]'), concat('score:', name), name) AS metric_of,
    (
        SELECT groupArray(metric)
        FROM
        (
            SELECT metric_of(toString(name)) AS metric
            FROM {database}.scores
            WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
                AND request_id IN
                (
                    SELECT request_id
                    FROM {database}.requests
                    WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
                )
            GROUP BY metric
            ORDER BY has({planned:Array(String)}, metric) OR has({wanted:Array(String)}, metric) DESC,
                countIf(voter = '') > 0 DESC, uniqExact(request_id) DESC, metric
            LIMIT 256
        )
    ) AS scored_metrics,
    arrayDistinct(arrayConcat({wanted:Array(String)}, arraySlice(scored_metrics, 1, 16))) AS asked_metrics,
    (
        SELECT (groupArray(at), groupArray(terms))
        FROM
        (
            SELECT at, arrayReverseSort(groupArray((rank, day, since, until, prices))) AS terms
            FROM
            (
                SELECT concat(provider, '\x1f', model) AS at, toInt64(rank) AS rank, toInt64(toInt32(valid_from)) AS day, toInt64(second_from) AS since, toInt64(second_until) AS until,
                    arraySort(groupUniqArray((toString(unit), above, toFloat64(usd) * (1e6 / per)))) AS prices
                FROM {database}.model_prices
                WHERE project = {project:String} AND list = {prices:String} AND unit != ''
                GROUP BY at, rank, day, since, until
            )
            GROUP BY at
        )
    ) AS book,
    (terms, ns) -> terms[if(arrayExists(t -> holds(t, ns), terms), arrayFirstIndex(t -> holds(t, ns), terms), -1)].5 AS prices_at,
    (t, ns) -> intDiv(ns, 86400000000000) >= t.2 AND if(t.3 <= t.4,
        intDiv(ns, 1000000000) % 86400 >= t.3 AND intDiv(ns, 1000000000) % 86400 < t.4,
        intDiv(ns, 1000000000) % 86400 >= t.3 OR intDiv(ns, 1000000000) % 86400 < t.4) AS holds,
    (prices, unit) -> arrayExists(p -> p.1 = unit, prices) AS has_price,
    (prices, unit, tokens, number) -> number * arrayLast(p -> p.1 = unit AND tokens > p.2, prices).3 AS cost_of
SELECT
    request_id, environment, service, composite_version, arm, rollout, unit, clustered, planned_share, started_at,
    one.1 AS metric, one.2 AS scorer, one.3 AS value, one.4 AS base
FROM
(
    SELECT
        request_id, environment, service, composite_version, arm, rollout, unit, clustered, planned_share, started_at,
        arrayFilter(m -> m.3 IS NOT NULL AND abs(m.3) <= 1e100 AND abs(m.4) <= 1e100, arrayConcat(
            [
                ('request', '', toNullable(1.), 1.),
                ('latency_ms', '', latency_ms, 1.), ('log_latency_ms', '', if(latency_ms > 0, log(latency_ms), NULL), 1.),
                ('time_to_first_token_ms', '', first_ms, 1.), ('log_time_to_first_token_ms', '', if(first_ms > 0, log(first_ms), NULL), 1.),
                ('error', '', if(outcome IS NULL, NULL, toFloat64(outcome = 'error')), 1.),
                ('refusal', '', if(empty(reasons), NULL, toFloat64(hasAny(reasons, ['content_filter', 'content_filtered', 'refusal', 'safety', 'blocklist', 'prohibited_content', 'spii', 'recitation', 'image_safety', 'image_prohibited_content', 'guardrail_intervened', 'error_toxic', 'sensitive', 'model_armor']))), 1.),
                ('tool_failure', '', if(arrayExists(c -> c.kind = 'tool', made), toFloat64(arrayExists(c -> c.kind = 'tool' AND c.outcome = 'error', made)), NULL), 1.),
                ('input_tokens', '', toFloat64(input_tokens), 1.), ('output_tokens', '', toFloat64(output_tokens), 1.),
                ('log_output_tokens', '', if(output_tokens > 0, log(output_tokens), NULL), 1.),
                ('cost_usd', {prices:String}, cost, 1.), ('log_cost_usd', {prices:String}, if(cost > 0, log(cost), NULL), 1.)
            ],
            arrayMap(s -> (s.1, s.2, s.3, 1.), scored),
            arrayMap(name -> (concat(name, ':given'), '', toNullable(toFloat64(has(given, name))), 1.), asked_metrics))) AS plain,
        arrayMap(text -> splitByChar('\x1f', text), {sources:Array(String)}) AS sources,
        arrayConcat(plain, arrayFlatten(arrayMap(
            s -> arrayMap(m -> (s[1], m.2, toNullable(multiIf(s[3] = '>', toFloat64(m.3 > toFloat64OrZero(s[4])), s[3] = '<', toFloat64(m.3 < toFloat64OrZero(s[4])), least(m.3, toFloat64OrZero(s[4])))), 1.),
                arrayFilter(m -> m.1 = s[2] AND s[3] IN ('>', '<', '^'), plain)),
            sources)),
            arrayFlatten(arrayMap(
            s -> arrayFlatten(arrayMap(below -> arrayMap(m -> (s[1], trimBoth(concat(m.2, ' ', below.2)), m.3, assumeNotNull(below.3)), arrayFilter(m -> m.1 = s[2] AND s[3] = '/', plain)),
                arrayFilter(m -> m.1 = s[4] AND s[3] = '/', plain))),
            sources))) AS measured
    FROM
    (
        SELECT
            *,
            arrayFlatten(arrayMap(c -> splitByString(', ', lower(c.finish_reason)), arrayFilter(c -> c.kind = 'generation' AND c.finish_reason != '', made))) AS reasons,
            arrayFilter(c -> c.kind = 'generation' AND c.time_to_first_chunk_ns >= 0 AND nanos(c.started_at) >= began, made) AS streamed,
            if(empty(streamed), NULL, arrayMin(arrayMap(c -> toFloat64(nanos(c.started_at) - began + toUInt64(assumeNotNull(c.time_to_first_chunk_ns))) / 1e6, streamed))) AS first_ms,
            arrayMap(c -> (c.kind = 'generation', c.cache_origin != '', prices_at(book.2[indexOf(book.1, concat(c.provider, '\x1f', if(c.model_served = '', c.model_requested, c.model_served)))], toInt64(if(nanos(c.started_at) = 0, began, nanos(c.started_at)))),
                    toFloat64(c.usage.input_tokens), toFloat64(c.usage.output_tokens), toFloat64(ifNull(c.usage.cache_read_input_tokens, 0)), toFloat64(ifNull(c.usage.cache_write_input_tokens, 0)), toFloat64(ifNull(c.usage.reasoning_output_tokens, 0))),
                arrayFilter(c -> c.kind = 'generation' OR c.usage.input_tokens IS NOT NULL OR c.usage.output_tokens IS NOT NULL, made)) AS billed,
            arrayMap(b -> (b.2, b.3, b.1, b.4, if(b.1, b.5, ifNull(b.5, 0)), b.6, b.7, b.8,
                b.4 - if(has_price(b.3, 'cache_read'), b.6, 0) - if(has_price(b.3, 'cache_write'), b.7, 0),
                if(b.1, b.5, ifNull(b.5, 0)) - if(has_price(b.3, 'output_reasoning'), b.8, 0)), billed) AS counted,
            arrayMap(b -> multiIf(
                b.1, 0.,
                b.4 IS NULL OR b.5 IS NULL OR b.9 < 0 OR b.10 < 0 OR least(b.6, b.7, b.8) < 0 OR NOT (has_price(b.2, 'input') OR has_price(b.2, 'output')), NULL,
                (cost_of(b.2, 'input', b.4, b.9) + cost_of(b.2, 'cache_read', b.4, b.6) + cost_of(b.2, 'cache_write', b.4, b.7)
                    + cost_of(b.2, 'output', b.4, b.10) + cost_of(b.2, 'output_reasoning', b.4, b.8) + cost_of(b.2, 'requests', b.4, 1.)) / 1e6), counted) AS costs,
            if(empty(costs) OR arrayExists(c -> c IS NULL, costs), NULL, arraySum(arrayMap(c -> assumeNotNull(c), costs))) AS cost
        FROM
        (
            SELECT
                request_id, toString(environment) AS environment, toString(service) AS service, ifNull(toString(composite_version), '') AS composite_version, ifNull(toString(arm), '') AS arm,
                toString(rollout) AS rollout, unit, planned_share, started_at,
                multiIf(unit != toFixedString('', 16), unit, conversation_id != '', sipHash128('mvtrace.conversation/1', assumeNotNull(conversation_id)), request_id) AS clustered, outcome, input_tokens, output_tokens,
                toUInt64(toUnixTimestamp64Nano(started_at)) AS began,
                if(state = 'finished' AND protocol != 'websocket', duration_ns / 1e6, NULL) AS latency_ms,
                JSONExtract(if(calls > 0, record, ''), 'calls', 'Array(Tuple(kind String, provider String, model_requested String, model_served String, finish_reason String, outcome String, started_at String, time_to_first_chunk_ns Nullable(Int64), cache_origin String, usage Tuple(input_tokens Nullable(Int64), output_tokens Nullable(Int64), cache_read_input_tokens Nullable(Int64), cache_write_input_tokens Nullable(Int64), reasoning_output_tokens Nullable(Int64))))') AS made
            FROM {database}.requests
            WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
            ORDER BY request_id, revision DESC
            LIMIT 1 BY request_id
        ) AS served
        LEFT JOIN
        (
            SELECT request_id, groupArray((metric, scorer, value)) AS scored, groupUniqArray(metric) AS given
            FROM
            (
                SELECT request_id, metric_of(toString(name)) AS metric, scorer, argMax(tuple(value), (scored_at, event_id)).1 AS value
                FROM {database}.scores
                WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
                GROUP BY request_id, metric, scorer
            )
            WHERE has(scored_metrics, metric)
            GROUP BY request_id
        ) AS scores USING (request_id)
    )
)
ARRAY JOIN measured AS one
