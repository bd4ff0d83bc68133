-- How many requests are affected, of how many users. A user is the keyed digest that an application
-- named the request's subject by; digests of different keys are different users.
SELECT
    count() AS requests,
    lower(hex(min(request_id))) AS first,
    lower(hex(max(request_id))) AS last,
    (
        SELECT (uniqExact(alias), uniqExact(request_id))
        FROM request_aliases
        WHERE project = {project:String}
            AND kind = 'subject'
            AND request_id IN (SELECT request_id FROM ({affected}))
    ) AS users
FROM ({affected})
