-- How many requests there were in a time, of whatever version.
SELECT sum(requests)
FROM quality_hourly FINAL
WHERE project = {project:String}
    AND metric = 'request'
    AND hour >= toDateTime({since_hour:UInt32} * 3600, 'UTC')
    AND hour <= toDateTime({until_hour:UInt32} * 3600, 'UTC')
    AND ({service:String} = '' OR service = {service:String})
    AND ({environment:String} = '' OR environment = {environment:String})
