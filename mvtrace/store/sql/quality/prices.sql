-- The price list that was looked up last.
SELECT list
FROM model_prices
WHERE project = {project:String}
ORDER BY received_at DESC, list
LIMIT 1
