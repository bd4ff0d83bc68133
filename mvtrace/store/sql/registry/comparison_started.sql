-- When one version or arm served first in an hour, and what was drawn for its requests.
SELECT
    count() AS counted,
    toUnixTimestamp(min(started_at)) AS started,
    anyIf(JSONExtractString(record, 'assignment', 'unit_kind'), unit != unhex(repeat('00', 16))) AS unit_kind
FROM requests
WHERE project = {project:String}
    AND request_id >= unhex({first:String})
    AND request_id <= unhex({last:String})
    AND if({by:String} = 'arm', ifNull(arm, ''), ifNull(composite_version, '')) = {side:String}
    AND ({environment:String} = '' OR environment = {environment:String})
    AND ({service:String} = '' OR service = {service:String})
    AND ({rollout:String} = '' OR rollout = {rollout:String})
