-- Providers and models of the calls of some requests that count tokens and whose price was not looked up
-- yet, those most used first. The model is the one that served, else the one asked for.
SELECT provider, model
FROM
(
    SELECT c.provider AS provider, if(c.model_served = '', c.model_requested, c.model_served) AS model
    FROM
    (
        SELECT arrayJoin(JSONExtract(record, 'calls', 'Array(Tuple(provider String, model_requested String, model_served String, usage Tuple(input_tokens Nullable(Int64), output_tokens Nullable(Int64))))')) AS c
        FROM {database}.requests
        WHERE project = {project:String} AND calls > 0
            AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
    )
    WHERE c.usage.input_tokens IS NOT NULL OR c.usage.output_tokens IS NOT NULL
)
WHERE provider != '' AND length(provider) <= 100 AND model != '' AND length(model) <= 300
    AND (provider, model) NOT IN
    (
        SELECT provider, model
        FROM {database}.model_prices
        WHERE project = {project:String} AND list = {prices:String}
    )
GROUP BY provider, model
ORDER BY count() DESC, provider, model
LIMIT {limit:UInt32}
