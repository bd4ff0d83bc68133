-- What the roll-up has of one version or arm since an hour: its metrics, and who scored them.
SELECT metric, groupUniqArray(8)(scorer) AS scorers, sum(requests) AS counted
FROM quality_hourly
WHERE project = {project:String}
    AND if({by:String} = 'arm', arm, composite_version) = {baseline:String}
    AND ({environment:String} = '' OR environment = {environment:String})
    AND ({service:String} = '' OR service = {service:String})
    AND hour >= fromUnixTimestamp({since:Int64})
    AND requests > 0
GROUP BY metric
ORDER BY counted DESC, metric
LIMIT 1000
