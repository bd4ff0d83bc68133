SELECT uniqExact(provider, model) AS known
FROM {database}.model_prices
WHERE project = {project:String} AND list = {prices:String}
