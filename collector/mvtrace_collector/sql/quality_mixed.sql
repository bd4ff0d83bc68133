-- Requests that more than one version served: whose spans are stamped with another version than their record
-- has, or whose answer is from a cache that a request of another version filled.
WITH
    text -> toFixedString(unhex(replaceAll(text, '-', '')), 16) AS id_of,
    record -> arrayMap(text -> id_of(text), extractAll(record, '"cache_origin":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')) AS origins_of
SELECT request_id
FROM
(
    SELECT request_id, groupUniqArrayIf(other, is_other) AS others, anyIf(other, NOT is_other) AS version
    FROM
    (
        SELECT request_id, ifNull(toString(composite_version), '') AS other, false AS is_other
        FROM {database}.requests
        WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
        ORDER BY request_id, revision DESC
        LIMIT 1 BY request_id
        UNION ALL
        SELECT request_id, toString(assumeNotNull(composite_version)), true
        FROM {database}.spans
        WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
            AND composite_version IS NOT NULL
        UNION ALL
        SELECT cached.1, version, true
        FROM
        (
            SELECT arrayJoin(origins_of(record)) AS origin, groupUniqArray(request_id) AS those
            FROM {database}.requests
            WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
                AND position(record, '"cache_origin":"') > 0
            GROUP BY origin
        ) AS origins
        INNER JOIN
        (
            SELECT request_id AS origin, argMax(ifNull(toString(composite_version), ''), revision) AS version
            FROM {database}.requests
            WHERE project = {project:String} AND request_id IN
            (
                SELECT arrayJoin(origins_of(record))
                FROM {database}.requests
                WHERE project = {project:String} AND request_id >= unhex({first:String}) AND request_id <= unhex({last:String})
                    AND position(record, '"cache_origin":"') > 0
            )
            GROUP BY origin
        ) AS makers USING (origin)
        ARRAY JOIN arrayMap(id -> tuple(id), those) AS cached
    )
    GROUP BY request_id
)
WHERE version != '' AND arrayExists(other -> other NOT IN ('', version), others)
