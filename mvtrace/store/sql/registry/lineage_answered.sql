-- How many requests some versions answered. A record has a row for each of its revisions.
SELECT
    uniqExact(request_id) AS requests,
    lower(hex(min(request_id))) AS first,
    lower(hex(max(request_id))) AS last,
    arrayDistinct(groupArray(100)(assumeNotNull(composite_version))) AS versions
FROM requests
WHERE project = {project:String} AND composite_version IN {versions:Array(String)}
