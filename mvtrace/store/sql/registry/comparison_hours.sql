-- The first hour in which each of two versions or arms served.
SELECT if({by:String} = 'arm', arm, composite_version) AS side, intDiv(toUnixTimestamp(min(hour)), 3600) AS first_hour
FROM quality_hourly
WHERE project = {project:String}
    AND metric = 'request'
    AND requests > 0
    AND if({by:String} = 'arm', arm, composite_version) IN {sides:Array(String)}
    AND ({environment:String} = '' OR environment = {environment:String})
    AND ({service:String} = '' OR service = {service:String})
GROUP BY side
